"""Files that lie are refused, read as what they hold, or read as what they say in full; never anything else.

``hostile_files`` makes them, ``fuzz_volumes`` reads each in a process with limits, 10,000 of every kind as a command;
what came of them is in ``docs/results/unusual_input.md``.
"""

from __future__ import annotations

import os
import sys

import pytest
from hostile_files import KINDS, hostile_files

if sys.platform == "win32":
    pytest.skip("the cases are read in forked processes", allow_module_level=True)

from fuzz_volumes import is_bad, run

CASES = int(os.environ.get("VERTEBRAL_FRACTURE_FUZZ", "25"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_lies_gives_no_result_that_it_does_not_hold(kind: str) -> None:
    outcomes = {case: outcome for case, outcome, _ in run(kind, range(CASES))}

    assert len(outcomes) == CASES
    assert {case: outcome for case, outcome in outcomes.items() if is_bad(kind, outcome)} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_files_are_read_and_a_case_is_always_the_same(kind: str) -> None:
    whole, damaged = hostile_files(kind, 3)
    again = hostile_files(kind, 3)

    assert damaged
    assert [name for name in again[0]] == [name for name in whole]  # noqa: C416 (order matters)
    if kind != "transform":  # HDF5 writes the time.
        assert again == (whole, damaged)
