"""The centroid file of VerSe: for each label the voxel of its centroid, along axes that the file names."""

from __future__ import annotations

from pathlib import Path

from VertebralFractureLib.checked_json import parse_json, read_text_file, show_value
from VertebralFractureLib.checked_record import name_row, value_from_content
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.types import Point, about

_LABEL = about("number of a label", least=0, most=1_000)
_VOXEL = about("a voxel's number", least=-1e5, most=1e5)
_AXES = ("RL", "AP", "SI")


def read_centroids(path: Path) -> tuple[tuple[str, ...], list[tuple[int, Point]]]:
    """The letters of the axes (R, L, A, P, S or I; none where the file names none) and the labels with their voxels.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: a ``ValueError``, when it is no such file.
    """
    content = parse_json(read_text_file(path))
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise RefusedContent(f"'{path.name}' holds {show_value(content)}; allowed is a list of centroids.")
    direction: tuple[str, ...] = ()
    points: list[tuple[int, Point]] = []
    for index, item in enumerate(content):
        row = f"'{path.name}', {name_row(index, item)}"
        try:
            if "direction" in item:
                direction = value_from_content(tuple[str, str, str], item["direction"], "direction")
                if not all(sum(letter in axis for letter in direction) == 1 for axis in _AXES):
                    words = show_value("".join(direction))
                    raise RefusedContent(f"'direction' holds {words}; allowed is one letter of each axis")
            if "label" in item:
                voxel = [item.get(axis) for axis in "XYZ"]
                label = value_from_content(int, item["label"], "label", _LABEL)
                points.append((label, value_from_content(Point, voxel, "X, Y, Z", _VOXEL)))
        except RefusedContent as error:
            raise RefusedContent(f"{row}, {error}.") from None
    return direction, points
