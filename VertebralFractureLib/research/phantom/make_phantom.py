"""``make_phantom``: from options to a CT with its truth.

The anatomy is built once in the patient's millimeters and drawn straight on the scan's own grid (with sub-slices), so
any orientation costs the same and nothing is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr import lay_frame
from VertebralFractureLib.research.datasets import ReferenceSpine
from VertebralFractureLib.research.phantom.acquisition import scan, sub_slices
from VertebralFractureLib.research.phantom.bones import draw_spine
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import Raster
from VertebralFractureLib.research.phantom.ribs_pelvis import draw_girdle, draw_metal, draw_pelvis, draw_ribs
from VertebralFractureLib.research.phantom.skeleton import Skeleton, build_skeleton, crop_centerline
from VertebralFractureLib.research.phantom.skull_base import draw_atlas_and_skull
from VertebralFractureLib.research.phantom.torso import Torso, draw_torso, torso_of
from VertebralFractureLib.research.phantom.truth import draw_labels, reference_vertebra
from VertebralFractureLib.types import ByteArray, FloatArray
from VertebralFractureLib.vertebrae.levels import LEVEL_NAMES
from VertebralFractureLib.volume import CTVolume

_SPINE_SIDE_MM, _SPINE_FRONT_MM, _SPINE_BACK_MM = 82.0, 95.0, 75.0
_AIR_MM = 12.0


@dataclass(frozen=True)
class Phantom:
    """A phantom scan and what is true about it.

    ``body_labels`` is uint8 ``[k, j, i]`` on the CT's grid: the VerSe number of the vertebral body that holds the
    voxel's center, 0 elsewhere.
    """

    ct: CTVolume
    reference: ReferenceSpine
    body_labels: ByteArray
    options: PhantomOptions


def make_phantom(options: PhantomOptions) -> Phantom:
    """Draw one phantom; the same options always give the same phantom.

    Raises:
        ValueError: when a level of the options does not exist in this spine, or the coverage is upside down.
    """
    rng = np.random.default_rng([options.seed, 2020])
    skeleton = build_skeleton(options, rng)
    torso = torso_of(skeleton, options)
    low, high = _extent(skeleton, torso, options)
    matrix, shape = _grid(low, high, options)
    per_slice = sub_slices(options.spacing_mm[2])
    fine = matrix.copy()
    fine[:3, 2] /= per_slice
    fine[:3, 3] -= fine[:3, 2] * (per_slice // 2)
    raster = Raster(np.empty((shape[0] * per_slice, shape[1], shape[2]), dtype=np.float32), fine)
    draw_torso(raster, torso, options, rng)
    draw_ribs(raster, skeleton, torso, options, rng)
    draw_girdle(raster, torso, options)
    draw_pelvis(raster, skeleton, options)
    draw_spine(raster, skeleton, options, rng)
    if options.to_skull:
        draw_atlas_and_skull(raster, skeleton, options)
    if options.screw_levels or options.cement_levels:
        draw_metal(raster, skeleton, options)
    name = f"phantom-{options.seed}"
    ct = CTVolume(scan(raster.hu, options, per_slice, rng), matrix, name, {"modality": "CT"})
    labels = np.zeros(shape, dtype=np.uint8)
    draw_labels(labels, matrix, skeleton)
    return Phantom(ct, _reference(name, ct, labels, skeleton, low, high, options), labels, options)


def _reference(
    name: str, ct: CTVolume, labels: ByteArray, skeleton: Skeleton,
    low: FloatArray, high: FloatArray, options: PhantomOptions,
) -> ReferenceSpine:  # fmt: skip
    centerline = crop_centerline(skeleton.centerline, low, high)
    frame = lay_frame(centerline)
    seen = {LEVEL_NAMES[int(number)] for number in np.unique(labels) if number > 0}
    vertebrae = tuple(
        reference_vertebra(vertebra, ct, frame, options) for vertebra in skeleton.vertebrae if vertebra.level in seen
    )
    return ReferenceSpine(name, centerline, vertebrae)


def _extent(skeleton: Skeleton, torso: Torso, options: PhantomOptions) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest RAS corner that the volume covers."""
    try:
        bottom = float(skeleton.find(options.caudal_level).center_ras[2]) + options.caudal_shift_mm
        top = float(skeleton.find(options.cranial_level).center_ras[2]) + options.cranial_shift_mm
    except KeyError as error:
        raise ValueError(f"This spine has no level {error}; choose the coverage from its own levels.") from error
    if top - bottom < 20.0:
        raise ValueError("The cranial end of the coverage must lie at least 20 mm above the caudal end.")
    within = (torso.z >= bottom) & (torso.z <= top)
    canal_x, canal_y = torso.canal_x[within], torso.canal_y[within]
    if options.field_of_view == "spine":
        low = [canal_x.min() - _SPINE_SIDE_MM, canal_y.min() - _SPINE_BACK_MM, bottom]
        high = [canal_x.max() + _SPINE_SIDE_MM, canal_y.max() + _SPINE_FRONT_MM, top]
        return np.array(low), np.array(high)
    middle_x, middle_y = (axis[within] for axis in torso.middle())
    wide, deep = torso.half_width[within], torso.half_depth[within]
    low = [(middle_x - wide).min() - _AIR_MM, (middle_y - deep).min() - 2.5 * _AIR_MM, bottom]
    high = [(middle_x + wide).max() + _AIR_MM, (middle_y + deep).max() + _AIR_MM, top]
    return np.array(low), np.array(high)


def _grid(low: FloatArray, high: FloatArray, options: PhantomOptions) -> tuple[FloatArray, tuple[int, int, int]]:
    """IJK-to-RAS and shape [k, j, i]: stored as scanners do (i to the left, j to the back), turned about the middle."""
    if options.orientation == "axial":
        axes = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0 if options.descending else 1.0]])
    else:
        axes = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    size = high - low
    counts = [
        int(np.floor(np.abs(axis) @ size / step)) + 1 for axis, step in zip(axes, options.spacing_mm, strict=True)
    ]
    about_x, about_y = np.radians(options.tilt_deg)
    turn_x = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]])
    turn_y = np.array([[np.cos(about_y), 0, np.sin(about_y)], [0, 1, 0], [-np.sin(about_y), 0, np.cos(about_y)]])
    matrix = np.eye(4)
    matrix[:3, :3] = (turn_y @ turn_x @ axes.T) * np.array(options.spacing_mm)
    matrix[:3, 3] = 0.5 * (low + high) - matrix[:3, :3] @ (0.5 * (np.array(counts) - 1.0))
    return matrix, (counts[2], counts[1], counts[0])
