"""``vertebral-fracture detect INPUT --out DIR``: a CT in, an annotated scene and its report out."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from VertebralFractureLib.cli.exit_codes import DONE, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.output_folder import refuse_foreign_folder, write_folder_atomically
from VertebralFractureLib.cli.progress_display import progress_listener
from VertebralFractureLib.cli.table import format_report_table
from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.options import ALL_MEMBERS, AUTOMATIC, DetectionOptions
from VertebralFractureLib.progress import CancelToken, StageProgress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, help=".nii .nii.gz .nrrd .mha .mhd .mrb, or a DICOM folder")
    parser.add_argument("--out", type=Path, default=None, help="new or empty folder, or one of an earlier result")
    parser.add_argument(
        "--series", help="DICOM: series UID, its beginning, or its description; --list-series shows them"
    )
    parser.add_argument("--list-series", action="store_true", help="DICOM: list the series of the folder and stop")
    parser.add_argument(
        "--centerline",
        type=Path,
        default=None,
        help="a corrected curve instead of the detected one: Slicer markups (.mrk.json) or a report.json",
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        default=(),
        metavar="OLD=NEW",
        help="rename vertebrae and let the rest follow, for example L1=T12; +1 or -1 shifts all of them",
    )
    parser.add_argument(
        "--correction",
        type=Path,
        default=None,
        help="a reader's corrections: a corrected report.json, or the edits of one",
    )
    parser.add_argument(
        "--identifiers", action="store_true", help="keep the input's name and series UID in the results"
    )
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    parser.add_argument("--weights", type=Path, default=None, help="folder of other weights, for example your own")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--device",
        default=AUTOMATIC,
        help="automatic (an NVIDIA graphics card where PyTorch sees one, else the CPU), cpu, or cuda",
    )
    parser.add_argument(
        "--members",
        nargs="+",
        default=ALL_MEMBERS,
        metavar="NAME",
        help="fracture networks to ask: all (default), single (the fastest alone), or their names",
    )
    parser.add_argument(
        "--spacing",
        type=float,
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
    correction = read_correction(arguments.correction, arguments.centerline)
    listener, token = progress_listener(arguments.progress), CancelToken()
    with cancel_on_interrupt(token), write_folder_atomically(arguments.out) as folder:
        models = Models.load(options)
        detection = detect_in_file(
            arguments.input, series=arguments.series, models=models, options=options, listener=listener, token=token
        )
        detection, corrected = with_corrections(
            detection, correction, arguments.levels, models=models, options=options, listener=listener, token=token
        )
        report = write_results(
            detection,
            folder,
            StageProgress("scene", listener, token),
            corrected=corrected,
            identifiers=arguments.identifiers,
        )
    code = DONE if report.status == "evaluable" else NOT_EVALUABLE_CODE
    if arguments.progress == "json":
        print(json.dumps({"done": True, "status": report.status, "reason": report.reason, "exit_code": code}))
        return code
    print(format_report_table(report))
    print(f"\nThe files are in {arguments.out}:")
    for name in sorted(path.name for path in arguments.out.iterdir()):
        print(f"  {name}")
    return code


def _list_series(folder: Path) -> int:
    from VertebralFractureLib.volume import list_dicom_series

    listed = list_dicom_series(folder)
    several = len({series.patient for series in listed}) > 1
    for series in listed:
        patient = f", patient {series.patient + 1}" if several else ""
        print(f"{series.uid}  {series.title}{patient}")
    return DONE


@contextmanager
def cancel_on_interrupt(token: CancelToken) -> Iterator[None]:
    """The first Ctrl-C (or a termination request) stops at the next step; a second one interrupts at once."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        print("\nStopping ...", file=sys.stderr)
        token.cancel()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
