"""Calibrate the members on patients that their fold left out, and save the final weights with that inside.

The lines are fitted on the cross-validated scores that ``evaluate_fracture`` wrote, so a spine never calibrates the
weights that were trained on it; the prevalence is that of the simulated set, as the model card says.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.weights import load_weights

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--figures", type=Path, required=True, help="the JSON file of evaluate_fracture")
    parser.add_argument("--trained", type=Path, required=True, help="folder of the weights trained on every fold")
    parser.add_argument("--weights-folder", type=Path, required=True, help="where the calibrated weights are saved")
    parser.add_argument("--folds-folder", type=Path, default=None, help="folds to calibrate too, each by the others")


def run(arguments: argparse.Namespace) -> int:
    content = json.loads(arguments.figures.read_text(encoding="utf-8"))
    _save(content["calibration"], arguments.trained, arguments.weights_folder)
    if arguments.folds_folder is not None:
        for fold, lines in content["fold_calibration"].items():
            folder = arguments.folds_folder / f"fold{fold}"
            _save(lines, folder, folder)
    return 0


def _save(calibration: Mapping[str, Any], source: Path, target: Path) -> None:
    """The members of ``source`` with their lines inside, in ``target``, which may be the same folder."""
    for member, lines in calibration.items():
        weights = load_weights(PREFIX + member, source)
        config = {**weights.config, "calibration": lines}
        sha256 = save_weights(PREFIX + member, weights.tensors, config, target)
        logger.info("Saved %s%s, SHA-256 %s", PREFIX, member, sha256)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
