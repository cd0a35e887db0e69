"""Count what becomes of curves that are not the canal of a scan: those of other scans, mirrored and shifted ones.

``python -m VertebralFractureLib.research.evaluation.foreign_curves --data FOLDER --reports FOLDER`` takes every volume
of ``--data`` that has a result ``<id>/report.json`` in ``--reports``, whose centerlines are the curves.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from VertebralFractureLib.canal import canal_evidence, load_canal_model
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.control_point_path import CanalEvidence
from VertebralFractureLib.canal.reader_curve import compare_with_canal, mirror_curve, refuse_foreign_curve
from VertebralFractureLib.cli.corrections import read_curve
from VertebralFractureLib.errors import UnusableCorrection
from VertebralFractureLib.pipeline import reader_centerline
from VertebralFractureLib.volume import CTVolume, read_volume

SHIFTS_MM = (5.0, 10.0, 15.0, 20.0)


def judge_curve(ct: CTVolume, seen: CanalEvidence, line: Centerline) -> str:
    """What ``detect --centerline`` says of a curve: "taken", "in doubt", "refused", or "refused as mirrored"."""
    try:
        refuse_foreign_curve(ct, seen, line, "curve")
    except UnusableCorrection as error:
        return "refused as mirrored" if "coordinate system" in str(error) else "refused"
    return "in doubt" if compare_with_canal(ct, seen, line).is_doubtful else "taken"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="folders of volumes <id>.nii.gz")
    parser.add_argument("--reports", type=Path, required=True, help="folder with <id>/report.json")
    arguments = parser.parse_args()
    files = {path.name.split(".")[0]: path for folder in arguments.data for path in sorted(folder.glob("*.nii.gz"))}
    reports = {path.parent.name: path for path in sorted(arguments.reports.glob("*/report.json"))}
    curves = {name: reader_centerline(read_curve(path)) for name, path in reports.items()}
    model, counts = load_canal_model(), Counter[tuple[str, str]]()
    for name in sorted(set(files) & set(curves)):
        ct, own = read_volume(files[name]), curves[name]
        seen = canal_evidence(ct, model)
        kinds = {"its own": own, "its own, mirrored": mirror_curve(own)}
        for shift in SHIFTS_MM:
            moved = own.points_ras + np.array([shift, 0.0, 0.0])
            kinds[f"its own, {shift:g} mm to the right"] = Centerline(moved, own.confidence)
        counts.update((kind, judge_curve(ct, seen, line)) for kind, line in kinds.items())
        others = (line for other, line in curves.items() if other != name)
        counts.update(("of another scan", judge_curve(ct, seen, line)) for line in others)
    for (kind, verdict), count in sorted(counts.items()):
        print(f"{kind}: {verdict} {count}")


if __name__ == "__main__":
    main()
