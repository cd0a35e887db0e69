"""Three phantoms are judged and drawn as they were when ``golden/renew.py`` was last run and its files looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden.renew import SCANS, Answer, answer_for, golden_answer

# In mm, as a probability and as a fraction of a height. Other processors and versions of PyTorch add up in another
# order, which moved no number by more than 0.001 so far.
TOLERANCE = 0.01
# In gray levels of 255: the files are kept in steps of 8, which makes a mean of 3.4 (the largest of three channels);
# a label that stands elsewhere makes 5 pixels of 10,000 differ by more than 40.
MEAN_LEVELS, FAR_LEVELS, FAR_SHARE = 4.5, 40, 0.0002


def differences(golden: Any, now: Any, path: str = "") -> Iterator[str]:
    """A line for every value that is another one, or another number by more than the tolerance."""
    if isinstance(golden, dict) and isinstance(now, dict):
        for key in sorted({*golden, *now}):
            if key not in golden or key not in now:
                yield f"{path}.{key}: only {'before' if key in golden else 'now'}"
            else:
                yield from differences(golden[key], now[key], f"{path}.{key}")
    elif isinstance(golden, list) and isinstance(now, list) and len(golden) == len(now):
        for index, (one, other) in enumerate(zip(golden, now, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif isinstance(golden, float) and isinstance(now, float | int):
        if abs(golden - now) > TOLERANCE:
            yield f"{path}: {golden} -> {now}"
    elif golden != now:
        yield f"{path}: {golden} -> {now}"


def picture_differs(golden: np.ndarray, now: np.ndarray) -> bool:
    if golden.shape != now.shape:
        return True
    apart = np.abs(golden.astype(int) - now.astype(int)).max(axis=2)
    return bool(apart.mean() > MEAN_LEVELS or (apart > FAR_LEVELS).mean() > FAR_SHARE)


@pytest.fixture(scope="module", params=SCANS)
def a_scan(request: pytest.FixtureRequest) -> tuple[Answer, Answer]:
    return golden_answer(request.param), answer_for(request.param)


def test_the_report_says_what_the_golden_report_says(a_scan: tuple[Answer, Answer]) -> None:
    golden, now = a_scan

    assert list(differences(golden.report, now.report)) == []


def test_the_picture_shows_what_the_golden_picture_shows(a_scan: tuple[Answer, Answer]) -> None:
    golden, now = a_scan

    assert not picture_differs(golden.picture, now.picture)


def test_the_comparison_notices_a_changed_number_a_lost_key_and_a_label_drawn_elsewhere() -> None:
    golden = golden_answer("severe-wedge")
    scored = next(place for place, one in enumerate(golden.report["vertebrae"]) if one["grade"] is not None)
    changed = replace(golden, report={**golden.report, "vertebrae": [dict(one) for one in golden.report["vertebrae"]]})
    changed.report["vertebrae"][scored]["fracture_probability"] += 2 * TOLERANCE
    del changed.report["vertebrae"][0]["borderline"]
    moved = golden.picture.copy()
    moved[300:340, 515:700] = np.roll(moved[300:340, 515:700], 20, axis=1)

    assert len(list(differences(golden.report, changed.report))) == 2
    assert picture_differs(golden.picture, moved)
