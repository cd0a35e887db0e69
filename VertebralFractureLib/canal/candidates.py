"""Candidates: a few positions per axial slice where the canal may be, each with its probability and sub-pixel position.

A candidate's probability is the mass of the network's softmax around a peak, so that a canal whose center the network
locates loosely is still one candidate with its full probability. For detection every fourth slice is read whole, and
where a path through these is believed, the slices between are read in a window around it: that saves most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from VertebralFractureLib.canal.axial_stack import POOLED_PIXELS, AxialStack
from VertebralFractureLib.canal.network import (
    BOX_PIXELS,
    BOX_SIDES,
    CHANNELS,
    CanalNetwork,
    compute_log_probabilities,
)
from VertebralFractureLib.canal.path import CanalPath, find_canal_path
from VertebralFractureLib.fast_networks import like_network
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import CANAL_CANDIDATES
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import FloatArray, IntArray
from VertebralFractureLib.volume.hu_windows import CANAL_NETWORK
from VertebralFractureLib.volume.sampling import sample_tensor

_SLICES_PER_BATCH = 4
_WINDOW = 96
_MIRRORED_SIDES = (1, 0, 2, 3, 5, 4, 6, 7)
_MIRRORED_SIGNS = (-1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0)
"""The walls of a mirrored slice in terms of its own: lowest and highest R swap, with their signs."""


@dataclass(frozen=True)
class CanalCandidates:
    """Per slice up to ``candidates_per_slice`` positions, most probable first.

    Attributes:
        heights_mm: ``(n,)`` RAS S of the slices, ascending and equidistant.
        position_mm: ``(n, c, 2)`` RAS R and A.
        probability: ``(n, c)``; 0 where there is no further candidate.
        sd_mm: ``(n, c)`` standard deviation of the position, per axis.
        walls_mm: ``(n, c, BOX_SIDES)`` walls of canal and vertebra from the position.
    """

    heights_mm: FloatArray
    position_mm: FloatArray
    probability: FloatArray
    sd_mm: FloatArray
    walls_mm: FloatArray


def _believed(probability: FloatArray, path: CanalPath) -> bool:
    """Whether the windows may follow the path: probable on the whole, and nowhere without evidence for long."""
    return bool(
        probability[path.rows, path.choices].mean() >= CANAL_CANDIDATES.believed_from
        and np.diff(path.rows).max(initial=1) <= 2
    )


def _reported(progress: StageProgress | None, first: float, last: float) -> Callable[[float], None]:
    def report(fraction: float) -> None:
        if progress is not None:
            progress(first + (last - first) * fraction)

    return report


class CanalReader:
    """Run the canal network over the slices of one stack and keep what it found, so that no slice is read twice.

    Attributes:
        found: the candidates so far; slices that were not read have none.
        seen_mm: ``(n, 4)`` lowest R, highest R, lowest A and highest A of what the network saw of each slice; NaN for
            a slice that was not read.
        runs: how many times slices were read through the network.
    """

    def __init__(self, network: CanalNetwork, stack: AxialStack) -> None:
        self._network = network
        self._slices = to_tensor(stack.hu)
        self._slice_mm = stack.spacing_mm[2]
        self._origin = np.array(stack.origin_ras[:2])
        self._spacing = np.array(stack.spacing_mm[:2])
        shape = (len(stack.hu), CANAL_CANDIDATES.candidates_per_slice)
        self.found = CanalCandidates(
            stack.heights_mm,
            np.zeros((*shape, 2)),
            np.zeros(shape),
            np.full(shape, np.inf),
            np.zeros((*shape, BOX_SIDES)),
        )
        self.seen_mm = np.full((len(stack.hu), 4), np.nan)
        self.runs = 0

    def read_whole(self, progress: StageProgress | None = None) -> None:
        """Read every slice that was not read whole yet: what a person may want to lead the path through.

        Raises:
            Cancelled: from ``progress``.
        """
        height, width = self._slices.shape[1:]
        whole = self._sides_mm(np.zeros((1, 2), dtype=int), (height, width))
        rows = np.flatnonzero(~np.all(self.seen_mm == whole, axis=1))
        if len(rows):
            self.runs += 1
            self._read(rows, None, _reported(progress, 0.0, 1.0))

    def read_along_path(self, progress: StageProgress | None = None) -> None:
        """Read where the one best path may run; slices far beyond its ends may stay without a candidate.

        Raises:
            Cancelled: from ``progress``.
        """
        tuned = CANAL_CANDIDATES
        count, height, width = self._slices.shape
        if height * width < tuned.worth_a_window * min(height, _WINDOW) * min(width, _WINDOW):
            self.read_whole(progress)
            return
        self.runs += 1
        found, rows = self.found, np.arange(count)
        # The same slices of the patient whatever the scan begins with.
        lowest = round(float(found.heights_mm[0]) / self._slice_mm)
        whole = rows[(tuned.whole_every // 2 - lowest) % tuned.whole_every :: tuned.whole_every]
        self._read(whole, None, _reported(progress, 0.0, 0.5))
        path = find_canal_path(found.position_mm[whole], found.probability[whole], tuned.whole_every * self._slice_mm)
        others = np.setdiff1d(rows, whole)
        if path is None or not _believed(found.probability[whole], path):
            self._read(others, None, _reported(progress, 0.5, 1.0))
            return
        at = whole[path.rows]
        others = others[(others >= at[0] - tuned.beyond_path_slices) & (others <= at[-1] + tuned.beyond_path_slices)]
        positions = found.position_mm[at, path.choices]
        center = np.stack([np.interp(others, at, positions[:, axis]) for axis in (0, 1)], axis=1)
        self._read(others, center, _reported(progress, 0.5, 1.0))

    def _read(self, rows: IntArray, center_mm: FloatArray | None, report: Callable[[float], None]) -> None:
        """Read whole slices, or windows around RAS R and A ``(n, 2)``."""
        count, *whole = self._slices.shape
        size = (whole[0], whole[1]) if center_mm is None else (min(whole[0], _WINDOW), min(whole[1], _WINDOW))
        offsets = torch.arange(CHANNELS) - CHANNELS // 2
        with torch.inference_mode():
            for start in range(0, len(rows), _SLICES_PER_BATCH):
                batch = to_tensor(rows[start : start + _SLICES_PER_BATCH])
                neighbors = (batch[:, None] + offsets).clamp(0, count - 1)
                if center_mm is None:
                    corner = np.zeros((len(batch), 2), dtype=int)
                else:
                    corner = self._corners(center_mm[start : start + _SLICES_PER_BATCH], size)
                slices = torch.stack(
                    [
                        self._slices[near, j : j + size[0], i : i + size[1]]
                        for near, (i, j) in zip(neighbors, corner.tolist(), strict=True)
                    ]
                )
                logits, boxes = read_both_ways(
                    self._network, like_network(CANAL_NETWORK.normalize(slices), self._network)
                )
                self._enter(to_array(batch), corner, logits.cpu(), boxes.cpu())
                self.seen_mm[rows[start : start + _SLICES_PER_BATCH]] = self._sides_mm(corner, size)
                report((start + len(batch)) / len(rows))

    def _sides_mm(self, corner: NDArray[np.int_], size: tuple[int, int]) -> FloatArray:
        """``(n, 4)`` RAS sides of windows of ``size`` (height, width) pixels with first pixels ``corner`` (i, j)."""
        low = self._origin + corner * self._spacing
        high = self._origin + (corner + np.array(size[::-1]) - 1) * self._spacing
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)

    def _corners(self, center_mm: FloatArray, size: tuple[int, int]) -> NDArray[np.int_]:
        """First pixel (i, j) of each window, moved into the slice where it would hang over.

        Windows begin where the network pools the whole slice too, so that it sees the canal on the same grid in both.
        """
        window = np.array(size[::-1])
        first = (center_mm - self._origin) / self._spacing - 0.5 * window
        pixel = POOLED_PIXELS * np.rint(first / POOLED_PIXELS).astype(int)
        return np.asarray(np.clip(pixel, 0, np.array(self._slices.shape[:0:-1]) - window))

    def _enter(self, rows: IntArray, corner: NDArray[np.int_], logits: torch.Tensor, boxes: torch.Tensor) -> None:
        pixels, none = compute_log_probabilities(logits)
        position, mass, sd = _peaks(pixels.exp())
        found = self.found
        index = to_array(position) + corner[:, None]
        found.position_mm[rows] = self._origin + index * self._spacing
        found.probability[rows] = to_array(_against_none(mass, none.exp()[:, None]))
        found.sd_mm[rows] = to_array(sd) * self._spacing[0]
        found.walls_mm[rows] = to_array(read_boxes(boxes, position))


def read_both_ways(network: CanalNetwork, slices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of the network's answers to the slices and to their mirror image, which is turned back.

    A spine is symmetric, a trained network is so only roughly: each sets the canal a tenth of a pixel to its own side.
    """
    logits, boxes = (answer.float() for answer in network(slices))
    other_logits, other_boxes = (answer.float() for answer in network(slices.flip(-1)))
    signs = torch.tensor(_MIRRORED_SIGNS, device=boxes.device)[:, None, None]
    mirrored = signs * other_boxes.flip(-1)[:, _MIRRORED_SIDES]
    return 0.5 * (logits + other_logits.flip(-1)), 0.5 * (boxes + mirrored)


def read_boxes(boxes: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Walls ``(n, c, BOX_SIDES)`` from the box maps at pixels (i, j) ``(n, c, 2)``, between the four around each."""
    # The middle of box pixel q lies at image pixel BOX_PIXELS * q + (BOX_PIXELS - 1) / 2.
    point = (position.float() - 0.5 * (BOX_PIXELS - 1)) / BOX_PIXELS
    return sample_tensor(boxes, point[:, :, None])[..., 0].transpose(1, 2)


def _against_none(mass: torch.Tensor, none: torch.Tensor) -> torch.Tensor:
    """Weigh a position against "no canal here", with little regard to other positions: the path chooses among those.

    A shoulder or rib that takes half of the softmax must not end the canal's path at the last slices.
    """
    return mass / (mass + none + CANAL_CANDIDATES.weight_of_rivals * (1.0 - mass) + 1e-9)


def _peaks(probability: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the highest peaks: positions (i, j) ``(n, c, 2)``, masses and standard deviations ``(n, c)`` in pixels."""
    tuned = CANAL_CANDIDATES
    n = len(probability)
    # Peaks are sought on every second pixel, which is far finer than the windows, and a quarter of the work.
    smooth = functional.avg_pool2d(probability[:, None], 4, 2, 1)
    smooth = functional.avg_pool2d(smooth, 3, 1, 1)
    width = smooth.shape[3]
    is_peak = smooth == functional.max_pool2d(smooth, tuned.peak_window_pixels, 1, tuned.peak_window_pixels // 2)
    _, flat = torch.topk((smooth * is_peak)[:, 0].flatten(1), tuned.candidates_per_slice, dim=1)
    row, column = 2 * (flat // width), 2 * (flat % width)
    reach = torch.arange(-tuned.half_peak_pixels, tuned.half_peak_pixels + 1)
    padded = functional.pad(probability, (tuned.half_peak_pixels,) * 4)
    rows = (row[:, :, None, None] + reach[:, None] + tuned.half_peak_pixels).expand(-1, -1, len(reach), len(reach))
    columns = (column[:, :, None, None] + reach + tuned.half_peak_pixels).expand(-1, -1, len(reach), len(reach))
    window = padded[torch.arange(n)[:, None, None, None], rows, columns]
    mass = window.sum(dim=(2, 3))
    weight = window / mass.clamp(min=1e-9)[:, :, None, None]
    di = (weight * reach).sum(dim=(2, 3))
    dj = (weight * reach[:, None]).sum(dim=(2, 3))
    variance = (weight * (reach - di[..., None, None]) ** 2).sum(dim=(2, 3))
    variance = variance + (weight * (reach[:, None] - dj[..., None, None]) ** 2).sum(dim=(2, 3))
    taken = is_peak[:, 0].flatten(1).gather(1, flat)
    position = torch.stack([column + di, row + dj], dim=2)
    return position, torch.where(taken, mass, torch.zeros_like(mass)).clamp(max=1.0), (variance / 2.0).sqrt()
