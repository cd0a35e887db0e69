"""Step 5: ordered 3D patches, a shared encoder and a convolutional sequence model score vertebrae and scan."""

from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.vertebra_scores import score_vertebrae

__all__ = ["FractureSequence", "score_vertebrae"]
