"""``DetectionOptions``: what a person can choose about a detection, checked once for command, worker and panel.

Nothing here changes what the networks see but ``members``; ``device`` and ``threads`` change how fast, ``spacing_mm``
how fine the straightened volume is that is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VertebralFractureLib.errors import OptionRefused

AUTOMATIC, CPU, CUDA = "automatic", "cpu", "cuda"
DEVICES = (AUTOMATIC, CPU, CUDA)
ALL_MEMBERS, SINGLE_MODEL = ("all",), ("single",)
FORMER_SINGLE_MODEL = ("fastest",)
"""What scripts and saved parameter nodes of earlier versions say for ``SINGLE_MODEL``."""
FINEST_MM, COARSEST_MM = 0.5, 2.0
MOST_THREADS = 256
"""More than any computer that this runs on has cores; each thread takes memory of its own."""


@dataclass(frozen=True)
class DetectionOptions:
    """The defaults are what the published figures were measured with.

    Attributes:
        weights_folder: None means the weights that ship.
        threads: CPU threads; None leaves torch's own choice.
        device: ``AUTOMATIC`` takes an NVIDIA card where torch sees one, and the CPU where that fails.
        members: names of fracture networks, or ``ALL_MEMBERS`` or ``SINGLE_MODEL``.
        spacing_mm: of the straightened volume, in all three directions; None is the networks' own grid of 1 mm. The
            networks keep that grid whatever is chosen.

    Raises:
        OptionRefused: when a value is not one of these.
    """

    weights_folder: Path | None = None
    threads: int | None = None
    device: str = AUTOMATIC
    members: tuple[str, ...] = ALL_MEMBERS
    spacing_mm: float | None = None

    def __post_init__(self) -> None:
        if tuple(self.members) == FORMER_SINGLE_MODEL:
            object.__setattr__(self, "members", SINGLE_MODEL)
        if self.threads is not None and (not _is_number(self.threads) or int(self.threads) != self.threads):
            raise OptionRefused(f"The number of CPU threads cannot be {self.threads!r}; use a whole number.")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise OptionRefused(f"The number of CPU threads cannot be {self.threads}; use 1 to {MOST_THREADS}.")
        if self.device not in DEVICES:
            raise OptionRefused(f"There is no device {self.device!r}; use one of {', '.join(DEVICES)}.")
        if not self.members or not all(isinstance(name, str) and name for name in self.members):
            raise OptionRefused("Name the fracture networks to use, or say all or single.")
        spacing = self.spacing_mm
        if spacing is not None and not (_is_number(spacing) and FINEST_MM <= spacing <= COARSEST_MM):
            raise OptionRefused(
                f"The straightened volume cannot have {spacing!r} mm; use {FINEST_MM:g} to {COARSEST_MM:g}."
            )

    def to_request(self) -> dict[str, Any]:
        """As plain JSON values, for the worker."""
        return {
            "weights_folder": None if self.weights_folder is None else str(self.weights_folder),
            "threads": self.threads,
            "device": self.device,
            "members": list(self.members),
            "spacing_mm": self.spacing_mm,
        }

    @staticmethod
    def from_request(request: Mapping[str, Any]) -> DetectionOptions:
        """What ``to_request`` gave; what is missing or null is the default.

        Raises:
            OptionRefused: as the class.
        """
        weights, members = request.get("weights_folder"), request.get("members")
        if members is not None and not isinstance(members, list):
            raise OptionRefused("The members of a request are a list of names.")
        return DetectionOptions(
            weights_folder=Path(str(weights)) if weights else None,
            threads=request.get("threads"),
            device=request.get("device") or AUTOMATIC,
            members=tuple(members or ALL_MEMBERS),
            spacing_mm=request.get("spacing_mm"),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
