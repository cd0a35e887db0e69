"""How often the intervals of ``evaluate`` hold the truth, on simulated studies whose truth is known.

No scan is judged: the answers of a study of 200 patients are drawn, with vertebrae of one patient alike, so that the
area, the calibration, the weighted kappa, the sensitivity and the bias of heights are known beforehand. An interval of
95 % should hold its figure in 95 of 100 studies. ``python -m
VertebralFractureLib.research.evaluation.simulated_study`` prints how often it does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.research.evaluation.agreement import grade_agreement, height_agreement, weighted_kappa
from VertebralFractureLib.research.evaluation.endpoints import Chosen, all_endpoints
from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra
from VertebralFractureLib.research.evaluation.metrics import auc
from VertebralFractureLib.research.evaluation.paired import compare_answers
from VertebralFractureLib.types import BoolArray, FloatArray

_POPULATION = 100_000
_GRADE_SHARES = np.array([0.5, 0.3, 0.2])
_MEASURED = np.array(
    [[0.93, 0.05, 0.015, 0.005], [0.30, 0.50, 0.17, 0.03], [0.08, 0.22, 0.55, 0.15], [0.03, 0.05, 0.22, 0.70]]
)
"""Probability of each measured grade (columns) of a vertebra of each true grade (rows)."""


@dataclass(frozen=True)
class StudyTruth:
    """What a simulated study is drawn from.

    The log odds of a fracture are ``mean`` plus a patient's share and a vertebra's own; the program answers log odds
    from which ``slope`` and ``intercept`` lead back to these. A second program adds ``second_noise`` to them.
    """

    patients: int = 200
    vertebrae: int = 12
    mean: float = -4.0
    patient_sd: float = 1.0
    vertebra_sd: float = 2.0
    slope: float = 0.8
    intercept: float = -0.3
    second_noise: float = 1.5
    bias_mm: float = 0.4
    height_patient_sd_mm: float = 0.5
    height_sd_mm: float = 1.0


def draw_study(truth: StudyTruth, seed: int) -> tuple[list[JudgedScan], list[JudgedScan]]:
    """One study: scans as the program answers them, and as a second one does."""
    rng = np.random.default_rng(seed)
    fractured, logit, second = _draw_answers(truth, truth.patients, rng)
    grades = np.where(fractured, 1 + _choose(rng, np.broadcast_to(_GRADE_SHARES, (*fractured.shape, 3))), 0)
    measured = _choose(rng, _MEASURED[grades])
    heights = rng.normal(22.0, 2.0, fractured.shape)
    errors = truth.bias_mm + rng.normal(0.0, truth.height_patient_sd_mm, (truth.patients, 1))
    found = heights + errors + rng.normal(0.0, truth.height_sd_mm, fractured.shape)
    studies: list[list[JudgedScan]] = []
    for answer in (logit, second):
        probability = 1.0 / (1.0 + np.exp(-answer))
        scans = []
        for patient in range(truth.patients):
            rows = tuple(
                JudgedVertebra(
                    int(grades[patient, n]),
                    None,
                    "T9",
                    float(probability[patient, n]),
                    grade=int(measured[patient, n]),
                    severe_probability=0.5 * float(probability[patient, n]),
                    true_heights_mm=(None, float(heights[patient, n]), None),
                    found_heights_mm=(None, float(found[patient, n]), None),
                )
                for n in range(truth.vertebrae)
            )
            name = f"p{patient}"
            scans.append(JudgedScan(name, name, float(probability[patient].max()), rows, 1.0))
        studies.append(scans)
    return studies[0], studies[1]


def _draw_answers(
    truth: StudyTruth, patients: int, rng: np.random.Generator
) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Whether each vertebra is fractured, and the log odds of both programs, ``(patients, vertebrae)``."""
    shape = (patients, truth.vertebrae)
    odds = truth.mean + rng.normal(0.0, truth.patient_sd, (patients, 1)) + rng.normal(0.0, truth.vertebra_sd, shape)
    fractured = rng.random(shape) < 1.0 / (1.0 + np.exp(-odds))
    answer = (odds - truth.intercept) / truth.slope
    return fractured, answer, answer + rng.normal(0.0, truth.second_noise, shape)


def _choose(rng: np.random.Generator, probability: FloatArray) -> FloatArray:
    """An index along the last axis, drawn with its probabilities."""
    return np.asarray((rng.random(probability.shape[:-1])[..., None] > np.cumsum(probability, axis=-1)).sum(axis=-1))


def true_figures(truth: StudyTruth) -> dict[str, float]:
    """The figures that the intervals should hold, from the model itself or from 100,000 patients of it."""
    fractured, logit, second = _draw_answers(truth, _POPULATION, np.random.default_rng(1))
    called = logit >= 0.0
    prevalence = float(fractured.mean())
    shares = np.concatenate([[1.0 - prevalence], prevalence * _GRADE_SHARES])
    spread = float(np.hypot(truth.height_patient_sd_mm, truth.height_sd_mm))
    of_patient = fractured.any(axis=1), logit.max(axis=1)
    area = auc(logit.ravel(), fractured.ravel())
    return {
        "AUC, vertebrae": area,
        "AUC, vertebrae (bootstrap)": area,
        "AUC, patients": auc(of_patient[1], np.asarray(of_patient[0])),
        "difference of AUC (DeLong)": auc(second.ravel(), fractured.ravel()) - area,
        "difference of AUC (bootstrap)": auc(second.ravel(), fractured.ravel()) - area,
        "sensitivity at 0.5": float(called[fractured].mean()),
        "specificity at 0.5": float(1.0 - called[~fractured].mean()),
        "calibration slope": truth.slope,
        "Brier score": float(np.mean((1.0 / (1.0 + np.exp(-logit)) - fractured) ** 2)),
        "weighted kappa": weighted_kappa(shares[:, None] * _MEASURED),
        "bias of heights": truth.bias_mm,
        "lower limit of agreement": truth.bias_mm - 1.96 * spread,
        "upper limit of agreement": truth.bias_mm + 1.96 * spread,
    }


def intervals_of(truth: StudyTruth, seed: int, repeats: int) -> dict[str, Mapping[str, float | None]]:
    """The intervals that ``evaluate`` gives for one simulated study, by the names of ``true_figures``."""
    scans, others = draw_study(truth, seed)
    ends = all_endpoints(scans, Chosen(0.5, (), ()), repeats, units=("vertebrae", "patients"), endpoints=("any grade",))
    vertebrae, patients = ends["vertebrae"]["any grade"], ends["patients"]["any grade"]
    difference = compare_answers(scans, others, (0.5, 0.5), repeats, units=("vertebrae",), endpoints=("any grade",))
    areas = difference["vertebrae"]["any grade"]["auc"]
    heights, calibration = height_agreement(scans, repeats)["all"], vertebrae["calibration"]
    point = vertebrae["operating_points"]["threshold 0.5"]
    return {
        "AUC, vertebrae": vertebrae["auc"],
        "AUC, vertebrae (bootstrap)": vertebrae["auc_bootstrap"],
        "AUC, patients": patients["auc"],
        "difference of AUC (DeLong)": areas["difference"],
        "difference of AUC (bootstrap)": areas["difference_bootstrap"],
        "sensitivity at 0.5": point["sensitivity"],
        "specificity at 0.5": point["specificity"],
        "calibration slope": calibration["slope"],
        "Brier score": calibration["brier"],
        "weighted kappa": grade_agreement(scans, repeats)["kappa_quadratic"],
        "bias of heights": heights["bias_mm"],
        "lower limit of agreement": heights["lower_limit_mm"],
        "upper limit of agreement": heights["upper_limit_mm"],
    }


def coverage(truth: StudyTruth, studies: int, repeats: int) -> dict[str, tuple[float, float]]:
    """By figure, the truth, and the fraction of the studies whose interval holds it."""
    known = true_figures(truth)
    held = dict.fromkeys(known, 0)
    for seed in range(studies):
        for name, interval in intervals_of(truth, seed, repeats).items():
            low, high = interval["low"], interval["high"]
            held[name] += low is not None and high is not None and low <= known[name] <= high
    return {name: (value, held[name] / studies) for name, value in known.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400, help="how many studies to simulate")
    parser.add_argument("--repeats", type=int, default=300, help="draws of patients for each interval")
    arguments = parser.parse_args()
    print(f"{'figure':32}  truth   held of {arguments.studies}")
    for name, (value, share) in coverage(StudyTruth(), arguments.studies, arguments.repeats).items():
        print(f"{name:32} {value:6.3f}   {share:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
