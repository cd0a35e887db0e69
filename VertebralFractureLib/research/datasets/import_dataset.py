"""Turn other people's data into annotated scans: a VerSe tree with masks, or CTs with nothing but a table of grades.

The centerline is the program's own. With masks, bodies are measured on them in straight space; without, they are those
that the program finds and names, and the table says which of them are fractured: look at them before you trust them.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.canal import Centerline, detect_centerline, load_canal_model
from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.errors import NotEvaluable, UnreadableVolume
from VertebralFractureLib.research.datasets import BodyBox, ReferenceSpine, ReferenceVertebra, reference_to_json
from VertebralFractureLib.research.datasets.centroid_file import read_centroids
from VertebralFractureLib.research.datasets.grade_table import ScanGrades, read_grades, scan_key
from VertebralFractureLib.research.datasets.label_maps import labels_to_straight
from VertebralFractureLib.types import BoolArray, ByteArray
from VertebralFractureLib.vertebrae import Vertebra, localize_vertebrae
from VertebralFractureLib.vertebrae.levels import LEVEL_NAMES
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.volume import CTVolume, ct_from_sitk, read_volume

logger = logging.getLogger(__name__)
_CT_ENDING, _MASK_ENDING, _CENTROID_ENDING = "_ct.nii.gz", "_seg-vert_msk.nii.gz", "_ctd.json"
_STRIP_MM, _POSTERIOR_MM, _ANTERIOR_MM = 3.0, 3.0, 3.5
_LEAST_VOXELS = 400
_CANAL_MM = 4.0
_CENTROID_MM = 30.0
"""Of the middle of a vertebra's mask, arch included, from the center of its body."""
_WIDTH_PER_DEPTH = 1.3
"""Endplate width over depth; the table of normal sizes has 1.1 to 1.4."""


@dataclass(frozen=True)
class SourceScan:
    """One CT with what is known beside it."""

    identifier: str
    volume: Path
    mask: Path | None = None
    centroids: Path | None = None


def source_scans(folder: Path) -> list[SourceScan]:
    """The CTs below ``folder``: ``*_ct.nii.gz`` of a BIDS tree with its derivatives, or else every ``*.nii.gz``.

    Raises:
        UnreadableVolume: when there is none.
    """
    every = sorted(path for path in folder.rglob("*.nii.gz"))
    in_tree = [path for path in every if path.name.endswith(_CT_ENDING)]
    scans = []
    for path in in_tree or [path for path in every if "_seg" not in path.name]:
        stem = path.name.removesuffix(_CT_ENDING).removesuffix(".nii.gz")
        masks = [other for other in every if other.name == f"{stem}{_MASK_ENDING}"]
        points = sorted(folder.rglob(f"{stem}_*{_CENTROID_ENDING}")) + sorted(folder.rglob(f"{stem}{_CENTROID_ENDING}"))
        scans.append(SourceScan(stem, path, masks[0] if masks else None, points[0] if points else None))
    if not scans:
        raise UnreadableVolume(f"The folder '{folder.name}' holds no .nii.gz.")
    return scans


def import_scan(scan: SourceScan, grades: ScanGrades, weights_folder: Path | None = None) -> ReferenceSpine:
    """The annotation of one scan.

    Raises:
        NotEvaluable: when no spinal canal is found.
        UnreadableVolume: when the CT cannot be used, or its mask or centroids do not belong to it.
    """
    ct = read_volume(scan.volume)
    line = detect_centerline(ct, load_canal_model(weights_folder))
    spine = straighten(ct, line)
    if scan.mask is None:
        thickness = max(ct.resolution_mm)
        found = localize_vertebrae(spine, VertebraModels.load(weights_folder), slice_thickness_mm=thickness)
        vertebrae = [_from_detection(vertebra, spine, grades) for vertebra in found]
    else:
        labels = _labels(scan, ct)
        if scan.centroids is not None:
            _check_centroids(scan, ct, labels)
        vertebrae = _from_mask(labels_to_straight(labels, ct, spine), spine, grades)
    return ReferenceSpine(scan.identifier, Centerline(line.points_ras, np.ones(len(line.points_ras))), tuple(vertebrae))


def _labels(scan: SourceScan, ct: CTVolume) -> ByteArray:
    import SimpleITK as sitk

    mask = ct_from_sitk(sitk.ReadImage(str(scan.mask)))
    if mask.shape_kji != ct.shape_kji or not np.allclose(mask.ijk_to_ras, ct.ijk_to_ras, atol=0.1):
        raise UnreadableVolume(f"The mask of '{scan.identifier}' is not on the grid of its CT; resample it first.")
    return np.asarray(mask.hu).astype(np.uint8)


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
    judged = vertebra.reason is None
    return ReferenceVertebra(
        vertebra.level,
        vertebra.complete,
        vertebra.center_ras,
        box,
        heights,
        grades.grade(vertebra.level) if judged else None,
        grades.shape(vertebra.level),
        level_certain=False,
    )


def _vertebra(
    level: str, complete: bool, box: BodyBox, heights: Heights, spine: StraightenedVolume, grades: ScanGrades
) -> ReferenceVertebra:
    middle = (0.5 * (box.r_left + box.r_right), 0.5 * (box.a_post + box.a_ant), 0.5 * (box.s_inf + box.s_sup))
    x, y, z = spine.frame.straight_to_ras(np.array([middle]))[0]
    center = (float(x), float(y), float(z))
    return ReferenceVertebra(level, complete, center, box, heights, grades.grade(level), grades.shape(level))


def import_scans(scans: Sequence[SourceScan], table: Path | None, out: Path) -> int:
    """Write ``<id>.nii.gz`` (a link where the file system can) and ``<id>.json`` of every scan; how many there are now.

    A scan that cannot be imported is left out, with the reason in the log; those already there are kept.
    """
    grades = {} if table is None else read_grades(table)
    out.mkdir(parents=True, exist_ok=True)
    done = 0
    for scan in scans:
        annotation = out / f"{scan.identifier}.json"
        try:
            if not annotation.is_file():
                known = grades.get(scan_key(scan.identifier), ScanGrades())
                content = json.dumps(reference_to_json(import_scan(scan, known)), indent=1)
                _link(scan.volume, out / f"{scan.identifier}.nii.gz")
                write_file(annotation, content + "\n")
            done += 1
        except (NotEvaluable, UnreadableVolume) as error:
            logger.warning("%s is left out: %s", scan.identifier, error)
    return done


def _link(source: Path, target: Path) -> None:
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
