"""Tell whether the later end of a straightened spine is the head, from all of its vertebrae. Imports torch inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.errors import PositionUnclear
from VertebralFractureLib.orientation.rotations import measure_angle_deg
from VertebralFractureLib.thresholds import ORIENTATION
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.localization import LocalizedBody

if TYPE_CHECKING:
    import torch

    from VertebralFractureLib.orientation.upright_network import UprightModel


def measure_head_up(
    spine: StraightenedVolume,
    bodies: Sequence[LocalizedBody],
    upright: UprightModel,
    fine: torch.Tensor | None = None,
) -> FloatArray:
    """Log-odds ``(n,)`` of every one of the bodies, caudal to cranial, that the head end of the spine volume is up.

    Args:
        fine: of ``level_input.build_fine_volume`` for this volume, where it is built already.
    """
    from VertebralFractureLib.orientation.estimation import measure_upright

    extents = [(one.span.s_inferior_mm, one.span.s_superior_mm) for one in bodies]
    return np.asarray(measure_upright(spine, extents, upright, fine))


def is_head_down(odds: FloatArray) -> bool:
    """Whether the vertebrae show that the later end of the canal is the caudal one.

    Args:
        odds: of ``measure_head_up``.

    Raises:
        PositionUnclear: when they show it faintly.
    """
    mean = float(odds.mean()) if len(odds) else 0.0
    if -ORIENTATION.least_upright < mean < 0.0:
        raise PositionUnclear(
            "It is not clear from the voxels which end of the spine is the head, and the little that is seen speaks "
            "against what the file says; check the orientation of the series, or use a scan that shows more of the "
            "vertebrae."
        )
    return mean <= -ORIENTATION.least_upright


def list_position_doubts(centerline: Centerline, is_front_seen: bool, odds: FloatArray) -> tuple[Doubt, ...]:
    """What is doubtful about how the patient lies: not as the file says, or not to be seen.

    Args:
        odds: of ``measure_head_up``; their sign does not count.
    """
    angle = measure_angle_deg(centerline.patient_axes)
    doubts = []
    if angle > 0.0:
        doubts.append(Doubt(DoubtKind.PATIENT_ROTATED, {"degrees": round(angle, 1)}))
    if not is_front_seen or not len(odds) or abs(float(odds.mean())) < ORIENTATION.least_upright:
        doubts.append(Doubt(DoubtKind.POSITION_UNCONFIRMED))
    return tuple(doubts)
