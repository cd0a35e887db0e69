"""From trained to shipped weights: the whole ensemble in one command, calibration on what was measured, model cards."""
