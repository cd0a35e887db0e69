"""The axes of one vertebra in the patient: across its mid-sagittal plane, to its front, and between its endplates.

They are read from what the record holds, so that what is drawn of a body lies in the plane that is looked at, also
after a reader has moved its points.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.outline import scale_to_unit
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_LEAST_FLATNESS = 3.0
"""How many times wider than thick the points of a plane lie; six points on one line make none."""
_LEAST_ALONG = 0.5
"""Cosine between an axis of a vertebra and that of its canal: 60 degrees, which no rotated or wedged body reaches."""


def find_body_axes(vertebra: Vertebra, canal_axes_ras: FloatArray) -> FloatArray:
    """Unit vectors to a vertebra's right, front and top, ``(3, 3)`` rows in RAS, at right angles.

    Right is across the plane that fits its outline best, or its six landmarks where it has no outline; front is the
    mean direction of both endplates within that plane, so that the third one stands on a plane parallel to them.

    Args:
        canal_axes_ras: the same of the canal at its height, which hold where nothing was measured, and where what was
            measured points elsewhere, as points that somebody placed at random do.
    """
    canal_right, canal_anterior, _ = canal_axes_ras
    points, marks = vertebra.outline_ras or vertebra.landmarks_ras, vertebra.landmarks_ras
    right = canal_right if points is None else _fit_normal(np.array(points), canal_right)
    anterior = canal_anterior
    if marks is not None:
        upper, lower = np.array(marks[:3]), np.array(marks[3:])
        plates = scale_to_unit(upper[0] - upper[2]) + scale_to_unit(lower[0] - lower[2])
        plates = scale_to_unit(plates - (plates @ right) * right)
        anterior = plates if plates @ canal_anterior > _LEAST_ALONG else anterior
    anterior = scale_to_unit(anterior - (anterior @ right) * right)
    return np.stack([right, anterior, np.cross(right, anterior)])


def _fit_normal(points: FloatArray, right: FloatArray) -> FloatArray:
    """The unit normal of the plane that fits the points ``(n, 3)``, on the side of ``right``; that where none does."""
    if len(points) < 3:
        return right
    _, spread, axes = np.linalg.svd(points - points.mean(axis=0))
    normal = axes[2] if axes[2] @ right >= 0.0 else -axes[2]
    fits = spread[1] > _LEAST_FLATNESS * spread[2] and normal @ right > _LEAST_ALONG
    return np.asarray(normal if fits else right)
