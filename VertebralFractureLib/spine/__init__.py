"""Step 3: the compact spine volume, straightened along the canal, with the exact map to the patient and back."""

from VertebralFractureLib.spine.live import LiveStraightener, LiveUpdate
from VertebralFractureLib.spine.spine_frame import STRAIGHTENED, VIRTUAL_SAGITTAL, SpineFrame, spine_frame
from VertebralFractureLib.spine.spine_grid import CUBIC, LINEAR, SMOOTH_THROUGH_SLICES, SpineGrid
from VertebralFractureLib.spine.spine_volume import OUTSIDE_HU, SpineVolume
from VertebralFractureLib.spine.straighten import straighten

__all__ = [
    "CUBIC",
    "LINEAR",
    "OUTSIDE_HU",
    "SMOOTH_THROUGH_SLICES",
    "STRAIGHTENED",
    "VIRTUAL_SAGITTAL",
    "LiveStraightener",
    "LiveUpdate",
    "SpineFrame",
    "SpineGrid",
    "SpineVolume",
    "spine_frame",
    "straighten",
]
