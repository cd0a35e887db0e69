"""Measure the canal detection: ``python -m VertebralFractureLib.research.evaluation.measure_canal``.

Each part writes its records to ``<part>.json`` in the output folder as they come; ``--tables`` reads these files and
prints the Markdown tables of ``docs/results/canal.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, reference_scans
from VertebralFractureLib.research.evaluation import canal_tables, canal_trials
from VertebralFractureLib.research.evaluation.canal_trials import LoadedScan, Record

_PER_SCAN: dict[str, Callable[[LoadedScan], Iterator[Record]]] = {
    "accuracy": lambda scan: iter([canal_trials.accuracy(scan)]),
    "without-spine": canal_trials.without_spine,
    "headers": canal_trials.false_headers,
    "extremes": canal_trials.extremes,
}
PARTS = (*_PER_SCAN, "changes", "drawn-without-spine", "scoliosis")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=None, help="folder of the annotated scans")
    parser.add_argument("--fold-weights", type=Path, default=None, help="folder with fold0, fold1, ... of weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scans", nargs="+", default=None, help="only these scans")
    parser.add_argument("--without-baseline", action="store_true", help="only the network on changed scans")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="only print the tables of records that are there")


def run(arguments: argparse.Namespace) -> int:
    """Run the parts and print their tables; returns 0.

    Raises:
        FileNotFoundError: when the folder of scans holds none of them.
    """
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for part in arguments.parts:
        path = arguments.out / f"{part}.json"
        if not arguments.tables:
            write_file(path, json.dumps(list(_records(part, arguments)), indent=0) + "\n")
        if path.is_file():
            print("\n".join(canal_tables.table_of(part, json.loads(path.read_text(encoding="utf-8")))), flush=True)
    return 0


def _records(part: str, arguments: argparse.Namespace) -> Iterator[Record]:
    fold0 = None if arguments.fold_weights is None else arguments.fold_weights / "fold0"
    if part == "drawn-without-spine":
        yield from canal_trials.drawn_without_spine(3, fold0)
    elif part == "scoliosis":
        yield from canal_trials.scoliosis(8, 80.0, fold0)
    else:
        for scan in _chosen(arguments):
            print(f"{part}: {scan.identifier}", file=sys.stderr, flush=True)
            loaded = canal_trials.load_scan(scan, arguments.fold_weights)
            if part == "changes":
                yield from canal_trials.changes(loaded, not arguments.without_baseline)
            else:
                yield from _PER_SCAN[part](loaded)


def _chosen(arguments: argparse.Namespace) -> list[ReferenceScan]:
    scans = reference_scans(arguments.data)
    return [scan for scan in scans if arguments.scans is None or scan.identifier in arguments.scans]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
