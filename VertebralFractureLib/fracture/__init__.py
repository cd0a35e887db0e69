"""Step 4: ordered 3D patches, a shared encoder and a convolutional sequence model give p at every position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.members import PREFIX, chosen_members
from VertebralFractureLib.options import ALL_MEMBERS
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.weights import load_weights

__all__ = ["FractureSequence", "fracture_weights_sha256", "score_sequence", "score_series"]


def score_sequence(
    spine: StraightenedVolume,
    *,
    weights_folder: Path | None = None,
    members: Sequence[str] = ALL_MEMBERS,
    device: str = "cpu",
    progress: StageProgress | None = None,
) -> FractureSequence:
    """The ensemble's fracture probability along a spine; see ``fracture.scoring`` (torch is imported here, not before).

    Raises:
        NotEvaluable: when too little of the spine lies inside the volume.
        OptionRefused: when there is no such member.
        WeightsDamaged: when a file is missing or damaged.
        Cancelled: from ``progress``.
    """
    from VertebralFractureLib.fracture import scoring

    return scoring.score_sequence(
        spine, weights_folder=weights_folder, members=members, device=device, progress=progress
    )


def score_series(
    sequence: FractureSequence, spans_mm: Sequence[tuple[float, float]], *, weights_folder: Path | None = None
) -> FractureSequence:
    """The sequence with its scan score taken only over the vertebrae that were judged; see ``fracture.scoring``.

    Raises:
        WeightsDamaged: when a member is missing or damaged.
    """
    from VertebralFractureLib.fracture import scoring

    return scoring.score_series(sequence, spans_mm, weights_folder=weights_folder)


def fracture_weights_sha256(weights_folder: Path | None = None, members: Sequence[str] = ALL_MEMBERS) -> dict[str, str]:
    """SHA-256 of each asked member's weights file, by the weights' name; each file is checked against its manifest.

    Raises:
        OptionRefused: when there is no such member.
        WeightsDamaged: when a file is missing or damaged.
    """
    names = (PREFIX + name for name in chosen_members(members, weights_folder))
    return {name: load_weights(name, weights_folder).sha256 for name in names}
