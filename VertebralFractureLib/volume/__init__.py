"""Step 1: a CT from a file, a DICOM folder, an array or an MRML scene, as Hounsfield units with their geometry."""

from VertebralFractureLib.volume.ct_volume import CTVolume

__all__ = ["CTVolume"]
