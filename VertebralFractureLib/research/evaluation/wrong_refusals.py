"""Good scans of unusual kinds, made of annotated ones: is each read, or is the file accused of what is not true?

    python -m VertebralFractureLib.research.evaluation.wrong_refusals --data DATA \
        --folds-folder Testing/FoldWeights --out refusals.jsonl [--kinds ...] [--scans ...]

Necks are cut out of scans that reach above T1; a CT myelogram is one whose thecal sac is filled, with the cord left
dark in it; sizes are scaled patients; an inexact sform is that of a NIfTI file whose axes are off orthonormal. Every
copy goes through reading, the canal and its plausibility checks with the weights of the scan's fold; rows are appended
to ``--out``, and what it holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.canal import detect_canal, load_canal_model
from VertebralFractureLib.canal.network import CanalModel
from VertebralFractureLib.errors import CanalFilled, ImplausibleGeometry, NotEvaluable, UnreadableVolume
from VertebralFractureLib.research.datasets import ReferenceSpine, read_annotation
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, reference_scans
from VertebralFractureLib.research.evaluation.canal_changes import scaled
from VertebralFractureLib.research.evaluation.evaluate_canal import nearest_distance_mm
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume, check_ct, read_volume, write_volume

_LEAST_MM = 80.0
_BELOW_CENTER_MM = 12.0
_SAC_MM, _CORD_MM = (16.0, 12.5), (9.0, 6.5)
"""Width and depth of the thecal sac and of the cord, as the phantom draws them."""
_BONE_FROM_HU = 230.0
_CORD_IN_SAC = 0.12
"""What of the contrast medium's density partial volume brings into the cord."""
_CONUS_AT = 0.25
"""Where the cord ends, as a fraction of the annotated canal from below."""

Copy = Callable[[CTVolume, ReferenceSpine], CTVolume | None]


def cut_above(level: str) -> Copy:
    """The part of a scan from the lower end of a vertebra upwards; None where that is too little."""

    def copy(ct: CTVolume, spine: ReferenceSpine) -> CTVolume | None:
        lowest = [vertebra.center_ras[2] for vertebra in spine.vertebrae if vertebra.level == level]
        axis = int(np.abs(ct.ijk_to_ras[2, :3]).argmax())
        count = ct.hu.shape[2 - axis]
        heights = ct.ijk_to_ras[2, 3] + ct.ijk_to_ras[2, axis] * np.arange(count)
        if not lowest or heights.max() - (lowest[0] - _BELOW_CENTER_MM) < _LEAST_MM:
            return None
        kept = np.flatnonzero(heights >= lowest[0] - _BELOW_CENTER_MM)
        matrix = ct.ijk_to_ras.copy()
        matrix[:3, 3] += matrix[:3, axis] * kept[0]
        hu = np.take(ct.hu, kept, axis=2 - axis)
        return replace(ct, hu=np.ascontiguousarray(hu), ijk_to_ras=matrix)

    return copy


def fill_canal(contrast_hu: float) -> Copy:
    """A CT myelogram: contrast medium in the sac along the annotated canal, the cord dark in it above the conus."""

    def copy(ct: CTVolume, spine: ReferenceSpine) -> CTVolume:
        line = spine.centerline.points_ras[np.argsort(spine.centerline.points_ras[:, 2])]
        conus = line[0, 2] + _CONUS_AT * np.ptp(line[:, 2])
        hu = ct.hu.astype(np.float32)
        # Only the box around the canal changes: a whole chest of points would need gigabytes.
        ijk = ct.ras_to_ijk_points(line)
        margin = _SAC_MM[0] / np.array(ct.spacing_mm) + 1.0
        low = np.maximum(np.floor(ijk.min(axis=0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(ijk.max(axis=0) + margin) + 1, ct.hu.shape[::-1]).astype(int)
        box = tuple(slice(int(low[axis]), int(high[axis])) for axis in (2, 1, 0))
        k, j, i = np.meshgrid(*(np.arange(part.start, part.stop) for part in box), indexing="ij")
        ras = ct.ijk_to_ras_points(np.stack([i, j, k], axis=-1).reshape(-1, 3).astype(np.float64)).reshape(*i.shape, 3)
        right = ras[..., 0] - np.interp(ras[..., 2], line[:, 2], line[:, 0])
        front = ras[..., 1] - np.interp(ras[..., 2], line[:, 2], line[:, 1])
        filled = _soft_ellipse(right, front, _SAC_MM)
        cord = np.where(ras[..., 2] > conus, _soft_ellipse(right, front, _CORD_MM), 0.0)
        filled *= 1.0 - (1.0 - _CORD_IN_SAC) * cord
        filled *= (ras[..., 2] >= line[0, 2]) & (ras[..., 2] <= line[-1, 2]) & (hu[box] < _BONE_FROM_HU)
        hu[box] = (1.0 - filled) * hu[box] + filled * contrast_hu
        return replace(ct, hu=np.round(hu).astype(np.int16))

    return copy


def _soft_ellipse(right: FloatArray, front: FloatArray, size_mm: tuple[float, float]) -> FloatArray:
    """1 inside the ellipse, 0 outside, with an edge of about a millimeter."""
    radius = np.hypot(2.0 * right / size_mm[0], 2.0 * front / size_mm[1])
    return np.asarray(np.clip(0.5 - (radius - 1.0) * 0.25 * (size_mm[0] + size_mm[1]), 0.0, 1.0))


def inexact_sform(off: float) -> Copy:
    """The scan through a NIfTI file whose sform alone gives the geometry, one axis ``off`` from orthonormal."""

    def copy(ct: CTVolume, _spine: ReferenceSpine) -> CTVolume:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "inexact.nii"
            write_volume(ct, path)
            content = bytearray(path.read_bytes())
            rows = ct.ijk_to_ras[:3].copy()
            rows[:, 0] += off * np.linalg.norm(rows[:, 0]) * rows[:, 1] / np.linalg.norm(rows[:, 1])
            struct.pack_into("<hh", content, 252, 0, 1)
            struct.pack_into("<12f", content, 280, *rows.ravel())
            path.write_bytes(content)
            return read_volume(path)

    return copy


def _scaled(factor: float) -> Copy:
    change = scaled(factor)
    return lambda ct, spine: change(ct, spine.centerline, np.random.default_rng(0)).ct


KINDS: Mapping[str, Copy] = {
    "as it is": lambda ct, _spine: ct,
    "neck alone (C1 to T1)": cut_above("T1"),
    "neck and T1 to T3": cut_above("T3"),
    "neck and T1 to T6": cut_above("T6"),
    "CT myelogram of 350 HU": fill_canal(350.0),
    "CT myelogram of 600 HU": fill_canal(600.0),
    "child (0.6)": _scaled(0.6),
    "very large adult (1.25)": _scaled(1.25),
    "sform 1e-4 off": inexact_sform(1e-4),
    "sform 3e-4 off": inexact_sform(3e-4),
    "sform 6e-4 off": inexact_sform(6e-4),
}
_READ_ONLY, _MOVED = ("sform",), ("child", "very large")


OUTCOMES = ("read", "refused by its name", "refused", "accused", "not shown")


def judge(name: str, ct: CTVolume, spine: ReferenceSpine, model: CanalModel) -> dict[str, object]:
    """What becomes of one copy: one of ``OUTCOMES``; accused means that the file is said to be wrong."""
    try:
        changed = KINDS[name](ct, spine)
        if changed is None:
            return {"outcome": "not shown"}
        changed = check_ct(changed)
        if name.startswith(_READ_ONLY):
            return {"outcome": "read"}
        found = detect_canal(changed, model)
    except UnreadableVolume as error:
        return {"outcome": "accused", "told": str(error)}
    except CanalFilled as error:
        return {"outcome": "refused by its name", "told": str(error)}
    except NotEvaluable as error:
        return {"outcome": "accused" if isinstance(error, ImplausibleGeometry) else "refused", "told": str(error)}
    line = found.centerline.positions_ras(np.arange(0.0, found.centerline.length_mm, 1.0))
    if name.startswith(_MOVED):
        return {"outcome": "read"}
    ends = spine.centerline.points_ras[:, 2]
    both = line[(line[:, 2] >= ends.min()) & (line[:, 2] <= ends.max())]
    truth = spine.centerline.positions_ras(np.arange(0.0, spine.centerline.length_mm, 1.0))
    off = nearest_distance_mm(both, truth)
    return {
        "outcome": "read",
        "median_mm": round(float(np.median(off)), 2),
        "p95_mm": round(float(np.percentile(off, 95.0)), 2),
    }


def _rows(scans: list[ReferenceScan], kinds: list[str], folds: Path, done: set[tuple[str, str]]) -> Iterator[str]:
    models: dict[int | None, CanalModel] = {}
    for scan in scans:
        wanted = [name for name in kinds if (scan.identifier, name) not in done]
        if not wanted:
            continue
        if scan.fold not in models:
            models[scan.fold] = load_canal_model(None if scan.fold is None else folds / f"fold{scan.fold}")
        ct, spine = read_volume(scan.volume_path), read_annotation(scan.annotation_path)
        for name in wanted:
            yield json.dumps({"scan": scan.identifier, "kind": name, **judge(name, ct, spine, models[scan.fold])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds-folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--scans", nargs="+", default=None, metavar="SCAN")
    arguments = parser.parse_args()
    held = arguments.out.read_text(encoding="utf-8").splitlines() if arguments.out.exists() else []
    done = {(row["scan"], row["kind"]) for row in map(json.loads, held)}
    scans = [s for s in reference_scans(arguments.data) if arguments.scans is None or s.identifier in arguments.scans]
    with arguments.out.open("a", encoding="utf-8") as file:
        for row in _rows(scans, arguments.kinds, arguments.folds_folder, done):
            file.write(row + "\n")
            file.flush()
            held.append(row)
    counts = Counter((row["kind"], row["outcome"]) for row in map(json.loads, held))
    print(f"| kind | {' | '.join(OUTCOMES)} |\n|{'---|' * (1 + len(OUTCOMES))}")
    for kind in KINDS:
        cells = [counts[kind, outcome] for outcome in OUTCOMES]
        if any(cells):
            print(f"| {kind} | {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
