"""Changed copies of a scan are judged against what is true of the scan, wherever the change has moved the patient."""

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.models import Models
from VertebralFractureLib.research.evaluation.canal_changes import ChangedScan
from VertebralFractureLib.research.evaluation.changed_copies import KINDS, Outcome, copy_table, judge_copy
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom


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
