"""``vertebral-fracture phantom --out FILE``: a digital spine phantom and its truth, by seed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from VertebralFractureLib.cli.exit_codes import DONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="volume to write, for example phantom.nii.gz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demo", action="store_true", help="the README's phantom: three known fractures")
    parser.add_argument("--fractures", type=int, default=None, help="how many (default: random)")
    parser.add_argument("--field-of-view", choices=("full", "spine"), default=None, help="default: random")


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.datasets import fracture_summary, reference_to_json
    from VertebralFractureLib.research.phantom import demo_options, make_phantom, random_options
    from VertebralFractureLib.volume import write_volume

    options = random_options(arguments.seed, fractures=arguments.fractures, field_of_view=arguments.field_of_view)
    phantom = make_phantom(demo_options() if arguments.demo else options)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_volume(phantom.ct, arguments.out)
    truth = arguments.out.with_name(arguments.out.name.split(".")[0] + ".json")
    truth.write_text(json.dumps(reference_to_json(phantom.reference), indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {arguments.out} and its truth {truth.name}. {fracture_summary(phantom.reference)}")
    return DONE
