"""What holds of every sequence of corrections: each can be taken back, written down and read, and hides no answer."""

from __future__ import annotations

import json
import random

from correction_samples import a_column
from hypothesis import assume, given
from hypothesis import strategies as st
from test_correction import random_edit

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.result import (
    CorrectedReport,
    Correction,
    CorrectionHistory,
    apply_correction,
    corrected_from_json,
    corrected_to_json,
    correction_from_json,
    correction_to_json,
    report_to_json,
)

REPORT = a_column()
SEEDS = st.integers(0, 10**6)


def corrected_by_chance(seed: int, count: int) -> Correction:
    """What ``count`` edits of every kind, one after the other, make of the column."""
    dice, correction = random.Random(seed), Correction()
    for _ in range(count):
        correction = random_edit(dice, correction, apply_correction(REPORT, correction))
    return correction


@given(seed=SEEDS, steps=st.lists(st.sampled_from(["edit", "edit", "undo", "redo"]), max_size=25))
def test_edits_undo_and_redo_in_any_order_lead_to_the_state_that_a_list_of_states_would_give(
    seed: int, steps: list[str]
) -> None:
    dice, history = random.Random(seed), CorrectionHistory()
    states, at = [Correction()], 0

    for step in steps:
        if step == "edit":
            edited = random_edit(dice, history.present, apply_correction(REPORT, history.present))
            history = history.do(edited)
            if edited != states[at]:
                states, at = [*states[: at + 1], edited], at + 1
        else:
            history = history.undo() if step == "undo" else history.redo()
            at = max(at - 1, 0) if step == "undo" else min(at + 1, len(states) - 1)
        assert history.present == states[at]

    assert (len(history.past), len(history.future)) == (at, len(states) - 1 - at)


@given(seed=SEEDS, count=st.integers(0, 12))
def test_corrections_that_are_written_down_say_the_same_when_they_are_read(seed: int, count: int) -> None:
    text = correction_to_json(corrected_by_chance(seed, count))

    read = correction_from_json(text)

    assert correction_to_json(read) == text
    whole = corrected_to_json(CorrectedReport(REPORT, read))
    again = corrected_from_json(whole)
    assert (again.correction, again.detected) == (read, REPORT)
    assert corrected_to_json(again) == whole


@given(seed=SEEDS, count=st.integers(1, 12))
def test_no_correction_changes_the_detected_report_or_what_the_model_said_of_a_vertebra(seed: int, count: int) -> None:
    before = report_to_json(REPORT)

    shown = json.loads(report_to_json(apply_correction(REPORT, corrected_by_chance(seed, count))))

    assert report_to_json(REPORT) == before
    said = {(v.label, v.fracture_probability, v.grade, v.height_loss) for v in REPORT.vertebrae}
    kept = [one["model"] for one in shown["vertebrae"] if one["model"] is not None]
    for answer in kept:
        assert (answer["label"], *(answer[key] for key in ("fracture_probability", "grade", "height_loss"))) in said


@given(seed=SEEDS, count=st.integers(1, 12))
def test_a_corrected_column_stays_in_order_and_gives_each_name_once_or_says_so(seed: int, count: int) -> None:
    correction = corrected_by_chance(seed, count)
    # Two names of a reader that leave no room for the vertebrae between them share it.
    assume(len(correction.levels) < 2)

    shown = apply_correction(REPORT, correction)

    middles = [0.5 * sum(vertebra.extent_mm) for vertebra in shown.vertebrae]
    names = [vertebra.level for vertebra in shown.vertebrae if vertebra.level is not None]
    assert middles == sorted(middles)
    contradicts = DoubtKind.LEVELS_CONTRADICT in [doubt.kind for doubt in shown.doubts]
    assert contradicts or len(names) == len(set(names))
    assert sorted(shown.scan.fractured_levels) == sorted(vertebra.label for vertebra in shown.suspected)
