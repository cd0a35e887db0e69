"""``claim.md``: the Checklist for AI in Medical Imaging, filled in as far as the program knows.

Items after CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024;6:e240300), their topics in our words.
What only the authors know says so; nothing is made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from VertebralFractureLib import RESEARCH_USE_ONLY, __version__

AUTHORS = "**Authors:** to be filled in."
_TOPICS = (
    ("Title and abstract", ("AI methodology named in the title or abstract", "structured summary")),
    ("Introduction", ("background and intended use", "aims and hypotheses")),
    ("Methods: design", ("prospective or retrospective", "goal of the study")),
    (
        "Methods: data",
        (
            "data sources", "inclusion and exclusion", "preprocessing", "selection of subsets", "de-identification",
            "missing data", "acquisition protocol",
        ),
    ),
    (
        "Methods: reference standard",
        (
            "definition", "rationale", "who annotated, and their expertise", "annotation of the test set",
            "variability of readers",
        ),
    ),
    ("Methods: partitions", ("how data were assigned", "level at which partitions are disjoint", "sample size")),
    ("Methods: model", ("description of the model", "software", "initialization")),
    ("Methods: training", ("training and augmentation", "selection of the final model", "ensembling")),
    (
        "Methods: evaluation",
        (
            "metrics", "statistics and uncertainty", "robustness", "explainability", "internal testing",
            "external testing", "registration",
        ),
    ),
    (
        "Results",
        (
            "flow of scans, with exclusions", "characteristics of the cases", "performance", "accuracy and precision",
            "failure analysis",
        ),
    ),
    ("Discussion", ("limitations", "implications")),
    ("Other information", ("protocol", "availability of software, model and data", "funding")),
)  # fmt: skip


def claim_checklist(
    sets: Mapping[str, Mapping[str, Any]], weights: Mapping[str, str], grouping: Sequence[str], command: str
) -> str:
    """The checklist as Markdown.

    Args:
        sets: ``study_figures`` by the set's title.
        weights: SHA-256 by the weights' name.
        grouping: how scans were grouped into patients and folds, as lines.
        command: what was run.
    """
    known = _known(sets, weights, grouping, command)
    lines = [
        "# CLAIM checklist",
        "",
        f"{RESEARCH_USE_ONLY} Filled in by VertebralFracture {__version__} as far as it knows.",
        "",
        "| item | topic | answer |",
        "|---|---|---|",
    ]
    number = 0
    for section, topics in _TOPICS:
        lines.append(f"| | **{section}** | |")
        for topic in topics:
            number += 1
            lines.append(f"| {number} | {topic} | {known.get(topic, AUTHORS)} |")
    return "\n".join(lines) + "\n"


def _known(
    sets: Mapping[str, Mapping[str, Any]], weights: Mapping[str, str], grouping: Sequence[str], command: str
) -> dict[str, str]:
    flows = "; ".join(
        f"{title}: {flow['scans']} scans given, {flow['left_out']} left out at import, {flow['refused']} refused, "
        f"{flow['not_evaluable']} not evaluable, {flow['without_grades']} without a known grade, {flow['analyzed']} "
        f"analyzed; {flow['graded']} graded vertebrae, {flow['answered']} answered"
        for title, flow in ((title, study["flow"]) for title, study in sets.items())
    )
    seen = sum(len(study["seen_in_training"]) for study in sets.values())
    columns = sorted({column for study in sets.values() for column in study["characteristics"]})
    hashes = ", ".join(f"{name} `{sha256}`" for name, sha256 in weights.items())
    return {
        "preprocessing": "Each scan is straightened along its spinal canal on a grid of 1 mm (docs/method.md).",
        "missing data": "Vertebrae of unknown grade are in no figure. What has no answer is left out "
        "of the figures of the answered and count as wrong by intention to diagnose; both are given.",
        "de-identification": "Results hold no identifier of the input unless asked for. Of the images: " + AUTHORS,
        "how data were assigned": " ".join(line.strip() for line in grouping) or "Drawn phantoms; no partition.",
        "level at which partitions are disjoint": "Patients. "
        + (
            f"**{seen} of the scans were in the training of the weights that judged them.**"
            if seen
            else "No scan was in the training of the weights that judged it, as far as these say."
        ),
        "description of the model": "Canal, orientation, localization, levels, surfaces, and an ensemble of sequence "
        "networks whose answer and measured heights give one probability of each grade (docs/method.md).",
        "software": f"VertebralFracture {__version__}; command: `{command}`",
        "initialization": "In the model card of each weights file: random, or the weights that it started from.",
        "training and augmentation": "In the card and the record of each weights file (docs/how-to/retrain.md).",
        "ensembling": f"Weights used, SHA-256: {hashes or 'none answered'}.",
        "metrics": "AUC, sensitivity, specificity, predictive values at stated thresholds, FROC, calibration slope, "
        "intercept, Brier score, weighted kappa, Bland-Altman, levels by name, scan and subject.",
        "statistics and uncertainty": "95 % intervals by patient: clustered DeLong (Obuchowski 1997), bootstrap of "
        "patients, Wilson's interval at the effective size. How often they hold the truth: docs/results/study.md.",
        "robustness": "Subgroups by slice thickness, noise, contrast medium, bone density and region (performance.json)"
        + (f", and by {', '.join(columns)}." if columns else "."),
        "explainability": "Straightened pictures, patch evidence along the canal, measured heights.",
        "flow of scans, with exclusions": f"{flows}. Figure: flow.pdf.",
        "characteristics of the cases": f"By {', '.join(columns)}: results.md." if columns else AUTHORS,
        "performance": "results.md, report.html and performance.json; every row in vertebrae.csv and cases.csv.",
        "accuracy and precision": "Intervals stand beside every figure in results.md.",
        "failure analysis": "Results without an answer by reason, and the most confident errors with their pictures "
        "(report.html).",
        "availability of software, model and data": f"VertebralFracture {__version__}, Apache 2.0; weights by their "
        "SHA-256 above. Data: " + AUTHORS,
    }
