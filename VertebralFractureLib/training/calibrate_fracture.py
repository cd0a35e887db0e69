"""Calibrate the members on patients that their fold left out, and save the final weights with that inside.

The lines are fitted on the cross-validated scores that ``evaluate_fracture`` wrote, so a spine never calibrates the
weights that were trained on it; the prevalence is that of the simulated set, as the model card says.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from VertebralFractureLib.weights import load_weights, save_weights

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--figures", type=Path, required=True, help="the JSON file of evaluate_fracture")
    parser.add_argument("--trained", type=Path, required=True, help="folder of the weights trained on every fold")
    parser.add_argument("--weights-folder", type=Path, required=True, help="where the calibrated weights are saved")


def run(arguments: argparse.Namespace) -> int:
    content = json.loads(arguments.figures.read_text(encoding="utf-8"))
    for member, lines in content["calibration"].items():
        weights = load_weights(f"fracture-{member}", arguments.trained)
        config = {**weights.config, "calibration": lines}
        sha256 = save_weights(f"fracture-{member}", weights.tensors, config, arguments.weights_folder)
        logger.info("Saved fracture-%s, SHA-256 %s", member, sha256)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
