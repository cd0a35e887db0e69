"""``vertebral-fracture import-dataset``: make annotated scans of a VerSe tree, or of CTs with a table of grades."""

from __future__ import annotations

import argparse
from pathlib import Path

from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.errors import UnreadableVolume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", type=Path, required=True, help="VerSe tree or folder of .nii.gz")
    parser.add_argument("--grades", type=Path, default=None, help="CSV of Genant grades; unknown without it")
    parser.add_argument("--out", type=Path, required=True, help="folder for <id>.nii.gz with <id>.json")


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.datasets.import_dataset import import_scans, source_scans

    scans = source_scans(arguments.source)
    done = import_scans(scans, arguments.grades, arguments.out)
    print(f"{done} of {len(scans)} scans are in {arguments.out}; look at their levels before you train on them.")
    if done == 0:
        raise UnreadableVolume("No scan could be imported; the reasons are in the lines above.")
    return DONE
