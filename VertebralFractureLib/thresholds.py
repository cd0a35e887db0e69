"""Every tuned number of the product: its value and unit, what it decides, and where it comes from.

A number is tuned when somebody chose it, by looking at scans or phantoms, from the literature or by judgment, and a
result can hang on it. Steps read these numbers when they are called and hold no copy, so that ``moved_threshold`` can
move one and a benchmark can see what hangs on it (``docs/results/thresholds.md``).

Deliberately not here are sizes of arrays, batches and files; the networks' architecture, the grids and HU windows that
they were trained with, and their calibration lines (all of which belong to the weights); tolerances and iterations of
numerical methods; units and values of file formats; the level norms of the literature (``vertebrae/norms.py``); and
what a reader chooses in the panel or on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

NO_SOURCE = "no source recorded"


class ChosenOn(Enum):
    """The set that a number was chosen on."""

    DEVELOPMENT_SCANS = "development scans (25)"
    PHANTOMS = "phantoms"
    SCANS_AND_PHANTOMS = "development scans (25) and phantoms"
    PUBLIC_READINGS = "public readings of 100 CTs"
    LITERATURE = "literature"
    JUDGMENT = "judgment, not measured"


def _tuned(
    value: float | tuple[float, ...],
    unit: str,
    decides: str,
    chosen_on: ChosenOn = ChosenOn.JUDGMENT,
    source: str = NO_SOURCE,
) -> Any:
    """The default of a field of the groups below; ``unit`` is empty for a ratio, a probability or a count."""
    return field(default=value, metadata={"unit": unit, "decides": decides, "chosen_on": chosen_on, "source": source})


@dataclass(frozen=True)
class Threshold:
    """One tuned number as a list shows it.

    Attributes:
        name: group and field, for example ``CANAL_PATH.longest_gap_mm``.
        value: as it is now; a tuple where several numbers belong together.
        unit: empty for a ratio, a probability or a count.
        decides: what hangs on it.
        chosen_on: the set it was chosen on.
        source: how it was chosen, or ``NO_SOURCE``.
    """

    name: str
    value: float | tuple[float, ...]
    unit: str
    decides: str
    chosen_on: ChosenOn
    source: str


def thresholds() -> Iterator[Threshold]:
    """Every tuned number, group by group in the order of the pipeline."""
    for name, group in GROUPS.items():
        for one in fields(group):
            yield Threshold(name=f"{name}.{one.name}", value=getattr(group, one.name), **one.metadata)


@contextmanager
def moved_threshold(name: str, value: float | tuple[float, ...]) -> Iterator[None]:
    """Inside the ``with`` block the number ``name`` (as in ``Threshold``) has another value, in the whole process.

    Raises:
        KeyError: when there is no such number.
    """
    group_name, _, field_name = name.partition(".")
    group = GROUPS[group_name]
    if field_name not in {one.name for one in fields(group)}:
        raise KeyError(name)
    before = getattr(group, field_name)
    # The groups are frozen so that no step can change them; this is the one place that does, and it puts them back.
    object.__setattr__(group, field_name, value)
    try:
        yield
    finally:
        object.__setattr__(group, field_name, before)


_SCANS, _PHANTOMS, _BOTH = ChosenOn.DEVELOPMENT_SCANS, ChosenOn.PHANTOMS, ChosenOn.SCANS_AND_PHANTOMS
_LITERATURE, _READINGS = ChosenOn.LITERATURE, ChosenOn.PUBLIC_READINGS
_LOOKED_AT = "settled while looking at the 25 scans, together and not one by one (docs/results.md)"


@dataclass(frozen=True)
class CanalStackThresholds:
    """Which part of the scan the canal network reads (``canal/axial_stack.py``)."""

    body_from_hu: float = _tuned(-400.0, "HU", "what is denser belongs to the body; axial slices are cropped to it")
    body_margin_mm: float = _tuned(10.0, "mm", "how far around the body the slices reach")


@dataclass(frozen=True)
class CanalCandidatesThresholds:
    """The places of each axial slice among which the path chooses (``canal/candidates.py``)."""

    candidates_per_slice: int = _tuned(5, "", "places that are kept in a slice")
    half_peak_pixels: int = _tuned(5, "pixels of 2 mm", "half the window over which a peak's probability is added up")
    peak_window_pixels: int = _tuned(5, "pixels of 4 mm", "nearest distance of two peaks; odd")
    share_of_rivals: float = _tuned(
        0.05,
        "",
        "how much the probability of other places in a slice lowers that of a place against 'no canal here'",
        source="so that a shoulder or rib with half of the softmax does not end the path; the value is not measured",
    )
    whole_every: int = _tuned(4, "slices", "every which slice is read whole; the others in a window around the path")
    worth_a_window: float = _tuned(1.5, "", "a slice this many times larger than the window is read in windows")
    beyond_path_slices: int = _tuned(6, "slices", "how far beyond the first path's ends slices are still read")
    believed_from: float = _tuned(0.8, "", "mean probability from which windows may follow the first path")


@dataclass(frozen=True)
class CanalPathThresholds:
    """The one path through the candidates (``canal/path.py``)."""

    longest_gap_mm: float = _tuned(
        64.0, "mm", "longest stretch without evidence that the path may cross", _SCANS, _LOOKED_AT
    )
    steepest: float = _tuned(
        2.0,
        "mm/mm",
        "sideways per height that the path may go; 63 degrees, steeper than the lumbosacral canal",
        _SCANS,
        _LOOKED_AT,
    )
    slack_mm: float = _tuned(3.0, "mm", "what the path may go sideways beyond that", _SCANS, _LOOKED_AT)
    typical_slope: float = _tuned(
        0.7, "mm/mm", "standard deviation of the slope; how dear a sideways step is", _SCANS, _LOOKED_AT
    )
    skipped_slice_cost: float = _tuned(0.8, "log odds", "the price of a slice without evidence", _SCANS, _LOOKED_AT)
    probability_floor: float = _tuned(
        0.01, "", "bounds the log odds of one slice to 4.6 either way", _SCANS, _LOOKED_AT
    )


@dataclass(frozen=True)
class CanalCurveThresholds:
    """From the path to the smooth centerline and its boxes (``canal/curve.py``, ``canal/slice_boxes.py``)."""

    point_mm: float = _tuned(5.0, "mm", "distance of the centerline's points")
    stiffness_mm: float = _tuned(9.0, "mm", "undulations of the canal shorter than about this are smoothed away")
    outlier_mm: float = _tuned(4.0, "mm", "distance from the curve at which a place counts a quarter")
    robust_steps: int = _tuned(6, "", "rounds of weighing the places anew")
    vague_from_mm: float = _tuned(4.0, "mm", "spread of a place from which the confidence falls")
    vague_sd_mm: float = _tuned(3.0, "mm", "how fast it falls beyond")
    off_curve_sd_mm: float = _tuned(4.0, "mm", "how fast the confidence falls with the distance from the curve")
    least_stretch_mm: float = _tuned(0.5, "mm", "the curve goes on to the scan's face where that is further away")
    box_median_slices: int = _tuned(2, "slices", "reach to each side of the running median of the boxes' walls")


@dataclass(frozen=True)
class CorticalRefinementThresholds:
    """Places moved towards the middle of the bone around them (``canal/cortical_refinement.py``)."""

    cortex_weight: float = _tuned(
        0.6,
        "",
        "how far a place goes towards the middle of the bone around it",
        _SCANS,
        "15 scans of folds 0 and 2: mean distance from 0.388 to 0.290 mm, 0.6 to 0.8 are alike; on the ten others "
        "0.362 to 0.236 (docs/results/canal.md)",
    )
    farthest_mm: float = _tuned(3.0, "mm", "where network and bone differ by more, the place stays")
    rays: int = _tuned(48, "", "directions in which bone is looked for; even")
    nearest_ray_mm: float = _tuned(2.0, "mm", "where each ray begins")
    longest_ray_mm: float = _tuned(20.0, "mm", "where each ray ends")
    ray_step_mm: float = _tuned(0.5, "mm", "distance of the samples on a ray")
    least_paired: float = _tuned(
        0.35,
        "",
        "share of the directions that must meet bone on both sides",
        _SCANS,
        "with cortex_weight, on the 15 scans of folds 0 and 2 (docs/results/canal.md)",
    )
    rounds: int = _tuned(3, "", "rounds of casting rays from the new middle")


@dataclass(frozen=True)
class BonyCanalThresholds:
    """What counts as bone and soft tissue around the canal (``canal/bony_canal.py``)."""

    bone_above_content_hu: float = _tuned(130.0, "HU", "bone is this much denser than what the canal holds")
    bone_above_soft_hu: float = _tuned(90.0, "HU", "in a body, bone is this much denser than content and soft parts")
    soft_from_hu: float = _tuned(-300.0, "HU", "what is denser is no lung")
    step_mm: float = _tuned(0.5, "mm", "distance of the samples on a ray")
    fan_deg: float = _tuned(24.0, "degrees", "half the fan of rays that looks for one wall")
    rays: int = _tuned(9, "", "rays of a fan")
    least_share: float = _tuned(0.6, "", "share of rays, or of lines along a body, that must meet bone")
    content_mm: float = _tuned(1.0, "mm", "how far around the center the canal's content is read")
    body_from_mm: float = _tuned(18.0, "mm", "where the strip begins in which a vertebral body is looked for")
    body_to_mm: float = _tuned(50.0, "mm", "where the strip ends")
    body_half_width_mm: float = _tuned(8.0, "mm", "half the width of the strip")
    around_mm: float = _tuned(60.0, "mm", "how far around the canal soft parts are read")


@dataclass(frozen=True)
class CanalPlausibilityThresholds:
    """Is what was found a spine, and is the geometry true (``canal/detection.py``, ``canal/plausibility.py``)?"""

    shortest_spine_mm: float = _tuned(
        75.0,
        "mm",
        "scans and canals that are shorter are refused",
        source="three vertebrae of the upper thoracic spine with their discs; false canals beside the spine end before",
    )
    lowest_mean_probability: float = _tuned(
        0.4, "", "mean probability of the network along the path, not calibrated, below which there is no spine"
    )
    least_dense: float = _tuned(
        0.24,
        "",
        "where a vertebral body is, this share is bone",
        _BOTH,
        "0.29 or more on eight scans and their changed copies; legs and calcified vessels reach 0.18",
    )
    least_slices_with_bone: float = _tuned(
        0.7,
        "",
        "and in this share of the slices",
        _BOTH,
        "0.92 or more on eight scans and their changed copies; legs and calcified vessels reach 0.62",
    )
    least_slices_on_three_sides: float = _tuned(
        0.42,
        "",
        "a porotic spine passes with bone on three sides of the canal in this share of the slices",
        _PHANTOMS,
        "0.49 or more with 30 to 42 HU of trabecular bone; drawn legs and trunks mostly reach 0.31",
    )
    least_probability_on_three_sides: float = _tuned(
        0.9,
        "",
        "and only where the network is as sure as this",
        _PHANTOMS,
        "0.98 or more on these phantoms; a knee with bone on three sides 0.7",
    )
    lowest_content_hu: float = _tuned(
        -45.0,
        "HU",
        "a canal whose content is less dense against the soft parts around it (upper quartile) is filled with fat",
        _BOTH,
        "-25 to 78 on 25 scans as they are, shifted by 200 HU, noisy and in a narrow field of view; -18 on a phantom "
        "with much fat; -58 in the marrow of a raised arm",
    )
    lowest_aspect: float = _tuned(
        0.90,
        "",
        "width over depth of the bony canal, median; lower is a wrong spacing",
        _SCANS,
        "1.05 to 1.27 on 25 scans, 1.04 to 1.36 turned by 35 degrees; below 0.70 with the lateral spacing wrong by a "
        "factor of 2.4, 0.58 to 0.91 with the other one",
    )
    highest_aspect: float = _tuned(
        1.50, "", "the same; higher is a wrong spacing", _SCANS, "as lowest_aspect; above 1.70 with a wrong spacing"
    )
    narrowest_vertebra_mm: float = _tuned(14.0, "mm", "median width of the vertebrae: a small child")
    widest_vertebra_mm: float = _tuned(75.0, "mm", "median width of the vertebrae: a very large adult")
    adult_vertebra_mm: float = _tuned(35.0, "mm", "narrower vertebrae stand nearer to the canal, in proportion")
    smallest_size: float = _tuned(0.5, "", "down to this share of an adult's distance")
    lateral_decubitus_aspect: float = _tuned(
        1.0,
        "",
        "a canal that is less wide than deep may be that of a patient on the side",
        _SCANS,
        "bone beside the canal alone is there in a porotic spine, too",
    )
    more_lateral_bone: float = _tuned(
        1.15,
        "",
        "bone beside the canal over that in front or behind from which the patient lies on the side",
        _SCANS,
        "0.2 to 0.9 on 25 scans and their changed copies, 1.36 to 4.4 when they are turned onto the side",
    )
    nearest_wall_mm: float = _tuned(2.0, "mm", "from where walls of the canal are looked for")
    farthest_wall_mm: float = _tuned(30.0, "mm", "up to where")
    least_slices: int = _tuned(8, "slices", "fewer slices, or fewer that show all four walls, are not judged")


@dataclass(frozen=True)
class VertebralSpacingThresholds:
    """Is the distance of the slices true (``canal/vertebral_spacing.py``)? Spacings are in widths of the vertebra."""

    smallest: float = _tuned(
        0.55,
        "widths",
        "a smaller spacing of the vertebrae is a wrong distance of the slices",
        _SCANS,
        "0.69 to 1.01 on 24 of 25 scans (on the other, half of it is as strong); 0.32 to 0.49 where slices are wrong "
        "by a factor of 0.42",
    )
    largest: float = _tuned(
        1.28, "widths", "a larger spacing is one too", _SCANS, "as smallest; 1.44 to 2.34 with a factor of 2.4"
    )
    usual_from: float = _tuned(0.6, "widths", "from where the strongest usual spacing is looked for")
    usual_to: float = _tuned(1.2, "widths", "up to where")
    expected: float = _tuned(
        0.75, "widths", "the usual spacing, which turns are counted in", _SCANS, "0.69 to 1.01 on 24 of 25 scans"
    )
    stronger: float = _tuned(2.0, "", "an impossible spacing must be this many times as strong as any usual one")
    least_share: float = _tuned(
        0.15,
        "",
        "and make this share of what changes along the curve",
        _SCANS,
        "noise of 200 mm makes 0.06",
    )
    least_change_hu: float = _tuned(10.0, "HU", "less change along the curve counts as this much")
    least_vertebrae: float = _tuned(2.0, "vertebrae", "a curve that is expected to hold fewer is not judged")
    least_known: float = _tuned(
        0.9, "", "a side of which less was scanned is not looked at: a hole has a spacing of its own"
    )
    step_mm: float = _tuned(1.0, "mm", "distance of the samples along the curve")
    lateral_from: float = _tuned(0.26, "widths", "where pedicles and foramina lie beside the canal's center: from")
    lateral_to: float = _tuned(0.58, "widths", "to")
    anterior_from: float = _tuned(-0.12, "widths", "and in front of it: from")
    anterior_to: float = _tuned(0.24, "widths", "to")
    samples_per_side: int = _tuned(8, "", "samples along each axis of that area")
    air_below_hu: float = _tuned(-400.0, "HU", "less dense is lung or lost, and unknown")
    low_hu: float = _tuned(-200.0, "HU", "less dense counts as this")
    high_hu: float = _tuned(800.0, "HU", "denser counts as this")
    most_trend_terms: int = _tuned(9, "", "terms of the polynomial that takes slow changes away, at most")
    narrowest_along: float = _tuned(0.6, "", "the width along the curve, over its median, is held above this")
    widest_along: float = _tuned(1.4, "", "and below this")


@dataclass(frozen=True)
class CanalEditingThresholds:
    """A reader's points on the curve (``canal/control_point_path.py``, ``canal/editing.py``)."""

    cone_mm: float = _tuned(4.0, "mm", "at the height of a reader's point only candidates as near as this count")
    cone_slope: float = _tuned(1.0, "mm/mm", "and as much further away per mm of height")
    cone_reach_mm: float = _tuned(30.0, "mm", "up to this height above and below it")
    faint: float = _tuned(0.3, "", "probability of the straight line between two of the reader's points")
    bend_mm: float = _tuned(12.0, "mm", "over which the curve bends to run through the points exactly")
    agree_mm: float = _tuned(
        2.0,
        "mm",
        "distance below which the old and the new curve say the same",
        _SCANS,
        "about the accuracy of detection at its worst points",
    )
    agree_over_mm: float = _tuned(15.0, "mm", "for how long they must, so that the old curve stays from there on")


CANAL_STACK = CanalStackThresholds()
CANAL_CANDIDATES = CanalCandidatesThresholds()
CANAL_PATH = CanalPathThresholds()
CANAL_CURVE = CanalCurveThresholds()
CORTICAL_REFINEMENT = CorticalRefinementThresholds()
BONY_CANAL = BonyCanalThresholds()
CANAL_PLAUSIBILITY = CanalPlausibilityThresholds()
VERTEBRAL_SPACING = VertebralSpacingThresholds()
CANAL_EDITING = CanalEditingThresholds()

GROUPS: dict[str, Any] = {
    "CANAL_STACK": CANAL_STACK,
    "CANAL_CANDIDATES": CANAL_CANDIDATES,
    "CANAL_PATH": CANAL_PATH,
    "CANAL_CURVE": CANAL_CURVE,
    "CORTICAL_REFINEMENT": CORTICAL_REFINEMENT,
    "BONY_CANAL": BONY_CANAL,
    "CANAL_PLAUSIBILITY": CANAL_PLAUSIBILITY,
    "VERTEBRAL_SPACING": VERTEBRAL_SPACING,
    "CANAL_EDITING": CANAL_EDITING,
}
