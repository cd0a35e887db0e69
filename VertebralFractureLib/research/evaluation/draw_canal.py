"""Draw what the canal detection found.

``python -m VertebralFractureLib.research.evaluation.draw_canal SCAN... --out PICTURE``.

One row per scan: the coronal and the sagittal section that follow the curve (colored by its confidence, the reference
dashed), and axial slices with the boxes of canal and vertebra, as the paper's pipeline figure shows them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.canal import detect_canal, load_canal_model
from VertebralFractureLib.canal.axial_stack import AxialStack, build_axial_stack
from VertebralFractureLib.canal.detection import CanalDetection
from VertebralFractureLib.research.datasets import ReferenceSpine, read_annotation
from VertebralFractureLib.research.datasets.reference_set import fold_of_scan
from VertebralFractureLib.research.evaluation.evaluate_canal import nearest_distance_mm
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume, read_volume

_STEP_MM = 1.0
_SLICES = 4
_WINDOW_HU = (-160.0, 420.0)
_AROUND_MM = 62.0
_COLORS = ("#ffd60a", "#4cc9f0", "#ef476f")
"""Canal, vertebra, and the region around both."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", nargs="*", type=Path, help="CT files; an <id>.json beside one is its reference")
    parser.add_argument("--phantom", type=int, nargs="*", default=[], help="seeds of phantoms to draw as well")
    parser.add_argument("--fold-weights", type=Path, default=None, help="folder with fold0, fold1, ... of weights")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")


def run(arguments: argparse.Namespace) -> int:
    """Detect, draw and write the picture; returns 0."""
    from matplotlib.figure import Figure

    cases = [_from_file(path, arguments.fold_weights) for path in arguments.scans]
    cases += [_from_phantom(seed) for seed in arguments.phantom]
    figure = Figure(figsize=(2.4 * (_SLICES + 2), 2.9 * len(cases)), facecolor="black", layout="constrained")
    axes = figure.subplots(len(cases), _SLICES + 2, squeeze=False)
    for row, (ct, reference, weights) in zip(axes, cases, strict=True):
        _draw_row(row, ct, reference, detect_canal(ct, load_canal_model(weights)))
    with atomic_write(arguments.out) as partial:
        figure.savefig(partial, dpi=90)
    return 0


Case = tuple[CTVolume, ReferenceSpine | None, Path | None]


def _from_file(path: Path, fold_weights: Path | None) -> Case:
    identifier = path.name.split(".")[0]
    annotation = path.with_name(f"{identifier}.json")
    fold = fold_of_scan(identifier)
    weights = None if fold_weights is None or fold is None else fold_weights / f"fold{fold}"
    return read_volume(path), read_annotation(annotation) if annotation.is_file() else None, weights


def _from_phantom(seed: int) -> Case:
    from VertebralFractureLib.research.phantom import make_phantom, random_options

    phantom = make_phantom(random_options(seed))
    return phantom.ct, phantom.reference, None


def _draw_row(axes: Any, ct: CTVolume, reference: ReferenceSpine | None, found: CanalDetection) -> None:
    stack = build_axial_stack(ct, slice_mm=2.0)
    line = found.centerline
    arc = np.arange(0.0, line.length_mm, _STEP_MM)
    points, confidence = line.positions_ras(arc), line.confidence_at(arc)
    order = np.argsort(points[:, 2])
    at = [np.interp(stack.heights_mm, points[order, 2], points[order, axis]) for axis in (0, 1)]
    for axis, panel in enumerate(axes[:2]):
        _draw_section(panel, stack, axis, at[1 - axis])
        panel.scatter(points[:, axis], points[:, 2], c=confidence, cmap="RdYlGn", vmin=0.0, vmax=1.0, s=1.5)
        if reference is not None:
            truth = reference.centerline.points_ras
            panel.plot(truth[:, axis], truth[:, 2], "--", color="white", linewidth=0.6)
    title = f"{ct.name}: confidence {line.confidence.mean():.2f}"
    if reference is not None:
        distance = nearest_distance_mm(reference.centerline.points_ras, points)
        title += f", mean {distance.mean():.2f} mm"
        worst = reference.centerline.points_ras[int(distance.argmax())]
        title += f", worst {distance.max():.1f} at S {worst[2]:.0f}"
    axes[0].set_title(title, color="white", fontsize=7, loc="left")
    chosen = np.linspace(0, len(found.boxes.heights_mm) - 1, _SLICES + 2).round().astype(int)[1:-1]
    for panel, index in zip(axes[2:], chosen, strict=True):
        _draw_slice(panel, stack, found, int(index))


def _draw_section(panel: Any, stack: AxialStack, axis: int, at_mm: FloatArray) -> None:
    """The surface that follows the curve in depth (coronal, axis 0) or sideways (sagittal, axis 1)."""
    across = 1 - axis
    column = np.rint((at_mm - stack.origin_ras[across]) / stack.spacing_mm[across]).astype(int)
    column = column.clip(0, stack.hu.shape[2 - across] - 1)
    rows = np.arange(len(stack.hu))
    section = stack.hu[rows, column] if axis == 0 else stack.hu[rows, :, column]
    low = stack.origin_ras[axis]
    extent = (low, low + stack.spacing_mm[axis] * section.shape[1], *stack.heights_mm[[0, -1]])
    panel.imshow(section, cmap="gray", vmin=_WINDOW_HU[0], vmax=_WINDOW_HU[1], extent=extent, origin="lower")
    if axis == 0:
        # The patient's right on the left of the picture, as radiologists look.
        panel.invert_xaxis()
    panel.axis("off")


def _draw_slice(panel: Any, stack: AxialStack, found: CanalDetection, index: int) -> None:
    from matplotlib.patches import Rectangle

    boxes = found.boxes
    height = boxes.heights_mm[index]
    row = int(np.rint((height - stack.origin_ras[2]) / stack.spacing_mm[2]).clip(0, len(stack.hu) - 1))
    (r, a), size = stack.origin_ras[:2], stack.hu.shape[:0:-1]
    extent = (r, r + stack.spacing_mm[0] * size[0], a, a + stack.spacing_mm[1] * size[1])
    low, high = _WINDOW_HU
    panel.imshow(stack.hu[row], cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower")
    for box, color in zip((boxes.canal_ras, boxes.vertebra_ras, boxes.region_ras), _COLORS, strict=True):
        r_low, r_high, a_low, a_high = box[index]
        grow = 1.5 if color == _COLORS[2] else 0.0
        corner, wide, deep = (r_low - grow, a_low - grow), r_high - r_low + 2 * grow, a_high - a_low + 2 * grow
        panel.add_patch(Rectangle(corner, wide, deep, fill=False, edgecolor=color, linewidth=0.8))
    middle = 0.5 * (boxes.canal_ras[index, :2].sum()), boxes.canal_ras[index, 2]
    panel.set_xlim(middle[0] + _AROUND_MM, middle[0] - _AROUND_MM)
    panel.set_ylim(middle[1] - 0.7 * _AROUND_MM, middle[1] + 1.3 * _AROUND_MM)
    panel.set_title(f"S {height:.0f} mm", color="white", fontsize=6)
    panel.axis("off")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
