"""A ``ReferenceSpine`` in a JSON file: ``<id>.json`` beside ``<id>.nii.gz``; phantoms write what readers annotate."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.research.datasets.reference_spine import BodyBox, ReferenceSpine, ReferenceVertebra


def read_annotation(path: Path) -> ReferenceSpine:
    """Read one annotation.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not such an annotation.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        points = np.asarray(content["centerline"]["points_ras"], dtype=np.float64)
        centerline = Centerline(points, np.ones(len(points)))
        uncertain = tuple((float(u[0]), float(u[1])) for u in content["centerline"].get("uncertain_ranges", ()))
        vertebrae = tuple(_vertebra(item) for item in content["vertebrae"])
        return ReferenceSpine(str(content["id"]), centerline, vertebrae, uncertain)
    except (KeyError, TypeError, AttributeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"{Path(path).name} is not a reference annotation: {error}.") from error


def _vertebra(item: dict[str, Any]) -> ReferenceVertebra:
    box = item.get("body_box")
    fields = ("s_inf", "s_sup", "a_post", "a_ant", "r_left", "r_right")
    known = box if box is not None and all(_is_number(box.get(name)) for name in fields) else None
    heights = item.get("heights_mm") or {}
    r, a, s = item["center_ras"] if "center_ras" in item else item["centre_ras"]
    return ReferenceVertebra(
        level=item.get("level"),
        complete=bool(item["complete"]),
        center_ras=(float(r), float(a), float(s)),
        box=None if known is None else BodyBox(**{name: float(known[name]) for name in fields}),
        heights_mm=(heights.get("ant"), heights.get("mid"), heights.get("post")),
        grade=item.get("genant_visual"),
        shape=item.get("shape"),
        flags=tuple(item.get("flags", ())),
        level_certain=item.get("level_confidence") == "certain",
        landmarks_ras=_points(item.get("landmarks_ras")),
    )


def _points(values: list[list[float]] | None) -> tuple[tuple[float, float, float], ...] | None:
    return None if values is None else tuple((float(r), float(a), float(s)) for r, a, s in values)


def reference_to_json(reference: ReferenceSpine) -> dict[str, Any]:
    """What ``read_annotation`` reads, as plain data; RAS mm."""
    return {
        "id": reference.identifier,
        "centerline": {
            "points_ras": np.round(reference.centerline.points_ras, 4).tolist(),
            "uncertain_ranges": [list(extent) for extent in reference.uncertain_mm],
        },
        "vertebrae": [
            {
                "level": vertebra.level,
                "level_confidence": "certain" if vertebra.level_certain else "probable",
                "complete": vertebra.complete,
                "center_ras": list(vertebra.center_ras),
                "body_box": None if vertebra.box is None else asdict(vertebra.box),
                "heights_mm": dict(zip(("ant", "mid", "post"), vertebra.heights_mm, strict=True)),
                "genant_visual": vertebra.grade,
                "shape": vertebra.shape,
                "flags": list(vertebra.flags),
                "landmarks_ras": vertebra.landmarks_ras,
            }
            for vertebra in reference.vertebrae
        ],
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
