"""Which tuned number does a result hang on? Each is moved by 20 % either way, and the detection made again.

Run: ``python Testing/Benchmarks/benchmark_sensitivity.py DATA --out MOVES.jsonl``, where DATA holds ``NAME.nii.gz``;
``--scans`` and ``--only`` choose scans and numbers. Every move is one line of ``--out``, and a second run goes on where
the first ended. A number whose move changes a result is moved by 5 %, too. ``--table MOVES.jsonl`` prints what was
found.

Whole numbers move by at least 1 and probabilities stay below 1. What a reader's edits hang on is left out, for no
detection asks for it. What comes before a moved number is kept: networks answer from memory what they were asked
before, and the spine volume and the fracture scores are those of the same centerline.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VertebralFractureLib import pipeline
from VertebralFractureLib.canal import Centerline, detect_centerline
from VertebralFractureLib.canal.network import CanalNetwork
from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.errors import VertebralFractureError
from VertebralFractureLib.fracture.scoring import FractureEnsemble
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import (
    GROUPS,
    SCORING,
    VOLUME_CHECKS,
    ChosenOn,
    Threshold,
    moved_threshold,
    thresholds,
)
from VertebralFractureLib.vertebrae import assembly
from VertebralFractureLib.vertebrae.body_network import BodyNetwork
from VertebralFractureLib.vertebrae.level_network import LevelNetwork
from VertebralFractureLib.vertebrae.norms import LEVEL_NORMS
from VertebralFractureLib.volume import CTVolume, check_ct, read_volume

FAR, NEAR = 0.20, 0.05
NOT_IN_A_DETECTION = ("CANAL_EDITING.", "CORRECTION.", "REFORMATTING.alignment_", "ENDPLATES.click_")
TWO_AT_ONCE = ("CANAL_CANDIDATES.peak_window_pixels", "CORTICAL_REFINEMENT.rays")
"""Odd, or even, by what they are for."""
OF_THE_CANAL = ("CANAL", "CORTICAL", "BONY", "VERTEBRAL")
SAME_PLACE_MM = 10.0
NORMS = "NORMS."
RESULTS = ("evaluable", "vertebra", "level", "status", "grade", "suspected")
KINDS = (*RESULTS, "bone", "borderline")


class Memory:
    """What was computed for one scan with all numbers where they are, by what it was computed from."""

    def __init__(self) -> None:
        self._answers: dict[Any, Any] = {}
        self._is_learning = True

    def answer(self, key: Any, compute: Callable[[], Any]) -> Any:
        if key in self._answers:
            return self._answers[key]
        found = compute()
        if self._is_learning:
            self._answers[key] = found
        return found

    def learn(self) -> None:
        """Forget the last scan, and keep what is computed from now on."""
        self._answers.clear()
        self._is_learning = True

    def stop_learning(self) -> None:
        """Keep nothing of what a moved number brings: it is asked for once."""
        self._is_learning = False


MEMORY = Memory()


def numbers_of(*prefixes: str) -> tuple[Any, ...]:
    """The values of all groups whose name begins so: what an answer that may be kept depends on."""
    return tuple(astuple(group) for name, group in GROUPS.items() if name.startswith(prefixes))


@contextmanager
def remembered_steps() -> Iterator[None]:
    """Inside, networks and later steps answer from memory what they answered before.

    The networks' weights never change here; what a later step found in a spine volume stays as long as its own numbers
    do.
    """
    with ExitStack() as stack:
        for network in (CanalNetwork, BodyNetwork, LevelNetwork):
            _replace(stack, network, "forward", _remembering_network(network))
        for module, name, numbers in (
            (FractureEnsemble, "score_positions", _asked_for_by_scores),
            (assembly, "localize_bodies_in_their_planes", lambda: numbers_of("BODY", "ENDPL", "MID", "LOCAL")),
            (assembly, "label_bodies", lambda: numbers_of("LABELING")),
        ):
            _replace(stack, module, name, _remembering_step(name, vars(module)[name], numbers))
        yield


def _replace(stack: ExitStack, owner: Any, name: str, new: Callable[..., Any]) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, new)


def _remembering_network(network: type[torch.nn.Module]) -> Callable[..., Any]:
    compute = network.forward

    def forward(self: torch.nn.Module, *inputs: torch.Tensor) -> Any:
        values = (x.float().contiguous().numpy() for x in inputs)
        key = (network.__name__, *((one.shape, zlib.crc32(one.tobytes())) for one in values))
        return MEMORY.answer(key, lambda: compute(self, *inputs))

    return forward


def _remembering_step(
    name: str, compute: Callable[..., Any], numbers: Callable[[], tuple[Any, ...]]
) -> Callable[..., Any]:
    def step(*given: Any, **options: Any) -> Any:
        spine = next(one for one in given if isinstance(one, StraightenedVolume))
        extents = tuple(tuple(one) for one in given[1]) if name == "label_bodies" else ()
        return MEMORY.answer((name, id(spine), extents, numbers()), lambda: compute(*given, **options))

    return step


def _asked_for_by_scores() -> tuple[Any, ...]:
    return SCORING.least_inside, SCORING.most_logit, SCORING.least_positions


class Scan:
    """One CT whose detection is made again and again, with another number moved each time."""

    def __init__(self, ct: CTVolume) -> None:
        self._ct = ct
        self._options = DetectionOptions(device="cpu", threads=1)
        self._models = Models.load(self._options)
        MEMORY.learn()

    def detect(self) -> Any:
        """The report."""
        checked = check_ct(self._ct)
        canal_numbers = numbers_of(*OF_THE_CANAL)
        line = MEMORY.answer(("canal", canal_numbers), lambda: _centerline_or_error(checked))
        rest = tuple(astuple(group) for name, group in GROUPS.items() if not name.startswith((*OF_THE_CANAL, "VOLUME")))
        norms = tuple(LEVEL_NORMS.values())
        where = line.points_ras.tobytes() if isinstance(line, Centerline) else str(line)
        return MEMORY.answer(
            ("report", where, rest, VOLUME_CHECKS.spacing_rounding_mm, norms), lambda: self._judge(checked, line)
        )

    def _judge(self, ct: CTVolume, line: Centerline | VertebralFractureError) -> Any:
        def find_canal(_models: Models, _progress: StageProgress) -> Centerline:
            if isinstance(line, Centerline):
                return line
            raise line

        return pipeline.detect(
            ct,
            find_canal=find_canal,
            straightened=lambda curve, _: self._spine(ct, curve),
            models=self._models,
            options=self._options,
        ).report

    def _spine(self, ct: CTVolume, line: Centerline) -> StraightenedVolume:
        key = ("spine", line.points_ras.tobytes(), numbers_of("REFORMATTING"))
        return MEMORY.answer(key, lambda: straighten(ct, line, threads=1))  # type: ignore[no-any-return]


def _centerline_or_error(ct: CTVolume) -> Centerline | VertebralFractureError:
    try:
        return detect_centerline(ct)
    except VertebralFractureError as error:
        return error


# ---------------------------------------------------------------------------------------------------------------- moves


def all_numbers() -> list[Threshold]:
    """Those that a detection asks for, one for each part of a tuple, and the norms that are not measured."""
    found: list[Threshold] = []
    for one in thresholds():
        if one.name.startswith(NOT_IN_A_DETECTION):
            continue
        if isinstance(one.value, tuple):
            found += [replace(one, name=f"{one.name}[{i}]", value=value) for i, value in enumerate(one.value)]
        else:
            found.append(one)
    source = "vertebrae/norms.py"
    for level, norm in ((level, norm) for level, norm in LEVEL_NORMS.items() if not norm.measured):
        for part in ("anterior", "middle", "posterior_over_above"):
            value = getattr(norm, part)
            if value is not None:
                found.append(Threshold(f"{NORMS}{level}.{part}", value, "", "", ChosenOn.JUDGMENT, source))
    return found


def moved_value(one: Threshold, share: float) -> float:
    """The value moved by ``share`` of itself; whole numbers by at least 1, probabilities to 1 at most."""
    value = float(one.value)  # type: ignore[arg-type]
    if isinstance(one.value, int):
        least = 2 if one.name in TWO_AT_ONCE else 1
        step = max(least, least * round(abs(share) * value / least))
        return int(value) + int(math.copysign(step, share))
    moved = value + share * abs(value)
    is_probability = re.search("probab|share|known|inside|believed|threshold", one.name) is not None
    return min(moved, 1.0) if is_probability and 0.0 < value <= 1.0 else moved


@contextmanager
def moved(one: Threshold, value: float) -> Iterator[None]:
    if one.name.startswith(NORMS):
        level, part = one.name.removeprefix(NORMS).split(".")
        before = LEVEL_NORMS[level]
        LEVEL_NORMS[level] = replace(before, **{part: value})  # type: ignore[arg-type]
        try:
            yield
        finally:
            LEVEL_NORMS[level] = before
        return
    name, _, index = one.name.partition("[")
    if index:
        group, field = name.split(".")
        parts = list(getattr(GROUPS[group], field))
        parts[int(index.rstrip("]"))] = value
        with moved_threshold(name, tuple(parts)):
            yield
        return
    with moved_threshold(name, value):
        yield


# -------------------------------------------------------------------------------------------------------------- changes


def changes(before: Any, after: Any) -> dict[str, Any]:
    """What of a result is another one, and by how much the numbers moved."""
    found: dict[str, list[str]] = defaultdict(list)
    if before.status != after.status:
        return {"changed": {"evaluable": [f"{before.status} to {after.status}: {after.reason}"]}}
    heights, probability, curve = 0.0, 0.0, curve_distance_mm(before, after)
    left = list(after.vertebrae)
    for one in before.vertebrae:
        near = [other for other in left if math.dist(other.center_ras, one.center_ras) <= SAME_PLACE_MM]
        if not near:
            found["vertebra"].append(f"{one.label} lost")
            continue
        other = min(near, key=lambda v: math.dist(v.center_ras, one.center_ras))
        left.remove(other)
        for kind, mine, theirs in (
            ("level", one.level, other.level),
            ("status", str(one.status), str(other.status)),
            ("grade", one.grade, other.grade),
            ("suspected", is_suspected(before, one), is_suspected(after, other)),
            ("bone", one.trabecular_hu is not None, other.trabecular_hu is not None),
            ("borderline", one.borderline, other.borderline),
        ):
            if mine != theirs:
                found[kind].append(f"{one.label} {mine} to {theirs}")
        if one.heights_mm and other.heights_mm:
            mine_mm, theirs_mm = ((h.anterior, h.middle, h.posterior) for h in (one.heights_mm, other.heights_mm))
            heights = max(heights, *(abs(a - b) for a, b in zip(mine_mm, theirs_mm, strict=True)))
        if one.fracture_probability is not None and other.fracture_probability is not None:
            probability = max(probability, abs(one.fracture_probability - other.fracture_probability))
    found["vertebra"] += [f"{other.label} new" for other in left]
    return {
        "changed": {kind: what for kind, what in found.items() if what},
        "heights_mm": round(heights, 4),
        "probability": round(probability, 4),
        "curve_mm": round(curve, 3),
    }


def is_suspected(report: Any, vertebra: Any) -> bool:
    probability = vertebra.fracture_probability
    return probability is not None and probability >= report.scan.decision_threshold


def curve_distance_mm(before: Any, after: Any) -> float:
    """The farthest that the centerline moved sideways, at heights that both curves reach."""
    a, b = (np.array(report.centerline.points_ras).reshape(-1, 3) for report in (before, after))
    if len(a) < 2 or len(b) < 2:
        return 0.0
    low, high = max(a[:, 2].min(), b[:, 2].min()), min(a[:, 2].max(), b[:, 2].max())
    heights = np.linspace(low, high, 200)
    first, second = (
        np.stack([np.interp(heights, c[np.argsort(c[:, 2]), 2], c[np.argsort(c[:, 2]), i]) for i in (0, 1)], axis=1)
        for c in (a, b)
    )
    return float(np.linalg.norm(first - second, axis=1).max())


# ----------------------------------------------------------------------------------------------------------------- runs


def run(folder: Path, names: list[str], only: list[str], out: Path) -> None:
    done = {(row["scan"], row["number"], row["share"]) for row in read_rows(out)}
    numbers = [one for one in all_numbers() if not only or one.name.startswith(tuple(only))]
    with remembered_steps(), out.open("a", encoding="utf-8") as file:
        for name in names:
            started = time.monotonic()
            scan = Scan(read_volume(folder / f"{name}.nii.gz"))
            before = scan.detect()
            MEMORY.stop_learning()

            def write(row: dict[str, Any]) -> None:
                file.write(json.dumps(row) + "\n")
                file.flush()

            for one in numbers:
                for sign in (1.0, -1.0):
                    if (name, one.name, sign * FAR) in done:
                        continue
                    row = one_move(scan, before, one, sign * FAR)
                    write({"scan": name, **row})
                    if set(row["changed"]) & set(RESULTS):
                        write({"scan": name, **one_move(scan, before, one, sign * NEAR)})
            print(f"{name}: {len(numbers)} numbers in {time.monotonic() - started:.0f} s", flush=True)


def one_move(scan: Scan, before: Any, one: Threshold, share: float) -> dict[str, Any]:
    value = moved_value(one, share)
    try:
        with moved(one, value):
            found = changes(before, scan.detect())
    except (VertebralFractureError, ArithmeticError, LookupError, ValueError, RuntimeError) as error:
        found = {"changed": {"evaluable": [f"{type(error).__name__}: {error}"]}}
    return {"number": one.name, "value": one.value, "moved_to": value, "share": share, **found}


def read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown: the numbers that a result hangs on, worst first, then those that never mattered."""
    scans = sorted({row["scan"] for row in rows})
    by_number: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_number[row["number"]].append(row)
    lines = [
        f"{len(scans)} scans, {len(by_number)} numbers, {sum(abs(r['share']) == FAR for r in rows)} moves by 20 %.",
        "",
        "| number | value | scans | changed by 20 % | by 5 % | " + " | ".join(KINDS) + " | heights, mm | probability |",
        "|---|---|---|---|---|" + "---|" * (len(KINDS) + 2),
    ]

    def scans_changed(found: list[dict[str, Any]], share: float, kinds: tuple[str, ...] = KINDS) -> set[str]:
        return {r["scan"] for r in found if abs(r["share"]) == share and set(r["changed"]) & set(kinds)}

    order = sorted(
        by_number,
        key=lambda n: (-len(scans_changed(by_number[n], FAR, RESULTS)), -len(scans_changed(by_number[n], FAR)), n),
    )
    still = []
    for number in order:
        found = by_number[number]
        far = [row for row in found if abs(row["share"]) == FAR]
        heights = max((row.get("heights_mm", 0.0) for row in far), default=0.0)
        probability = max((row.get("probability", 0.0) for row in far), default=0.0)
        if not scans_changed(found, FAR):
            still.append((number, heights, probability))
            continue
        counts = " | ".join(str(len(scans_changed(found, FAR, (kind,))) or "") for kind in KINDS)
        lines.append(
            f"| {number} | {found[0]['value']:g} | {len({row['scan'] for row in far})} | "
            f"{len(scans_changed(found, FAR))} | "
            f"{len(scans_changed(found, NEAR)) or ''} | {counts} | {heights:.2f} | {probability:.3f} |"
        )
    moved_numbers = [f"{n} ({h:.2f} mm, {p:.3f})" for n, h, p in still if h >= 0.005 or p >= 0.0005]
    nothing = [n for n, h, p in still if h < 0.005 and p < 0.0005]
    lines += ["", "No result changed, but heights or probabilities moved: " + ", ".join(moved_numbers) + "."]
    lines += ["", "Nothing moved: " + ", ".join(nothing) + "."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of NAME.nii.gz")
    parser.add_argument("--scans", nargs="+", help="names; all of the folder otherwise")
    parser.add_argument("--only", nargs="+", default=[], help="numbers whose names begin so, for example BODY_SEARCH")
    parser.add_argument("--out", type=Path, default=Path("sensitivity.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="print what earlier runs found, and run nothing")
    chosen = parser.parse_args()
    if chosen.table:
        print(table([row for path in chosen.table for row in read_rows(path)]))
        return
    if chosen.data is None:
        parser.error("a folder of volumes is needed")
    names = chosen.scans or sorted(path.name.removesuffix(".nii.gz") for path in chosen.data.glob("*.nii.gz"))
    run(chosen.data, names, chosen.only, chosen.out)


if __name__ == "__main__":
    main()
