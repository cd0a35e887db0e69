"""A reader corrects levels, vertebrae, landmarks and calls; the model's answer stays, and everything can be undone."""

import csv
import io
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from correction_samples import HALF_MM, LEVELS, PITCH_MM, WEDGE, a_column, landmarks

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.export.table import report_to_csv
from VertebralFractureLib.fracture.grade_posterior import compute_posterior
from VertebralFractureLib.result import (
    CorrectedReport,
    Correction,
    CorrectionHistory,
    agreement,
    apply_correction,
    corrected_from_json,
    corrected_to_json,
    correction_from_json,
    correction_to_json,
    edits,
    report_from_json,
    report_to_json,
)
from VertebralFractureLib.result.bone_density import bone_density
from VertebralFractureLib.result.report import REVISION
from VertebralFractureLib.result.words import ASSESSMENT_WORDS, REASON_WORDS, STATUS_WORDS, describe_status
from VertebralFractureLib.vertebrae.vertebra import Assessment, OrientedBox, Reason, Source, Status

NOTHING = Correction()
SCHEMA_1 = Path(__file__).parent / "schema_1_revision_4"
"""A column of nine vertebrae as version 0.1.0 wrote it, with and without a reader's corrections."""


@pytest.fixture
def a_report():
    return a_column()


def labels(report):
    return [v.label for v in report.vertebrae]


def at(report, label):
    return labels(report).index(label)


def test_an_empty_correction_changes_nothing(a_report):
    assert apply_correction(a_report, NOTHING) is a_report


def test_one_level_is_set_and_the_rest_follows_up_and_down(a_report):
    correction = edits.set_level(NOTHING, a_report, at(a_report, "L1"), "T12")

    shown = apply_correction(a_report, correction)

    assert labels(shown) == ["L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8", "T7"]
    assert shown.scan.fractured_levels == ("T11",)
    assert {v.model.level for v in shown.vertebrae} == set(LEVELS)
    assert shown.vertebrae[at(shown, "T12")].level_probability == 1.0
    assert shown.vertebrae[0].level_probability < 1.0


@pytest.mark.parametrize("named", ["L1", "T12"])
def test_levels_that_were_counted_alone_are_no_longer_in_doubt_once_a_reader_names_one(a_report, named):
    counted = (DoubtKind.LEVEL_BY_COUNTING, DoubtKind.UNUSUAL_HEIGHT)
    report = replace(a_report, vertebrae=tuple(replace(v, doubts=counted) for v in a_report.vertebrae))

    level = edits.set_level(NOTHING, report, at(report, "L1"), named)
    other = edits.remove_vertebra(NOTHING, report, 0)

    assert {v.doubts for v in apply_correction(report, level).vertebrae} == {(DoubtKind.UNUSUAL_HEIGHT,)}
    assert {v.doubts for v in apply_correction(report, other).vertebrae} == {counted}


def test_a_grade_is_held_against_what_is_normal_for_the_corrected_level(a_report):
    wedge = at(a_report, WEDGE)

    at_t7, at_t10 = (
        apply_correction(a_report, edits.set_level(NOTHING, a_report, wedge, level)).vertebrae[wedge]
        for level in ("T7", "T10")
    )

    # The front of a T7 is lower by nature.
    fronts = [one.expected_heights_mm.anterior / one.expected_heights_mm.posterior for one in (at_t7, at_t10)]
    assert fronts[0] < fronts[1] - 0.02
    assert at_t7.height_loss < at_t10.height_loss - 0.02
    assert at_t7.model.height_loss == 0.26
    assert a_report.vertebrae[wedge].height_loss == 0.26


def test_shifting_up_and_down_again_gives_the_models_names(a_report):
    up = edits.shift_levels(NOTHING, a_report, 1)
    shown = apply_correction(a_report, up)
    down = edits.shift_levels(up, shown, -1)

    assert labels(shown) == ["L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8", "T7"]
    assert labels(apply_correction(a_report, down)) == list(LEVELS)


def test_a_thirteenth_thoracic_vertebra_renames_the_column_or_lies_between_two_pinned_names(a_report):
    alone = edits.set_level(NOTHING, a_report, at(a_report, "L1"), "T13")
    pinned = edits.pin_level(edits.set_level(NOTHING, a_report, 0, "L3"), a_report, len(LEVELS) - 1, "T8")

    assert labels(apply_correction(a_report, alone)) == ["L3", "L2", "L1", "T13", *LEVELS[4:]]
    assert labels(apply_correction(a_report, pinned)) == ["L3", "L2", "L1", "T13", *LEVELS[4:]]


def test_naming_a_sixth_lumbar_vertebra_makes_room_for_it(a_report):
    correction = edits.set_level(NOTHING, a_report, 0, "L6")

    assert labels(apply_correction(a_report, correction))[:4] == ["L6", "L5", "L4", "L3"]


def test_a_cervical_name_takes_grade_and_call_away_and_a_thoracic_one_gives_them_back(a_report):
    top = len(LEVELS) - 1
    cervical = edits.set_level(NOTHING, a_report, top, "C7")
    shown = apply_correction(a_report, cervical)
    back = apply_correction(a_report, edits.set_level(cervical, shown, top, "T8"))

    assert (shown.vertebrae[top].status, shown.vertebrae[top].grade) == ("not_evaluable", None)
    assert (back.vertebrae[top].status, back.vertebrae[top].grade) == ("scored", 0)


def test_two_pinned_levels_share_the_column_between_them(a_report):
    correction = edits.pin_level(NOTHING, a_report, 0, "L5")
    shown = apply_correction(a_report, correction)
    correction = edits.pin_level(correction, shown, len(LEVELS) - 1, "T8")

    names = labels(apply_correction(a_report, correction))
    assert (names[0], names[-1]) == ("L5", "T8")
    assert names.count("T12") == 0 or names.count("L4") == 0


@pytest.mark.parametrize("level", ["T14", "X3", ""])
def test_a_level_that_does_not_exist_is_refused(a_report, level):
    with pytest.raises(ValueError, match="There is no level"):
        edits.set_level(NOTHING, a_report, 0, level)


def test_a_split_vertebra_becomes_two_of_the_reader_that_the_networks_alone_grade(a_report):
    index = at(a_report, "L2")

    shown = apply_correction(a_report, edits.split_vertebra(NOTHING, a_report, index))

    assert len(shown.vertebrae) == len(LEVELS) + 1
    new = [v for v in shown.vertebrae if v.source == "reader"]
    assert [(v.grade, v.morphometric_grade, v.heights_mm) for v in new] == [(0, None, None)] * 2
    assert all(v.network_probability == pytest.approx(0.04, abs=0.01) for v in new)
    assert all(v.fracture_probability == pytest.approx(1.0 - compute_posterior([0.04], None)[0], abs=0.02) for v in new)
    assert labels(shown)[-1] == "T8"
    assert labels(shown)[0] == "L5"


def test_a_merged_vertebra_spans_both_and_the_names_close_up(a_report):
    index = at(a_report, "L2")

    shown = apply_correction(a_report, edits.merge_with_next(NOTHING, a_report, index))

    merged = shown.vertebrae[index]
    assert len(shown.vertebrae) == len(LEVELS) - 1
    assert merged.extent_mm == pytest.approx((20 + 2 * PITCH_MM - HALF_MM, 20 + 3 * PITCH_MM + HALF_MM), abs=0.5)
    assert labels(shown) == ["L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8"]


def test_a_removed_vertebra_is_gone_and_its_place_stays_counted(a_report):
    shown = apply_correction(a_report, edits.remove_vertebra(NOTHING, a_report, at(a_report, WEDGE)))

    assert WEDGE not in labels(shown)
    assert labels(shown)[:4] == ["L4", "L3", "L2", "L1"]
    assert labels(shown)[4:] == ["T11", "T10", "T9", "T8"]
    assert shown.scan.fractured_levels == ()
    assert shown.scan.fracture_probability == pytest.approx(0.04)


def test_a_missed_vertebra_is_added_by_a_click_with_the_name_that_its_neighbors_leave(a_report):
    missing = replace(a_report, vertebrae=tuple(v for v in a_report.vertebrae if v.label != "L1"))

    correction = edits.add_vertebra(NOTHING, missing, (1.0, 26.0, 111.0))
    shown = apply_correction(missing, correction)

    assert labels(shown) == list(LEVELS)
    added = shown.vertebrae[at(shown, "L1")]
    assert added.source == "reader"
    assert added.extent_mm[1] - added.extent_mm[0] == pytest.approx(2 * HALF_MM, abs=0.1)
    assert added.status == "scored"


def test_a_click_on_a_vertebra_that_is_there_adds_none(a_report):
    with pytest.raises(ValueError, match="L2 is at this place"):
        edits.add_vertebra(NOTHING, a_report, (0.0, 27.0, 20.0 + 2 * PITCH_MM))


def test_removing_an_added_vertebra_leaves_the_correction_empty(a_report):
    missing = replace(a_report, vertebrae=tuple(v for v in a_report.vertebrae if v.label != "L1"))
    added = edits.add_vertebra(NOTHING, missing, (1.0, 26.0, 111.0))
    shown = apply_correction(missing, added)

    assert edits.remove_vertebra(added, shown, at(shown, "L1")) == NOTHING


def test_a_dragged_landmark_changes_heights_grade_and_call_at_once(a_report):
    index = at(a_report, "L2")
    s = a_report.vertebrae[index].center_ras[2]

    shown = apply_correction(a_report, edits.drag_landmark(NOTHING, a_report, index, 0, (0.0, 40.0, s)))

    changed = shown.vertebrae[index]
    assert changed.heights_mm.anterior == pytest.approx(12.0)
    assert (changed.grade, changed.shape) == (3, "wedge")
    assert changed.fracture_probability > 0.9
    assert shown.scan.fractured_levels == (WEDGE, "L2")
    assert (changed.model.grade, changed.model.fracture_probability) == (0, 0.04)
    assert (changed.heights_source, changed.model.heights_source) == (Source.READER, Source.MODEL)


def test_landmarks_can_be_placed_where_none_were_measured(a_report):
    split = edits.split_vertebra(NOTHING, a_report, at(a_report, "L2"))
    shown = apply_correction(a_report, split)
    index = next(i for i, v in enumerate(shown.vertebrae) if v.source == "reader")
    with pytest.raises(ValueError, match="place all six"):
        edits.drag_landmark(split, shown, index, 0, (0.0, 0.0, 0.0))

    s = shown.vertebrae[index].center_ras[2]
    placed = edits.set_landmarks(split, shown, index, landmarks(s, 24.0, 23.0, 25.0))

    assert apply_correction(a_report, placed).vertebrae[index].grade == 0


def test_an_assessment_stands_beside_the_models_answer_and_agreement_is_counted(a_report):
    correction, shown = NOTHING, a_report
    for label, assessment, grade in (
        (WEDGE, "rejected", None),
        ("L4", "confirmed", None),
        ("L3", "regraded", 1),
        ("T8", "not_evaluable", None),
    ):
        correction = edits.assess(correction, shown, at(shown, label), assessment, grade=grade, comment="seen")
        shown = apply_correction(a_report, correction)

    counted = agreement(shown)
    wedge, top = shown.vertebrae[at(shown, WEDGE)], shown.vertebrae[at(shown, "T8")]
    assert (wedge.grade, wedge.fracture_probability, wedge.reader.grade) == (2, 0.93, 0)
    assert (counted.judged, counted.agreed) == (3, 1)
    assert (counted.only_model, counted.only_reader) == ((WEDGE,), ("L3",))
    assert counted.not_evaluable == ("T8",)
    assert (top.status, top.model.status) == ("excluded_by_reader", "scored")
    assert counted.reader_fractures == ("L3",)
    assert "agree on 1 of 3" in counted.sentence


def test_who_and_when_are_kept_only_when_given(a_report):
    plain = edits.assess(NOTHING, a_report, 0, "confirmed")
    signed = edits.assess(NOTHING, a_report, 0, "confirmed", who="Reader 2", when="2026-01-01T10:00:00Z")

    assert (plain.assessments[0].reader.who, plain.assessments[0].reader.when) == (None, None)
    assert "Reader 2" in corrected_to_json(CorrectedReport(a_report, signed))


@pytest.mark.parametrize(
    ("assessment", "grade"), [("confirmed", 2), ("regraded", None), ("regraded", 4), ("maybe", None)]
)
def test_an_assessment_that_makes_no_sense_is_refused(a_report, assessment, grade):
    with pytest.raises(ValueError, match=r"assessment|grade"):
        edits.assess(NOTHING, a_report, 0, assessment, grade=grade)


def test_a_corrected_report_survives_json_with_both_answers_and_editing_goes_on(a_report):
    correction = edits.set_level(NOTHING, a_report, 3, "T12")
    corrected = CorrectedReport(a_report, correction)
    correction = edits.assess(correction, corrected.shown, 4, "rejected", comment="old")
    correction = edits.split_vertebra(correction, corrected.shown, 7)
    corrected = CorrectedReport(a_report, correction)

    again = corrected_from_json(corrected_to_json(corrected))

    assert again == corrected
    assert again.shown == corrected.shown
    second = edits.remove_vertebra(again.correction, again.shown, 0)
    assert len(again.corrected_by(second).shown.vertebrae) == len(corrected.shown.vertebrae) - 1


def test_the_shown_report_is_what_a_reader_of_the_json_sees_first(a_report):
    corrected = CorrectedReport(a_report, edits.set_level(NOTHING, a_report, 3, "T12"))
    text = corrected_to_json(corrected)

    assert report_to_json(report_from_json(text)) == report_to_json(corrected.shown)
    assert report_from_json(json.dumps(json.loads(text)["correction"]["detected"])) == a_report


def test_the_edits_alone_are_a_file_too(a_report):
    correction = edits.assess(NOTHING, a_report, 4, "regraded", grade=1)

    assert correction_from_json(correction_to_json(correction)) == correction
    assert correction_from_json(corrected_to_json(CorrectedReport(a_report, correction))) == correction
    with pytest.raises(ValueError, match="newer version"):
        correction_from_json(correction_to_json(correction).replace("correction/2", "correction/3"))


def test_the_table_names_the_models_and_the_readers_answer(a_report):
    correction = edits.set_level(NOTHING, a_report, 3, "T12")
    shown = apply_correction(a_report, correction)
    shown = apply_correction(a_report, edits.assess(correction, shown, 4, "rejected"))

    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(report_to_csv(shown)))}

    assert [rows["T11"][name] for name in ("level", "level_probability", "status")] == ["T11", "0.9999", "scored"]
    assert [rows["T11"][name] for name in ("source", "model_level", "model_grade")] == ["model", "T12", "2"]
    reader = ("reader_assessment", "reader_fracture", "reader_grade", "reader_comment")
    assert [rows["T11"][name] for name in reader] == ["rejected", "False", "0", ""]


def test_a_report_of_the_first_revision_is_read_and_one_of_a_newer_revision_is_refused(a_report):
    content = json.loads(report_to_json(a_report))
    newer = json.dumps({**content, "revision": REVISION + 1})
    del content["revision"], content["correction"], content["software"]["device"], content["scan"]["bone_density"]
    del content["sequence"]["inside_fraction"], content["sequence"]["member_probability"]
    content["schema"], content["notice"] = "vertebral-fracture-report/1", content.pop("disclaimer")
    for vertebra in content["vertebrae"]:
        vertebra["centre_ras"], vertebra["severity"] = vertebra.pop("center_ras"), vertebra["height_loss"]
        for name in ("source", "model", "height_sd_mm", "height_loss_sd", "trabecular_reason", "box", "note"):
            del vertebra[name]
        del vertebra["member_probability"]
        vertebra["reader"] = {"grade": None, "comment": ""}

    assert report_from_json(json.dumps(content)) == a_report
    with pytest.raises(ValueError, match="newer version of VertebralFracture"):
        report_from_json(newer)


def random_edit(rng, correction, shown):
    """One of all edits, at a random vertebra; few vertebrae begin anew."""
    if len(shown.vertebrae) < 4:
        return Correction()
    index = rng.randrange(len(shown.vertebrae))
    point = (rng.uniform(-5, 5), rng.uniform(20, 35), rng.uniform(0, 300))
    choices = [
        lambda: edits.set_level(correction, shown, index, rng.choice(["T3", "T11", "L2", "L6", "T13"])),
        lambda: edits.pin_level(correction, shown, index, rng.choice(["T3", "T11", "L2"])),
        lambda: edits.shift_levels(correction, shown, rng.choice([-1, 1])),
        lambda: edits.reset_levels(correction),
        lambda: edits.split_vertebra(correction, shown, index),
        lambda: edits.merge_with_next(correction, shown, index),
        lambda: edits.add_vertebra(correction, shown, point),
        lambda: edits.remove_vertebra(correction, shown, index),
        lambda: edits.drag_landmark(correction, shown, index, rng.randrange(6), point),
        lambda: edits.assess(correction, shown, index, "regraded", grade=rng.randrange(4)),
        lambda: edits.assess(correction, shown, index, rng.choice(["confirmed", "rejected", "not_evaluable"])),
        lambda: edits.withdraw_assessment(correction, shown, index),
        lambda: edits.set_centerline(correction, [(point[0], 0.0, float(s)) for s in range(0, 290, 5)], [point]),
        lambda: edits.reset_centerline(correction),
    ]
    try:
        return rng.choice(choices)()
    except (ValueError, IndexError):
        return correction


def test_two_hundred_random_edits_undone_give_the_identical_state_and_redone_the_last_one(a_report):
    rng = random.Random(20)
    before = report_to_json(a_report)
    history, made = CorrectionHistory(), 0
    while made < 200:
        shown = apply_correction(a_report, history.present)
        changed = history.do(random_edit(rng, history.present, shown))
        made += changed is not history
        history = changed
    last = report_to_json(apply_correction(a_report, history.present))

    undone = history
    for _ in range(made):
        undone = undone.undo()
    redone = undone
    for _ in range(made):
        redone = redone.redo()

    assert made == 200
    assert undone.present == NOTHING
    assert apply_correction(a_report, undone.present) is a_report
    assert report_to_json(a_report) == before
    assert redone == history
    assert report_to_json(apply_correction(a_report, redone.present)) == last


def test_a_new_edit_forgets_what_was_undone():
    first, second = Correction(removed_ras=((0.0, 0.0, 1.0),)), Correction(removed_ras=((0.0, 0.0, 2.0),))

    history = CorrectionHistory().do(first).undo().do(second)

    assert history.redo() is history
    assert history.undo().present == NOTHING
    assert CorrectionHistory().undo().redo() == CorrectionHistory()


def with_hu(report, hu=150.0):
    """The report with a trabecular HU of every vertebra that is not fractured, as detection leaves it."""
    measured = [
        replace(v, trabecular_reason=Reason.FRACTURED) if v.grade else replace(v, trabecular_hu=hu + index)
        for index, v in enumerate(report.vertebrae)
    ]
    return replace(
        report, vertebrae=tuple(measured), scan=replace(report.scan, bone_density=bone_density(measured, {}))
    )


def test_a_vertebra_dragged_into_a_fracture_loses_its_hu_and_gets_it_back_when_it_is_dragged_back(a_report):
    report = with_hu(a_report)
    index = at(report, "L1")
    before = report.vertebrae[index]
    s = before.center_ras[2]

    dragged = edits.drag_landmark(NOTHING, report, index, 0, (0.0, 40.0, s))
    shown = apply_correction(report, dragged)
    back = apply_correction(report, edits.drag_landmark(dragged, shown, index, 0, before.landmarks_ras[0]))

    assert shown.vertebrae[index].grade == 3
    assert shown.vertebrae[index].trabecular_hu is None
    assert shown.vertebrae[index].trabecular_reason == Reason.FRACTURED
    assert shown.vertebrae[index].model.trabecular_hu == before.trabecular_hu
    assert shown.scan.bone_density.level == "L2", "another vertebra stands for the scan"
    assert (back.vertebrae[index].grade, back.vertebrae[index].trabecular_hu) == (0, before.trabecular_hu)
    assert back.vertebrae[index].trabecular_reason is None
    assert back.scan.bone_density == report.scan.bone_density


def with_members(report, *probabilities):
    """The report as three networks made it, each with one probability along the whole spine."""
    members = dict(zip(("a", "b", "c"), probabilities, strict=True))
    count = len(report.sequence.positions_mm)
    sequence = replace(
        report.sequence,
        inside_fraction=(1.0,) * count,
        member_probability={name: (value,) * count for name, value in members.items()},
    )
    vertebrae = tuple(replace(v, member_probability=members) for v in report.vertebrae)
    return replace(report, sequence=sequence, vertebrae=vertebrae)


def test_a_corrected_vertebra_is_scored_by_what_each_network_said_itself(a_report):
    report = with_members(a_report, 0.02, 0.1, 0.3)
    index = at(report, "L2")
    s = report.vertebrae[index].center_ras[2]
    logits = np.log(np.array([0.02, 0.1, 0.3]) / (1.0 - np.array([0.02, 0.1, 0.3])))
    together = 1.0 / (1.0 + np.exp(-logits.mean()))

    lower = edits.set_landmarks(NOTHING, report, index, landmarks(s, 24.0, 22.5, 25.0))
    split = edits.split_vertebra(lower, apply_correction(report, lower), at(report, "T9"))
    shown = apply_correction(corrected_from_json(report_to_json(report)).detected, split)

    added = [v for v in shown.vertebrae if v.source == Source.READER]
    alone = 1.0 - compute_posterior([together], None)[0]
    each = [1.0 - compute_posterior([own], None)[0] for own in (0.02, 0.1, 0.3)]
    assert shown.vertebrae[index].network_probability == pytest.approx(together, abs=1e-6)
    assert [v.network_probability for v in added] == pytest.approx([together] * 2, abs=1e-6)
    assert [v.fracture_probability for v in added] == pytest.approx([alone] * 2, abs=1e-6)
    assert [v.uncertainty for v in added] == pytest.approx([np.std(each)] * 2, abs=1e-6)
    assert added[0].member_probability == pytest.approx({"a": 0.02, "b": 0.1, "c": 0.3}, abs=1e-6)


def test_without_the_networks_own_answers_the_stored_deviation_is_the_uncertainty(a_report):
    split = edits.split_vertebra(NOTHING, a_report, at(a_report, "L2"))

    added = [v for v in apply_correction(a_report, split).vertebrae if v.source == Source.READER]

    told = [1.0 - compute_posterior([0.04 + shift], None)[0] for shift in (-0.02, 0.02)]
    assert [v.uncertainty for v in added] == pytest.approx([np.std(told)] * 2, abs=1e-3)
    assert [v.member_probability for v in added] == [None, None]


def test_a_vertebra_has_one_center_and_its_box_a_corner(a_report):
    box = OrientedBox((-20.0, 10.0, 8.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (42.0, 32.0, 24.0))
    boxed = replace(a_report, vertebrae=(replace(a_report.vertebrae[0], box=box), *a_report.vertebrae[1:]))

    vertebra = json.loads(report_to_json(boxed))["vertebrae"][0]

    assert re.findall(r'"(\w*cent(?:er|re)\w*)"', json.dumps(vertebra)) == ["center_ras"]
    assert vertebra["box"]["corner_ras"] == [-20.0, 10.0, 8.0]


def test_what_version_0_1_showed_of_a_corrected_report_is_shown_again_but_for_the_hu_of_a_fracture():
    text = (SCHEMA_1 / "corrected_report.json").read_text(encoding="utf-8")
    alone = (SCHEMA_1 / "correction.json").read_text(encoding="utf-8")
    old = json.loads(text)["vertebrae"]

    corrected = corrected_from_json(text)
    now = corrected.shown.vertebrae

    assert corrected.correction == correction_from_json(alone)
    assert [v.label for v in now] == [v["label"] for v in old]
    for one, before in zip(now, old, strict=True):
        assert one.source == before["origin"]
        if one.grade_probability is None:
            # What the correction did not touch says what it said.
            assert one.height_loss == pytest.approx(before["height_loss"], abs=1e-5)
            assert (one.morphometric_grade, one.grade, one.shape) == (before["grade"], before["grade"], before["shape"])
            assert one.fracture_probability == pytest.approx(before["fracture_probability"], abs=1e-5)
            assert one.uncertainty == pytest.approx(before["uncertainty"], abs=1e-5)
        else:
            # What it did is measured as this version measures.
            assert one.height_loss == pytest.approx(before["height_loss"], abs=0.1)
            assert 1.0 - one.grade_probability[0] == pytest.approx(one.fracture_probability)
        assert (one.model is None) == (before["model"] is None)
        assert one.reader.comment == before["reader"]["comment"]
        assert one.trabecular_hu == (None if one.grade else before["trabecular_hu"])
    assert [v.reason for v in now if v.reason] == [Reason.TRUNCATED, Reason.MARKED_BY_READER]
    assert [v.reader.assessment for v in now if v.reader.assessment] == ["rejected", "not_evaluable"]
    assert {v.trabecular_reason for v in now if v.grade} == {Reason.FRACTURED}
    assert corrected_from_json(corrected_to_json(corrected)) == corrected


def test_a_reason_that_no_version_wrote_stays_readable():
    content = json.loads((SCHEMA_1 / "report.json").read_text(encoding="utf-8"))
    content["vertebrae"][0] |= {"status": "not_evaluable", "reason": "seen by a ghost", "fracture_probability": None}

    vertebra = report_from_json(json.dumps(content)).vertebrae[0]

    assert (vertebra.reason, describe_status(vertebra)) == (Reason.OTHER, "not evaluable: seen by a ghost")


def test_every_state_has_words():
    assert set(REASON_WORDS) == set(Reason)
    assert set(STATUS_WORDS) == set(Status)
    assert set(ASSESSMENT_WORDS) == set(Assessment)
