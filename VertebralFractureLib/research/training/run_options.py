"""What every training is told beside its data: which patients do not train, where it runs, what it starts from.

``--fold`` leaves patients out to be judged later; ``--validation-fold`` leaves others out whose loss says when to stop.
Each fold has a folder of its own in ``--out``; weights that saw a patient are never saved beside those that must not.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cli.option_types import path_to_read, whole_number
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.options import AUTOMATIC, DEVICES
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.research.datasets.reference_set import fold_count
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.training.loop import CHECKPOINT
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.weights import MANIFEST, load_weights, read_manifest, weights_folder, weights_names

logger = logging.getLogger(__name__)
_MOST_STEPS = 10**9
SHIPPED_WEIGHTS = "shipped"


def add_run_arguments(parser: argparse.ArgumentParser, *, starts_from: bool = True) -> None:
    """The arguments; ``starts_from``: whether ``--start-from`` is among them."""
    parser.add_argument("--fold", type=read_fold, default=None, help="fold to leave out (0, 1, ...), or none")
    parser.add_argument(
        "--validation-fold", type=read_fold, default=None, help="fold to watch and not to train on, or none"
    )
    parser.add_argument(
        "--patience",
        type=whole_number("--patience", 1, _MOST_STEPS),
        default=None,
        help="with --validation-fold: stop after so many looks without a lower loss, and keep the best weights",
    )
    parser.add_argument(
        "--validation-every",
        type=whole_number("--validation-every", 1, _MOST_STEPS),
        default=100,
        help="steps between two looks",
    )
    parser.add_argument("--device", choices=DEVICES, default=AUTOMATIC, help="where the network trains")
    if starts_from:
        parser.add_argument(
            "--start-from",
            type=read_start,
            default=None,
            help="folder of weights to go on from, or 'shipped'; none: random",
        )


def read_fold(word: str) -> int | None:
    """The number of a fold, or None for "none".

    Raises:
        OptionRefused: when there is no such fold.
    """
    if word == "none":
        return None
    if not word.isdecimal() or int(word) >= fold_count():
        raise OptionRefused(f"There is no fold '{one_line(word, 40)}'; choose 0 to {fold_count() - 1}, or none.")
    return int(word)


def read_start(word: str) -> Path:
    """The folder of the weights to go on from; "shipped" is that of the weights that ship.

    Raises:
        OptionRefused: when there are no weights.
    """
    folder = weights_folder() if word == SHIPPED_WEIGHTS else path_to_read("--start-from")(word)
    if not (folder / MANIFEST).is_file():
        raise OptionRefused(f"--start-from: '{one_line(folder.name, NAME_LIMIT)}' holds no weights.")
    return folder


def run_folder(out: Path, fold: int | None) -> Path:
    """Where the run without ``fold`` keeps its checkpoint and log.

    Raises:
        OptionRefused: when ``out`` itself holds a checkpoint, as those of earlier versions did, whatever its fold was.
    """
    if (out / CHECKPOINT).is_file():
        raise OptionRefused(
            f"'{one_line(out.name, NAME_LIMIT)}' holds a checkpoint of an earlier version, which does not say what it "
            "was trained on; remove it or choose another --out."
        )
    return out / f"fold-{'none' if fold is None else fold}"


def refuse_empty_folds(folds: Sequence[int | None], arguments: argparse.Namespace) -> None:
    """Check that the folds that ``arguments`` leave out hold scans: leaving nothing out would measure on the training.

    Args:
        folds: of every scan.
        arguments: with ``fold``, and perhaps ``validation_fold`` and ``patience``.

    Raises:
        OptionRefused: otherwise, or when one fold is to be both.
    """
    watched = getattr(arguments, "validation_fold", None)
    for fold in (arguments.fold, watched):
        if fold is not None and fold not in folds:
            raise OptionRefused(
                f"Fold {fold} holds none of these scans, so nothing would be left out; "
                "choose another, or split the patients in patients.csv."
            )
    if watched is not None and watched == arguments.fold:
        raise OptionRefused(f"Fold {watched} cannot be left out to be judged and say when to stop; choose another.")
    if watched is None and getattr(arguments, "patience", None) is not None:
        raise OptionRefused("--patience needs --validation-fold: the patients whose loss says when to stop.")


def content_of(cases: Sequence[StraightCase]) -> dict[str, str]:
    """Identifiers and content keys of cases, for the fingerprint of a run."""
    return {case.identifier: case.content_key for case in cases}


def refuse_seen(config: Mapping[str, Any], held_out: Sequence[str], what: str) -> None:
    """Check that weights saw none of the scans that are left out.

    Raises:
        OptionRefused: otherwise.
    """
    seen = sorted(set(trained_scans(config)) & set(held_out))
    if seen:
        raise OptionRefused(
            f"{what} were trained on {len(seen)} of the scans that are left out ({', '.join(seen[:3])}"
            f"{', ...' if len(seen) > 3 else ''}); what is measured on these would be too good."
        )


def refuse_mixed_folder(folder: Path, name: str, held_out: Sequence[str]) -> None:
    """Check that no other weights in ``folder`` saw the scans that are left out.

    Raises:
        OptionRefused: otherwise.
    """
    for other in weights_names("", folder) if (folder / MANIFEST).is_file() else ():
        if other != name:
            shown = one_line(folder.name, NAME_LIMIT)
            refuse_seen(load_weights(other, folder).config, held_out, f"The weights '{other}' in '{shown}'")


def drop_shipped_members(folder: Path, keep: str) -> None:
    """Take the fracture members that ship out of a folder that gets a member of its own, which would else be joined.

    Members answer together, by the calibration of one ensemble: own and shipped ones in one folder are none.

    Args:
        folder: of weights; the folder of what ships is left as it is.
        keep: the member that is being saved.
    """
    if not (folder / MANIFEST).is_file() or folder.resolve() == weights_folder().resolve():
        return
    manifest, shipped = read_manifest(folder), read_manifest(weights_folder())
    strange = [
        name
        for name, entry in manifest.items()
        if name.startswith(PREFIX) and name != keep and shipped.get(name, {}).get("sha256") == entry["sha256"]
    ]
    for name in strange:
        (folder / manifest.pop(name)["file"]).unlink(missing_ok=True)
    if strange:
        write_file(folder / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        logger.info(
            "'%s' gets a fracture member of its own; those that ship were taken out of it: %s.",
            folder.name,
            ", ".join(strange),
        )


def add_other_models(folder: Path, held_out: Sequence[str] = ()) -> None:
    """The models that ship, for those that the folder lacks, so that ``detect --weights`` can use it.

    Fracture members are not mixed with those that ship: they come with a calibration of their own ensemble.

    Args:
        folder: of weights, with a manifest.
        held_out: scans that no weights in the folder may have seen; what ships and saw one is not added.
    """
    present = weights_names("", folder)
    has_members = any(name.startswith(PREFIX) for name in present)
    added, seen = [], []
    for name in weights_names(""):
        if name in present or (has_members and name.startswith(PREFIX)):
            continue
        weights = load_weights(name)
        if set(trained_scans(weights.config)) & set(held_out):
            seen.append(name)
            continue
        save_weights(name, weights.tensors, weights.config, folder)
        added.append(name)
    if added:
        logger.info("'%s' was completed with the weights that ship: %s.", folder.name, ", ".join(added))
    if seen:
        logger.info(
            "'%s' still lacks %s: those that ship were trained on scans that are left out here; train them as well.",
            folder.name,
            ", ".join(seen),
        )
