"""What both witnesses say of vertebrae whose grade is known: the networks' ordinal answers, and the measured heights.

Spines are the real scans as they are, with fractures and mimics of the first simulation, which taught the networks, and
with fractures of the second, which did not: how far networks are to be believed shows in fractures that they were not
taught. Each is judged as it is and in slices of 5 mm, by the weights of the fold that never saw its patient.

Drawing a spine, asking the networks and measuring heights are kept apart on disk, so that each can be done again by
itself, and a run that was broken off goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.fracture.patches import PatchGrid
from VertebralFractureLib.fracture.scoring import FractureMember, SpinePatches, run_member
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.changed_acquisition import thicken_slices
from VertebralFractureLib.research.simulation.fracture_shapes import (
    draw_grade_and_shape,
    random_fracture_count,
    random_plan,
)
from VertebralFractureLib.research.simulation.surface_fracture import with_surface_fractures
from VertebralFractureLib.research.training.fracture_data import (
    LabeledSpine,
    LabeledVertebra,
    boxes_of,
    eligible,
    labeled,
    simulated,
)
from VertebralFractureLib.research.training.fracture_members import shipped_names
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.weights import load_weights

logger = logging.getLogger(__name__)
FRACTURED_VERSIONS, MIMIC_VERSIONS, DRAWN_VERSIONS = 3, 1, 2
_MIMIC_SHARE = 0.2
_TRIES = 8
THICK_MM = 5.0
THIN_UP_TO_MM = 3.5
"""Slices of a scan up to which a thicker copy is something else than the scan itself."""
MEASURED = (
    *("level", "reason", "extent_mm", "heights_mm", "height_sd_mm", "complete", "center_ras", "detection_confidence"),
)
"""Fields of ``Vertebra`` that are kept of what the program finds."""
SCANNED, FRACTURED, MIMIC, DRAWN = "scan", "fractured", "mimic", "drawn"
"""What a version is: as scanned, with fractures or mimics of the first simulation, with fractures of the second."""
_KINDS = (SCANNED, *[FRACTURED] * FRACTURED_VERSIONS, *[MIMIC] * MIMIC_VERSIONS, *[DRAWN] * DRAWN_VERSIONS)


@dataclass(frozen=True)
class SpineKey:
    """Which spine: the scan, its version (0: as it is), what the version is, and the slices that it is shown in."""

    scan: str
    version: int
    kind: str
    slice_mm: float
    fold: int | None

    @property
    def patient(self) -> str:
        return patient_of_scan(self.scan)

    @property
    def name(self) -> str:
        return f"{self.scan}-{self.version}-{self.slice_mm:g}mm"


def list_spines(case: StraightCase) -> Iterator[SpineKey]:
    """All versions of a case, each in its own slices and, where these are thin, in ``THICK_MM`` too."""
    own_mm = max(case.source_spacing_mm)
    for version, kind in enumerate(_KINDS):
        for slice_mm in (own_mm, THICK_MM) if own_mm <= THIN_UP_TO_MM else (own_mm,):
            yield SpineKey(case.identifier, version, kind, slice_mm, case.fold)


def draw_spine(case: StraightCase, version: int) -> LabeledSpine | None:
    """A version of the case, a pure function of its number; None where no vertebra can be deformed."""
    volume = replace(case.volume, hu=np.asarray(case.volume.hu, dtype=np.float32))
    if version == 0:
        return LabeledSpine(volume, labeled(case).vertebrae)
    candidates = eligible(case, *case.volume.frame.range_mm)
    rng = np.random.default_rng([version - 1, *case.identifier.encode()])
    if _KINDS[version] == DRAWN:
        return _draw_surfaces(case, candidates, rng)
    fractures = random_fracture_count(rng) if _KINDS[version] == FRACTURED else 0
    plan, grades = random_plan(boxes_of(case), candidates, fractures, _MIMIC_SHARE, rng)
    return simulated(case, plan, grades, volume, rng) if plan else None


def _draw_surfaces(case: StraightCase, candidates: Sequence[int], rng: np.random.Generator) -> LabeledSpine | None:
    """The case with fractures of the second simulation; None where none of its bodies can be broken as drawn."""
    count = min(random_fracture_count(rng), len(candidates))
    for _ in range(_TRIES if count else 0):
        chosen = sorted(int(index) for index in rng.choice(candidates, count, replace=False))
        try:
            made = with_surface_fractures(case, {index: draw_grade_and_shape(rng) for index in chosen}, rng)
        except ValueError:
            continue
        spine = labeled(made.case)
        marked = [
            replace(one, simulated="fracture") if index in made.surfaces else one
            for index, one in enumerate(spine.vertebrae)
        ]
        return LabeledSpine(made.case.volume, tuple(marked))
    return None


def load_or_draw_spine(case: StraightCase, version: int, folder: Path) -> LabeledSpine | None:
    """As ``draw_spine``, kept in ``folder`` as whole HU."""
    path = folder / "spines" / f"{case.identifier}-{version}.npz"
    if version == 0:
        return draw_spine(case, 0)
    if not path.is_file():
        spine = draw_spine(case, version)
        if spine is None:
            return None
        volume = spine.volume
        _save_arrays(
            path,
            hu=np.round(volume.hu).clip(-1024, 3071).astype(np.int16),
            inside=np.packbits(volume.inside),
            frame=np.stack([volume.frame.origin_ras, volume.frame.right_ras, volume.frame.anterior_ras]),
            s_mm=volume.frame.s_mm,
            vertebrae=np.array(json.dumps([asdict(one) for one in spine.vertebrae])),
        )
    with np.load(path, allow_pickle=False) as kept:
        shape = kept["hu"].shape
        inside = np.unpackbits(kept["inside"], count=int(np.prod(shape))).reshape(shape).astype(np.bool_)
        frame = ReformatFrame(case.volume.frame.kind, kept["s_mm"], *kept["frame"])
        volume = replace(case.volume, hu=kept["hu"].astype(np.float32), inside=inside, frame=frame)
        rows = json.loads(str(kept["vertebrae"]))
    return LabeledSpine(
        volume, tuple(LabeledVertebra(**{**row, "heights_mm": tuple(row["heights_mm"])}) for row in rows)
    )


def _in_slices(spine: StraightenedVolume, key: SpineKey, own_mm: float) -> StraightenedVolume:
    if key.slice_mm == own_mm:
        return spine
    return thicken_slices(spine, key.slice_mm, float((key.version * 1.7 + len(key.scan)) % key.slice_mm))


def build_answers(
    cases: Sequence[StraightCase], folds_folder: Path, folder: Path, *, heights_again: bool = False
) -> list[dict[str, Any]]:
    """The truth and both witnesses of every spine, from ``folder`` where they are known there.

    Args:
        cases: real ones; those of no fold are judged by the first fold's weights.
        heights_again: measure all heights anew, for another way of measuring them.
    """
    answers = []
    loaded: dict[Path, tuple[dict[str, FractureMember], VertebraModels]] = {}
    # Version by version, so that a run that is broken off has all patients.
    for version, case in itertools.product(range(len(_KINDS)), cases):
        weights, own_mm = folds_folder / f"fold{case.fold or 0}", max(case.source_spacing_mm)
        if weights not in loaded:
            loaded[weights] = _load_members(weights), VertebraModels.load(weights)
        members, models = loaded[weights]
        spine: LabeledSpine | None = None
        for key in [key for key in list_spines(case) if key.version == version]:
            networks, heights = (folder / what / f"{key.name}.json" for what in ("networks", "heights"))
            if heights_again or not networks.is_file() or not heights.is_file():
                spine = spine or load_or_draw_spine(case, version, folder)
                if spine is None:
                    break
                shown = _in_slices(spine.volume, key, own_mm)
                if not networks.is_file():
                    _save_json(networks, _ask_networks(shown, members))
                if heights_again or not heights.is_file():
                    truth = [asdict(one) for one in spine.vertebrae]
                    _save_json(heights, {"truth": truth, "found": _measure(shown, models, key.slice_mm)})
                logger.info("%s", key.name)
            answers.append({**asdict(key), "patient": key.patient, **_read(networks), **_read(heights)})
    return answers


def _load_members(weights: Path) -> dict[str, FractureMember]:
    return {name: FractureMember.from_weights(load_weights(PREFIX + name, weights)) for name in shipped_names()}


def _ask_networks(spine: StraightenedVolume, members: Mapping[str, FractureMember]) -> dict[str, Any]:
    """Logits ``(n, 3)`` of every member at every position, not calibrated."""
    sampled: dict[PatchGrid, SpinePatches] = {}
    logits: dict[str, list[list[float]]] = {}
    for name, member in members.items():
        if member.grid not in sampled:
            sampled[member.grid] = SpinePatches.of(spine, member.grid)
        scores = run_member(member.network, sampled[member.grid])
        logits[name] = np.round(scores.logits, 4).tolist()
    return {
        "positions_mm": scores.positions_mm.tolist(),
        "inside_fraction": np.round(scores.inside_fraction, 4).tolist(),
        "logits": logits,
    }


def _measure(spine: StraightenedVolume, models: VertebraModels, slice_mm: float) -> list[dict[str, Any]]:
    """What the program finds and measures; heights at any thickness."""
    found = localize_vertebrae(spine, models, step_along_mm=slice_mm)
    return [{name: asdict(one)[name] for name in MEASURED} for one in found]


def _save_arrays(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(partial, **arrays)
    partial.rename(path)


def _save_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.rename(path)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
