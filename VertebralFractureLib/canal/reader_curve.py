"""Compare a curve that a person gave with the canal that the network sees in the same CT.

A curve of another patient, or one whose coordinates were written in the other convention, lies somewhere in the body
just as well, and every step after this one would answer along it. A reader's curve in a scan where the network sees
little must stay usable: only a canal that is clearly seen elsewhere speaks against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.errors import UnusableCorrection
from VertebralFractureLib.thresholds import READER_CURVE
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.volume import CTVolume

if TYPE_CHECKING:
    from VertebralFractureLib.canal.control_point_path import CanalEvidence

_STEP_MM = 2.0


@dataclass(frozen=True)
class CurveFit:
    """How a curve lies in a scan, at arc lengths 2 mm apart.

    Attributes:
        arc_length_mm: ``(n,)``.
        inside: ``(n,)`` whether the curve runs within the volume.
        on_canal: ``(n,)`` whether the network sees a canal there.
        clearly_beside: ``(n,)`` whether it clearly sees the canal of that height somewhere else.
        beside_mm: median distance to that canal; NaN where there is none.
    """

    arc_length_mm: FloatArray
    inside: BoolArray
    on_canal: BoolArray
    clearly_beside: BoolArray
    beside_mm: float

    @property
    def off_mm(self) -> float:
        """Length of the curve along which no canal is seen."""
        return _STEP_MM * float(np.sum(~self.on_canal))

    @property
    def length_mm(self) -> float:
        return _STEP_MM * len(self.arc_length_mm)

    @property
    def is_doubtful(self) -> bool:
        """Whether so much of the curve runs off any canal that it has to be said."""
        return self.off_mm >= READER_CURVE.doubtful_mm

    def is_off(self, from_mm: float, to_mm: float) -> bool:
        """Whether no canal is seen along most of the stretch between two arc lengths."""
        within = (self.arc_length_mm >= from_mm) & (self.arc_length_mm <= to_mm)
        return bool(within.any() and np.mean(self.on_canal[within]) < 0.5)


def compare_with_canal(ct: CTVolume, evidence: CanalEvidence, line: Centerline) -> CurveFit:
    """How ``line`` lies in the scan and in what the network sees of its canal."""
    evidence.cover(line.points_ras)
    return _compare(ct, evidence, line)


def refuse_foreign_curve(ct: CTVolume, evidence: CanalEvidence, line: Centerline, name: str) -> None:
    """Refuse a curve that cannot be the canal of this scan.

    Args:
        name: of the file, for the sentence.

    Raises:
        UnusableCorrection: when most of the curve lies outside the scan, or off a canal that is clearly seen elsewhere;
            where its mirror image (RAS numbers under LPS, or the other way round) fits, the sentence says so.
    """
    refuse_curve_outside(ct, line, name)
    tuned = READER_CURVE
    fit = compare_with_canal(ct, evidence, line)
    if np.mean(fit.on_canal) >= tuned.least_on_canal:
        return
    mirrored = _compare(ct, evidence, mirror_curve(line))
    if np.mean(mirrored.on_canal) >= tuned.fits_from and np.mean(mirrored.inside) >= tuned.least_inside:
        raise UnusableCorrection(_mirrored_sentence(name, "runs beside the spinal canal"))
    if np.mean(fit.clearly_beside) >= tuned.clearly_beside_from:
        raise UnusableCorrection(
            f"The curve in '{name}' is not the spinal canal of this scan, which is clearly seen {fit.beside_mm:.0f} mm "
            "beside it; use the curve that was made for this scan."
        )


def refuse_curve_outside(ct: CTVolume, line: Centerline, name: str) -> None:
    """Refuse a curve that mostly lies outside the volume; as ``refuse_foreign_curve``, without any network.

    Raises:
        UnusableCorrection: when it does; where its mirror image lies inside, the sentence says so.
    """
    inside = _is_inside(ct, line)
    if np.mean(inside) >= READER_CURVE.least_inside:
        return
    if np.mean(_is_inside(ct, mirror_curve(line))) >= READER_CURVE.fits_from:
        raise UnusableCorrection(_mirrored_sentence(name, "lies outside this scan"))
    raise UnusableCorrection(
        f"Of the curve in '{name}', {_STEP_MM * np.sum(inside):.0f} of {line.length_mm:.0f} mm lie inside this scan; "
        "use the curve that was made for it."
    )


def mirror_curve(line: Centerline) -> Centerline:
    """The curve as it is when LPS is taken for RAS, or the other way round."""
    return Centerline(line.points_ras * np.array([-1.0, -1.0, 1.0]), line.confidence)


def _mirrored_sentence(name: str, where: str) -> str:
    return (
        f"The curve in '{name}' {where}, and fits when left and right, front and back are exchanged: its numbers are "
        'in the other coordinate system than it says. Write "coordinateSystem": "RAS" where it says or means "LPS", or '
        "the other way round."
    )


def _sample(line: Centerline) -> tuple[FloatArray, FloatArray]:
    s = np.arange(0.5 * _STEP_MM, line.length_mm, _STEP_MM, dtype=np.float64)
    s = s if len(s) else np.array([0.5 * line.length_mm])
    return s, line.positions_ras(s)


def _is_inside(ct: CTVolume, line: Centerline) -> BoolArray:
    kji = ct.ras_to_ijk_points(_sample(line)[1])[:, ::-1]
    return np.asarray(np.all((kji > -0.5) & (kji < np.array(ct.shape_kji) - 0.5), axis=1))


def _compare(ct: CTVolume, evidence: CanalEvidence, line: Centerline) -> CurveFit:
    tuned = READER_CURVE
    s, points = _sample(line)
    found, slice_mm = evidence.candidates, evidence.stack.spacing_mm[2]
    row = np.abs(found.heights_mm[None, :] - points[:, 2:]).argmin(axis=1)
    at_height = np.abs(found.heights_mm[row] - points[:, 2]) <= slice_mm
    aside = np.linalg.norm(found.position_mm[row] - points[:, None, :2], axis=-1)
    probability = np.where(at_height[:, None], found.probability[row], 0.0)
    near = np.where(aside <= tuned.near_mm, probability, 0.0).max(axis=1)
    best = probability.argmax(axis=1)
    best_aside = np.take_along_axis(aside, best[:, None], axis=1)[:, 0]
    clear = (probability.max(axis=1) >= tuned.clear_from) & (best_aside > tuned.beside_mm)
    on_canal = near >= tuned.seen_from
    clear &= ~on_canal
    beside_mm = float(np.median(best_aside[clear])) if clear.any() else float("nan")
    return CurveFit(s, _is_inside(ct, line), on_canal, clear, beside_mm)
