"""``vertebral-fracture import-dataset``: make annotated scans of a VerSe tree, or of CTs with a table of grades."""

from __future__ import annotations

import argparse

from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.cli.option_types import path_to_read, path_to_write
from VertebralFractureLib.cli.terminal import tell
from VertebralFractureLib.errors import UnreadableVolume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", type=path_to_read("--from"), required=True, help="VerSe tree or folder of .nii.gz"
    )
    parser.add_argument(
        "--grades", type=path_to_read("--grades"), default=None, help="CSV of Genant grades; unknown without it"
    )
    parser.add_argument(
        "--out", type=path_to_write("--out"), required=True, help="folder for <id>.nii.gz with <id>.json"
    )


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.datasets.import_dataset import import_scans, source_scans

    scans = source_scans(arguments.source)
    done = import_scans(scans, arguments.grades, arguments.out)
    tell(f"{done} of {len(scans)} scans are in {arguments.out}; look at their levels before you train on them.")
    if done == 0:
        raise UnreadableVolume("No scan could be imported; the reasons are in the lines above.")
    return DONE
