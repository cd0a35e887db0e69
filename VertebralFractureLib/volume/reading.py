"""``read_volume``: whatever the user points at becomes a checked ``CTVolume``.

The kind of input is decided by what the path is and by the first bytes of the file, not by its ending alone, because
DICOM files often have none.
"""

from __future__ import annotations

import glob
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume.ct_volume import SERIES_CHOICE, CTVolume
from VertebralFractureLib.volume.dicom_choice import select_series
from VertebralFractureLib.volume.dicom_series import could_be_dicom, list_dicom_series, list_dicomdir_series
from VertebralFractureLib.volume.file_guard import allow_memory, is_damaged_dicom
from VertebralFractureLib.volume.image_file import find_image_suffix, read_image_file
from VertebralFractureLib.volume.memory_limit import require_memory
from VertebralFractureLib.volume.plausibility import AIR_HU, check_ct
from VertebralFractureLib.volume.separate_reader import read_dicom_apart

logger = logging.getLogger(__name__)

_SCENES = (".mrb", ".mrml")
_WITH_PARTS = (".mhd", ".nhdr")
"""Headers whose voxels lie in files of their own beside them."""
_NO_SLICES = (".log", ".txt", ".json", ".csv", ".html", ".png", ".part", ".partial", *_SCENES)


def read_volume(path: Path, *, series: str | None = None) -> CTVolume:
    """Read a CT from an image file, a DICOM folder or file, or a Slicer scene (.mrb, .mrml).

    Args:
        path: the file or folder.
        series: which one, when there are several. DICOM: the series' UID, the beginning of it, its number, or its
            description; without it, the original CT in Hounsfield units with the most slices, and the log says which
            and why. Scene: the volume's name; without it, the scalar volume with the most slices.

    Returns:
        A volume that ``check_ct`` accepted: Hounsfield units and a 4x4 IJK-to-RAS matrix in mm.

    Raises:
        UnreadableVolume: with one sentence that says what is wrong and what to do.
    """
    path = Path(path)
    try:
        ct = _read_at_rest(path, series)
        # The voxels were read just now and belong to nobody else: padding is raised to air without another copy.
        np.maximum(ct.hu, AIR_HU, out=ct.hu)
        checked = check_ct(ct)
    except OSError as error:
        raise UnreadableVolume(
            f"'{path.name}' could not be opened ({error.strerror or 'input/output error'}); check that the path is "
            "right and that you may read it."
        ) from error
    except MemoryError as error:
        raise UnreadableVolume(
            f"'{path.name}' needs more memory than this computer has free; crop it to the spine or close programs."
        ) from error
    if SERIES_CHOICE in checked.source:
        logger.info(checked.source[SERIES_CHOICE])
    return checked


def _read_at_rest(path: Path, series: str | None) -> CTVolume:
    """Read a file or folder; once more where it was written to meanwhile.

    Raises:
        UnreadableVolume: when it is still being written, and as ``read_volume``.
    """
    for _ in range(2):
        before = _stamp(path)
        try:
            ct = _read_any(path, series)
        except UnreadableVolume:
            # What looks damaged may be half a file that is still being written.
            if _stamp(path) == before:
                raise
            continue
        if _stamp(path) == before:
            return ct
    raise UnreadableVolume(
        f"'{path.name}' is still being written: it changed while it was read; wait until it is complete, and try again."
    )


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the last change of all files that the input may consist of."""
    stamps = []
    for file in _list_parts(path):
        try:
            known = file.stat()
        except OSError:
            continue  # Gone since it was listed: then it is not in the next list.
        stamps.append((str(file), known.st_size, known.st_mtime_ns))
    return stamps


def _list_parts(path: Path) -> list[Path]:
    if path.is_dir():
        files = path.rglob("*")
    elif not path.exists() or path.suffix.lower() in _SCENES:
        return [path]
    elif find_image_suffix(path) is not None:
        return sorted(path.parent.glob(glob.escape(path.stem) + ".*")) if path.suffix.lower() in _WITH_PARTS else [path]
    else:
        files = path.parent.glob("*")
    # What a program writes beside the slices, for example this one's own output, is none of them.
    return sorted(file for file in files if file.is_file() and file.suffix.lower() not in _NO_SLICES)


def _read_any(path: Path, series: str | None) -> CTVolume:
    if not path.exists():
        raise UnreadableVolume(f"There is no file or folder '{path}'; check the path.")
    if path.is_dir():
        return read_dicom_apart(path, series, None)
    if path.stat().st_size == 0:
        raise UnreadableVolume(f"'{path.name}' is an empty file; copy or export it again.")
    if path.suffix.lower() in _SCENES:
        from VertebralFractureLib.volume.scene_file import read_scene_file

        return read_scene_file(path, series)
    header = path.with_suffix(".hdr")
    if path.suffix.lower() == ".img" and header.is_file():
        return read_image_file(header)
    if find_image_suffix(path) is None and could_be_dicom(path):
        return read_dicom_apart(path.parent, series, path)
    return read_image_file(path)


def read_dicom_folder(folder: Path, series: str | None, file: Path | None = None) -> CTVolume:
    """Read a DICOM series in this process; ``read_volume`` does it in one of its own.

    Args:
        folder: of the series.
        series: as in ``read_volume``.
        file: the file of it, or the DICOMDIR, that the user chose.

    Raises:
        UnreadableVolume: when there is no CT series, or it makes no volume.
        OSError: when a file cannot be read.
    """
    from VertebralFractureLib.volume.dicom_volume import read_dicom_series

    if file is not None and file.name.upper() == "DICOMDIR":
        stacks = list_dicomdir_series(file)
    else:
        stacks = list_dicom_series(folder, subfolders=file is None)
        if file is not None and series is None:
            stacks = [stack for stack in stacks if file in stack.files]
            if not stacks and is_damaged_dicom(file):
                raise UnreadableVolume(f"The DICOM file '{file.name}' is damaged or cut off; transfer it again.")
            if not stacks:
                raise UnreadableVolume(f"'{file.name}' holds no DICOM image; choose the folder of the CT series.")
    choice = select_series(stacks, series)
    columns, rows = choice.series.slices[0].size_ij
    needed = 2 * columns * rows * choice.series.slice_count
    require_memory(choice.series.description or "CT", needed)
    # GDCM holds an image as it is and scaled, and a value with fractions takes twice as much as a whole one.
    allow_memory(6 * needed)
    ct = read_dicom_series(choice.series)
    return replace(ct, source={**ct.source, SERIES_CHOICE: choice.why}) if choice.why else ct
