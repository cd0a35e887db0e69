"""Find the image series in a DICOM folder without reading their voxels.

Only headers are read, through SimpleITK's GDCM, and the functional groups of enhanced images. One DICOM series may hold
images that do not belong to one volume (a localizer among the slices, two stacks, a projection), and images of one
volume may claim a series each: a ``DicomSeries`` here is a stack of one size, one orientation and one content, whatever
its UIDs say.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.private_folders import text_path
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import ACQUISITION_FACTS, contrast_of_header
from VertebralFractureLib.volume.dicom_content import SeriesContent, describe_content, judge_content
from VertebralFractureLib.volume.dicom_elements import NoDataSet, open_content, read_items, read_top_level, text_of
from VertebralFractureLib.volume.dicom_mending import CT_CLASSES, KNOWN_CLASSES, mended_copy, silent_library
from VertebralFractureLib.volume.dicom_multiframe import read_frame_tags, why_frames_are_no_stack
from VertebralFractureLib.volume.file_guard import holds_dicom_image, is_damaged_dicom

if TYPE_CHECKING:
    import SimpleITK

_DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".img")
_LONGEST_VALUE = 1024
"""Longer than any value that is used here; a description has at most 64 characters."""
_LEAST_LONE_IMAGES = 3
"""So many series of one image each, alike in all else, are one series whose images were given a UID each."""


@dataclass(frozen=True)
class DicomSlice:
    """The header of one DICOM image.

    Attributes:
        position_lps: center of the first voxel, LPS mm ``(3,)``; NaN where the file has none.
        axes_lps: ``(3, 2)``; the steps from one column and from one row to the next, LPS mm; NaN where unknown.
        frames: images in the file (1 except for multi-frame files).
        frame: which of them this is.
        to_mend: GDCM reads the file right from a ``mended_copy`` only.
    """

    path: Path
    sop_instance_uid: str
    acquisition: str
    position_lps: FloatArray
    axes_lps: FloatArray
    size_ij: tuple[int, int]
    frames: int
    frame: int = 0
    to_mend: bool = False


@dataclass(frozen=True)
class DicomSeries:
    """One stack of images of one size and orientation.

    Attributes:
        uid: SeriesInstanceUID; of the first image where every image has another.
        number: SeriesNumber, or "".
        description: SeriesDescription, or "".
        modality: for example "CT" or "MR".
        slice_count: number of images.
        kind: "axial", "coronal", "sagittal" or "oblique"; "localizer", "multi-frame" (frames that do not say where they
            lie), "unplaced" (images that do not), or "picture" (a color image).
        slices: the headers, in no particular order.
        acquisition_facts: what of the header matters for judging the image (slice thickness in mm, kVp, kernel,
            contrast agent yes or no where the header says it), without any identifier of the patient.
        content: what the values are.
        part: "", or which part of its series this stack is ("stack 2", "time point 3").
        patient: 0, 1, ... in the order of the folder: the patient by number, never by name.
        lossy: the images were compressed with loss.
        files_left_out: DICOM files in the same folder that are damaged or do not fit, and may belong to this series.
        uid_count: how many series UIDs its images carry.
    """

    uid: str
    number: str
    description: str
    modality: str
    slice_count: int
    kind: str
    slices: tuple[DicomSlice, ...]
    acquisition_facts: tuple[tuple[str, str], ...]
    content: SeriesContent = SeriesContent.ORIGINAL
    part: str = ""
    patient: int = 0
    lossy: bool = False
    uid_count: int = 1
    files_left_out: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(one.path for one in self.slices))

    @property
    def kernel(self) -> str:
        return dict(self.acquisition_facts).get("kernel", "")

    @property
    def title(self) -> str:
        """What the user is shown of the series."""
        words = f"'{self.description}'" if self.description else "without description"
        part = f", {self.part}" if self.part else ""
        what = [self.kind] + ([describe_content(self.content)] if self.content is not SeriesContent.ORIGINAL else [])
        return f"{self.number or '?'}: {words}{part}, {self.modality}, {self.slice_count} images ({', '.join(what)})"

    @property
    def is_volume(self) -> bool:
        """Whether its images say where they lie in space and are no overview."""
        return self.kind not in ("localizer", "picture", "unplaced")


def rank_of_series(series: DicomSeries) -> tuple[object, ...]:
    """The key by which series are sorted, the one that is taken without a choice first."""
    content = list(SeriesContent).index(series.content)
    return (series.modality != "CT", not series.is_volume, content, -series.slice_count, series.uid, series.part)


def could_be_dicom(path: Path) -> bool:
    """Whether the file has the mark of DICOM Part 10 (DICM after 128 bytes), or a name like an unmarked one's."""
    with path.open("rb") as reader:
        head = reader.read(132)
    return head[128:] == b"DICM" or path.suffix.lower() in _DICOM_SUFFIXES or path.suffix[1:].isdigit()


def list_dicom_series(folder: Path, *, subfolders: bool = True) -> list[DicomSeries]:
    """All stacks of images in a folder (and below it), the CT that is taken without a choice first.

    Files that are not DICOM, hold no image, or cannot be read are passed over.

    Raises:
        UnreadableVolume: when there is no DICOM image at all.
        OSError: when the folder cannot be read.
    """
    folder = Path(folder)
    whole, damaged = _leave_out_damaged(_candidates(folder, subfolders))
    stacks = _count_left_out(group_into_series(whole), damaged)
    if damaged and not stacks:
        raise UnreadableVolume(
            f"The DICOM images of the folder '{folder.name}' are damaged or cut off ({damaged} files); "
            "transfer the series again."
        )
    if not stacks:
        raise UnreadableVolume(
            f"The folder '{folder.name}' holds no DICOM image; choose the folder of a CT series, or an image file."
        )
    return sorted(stacks, key=rank_of_series)


def list_dicomdir_series(dicomdir: Path) -> list[DicomSeries]:
    """All stacks of the images that a DICOMDIR names, as ``list_dicom_series``.

    Raises:
        UnreadableVolume: when it names no image, or none of those that it names is there.
        OSError: when it cannot be read.
    """
    with open_content(dicomdir) as content:
        try:
            elements, explicit = read_top_level(content)
            records = read_items(content, elements.get(0x00041220), explicit)
            named = [text_of(content, record, 0x00041500) for record in records if 0x00041500 in record]
        except NoDataSet:
            named = []
    if not named:
        raise UnreadableVolume("The DICOMDIR names no image, or is damaged; choose the folder of the CT series.")
    # A file identifier has up to eight components of A to Z, 0 to 9 and _ (DICOM PS3.10, 8.2).
    parts = [[part.strip() for part in name.split("\\")] for name in named]
    safe = [own for own in parts if all(re.fullmatch(r"[A-Za-z0-9_]{1,16}", part) for part in own)]
    present = [path for own in safe if (path := _as_stored(dicomdir.parent, own)) is not None]
    whole, damaged = _leave_out_damaged(present)
    stacks = _count_left_out(group_into_series(whole), damaged)
    if not stacks:
        raise UnreadableVolume(
            f"The DICOMDIR is only the list of contents of a disc, and none of the {len(named)} files that it names is "
            "beside it; copy the whole disc, or choose the folder of the CT series."
        )
    return sorted(stacks, key=rank_of_series)


def _leave_out_damaged(paths: Iterable[Path]) -> tuple[list[Path], int]:
    """The files that a library may be given, and how many DICOM files beside them are damaged."""
    listed = list(paths)
    whole = [path for path in listed if not is_damaged_dicom(path)]
    return whole, len(listed) - len(whole)


def _count_left_out(stacks: list[DicomSeries], damaged: int) -> list[DicomSeries]:
    """The stacks with how many files were left out that may belong to each.

    Besides damaged ones these are the fewer images of its series that differ from its own (direction, size, modality)
    or do not say where they lie.
    """
    found = []
    for stack in stacks:
        apart = [
            other
            for other in stacks
            if other is not stack
            and other.kind in (stack.kind, "unplaced")
            and (other.uid, other.part) == (stack.uid, stack.part)
            and other.slice_count < stack.slice_count
        ]
        left_out = stack.files_left_out + damaged + sum(len(other.files) for other in apart)
        found.append(replace(stack, files_left_out=left_out))
    return found


def _as_stored(folder: Path, parts: Sequence[str]) -> Path | None:
    """The file of these components; discs are often copied in lower case."""
    for own in (parts, [part.lower() for part in parts]):
        path = folder.joinpath(*own)
        if path.is_file():
            return path
    return None


def group_into_series(paths: Iterable[Path]) -> list[DicomSeries]:
    """The stacks that the images of these files make, in no particular order."""
    groups: dict[tuple[object, ...], list[list[tuple[DicomSlice, dict[str, str]]]]] = defaultdict(list)
    patients: list[dict[str, str]] = []
    unread = 0
    for path in paths:
        found = _headers(path)
        unread += not found and holds_dicom_image(path)
        for one, tags in found:
            tags["patient"] = str(_number_of_patient(patients, tags))
            content = SeriesContent(tags["content"])
            apart = content if content.is_no_original else None
            kind = (tags["modality"], tags["kind"], tags["part"], _contradicting_bits(tags))
            key = (tags["uid"], tags["patient"], *kind, one.size_ij, apart)
            alike = groups[key]
            for members in alike:
                if np.allclose(members[0][0].axes_lps, one.axes_lps, rtol=0.0, atol=0.01, equal_nan=True):
                    members.append((one, tags))
                    break
            else:
                alike.append([(one, tags)])
    joined = _join_lone_images([own for alike in groups.values() for own in alike])
    return [replace(_series(members), files_left_out=unread) for members in joined]


def _contradicting_bits(tags: Mapping[str, str]) -> str:
    """Bits stored and highest bit where one is not that of the other; "" where all is well.

    A whole series may be so, of an old kind that is read right; a slice that is so alone would be read as noise.
    """
    stored, high = tags["bits_stored"], tags["high_bit"]
    fits = stored.isdigit() and high.isdigit() and int(stored) == int(high) + 1
    return "" if fits else f"{stored} {high}"


def _series(members: list[tuple[DicomSlice, dict[str, str]]]) -> DicomSeries:
    tags = members[0][1]
    facts = tuple((name, tags[name]) for name in ACQUISITION_FACTS if tags[name])
    thickest = _largest(own["slice_thickness_mm"] for _, own in members)
    if thickest:
        facts = tuple((name, thickest if name == "slice_thickness_mm" else value) for name, value in facts)
    return DicomSeries(
        tags["uid"],
        tags["number"],
        tags["description"],
        tags["modality"],
        # Frames that do not say where they lie are one slice with many frames.
        sum(one.frames if tags["kind"] == "multi-frame" else 1 for one, _ in members),
        tags["kind"],
        tuple(one for one, _ in members),
        facts,
        SeriesContent(tags["content"]),
        tags["part"],
        int(tags["patient"]),
        any(own["lossy"] == "01" for _, own in members),
        len({own["uid"] for _, own in members}),
    )


def _join_lone_images(
    stacks: list[list[tuple[DicomSlice, dict[str, str]]]],
) -> list[list[tuple[DicomSlice, dict[str, str]]]]:
    """Put together what was given a series UID (or a stack) for every single image, and is alike in all else."""
    alone: dict[tuple[object, ...], list[list[tuple[DicomSlice, dict[str, str]]]]] = defaultdict(list)
    for members in stacks:
        if len(members) == 1 and members[0][1]["kind"] not in ("localizer", "multi-frame"):
            one, tags = members[0]
            names = ("patient", "modality", "kind", "content", "number", "description", "kernel", "date", "kvp")
            axes = tuple(np.nan_to_num(np.round(one.axes_lps.ravel(), 2), nan=-1.0).tolist())
            key = (*(tags[name] for name in names), one.size_ij, axes)
            alone[key].append(members)
    joined: list[list[tuple[DicomSlice, dict[str, str]]]] = []
    taken: set[int] = set()
    for lone in alone.values():
        if len(lone) >= _LEAST_LONE_IMAGES:
            joined.append([(one, {**tags, "part": ""}) for members in lone for one, tags in members])
            taken.update(id(members) for members in lone)
    return [members for members in stacks if id(members) not in taken] + joined


def _largest(values: Iterable[str]) -> str:
    known = [value for value in values if _is_number(value)]
    return max(known, key=float, default="")


def _is_number(text: str) -> bool:
    return bool(np.isfinite(_numbers(text, 1)[0]))


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
    "date": "0008|0020",
    "acquisition": "0020|0012",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "spacing": "0028|0030",
    "columns": "0028|0011",
    "rows": "0028|0010",
    "samples": "0028|0002",
    "photometric": "0028|0004",
    "frames": "0028|0008",
    "bits_stored": "0028|0101",
    "high_bit": "0028|0102",
    "intercept": "0028|1052",
    "slope": "0028|1053",
    "rescale_type": "0028|1054",
    "technique": "0008|9207",
    "lossy": "0028|2110",
    "slice_thickness_mm": "0018|0050",
    "kvp": "0018|0060",
    "kernel": "0018|1210",
    "contrast_agent": "0018|0010",
    "patient_id": "0010|0020",
    "patient_name": "0010|0010",
    "birth_date": "0010|0030",
}


def _headers(path: Path) -> list[tuple[DicomSlice, dict[str, str]]]:
    """The image or the frames of a file with their tags; none when the file is no DICOM image."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    to_mend = False
    try:
        with silent_library(), text_path(path) as readable:
            reader.SetFileName(readable)
            reader.ReadImageInformation()
    except RuntimeError:
        with mended_copy(path) as copy:
            if copy is None:
                return []
            to_mend = True
            try:
                with silent_library():
                    reader.SetFileName(str(copy))
                    reader.ReadImageInformation()
            except RuntimeError:
                return []
    tags = {name: _tag(reader, key) for name, key in _TAGS.items()}
    tags["description"] = tags["description"][:64]
    if not tags["modality"] and tags["sop_class"] in CT_CLASSES:
        tags["modality"] = "CT"  # Some tools leave the modality out with the patient's name.
    tags["contrast_agent"] = contrast_of_header(tags["contrast_agent"])
    to_mend = to_mend or (
        tags["photometric"] == "MONOCHROME1"
        or tags["sop_class"] not in KNOWN_CLASSES
        or any("," in tags[name] for name in ("intercept", "slope"))
    )
    size = reader.GetSize()
    frames = int(tags["frames"]) if tags["frames"].isdigit() else 1
    groups = read_frame_tags(path) if frames > 1 or not tags["position"] else None
    tags["part"] = ""
    if groups is None or why_frames_are_no_stack(groups, frames) is not None:
        one = _slice(path, tags, (int(size[0]), int(size[1])), frames, 0, to_mend)
        return [(one, _judged({**tags, "kind": _kind(one, tags)}))]
    found = []
    stacks = len({group.get("stack", "") for group in groups}) > 1
    times = len({group.get("time", "") for group in groups}) > 1
    for n, group in enumerate(groups):
        own = {**tags, **group}
        one = _slice(path, own, (int(size[0]), int(size[1])), 1, n, to_mend)
        parts = [f"stack {own.get('stack', '?')}"] * stacks + [f"time point {own.get('time', '?')}"] * times
        found.append((one, _judged({**own, "part": " ".join(parts), "kind": _kind(one, own)})))
    return found


def _judged(tags: dict[str, str]) -> dict[str, str]:
    return {**tags, "content": judge_content(tags).value}


def _slice(
    path: Path, tags: Mapping[str, str], size_ij: tuple[int, int], frames: int, frame: int, to_mend: bool
) -> DicomSlice:
    orientation = _numbers(tags["orientation"], 6).reshape(2, 3)
    row_step, column_step = _numbers(tags["spacing"], 2)
    axes = np.stack([orientation[0] * column_step, orientation[1] * row_step], axis=1)
    position = _numbers(tags["position"], 3)
    return DicomSlice(path, tags["sop_instance"], tags["acquisition"], position, axes, size_ij, frames, frame, to_mend)


def _tag(reader: SimpleITK.ImageFileReader, key: str) -> str:
    if not reader.HasMetaDataKey(key):
        return ""
    # Bytes that are not valid in the file's character set reach Python as surrogates; they are shown as "?", and so
    # are control characters, which a terminal would obey.
    text = str(reader.GetMetaData(key)).encode("utf-8", "replace").decode("utf-8").replace("\0", "").strip()
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_VALUE])


def _number_of_patient(known: list[dict[str, str]], tags: dict[str, str]) -> int:
    """Which of the patients so far this header belongs to; a new one is added. The identifiers are taken out of it."""
    own = {name: tags.pop(name, "").casefold().strip() for name in ("patient_id", "patient_name", "birth_date")}
    own["patient_name"] = " ".join(sorted(re.findall(r"\w+", own["patient_name"])))
    for number, other in enumerate(known):
        if _is_one_patient(own, other):
            other.update({name: value for name, value in own.items() if not other[name]})
            return number
    known.append(own)
    return len(known) - 1


def _is_one_patient(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Compare what both headers know: an ID may be shared by all (ANONYMOUS) or changed when hospitals merge."""
    same = {name: one[name] == other[name] for name in one if one[name] and other[name]}
    if "patient_id" not in same:
        return same.get("patient_name", True) and same.get("birth_date", True)
    if not same["patient_id"]:
        return same.get("patient_name", False) and same.get("birth_date", False)
    # A marriage or a typing error leaves part of the name, or the day of birth.
    shares_name = bool(set(one["patient_name"].split()) & set(other["patient_name"].split()))
    return same.get("patient_name", True) or shares_name or same.get("birth_date", False)


def _numbers(text: str, count: int) -> FloatArray:
    """The decimals of a value; some exporters write them with a comma."""
    parts = text.replace(",", ".").split("\\")
    try:
        values = np.array([float(part) for part in parts], dtype=np.float64)
    except ValueError:
        return np.full(count, np.nan)
    return values if values.size == count else np.full(count, np.nan)


def _kind(one: DicomSlice, tags: Mapping[str, str]) -> str:
    if tags["samples"] not in ("", "1"):
        return "picture"
    if "LOCALIZER" in tags["image_type"].upper():
        return "localizer"
    if one.frames > 1:
        return "multi-frame"
    if not (np.all(np.isfinite(one.position_lps)) and np.all(np.isfinite(one.axes_lps))):
        return "unplaced"
    normal = np.abs(np.cross(one.axes_lps[:, 0], one.axes_lps[:, 1]))
    length = float(np.linalg.norm(normal))
    if length == 0.0:
        return "unplaced"
    cosines = normal / length
    # More than 0.8 (37 degrees) keeps a slice from a tilted gantry "axial".
    return ("sagittal", "coronal", "axial")[int(np.argmax(cosines))] if cosines.max() > 0.8 else "oblique"
