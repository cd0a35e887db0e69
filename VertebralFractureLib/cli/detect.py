"""``vertebral-fracture detect INPUT --out DIR``: a CT in, an annotated scene and its report out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from VertebralFractureLib.cli.exit_codes import BAD_INPUT, DONE, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.option_types import (
    add_run_arguments,
    number,
    path_to_read,
    path_to_write,
    refuse_output,
    words,
)
from VertebralFractureLib.cli.output_folder import RESULT_FILES, refuse_foreign_folder, write_folder_atomically
from VertebralFractureLib.cli.progress_display import progress_listener
from VertebralFractureLib.cli.stop_signals import cancel_on_stop_signals
from VertebralFractureLib.cli.table import format_report_table
from VertebralFractureLib.cli.terminal import tell, warn, write_text
from VertebralFractureLib.errors import OptionRefused, OutputRefused
from VertebralFractureLib.export.segmentation import (
    check_segmentation_name,
    fill_bodies,
    names_path,
    write_segmentation,
)
from VertebralFractureLib.export.table import COMMA, TABLE_STYLES
from VertebralFractureLib.options import ALL_MEMBERS, AUTOMATIC, COARSEST_MM, FINEST_MM, DetectionOptions
from VertebralFractureLib.plain_text import one_line
from VertebralFractureLib.progress import CancelToken, StageProgress
from VertebralFractureLib.result.report import EVALUABLE, SpineReport
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.volume import CTVolume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=path_to_read("INPUT"), help=".nii .nii.gz .nrrd .mha .mhd .mrb, or a DICOM folder"
    )
    parser.add_argument(
        "--out", type=path_to_write("--out"), default=None, help="new or empty folder, or one of an earlier result"
    )
    parser.add_argument(
        "--series",
        type=words("--series"),
        help="DICOM: series UID, its beginning, or its description; --list-series shows them",
    )
    parser.add_argument("--list-series", action="store_true", help="DICOM: list the series of the folder and stop")
    parser.add_argument(
        "--centerline",
        type=path_to_read("--centerline"),
        default=None,
        help="a corrected curve instead of the detected one: Slicer markups (.mrk.json) or a report.json",
    )
    parser.add_argument(
        "--levels",
        type=_relabeling,
        nargs="+",
        default=(),
        metavar="OLD=NEW",
        help="rename vertebrae and let the rest follow, for example L1=T12; +1 or -1 shifts all of them",
    )
    parser.add_argument(
        "--correction",
        type=path_to_read("--correction"),
        default=None,
        help="a reader's corrections: a corrected report.json, or the edits of one",
    )
    parser.add_argument(
        "--identifiers", action="store_true", help="keep the input's name and series UID in the results"
    )
    parser.add_argument(
        "--table",
        choices=sorted(TABLE_STYLES),
        default=COMMA.name,
        help="vertebrae.csv for spreadsheets that expect commas and 0.5 (default), or semicolons and 0,5",
    )
    parser.add_argument(
        "--segmentation",
        type=path_to_write("--segmentation"),
        default=None,
        metavar="FILE",
        help="also write a label map of the vertebral bodies by level, on the CT's grid: .nii.gz, .nii or .nrrd",
    )
    add_run_arguments(parser, "torch's choice")
    parser.add_argument(
        "--device",
        default=AUTOMATIC,
        help="automatic (an NVIDIA graphics card where PyTorch sees one, else the CPU), cpu, or cuda",
    )
    parser.add_argument(
        "--members",
        type=words("--members"),
        nargs="+",
        default=ALL_MEMBERS,
        metavar="NAME",
        help="fracture networks to ask: all (default), single (the fastest alone), or their names",
    )
    parser.add_argument(
        "--spacing",
        type=number("--spacing", FINEST_MM, COARSEST_MM, "mm"),
        default=None,
        metavar="MM",
        help="of the straightened volume, 0.5 to 2 (default 1); what the networks see does not change",
    )


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.cli.corrections import read_correction, with_corrections
    from VertebralFractureLib.cli.write_results import write_results
    from VertebralFractureLib.models import Models
    from VertebralFractureLib.pipeline import detect_in_file

    if arguments.list_series:
        return _list_series(arguments.input)
    if arguments.out is None:
        raise OutputRefused("Say with --out into which folder the result shall go.")
    options = DetectionOptions(
        arguments.weights, arguments.threads, arguments.device, tuple(arguments.members), arguments.spacing
    )
    refuse_foreign_folder(arguments.out)
    _check_segmentation(arguments)
    correction, made_for = read_correction(arguments.correction, arguments.centerline, arguments.levels)
    listener, token = progress_listener(arguments.progress), CancelToken()
    with cancel_on_stop_signals(token), write_folder_atomically(arguments.out) as folder:
        models = Models.load(options)
        detection = detect_in_file(
            arguments.input, series=arguments.series, models=models, options=options, listener=listener, token=token
        )
        detection, corrected = with_corrections(
            detection,
            correction,
            arguments.levels,
            made_for=made_for,
            curve_name=(arguments.centerline or arguments.correction or arguments.input).name,
            models=models,
            options=options,
            listener=listener,
            token=token,
        )
        report = write_results(
            detection,
            folder,
            StageProgress("scene", listener, token),
            corrected=corrected,
            identifiers=arguments.identifiers,
            table_style=TABLE_STYLES[arguments.table],
        )
        notes = _write_segmentation(report, detection.ct, arguments.segmentation)
    code = DONE if report.status == "evaluable" else NOT_EVALUABLE_CODE
    if arguments.progress == "json":
        done = {"done": True, "status": report.status, "reason": report.reason, "exit_code": code}
        told = write_text(sys.stdout, json.dumps(done) + "\n")
    else:
        files = [f"  {name}" for name in sorted(RESULT_FILES)]
        told = tell(*format_report_table(report).split("\n"), "", f"The files are in {arguments.out}:", *files)
    if notes:
        warn(*notes)
    if not told:
        warn(f"Standard output could not be written; all files are in {arguments.out}.")
    return code


def _check_segmentation(arguments: argparse.Namespace) -> None:
    """Refuse a label map that could not be written, or would be a foreign file in the folder of the results."""
    path: Path | None = arguments.segmentation
    if path is None:
        return
    check_segmentation_name(path)
    if path.absolute().parent == arguments.out.absolute():
        raise OutputRefused("--segmentation cannot lie in the folder of --out, which holds the results alone.")
    for file in (path, names_path(path)):
        if file is not None:
            refuse_output("--segmentation", file, arguments.input, arguments.centerline, arguments.correction)


def _write_segmentation(report: SpineReport, ct: CTVolume, path: Path | None) -> list[str]:
    """Write the label map where one is wanted; what a user should know about it."""
    if path is None:
        return []
    if report.status != EVALUABLE:
        return ["No label map was written, because the scan could not be evaluated."]
    label_map = fill_bodies(report, ct)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(label_map, path)
    if not label_map.left_out:
        return []
    return [f"Not in the label map, because their outline is not known: {', '.join(label_map.left_out)}."]


def _relabeling(word: str) -> str:
    """The form of ``--levels``; whether the scan has such a vertebra is known after the detection."""
    old, equals, new = word.partition("=")
    if word not in ("+1", "-1") and not (equals and old.strip() and new in LEVEL_NUMBERS):
        raise OptionRefused(
            f"--levels cannot be '{one_line(word, 40)}'; say OLD=NEW with a level from C1 to S1 as NEW, or +1 or -1."
        )
    return word


def _list_series(folder: Path) -> int:
    from VertebralFractureLib.volume.separate_reader import list_dicom_apart

    listed = list_dicom_apart(folder)
    several = len({patient for _, _, patient in listed}) > 1
    lines = [f"{uid}  {title}" + (f", patient {patient + 1}" if several else "") for uid, title, patient in listed]
    if not tell(*lines):
        warn("Standard output could not be written.")
        return BAD_INPUT
    return DONE
