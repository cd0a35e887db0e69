"""Step 5: every vertebra: found, named, measured, and given the score of its positions."""

from VertebralFractureLib.vertebrae.vertebra import Heights, Vertebra

__all__ = ["Heights", "Vertebra"]
