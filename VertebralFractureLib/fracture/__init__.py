"""Step 5: ordered 3D patches, a shared encoder and a convolutional sequence model give p at every position."""

from VertebralFractureLib.fracture.fracture_sequence import FractureSequence

__all__ = ["FractureSequence"]
