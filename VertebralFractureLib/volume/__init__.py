"""Step 1: a CT from a file, a DICOM folder, an array or an MRML scene, as Hounsfield units with their geometry."""

from VertebralFractureLib.volume.ct_volume import CTVolume, with_acquisition
from VertebralFractureLib.volume.dicom_series import DicomSeries, list_dicom_series
from VertebralFractureLib.volume.plausibility import check_ct
from VertebralFractureLib.volume.reading import read_volume
from VertebralFractureLib.volume.sitk_bridge import ct_from_sitk, ct_to_sitk, write_volume

__all__ = [
    "CTVolume",
    "DicomSeries",
    "check_ct",
    "ct_from_sitk",
    "ct_to_sitk",
    "list_dicom_series",
    "read_volume",
    "with_acquisition",
    "write_volume",
]
