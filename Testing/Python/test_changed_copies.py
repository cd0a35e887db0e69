"""Changed copies of a scan are judged against what is true of the scan, wherever the change has moved the patient."""

import json
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.models import Models
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.research.evaluation.canal_changes import ChangedScan
from VertebralFractureLib.research.evaluation.changed_copies import (
    DRAWN,
    KINDS,
    LOST_INFORMATION,
    Outcome,
    copy_table,
    judge_copy,
    run_copies,
)
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom
from VertebralFractureLib.volume import write_volume


@pytest.fixture(scope="module")
def a_phantom():
    return make_phantom(
        PhantomOptions(seed=5, field_of_view="spine", caudal_level="L4", cranial_level="T9", spacing_mm=(1.2, 1.2, 2.5))
    )


@pytest.fixture(scope="module")
def models():
    return Models.load()


def judged(a_phantom, models, truth=None, kind="as it is"):
    changed = KINDS[kind].change(a_phantom.ct, a_phantom.reference.centerline, np.random.default_rng(1))
    return judge_copy(kind, "one", "one", changed, truth or a_phantom.reference, models)


def test_a_scan_judged_rightly_is_right_and_one_turned_a_little_too(a_phantom, models):
    assert judged(a_phantom, models).outcome == Outcome.RIGHT
    assert judged(a_phantom, models, kind="turned 15° about head-feet").outcome == Outcome.RIGHT


def test_a_vertebra_that_is_not_found_and_not_said_is_silently_wrong(a_phantom, models):
    # Given a truth that knows one more vertebra, where there is none
    first = a_phantom.reference.vertebrae[2]
    r, a, s = first.center_ras
    more = replace(first, level="L1", center_ras=(r + 15.0, a, s))
    truth = replace(a_phantom.reference, vertebrae=(*a_phantom.reference.vertebrae, more))

    found = judged(a_phantom, models, truth)

    assert found.missing == ("L1",)
    assert found.outcome == Outcome.SILENT_WRONG


def test_a_refusal_is_wrong_where_nothing_was_lost(a_phantom, models):
    # Given a volume without a spine
    air = replace(a_phantom.ct, hu=np.where(np.indices(a_phantom.ct.hu.shape).sum(0) % 7, -1000, -900).astype(np.int16))
    changed = ChangedScan(air, np.eye(4))

    rows = [
        judge_copy(kind, "one", "one", changed, a_phantom.reference, models)
        for kind in ("as it is", "slices reversed, unsaid")
    ]

    assert [row.outcome for row in rows] == [Outcome.WRONG_REFUSAL, Outcome.REFUSED]
    assert all(row.told for row in rows)
    assert len(copy_table([{**vars(row), "outcome": row.outcome.value} for row in rows])) == 4


def test_what_lies_above_slices_that_were_cut_out_is_taken_back_to_where_it_was(a_phantom):
    """Given a copy without 20 mm, when points of the scan are looked for in it and taken back, then each is where it
    was, and one that was cut out is nowhere.
    """
    changed = LOST_INFORMATION["20 mm cut out"](a_phantom.ct, a_phantom.reference.centerline, np.random.default_rng(4))
    points = a_phantom.reference.centerline.points_ras

    at = changed.indices_from_first(points)
    lost = np.isnan(at).any(axis=1)
    back = changed.points_to_first(changed.ct.ijk_to_ras_points(at[~lost]))

    assert changed.cut is not None
    assert changed.ct.hu.shape[0] == a_phantom.ct.hu.shape[0] - changed.cut.count
    assert 0.05 < lost.mean() < 0.5
    assert np.allclose(back, points[~lost], atol=1e-6)


@pytest.mark.parametrize("kind", DRAWN)
def test_every_copy_that_is_drawn_at_random_differs_from_the_scan_and_from_the_next_one(a_phantom, kind):
    drawn = [KINDS[kind].change(a_phantom.ct, a_phantom.reference.centerline, np.random.default_rng(n)) for n in (3, 5)]

    def is_same(one, other):
        return (
            one.hu.shape == other.hu.shape
            and np.array_equal(one.hu, other.hu)
            and np.allclose(one.ijk_to_ras, other.ijk_to_ras)
        )

    assert not is_same(drawn[0].ct, drawn[1].ct)
    assert not any(is_same(one.ct, a_phantom.ct) for one in drawn)


def test_a_height_that_moves_and_a_vertebra_where_there_is_none_are_silently_wrong(a_phantom, models):
    """Given a report of the scan whose heights are others, and a truth that lacks a vertebra in the middle, when the
    scan is judged, then either is silently wrong.
    """
    report = detect(a_phantom.ct, models=models).report
    taller = replace(report, vertebrae=tuple(with_taller_body(v) for v in report.vertebrae))
    changed = ChangedScan(a_phantom.ct, np.eye(4))
    fewer = replace(a_phantom.reference, vertebrae=tuple(v for v in a_phantom.reference.vertebrae if v.level != "T11"))

    moved = judge_copy("as it is", "one", "one", changed, a_phantom.reference, models, first=taller)
    more = judge_copy("as it is", "one", "one", changed, fewer, models, first=report)

    assert (moved.outcome, moved.moved_mm) == (Outcome.SILENT_WRONG, pytest.approx(6.0, abs=0.1))
    assert (more.outcome, more.extra) == (Outcome.SILENT_WRONG, ("T11",))


def with_taller_body(vertebra):
    if vertebra.heights_mm is None:
        return vertebra
    return replace(vertebra, heights_mm=replace(vertebra.heights_mm, anterior=vertebra.heights_mm.anterior + 6.0))


def test_a_scan_without_annotation_is_compared_with_what_is_said_of_it(a_phantom, tmp_path):
    """Given a scan alone in a folder, when copies of it are judged, then the scan as it is counts as the truth."""
    write_volume(a_phantom.ct, tmp_path / "alone.nii.gz")

    run_copies([tmp_path / "alone.nii.gz"], None, tmp_path / "rows.jsonl", ["as it is", "cropped anywhere"], copies=2)
    run_copies([tmp_path / "alone.nii.gz"], None, tmp_path / "rows.jsonl", ["as it is", "cropped anywhere"], copies=2)

    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["copy"]) for row in rows] == [
        ("as it is", 0),
        ("cropped anywhere", 0),
        ("cropped anywhere", 1),
    ]
    assert rows[0]["outcome"] == "right"
    assert rows[0]["names"] >= 6
