"""The label map of the vertebral bodies by level, on the CT's own grid, and its file.

Numbers follow the VerSe convention (``vertebrae.levels``); a body without a level of its own has a number from
``UNNAMED_FROM`` on. Names and SNOMED CT codes stand beside the voxels: in the header of an ``.nrrd``, as Slicer's
segmentations have them, else in a CSV file that Slicer reads as a color table.
"""

from __future__ import annotations

import colorsys
import csv
import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.export.palette import Color
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import ByteArray, FloatArray, Point
from VertebralFractureLib.vertebrae.body_solid import bound_body, has_solid, mark_body
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.vertebrae.vertebra import Vertebra
from VertebralFractureLib.volume import CTVolume, write_volume

UNNAMED_FROM = 101
SEGMENTATION_ENDINGS = (".nii.gz", ".nii", ".nrrd")
CATEGORY = ("SCT", "123037004", "Anatomical Structure")
BODY = ("SCT", "3572006", "Vertebral body")
_CODES = {
    **{"T1": "64864005", "T2": "53733008", "T3": "1626008", "T4": "73071006", "T5": "56401006", "T6": "45296009"},
    **{"T7": "62487009", "T8": "11068009", "T9": "82687006", "T10": "7610001", "T11": "12989004", "T12": "23215003"},
    **{"L1": "66794005", "L2": "14293000", "L3": "36470004", "L4": "11994002", "L5": "49668003", "S1": "65985001"},
}
"""SNOMED CT codes of the vertebrae."""
_NO_CODE = ("", "", "")
_GOLDEN_ANGLE = 0.381966
"""Fraction of the color circle from number to number, so that neighbors differ."""
_COLUMNS = (
    *("LabelValue", "Name", "Color_R", "Color_G", "Color_B", "Color_A"),
    *(f"{part}_{field}" for part in ("Category", "Type", "TypeModifier", "Region", "RegionModifier")
      for field in ("CodingScheme", "CodeValue", "CodeMeaning")),
)  # fmt: skip
"""Those of Slicer's color tables."""


@dataclass(frozen=True)
class Segment:
    """One body of a label map.

    Attributes:
        number: of its voxels.
        vertebra: as the report shows it.
    """

    number: int
    vertebra: Vertebra

    @property
    def name(self) -> str:
        """The level, or what stands for it."""
        return self.vertebra.label

    @property
    def region(self) -> tuple[str, str, str]:
        """Scheme, SNOMED CT code and words of the vertebra; empty where the level is unknown or has no code."""
        level = self.vertebra.level
        return ("SCT", _CODES[level], f"{level} vertebra") if level in _CODES else _NO_CODE

    @property
    def color(self) -> Color:
        """RGB from 0 to 1."""
        return colorsys.hsv_to_rgb((self.number * _GOLDEN_ANGLE) % 1.0, 0.55, 0.9)

    @property
    def terminology(self) -> str:
        """As Slicer's segments and DICOM segmentations say what they are: a vertebral body, of which vertebra."""
        parts = ["", *("^".join(code) for code in (CATEGORY, BODY, _NO_CODE)), "", "^".join(self.region), "^^"]
        return "~".join(parts)


@dataclass(frozen=True)
class LabelMap:
    """The bodies of a scan.

    Attributes:
        volume: uint8 ``[k, j, i]`` on the CT's grid, 0 where there is no body.
        segments: caudal to cranial, those with voxels.
        left_out: labels of the vertebrae that could not be filled, because they were not traced.
    """

    volume: CTVolume
    segments: tuple[Segment, ...]
    left_out: tuple[str, ...]


def list_segments(report: SpineReport) -> tuple[Segment, ...]:
    """The bodies that can be filled, caudal to cranial, each with a number of its own."""
    segments: list[Segment] = []
    used: set[int] = set()
    for vertebra in report.vertebrae:
        if not has_solid(vertebra):
            continue
        number = 0 if vertebra.level is None else LEVEL_NUMBERS[vertebra.level]
        if number in {0, *used}:
            number = UNNAMED_FROM + sum(one >= UNNAMED_FROM for one in used)
        used.add(number)
        segments.append(Segment(number, vertebra))
    return tuple(segments)


def fill_bodies(report: SpineReport, ct: CTVolume) -> LabelMap:
    """The bodies of a report as a label map on the grid of its CT; see ``fill_steps``."""
    steps = fill_steps(report, ct.shape_kji, ct.ijk_to_ras)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("LabelMap", end.value)


def fill_steps(
    report: SpineReport, shape_kji: tuple[int, int, int], ijk_to_ras: FloatArray
) -> Generator[None, None, LabelMap]:
    """The bodies of a report as a label map on a grid, in one short step a body.

    A voxel belongs to the body that holds its center; where two bodies overlap, to the one whose center is nearer.
    """
    grid = CTVolume(np.zeros(shape_kji, dtype=np.uint8), ijk_to_ras, "vertebral bodies")
    labels: ByteArray = np.asarray(grid.hu, dtype=np.uint8)
    segments = list_segments(report)
    centers = {segment.number: segment.vertebra.center_ras for segment in segments}
    for segment in segments:
        _fill(labels, grid, segment, centers)
        yield
    held = set(np.unique(labels).tolist())
    kept = tuple(segment for segment in segments if segment.number in held)
    filled = {segment.vertebra.center_ras for segment in kept}
    left_out = tuple(vertebra.label for vertebra in report.vertebrae if vertebra.center_ras not in filled)
    return LabelMap(replace(grid, hu=labels), kept, left_out)


def _fill(labels: ByteArray, grid: CTVolume, segment: Segment, centers: Mapping[int, Point]) -> None:
    corners = grid.ras_to_ijk_points(bound_body(segment.vertebra))
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, np.array(labels.shape[::-1]))
    if np.any(low >= high):
        return
    window = tuple(slice(int(low[axis]), int(high[axis])) for axis in (2, 1, 0))
    k, j, i = np.meshgrid(*(np.arange(part.start, part.stop) for part in window), indexing="ij")
    points = grid.ijk_to_ras_points(np.stack([i, j, k], axis=-1).reshape(-1, 3).astype(np.float64))
    is_inside = mark_body(segment.vertebra, points).reshape(k.shape)
    own = labels[window]
    here = np.linalg.norm(points - np.array(segment.vertebra.center_ras), axis=1).reshape(k.shape)
    for number in np.unique(own[is_inside & (own > 0)]).tolist():
        there = np.linalg.norm(points - np.array(centers[number]), axis=1).reshape(k.shape)
        is_inside &= (own != number) | (here < there)
    own[is_inside] = segment.number


def names_path(path: Path) -> Path | None:
    """Where the names of a label map stand; None for an ``.nrrd``, whose header holds them."""
    if path.name.endswith(".nrrd"):
        return None
    ending = next(one for one in SEGMENTATION_ENDINGS if path.name.endswith(one))
    return path.with_name(path.name.removesuffix(ending) + ".csv")


def check_segmentation_name(path: Path) -> None:
    """Check that a label map can be written under that name.

    Raises:
        OutputRefused: otherwise.
    """
    if not path.name.endswith(SEGMENTATION_ENDINGS):
        raise OutputRefused(
            f"'{one_line(path.name, NAME_LIMIT)}' has no ending of a label map; "
            f"use {', '.join(SEGMENTATION_ENDINGS[:-1])} or {SEGMENTATION_ENDINGS[-1]}."
        )


def write_segmentation(label_map: LabelMap, path: Path) -> None:
    """Write a label map and the names of its bodies; each file appears whole or not at all, and is read again.

    Raises:
        OutputRefused: when the file cannot be written, for example for want of space, or its name or grid has no such
            format.
        OSError: when the folder cannot be written to.
    """
    check_segmentation_name(path)
    names = names_path(path)
    try:
        write_volume(label_map.volume, path, None if names is not None else _header(label_map))
    except ValueError as error:
        raise OutputRefused("The CT's grid is sheared, which NIfTI cannot hold; name an .nrrd file.") from error
    if names is not None:
        write_file(names, _color_table(label_map))


def _header(label_map: LabelMap) -> dict[str, str]:
    """The fields by which Slicer knows the segments of an ``.nrrd``."""
    k, j, i = label_map.volume.shape_kji
    fields = {"Segmentation_MasterRepresentation": "Binary labelmap"}
    for index, segment in enumerate(label_map.segments):
        fields |= {
            f"Segment{index}_{key}": value
            for key, value in {
                "ID": f"vertebra_{segment.number}",
                "Name": segment.name,
                "NameAutoGenerated": "0",
                "Color": " ".join(f"{part:.4f}" for part in segment.color),
                "ColorAutoGenerated": "0",
                "LabelValue": str(segment.number),
                "Layer": "0",
                "Extent": f"0 {i - 1} 0 {j - 1} 0 {k - 1}",
                "Tags": f"TerminologyEntry:{segment.terminology}|",
            }.items()
        }
    return fields


def _color_table(label_map: LabelMap) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for segment in label_map.segments:
        color = [round(255 * part) for part in segment.color]
        codes = [*CATEGORY, *BODY, *_NO_CODE, *segment.region, *_NO_CODE]
        writer.writerow([segment.number, segment.name, *color, 255, *codes])
    return text.getvalue()
