"""Step 3: the compact spine volume, straightened along the canal, with the exact map to the patient and back."""

from VertebralFractureLib.cpr.frame import STRAIGHTENED, VIRTUAL_SAGITTAL, ReformatFrame, lay_frame
from VertebralFractureLib.cpr.grid import CUBIC, LINEAR, SMOOTH_THROUGH_SLICES, ReformatGrid
from VertebralFractureLib.cpr.incremental import IncrementalReformatter, IncrementalUpdate
from VertebralFractureLib.cpr.straighten import straighten
from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume

__all__ = [
    "CUBIC",
    "LINEAR",
    "OUTSIDE_HU",
    "SMOOTH_THROUGH_SLICES",
    "STRAIGHTENED",
    "VIRTUAL_SAGITTAL",
    "IncrementalReformatter",
    "IncrementalUpdate",
    "ReformatFrame",
    "ReformatGrid",
    "StraightenedVolume",
    "lay_frame",
    "straighten",
]
