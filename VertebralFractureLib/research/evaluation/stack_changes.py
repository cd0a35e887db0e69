"""Copies of a scan whose slices were lost, copied, cut out, moved or exchanged, and copies that only look otherwise.

    python -m VertebralFractureLib.research.evaluation.stack_changes SCAN.nii.gz ... [--places 3] [--kinds KIND ...]

counts for every kind of damage, at random places of every scan, how often ``volume.continuity`` finds it, how often
the volume is refused, and how often something is found in the scans as they are. Whole detections on such copies are
those of ``changed_copies``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.errors import BrokenStack
from VertebralFractureLib.research.evaluation.canal_changes import Change, ChangedScan, Cut
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume, read_volume
from VertebralFractureLib.volume.continuity import find_slice_axis, refuse_broken_stack

_FROM_THE_ENDS = 5
"""Slices at either end in which nothing is changed."""

SliceChange = Callable[[NDArray[np.generic], int, int], NDArray[np.generic]]
"""From the slices ``[n, ...]``, the first slice to change and how many, to the changed slices."""


def _filled(value: int) -> SliceChange:
    def change(slices: NDArray[np.generic], at: int, count: int) -> NDArray[np.generic]:
        changed = np.array(slices)
        changed[at : at + count] = value
        return changed

    return change


def _copied(slices: NDArray[np.generic], at: int, count: int) -> NDArray[np.generic]:
    changed = np.array(slices)
    changed[at : at + count] = changed[at - 1]
    return changed


def _cut_out(slices: NDArray[np.generic], at: int, count: int) -> NDArray[np.generic]:
    return np.concatenate([slices[:at], slices[at + count :]])


def _mirrored(slices: NDArray[np.generic], at: int, count: int) -> NDArray[np.generic]:
    changed = np.array(slices)
    changed[at : at + count] = slices[at : at + count, :, ::-1]
    return changed


def _reversed(slices: NDArray[np.generic], at: int, count: int) -> NDArray[np.generic]:
    changed = np.array(slices)
    changed[at : at + count] = slices[at : at + count][::-1]
    return changed


def _exchanged(slices: NDArray[np.generic], _at: int, _count: int) -> NDArray[np.generic]:
    half = len(slices) // 2
    return np.concatenate([slices[half:], slices[:half]])


def _stacked(slices: NDArray[np.generic], _at: int, _count: int) -> NDArray[np.generic]:
    return np.concatenate([slices, slices])


def _swapped(slices: NDArray[np.generic], at: int, _count: int) -> NDArray[np.generic]:
    changed = np.array(slices)
    changed[[at, at + 1]] = slices[[at + 1, at]]
    return changed


def _interleaved(slices: NDArray[np.generic], _at: int, _count: int) -> NDArray[np.generic]:
    half = len(slices) // 2
    changed = np.array(slices[: 2 * half])
    changed[::2], changed[1::2] = slices[:half], slices[half : 2 * half]
    return changed


SLICE_CHANGES: Mapping[str, tuple[SliceChange, float]] = {
    "10 mm filled with zeros": (_filled(0), 10.0),
    "10 mm filled with air": (_filled(-1024), 10.0),
    "10 mm filled with the slice before": (_copied, 10.0),
    "one slice filled with the slice before": (_copied, 0.0),
    "5 mm cut out": (_cut_out, 5.0),
    "10 mm cut out": (_cut_out, 10.0),
    "20 mm cut out": (_cut_out, 20.0),
    "40 mm cut out": (_cut_out, 40.0),
    "60 mm mirrored": (_mirrored, 60.0),
    "60 mm in reverse order": (_reversed, 60.0),
    "two slices exchanged": (_swapped, 0.0),
    "halves interleaved": (_interleaved, 0.0),
    "halves exchanged": (_exchanged, 0.0),
    "stacked on itself": (_stacked, 0.0),
}
"""What is done to the slices, and over how many mm; 0: to one slice, or to all."""


def change_slices(ct: CTVolume, name: str, rng: np.random.Generator) -> CTVolume:
    """A copy changed at a random place; slices are those across the axis on which they lie.

    Raises:
        ValueError: when the scan is too short for this change.
    """
    change, length_mm = SLICE_CHANGES[name]
    return _change_somewhere(ct, name, change, length_mm, rng).ct


def _change_somewhere(
    ct: CTVolume, name: str, change: SliceChange, length_mm: float, rng: np.random.Generator
) -> ChangedScan:
    axis = find_slice_axis(ct)
    slices = np.moveaxis(ct.hu, axis, 0)
    sample = slices[:, ::5, ::5].reshape(len(slices), -1)
    shown = np.flatnonzero(sample.max(axis=1) != sample.min(axis=1))
    slices = slices[shown[0] : shown[-1] + 1]
    count = max(1, round(length_mm / ct.spacing_mm[2 - axis]))
    last = len(slices) - count - _FROM_THE_ENDS
    if last <= _FROM_THE_ENDS:
        raise ValueError(f"'{ct.name}' has too few slices for '{name}'.")
    at = int(rng.integers(_FROM_THE_ENDS, last))
    changed = change(slices, at, count)
    moved = ct.ijk_to_ras.copy()
    moved[:3, 3] += shown[0] * moved[:3, 2 - axis]
    copy = replace(ct, hu=np.ascontiguousarray(np.moveaxis(changed, 0, axis)), ijk_to_ras=moved)
    return ChangedScan(copy, np.eye(4), Cut(2 - axis, at, count) if change is _cut_out else None)


def changed_slices(name: str) -> Change:
    """As ``change_slices``, for ``changed_copies``."""
    change, length_mm = SLICE_CHANGES[name]
    return lambda ct, _line, rng: _change_somewhere(ct, name, change, length_mm, rng)


def block_lost(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
    """Slices over 3 to 60 mm (no more than a fifth of the scan) lost: zeros, air, the slice before, or cut out."""
    axis = find_slice_axis(ct)
    most_mm = min(60.0, 0.2 * ct.hu.shape[axis] * ct.spacing_mm[2 - axis])
    change = (_filled(0), _filled(-1024), _copied, _cut_out)[int(rng.integers(4))]
    return _change_somewhere(ct, "a block of slices lost", change, float(rng.uniform(3.0, most_mm)), rng)


def moved_origin(by_mm: float) -> Change:
    """The scan at an origin that is ``by_mm`` away along each axis of the patient."""

    def change(ct: CTVolume, _line: Centerline, _rng: np.random.Generator) -> ChangedScan:
        return ChangedScan(replace(ct, ijk_to_ras=_translation(by_mm) @ ct.ijk_to_ras), _translation(-by_mm))

    return change


def cropped_in_plane(most: int) -> Change:
    """The scan without up to ``most`` voxels at each side of its slices."""

    def change(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
        before_i, after_i, before_j, after_j = rng.integers(1, most + 1, 4).tolist()
        _, j, i = ct.shape_kji
        matrix = ct.ijk_to_ras.copy()
        matrix[:3, 3] = ct.ijk_to_ras_points(np.array([[before_i, before_j, 0.0]]))[0]
        hu = np.ascontiguousarray(ct.hu[:, before_j : j - after_j, before_i : i - after_i])
        return ChangedScan(replace(ct, hu=hu, ijk_to_ras=matrix), np.eye(4))

    return change


def more_air(slices: int) -> Change:
    """The scan with so many slices of air beyond either end."""

    def change(ct: CTVolume, _line: Centerline, _rng: np.random.Generator) -> ChangedScan:
        hu = np.pad(ct.hu, ((slices, slices), (0, 0), (0, 0)), constant_values=-1024)
        matrix = ct.ijk_to_ras.copy()
        matrix[:3, 3] -= slices * matrix[:3, 2]
        return ChangedScan(replace(ct, hu=hu, ijk_to_ras=matrix), np.eye(4))

    return change


def _translation(by_mm: float) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, 3] = by_mm
    return matrix


def count_found(
    scans: Sequence[Path], places: int, kinds: Sequence[str] = tuple(SLICE_CHANGES)
) -> Mapping[str, Counter[str]]:
    """For every kind of change how many copies were made, found to be damaged, and refused."""
    counted: dict[str, Counter[str]] = {name: Counter() for name in ("as it is", *kinds)}
    rng = np.random.default_rng(0)
    for path in scans:
        ct = read_volume(path)
        _count(counted["as it is"], ct)
        for name in kinds:
            for _ in range(places):
                try:
                    _count(counted[name], change_slices(ct, name, rng))
                except ValueError:
                    counted[name]["too short"] += 1
    return counted


def _count(counter: Counter[str], ct: CTVolume) -> None:
    counter["copies"] += 1
    counter["found"] += bool(ct.continuity.faults)
    try:
        refuse_broken_stack(ct)
    except BrokenStack:
        counter["refused"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--places", type=int, default=3, help="copies of each kind and scan")
    parser.add_argument("--kinds", nargs="+", choices=list(SLICE_CHANGES), default=list(SLICE_CHANGES))
    arguments = parser.parse_args()
    print("| copy | copies | found | refused |\n|---|---|---|---|")
    for name, counter in count_found(arguments.scans, arguments.places, arguments.kinds).items():
        print(f"| {name} | {counter['copies']} | {counter['found']} | {counter['refused']} |")


if __name__ == "__main__":
    main()
