"""One level from a reader, and the whole column counted from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from correction_samples import a_column

from VertebralFractureLib.result import Correction, SpineReport, apply_correction, edits
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.relabeling import relabel, relabel_levels
from VertebralFractureLib.vertebrae.vertebra import Heights, Reason, Status, Vertebra


def a_vertebra(level: str | None, **known: object) -> Vertebra:
    """Scored and normal, 20 mm high."""
    vertebra = Vertebra(
        center_ras=(0.0, 20.0, 10.0),
        extent_mm=(0.0, 20.0),
        complete=True,
        detection_confidence=0.9,
        level=level,
        level_probability=0.7,
        label=level or "V1",
        status=Status.SCORED,
        heights_mm=Heights(18.0, 18.0, 20.0),
    )
    return replace(vertebra, **known)


def a_report(*levels: str | None) -> SpineReport:
    """The sample column with other levels, caudal to cranial, every level as certain as the others."""
    report = a_column()
    vertebrae = [
        replace(v, level=level, level_probability=0.7, label=level or f"V{n + 1}")
        for n, (v, level) in enumerate(zip(report.vertebrae, levels, strict=False))
    ]
    return replace(report, vertebrae=tuple(vertebrae))


def corrected(report: SpineReport, index: int, level: str) -> tuple[Vertebra, ...]:
    return apply_correction(report, edits.set_level(Correction(), report, index, level)).vertebrae


def levels(vertebrae: tuple[Vertebra, ...]) -> list[str | None]:
    return [vertebra.level for vertebra in vertebrae]


def test_a_column_named_one_level_too_far_up_is_put_right_by_one_name() -> None:
    right = corrected(a_report("L2", "L1", "T12", "T11", "T10"), 2, "L1")

    assert levels(right) == ["L3", "L2", "L1", "T12", "T11"]
    assert [vertebra.label for vertebra in right] == ["L3", "L2", "L1", "T12", "T11"]
    assert right[2].level_probability == 1.0
    assert all(vertebra.level_probability > 0.9 for vertebra in right)


def test_a_column_without_levels_is_named_by_one() -> None:
    assert levels(corrected(a_report(None, None, None), 0, "T5")) == ["T5", "T4", "T3"]


def test_grades_follow_the_new_names() -> None:
    report = a_report("L2", "L1", "T12")
    lower = [replace(vertebra, heights_mm=Heights(16.0, 18.0, 20.0)) for vertebra in report.vertebrae]
    report = replace(report, vertebrae=tuple(lower))

    as_t7, as_l2 = corrected(report, 1, "T7")[1], corrected(report, 1, "L2")[1]

    assert as_t7.height_loss is not None
    assert as_l2.height_loss is not None
    assert as_l2.height_loss > as_t7.height_loss + 0.02


def test_confirming_a_name_changes_no_other_even_beside_a_supernumerary_vertebra() -> None:
    confirmed = corrected(a_report("L1", "T13", "T12", "T11"), 3, "T11")

    assert levels(confirmed) == ["L1", "T13", "T12", "T11"]
    assert [vertebra.level_probability for vertebra in confirmed] == [0.7, 0.7, 0.7, 1.0]


@pytest.mark.parametrize(
    ("index", "level", "expected"),
    [
        (1, "T13", ["L1", "T13", "T12", "T11", "T10", "T9"]),
        (0, "L6", ["L6", "L5", "L4", "L3", "L2", "L1"]),
        (5, "L1", ["L6", "L5", "L4", "L3", "L2", "L1"]),
        (2, "T1", ["T3", "T2", "T1", "C7", "C6", "C5"]),
    ],
)
def test_supernumerary_vertebrae_and_region_borders_are_counted_through(
    index: int, level: str, expected: list[str]
) -> None:
    extents = [(26.0 * number, 26.0 * number + 20.0) for number in range(6)]

    assert [name.level for name in relabel_levels(extents, {index: level})] == expected


def test_two_names_with_one_body_too_many_between_them_make_a_supernumerary_one() -> None:
    extents = [(26.0 * number, 26.0 * number + 20.0) for number in range(5)]

    names = [name.level for name in relabel_levels(extents, {0: "L2", 4: "T11"})]

    assert names == ["L2", "L1", "T13", "T12", "T11"]


def test_two_names_with_one_body_too_few_between_them_leave_one_out() -> None:
    extents = [(26.0 * number, 26.0 * number + 20.0) for number in range(4)]

    names = [name.level for name in relabel_levels(extents, {0: "L2", 3: "T10"})]

    assert names == ["L2", "L1", "T11", "T10"]


def test_a_hole_in_the_column_is_counted() -> None:
    extents = [(0.0, 20.0), (26.0, 46.0), (104.0, 124.0)]

    assert [name.level for name in relabel_levels(extents, {0: "L2"})] == ["L2", "L1", "T10"]


def test_a_thoracic_vertebra_renamed_cervical_is_no_longer_judged_and_the_other_way_round() -> None:
    report = a_report("T3", "T2", "T1")
    shifted = corrected(report, 0, "T1")

    assert levels(shifted) == ["T1", "C7", "C6"]
    assert [vertebra.status for vertebra in shifted[1:]] == [Status.NOT_EVALUABLE] * 2
    assert [vertebra.reason for vertebra in shifted[1:]] == [Reason.LEVEL_NOT_SCORED] * 2
    assert all(v.fracture_probability is None and v.grade is None for v in shifted[1:])

    back = corrected(replace(report, vertebrae=shifted), 0, "T3")

    assert levels(back) == ["T3", "T2", "T1"]
    assert [vertebra.reason for vertebra in back] == [None, None, None]
    assert all(vertebra.grade is not None for vertebra in back)


def test_a_vertebra_of_low_confidence_is_not_made_sure_by_a_name() -> None:
    faint = a_vertebra("C7", detection_confidence=0.2, reason=Reason.LEVEL_NOT_SCORED)

    assert relabel(faint, LevelLabel("T1", 1.0)).reason == Reason.LOW_CONFIDENCE


def test_names_that_are_no_levels_and_vertebrae_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="'T14' is no level"):
        relabel_levels([(0.0, 20.0)], {0: "T14"})
    with pytest.raises(ValueError, match="no vertebra 3; the column has 2"):
        relabel_levels([(0.0, 20.0), (26.0, 46.0)], {3: "L1"})
    with pytest.raises(ValueError, match="At least one"):
        relabel_levels([(0.0, 20.0)], {})
