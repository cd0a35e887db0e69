"""``vertebral-fracture evaluate``: run detection on scans with known truth and write what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.errors import UnreadableVolume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=None, help="folder of <id>.nii.gz with <id>.json")
    parser.add_argument("--fold-weights", type=Path, default=None, help="folder with fold0, fold1, ... of weights")
    parser.add_argument("--phantoms", type=int, default=0, help="how many unseen phantoms to draw and judge")
    parser.add_argument("--ood-phantoms", type=int, default=0, help="out-of-distribution phantoms to draw and judge")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for report.html, performance.json, results.md, results.json and every result",
    )
    parser.add_argument("--weights", type=Path, default=None, help="other weights than those that ship")


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.evaluation.case_sets import annotated_cases, ood_phantom_cases, phantom_cases
    from VertebralFractureLib.research.evaluation.html_report import html_report
    from VertebralFractureLib.research.evaluation.judged import judged_scans
    from VertebralFractureLib.research.evaluation.performance import performance
    from VertebralFractureLib.research.evaluation.run_cases import CaseResult, run_cases, with_image_measures
    from VertebralFractureLib.research.evaluation.summary import case_record, case_table, set_report
    from VertebralFractureLib.thresholds import SCORING

    sets = {}
    if arguments.data is not None:
        sets["Real scans"] = annotated_cases(arguments.data, arguments.weights, arguments.fold_weights)
    if arguments.phantoms:
        folder = arguments.out / "phantoms"
        sets["Unseen phantoms (synthetic)"] = phantom_cases(arguments.phantoms, folder, arguments.weights)
    if arguments.ood_phantoms:
        folder = arguments.out / "phantoms"
        title = "Out-of-distribution phantoms (synthetic)"
        sets[title] = ood_phantom_cases(arguments.ood_phantoms, folder, arguments.weights)
    if not sets:
        raise UnreadableVolume("There is nothing to evaluate; give --data, --phantoms or --ood-phantoms.")
    done: dict[str, list[CaseResult]] = {}
    for title, cases in sets.items():
        done[title] = []
        for result in run_cases(cases, arguments.out / "cases"):
            print(case_table([result])[-1], flush=True)
            done[title].append(result)
    text, records, measured, pictures = [], [], {}, {}
    for title, results in done.items():
        records += [case_record(result) for result in results]
        if scans := judged_scans(with_image_measures(results)):
            measured[title] = performance(scans, SCORING.decision_threshold)
        for result in results:
            picture = Path("cases") / result.case.identifier / "overview.png"
            if (arguments.out / picture).is_file():
                pictures[result.case.identifier] = picture.as_posix()
        text += [f"## {title}", "", *set_report(results), ""]
    (arguments.out / "results.md").write_text("\n".join(text), encoding="utf-8")
    (arguments.out / "results.json").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "performance.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "report.html").write_text(html_report(measured, pictures), encoding="utf-8")
    print("\n".join(text))
    return DONE
