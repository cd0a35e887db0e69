"""Which networks of the fracture ensemble are asked; knows their files only, so it needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

from VertebralFractureLib.errors import OptionRefused, WeightsDamaged
from VertebralFractureLib.options import ALL_MEMBERS, SINGLE_MODEL
from VertebralFractureLib.weights import WeightsFolder

PREFIX = "fracture-"


def choose_members(wanted: Sequence[str], weights: WeightsFolder | None = None) -> tuple[str, ...]:
    """Names without ``PREFIX`` for a choice as ``DetectionOptions.members`` holds it; by default of what ships.

    Raises:
        OptionRefused: when there is no such network; the sentence names those that there are.
        WeightsDamaged: when the folder holds none at all, or a file is damaged.
    """
    weights = weights or WeightsFolder()
    known = [name.removeprefix(PREFIX) for name in weights.names(PREFIX)]
    if not known:
        raise WeightsDamaged("The weights of the fracture model are missing; install VertebralFracture again.")
    if tuple(wanted) == ALL_MEMBERS:
        return tuple(known)
    if tuple(wanted) == SINGLE_MODEL:
        return (min(known, key=lambda name: _work(name, weights)),)
    for name in wanted:
        if name not in known:
            raise OptionRefused(
                f"There is no fracture network '{name}'; use all, single, or some of {', '.join(known)}."
            )
    return tuple(name for name in known if name in wanted)


def _work(name: str, folder: WeightsFolder) -> tuple[int, int, str]:
    """What orders the networks by the time they take: a 3D encoder takes twice that of a 2.5D one of its size."""
    weights = folder.load(PREFIX + name)
    return int(weights.config["network"]["dimensions"]), sum(value.size for value in weights.tensors.values()), name
