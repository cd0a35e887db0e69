"""Find the image series in a DICOM folder without reading their voxels.

Only headers are read, through SimpleITK's GDCM. One DICOM series may hold images that do not belong to one volume (a
localizer among the slices): a ``DicomSeries`` here is a stack of one size and one orientation.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import ACQUISITION_FACTS

if TYPE_CHECKING:
    import SimpleITK

_DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".img")


@dataclass(frozen=True)
class DicomSlice:
    """The header of one DICOM image file.

    Attributes:
        position_lps: center of the first voxel, LPS mm ``(3,)``; NaN where the file has none.
        axes_lps: ``(3, 2)``; the steps from one column and from one row to the next, LPS mm; NaN where unknown.
        frames: images in the file (1 except for multi-frame files).
    """

    path: Path
    sop_instance_uid: str
    acquisition: str
    position_lps: FloatArray
    axes_lps: FloatArray
    size_ij: tuple[int, int]
    frames: int


@dataclass(frozen=True)
class DicomSeries:
    """One stack of images of one size and orientation.

    Attributes:
        uid: SeriesInstanceUID.
        number: SeriesNumber, or "".
        description: SeriesDescription, or "".
        modality: for example "CT" or "MR".
        slice_count: number of images.
        kind: "axial", "coronal", "sagittal" or "oblique"; "localizer", "multi-frame", or "picture" (a screen shot or an
            image without a position in space).
        slices: the headers, in no particular order.
        acquisition_facts: what of the header matters for judging the image (slice thickness in mm, kVp, kernel,
            contrast agent yes or no), without any identifier of the patient.
    """

    uid: str
    number: str
    description: str
    modality: str
    slice_count: int
    kind: str
    slices: tuple[DicomSlice, ...]
    acquisition_facts: tuple[tuple[str, str], ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(one.path for one in self.slices)

    @property
    def title(self) -> str:
        """What the user is shown of the series."""
        words = f"'{self.description}'" if self.description else "without description"
        return f"{self.number or '?'}: {words}, {self.modality}, {self.slice_count} images ({self.kind})"


def could_be_dicom(path: Path) -> bool:
    """Whether the file has the mark of DICOM Part 10 (DICM after 128 bytes), or a name like an unmarked one's."""
    with path.open("rb") as reader:
        head = reader.read(132)
    return head[128:] == b"DICM" or path.suffix.lower() in _DICOM_SUFFIXES or path.suffix[1:].isdigit()


def list_dicom_series(folder: Path, *, subfolders: bool = True) -> list[DicomSeries]:
    """All stacks of images in a folder (and below it), the CT with the most slices first.

    Files that are not DICOM, hold no image, or cannot be read are passed over.

    Raises:
        UnreadableVolume: when there is no DICOM image at all.
        OSError: when the folder cannot be read.
    """
    folder = Path(folder)
    groups: dict[tuple[object, ...], list[list[tuple[DicomSlice, dict[str, str]]]]] = defaultdict(list)
    for path in _candidates(folder, subfolders):
        header = _header(path)
        if header is None:
            continue
        one, tags = header
        alike = groups[(tags["uid"], tags["modality"], tags["kind"], one.size_ij, one.frames > 1)]
        for members in alike:
            if np.allclose(members[0][0].axes_lps, one.axes_lps, rtol=0.0, atol=0.01, equal_nan=True):
                members.append((one, tags))
                break
        else:
            alike.append([(one, tags)])
    if not groups:
        raise UnreadableVolume(
            f"The folder '{folder.name}' holds no DICOM image; choose the folder of a CT series, or an image file."
        )
    stacks = []
    for members in (members for alike in groups.values() for members in alike):
        slices, tags = tuple(one for one, _ in members), members[0][1]
        facts = tuple((name, tags[name]) for name in ACQUISITION_FACTS if tags[name])
        count = sum(one.frames for one in slices)
        stacks.append(
            DicomSeries(
                tags["uid"], tags["number"], tags["description"], tags["modality"], count, tags["kind"], slices, facts
            )
        )
    return sorted(stacks, key=lambda s: (s.modality != "CT", s.kind in _NOT_A_VOLUME, -s.slice_count, s.uid))


def select_series(stacks: Sequence[DicomSeries], wanted: str | None) -> DicomSeries:
    """The stack that the user means, or the CT with the most slices.

    Args:
        stacks: as ``list_dicom_series`` gives them.
        wanted: a UID, the beginning of one, a series number, a description, or part of one; None for the largest CT.

    Raises:
        UnreadableVolume: when no stack or more than one series fits, or when what fits is not a CT volume.
    """
    fitting = list(stacks) if wanted is None else _fitting(stacks, wanted.strip())
    if wanted is not None:
        if not fitting:
            raise UnreadableVolume(f"No series fits '{wanted}'; choose one of: {_titles(stacks)}.")
        if len({stack.uid for stack in fitting}) > 1:
            raise UnreadableVolume(f"More than one series fits '{wanted}'; choose one of: {_titles(fitting)}.")
    volumes = [s for s in fitting if s.modality == "CT" and s.kind not in _NOT_A_VOLUME]
    if volumes:
        return max(volumes, key=lambda stack: stack.slice_count)
    modalities = sorted({stack.modality or "unknown" for stack in fitting})
    if "CT" in modalities:
        raise UnreadableVolume(f"There is no CT volume, only {_titles(fitting)}; choose the folder of the CT series.")
    raise UnreadableVolume(f"The modality is {' and '.join(modalities)}, not CT; choose the folder of a CT series.")


def _fitting(stacks: Sequence[DicomSeries], wanted: str) -> list[DicomSeries]:
    """The narrowest reading of the user's word that fits anything."""
    low = wanted.casefold()
    for test in (
        lambda s: s.uid == wanted,
        lambda s: s.number == wanted,
        lambda s: s.description.casefold() == low,
        lambda s: s.uid.startswith(wanted),
        lambda s: low in s.description.casefold(),
    ):
        found = [stack for stack in stacks if test(stack)]
        if found and wanted:
            return found
    return []


def _titles(stacks: Sequence[DicomSeries]) -> str:
    shown = [stack.title for stack in stacks[:6]]
    return "; ".join(shown) + (f"; and {len(stacks) - 6} more" if len(stacks) > 6 else "")


def _candidates(folder: Path, subfolders: bool) -> list[Path]:
    """The files that could be DICOM, hidden ones and DICOMDIR left out, in a fixed order."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if subfolders and not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if name.startswith(".") or name.upper() == "DICOMDIR" or not path.is_file():
                continue
            if could_be_dicom(path):
                found.append(path)
    return found


_TAGS = {
    "uid": "0020|000e",
    "number": "0020|0011",
    "description": "0008|103e",
    "modality": "0008|0060",
    "sop_class": "0008|0016",
    "sop_instance": "0008|0018",
    "image_type": "0008|0008",
    "acquisition": "0020|0012",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "spacing": "0028|0030",
    "columns": "0028|0011",
    "rows": "0028|0010",
    "samples": "0028|0002",
    "frames": "0028|0008",
    "slice_thickness_mm": "0018|0050",
    "kvp": "0018|0060",
    "kernel": "0018|1210",
    "contrast_agent": "0018|0010",
}
_NOT_A_VOLUME = ("localizer", "picture")


def _header(path: Path) -> tuple[DicomSlice, dict[str, str]] | None:
    """The slice and its tags, or None when the file is no DICOM image."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    tags = {name: _tag(reader, key) for name, key in _TAGS.items()}
    tags["contrast_agent"] = "yes" if tags["contrast_agent"] else "no"
    size = reader.GetSize()
    frames = int(tags["frames"]) if tags["frames"].isdigit() else 1
    position = _numbers(tags["position"], 3)
    orientation = _numbers(tags["orientation"], 6).reshape(2, 3)
    row_step, column_step = _numbers(tags["spacing"], 2)
    axes = np.stack([orientation[0] * column_step, orientation[1] * row_step], axis=1)
    one = DicomSlice(
        path, tags["sop_instance"], tags["acquisition"], position, axes, (int(size[0]), int(size[1])), frames
    )
    tags["kind"] = _kind(one, tags)
    return one, tags


def _tag(reader: SimpleITK.ImageFileReader, key: str) -> str:
    if not reader.HasMetaDataKey(key):
        return ""
    # Bytes that are not valid in the file's character set reach Python as surrogates; they are shown as "?".
    text = str(reader.GetMetaData(key)).encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "").strip()


def _numbers(text: str, count: int) -> FloatArray:
    parts = text.split("\\")
    try:
        values = np.array([float(part) for part in parts], dtype=np.float64)
    except ValueError:
        return np.full(count, np.nan)
    return values if values.size == count else np.full(count, np.nan)


def _kind(one: DicomSlice, tags: dict[str, str]) -> str:
    if tags["samples"] not in ("", "1"):
        return "picture"
    if "LOCALIZER" in tags["image_type"].upper():
        return "localizer"
    if one.frames > 1:
        return "multi-frame"
    if not (np.all(np.isfinite(one.position_lps)) and np.all(np.isfinite(one.axes_lps))):
        return "picture"
    normal = np.abs(np.cross(one.axes_lps[:, 0], one.axes_lps[:, 1]))
    length = float(np.linalg.norm(normal))
    if length == 0.0:
        return "picture"
    cosines = normal / length
    # More than 0.8 (37 degrees) keeps a slice from a tilted gantry "axial".
    return ("sagittal", "coronal", "axial")[int(np.argmax(cosines))] if cosines.max() > 0.8 else "oblique"
