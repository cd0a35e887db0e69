"""The networks' figures come from calibrated, out-of-fold scores, and say whether a warp alone raises suspicion."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.research.evaluation.evaluate_fracture import (
    figures_of,
    fit_calibration,
    judged,
    out_of_fold_calibrations,
    warp_response,
)
from VertebralFractureLib.research.evaluation.fracture_scores import SpineScore, VertebraScore


def spines(count: int = 30, shift: float = 0.0) -> list[SpineScore]:
    """Spines of three folds whose member "good" knows the truth with some noise and whose member "dull" does not."""
    rng = np.random.default_rng(0)
    result = []
    for n in range(count):
        vertebrae = []
        for place in range(6):
            grade = int(rng.integers(1, 4)) if n % 2 and place == 2 else 0
            known = 2.0 * (2.0 * (grade > 0) - 1.0) + rng.normal(0.0, 1.5) + shift
            logits = {"good": (known, known - 1.0, known - 2.0), "dull": (float(rng.normal()), 0.0, 0.0)}
            kind = "fracture" if grade else "mapped" if place == 4 else ""
            vertebrae.append(VertebraScore(grade, "wedge" if grade else None, kind, "T9", logits))
        series = {name: max(v.logits[name][0] for v in vertebrae) for name in ("good", "dull")}
        result.append(
            SpineScore(f"s{n}", f"p{n}", "fractured" if n % 2 else "mimic", n % 3, 1.0, tuple(vertebrae), series)
        )
    return result


def test_a_fold_is_calibrated_by_the_other_folds_alone() -> None:
    known = spines()
    strange = [s if s.fold else SpineScore(**{**s.__dict__, "vertebrae": ()}) for s in known]

    lines = out_of_fold_calibrations(known, ["good"])

    assert lines[0]["good"]["vertebra"] == fit_calibration([s for s in strange if s.fold], "good")["vertebra"]
    assert lines[None]["good"] != lines[0]["good"]


@pytest.mark.slow
def test_calibration_takes_a_constant_error_of_the_logits_away() -> None:
    for shift in (0.0, 3.0):
        known = spines(60, shift)
        figures = figures_of(known, ["good"])["figures"]["real, cross-validated"]["good"]
        assert figures["calibration_error"]["vertebrae"] < 0.05


def test_the_ensemble_and_every_member_are_measured_alike() -> None:
    content = figures_of(spines(), ["good", "dull"])

    figures = content["figures"]["real, cross-validated"]
    assert set(figures) == {"good", "dull", "ensemble"}
    assert figures["good"]["vertebra_auc"]["value"] > 0.9 > figures["dull"]["vertebra_auc"]["value"]
    assert figures["ensemble"]["vertebrae"] == 180
    assert figures["ensemble"]["uncertainty"]["flagged"] == 18
    assert set(content["calibration"]) == {"good", "dull"}


def test_a_scan_is_as_suspicious_as_its_worst_vertebra() -> None:
    known = spines()

    scans = judged(known, ["good"], out_of_fold_calibrations(known, ["good"]))

    for scan in scans:
        assert scan.probability >= max(v.probability for v in scan.vertebrae)
        assert all(v.grade == 0 for v in scan.vertebrae if v.probability < 0.5)
        assert all(v.grade >= 1 for v in scan.vertebrae if v.probability >= 0.5)


def test_a_network_that_answers_to_the_warp_itself_is_found_out() -> None:
    known = spines()
    honest = judged(known, ["good"], out_of_fold_calibrations(known, ["good"]))
    cheat = [
        SpineScore(
            **{
                **s.__dict__,
                "vertebrae": tuple(
                    VertebraScore(v.grade, v.shape, v.simulated, v.level, {"good": (4.0 * bool(v.simulated), 0.0, 0.0)})
                    for v in s.vertebrae
                ),
            }
        )
        for s in known
    ]

    assert warp_response(known, honest) == pytest.approx(0.5, abs=0.15)
    assert warp_response(cheat, judged(cheat, ["good"], out_of_fold_calibrations(known, ["good"]))) == 1.0
