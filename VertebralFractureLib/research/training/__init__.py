"""From data folders to weights, metrics and model cards. Needs the group ``train``; never imported by the pipeline."""
