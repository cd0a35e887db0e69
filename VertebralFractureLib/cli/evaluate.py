"""``vertebral-fracture evaluate``: run detection on scans with known truth and write what was measured."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VertebralFractureLib import __version__
from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.cli.option_types import number, path_to_read, path_to_write, whole_number
from VertebralFractureLib.cli.terminal import tell
from VertebralFractureLib.errors import OutputRefused, UnreadableVolume
from VertebralFractureLib.options import AUTOMATIC, DEVICES
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

if TYPE_CHECKING:
    from VertebralFractureLib.research.evaluation.judged import JudgedScan
    from VertebralFractureLib.research.evaluation.run_cases import Case, CaseResult
    from VertebralFractureLib.research.evaluation.study import Against

_FILES = ("results.md", "results.json", "performance.json", "report.html")
_TABLES = ("cases.csv", "vertebrae.csv", "claim.md")
_MOST_PHANTOMS = 100_000
_READER_THRESHOLD = 0.3
"""Between a reader's grade 0 and 1, as ``paired.scans_of_reader`` orders them."""


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
        help="folder for the page, tables, figures and every result; a run that was broken off goes on there",
    )
    parser.add_argument(
        "--weights", type=path_to_read("--weights"), default=None, help="other weights than those that ship"
    )
    parser.add_argument(
        "--against",
        type=path_to_read("--against"),
        default=None,
        help="a folder of other weights (or of fold0, fold1, ...), or a reader's table of grades, to compare with",
    )
    parser.add_argument(
        "--characteristics",
        type=path_to_read("--characteristics"),
        default=None,
        help="CSV with a column scan and any others to make subgroups of; beside those of patients.csv",
    )
    for option, what, usual in (
        ("--specificity", "specificities", [0.90, 0.95]),
        ("--sensitivity", "sensitivities", [0.80, 0.90]),
    ):
        share = number(option, 0.01, 0.999)
        parser.add_argument(
            option, type=share, nargs="+", default=usual, metavar="P", help=f"operating points: {what} to look up"
        )
    parser.add_argument("--device", choices=DEVICES, default=AUTOMATIC, help="where the networks run")


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.evaluation.case_sets import (
        annotated_cases,
        ood_phantom_cases,
        phantom_cases,
        refuse_unusable_weights,
    )
    from VertebralFractureLib.research.evaluation.run_cases import run_cases, with_image_measures
    from VertebralFractureLib.research.evaluation.summary import case_table

    _refuse_foreign_files(arguments.out)
    refuse_unusable_weights(arguments.weights)
    characteristics = _read_characteristics(arguments.characteristics)
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
    grouping = _describe_data(arguments.data)
    tell(*grouping)
    done: dict[str, list[CaseResult]] = {}
    others: dict[str, list[CaseResult]] = {}
    of_others = _weights_to_compare(arguments.against, sets)
    total, number_of = sum(len(cases) for cases in sets.values()), 0
    for title, cases in sets.items():
        done[title], others[title] = [], []
        for result in run_cases(cases, arguments.out / "cases", arguments.device):
            number_of += 1
            kept = " (kept from an earlier run)" if result.is_kept else ""
            tell(f"{number_of} of {total}{kept}: {case_table([result])[-1]}")
            done[title].append(result)
        for result in run_cases(of_others[title], arguments.out / "against", arguments.device):
            tell(f"against: {case_table([result])[-1]}")
            others[title].append(result)
    tell("Measuring noise and contrast medium of the scans, then the figures.")
    measured = {title: with_image_measures(results) for title, results in done.items()}
    _write(arguments, measured, others, characteristics, grouping)
    if not any(result.report is not None for results in done.values() for result in results):
        raise UnreadableVolume(f"No scan could be judged; the reasons are in {arguments.out / 'results.md'}.")
    return DONE


def _write(
    arguments: argparse.Namespace,
    done: dict[str, list[CaseResult]],
    others: dict[str, list[CaseResult]],
    characteristics: dict[str, dict[str, str]],
    grouping: Sequence[str],
) -> None:
    """Write the page, the tables and the figures of all sets."""
    from VertebralFractureLib.research.evaluation.case_sets import uncalibrated_members
    from VertebralFractureLib.research.evaluation.characteristics import with_characteristics
    from VertebralFractureLib.research.evaluation.claim_checklist import claim_checklist
    from VertebralFractureLib.research.evaluation.endpoints import Chosen
    from VertebralFractureLib.research.evaluation.html_report import html_report
    from VertebralFractureLib.research.evaluation.judged import judge
    from VertebralFractureLib.research.evaluation.performance import performance
    from VertebralFractureLib.research.evaluation.study import as_markdown, study_figures, study_tables
    from VertebralFractureLib.research.evaluation.study_plots import write_plots
    from VertebralFractureLib.research.evaluation.study_rows import case_rows, vertebra_rows
    from VertebralFractureLib.research.evaluation.summary import case_record, set_report
    from VertebralFractureLib.thresholds import SCORING

    threshold = SCORING.decision_threshold
    chosen = Chosen(threshold, tuple(arguments.specificity), tuple(arguments.sensitivity))
    weights = _weights_used([result for results in done.values() for result in results])
    said = [f"VertebralFracture {__version__}; {_weights_in_words(weights)}", *grouping]
    folders = {result.case.weights_folder for results in done.values() for result in results}
    raw = sorted({name for folder in folders for name in uncalibrated_members(folder)})
    if raw:
        said.append(f"CAUTION: {', '.join(raw)} not calibrated; probabilities are raw answers and mean nothing.")
    text, records, measured, studies, pictures = ["# Evaluation", "", *said, ""], [], {}, {}, {}
    every: list[JudgedScan] = []
    for title, results in done.items():
        records += [case_record(result) for result in results]
        scans = [judge(result) for result in results]
        if arguments.data is not None and title == "Real scans":
            scans += _left_out(arguments.data)
        if arguments.characteristics is not None:
            _tell_unmatched(arguments.characteristics.name, characteristics, [scan.identifier for scan in scans])
        scans = with_characteristics(scans, characteristics)
        every += scans
        graded = [scan for scan in scans if scan.vertebrae]
        text += [f"## {title}", "", *set_report(results), ""]
        for result in results:
            picture = Path("cases") / result.case.identifier / "overview.png"
            if (arguments.out / picture).is_file():
                pictures[result.case.identifier] = picture.as_posix()
        if not graded:
            text += ["No vertebra of known grade: nothing is said of fractures.", ""]
            continue
        measured[title] = performance(graded, threshold)
        against = _against(arguments.against, others[title], scans)
        studies[title] = study_figures(scans, chosen, against)
        seen = studies[title]["seen_in_training"]
        if seen:
            said.append(f"CAUTION, {title}: {_seen_in_words(seen)}")
            text += [f"**{said[-1]}**", ""]
        text += as_markdown(study_tables(studies[title]))
        footer = f"{title}, {len(scans)} scans. {said[0]}" + (f" {_seen_in_words(seen)}" if seen else "")
        folder = arguments.out / "figures" / title.split(" (")[0].lower().replace(" ", "-")
        write_plots(graded, studies[title], measured[title], folder, footer)
    performances = {title: {**figures, "study": studies[title]} for title, figures in measured.items()}
    page = html_report(measured, pictures, {title: study_tables(study) for title, study in studies.items()}, said)
    command = shlex.join(["vertebral-fracture", "evaluate", *_words_of(arguments)])
    contents = {
        "results.md": "\n".join(text),
        "results.json": json.dumps(records, indent=1) + "\n",
        "performance.json": json.dumps(performances, indent=1) + "\n",
        "report.html": page,
        "cases.csv": case_rows(every, threshold),
        "vertebrae.csv": vertebra_rows(every, threshold),
        "claim.md": claim_checklist(studies, weights, grouping, command),
    }
    for name, content in contents.items():
        write_file(arguments.out / name, content)
    tell(*text)


def _describe_data(data: Path | None) -> list[str]:
    if data is None:
        return []
    from VertebralFractureLib.research.datasets.reference_set import describe_grouping, reference_scans

    return describe_grouping(reference_scans(data))


def _left_out(data: Path) -> list[JudgedScan]:
    """The scans that the import into ``data`` left out."""
    from VertebralFractureLib.research.datasets.import_dataset import left_out_scans
    from VertebralFractureLib.research.datasets.reference_set import patient_table_of
    from VertebralFractureLib.research.evaluation.flow import left_out_as_judged

    table = patient_table_of(data)
    return left_out_as_judged(left_out_scans(data), {} if table is None else dict(table.patients))


def _read_characteristics(path: Path | None) -> dict[str, dict[str, str]]:
    """By scan, the further columns of a user's table.

    Raises:
        RefusedContent: when it is no table or has no column scan.
    """
    if path is None:
        return {}
    from VertebralFractureLib.errors import RefusedContent
    from VertebralFractureLib.research.datasets.table_file import read_rows

    rows = read_rows(path)
    if rows and "scan" not in rows[0]:
        raise RefusedContent(f"The table '{path.name}' needs a column scan.")
    return {row["scan"].strip(): {name: cell for name, cell in row.items() if name != "scan"} for row in rows}


def _tell_unmatched(table: str, rows: dict[str, dict[str, str]], scans: Sequence[str]) -> None:
    """Say which scans a table does not name, and which of its rows name no scan."""
    for what, names in (
        (f"Scans without a row in '{table}'", sorted(set(scans) - set(rows))),
        (f"Rows of '{table}' without a scan", sorted(set(rows) - set(scans))),
    ):
        if names:
            tell(f"{what} ({len(names)}): {', '.join(names)}.")


def _weights_to_compare(against: Path | None, sets: dict[str, list[Case]]) -> dict[str, list[Case]]:
    """The cases of every set with the weights of ``--against``; none where it is a reader's table or not given.

    A folder with ``fold0``, ``fold1``, ... gives each case the weights of the fold that the case itself is judged by,
    and those of the first fold to a case that lies in none.
    """
    from dataclasses import replace

    from VertebralFractureLib.research.evaluation.case_sets import refuse_unusable_weights

    if against is None or not against.is_dir():
        return {title: [] for title in sets}
    has_folds = (against / "fold0").is_dir()
    result: dict[str, list[Case]] = {}
    for title, cases in sets.items():
        result[title] = []
        for case in cases:
            own = case.weights_folder
            fold = "fold0" if own is None or not (against / own.name).is_dir() else own.name
            folder = against / fold if has_folds else against
            refuse_unusable_weights(folder)
            result[title].append(replace(case, weights_folder=folder))
    return result


def _against(path: Path | None, others: list[CaseResult], scans: list[JudgedScan]) -> Against | None:
    from VertebralFractureLib.research.evaluation.judged import judge
    from VertebralFractureLib.research.evaluation.paired import scans_of_reader
    from VertebralFractureLib.research.evaluation.study import Against
    from VertebralFractureLib.thresholds import SCORING

    if path is None:
        return None
    if not path.is_dir():
        reader = scans_of_reader(scans, path)
        tell(reader.said)
        return Against(reader.name, reader.scans, _READER_THRESHOLD)
    judged = [judge(result) for result in others]
    return Against(path.name, [*judged, *scans[len(judged) :]], SCORING.decision_threshold)


def _weights_used(results: Sequence[CaseResult]) -> dict[str, str]:
    """SHA-256 by name of all weights that answered; those of several folds are told apart by their folder."""
    used: dict[str, str] = {}
    for result in results:
        folder = result.case.weights_folder
        for name, sha256 in (result.report.software.weights_sha256 if result.report is not None else {}).items():
            used[name if folder is None else f"{folder.name}/{name}"] = sha256
    return used


def _weights_in_words(weights: dict[str, str]) -> str:
    from VertebralFractureLib.research.datasets.content_keys import key_of

    if not weights:
        return "no weights answered."
    folders = sorted({name.split("/")[0] for name in weights if "/" in name}) or ["those that ship"]
    return f"weights {key_of(weights)} ({', '.join(folders)}; each SHA-256 in claim.md)."


def _seen_in_words(seen: Sequence[str]) -> str:
    shown = ", ".join(seen[:5]) + (", ..." if len(seen) > 5 else "")
    return f"{len(seen)} of the scans ({shown}) were in the training of the weights; figures on these say nothing."


def _words_of(arguments: argparse.Namespace) -> list[str]:
    """The options as they were given, without paths beyond their last part."""
    words: list[str] = []
    for name, value in sorted(vars(arguments).items()):
        if name in ("command", "run") or value is None or value == 0:
            continue
        values: Any = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}"]
        words += [one.name if isinstance(one, Path) else str(one) for one in values]
    return words


def _refuse_foreign_files(folder: Path) -> None:
    """Check that no file would be lost but those of an earlier evaluation, which come together.

    Raises:
        OutputRefused: otherwise.
    """
    there = [name for name in (*_FILES, *_TABLES) if os.path.lexists(folder / name)]
    whole = all(os.path.lexists(folder / name) for name in _FILES) and (folder / "cases").is_dir()
    if there and not whole:
        raise OutputRefused(
            f"The folder '{one_line(folder.name, NAME_LIMIT)}' holds a '{there[0]}' that is not from an evaluation; "
            "choose an empty or a new folder for --out."
        )
