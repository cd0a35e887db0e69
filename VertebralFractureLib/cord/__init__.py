"""Step 2: where the spinal canal runs: a CNN on axial slices, then one optimal path through all of them."""

from VertebralFractureLib.cord.centerline import Centerline

__all__ = ["Centerline"]
