"""Train the networks on annotated scans, phantoms and simulated fractures: cases, batches, losses, and the loop."""
