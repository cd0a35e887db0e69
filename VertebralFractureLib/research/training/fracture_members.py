"""The variants of the fracture network that can be trained: {2.5D, 3D} x {straightened, sagittal} x {whole, without
its sequence model, without its position code}.

Two members of ``SHIPPED`` see rigid sagittal patches, in which a wedge keeps its angle: one folds the slabs of a patch
into channels (2.5D), the other convolves through them (3D). The third sees patches that bend with the canal.
"""

from __future__ import annotations

from dataclasses import dataclass

from VertebralFractureLib.fracture.network import NetworkOptions
from VertebralFractureLib.fracture.patches import SAGITTAL, STRAIGHTENED, PatchGrid

_FIRST_ANTERIOR_MM = -14.0
_SLABS = ((44, 48, 5), (1.0, 1.2, 5.0))
GRIDS: dict[str, PatchGrid] = {
    "slabs-sagittal": PatchGrid(SAGITTAL, *_SLABS, _FIRST_ANTERIOR_MM, (1, 1, 5)),
    "slabs-straightened": PatchGrid(STRAIGHTENED, *_SLABS, _FIRST_ANTERIOR_MM, (1, 1, 5)),
}
"""44 x 58 x 25 mm (s, a, r) in five slabs of 5 mm."""

_PREFIXES = {2: "25d", 3: "3d"}


@dataclass(frozen=True)
class Member:
    """A variant: the grid of its patches, its network, and how its training goes.

    In an ensemble it takes ``first_steps`` on phantoms alone, which no fold needs to leave out, so that folds and the
    two representations of a network share them; ``first`` is the variant that takes them. Then ``steps`` follow on
    everything, at ``learning_rate``.
    """

    grid_name: str
    network: NetworkOptions
    first: str
    first_steps: int
    steps: int
    learning_rate: float

    @property
    def grid(self) -> PatchGrid:
        return GRIDS[self.grid_name]


def _member(
    dimensions: int, representation: str, suffix: str, *, uses_sequence: bool = True, uses_position: bool = True
) -> Member:
    name = f"slabs-{representation}"
    channels = (8, 16, 32) if dimensions == 3 else (16, 32, 64)
    shape = GRIDS[name].shape
    return Member(
        name,
        NetworkOptions(
            dimensions,
            shape,
            channels,
            uses_sequence=uses_sequence,
            halves_right=False,
            uses_position=uses_position,
        ),
        first=f"{_PREFIXES[dimensions]}-{SAGITTAL}{suffix}",
        first_steps=2000 if dimensions == 3 else 4000,
        steps=4000 if dimensions == 3 else 7500,
        learning_rate=1.5e-3,
    )


_WITHOUT = {"": {}, "-patchwise": {"uses_sequence": False}, "-unplaced": {"uses_position": False}}
MEMBERS: dict[str, Member] = {
    f"{prefix}-{representation}{suffix}": _member(dimensions, representation, suffix, **without)
    for dimensions, prefix in _PREFIXES.items()
    for representation in (SAGITTAL, STRAIGHTENED)
    for suffix, without in _WITHOUT.items()
}
SHIPPED: tuple[str, ...] = ("25d-sagittal", "25d-straightened", "3d-sagittal")
SEEDS = 2
"""Of each variant that ships: the luck of a training is in the ensemble, and not in the choice of it."""


def member_name(variant: str, seed: int) -> str:
    """What the weights of a variant trained with ``seed`` are called in an ensemble: the variant's name for seed 0."""
    return variant if seed == 0 else f"{variant}-seed{seed}"


def shipped_names() -> list[str]:
    """The names of all members that ship."""
    return [member_name(variant, seed) for variant in SHIPPED for seed in range(SEEDS)]
