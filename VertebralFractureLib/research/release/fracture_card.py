"""The model card of a member of the fracture ensemble, written from its weights' own record and the measured figures.

What a card claims can so be traced: the file by its SHA-256, the data by the names inside it, and every figure by the
JSON of ``evaluate_fracture``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.fracture.patches import SAGITTAL, STRIDE_MM, PatchGrid
from VertebralFractureLib.research.datasets import read_annotation
from VertebralFractureLib.research.datasets.reference_set import collection_of_scan
from VertebralFractureLib.research.evaluation.evaluate_fracture import CROSS_VALIDATED
from VertebralFractureLib.research.evaluation.metrics import format_estimate, format_number
from VertebralFractureLib.weights import Weights, load_weights

_ENCODERS = {
    2: "Its encoder takes the {slabs} sagittal slabs of a patch as channels.",
    3: "A 3D encoder convolves through the {slabs} sagittal slabs of a patch.",
}
_FILE = """- File: `VertebralFracture-{name}.safetensors`, SHA-256 `{sha256}`
- Input: a straightened spine volume; output: probability of a Genant grade >= 1 (and of >= 2, >= 3) at every position,
  and of the scan.
- Calibration (slope, offset of the logit): {lines}.
- License of the weights: {license} Research use only; not a medical device."""
_OUR_LICENSE = "Apache-2.0."
_OTHER_LICENSE = "to be chosen by whoever trained them, as far as the data's licenses (below) allow."
_DATA = """{scans} real CT scans and {phantoms} digital phantoms, {series} series of patches.
{stages} The folds went through the same training without their patients.

{fractures}

Scans: {names}."""
_SIMULATED = "On the real scans every fracture is **simulated**: their annotations grade none."
_REAL = """Their annotations grade {vertebrae} fractured vertebrae on {scans} of the scans; further fractures are
**simulated**."""
_HOW_MEASURED = """Folds by patient: each fold's scans are judged by weights that never saw those patients, with lines
of calibration fitted on the other folds. {whose} "As scanned": without any simulation. "Evaluation only": scans whose
license keeps them out of training, judged by the first fold's weights. Intervals: 95 %, bootstrap by patient. Spines
are straightened along the reference centerline and pooled over the reference vertebrae; detection adds its errors."""
_OF_SIMULATED = """**Sensitivity and AUC on real scans are those of simulated fractures**;
specificity and false alarms are of real anatomy."""
_OF_BOTH = """**Sensitivity and AUC on real scans are those of graded and of simulated
fractures together**; of graded ones alone: the rows "as scanned"."""
_HEADER = (
    "| set | who | vertebrae (fractured) | vertebra AUC | sens / spec at 0.5 | ECE "
    "| spines (fractured) | scan AUC | ECE | false alarms a spine without fracture |"
)
_ARCHIVE = "The Cancer Imaging Archive"
_LIMITS = """{validation} Simulated fractures may be easier than real ones.
- Training depends on its seed; the figures of every seed are in the results of the fracture networks.
- Calibrated at the prevalence of the simulated set ({vertebrae:.0%} of vertebrae, {spines:.0%} of spines); in screening
  there are fewer.
- T1 to L5. The cervical spine and the sacrum were not read and may raise false alarms; the scan score leaves them out.
{readers}"""
_NOT_VALIDATED = "- Not validated on real fractures; not a medical device."
_VALIDATED = "- Measured on the graded fractures of these scans, by folds, and nowhere else; not a medical device."
_OUR_READERS = """- The readers of the reference were not experts. Metal and cement are drawn, not real; tumour and
  infection were not looked at."""
_OTHER_READERS = "- Who graded the reference, and how well, is for whoever trained these weights to say."


def write_cards(folder: Path, figures: Path, data: Path) -> list[Path]:
    """A card beside every fracture member in ``folder`` that ``figures``, the JSON of ``evaluate_fracture``, measured.

    ``data``: folder of the annotations, which name source and license of the scans to credit.
    """
    content = json.loads(figures.read_text(encoding="utf-8"))
    written = []
    for member in content["calibration"]:
        weights = load_weights(PREFIX + member, folder)
        scans = weights.config["training"]["scans"]
        card = fracture_card(
            member, weights, content["figures"], credits_of(scans, data), graded_fractures(scans, data)
        )
        path = folder / f"VertebralFracture-{PREFIX}{member}.md"
        write_file(path, card)
        written.append(path)
    return written


def credits_of(scans: Sequence[str], data: Path) -> dict[str, list[str]]:
    """The scans by collection and license: of a user's own as ``source (license)`` of their annotations in ``data``."""
    found: dict[str, list[str]] = {}
    for scan in scans:
        path = data / f"{scan}.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        own = f"{content.get('source', 'source not named')} ({content.get('license', 'license not named')})"
        found.setdefault(collection_of_scan(scan) or own, []).append(scan)
    return found


def graded_fractures(scans: Sequence[str], data: Path) -> dict[str, int]:
    """How many vertebrae each scan's annotation in ``data`` grades as fractured; scans with none are left out."""
    found = {}
    for scan in scans:
        path = data / f"{scan}.json"
        if path.is_file():
            count = sum(bool(vertebra.grade) for vertebra in read_annotation(path).vertebrae)
            if count:
                found[scan] = count
    return found


def fracture_card(
    member: str,
    weights: Weights,
    figures: Mapping[str, Mapping[str, Any]],
    credit: Mapping[str, Sequence[str]],
    graded: Mapping[str, int],
) -> str:
    """The card as Markdown.

    Args:
        member: the member's name in ``figures``, without the prefix of its weights.
        weights: the calibrated weights that the card is about.
        figures: by group of spines and by member (or "ensemble"): see ``evaluation.performance``.
        credit: who is to be credited, and for which scans.
        graded: by scan, vertebrae that its annotation grades as fractured.
    """
    config = weights.config
    is_ours = all(collection_of_scan(scan) is not None for scan in config["training"]["scans"])
    return (
        "\n\n".join(
            [
                f"# Weights `{PREFIX}{member}`",
                _what_it_is(config["network"], PatchGrid.from_config(config["grid"])),
                _file(member, weights, is_ours=is_ours),
                "## Data",
                _data(config["training"], graded),
                "## Figures",
                _figures(member, figures, graded),
                "## Limits",
                _limits(figures, graded, is_ours=is_ours),
                "## Credits",
                _credits(credit),
            ]
        )
        + "\n"
    )


def _what_it_is(network: Mapping[str, Any], grid: PatchGrid) -> str:
    s, a, r = (n * step for n, step in zip(grid.shape, grid.spacing_mm, strict=True))
    bends = "rigid in the patient" if grid.representation == SAGITTAL else "bending with the canal"
    sequence = "a convolutional sequence\nmodel (`F_seq`)" if network["uses_sequence"] else "no sequence model"
    encoder = _ENCODERS[int(network["dimensions"])].format(slabs=grid.shape[2])
    return (
        "A member of the fracture ensemble: ordered patches along the canal, a shared encoder (`F_rep`), "
        f"{sequence} and a smooth maximum over the positions (`F_agg`), trained end to end.\n"
        f"{encoder} Patches are {s:.0f} x {a:.0f} x {r:.0f} mm (along the canal,\n"
        f"anterior, right), {bends}, one every {STRIDE_MM:g} mm."
    )


def _file(member: str, weights: Weights, *, is_ours: bool) -> str:
    lines = weights.config["calibration"]
    slopes = "; ".join(f"{name} {lines[name][0]:.3f}, {lines[name][1]:.3f}" for name in ("vertebra", "scan"))
    whose = _OUR_LICENSE if is_ours else _OTHER_LICENSE
    return _FILE.format(name=PREFIX + member, sha256=weights.sha256, lines=slopes, license=whose)


def _data(training: Mapping[str, Any], graded: Mapping[str, int]) -> str:
    scans, first = training["scans"], training["first_stage"]
    steps, seed = training["steps"], training["seed"]
    if first is None:
        stages = f"{steps} steps from seed {seed}."
    elif first.get("scans"):
        stages = (
            f"{steps} steps from seed {seed}, going on from weights (SHA-256 `{training['started_from']}`) that had "
            f"learned from\n{len(first['scans'])} other scans and {first['phantoms']} phantoms."
        )
    else:
        stages = (
            f"The network first learned from phantoms alone ({first['steps']} steps), then from everything "
            f"({steps} steps), from\nseed {seed}."
        )
    real = _REAL.format(vertebrae=sum(graded.values()), scans=len(graded))
    return _DATA.format(
        scans=len(scans),
        phantoms=training["phantoms"],
        series=training["series"],
        stages=stages,
        names=", ".join(scans),
        fractures=real if graded else _SIMULATED,
    )


def _figures(member: str, figures: Mapping[str, Mapping[str, Any]], graded: Mapping[str, int]) -> str:
    rows = [_HEADER, "|" + "---|" * 10]
    for group, sets in figures.items():
        rows += [_row(group, who, sets[who]) for who in (member, "ensemble") if who in sets]
    own = figures[CROSS_VALIDATED][member]
    by_grade = ", ".join(f"{name} {format_number(found['sensitivity'])}" for name, found in own["by_grade"].items())
    by_shape = ", ".join(f"{name} {format_number(found['sensitivity'])}" for name, found in own["by_shape"].items())
    return (
        f"{_HOW_MEASURED.format(whose=_OF_BOTH if graded else _OF_SIMULATED)}\n\n"
        + "\n".join(rows)
        + f"\n\nSensitivity at 0.5, cross-validated: {by_grade}; {by_shape}."
    )


def _row(group: str, who: str, found: Mapping[str, Any]) -> str:
    at, errors = found["at_threshold"], found["calibration_error"]
    cells = [
        group,
        who,
        f"{found['vertebrae']} ({found['fractured_vertebrae']})",
        format_estimate(found["vertebra_auc"]),
        f"{format_number(at['vertebrae']['sensitivity'])} / {format_number(at['vertebrae']['specificity'])}",
        format_number(errors["vertebrae"]),
        f"{found['scans']} ({found['fractured_scans']})",
        format_estimate(found["scan_auc"]),
        format_number(errors["scans"]),
        format_number(at["false_alarms_per_unfractured_scan"]),
    ]
    return f"| {' | '.join(cells)} |"


def _limits(figures: Mapping[str, Mapping[str, Any]], graded: Mapping[str, int], *, is_ours: bool) -> str:
    found = next(iter(figures[CROSS_VALIDATED].values()))
    return _LIMITS.format(
        vertebrae=found["fractured_vertebrae"] / found["vertebrae"],
        spines=found["fractured_scans"] / found["scans"],
        validation=_VALIDATED if graded else _NOT_VALIDATED,
        readers=_OUR_READERS if is_ours else _OTHER_READERS,
    )


def _credits(credit: Mapping[str, Sequence[str]]) -> str:
    lines = [f"- {who}: {', '.join(scans)}" for who, scans in sorted(credit.items())]
    if any(_ARCHIVE in who for who in credit):
        lines += ["", f"{_ARCHIVE}: Clark K et al., J Digit Imaging 2013;26:1045-1057."]
    return "\n".join(lines)
