"""The variants of the fracture network that can be trained: {2.5D, 3D} x {straightened, sagittal} x {sequence, patch}.

The first two of ``SHIPPED`` differ both in what they see and in how they see it, because an ensemble gains from that.
"""

from __future__ import annotations

from dataclasses import dataclass

from VertebralFractureLib.fracture.network import NetworkOptions
from VertebralFractureLib.fracture.patches import SAGITTAL, STRAIGHTENED, PatchGrid

_FIRST_ANTERIOR_MM = -14.0
GRIDS: dict[str, PatchGrid] = {
    "3d-straightened": PatchGrid(STRAIGHTENED, (28, 28, 16), (1.5, 2.0, 2.5), _FIRST_ANTERIOR_MM, (1, 3, 3)),
    "3d-sagittal": PatchGrid(SAGITTAL, (28, 28, 16), (1.5, 2.0, 2.5), _FIRST_ANTERIOR_MM, (1, 3, 3)),
    "25d-sagittal": PatchGrid(SAGITTAL, (44, 48, 5), (1.0, 1.2, 5.0), _FIRST_ANTERIOR_MM, (1, 1, 5)),
}
"""42 x 56 x 40 mm (s, a, r) in 3D; 44 x 58 x 25 mm in five sagittal slabs in 2.5D."""


@dataclass(frozen=True)
class Member:
    grid_name: str
    network: NetworkOptions

    @property
    def grid(self) -> PatchGrid:
        return GRIDS[self.grid_name]


def _member(grid_name: str, *, uses_sequence: bool = True) -> Member:
    grid = GRIDS[grid_name]
    dimensions = 3 if grid_name.startswith("3d") else 2
    channels = (12, 24, 48) if dimensions == 3 else (16, 32, 64)
    return Member(grid_name, NetworkOptions(dimensions, grid.shape, channels, uses_sequence=uses_sequence))


MEMBERS: dict[str, Member] = {
    **{name: _member(name) for name in GRIDS},
    **{f"{name}-patchwise": _member(name, uses_sequence=False) for name in GRIDS},
}
SHIPPED: tuple[str, ...] = ("3d-straightened", "25d-sagittal")
