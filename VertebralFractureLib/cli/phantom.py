"""``vertebral-fracture phantom --out FILE``: a digital spine phantom and its truth, by seed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.cli.option_types import VOLUME_ENDINGS, path_to_write, refuse_output, whole_number
from VertebralFractureLib.cli.terminal import tell, warn
from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

_MOST_SEED = 2**32 - 1
_MOST_FRACTURES = 17
"""One of each vertebra from T1 to L5."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=path_to_write("--out"), required=True, help="volume to write, such as phantom.nii.gz"
    )
    parser.add_argument("--seed", type=whole_number("--seed", 0, _MOST_SEED), default=0)
    parser.add_argument("--demo", action="store_true", help="the README's phantom: three known fractures")
    parser.add_argument(
        "--fractures",
        type=whole_number("--fractures", 0, _MOST_FRACTURES),
        default=None,
        help="how many (default: random)",
    )
    parser.add_argument("--field-of-view", choices=("full", "spine"), default=None, help="default: random")


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.research.datasets import fracture_summary, reference_to_json
    from VertebralFractureLib.research.phantom import demo_options, make_phantom, random_options
    from VertebralFractureLib.volume import write_volume

    truth = _truth_beside(arguments.out)
    options = random_options(arguments.seed, fractures=arguments.fractures, field_of_view=arguments.field_of_view)
    phantom = make_phantom(demo_options() if arguments.demo else options)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_volume(phantom.ct, arguments.out)
    write_file(truth, json.dumps(reference_to_json(phantom.reference), indent=1) + "\n")
    if not tell(f"Wrote {arguments.out} and its truth {truth.name}. {fracture_summary(phantom.reference)}"):
        warn(f"Standard output could not be written; {arguments.out} and its truth are complete.")
    return DONE


def _truth_beside(out: Path) -> Path:
    """The JSON file of the truth of the phantom ``out``.

    Raises:
        OutputRefused: when the ending of ``out`` cannot be written, or a file would be lost that is no truth.
    """
    from VertebralFractureLib.research.datasets import read_annotation

    ending = next((ending for ending in VOLUME_ENDINGS if out.name.endswith(ending) and out.name != ending), None)
    if ending is None:
        shown = one_line(out.name, NAME_LIMIT)
        raise OutputRefused(f"'{shown}' has no ending that can be written; use {', '.join(VOLUME_ENDINGS)}.")
    refuse_output("--out", out)
    truth = out.with_name(out.name.removesuffix(ending) + ".json")
    refuse_output("--out", truth)
    if truth.exists():
        try:
            read_annotation(truth)
        except Exception as error:
            raise OutputRefused(
                f"'{one_line(truth.name, NAME_LIMIT)}', where the truth would be written, is something else; "
                "choose another name for --out."
            ) from error
    return truth
