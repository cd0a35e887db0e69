"""Find the canal's path through control points that a person set; the network's evidence decides everywhere else.

Every control point is one that the path must take; between two that lie too far apart for the evidence, a faint line
keeps the path together. At the end the curve is bent so that it runs through the control points exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.canal.axial_stack import AxialStack, AxialStacks
from VertebralFractureLib.canal.candidates import CanalCandidates, CanalReader
from VertebralFractureLib.canal.centerline import Centerline, order_points
from VertebralFractureLib.canal.curve import fit_centerline
from VertebralFractureLib.canal.network import CanalModel
from VertebralFractureLib.canal.path import find_canal_path
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import CANAL_CURVE, CANAL_EDITING
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.volume import CTVolume


@dataclass(frozen=True)
class CanalEvidence:
    """What the network sees of the canal in one CT: detection finds the path in it, and every drag is answered from it.

    Slices that detection had no need to read whole are read when a person leads the path there.
    """

    stack: AxialStack
    candidates: CanalCandidates
    reader: CanalReader
    """Enters what it reads into ``candidates``."""

    @property
    def network_runs(self) -> int:
        """How many times the network was run over slices: 1, and 2 once the rest had to be read."""
        return self.reader.runs

    def cover(self, points_ras: FloatArray) -> None:
        """Read every slice whole where a point ``(n, 3)`` lies near what the network has not seen."""
        seen, heights = self.reader.seen_mm, self.candidates.heights_mm
        for point in points_ras:
            near = seen[np.abs(heights - point[2]) <= CANAL_EDITING.cone_reach_mm]
            inside = (near[:, 0] <= point[0]) & (point[0] <= near[:, 1])
            inside &= (near[:, 2] <= point[1]) & (point[1] <= near[:, 3])
            if not inside.all():
                self.reader.read_whole()
                return


def canal_evidence(
    ct: CTVolume, model: CanalModel, *, stacks: AxialStacks | None = None, progress: StageProgress | None = None
) -> CanalEvidence:
    """Run the canal network over the CT as far as detection needs it.

    Args:
        stacks: of the CT, where others are built of it too.

    Raises:
        Cancelled: from ``progress``.
    """
    stack = (stacks or AxialStacks(ct)).build()
    reader = CanalReader(model.network, stack)
    reader.read_along_path(progress)
    return CanalEvidence(stack, reader.found, reader)


def find_path_through(evidence: CanalEvidence, anchors_ras: FloatArray) -> Centerline | None:
    """Find the centerline through control points ``(n, 3)`` RAS mm, and beyond them as far as a canal is seen.

    ``None`` when neither the network nor the control points make a path.
    """
    control_points = order_points(np.asarray(anchors_ras, dtype=np.float64).reshape(-1, 3))
    evidence.cover(control_points)
    candidates, required = _with_control_points(evidence, control_points)
    slice_mm = evidence.stack.spacing_mm[2]
    path = find_canal_path(candidates.position_mm, candidates.probability, slice_mm, required)
    line = None if path is None else fit_centerline(evidence.stack, candidates, path)
    if line is None or (len(control_points) and not _covers(line, control_points, slice_mm)):
        return fit_centerline_through(control_points)
    return bend_through(line, control_points)


def fit_centerline_through(control_points: FloatArray) -> Centerline | None:
    """A plain spline through ordered points with a point every 5 mm; ``None`` for fewer than two."""
    if len(control_points) < 2:
        return None
    spline = Centerline(control_points, np.ones(len(control_points)))
    count = max(2, int(np.ceil(spline.length_mm / CANAL_CURVE.point_mm)) + 1)
    at = np.linspace(0.0, spline.length_mm, count)
    return Centerline(spline.positions_ras(at), np.zeros(count))


def bend_through(line: Centerline, control_points: FloatArray) -> Centerline:
    """``line`` bent sideways, over 12 mm to each side, so that it runs through the control points at its heights."""
    points = line.points_ras.copy()
    inside = np.zeros(len(control_points), dtype=bool)
    if len(control_points):
        inside = (control_points[:, 2] > points[0, 2]) & (control_points[:, 2] < points[-1, 2])
    if not inside.any() or np.any(np.diff(points[:, 2]) <= 0.0):
        return line
    fixed = control_points[inside]
    fine = line.positions_ras(np.arange(0.0, line.length_mm, 0.5, dtype=np.float64))
    missed = fixed[:, :2] - np.stack([np.interp(fixed[:, 2], fine[:, 2], fine[:, axis]) for axis in (0, 1)], axis=1)
    influence = np.exp(-0.5 * ((fixed[:, None, 2] - fixed[None, :, 2]) / CANAL_EDITING.bend_mm) ** 2)
    weights = np.linalg.solve(influence + 1e-6 * np.eye(len(fixed)), missed)
    points[:, :2] += np.exp(-0.5 * ((points[:, None, 2] - fixed[None, :, 2]) / CANAL_EDITING.bend_mm) ** 2) @ weights
    return replace(line, points_ras=points)


def _with_control_points(evidence: CanalEvidence, control_points: FloatArray) -> tuple[CanalCandidates, BoolArray]:
    """The candidates with one more per slice: the control point, or a faint one between two."""
    tuned = CANAL_EDITING
    found, heights = evidence.candidates, evidence.candidates.heights_mm
    probability = found.probability.copy()
    extra, faint = np.zeros((len(heights), 1, 2)), np.zeros((len(heights), 1))
    required = np.zeros((len(heights), probability.shape[1] + 1), dtype=np.bool_)
    if len(control_points) > 1:
        between = (heights > control_points[0, 2]) & (heights < control_points[-1, 2])
        for axis in (0, 1):
            extra[:, 0, axis] = np.interp(heights, control_points[:, 2], control_points[:, axis])
        faint[between] = tuned.faint
    for control_point in control_points:
        rise = np.abs(heights - control_point[2])[:, None]
        aside = np.linalg.norm(found.position_mm - control_point[:2], axis=-1)
        probability[(rise <= tuned.cone_reach_mm) & (aside > tuned.cone_mm + tuned.cone_slope * rise)] = 0.0
    for control_point in control_points:
        row = int(np.abs(heights - control_point[2]).argmin())
        if abs(heights[row] - control_point[2]) <= evidence.stack.spacing_mm[2]:
            probability[row] = 0.0
            extra[row, 0], faint[row] = control_point[:2], 1.0
            required[row, -1] = True
    sd = np.concatenate([found.sd_mm, np.zeros_like(faint)], axis=1)
    return replace(
        found,
        position_mm=np.concatenate([found.position_mm, extra], axis=1),
        probability=np.concatenate([probability, faint], axis=1),
        sd_mm=sd,
        walls_mm=np.concatenate([found.walls_mm, np.zeros((*faint.shape, found.walls_mm.shape[2]))], axis=1),
    ), required


def _covers(line: Centerline, control_points: FloatArray, slice_mm: float) -> bool:
    low, high = line.points_ras[0, 2], line.points_ras[-1, 2]
    return bool(np.all((control_points[:, 2] >= low - slice_mm) & (control_points[:, 2] <= high + slice_mm)))
