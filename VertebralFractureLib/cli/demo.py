"""``vertebral-fracture demo``: the README's first command; draws a phantom, then detects on it as on any CT."""

from __future__ import annotations

import argparse
from pathlib import Path

from VertebralFractureLib.cli import detect, phantom


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo-output"))


def run(arguments: argparse.Namespace) -> int:
    volume = arguments.out / "phantom.nii.gz"
    print("Drawing a digital phantom CT with known fractures ...", flush=True)
    phantom.run(argparse.Namespace(out=volume, seed=0, demo=True, fractures=None, field_of_view=None))
    parser = argparse.ArgumentParser()
    detect.add_arguments(parser)
    return detect.run(parser.parse_args([str(volume), "--out", str(arguments.out / "result")]))
