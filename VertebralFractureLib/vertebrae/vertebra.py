"""``Vertebra``: one vertebra as found, named, measured and scored; plain data that a report can hold."""

from __future__ import annotations

from dataclasses import dataclass

STATUS_SCORED = "scored"
STATUS_NOT_EVALUABLE = "not_evaluable"
STATUS_EXCLUDED = "excluded_by_user"


@dataclass(frozen=True)
class Heights:
    """Heights of the body at its anterior, middle and posterior third, mm."""

    anterior: float
    middle: float
    posterior: float


Vector = tuple[float, float, float]


@dataclass(frozen=True)
class OrientedBox:
    """The box around a vertebral body in RAS mm, turned as the vertebra is.

    Attributes:
        center_ras: its middle.
        axes_ras: unit vectors to the vertebra's right, anterior and superior, at right angles.
        size_mm: width, depth and height along them.
    """

    center_ras: Vector
    axes_ras: tuple[Vector, Vector, Vector]
    size_mm: Vector


@dataclass(frozen=True)
class Vertebra:
    """One vertebra, in straight space (mm: r right, a anterior, s along the centerline) and in RAS.

    Attributes:
        s_inferior_mm, s_superior_mm: arc length of the lower and upper endplate at mid body.
        center_straight: (r, a, s) of the body's center.
        center_ras: the same point in RAS mm.
        landmarks_straight: (r, a, s) of six points: anterior, middle, posterior of the upper endplate, then of the
            lower one; None where they could not be measured.
        complete: the whole body lies inside the volume.
        detection_confidence: 0 to 1.
        level: for example "T12"; None where the field of view holds no anchor.
        level_probability: of that name, 0 to 1.
        label: what is shown: the level, or "V3" (third from the bottom) where it is unknown.
        status, reason: ``scored``, ``not_evaluable`` with a reason, or ``excluded_by_user``.
        fracture_probability, uncertainty: None unless scored.
        grade: Genant 0 to 3, shape "wedge", "biconcave", "crush" or None; None unless measured.
        severity: continuous height loss that the grade is cut from, 0 to 1.
        height_loss: the largest loss against the expected height, as a fraction.
        borderline: the loss lies within the measurement error of a grade's cut-off.
        height_sd_mm, height_loss_sd: standard deviation of each height and of the loss, from slices and noise.
        trabecular_hu: mean HU of the body's inside; None where it means nothing, and ``trabecular_reason`` says why.
        box: around the body; None where it could not be traced.
    """

    s_inferior_mm: float
    s_superior_mm: float
    center_straight: tuple[float, float, float]
    center_ras: tuple[float, float, float]
    complete: bool
    detection_confidence: float
    landmarks_straight: tuple[tuple[float, float, float], ...] | None = None
    level: str | None = None
    level_probability: float = 0.0
    label: str = ""
    status: str = STATUS_NOT_EVALUABLE
    reason: str | None = None
    fracture_probability: float | None = None
    uncertainty: float | None = None
    grade: int | None = None
    shape: str | None = None
    severity: float | None = None
    heights_mm: Heights | None = None
    height_loss: float | None = None
    borderline: bool = False
    height_sd_mm: float | None = None
    height_loss_sd: float | None = None
    trabecular_hu: float | None = None
    trabecular_reason: str | None = None
    box: OrientedBox | None = None
