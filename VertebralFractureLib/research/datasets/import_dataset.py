"""Turn other people's data into annotated scans: trees with masks, or CTs with nothing but a table of grades.

The centerline is the program's own. With masks, bodies are measured on them in straight space; without, they are those
that the program finds and names, and the table says which of them are fractured: look at them before you trust them.
Every item says where it comes from, so that no figure is measured against the program's own answer.

What an import made is kept and used again while CT, mask and centroids are the same; the table is laid onto it anew
every time, so that a corrected grade, or a corrected level in the annotation, counts. ``import-dataset.json`` beside
the annotations says what was joined to what, and what was left out with which grades.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib import __version__
from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.canal import Centerline, detect_centerline, load_canal_model
from VertebralFractureLib.checked_json import parse_json, read_text_file
from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.errors import NotEvaluable, UnreadableVolume
from VertebralFractureLib.research.datasets import (
    BodyBox,
    ReferenceSpine,
    ReferenceVertebra,
    Source,
    read_annotation,
    reference_to_json,
)
from VertebralFractureLib.research.datasets.centroid_file import read_centroids
from VertebralFractureLib.research.datasets.content_keys import file_sha256, folder_sha256
from VertebralFractureLib.research.datasets.grade_table import (
    EVERY_LEVEL,
    GradeJoin,
    GradeTable,
    ScanGrades,
    read_grades,
)
from VertebralFractureLib.research.datasets.label_maps import labels_to_straight
from VertebralFractureLib.types import BoolArray, ByteArray
from VertebralFractureLib.vertebrae import Vertebra, localize_vertebrae
from VertebralFractureLib.vertebrae.levels import LEVEL_NAMES, LEVEL_NUMBERS
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.volume import CTVolume, ct_from_sitk, read_volume, write_volume
from VertebralFractureLib.volume.ct_volume import ACQUISITION_FACTS

logger = logging.getLogger(__name__)
_CT_ENDING, _CENTROID_ENDING = "_ct.nii.gz", "_ctd.json"
_MASK_ENDINGS = ("_seg-vert_msk.nii.gz", "_seg.nii.gz")
_LEVEL_FOLDER = "segmentations"
_SEG_NII = ".nii"
_STRIP_MM, _POSTERIOR_MM, _ANTERIOR_MM = 3.0, 3.0, 3.5
_OTHER_IMAGE = re.compile("_(split|dir)-")
_LOG = "import-dataset.json"
_MADE_OF = "imported_from_sha256"
_LEFT_OUT = "left out"
_LEAST_VOXELS = 400
_SAME_VOXEL, _SAME_PLACE = 1e-3, 0.2
"""How far, in voxels, steps and first voxels of a mask and its CT may differ."""
_CANAL_MM = 4.0
_CENTROID_MM = 30.0
"""Of the middle of a vertebra's mask, arch included, from the center of its body."""
_WIDTH_PER_DEPTH = 1.3
"""Endplate width over depth; the table of normal sizes has 1.1 to 1.4."""


@dataclass(frozen=True)
class SourceScan:
    """One CT with what is known beside it.

    ``volume`` is a file or a DICOM folder; ``level_masks`` are binary masks of single vertebrae, by level.
    """

    identifier: str
    volume: Path
    mask: Path | None = None
    centroids: Path | None = None
    level_masks: Mapping[str, Path] = field(default_factory=dict)

    def made_of(self) -> dict[str, str | None]:
        """SHA-256 of all that an annotation is made of."""
        parts = {"volume": self.volume, "mask": self.mask, "centroids": self.centroids, **self.level_masks}
        return {name: None if path is None else _sha256(path) for name, path in parts.items()}


def source_scans(folder: Path) -> list[SourceScan]:
    """The CTs below ``folder``, with the masks that lie beside them.

    ``*_ct.nii.gz`` of a BIDS tree with its derivatives (VerSe), or else every ``.nii.gz`` that is no mask, or else
    every folder of DICOM files. Masks are ``<scan>_seg-vert_msk.nii.gz``, ``<scan>_seg.nii.gz`` anywhere below, or
    ``segmentations/vertebrae_<level>.nii.gz`` beside the CT (TotalSegmentator), or, of a DICOM folder, a NIfTI file of
    its name anywhere below (RSNA). Files of one name in several folders
    (``ct.nii.gz`` of every patient) are called by folder and name.

    Raises:
        UnreadableVolume: when there is none.
    """
    every = sorted(path for path in folder.rglob("*.nii.gz"))
    in_tree = [path for path in every if path.name.endswith(_CT_ENDING)]
    images = [path for path in every if "_seg" not in path.name and path.parent.name != _LEVEL_FOLDER]
    chosen = in_tree or images
    if not chosen:
        chosen = _dicom_folders(folder)
    stems = Counter(_stem(path) for path in chosen)
    centroids = sorted(folder.rglob(f"*{_CENTROID_ENDING}"))
    scans = []
    for path in chosen:
        stem = _stem(path)
        masks = [
            other
            for ending in _MASK_ENDINGS
            for other in every
            if other.name == f"{stem}{ending}" and _goes_with(other, path, stems)
        ]
        if path.is_dir():
            masks = sorted(folder.rglob(f"{path.name}{_SEG_NII}")) + sorted(folder.rglob(f"{path.name}{_SEG_NII}.gz"))
        points = [other for other in centroids if _is_of(other, stem) and _goes_with(other, path, stems)]
        name = stem if stems[stem] == 1 else "_".join((*path.parent.relative_to(folder).parts, stem))
        scans.append(
            SourceScan(
                name,
                path,
                masks[0] if masks else None,
                points[0] if points else None,
                {} if masks or path.is_dir() else _level_masks(path.parent / _LEVEL_FOLDER),
            )
        )
    if not scans:
        raise UnreadableVolume(f"The folder '{folder.name}' holds no .nii.gz and no folder of DICOM files.")
    return scans


def _dicom_folders(folder: Path) -> list[Path]:
    """Folders that hold DICOM files themselves, told by their first file."""
    found = []
    for one in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir())):
        first = next((path for path in sorted(one.iterdir()) if path.is_file() and path.suffix != ".csv"), None)
        if first is not None and one != folder:
            with first.open("rb") as stream:
                if first.suffix.lower() == ".dcm" or stream.read(132)[128:] == b"DICM":
                    found.append(one)
    return found


def _level_masks(folder: Path) -> dict[str, Path]:
    """Binary masks ``vertebrae_<level>.nii.gz`` by level."""
    named = {path.name.removesuffix(".nii.gz").removeprefix("vertebrae_"): path for path in folder.glob("vertebrae_*")}
    return {level: path for level, path in sorted(named.items()) if level in LEVEL_NUMBERS}


def _sha256(path: Path) -> str:
    return folder_sha256(path) if path.is_dir() else file_sha256(path)


def _stem(path: Path) -> str:
    return path.name.removesuffix(_CT_ENDING).removesuffix(".nii.gz")


def _is_of(centroids: Path, stem: str) -> bool:
    """Whether a centroid file names this image: what stands between stem and ending says what was segmented, and is no
    split or direction, which would be another image of the subject."""
    if not centroids.name.startswith(stem):
        return False
    between = centroids.name[len(stem) : -len(_CENTROID_ENDING)]
    return between == "" or (between.startswith("_") and not _OTHER_IMAGE.search(between))


def _goes_with(other: Path, volume: Path, stems: Counter[str]) -> bool:
    """Whether a file lies where the volume's own do: in its folder, where several volumes have its name."""
    return stems[_stem(volume)] == 1 or other.parent == volume.parent


def import_scan(scan: SourceScan, grades: ScanGrades, weights_folder: Path | None = None) -> ReferenceSpine:
    """The annotation of one scan.

    Raises:
        NotEvaluable: when no spinal canal is found.
        UnreadableVolume: when the CT cannot be used, or its mask or centroids do not belong to it.
    """
    ct = read_volume(scan.volume)
    line = detect_centerline(ct, load_canal_model(weights_folder))
    spine = straighten(ct, line)
    if scan.mask is None and not scan.level_masks:
        thickness = max(ct.resolution_mm)
        found = localize_vertebrae(spine, VertebraModels.load(weights_folder), slice_thickness_mm=thickness)
        vertebrae = [_from_detection(vertebra, spine, grades) for vertebra in found]
    else:
        labels = _labels(scan, ct) if scan.mask is not None else _merged_labels(scan, ct)
        if scan.centroids is not None:
            _check_centroids(scan, ct, labels)
        vertebrae = _from_mask(labels_to_straight(labels, ct, spine), spine, grades)
    return ReferenceSpine(
        scan.identifier,
        Centerline(line.points_ras, np.ones(len(line.points_ras))),
        tuple(vertebrae),
        centerline_by=Source.PROGRAM,
        unplaced_grades=grades.unplaced([vertebra.level for vertebra in vertebrae]),
        acquisition={name: ct.source[name] for name in ACQUISITION_FACTS if ct.source.get(name)},
    )


def _labels(scan: SourceScan, ct: CTVolume) -> ByteArray:
    assert scan.mask is not None
    return _mask_on_grid(scan.mask, scan, ct)


def _merged_labels(scan: SourceScan, ct: CTVolume) -> ByteArray:
    """One label map, with VerSe's numbers, of the masks of single vertebrae."""
    labels = np.zeros(ct.shape_kji, dtype=np.uint8)
    for level, path in scan.level_masks.items():
        labels[_mask_on_grid(path, scan, ct) > 0] = LEVEL_NUMBERS[level]
    return labels


def _mask_on_grid(path: Path, scan: SourceScan, ct: CTVolume) -> ByteArray:
    """A mask as it lies on the CT's grid.

    Raises:
        UnreadableVolume: when it is on another one.
    """
    import SimpleITK as sitk

    voxels = _in_order_of(ct_from_sitk(sitk.ReadImage(str(path))), ct)
    if voxels is None:
        raise UnreadableVolume(f"The mask of '{scan.identifier}' is not on the grid of its CT; resample it first.")
    return voxels.astype(np.uint8)


def _in_order_of(mask: CTVolume, ct: CTVolume) -> NDArray[np.generic] | None:
    """The voxels of ``mask`` in the order of the CT's axes, where they are the same voxels; None where they are not.

    A label map made in another program may have its axes turned or in another order.
    """
    step = np.linalg.inv(mask.ijk_to_ras) @ ct.ijk_to_ras
    turn = np.rint(step[:3, :3])
    if not np.allclose(step[:3, :3], turn, atol=_SAME_VOXEL) or not np.array_equal(
        np.abs(turn) @ np.abs(turn).T, np.eye(3)
    ):
        return None
    axes = [int(np.abs(turn[:, axis]).argmax()) for axis in range(3)]
    voxels = np.transpose(np.asarray(mask.hu).T, axes)
    first = np.zeros(3)
    for axis, own in enumerate(axes):
        if turn[own, axis] < 0.0:
            voxels = np.flip(voxels, axis)
            first[own] = voxels.shape[axis] - 1
    voxels = voxels.T
    return voxels if voxels.shape == ct.shape_kji and np.allclose(step[:3, 3], first, atol=_SAME_PLACE) else None


def _check_centroids(scan: SourceScan, ct: CTVolume, labels: ByteArray) -> None:
    """Centroids are voxel indices of the CT: where they lie far from their label's mask, somebody turned the image."""
    assert scan.centroids is not None
    for label, point in read_centroids(scan.centroids)[1]:
        kji = np.argwhere(labels == label)
        if len(kji) == 0:
            continue
        middle = ct.ijk_to_ras_points(kji[:, ::-1].mean(axis=0, keepdims=True))
        stated = ct.ijk_to_ras_points(np.array([point], dtype=np.float64))
        if float(np.linalg.norm(middle - stated)) > _CENTROID_MM:
            raise UnreadableVolume(
                f"The centroid of label {label} of '{scan.identifier}' does not lie in its mask; use "
                "centroids in voxels of the same image."
            )


def _from_mask(labels: NDArray[np.integer], spine: StraightenedVolume, grades: ScanGrades) -> list[ReferenceVertebra]:
    """Bodies measured on the mask (which holds the arch too) in straight space, caudal to cranial."""
    vertebrae = []
    for number in np.unique(labels):
        level = LEVEL_NAMES.get(int(number))
        box, heights = _measured(labels == number, spine) if level else (None, None)
        if level is None or box is None or heights is None:
            continue
        complete = _is_inside(box, spine)
        vertebrae.append(_vertebra(level, complete, box, heights, spine, grades))
    return sorted(vertebrae, key=lambda vertebra: vertebra.box.s_inf if vertebra.box else 0.0)


Heights = tuple[float | None, float | None, float | None]


def _measured(mask: BoolArray, spine: StraightenedVolume) -> tuple[BodyBox | None, Heights | None]:
    r, a, s = (spine.axis_mm(axis) for axis in "ras")
    strip = mask[:, :, np.abs(r) <= _STRIP_MM] & (a > _CANAL_MM)[None, :, None]
    if strip.sum() < _LEAST_VOXELS:
        return None, None
    profile = strip.mean(axis=2) >= 0.5
    columns = np.flatnonzero(profile.sum(axis=0) >= 0.4 * profile.sum(axis=0).max())
    middle_s = float(np.average(s, weights=profile.sum(axis=1)))
    row = profile[np.argmin(np.abs(s - middle_s))] & np.isin(np.arange(len(a)), columns)
    if row.sum() < 10:
        return None, None
    a_post, a_ant = float(a[row].min()) - 0.5, float(a[row].max()) + 0.5

    def ends(at_mm: float, half_mm: float) -> tuple[float, float]:
        near = np.abs(a - at_mm) <= half_mm
        spans = [(s[rows].min() - 0.5, s[rows].max() + 0.5) for rows in profile[:, near].T if rows.any()]
        low, high = np.median(np.array(spans), axis=0) if spans else (np.nan, np.nan)
        return float(low), float(high)

    low, high = ends(0.5 * (a_post + a_ant), 2.5)
    wide = mask[np.argmin(np.abs(s - middle_s))][np.argmin(np.abs(a - 0.5 * (a_post + a_ant)))]
    if not wide.any() or not np.isfinite(low + high):
        return None, None
    box = BodyBox(low, high, a_post, a_ant, float(r[wide].min()) - 0.5, float(r[wide].max()) + 0.5)
    anterior, posterior = ends(a_ant - _ANTERIOR_MM, 1.0), ends(a_post + _POSTERIOR_MM, 1.0)
    heights = tuple(_length(a_at, pair, spine) for a_at, pair in (
        (a_ant - _ANTERIOR_MM, anterior), (0.5 * (a_post + a_ant), (low, high)), (a_post + _POSTERIOR_MM, posterior),
    ))  # fmt: skip
    return box, (heights[0], heights[1], heights[2])


def _length(a_mm: float, ends: tuple[float, float], spine: StraightenedVolume) -> float | None:
    if not np.all(np.isfinite(ends)):
        return None
    low, high = spine.frame.straight_to_ras(np.array([[0.0, a_mm, ends[0]], [0.0, a_mm, ends[1]]]))
    return float(np.linalg.norm(high - low))


def _is_inside(box: BodyBox, spine: StraightenedVolume) -> bool:
    r, a, s = (spine.axis_mm(axis) for axis in "ras")
    corners = [
        spine.inside[np.argmin(np.abs(s - at_s)), np.argmin(np.abs(a - at_a)), np.argmin(np.abs(r - at_r))]
        for at_s in (box.s_inf - 1.5, box.s_sup + 1.5)
        for at_a in (box.a_post, box.a_ant)
        for at_r in (0.7 * box.r_left, 0.7 * box.r_right)
    ]
    return bool(np.all(corners))


def _from_detection(vertebra: Vertebra, spine: StraightenedVolume, grades: ScanGrades) -> ReferenceVertebra:
    middle, depth = float(spine.frame.ras_to_straight(np.array([vertebra.center_ras]))[0, 1]), 28.0
    if vertebra.landmarks_ras is not None:
        along = spine.frame.ras_to_straight(np.array(vertebra.landmarks_ras))[:, 1]
        middle = float(0.5 * (along.max() + along.min()))
        depth = float(along.max() - along.min()) + _POSTERIOR_MM + _ANTERIOR_MM
    half = 0.5 * _WIDTH_PER_DEPTH * depth
    box = BodyBox(*vertebra.extent_mm, middle - 0.5 * depth, middle + 0.5 * depth, -half, half)
    own = vertebra.heights_mm
    heights: Heights = (None, None, None) if own is None else (own.anterior, own.middle, own.posterior)
    return ReferenceVertebra(
        vertebra.level,
        vertebra.complete,
        vertebra.center_ras,
        box,
        heights,
        grades.grade(vertebra.level),
        grades.shape(vertebra.level),
        level_certain=False,
        center_by=Source.PROGRAM,
        heights_by=Source.PROGRAM,
        level_by=Source.PROGRAM,
        grade_by_table=grades.grade(vertebra.level) is not None,
    )


def _vertebra(
    level: str, complete: bool, box: BodyBox, heights: Heights, spine: StraightenedVolume, grades: ScanGrades
) -> ReferenceVertebra:
    middle = (0.5 * (box.r_left + box.r_right), 0.5 * (box.a_post + box.a_ant), 0.5 * (box.s_inf + box.s_sup))
    x, y, z = spine.frame.straight_to_ras(np.array([middle]))[0]
    center = (float(x), float(y), float(z))
    grade = grades.grade(level)
    return ReferenceVertebra(
        level,
        complete,
        center,
        box,
        heights,
        grade,
        grades.shape(level),
        center_by=Source.MASK,
        heights_by=Source.MASK,
        level_by=Source.MASK,
        grade_by_table=grade is not None,
    )


@dataclass(frozen=True)
class ImportedScan:
    """What became of one scan.

    Attributes:
        state: "imported", "kept" (its geometry is that of an earlier run), or "left out".
        reason: why it was left out.
        graded, fractured: vertebrae of its annotation with a grade, and with one above 0; of a scan that was left out,
            rows of the table.
        regraded: vertebrae of a kept annotation whose grade is another one now.
        unplaced: grades of the table that no vertebra carries.
    """

    identifier: str
    state: str
    reason: str = ""
    graded: int = 0
    fractured: int = 0
    regraded: int = 0
    unplaced: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Import:
    """What became of all scans, and how the table lay beside them."""

    scans: tuple[ImportedScan, ...]
    join: GradeJoin

    @property
    def done(self) -> int:
        return sum(scan.state != _LEFT_OUT for scan in self.scans)


def import_scans(
    scans: Sequence[SourceScan], table: Path | None, out: Path, say: Callable[[str], object] = logger.info
) -> Import:
    """Write ``<id>.nii.gz`` (a link where the file system can) and ``<id>.json`` of every scan, and what became of it.

    A scan that cannot be imported is left out with its reason; it is listed with its grades in ``import-dataset.json``.

    Args:
        scans: from ``source_scans``.
        table: CSV of grades; unknown without it.
        out: folder to write into.
        say: called with a line of each scan when it is done.
    """
    grades = GradeTable() if table is None else read_grades(table)
    join = grades.join([scan.identifier for scan in scans])
    out.mkdir(parents=True, exist_ok=True)
    done = []
    for number, scan in enumerate(scans, 1):
        known = join.grades.get(scan.identifier, ScanGrades())
        try:
            imported = _import_or_keep(scan, known, out)
        except (NotEvaluable, UnreadableVolume) as error:
            rows = [grade for level, grade in known.grades.items() if level != EVERY_LEVEL]
            imported = ImportedScan(
                scan.identifier, _LEFT_OUT, str(error), len(rows), sum(g > 0 for g in rows), unplaced=dict(known.grades)
            )
        done.append(imported)
        say(f"{number} of {len(scans)}: {_in_words(imported)}")
    result = Import(tuple(done), join)
    write_file(out / _LOG, json.dumps(_log_content(result, table), indent=1) + "\n")
    return result


def left_out_scans(folder: Path) -> list[ImportedScan]:
    """The scans that the import into ``folder`` left out; none where it says nothing."""
    try:
        content = json.loads((folder / _LOG).read_text(encoding="utf-8"))
        rows = [ImportedScan(**row) for row in content["scans"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [row for row in rows if row.state == _LEFT_OUT]


def _import_or_keep(scan: SourceScan, grades: ScanGrades, out: Path) -> ImportedScan:
    annotation, volume = out / f"{scan.identifier}.json", out / f"{scan.identifier}.nii.gz"
    made_of = scan.made_of()
    content = _content_of(annotation)
    if content is not None and content.get(_MADE_OF) in (None, made_of):
        regraded = _lay_grades(content, grades)
        state = "kept"
    else:
        content = {**reference_to_json(import_scan(scan, grades)), _MADE_OF: made_of}
        volume.unlink(missing_ok=True)
        regraded, state = 0, "imported"
    _link(scan.volume, volume)
    write_file(annotation, json.dumps(content, indent=1) + "\n")
    known = [vertebra["genant_visual"] for vertebra in content["vertebrae"] if vertebra["genant_visual"] is not None]
    return ImportedScan(
        scan.identifier,
        state,
        "",
        len(known),
        sum(grade > 0 for grade in known),
        regraded,
        content.get("unplaced_grades") or {},
    )


def _content_of(annotation: Path) -> dict[str, Any] | None:
    """The annotation as plain data; None where there is none.

    Raises:
        RefusedContent: when the file is something else.
    """
    if not annotation.is_file():
        return None
    read_annotation(annotation)
    content: dict[str, Any] = parse_json(read_text_file(annotation))
    return content


def _lay_grades(content: dict[str, Any], grades: ScanGrades) -> int:
    """Put the table's grades onto an annotation that is there; how many vertebrae have another one than before.

    A grade that an earlier table gave and this one does not becomes unknown; one that a reader wrote stays.
    """
    changed = 0
    for vertebra in content["vertebrae"]:
        level, before = vertebra.get("level"), vertebra.get("genant_visual")
        sources = dict(vertebra.get("sources") or {})
        grade = grades.grade(level)
        if grade is None and sources.get("grade") != "table":
            grade = before
        else:
            sources.pop("grade", None)
            if grade is not None:
                sources["grade"] = "table"
            vertebra["shape"] = grades.shape(level)
        vertebra["genant_visual"], vertebra["sources"] = grade, sources
        changed += grade != before
    content["unplaced_grades"] = grades.unplaced([vertebra.get("level") for vertebra in content["vertebrae"]])
    return changed


def _in_words(scan: ImportedScan) -> str:
    if scan.state == _LEFT_OUT:
        rows = f" Its {scan.graded} graded rows ({scan.fractured} fractured) have no scan." if scan.graded else ""
        return f"{scan.identifier} is LEFT OUT: {scan.reason}{rows}"
    text = f"{scan.identifier} {scan.state}, {scan.graded} vertebrae graded, {scan.fractured} of them fractured"
    if scan.regraded:
        text += f"; {scan.regraded} have another grade than before"
    if scan.unplaced:
        rows = ", ".join(f"{level} grade {grade}" for level, grade in scan.unplaced.items())
        text += f"; NOT FOUND in it: {rows}"
    return f"{text}."


def _log_content(result: Import, table: Path | None) -> dict[str, Any]:
    return {
        "software": __version__,
        "table": None if table is None else {"name": table.name, "sha256": file_sha256(table)},
        "scans": [asdict(scan) for scan in result.scans],
        "scans_without_row": list(result.join.scans_without_row),
        "rows_without_scan": list(result.join.rows_without_scan),
        "rows_of_several_scans": {name: list(scans) for name, scans in result.join.shared.items()},
    }


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        if not target.exists():
            write_volume(read_volume(source), target)
    elif not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
