"""The records of ``canal_trials`` as Markdown tables and the figures under them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from VertebralFractureLib.types import FloatArray

Record = dict[str, Any]

NEAR_MM = 3.0
"""What a confidence speaks of: the canal's true center is within this distance of the point."""
CONFIDENCE_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0)


def table_of(part: str, records: Sequence[Record]) -> list[str]:
    """Markdown lines of one part's records."""
    return _TABLES[part](records)


def _accuracy(records: Sequence[Record]) -> list[str]:
    lines = [
        "| scan | slices mm | mean mm | 95th | worst | covered % | beyond mm | confidence | classical: mean mm | "
        "95th | covered % | vertebra box overlap | canal mm | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        name = record["scan"] + ("" if record["cross_validated"] else " *")
        if "network" not in record:
            lines.append(f"| {name} | {record['slice_mm']:.2f} | lost: {record['reason']} |" + " - |" * 11)
            continue
        network, classical = record["network"], record["classical"]
        baseline = "lost | - | -"
        if classical is not None:
            baseline = f"{classical['mean_mm']:.2f} | {classical['p95_mm']:.2f} | {100 * classical['coverage']:.1f}"
        overlap = f"{record['vertebra_overlap']:.2f}" if "vertebra_overlap" in record else "-"
        canal = " x ".join(f"{size:.0f}" for size in record["canal_size_mm"])
        lines.append(
            f"| {name} | {record['slice_mm']:.2f} | {network['mean_mm']:.2f} | {network['p95_mm']:.2f} | "
            f"{network['worst_mm']:.1f} | {100 * network['coverage']:.1f} | {network['beyond_mm']:.0f} | "
            f"{record['confidence']:.2f} | {baseline} | {overlap} | {canal} | {record['seconds']:.1f} |"
        )
    found = [record for record in records if "network" in record]
    for name in ("network", "classical"):
        known = [record[name] for record in found if record[name] is not None]
        mean, high, covered = (np.array([r[key] for r in known]) for key in ("mean_mm", "p95_mm", "coverage"))
        lines += [
            "",
            f"- {name}: mean over scans {mean.mean():.2f} mm (worst {mean.max():.2f}), 95th percentile "
            f"{high.mean():.2f} (worst {high.max():.2f}), covered {100 * covered.mean():.2f} % "
            f"(worst {100 * covered.min():.1f}); scans lost {len(records) - len(known)}.",
        ]
    better = sum(r["classical"] is None or r["network"]["mean_mm"] < r["classical"]["mean_mm"] for r in found)
    not_worse = sum(r["classical"] is None or r["network"]["mean_mm"] < r["classical"]["mean_mm"] + 0.1 for r in found)
    lines.append(f"- the network's mean is lower in {better} of {len(found)} scans, by no more than 0.1 mm higher in "
                 f"{not_worse - better}.")  # fmt: skip
    return lines


def _changes(records: Sequence[Record]) -> list[str]:
    asked = [record for record in records if record.get("asked")]
    names = list(dict.fromkeys(record["change"] for record in asked))
    lines = [
        "| change | scans | lost | moved: median over scans mm | worst scan's median | worst scan | within 2 mm | "
        "to the reference: mean mm | worst scan | covered % | "
        "classical: scans | mean mm | worst scan | covered % | lost |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        own = [record for record in asked if record["change"] == name]
        kept = [record for record in own if "errors" in record]
        moved = [record["moved_median_mm"] for record in kept]
        farthest = max(kept, key=lambda record: float(record["moved_median_mm"]), default={"scan": "-"})["scan"]
        judged = [record["classical"] for record in own if "classical" in record]
        baseline = [errors for errors in judged if errors is not None]
        lost = ", ".join(f"{r['scan']} ({r['refused']})" for r in own if "errors" not in r) or "0"
        lines.append(
            f"| {name} | {len(own)} | {lost} | {_figure(moved, np.median)} | {_figure(moved, max)} | {farthest} | "
            f"{sum(value < 2.0 for value in moved)} | {_errors_in_words([r['errors'] for r in kept])} | "
            f"{len(judged)} | {_errors_in_words(baseline)} | {len(judged) - len(baseline)} |"
        )
    lines += ["", *confidence_table(points_of(records, {"unchanged", *names})), ""]
    lines += confidence_table(points_of(records, {record["change"] for record in records}))
    return lines


def _figure(values: Sequence[float], statistic: Callable[[Sequence[float]], Any]) -> str:
    return f"{float(statistic(values)):.2f}" if values else "-"


def _errors_in_words(errors: Sequence[Record]) -> str:
    """Three cells: mean and worst of the scans' mean distances, and the mean coverage."""
    distances = [float(record["mean_mm"]) for record in errors]
    covered = [100.0 * float(record["coverage"]) for record in errors]
    return f"{_figure(distances, np.mean)} | {_figure(distances, max)} | {_figure(covered, np.mean)}"


def points_of(records: Sequence[Record], names: set[str]) -> FloatArray:
    """``(n, 2)`` confidence and true distance of all points under the changes ``names``."""
    parts = [np.array(r["points"]).reshape(-1, 2) for r in records if r["change"] in names and "points" in r]
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def confidence_table(points: FloatArray) -> list[str]:
    """How far off points of each confidence were."""
    lines = [
        f"| confidence | points | mean confidence | within {NEAR_MM:.0f} mm, % | mean distance mm | 95th percentile |",
        "|---|---|---|---|---|---|",
    ]
    for low, high in pairwise(CONFIDENCE_EDGES):
        own = points[(points[:, 0] >= low) & ((points[:, 0] < high) | (high == 1.0))]
        if len(own):
            lines.append(
                f"| {low:g} to {high:g} | {len(own)} | {own[:, 0].mean():.3f} | "
                f"{100 * (own[:, 1] <= NEAR_MM).mean():.1f} | {own[:, 1].mean():.2f} | "
                f"{np.percentile(own[:, 1], 95):.2f} |"
            )
    return lines


def _without_spine(records: Sequence[Record]) -> list[str]:
    accepted = [record for record in records if "length_mm" in record]
    lines = [f"- volumes without a spine: {len(records)}; answered with a centerline: {len(accepted)}."]
    refused = sum("refused_by_reading" in record for record in records)
    lines.append(f"- {refused} of them are also refused as no CT of a body before the detection sees them.")
    lines += [
        f"- {record['volume']}: {record['length_mm']:.0f} mm, confidence {record['confidence']:.2f}"
        + (" (refused by reading)" if "refused_by_reading" in record else "")
        for record in accepted
    ]
    return lines


def _headers(records: Sequence[Record]) -> list[str]:
    lines = ["| header | scans | reported as implausible | otherwise refused | accepted |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(record["header"] for record in records):
        own = [record for record in records if record["header"] == name]
        counts = [sum(record["outcome"] == kind for record in own) for kind in ("reported", "refused", "accepted")]
        lines.append(f"| {name} | {len(own)} | " + " | ".join(str(count) for count in counts) + " |")
    return lines


def _scoliosis(records: Sequence[Record]) -> list[str]:
    lines = ["| phantom | Cobb drawn | found | mean mm | 95th | covered % |", "|---|---|---|---|---|---|"]
    for record in records:
        if "errors" not in record:
            lines.append(
                f"| {record['volume']} | {record['drawn_cobb_deg']:.0f} | lost: {record['refused']} | - | - | - |"
            )
            continue
        errors = record["errors"]
        lines.append(
            f"| {record['volume']} | {record['drawn_cobb_deg']:.0f} | {record['found_cobb_deg']:.0f} | "
            f"{errors['mean_mm']:.2f} | {errors['p95_mm']:.2f} | {100 * errors['coverage']:.1f} |"
        )
    return lines


_TABLES: dict[str, Callable[[Sequence[Record]], list[str]]] = {
    "accuracy": _accuracy,
    "changes": _changes,
    "extremes": _changes,
    "without-spine": _without_spine,
    "drawn-without-spine": _without_spine,
    "headers": _headers,
    "scoliosis": _scoliosis,
}
