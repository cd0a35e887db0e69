"""``vertebral-fracture evaluate``: run detection on scans with known truth and write what was measured."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.cli.option_types import path_to_read, path_to_write, whole_number
from VertebralFractureLib.cli.terminal import tell
from VertebralFractureLib.errors import OutputRefused, UnreadableVolume
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

_FILES = ("results.md", "results.json", "performance.json", "report.html")
_MOST_PHANTOMS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=path_to_read("--data"), default=None, help="folder of <id>.nii.gz with <id>.json"
    )
    parser.add_argument(
        "--fold-weights",
        type=path_to_read("--fold-weights"),
        default=None,
        help="folder with fold0, fold1, ... of weights",
    )
    for option, what in (("--phantoms", "unseen phantoms"), ("--ood-phantoms", "out-of-distribution phantoms")):
        count = whole_number(option, 0, _MOST_PHANTOMS)
        parser.add_argument(option, type=count, default=0, help=f"how many {what} to draw and judge")
    parser.add_argument(
        "--out",
        type=path_to_write("--out"),
        required=True,
        help="folder for report.html, performance.json, results.md, results.json and every result",
    )
    parser.add_argument(
        "--weights", type=path_to_read("--weights"), default=None, help="other weights than those that ship"
    )


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.evaluation.case_sets import annotated_cases, ood_phantom_cases, phantom_cases
    from VertebralFractureLib.research.evaluation.html_report import html_report
    from VertebralFractureLib.research.evaluation.judged import judged_scans
    from VertebralFractureLib.research.evaluation.performance import performance
    from VertebralFractureLib.research.evaluation.run_cases import CaseResult, run_cases, with_image_measures
    from VertebralFractureLib.research.evaluation.summary import case_record, case_table, set_report
    from VertebralFractureLib.thresholds import SCORING

    _refuse_foreign_files(arguments.out)
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
            tell(case_table([result])[-1])
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
    page = html_report(measured, pictures)
    contents = ("\n".join(text), json.dumps(records, indent=1) + "\n", json.dumps(measured, indent=1) + "\n", page)
    for name, content in zip(_FILES, contents, strict=True):
        write_file(arguments.out / name, content)
    tell(*text)
    return DONE


def _refuse_foreign_files(folder: Path) -> None:
    """Check that no file would be lost but those of an earlier evaluation, which come together.

    Raises:
        OutputRefused: otherwise.
    """
    there = [name for name in _FILES if os.path.lexists(folder / name)]
    if there and (len(there) < len(_FILES) or not (folder / "cases").is_dir()):
        raise OutputRefused(
            f"The folder '{one_line(folder.name, NAME_LIMIT)}' holds a '{there[0]}' that is not from an evaluation; "
            "choose an empty or a new folder for --out."
        )
