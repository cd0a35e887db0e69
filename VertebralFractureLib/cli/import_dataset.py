"""``vertebral-fracture import-dataset``: make annotated scans of a VerSe tree, or of CTs with a table of grades."""

from __future__ import annotations

import argparse
from pathlib import Path

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.cli.option_types import path_to_read, path_to_write
from VertebralFractureLib.cli.terminal import tell
from VertebralFractureLib.errors import OutputRefused, UnreadableVolume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", type=path_to_read("--from"), required=True, help="VerSe tree or folder of .nii.gz"
    )
    parser.add_argument(
        "--grades", type=path_to_read("--grades"), default=None, help="CSV of Genant grades; unknown without it"
    )
    parser.add_argument(
        "--patients",
        type=path_to_read("--patients"),
        default=None,
        help="CSV with the columns scan, patient and perhaps fold and characteristics; patients.csv beside the scans",
    )
    parser.add_argument(
        "--out", type=path_to_write("--out"), required=True, help="folder for <id>.nii.gz with <id>.json"
    )


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.datasets.import_dataset import import_scans, source_scans
    from VertebralFractureLib.research.datasets.patient_table import PATIENT_TABLE, read_patient_table, refuse_missing
    from VertebralFractureLib.research.datasets.reference_set import describe_grouping, fold_count, reference_scans

    _refuse_nested(arguments.source, arguments.out)
    scans = source_scans(arguments.source)
    if arguments.patients is not None:
        table = read_patient_table(arguments.patients, fold_count())
        refuse_missing(table, [scan.identifier for scan in scans])
    done = import_scans(scans, arguments.grades, arguments.out, tell)
    if arguments.patients is not None:
        write_file(arguments.out / PATIENT_TABLE, arguments.patients.read_bytes())
    tell("")
    for title, names in (
        ("Scans without a row in the table, so without any grade", done.join.scans_without_row),
        ("Rows without a scan", done.join.rows_without_scan),
    ):
        if names and arguments.grades is not None:
            tell(f"{title} ({len(names)}): {', '.join(names)}.")
    for name, several in done.join.shared.items():
        tell(f"The row {name} stands for {len(several)} scans: {', '.join(several)}.")
    there = [scan for scan in done.scans if scan.state != "left out"]
    graded, fractured = sum(scan.graded for scan in there), sum(scan.fractured for scan in there)
    unplaced = sum(len(scan.unplaced) for scan in there)
    missed = f"; {unplaced} rows of levels that were not found count as missed" if unplaced else ""
    tell(
        f"{done.done} of {len(scans)} scans are in {arguments.out}, with {graded} graded vertebrae ({fractured} of "
        f"them fractured){missed}. Look at their levels before you train on them."
    )
    if done.done == 0:
        raise UnreadableVolume("No scan could be imported; the reasons are in the lines above.")
    tell(*describe_grouping(reference_scans(arguments.out)))
    return DONE


def _refuse_nested(source: Path, out: Path) -> None:
    """Check that what is written is not read again as a source.

    Raises:
        OutputRefused: otherwise.
    """
    inside, outside = out.absolute().resolve(), source.absolute().resolve()
    if inside == outside or outside in inside.parents:
        raise OutputRefused("--out lies inside --from, and the next import would take its scans for others; move it.")
