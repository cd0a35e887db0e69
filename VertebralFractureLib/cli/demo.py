"""``vertebral-fracture demo``: the README's first command; draws a phantom, then detects on it as on any CT."""

from __future__ import annotations

import argparse
from pathlib import Path

from VertebralFractureLib.cli import detect, phantom
from VertebralFractureLib.cli.option_types import path_to_write
from VertebralFractureLib.cli.output_folder import refuse_foreign_folder
from VertebralFractureLib.cli.terminal import tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=path_to_write("--out"), default=Path("demo-output"))


def run(arguments: argparse.Namespace) -> int:
    volume = arguments.out / "phantom.nii.gz"
    refuse_foreign_folder(arguments.out / "result")
    tell("Drawing a digital phantom CT with known fractures ...")
    phantom.run(argparse.Namespace(out=volume, seed=0, demo=True, fractures=None, field_of_view=None))
    parser = argparse.ArgumentParser()
    detect.add_arguments(parser)
    return detect.run(parser.parse_args([str(volume), "--out", str(arguments.out / "result")]))
