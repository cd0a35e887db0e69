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


_UNITS = {"mm": "mm", "hu": "HU", "deg": "degrees"}
"""The unit of a number by the end of its name, where ``_tuned`` is given no other."""


def _tuned(
    value: float | tuple[float, ...],
    decides: str,
    chosen_on: ChosenOn = ChosenOn.JUDGMENT,
    source: str = NO_SOURCE,
    unit: str | None = None,
) -> Any:
    """The default of a field of the groups below; ``unit`` None: that of the name, or a ratio, probability or count."""
    return field(default=value, metadata={"unit": unit, "decides": decides, "chosen_on": chosen_on, "source": source})


@dataclass(frozen=True)
class Threshold:
    """One tuned number as a list shows it.

    Attributes:
        name: group and field, for example ``longest_gap_mm``.
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
            facts = {**one.metadata, "unit": one.metadata["unit"] or _UNITS.get(one.name.rpartition("_")[2], "")}
            yield Threshold(name=f"{name}.{one.name}", value=getattr(group, one.name), **facts)


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
_JUDGED = "judgment; tried afterwards on 34 scans and not moved (docs/results/unusual_input.md)"
_LOOKED_AT = "settled while looking at the 25 scans, together and not one by one (docs/results.md)"


@dataclass(frozen=True)
class VolumeCheckThresholds:
    """Is a file a CT in which vertebrae can be judged (``volume/plausibility.py``, ``volume/dicom_volume.py``)?"""

    max_slice_distance_mm: float = _tuned(6.0, "slices further apart are refused")
    min_coverage_mm: float = _tuned(40.0, "scans that cover less from feet to head are refused")
    min_width_mm: float = _tuned(25.0, "scans that are narrower are refused")
    min_spacing_mm: float = _tuned(0.1, "voxels that are smaller are refused")
    max_spacing_mm: float = _tuned(10.0, "voxels that are larger make the refusal doubt the file's spacing")
    furthest_mm: float = _tuned(
        1e5,
        "a scan whose first voxel lies further from the origin is refused",
        source="tables move by a few meters; at 100 m a file's single precision is still 0.01 mm",
    )
    same_spacing: float = _tuned(
        0.01,
        "share by which the two spacings of a NIfTI header (pixdim, sform) may differ before it is refused",
        source="both are single precision and at times rounded to two decimals",
    )
    min_voxels_per_axis: int = _tuned(8, "scans with fewer along any axis are refused", unit="voxels")
    spacing_rounding_mm: float = _tuned(
        0.01, "how far a spacing may exceed a limit, for files round it: slices of 4.00003 mm are slices of 4 mm"
    )
    max_non_finite_fraction: float = _tuned(
        0.001, "fraction of voxels that are no numbers, beyond which a scan is refused"
    )
    least_fat_or_lung: float = _tuned(
        0.001,
        "fraction of voxels from -1000 to -20 HU below which values are no Hounsfield units",
        _SCANS,
        "fat alone fills 4 to 31 % of 25 scans, whole, cropped to the spine, or with blanked parts",
    )
    least_soft_tissue: float = _tuned(
        0.005,
        "the same for -200 to 200 HU",
        _SCANS,
        "fat and soft tissue fill 12 to 72 % of 25 scans, whole, cropped to the spine, or with blanked parts",
    )
    least_range_hu: float = _tuned(150.0, "values that span less (99 % of them) are no CT of a body")
    missing_intercept_tissue: float = _tuned(
        0.02, "fraction of values from 850 to 1300 from which the rescale intercept seems to be missing"
    )
    missing_intercept_fraction: float = _tuned(0.6, "and of those from 300 to 2500")
    label_map_values: int = _tuned(40, "at most so many different whole values look like a label map")
    max_missing_slices: int = _tuned(2, "so many are filled in a DICOM stack, at most", unit="slices")
    max_gap_mm: float = _tuned(6.0, "and no gap wider than this")
    uneven_distance: float = _tuned(
        0.2,
        "a gap this far from a whole number of steps is no lost slice but another distance",
        source="positions are stored rounded",
        unit="slice distances",
    )
    least_uneven_distances: int = _tuned(2, "so many such gaps make the distance of a stack a changing one")
    alike_slice_counts: float = _tuned(
        0.9, "DICOM series with this many of the slices of the longest are alike; the softer kernel decides then"
    )
    off_grid: float = _tuned(
        0.1,
        "how far a slice may lie off the regular grid",
        source="positions are stored rounded",
        unit="slice distances",
    )


@dataclass(frozen=True)
class ContinuityThresholds:
    """Do the planes of a volume follow each other (``volume/continuity.py``)?"""

    sample_step: int = _tuned(
        7, "every which voxel along both axes of a plane is looked at, before two are compared as a whole"
    )
    block_mm: float = _tuned(4.0, "planes are compared in blocks of this size, so that noise averages out")
    few_values: int = _tuned(4, "a plane with at most so many different values holds no image", unit="values")
    same_spacing: float = _tuned(0.01, "spacings that differ by less, as a fraction, are the same")
    resampled_fraction: float = _tuned(
        0.25, "fraction of planes that are copies, evenly spread, from which the volume was made finer by repeating"
    )
    lowest_hu: float = _tuned(-300.0, "less dense counts as this while voxels are averaged")
    highest_hu: float = _tuned(1000.0, "denser counts as this")
    tissue_from_hu: float = _tuned(-220.0, "blocks that are less dense in either of two planes are not compared")
    low_hu: float = _tuned(-200.0, "less dense counts as this in the difference of two blocks")
    high_hu: float = _tuned(300.0, "denser counts as this")
    reach: int = _tuned(3, "pairs to either side that a pair of slices is compared with", unit="pairs")
    least_neighbors: int = _tuned(3, "pairs that must be known among them", unit="pairs")
    least_blocks: int = _tuned(60, "tissue that two planes must share to be compared", unit="blocks of 4 mm")
    least_area: float = _tuned(0.05, "and as a fraction of what the most alike pair shares")
    least_tissue: float = _tuned(
        0.15, "tissue of the planes beside empty ones, as a fraction of the most, from which these are lost"
    )
    far_mm: float = _tuned(60.0, "distance at which two planes of one body are as different as they get")
    disorder: float = _tuned(
        0.97,
        "difference along four slices with the middle two exchanged over that as they are, below which they are out of "
        "order",
        _BOTH,
        "at least 1.13 along 27 scans and 1.01 on 20 phantoms; at most 0.84 and 0.94 where two slices were exchanged",
        unit="ratio",
    )
    most_disorder: float = _tuned(0.3, "fraction of slices out of order from which the volume is refused")
    jump_strength: float = _tuned(
        1.7,
        "difference of two slices over that of the neighboring pairs from which slices may be lost or moved",
        _BOTH,
        "0.62 to 1.44 along the slices of 34 scans, 1.85 or less on 20 phantoms",
        unit="ratio",
    )
    jump_in_quarters: float = _tuned(
        1.4,
        "what three quarters of the body must reach of it, because an organ begins in one place",
        _BOTH,
        "at most 1.40 on 34 scans; 1.31 on the phantom with the highest difference over far slices",
        unit="ratio",
    )
    jump_unlike: float = _tuned(
        0.4,
        "difference over that of slices far_mm apart from which it is a jump",
        _BOTH,
        "0.44 to 0.75 in the median where 5 mm were cut out of 33 scans; at most 0.36 on the phantoms beyond the other "
        "two limits",
        unit="ratio",
    )
    jump_strength_alone: float = _tuned(
        2.2, "difference over the neighboring pairs' from which it is one anyhow", unit="ratio"
    )
    torn_strength: float = _tuned(2.0, "and from which, with the next, two slices are not of one body in one position")
    torn_unlike: float = _tuned(
        0.85,
        "difference of two slices over that of slices far_mm apart",
        _SCANS,
        "0.8 in the median where 20 mm were cut out of 34 scans, 1.0 with 40 mm, 1.3 with another patient",
        unit="ratio",
    )
    shortest_part_mm: float = _tuned(40.0, "a shorter part beyond a torn place is left out, not a reason to refuse")


@dataclass(frozen=True)
class CanalStackThresholds:
    """Which part of the scan the canal network reads (``canal/axial_stack.py``)."""

    body_from_hu: float = _tuned(-400.0, "what is denser belongs to the body; axial slices are cropped to it")
    body_margin_mm: float = _tuned(10.0, "how far around the body the slices reach")


@dataclass(frozen=True)
class CanalCandidatesThresholds:
    """The positions in each axial slice among which the path chooses (``canal/candidates.py``)."""

    candidates_per_slice: int = _tuned(5, "positions that are kept in a slice")
    half_peak_pixels: int = _tuned(
        5, "half the window over which a peak's probability is added up", unit="pixels of 2 mm"
    )
    peak_window_pixels: int = _tuned(5, "nearest distance of two peaks; odd", unit="pixels of 4 mm")
    weight_of_rivals: float = _tuned(
        0.05,
        "how much the probability of other positions in a slice lowers that of one against 'no canal here'",
        source="so that a shoulder or rib with half of the softmax does not end the path; the value is not measured",
    )
    whole_every: int = _tuned(
        4, "every which slice is read whole; the others in a window around the path", unit="slices"
    )
    worth_a_window: float = _tuned(1.5, "a slice this many times larger than the window is read in windows")
    beyond_path_slices: int = _tuned(6, "how far beyond the first path's ends slices are still read", unit="slices")
    believed_from: float = _tuned(0.8, "mean probability from which windows may follow the first path")


@dataclass(frozen=True)
class CanalPathThresholds:
    """The one path through the candidates (``canal/path.py``)."""

    longest_gap_mm: float = _tuned(64.0, "longest stretch without evidence that the path may cross", _SCANS, _LOOKED_AT)
    steepest: float = _tuned(
        2.0,
        "sideways per height that the path may go; 63 degrees, steeper than the lumbosacral canal",
        _SCANS,
        _LOOKED_AT,
        unit="mm/mm",
    )
    slack_mm: float = _tuned(3.0, "what the path may go sideways beyond that", _SCANS, _LOOKED_AT)
    typical_slope: float = _tuned(
        0.7, "standard deviation of the slope; how dear a sideways step is", _SCANS, _LOOKED_AT, unit="mm/mm"
    )
    skipped_slice_cost: float = _tuned(
        0.8, "the price of a slice without evidence", _SCANS, _LOOKED_AT, unit="log odds"
    )
    probability_floor: float = _tuned(0.01, "bounds the log odds of one slice to 4.6 either way", _SCANS, _LOOKED_AT)


@dataclass(frozen=True)
class CanalCurveThresholds:
    """From the path to the smooth centerline and its boxes (``canal/curve.py``)."""

    point_mm: float = _tuned(5.0, "distance of the centerline's points")
    stiffness_mm: float = _tuned(9.0, "undulations of the canal shorter than about this are smoothed away")
    outlier_mm: float = _tuned(4.0, "distance from the curve at which a position counts a quarter")
    robust_steps: int = _tuned(6, "rounds of weighing the positions anew")
    vague_from_mm: float = _tuned(4.0, "standard deviation of a position from which the confidence falls")
    vague_sd_mm: float = _tuned(3.0, "how fast it falls beyond")
    off_curve_sd_mm: float = _tuned(4.0, "how fast the confidence falls with the distance from the curve")
    least_stretch_mm: float = _tuned(0.5, "the curve goes on to the scan's face where that is further away")
    box_median_slices: int = _tuned(2, "reach to each side of the running median of the boxes' walls", unit="slices")


@dataclass(frozen=True)
class CorticalRefinementThresholds:
    """Positions moved towards the middle of the bone around them (``canal/cortical_refinement.py``)."""

    cortex_weight: float = _tuned(
        0.6,
        "how far a position goes towards the middle of the bone around it",
        _SCANS,
        "15 scans of folds 0 and 2: mean distance from 0.388 to 0.290 mm, 0.6 to 0.8 are alike; on the ten others "
        "0.362 to 0.236 (docs/results/canal.md)",
    )
    agrees_mm: float = _tuned(2.0, "where network and bone differ by more, the position goes less and less far")
    farthest_mm: float = _tuned(3.0, "and where they differ by more than this, it stays")
    rays: int = _tuned(48, "directions in which bone is looked for; even")
    nearest_ray_mm: float = _tuned(2.0, "where each ray begins")
    longest_ray_mm: float = _tuned(20.0, "where each ray ends")
    ray_step_mm: float = _tuned(0.5, "distance of the samples on a ray")
    least_paired: float = _tuned(
        0.35,
        "fraction of the directions that must meet bone on both sides",
        _SCANS,
        "with cortex_weight, on the 15 scans of folds 0 and 2 (docs/results/canal.md)",
    )
    enough_paired: float = _tuned(0.45, "and from which fraction on the middle is believed in full")
    rounds: int = _tuned(3, "rounds of casting rays from the new middle")


@dataclass(frozen=True)
class BonyCanalThresholds:
    """What counts as bone and soft tissue around the canal (``canal/bony_canal.py``)."""

    bone_above_content_hu: float = _tuned(130.0, "bone is this much denser than what the canal holds")
    filled_above_soft_hu: float = _tuned(
        180.0,
        "a canal whose content is this much denser than the soft parts around it holds contrast medium",
        source="350 to 600 HU in a myelogram; content is -25 to 78 HU over soft parts on 25 scans",
    )
    disc_mm: float = _tuned(6.0, "radius of the disc in which contrast medium is looked for in the canal")
    least_filled: float = _tuned(
        0.35,
        "more of the disc than this is as dense as contrast medium in a myelogram",
        _SCANS,
        "0.58 and more where the canal was filled with 350 or 600 HU around a dark cord; median 0.00 to 0.01 without",
    )
    metal_from_hu: float = _tuned(1300.0, "what is denser is metal and no contrast medium")
    bone_above_soft_hu: float = _tuned(90.0, "in a body, bone is this much denser than content and soft parts")
    soft_from_hu: float = _tuned(-300.0, "what is denser is no lung")
    step_mm: float = _tuned(0.5, "distance of the samples on a ray")
    fan_deg: float = _tuned(24.0, "half the fan of rays that looks for one wall")
    rays: int = _tuned(9, "rays of a fan")
    least_fraction: float = _tuned(0.6, "fraction of rays, or of lines along a body, that must meet bone")
    content_mm: float = _tuned(1.0, "how far around the center the canal's content is read")
    body_from_mm: float = _tuned(18.0, "where the strip begins in which a vertebral body is looked for")
    body_to_mm: float = _tuned(50.0, "where the strip ends")
    body_half_width_mm: float = _tuned(8.0, "half the width of the strip")
    around_mm: float = _tuned(60.0, "how far around the canal soft parts are read")


@dataclass(frozen=True)
class CanalPlausibilityThresholds:
    """Is what was found a spine, and is the geometry true (``canal/detection.py``, ``canal/plausibility.py``)?"""

    shortest_spine_mm: float = _tuned(
        75.0,
        "scans and canals that are shorter are refused",
        source="three vertebrae of the upper thoracic spine with their discs; false canals end before",
    )
    lowest_mean_probability: float = _tuned(
        0.4, "mean probability of the network along the path, not calibrated, below which there is no spine"
    )
    least_dense: float = _tuned(
        0.24,
        "where a vertebral body is, this fraction is bone",
        _BOTH,
        "0.29 or more on eight scans and their changed copies; legs and calcified vessels reach 0.18",
    )
    least_slices_with_bone: float = _tuned(
        0.7,
        "and in this fraction of the slices",
        _BOTH,
        "0.92 or more on eight scans and their changed copies; legs and calcified vessels reach 0.62",
    )
    least_slices_on_three_sides: float = _tuned(
        0.42,
        "a porotic spine passes with bone on three sides of the canal in this fraction of the slices",
        _PHANTOMS,
        "0.49 or more with 30 to 42 HU of trabecular bone; drawn legs and trunks mostly reach 0.31",
    )
    least_probability_on_three_sides: float = _tuned(
        0.9,
        "and only where the network is as sure as this",
        _PHANTOMS,
        "0.98 or more on these phantoms; a knee with bone on three sides 0.7",
    )
    lowest_content_hu: float = _tuned(
        -45.0,
        "a canal whose content is less dense against the soft parts around it (upper quartile) is filled with fat",
        _BOTH,
        "-25 to 78 on 25 scans as they are, shifted by 200 HU, noisy and in a narrow field of view; -18 on a phantom "
        "with much fat; -58 in the marrow of a raised arm",
    )
    lowest_aspect: float = _tuned(
        0.90,
        "width over depth of the bony canal, median; a wrong spacing makes it lower, with an impossible size",
        _SCANS,
        "1.05 to 1.27 on 25 scans, 1.04 to 1.36 turned by 35 degrees; below 0.70 with the lateral spacing wrong by a "
        "factor of 2.4, 0.58 to 0.91 with the other one",
    )
    highest_aspect: float = _tuned(
        1.50,
        "the same; a wrong spacing makes it higher, with an impossible size",
        _SCANS,
        "as lowest_aspect; 1.26 to 1.57 on 7 necks (C1 to T1), up to 2 in single slices; above 1.70 with a wrong "
        "spacing",
    )
    neck_aspect: float = _tuned(1.30, "from here on a canal is as flat as in the neck", _SCANS, "as highest_aspect")
    least_flat_fraction: float = _tuned(
        0.5,
        "a spine that is so flat in this fraction of its slices is judged as a neck",
        _SCANS,
        "0.53 to 0.90 on necks (C1 to T1) of 8 scans, 0.11 on one that hardly has one; 0.14 to 0.47 on 19 whole scans",
    )
    widest_neck_vertebra_mm: float = _tuned(
        42.0, "and no wider vertebrae belong to a neck", _SCANS, "33 to 36 mm on 7 necks; 41 mm at C1"
    )
    narrowest_canal_mm: float = _tuned(
        12.5,
        "a canal that is deeper than wide and less wide than this is no canal of any level",
        _SCANS,
        "10.0 to 10.5 mm with the lateral spacing wrong by a factor of 0.42; 16.9 to 22.7 mm on the scans and their "
        "necks",
    )
    deepest_canal_mm: float = _tuned(
        22.0,
        "or deeper than this",
        _SCANS,
        "13 to 18.6 mm on the scans and their necks; more than 25 mm with a factor of 2.4",
    )
    widest_canal_mm: float = _tuned(
        28.0,
        "a canal that is far wider than deep and wider than this is no canal of any level",
        _SCANS,
        "16.9 to 22.7 mm on the scans and their necks, 29 mm at C1; 35 mm or more with a factor of 2.4",
    )
    shallowest_canal_mm: float = _tuned(
        8.5, "or less deep than this", _SCANS, "13 to 18.6 mm on the scans and their necks, 8.9 mm in single slices"
    )
    smallest_disc: float = _tuned(
        0.75,
        "narrower vertebrae shrink the disc in which contrast medium is looked for down to this fraction",
        _SCANS,
        "at 1 bone filled the disc on one of 25 scans that were scaled by 0.6",
    )
    content_step_mm: float = _tuned(5.0, "distance of the positions at which the canal's content is looked at")
    most_filled_fraction: float = _tuned(
        0.3,
        "a canal that is filled at this fraction of the positions is that of a myelogram",
        _SCANS,
        "0.00 on 25 scans, 0.15 at most 4 mm beside the annotated center; on 6 filled ones 0.98 to 1.00, 0.57 and more "
        "5 mm beside it",
    )
    narrowest_vertebra_mm: float = _tuned(14.0, "median width of the vertebrae: a small child")
    widest_vertebra_mm: float = _tuned(75.0, "median width of the vertebrae: a very large adult")
    adult_vertebra_mm: float = _tuned(35.0, "narrower vertebrae stand nearer to the canal, in proportion")
    smallest_size: float = _tuned(0.5, "down to this fraction of an adult's distance")
    lateral_decubitus_aspect: float = _tuned(
        1.0,
        "a canal that is less wide than deep may be that of a patient on the side",
        _SCANS,
        "bone beside the canal alone is there in a porotic spine, too",
    )
    more_lateral_bone: float = _tuned(
        1.15,
        "bone beside the canal over that in front or behind from which the patient lies on the side",
        _SCANS,
        "0.2 to 0.9 on 25 scans and their changed copies, 1.36 to 4.4 when they are turned onto the side",
    )
    nearest_wall_mm: float = _tuned(2.0, "from where walls of the canal are looked for")
    farthest_wall_mm: float = _tuned(30.0, "up to where")
    least_slices: int = _tuned(8, "fewer slices, or fewer that show all four walls, are not judged", unit="slices")


@dataclass(frozen=True)
class VertebralSpacingThresholds:
    """Is the distance of the slices true (``canal/vertebral_spacing.py``)? Spacings are in widths of the vertebra."""

    smallest: float = _tuned(
        0.55,
        "a smaller spacing of the vertebrae is a wrong distance of the slices",
        _SCANS,
        "0.69 to 1.01 on 24 of 25 scans (on the other, half of it is as strong); 0.32 to 0.49 where slices are wrong "
        "by a factor of 0.42",
        unit="widths",
    )
    smallest_in_neck: float = _tuned(
        0.34,
        "the same where the canal is as flat as in the neck",
        _SCANS,
        "0.40 to 0.51 on the necks of 3 scans; 0.23 on one where slices are wrong by a factor of 0.42, 0.30 by 0.6",
        unit="widths",
    )
    largest: float = _tuned(
        1.28, "a larger spacing is one too", _SCANS, "as smallest; 1.44 to 2.34 with a factor of 2.4", unit="widths"
    )
    largest_unsure: float = _tuned(1.6, "up to here, and down to the neck's, the sentence says probably", unit="widths")
    usual_from: float = _tuned(0.6, "from where the strongest usual spacing is looked for", unit="widths")
    usual_to: float = _tuned(1.2, "up to where", unit="widths")
    expected: float = _tuned(
        0.75, "the usual spacing, which turns are counted in", _SCANS, "0.69 to 1.01 on 24 of 25 scans", unit="widths"
    )
    stronger: float = _tuned(2.0, "an impossible spacing must be this many times as strong as any usual one")
    least_fraction: float = _tuned(
        0.15, "and make this fraction of what changes along the curve", _SCANS, "noise of 200 mm makes 0.06"
    )
    least_change_hu: float = _tuned(10.0, "less change along the curve counts as this much")
    least_vertebrae: float = _tuned(2.0, "a curve that is expected to hold fewer is not judged", unit="vertebrae")
    least_known: float = _tuned(
        0.9, "a side of which less was scanned is not looked at: a hole has a spacing of its own"
    )
    step_mm: float = _tuned(1.0, "distance of the samples along the curve")
    lateral_from: float = _tuned(
        0.26, "where pedicles and foramina lie lateral of the canal's center: from", unit="widths"
    )
    lateral_to: float = _tuned(0.58, "to", unit="widths")
    anterior_from: float = _tuned(-0.12, "and in front of it: from", unit="widths")
    anterior_to: float = _tuned(0.24, "to", unit="widths")
    samples_per_side: int = _tuned(8, "samples along each axis of that area")
    air_below_hu: float = _tuned(-400.0, "less dense is lung or lost, and unknown")
    low_hu: float = _tuned(-200.0, "less dense counts as this")
    high_hu: float = _tuned(800.0, "denser counts as this")
    most_trend_terms: int = _tuned(9, "terms of the polynomial that takes slow changes away, at most")
    narrowest_along: float = _tuned(0.6, "the width along the curve, over its median, is held above this")
    widest_along: float = _tuned(1.4, "and below this")


@dataclass(frozen=True)
class CanalEditingThresholds:
    """A reader's points on the curve (``canal/control_point_path.py``, ``canal/editing.py``)."""

    cone_mm: float = _tuned(4.0, "at the height of a reader's point only candidates as near as this count")
    cone_slope: float = _tuned(1.0, "and as much further away per mm of height", unit="mm/mm")
    cone_reach_mm: float = _tuned(30.0, "up to this height above and below it")
    faint: float = _tuned(0.3, "probability of the straight line between two of the reader's points")
    bend_mm: float = _tuned(12.0, "over which the curve bends to run through the points exactly")
    agree_mm: float = _tuned(
        2.0,
        "distance below which the old and the new curve say the same",
        _SCANS,
        "about the accuracy of detection at its worst points",
    )
    agree_over_mm: float = _tuned(15.0, "for how long they must, so that the old curve stays from there on")


@dataclass(frozen=True)
class ReaderCurveThresholds:
    """Whether a given curve is the canal of this scan (``canal/reader_curve.py``)."""

    near_mm: float = _tuned(
        8.0, "a canal is seen at the curve when the network sees one as near as this", source=_JUDGED
    )
    seen_from: float = _tuned(0.3, "probability from which the network sees a canal", source=_JUDGED)
    clear_from: float = _tuned(0.8, "and from which it sees one clearly", source=_JUDGED)
    beside_mm: float = _tuned(10.0, "a canal farther away than this is another place", source="half a canal's width")
    least_inside: float = _tuned(0.5, "less of the curve inside the scan is refused")
    least_on_canal: float = _tuned(0.3, "less of the curve on a canal can be refused", source=_JUDGED)
    fits_from: float = _tuned(
        0.7, "so much of the mirror image on a canal says that axes were exchanged", source=_JUDGED
    )
    clearly_beside_from: float = _tuned(
        0.5, "so much of the curve beside a clearly seen canal is that of another scan", source=_JUDGED
    )
    doubtful_mm: float = _tuned(25.0, "so much of the curve off any canal is said", source="one vertebra and its disc")


@dataclass(frozen=True)
class OrientationThresholds:
    """``orientation``: whether the patient lies where the file says."""

    canal_cell_weight: float = _tuned(
        8.0, "what a cell with a canal weighed in the training, which its odds are divided by"
    )
    least_cell_probability: float = _tuned(0.3, "a cell of the orientation network counts as one with a canal")
    near_mm: float = _tuned(18.0, "how far from the canal a cell may lie to count")
    around_mm: float = _tuned(66.0, "how much around the canal the orientation network sees")
    least_cells: float = _tuned(4.0, "from how many cells with a canal the front counts as seen")
    cells_per_mm: float = _tuned(
        0.04, "below how many such cells per mm of canal the front is sought between quarter turns too", unit="1/mm"
    )
    clearer: float = _tuned(3.0, "by what factor the front has to be clearer than any other side")
    beside_deg: float = _tuned(65.0, "a position nearer than this to the one that was found does not count against it")
    largest_twist_deg: float = _tuned(20.0, "a patient rolled by less about the body's axis lies as the file says")
    largest_lean_deg: float = _tuned(40.0, "a canal that leans by less is sought along the file's axis")
    least_upright: float = _tuned(1.0, "from which mean log-odds of all vertebrae head and feet count as seen")


@dataclass(frozen=True)
class ReformattingThresholds:
    """The straightened volume (``cpr/``)."""

    tangent_smoothing_mm: float = _tuned(
        8.0,
        "standard deviation of the Gaussian that smooths the canal's direction",
        source="the reference boxes were made with the same",
    )
    least_rise: float = _tuned(0.2, "the part of the patient's right across the canal below which it runs sideways")
    torn_at_mm: float = _tuned(4.0, "planes that meet this near to the centerline would tear it: refused")
    least_distance: float = _tuned(
        0.1, "another plane stays away by this fraction of the distance along s, or the map stretches tenfold"
    )
    least_distance_up_to_mm: float = _tuned(10.0, "distance along s up to which that grows")
    clearly_coarser: float = _tuned(
        1.75, "spacing over that of the scan from which the scan is filtered; 1 mm of 0.6 mm is left alone"
    )
    thick_slice_mm: float = _tuned(2.0, "slice distance from which the smooth interpolation blends slices")
    overlapping: float = _tuned(
        1.5,
        "slice thickness over slice distance from which overlapping slices are blended linearly",
        _PHANTOMS,
        "at 1.5 both ways leave the same staircase; below, the smooth one leaves less, at 2 six times as much "
        "(docs/results/straightening.md)",
    )
    alignment_reach_mm: float = _tuned(
        40.0, "while a point is dragged: how far beyond it the difference in length is distributed"
    )
    least_alignment: float = _tuned(0.6, "length before over length now that may be distributed so, at least")
    most_alignment: float = _tuned(1.6, "at most")


@dataclass(frozen=True)
class HuScaleThresholds:
    """Are these Hounsfield units (``cpr/hu_scale.py``)?"""

    soft_from_hu: float = _tuned(
        -5.0, "soft tissue that is less dense is off the scale", _BOTH, "15 to 65 on 34 scans and 20 phantoms"
    )
    soft_to_hu: float = _tuned(90.0, "soft tissue that is denser is off the scale", _BOTH, "as soft_from_hu")
    usual_soft_hu: float = _tuned(42.0, "where soft tissue off the scale is shifted to", _BOTH, "median of the same")
    lowest_hu: float = _tuned(-280.0, "densities from here are counted")
    highest_hu: float = _tuned(300.0, "up to here")
    bin_hu: float = _tuned(10.0, "steps of the count")
    nearest_hu: float = _tuned(
        100.0, "how far above fat muscle lies at least", _LITERATURE, "fat -100, muscle 10 to 60"
    )
    farthest_hu: float = _tuned(180.0, "and at most", _LITERATURE, "as nearest_hu, stretched by a quarter")
    second_peak: float = _tuned(0.35, "as high as this fraction of fat's peak, it is a peak", _SCANS)
    below_fat: float = _tuned(
        0.25, "less of the density that lies below fat as fat lies below muscle, against muscle's", _BOTH
    )
    least_blocks: float = _tuned(500.0, "fewer blocks of 3 mm tell nothing", unit="blocks")


@dataclass(frozen=True)
class EnclosureThresholds:
    """Does the curve run in a canal (``cpr/canal_enclosure.py``)?"""

    rays: float = _tuned(32.0, "directions in which bone is looked for", unit="rays")
    nearest_mm: float = _tuned(3.0, "where each ray begins")
    farthest_mm: float = _tuned(20.0, "where each ray ends")
    content_mm: float = _tuned(2.0, "how far around the curve its content is read")
    bone_above_hu: float = _tuned(110.0, "bone is this much denser than the content")
    lowest_bone_hu: float = _tuned(150.0, "and at least as dense as this")
    highest_bone_hu: float = _tuned(700.0, "what is denser is bone beside any content")
    metal_hu: float = _tuned(1600.0, "what is denser is no bone")
    air_hu: float = _tuned(-300.0, "a ray that meets air or lung first is open")
    window_mm: float = _tuned(12.0, "to either side along the curve, over which is averaged")
    content_from_hu: float = _tuned(-60.0, "content that is less dense is none of a canal")
    content_to_hu: float = _tuned(130.0, "content that is denser is bone, or contrast medium in a well closed canal")
    excess_hu: float = _tuned(100.0, "beyond these, where it costs the most")
    most_excess: float = _tuned(0.1, "the most that it costs, as a fraction of the rays")
    open_at: float = _tuned(
        0.5,
        "fraction of rays that meet bone from which a curve is trusted a little",
        _BOTH,
        "of curves moved aside by 12 to 22 mm on 54 scans and phantoms 89 % have less than 0.6, of the annotated "
        "stretches of 25 scans 0.2 %",
    )
    closed_at: float = _tuned(0.7, "and from which it is trusted entirely", _BOTH, "as open_at")
    least_weight: float = _tuned(0.05, "what remains of the confidence where nothing is a canal")
    judged_from: float = _tuned(0.5, "a vertebra along a curve of less weight, in its median, is not evaluable")


@dataclass(frozen=True)
class BodySearchThresholds:
    """Where bodies begin and end along the spine (``vertebrae/sequence_search.py``)."""

    minimum_height_mm: int = _tuned(7, "lowest body that is looked for")
    maximum_height_mm: int = _tuned(45, "highest body")
    maximum_gap_mm: int = _tuned(18, "largest gap between two bodies of one stretch of column")
    probability_floor: float = _tuned(1e-3, "bounds the log odds of one row to 6.9 either way")
    start_cost: float = _tuned(
        4.0,
        "what a new stretch of column must earn",
        source="so that speckle outside the spine makes no vertebra; the value is not measured",
        unit="log odds",
    )
    widest_disc_mm: float = _tuned(10.0, "a wider gap has its price where a column that must be unbroken is searched")
    gap_price: float = _tuned(1.0, "per mm that a gap is wider, in that search", unit="log odds/mm")
    broken_cost: float = _tuned(12.0, "what a new stretch of column must earn in that search", unit="log odds")
    typical_height_mm: float = _tuned(20.0, "height that is expected before any body is known")
    log_sd: float = _tuned(0.45, "standard deviation of heights around it", unit="log ratio")
    log_sd_local: float = _tuned(
        0.22, "standard deviation of heights around those of the neighborhood", unit="log ratio"
    )
    collapse_cap: float = _tuned(
        3.0,
        "the most that a body may lose by being lower than its neighbors",
        source="so that a collapse is not searched away; the value is not measured",
        unit="log odds",
    )
    tall_from: float = _tuned(1.45, "height over the expected one from which two bodies were taken for one")
    tall_scale: float = _tuned(0.12, "how steeply the price rises beyond")
    body_weight: float = _tuned(
        0.35,
        "what the rows within a body count",
        source="neighboring rows see the same pixels and are not independent; the value is not measured",
    )
    cut_cost: float = _tuned(2.0, "the price of an endplate beyond the field of view", unit="log odds")
    neighborhood_mm: float = _tuned(90.0, "whose heights are those of the neighborhood")
    cut_edge_below: float = _tuned(0.5, "probability of an edge at the field of view below which the body is cut")


@dataclass(frozen=True)
class LocalizationThresholds:
    """Bodies on the network's maps (``vertebrae/localization.py``, ``vertebrae/assembly.py``)."""

    typical_depth_mm: float = _tuned(28.0, "depth of a body that was not traced, for whether it is cut")
    unseen_margin_mm: float = _tuned(
        6.0, "how far beyond the endplates the scan must go on where a body is not cut by its end"
    )
    corner_mm: float = _tuned(8.0, "how far lateral of its plane a body must lie in the field of view")
    shallow: float = _tuned(
        0.6,
        "fraction of the neighbors' depth below which an outline is none",
        source="a collapse takes height and never depth; normal neighbors differ by a fifth at most (T2 to T3, design "
        "table)",
    )
    depth_neighbors: int = _tuned(2, "to either side, by which a depth is judged", unit="vertebrae")
    lowest_confidence: float = _tuned(0.35, "a body that was found with less is not evaluable")


@dataclass(frozen=True)
class AccountingThresholds:
    """Is every vertebra of the column accounted for (``vertebrae/accounting.py``, ``vertebrae/level_column.py``)?"""

    neighbors: int = _tuned(3, "vertebrae to either side that predict a distance or a height", unit="vertebrae")
    spacing_log_sd: float = _tuned(
        0.12,
        "how unlikely it is that vertebrae follow each other at another distance than predicted",
        _BOTH,
        "standard deviation 0.075, 78 to 123 % over the 553 neighbors found on 54 scans and phantoms; widened for what "
        "is not among them",
        unit="log ratio",
    )
    missed: float = _tuned(0.03, "prior probability that a vertebra between two others was missed")
    missing_from: float = _tuned(
        0.1,
        "probability of a missed vertebra from which it is looked for again and said",
        _BOTH,
        "reached at 1.45 times the predicted distance",
    )
    too_tall: float = _tuned(
        1.45,
        "height over the median of the neighbors' from which two bodies may have been taken for one",
        _BOTH,
        "at most 1.27 on 34 scans, 1.36 on 20 phantoms with fractures",
    )
    too_low: float = _tuned(
        0.6,
        "height over the neighbors' below which a body may have been found in part only",
        _BOTH,
        "0.71 or more on 34 scans",
    )
    hu_changes: tuple[float, ...] = _tuned(
        (-60.0, 60.0), "added to all HU where bodies are looked for again", unit="HU"
    )
    hu_factors: tuple[float, ...] = _tuned((1.25, 0.8), "all HU times this where bodies are looked for again")
    least_confidence: float = _tuned(0.1, "a body that only another search finds, with less, is none")
    not_collapsed: float = _tuned(
        0.9,
        "and only where the neighbors stand at this fraction of the usual distance or further: they follow a collapse",
    )


@dataclass(frozen=True)
class LostSlicesThresholds:
    """Which bodies lost or moved slices touch (``vertebrae/lost_slices.py``)."""

    margin_mm: float = _tuned(2.0, "bodies as near to lost or copied slices are not measured: an endplate may be lost")
    jump_margin_mm: float = _tuned(
        8.0,
        "bodies as near to a jump are not measured",
        source="the centerline is smoothed over 9 mm, so that planes beside a step lean",
    )
    most_hidden: float = _tuned(0.5, "a body that lies in lost slices by more than this fraction was not seen")
    from_anterior_mm: float = _tuned(8.0, "bodies lie from here in front of the canal's center")
    to_anterior_mm: float = _tuned(36.0, "to here")
    half_width_mm: float = _tuned(12.0, "and so far to either side, where they are measured")
    beyond_mm: float = _tuned(12.0, "how far beyond the centerline's ends bodies may reach")
    least_slope: float = _tuned(0.3, "slices that the spine crosses at a smaller slope run along it", unit="mm/mm")
    blank_voxels: int = _tuned(
        4,
        "side of a cube of one value that is no image",
        _BOTH,
        "none in 582 bodies of 54 scans and phantoms",
        unit="mm",
    )
    same_hu: float = _tuned(0.01, "values that differ by less are one")
    least_blank_cubes: int = _tuned(
        8, "overlapping cubes from which a part of the body was lost", _BOTH, "0 of 410 bodies", unit="cubes"
    )


@dataclass(frozen=True)
class EndplateThresholds:
    """From the network's maps to walls and landmarks (``vertebrae/endplates.py``, ``vertebrae/measuring.py``)."""

    posterior_inset_mm: float = _tuned(
        3.0, "where the posterior height is read: inside the wall, clear of the rounded rim"
    )
    anterior_inset_mm: float = _tuned(3.5, "where the anterior height is read: inside the wall, clear of osteophytes")
    search_mm: float = _tuned(9.0, "how far from the found end an endplate is traced")
    step_cost: float = _tuned(0.6, "the price of moving by a row from column to column", unit="log odds")
    refine_rows: int = _tuned(3, "over which the traced endplate's center of mass is taken", unit="rows")
    local_mm: float = _tuned(1.5, "over which a landmark's height is averaged")
    strip_mm: float = _tuned(4.0, "half the strip at mid depth in which bodies are looked for")
    window_mm: float = _tuned(12.0, "half the window along s over which mid depth is averaged")
    minimum_depth_mm: float = _tuned(10.0, "an outline less deep is none")
    steepest: float = _tuned(0.6, "the most that a body's endplates are taken to tilt", unit="mm/mm")
    wall_level: float = _tuned(0.5, "probability of body at which its walls stand")
    depth_from_probability: float = _tuned(0.3, "probability of body from which a pixel counts for mid depth")
    depth_from_mass: float = _tuned(20.0, "body that mid depth needs in its window", unit="pixels")
    depth_from_anterior_mm: float = _tuned(2.0, "from where in front of the canal's center")
    edge_floor: float = _tuned(0.02, "bounds what a column without an edge costs")
    middle_weight: float = _tuned(2.0, "how much more the columns at mid depth count while tracing")
    click_reach_mm: float = _tuned(6.0, "how far from a reader's endplate the network's is looked for")
    click_sd_mm: float = _tuned(4.0, "how far a reader's endplate may be off")
    click_from: float = _tuned(0.05, "probability from which the network's endplate replaces it")


@dataclass(frozen=True)
class SurfaceThresholds:
    """From a body's signed distance to walls and endplates (``vertebrae/body_surface.py``)."""

    strip_mm: float = _tuned(
        3.0, "half the strip beside the mid plane that heights, and at mid height and depth walls, are averaged over"
    )
    lateral_seed_mm: float = _tuned(4.0, "how far beside the mid plane the body is looked for at mid height")
    seed_mm: float = _tuned(6.0, "how far from the block's middle a point of the body is looked for")
    at_once: int = _tuned(4, "bodies that the network sees at once: bounds its memory", unit="bodies")
    centered_mm: float = _tuned(
        3.0, "a block that lies farther off its body is laid again: about twice the usual error"
    )
    unsure_from_mm: float = _tuned(
        1.1,
        "mean error that the network expects of an endplate from which its heights are told as doubtful: a third of "
        "such are off by more than 3 mm somewhere, on the scans of fold 0",
    )
    wall_unsure_from_mm: float = _tuned(
        0.8,
        "the same of the front and the back: of 95 bodies of folds 0 and 1, broken or not, 94 had at most 0.6 and were "
        "off by less than 2 mm, one had 0.9 and was off by more",
    )
    tilt_from: float = _tuned(0.2, "depth near each wall that tells nothing of the tilt", unit="fraction")
    overlap_mm: float = _tuned(2.0, "bodies may reach into each other by: blur and tilt at mid depth")


@dataclass(frozen=True)
class MidPlaneThresholds:
    """Each vertebra's own mid-sagittal plane (``vertebrae/mid_plane.py``)."""

    pivot_mm: float = _tuned(22.0, "in front of the canal, about the middle of a body, where offsets are counted")
    step_mm: int = _tuned(2, "distance of the picture's samples, a multiple of the volume's 1 mm")
    farthest_offset_mm: float = _tuned(8.0, "offsets are looked for up to this")
    offsets: int = _tuned(7, "how many of them")
    farthest_turn_deg: float = _tuned(20.0, "turns are looked for up to this")
    turns: int = _tuned(11, "how many of them")
    offset_sd_mm: float = _tuned(5.0, "how unlikely an offset is")
    turn_sd_rad: float = _tuned(0.20, "how unlikely a turn is", unit="rad")
    prior_weight: float = _tuned(
        0.03, "what a plane one standard deviation away must gain in correlation to be believed"
    )
    from_anterior_mm: float = _tuned(-20.0, "where the picture begins, behind the canal")
    beyond_front_mm: float = _tuned(2.0, "how far in front of the body it ends")
    half_width_mm: float = _tuned(30.0, "half its width")
    lowest_hu: float = _tuned(100.0, "below are soft tissue and lung, which are not symmetric")
    highest_hu: float = _tuned(500.0, "denser counts as this")
    least_known: float = _tuned(
        0.5, "fraction of the picture in the field of view without which the canal's plane stays"
    )
    refined_offset_mm: float = _tuned(1.5, "second, finer search around the best offset")
    refined_turn_deg: float = _tuned(2.5, "and turn")


@dataclass(frozen=True)
class LateralWallThresholds:
    """The width of the box around a body (``vertebrae/oriented_box.py``)."""

    width_over_depth: float = _tuned(
        1.17, "where the lateral walls usually stand", _SCANS, "1.18 in the median of 238 bodies, 0.94 to 1.65 in 90 %"
    )
    least_usual_mm: float = _tuned(
        30.0, "the least width that is usual: the highest thoracic bodies are shallow and wide", _SCANS
    )
    log_sd: float = _tuned(0.22, "how unlikely another distance is")
    nearest: float = _tuned(0.6, "walls are looked for from this fraction of the usual distance")
    farthest: float = _tuned(1.5, "up to this")
    lowest_hu: float = _tuned(-50.0, "less dense counts as this")
    highest_hu: float = _tuned(350.0, "denser counts as this")


@dataclass(frozen=True)
class BodySolidThresholds:
    """The cross-section of a body whose outline and lateral walls are known (``vertebrae/body_solid.py``)."""

    front_power: float = _tuned(2.2, "how round a body is in front: 2 is an ellipse, larger is squarer", unit="power")
    back_power: float = _tuned(4.0, "the same behind, where it is nearly flat", unit="power")


_LEVELS_PAGE = "on held-out patients, their changed copies and stretches (docs/results/levels.md)"


@dataclass(frozen=True)
class LevelThresholds:
    """The vertebrae's levels (``vertebrae/level_*.py``, ``vertebrae/relabeling.py``)."""

    known_from: float = _tuned(
        0.6, "a level of lower probability is not reported", _SCANS, "settled while looking at the 25 scans"
    )
    evidence_weight: float = _tuned(
        0.2,
        "what the network's opinion of one vertebra counts in the sum over all",
        _SCANS,
        "with a former network on these scans; 0.3 would now fit best, the more careful value was kept "
        "(docs/results/levels.md)",
    )
    supernumerary: float = _tuned(
        0.02, "prior of a T13 or L6", _LITERATURE, "a few percent each in the literature on variants"
    )
    missing: float = _tuned(0.02, "prior of a missing T12 or a sacralized L5", _LITERATURE, "as supernumerary")
    count_slip: float = _tuned(1e-4, "probability that the search joined two vertebrae or split one")
    variant_penalty: float = _tuned(
        0.3, "a T13 looks like a T12, an L6 like an L5 or an S1, but rarely exactly so", unit="log odds"
    )
    ribless_penalty: float = _tuned(3.0, "a T13 that looks like an L1 is an L1 to most readers", unit="log odds")
    region_weight: float = _tuned(0.5, "what the look of one vertebra counts for its region", _SCANS, _LEVELS_PAGE)
    region_floor: float = _tuned(
        0.03, "a region is never less probable than this for one vertebra", _SCANS, _LEVELS_PAGE
    )
    beyond_weight: float = _tuned(0.5, "what a cell beyond the outermost body counts, against one that holds a body")
    beyond_seen: float = _tuned(0.6, "fraction of such a cell that must lie in the field of view")
    landmark_log_odds: float = _tuned(
        0.7,
        "from here on a vertebra looks more like its own region than like the next one",
        _SCANS,
        _LEVELS_PAGE,
        unit="log odds",
    )
    axis_probability: float = _tuned(0.5, "from here on a C2 is recognized by itself")
    trust_two_landmarks: float = _tuned(
        0.995, "how often a column is counted right in which two landmarks confirm each other", _SCANS, _LEVELS_PAGE
    )
    trust_one_landmark: float = _tuned(
        0.94, "how often a column is counted right from one landmark", _SCANS, _LEVELS_PAGE
    )
    trust_none: float = _tuned(
        0.83, "how often a column is counted right where no landmark is seen", _SCANS, _LEVELS_PAGE
    )
    disc_mm: float = _tuned(5.0, "height of a disc, where levels are counted into a gap")
    shortest_end: float = _tuned(
        0.8, "an end cell lower than this fraction of its neighbor was cut by the field of view"
    )
    not_sacral: float = _tuned(
        -4.0, "a body in the list was not taken for S1: below L5 it is rather an L6", unit="log odds"
    )


@dataclass(frozen=True)
class GradingThresholds:
    """From heights to a grade, beside the tables of ``vertebrae/norms.py`` (``vertebrae/grading.py``)."""

    genant_cut_offs: tuple[float, float, float] = _tuned(
        (0.20, 0.25, 0.40),
        "height loss from which the grade is 1, 2 and 3",
        _LITERATURE,
        "Genant et al., J Bone Miner Res 1993;8:1137-1148",
    )
    middle_over_floor: float = _tuned(
        0.07,
        "added to the middle ratio of the norms, which go to the endplate's deepest point and not to its middle",
        _SCANS,
        "median of 177 unfractured bodies of 19 scans with slices up to 3.5 mm, as they are measured",
    )
    common_height_sd: float = _tuned(
        0.050,
        "standard deviation of what all three heights of neighboring vertebrae share beyond the patient's size",
        _SCANS,
        "maximum likelihood over 177 unfractured bodies of 19 scans with slices up to 3.5 mm",
    )
    own_height_sd: float = _tuned(
        0.039,
        "the same of what each of the three heights shares with its neighbors' own",
        _SCANS,
        "as common_height_sd",
    )
    height_error_sd: float = _tuned(
        0.024, "the same of what a height shares with no other", _SCANS, "as common_height_sd"
    )
    neighbor_reach: float = _tuned(
        2.7, "over which what neighbors share falls to 1 / e", _SCANS, "as common_height_sd", unit="vertebrae"
    )
    trusted_from_sd: float = _tuned(
        -1.0,
        "from which a height, for what the others predict, counts fully for its neighbors",
        _SCANS,
        "69 simulated fractures in thin slices (docs/results/fracture.md)",
        unit="standard deviations",
    )
    ignored_from_sd: float = _tuned(
        -2.5,
        "at and below which a height counts next to nothing for its neighbors",
        _SCANS,
        "as trusted_from_sd",
        unit="standard deviations",
    )
    fewest_predicting: int = _tuned(2, "others that must be known to predict a posterior height", unit="vertebrae")
    outline_over_heights: float = _tuned(
        0.948,
        "mean height within the outline of a body over the mean of its three heights by Simpson's rule",
        _SCANS,
        "median of 523 unfractured bodies as they are found, with a standard deviation of 0.026",
    )
    reader_difference: float = _tuned(
        0.032,
        "mean difference of two expert readers' heights, as a fraction; a loss as near to a cut-off is borderline",
        _READINGS,
        "neuro-ml/anchor-free-genant",
    )
    crush_posterior_over_largest: float = _tuned(
        0.55,
        "loss of the posterior height over the largest loss, from which a body is crushed and not hollowed",
        _SCANS,
        "84 simulated fractures in slices up to 3.3 mm (docs/results/fracture.md)",
    )
    biconcave_margin_over_largest: float = _tuned(
        0.1,
        "how much more the middle has lost than the front, over the largest loss, to be called biconcave",
        _SCANS,
        "as crush_posterior_over_largest",
    )


@dataclass(frozen=True)
class HeightErrorThresholds:
    """How far a height may be off (``vertebrae/uncertainty.py``)."""

    least_sd_mm: float = _tuned(
        0.25,
        "standard deviation of a height in thin slices without noise",
        _PHANTOMS,
        "fitted to 43 unfractured vertebrae with known heights (docs/results/vertebrae.md)",
    )
    slice_term_per_mm: float = _tuned(
        0.048,
        "times the square of the slice distance: partial volume moves an endplate and hides thin discs",
        _PHANTOMS,
        "as least_sd_mm",
        unit="1/mm",
    )
    noise_term_per_hu: float = _tuned(
        0.0025,
        "times slice distance and noise: thick slices give fewer voxels to find an endplate from",
        _PHANTOMS,
        "as least_sd_mm",
        unit="1/HU",
    )


@dataclass(frozen=True)
class TrabecularThresholds:
    """Whether the inside of a body is trabecular bone (``vertebrae/trabecular.py``)."""

    half_width_mm: float = _tuned(8.0, "half the width of the volume of interest")
    noise_step_mm: int = _tuned(
        3, "distance of the voxels whose difference is noise: beyond interpolation and most kernels"
    )
    metal_hu: float = _tuned(1000.0, "what is denser is metal or cement")
    metal_fraction: float = _tuned(0.08, "fraction of such voxels from which a body is not evaluable")
    dense_above_median_hu: float = _tuned(150.0, "a voxel is dense when it exceeds the median by this")
    dense_above_noise: float = _tuned(3.0, "or by this many times the noise, if that is more")
    dense_fraction: float = _tuned(0.10, "fraction of dense voxels from which a body is sclerotic or degenerated")
    denser_than_neighbors: float = _tuned(1.5, "mean over the neighbors' from which it is that, too")
    least_usual_hu: float = _tuned(50.0, "neighbors that are less dense count as this")
    neighbors: int = _tuned(2, "to either side; with fewer sound ones nothing is compared", unit="vertebrae")


@dataclass(frozen=True)
class ImplantThresholds:
    """Metal, cement and lost bone (``vertebrae/implants.py``), in a spine volume at 1 mm."""

    metal_hu: float = _tuned(
        1600.0,
        "denser than bone",
        _SCANS,
        "0 to 1 voxel around 408 of 412 bodies of 34 scans; the rest is contrast medium",
    )
    metal_from_mm3: float = _tuned(
        300.0,
        "so much of it is said; a rod has 760 beside each vertebra",
        _SCANS,
        "said of three vertebrae of one of 34 scans, where contrast medium fills the veins",
        unit="cubic mm",
    )
    hidden_by_mm3: float = _tuned(
        1000.0,
        "with so much of it in front of the canal's center nothing is judged",
        _SCANS,
        "728 by contrast medium; one screw has 1,300",
        unit="cubic mm",
    )
    cement_hu: float = _tuned(1300.0, "denser within a body than sclerosis", _SCANS, "at most 49 voxels in 34 scans")
    cement_from_mm3: float = _tuned(150.0, "so much of it in a body is cement or metal", _SCANS, unit="cubic mm")
    dense_hu: float = _tuned(800.0, "as dense as thin cement or sclerosis")
    denser_by_mm3: float = _tuned(
        700.0, "so much more of it than in the neighbors is no bone that can be judged", _SCANS, unit="cubic mm"
    )
    less_dense_hu: float = _tuned(
        40.0,
        "a body is destroyed that is this much less dense than its neighbors",
        _BOTH,
        "with least_bone: none of 582 bodies of 54 scans and phantoms, 218 of 225 simulated lytic ones",
    )
    least_bone: float = _tuned(0.4, "and holds less than this fraction of their bone", _BOTH, "as less_dense_hu")
    least_wall: float = _tuned(
        0.5,
        "fraction of the neighbors' below which an endplate or wall is lost; of four, two",
        _BOTH,
        "as less_dense_hu",
    )
    soft_tissue_hu: float = _tuned(45.0, "what is as dense holds no bone", _SCANS, "15 to 65 around the spine")
    neighbors: int = _tuned(2, "to either side that a body is compared with", unit="vertebrae")
    untraced_mm: tuple[float, float] = _tuned((8.0, 36.0), "posterior and anterior wall of a body that was not traced")
    disc_mm: float = _tuned(6.0, "how far beyond the endplates metal is looked for")
    arch_mm: float = _tuned(50.0, "how far behind the canal's center")
    lateral_mm: float = _tuned(25.0, "and to either side")
    cortex_mm: float = _tuned(3.0, "cortex that is no inside")
    body_mm: float = _tuned(13.0, "half the width in which cement is looked for")
    core_mm: float = _tuned(8.0, "half the width in which bone is looked for")
    plate_mm: float = _tuned(2.5, "within which an endplate is looked for")
    wall_mm: float = _tuned(3.0, "within which a wall is looked for")


@dataclass(frozen=True)
class BoneChangeThresholds:
    """Bone that differs from that of the neighbors (``vertebrae/bone_map.py``, ``vertebrae/bone_change.py``)."""

    inset_mm: float = _tuned(2.5, "what lies nearer to an endplate or wall is cortex and no inside")
    least_inside_mm: float = _tuned(4.0, "a body with less between those is not compared")
    half_width: float = _tuned(0.4, "half the width that is compared, as a fraction of the depth")
    neighbors: int = _tuned(3, "to either side that a body is compared with", unit="vertebrae")
    band_cells: int = _tuned(3, "of ten from endplate to endplate are the band under one of them", unit="cells")
    edge_cells: int = _tuned(1, "of ten from wall to wall in which no focus is looked for", unit="cells")
    front_cells: int = _tuned(
        2,
        "the same in front",
        _SCANS,
        "osteophytes of three scans reach into it; without it they pass for foci",
        unit="cells",
    )
    dense_anywhere_hu: float = _tuned(
        400.0,
        "a body of this density is dense, whatever its neighbors are",
        _BOTH,
        "the densest of 580 sound bodies of 25 scans, 2 unlabeled ones and 32 phantoms has 297",
    )
    body_hu: float = _tuned(
        70.0,
        "a body that differs from its neighbors by this is dense or lucent as a whole",
        _BOTH,
        "sound bodies differ by -37 to 37 in 98 of 100 (-63 at the shoulders)",
    )
    body: float = _tuned(0.4, "or by this fraction of their density, if that is more", _BOTH, "as body_hu")
    both_bands_hu: float = _tuned(
        70.0,
        "bands under both endplates are this much denser than the middle, whatever the neighbors are",
        _BOTH,
        "at most 55 under both in 569 sound bodies",
    )
    both_bands: float = _tuned(0.35, "or by this fraction of the body's density, if that is more")
    two_bands_hu: float = _tuned(
        45.0,
        "bands under both endplates are this much denser than in the neighbors",
        _BOTH,
        "at most 32 under both in 569 sound bodies",
    )
    two_bands_noise: float = _tuned(0.9, "or by this many times the texture, if that is more", _BOTH, "as two_bands_hu")
    band_hu: float = _tuned(
        70.0,
        "a band under one endplate is this much denser than in the neighbors",
        _BOTH,
        "52 and less in 97 of 100 sound bodies; what exceeds it in the scans is dense to the eye",
    )
    band_noise: float = _tuned(1.2, "or by this many times the texture, if that is more", _SCANS, "as band_hu")
    focus_hu: float = _tuned(
        150.0, "a focus is this much denser than the same place in the neighbors", _BOTH, "as focus_mm3"
    )
    focus_noise: float = _tuned(3.0, "or by this many times the texture, if that is more", _BOTH, "as focus_mm3")
    focus_mm3: float = _tuned(
        200.0,
        "so much of it is said",
        _BOTH,
        "260 and more in the six bodies with a dense focus to the eye, 178 and less in all others",
        unit="cubic mm",
    )
    lucent_hu: float = _tuned(
        75.0, "a hole is this much less dense than the same place in the neighbors", _BOTH, "as lucent_mm3"
    )
    lucent_mm3: float = _tuned(
        400.0,
        "so much of it is said",
        _BOTH,
        "314 and less in 264 bodies of 27 scans",
        unit="cubic mm",
    )
    kept_loss: float = _tuned(
        0.20,
        "loss, with its standard deviation, up to which a height was kept",
        _LITERATURE,
        "Genant grade 1 begins there",
    )


@dataclass(frozen=True)
class DenseBoneThresholds:
    """What the networks' answer is worth in a dense body that kept its height (``fracture/density_weight.py``)."""

    slope: float = _tuned(
        0.82,
        "of their log odds that counts there",
        _SCANS,
        "logistic regression on 58 simulated dense bodies and 118 simulated fractures, all unseen by the networks, "
        "at the share of fractures that they are calibrated for (9 %)",
    )
    offset: float = _tuned(-2.0, "added to it", _SCANS, "as slope", unit="log odds")


@dataclass(frozen=True)
class ScoringThresholds:
    """Probabilities of vertebrae and scan (``fracture/``, ``result/build_report.py``)."""

    least_inside: float = _tuned(0.5, "fraction of a patch in the field of view from which its position counts")
    most_logit: float = _tuned(
        6.0,
        "the most that one member's answer weighs among the others",
        source="400 to 1, more than its calibration can know; not measured",
        unit="log odds",
    )
    least_inside_for_scan: float = _tuned(0.9, "the same for the scan's own score, before vertebrae are known")
    least_positions: int = _tuned(3, "fewer inside the field of view are not evaluable", unit="positions")
    grade_band: float = _tuned(
        0.8,
        "probability that the range of a grade, or of the spinal deformity index, holds the true one",
        source="a convention: one in ten lies below, one in ten above",
    )
    shape_from_loss: float = _tuned(
        0.1,
        "a smaller loss has no shape, whatever the networks say",
        source="half of the least loss that is a fracture; not measured",
    )
    disagreement: float = _tuned(
        0.5,
        "probability of a fracture by the networks less that by the heights alone, from which they disagree",
        source="one says rather yes and the other rather no; not measured",
    )
    fractured_from: float = _tuned(
        0.5, "probability from which the inside is compacted bone and its HU are not reported"
    )
    decision_threshold: float = _tuned(0.5, "probability, calibrated, from which a vertebra is suspected")
    minimum_scored: int = _tuned(3, "a scan with fewer scored ones is not evaluable", unit="vertebrae")


@dataclass(frozen=True)
class CorrectionThresholds:
    """What a reader's edit means (``result/edits.py``, ``result/lookup.py``)."""

    usual_height_mm: float = _tuned(22.0, "height of an added vertebra without neighbors")
    lowest_height_mm: float = _tuned(8.0, "least height of an added vertebra")
    disc_mm: float = _tuned(4.0, "between the halves of a vertebra that was split")
    nearest_mm: float = _tuned(
        14.0, "a point further from every center means no vertebra", source="half the distance of two neighbors"
    )
    same_center_mm: float = _tuned(
        4.0,
        "centers as near as this are those of the same vertebra in the same scan",
        _SCANS,
        "set while looking at all pairs of the 34 scans, field included; no two share half of their vertebrae "
        "(docs/results/unusual_input.md)",
    )
    same_scan_fraction: float = _tuned(
        0.6,
        "so much of the vertebrae in the same place says that a correction is of this scan",
        source=_JUDGED,
    )
    levels_moved: int = _tuned(
        3,
        "a reader's levels so far from those of the model are said",
        source="T13, L6 and a missing T12 or L5 explain two",
        unit="levels",
    )
    sure_level: float = _tuned(0.9, "where the model's level had at least this probability")


VOLUME_CHECKS = VolumeCheckThresholds()
CONTINUITY = ContinuityThresholds()
CANAL_STACK = CanalStackThresholds()
CANAL_CANDIDATES = CanalCandidatesThresholds()
CANAL_PATH = CanalPathThresholds()
CANAL_CURVE = CanalCurveThresholds()
CORTICAL_REFINEMENT = CorticalRefinementThresholds()
BONY_CANAL = BonyCanalThresholds()
CANAL_PLAUSIBILITY = CanalPlausibilityThresholds()
VERTEBRAL_SPACING = VertebralSpacingThresholds()
CANAL_EDITING = CanalEditingThresholds()
READER_CURVE = ReaderCurveThresholds()
ORIENTATION = OrientationThresholds()
REFORMATTING = ReformattingThresholds()
HU_SCALE = HuScaleThresholds()
ENCLOSURE = EnclosureThresholds()
BODY_SEARCH = BodySearchThresholds()
LOCALIZATION = LocalizationThresholds()
ACCOUNTING = AccountingThresholds()
LOST_SLICES = LostSlicesThresholds()
ENDPLATES = EndplateThresholds()
SURFACES = SurfaceThresholds()
MID_PLANE = MidPlaneThresholds()
LATERAL_WALLS = LateralWallThresholds()
BODY_SOLID = BodySolidThresholds()
LABELING = LevelThresholds()
GRADING = GradingThresholds()
HEIGHT_ERROR = HeightErrorThresholds()
TRABECULAR = TrabecularThresholds()
IMPLANTS = ImplantThresholds()
BONE_CHANGE = BoneChangeThresholds()
DENSE_BONE = DenseBoneThresholds()
SCORING = ScoringThresholds()
CORRECTION = CorrectionThresholds()

GROUPS: dict[str, Any] = {
    name: group for name, group in list(globals().items()) if type(group).__name__.endswith("Thresholds")
}
"""The groups by name, in the order of the pipeline."""
