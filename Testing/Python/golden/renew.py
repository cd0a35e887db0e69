"""Write the golden reports and pictures anew: ``python Testing/Python/golden/renew.py``.

Do it when a result is meant to change, look at each picture, and read the difference of the reports before they are
committed. ``test_golden.py`` compares every later result with them.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from VertebralFractureLib import fast_networks
from VertebralFractureLib.cli.main import main as command
from VertebralFractureLib.research.phantom import FractureOptions, PhantomOptions, make_phantom
from VertebralFractureLib.result.report_json import json_text
from VertebralFractureLib.volume import write_volume

FOLDER = Path(__file__).resolve().parent
DIGITS = 4
_SMALLER = 2
_GRAY_STEP = 8
_NO_RESULT = ("software", "timings_s", "peak_memory_mb")
_COARSE = {"field_of_view": "spine", "spacing_mm": (1.3, 1.3, 2.5), "slice_thickness_mm": 2.5}

SCANS = {
    "severe-wedge": PhantomOptions(
        seed=77, caudal_level="L4", cranial_level="T8", fractures=(FractureOptions("T12", "wedge", 0.5),), **_COARSE
    ),
    "scoliosis-two-fractures": PhantomOptions(
        seed=78,
        caudal_level="L3",
        cranial_level="T7",
        scoliosis_deg=20.0,
        degeneration=0.6,
        fractures=(FractureOptions("T9", "biconcave", 0.4), FractureOptions("L1", "crush", 0.38)),
        **_COARSE,
    ),
    "too-short": PhantomOptions(seed=79, caudal_level="L3", cranial_level="L1", **_COARSE),
}
"""A clear fracture; a spine on which much can go wrong; and a scan that is refused with its reason."""


@dataclass(frozen=True)
class Answer:
    """What a detection says and shows: the report without what differs from run to run, and the overview, smaller."""

    report: dict[str, Any]
    picture: NDArray[np.uint8]


def answer_for(name: str) -> Answer:
    """Draw the phantom and let the console command judge it, in single precision, as every processor can."""
    exact = patch.object(fast_networks, "multiplies_short_floats", return_value=False)
    with exact, tempfile.TemporaryDirectory() as folder:
        scan, out = Path(folder) / f"{name}.nii.gz", Path(folder) / "out"
        write_volume(make_phantom(SCANS[name]).ct, scan)
        command(["detect", str(scan), "--out", str(out), "--progress", "none"])
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        kept = {key: value for key, value in report.items() if key not in _NO_RESULT}
        return Answer(kept, smaller((out / "overview.png").read_bytes()))


def smaller(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB").reduce(_SMALLER))


def golden_answer(name: str) -> Answer:
    """What the detection said and showed when the files were last renewed."""
    report = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Answer(report, np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB")))


def renew(name: str) -> None:
    answer = answer_for(name)
    (FOLDER / f"{name}.json").write_text(json_text(_rounded(answer.report), indent=1), encoding="utf-8")
    # Steps of gray that nobody sees make noise half as large in a file.
    steps = np.round(answer.picture / _GRAY_STEP) * _GRAY_STEP
    Image.fromarray(steps.clip(0, 255).astype(np.uint8)).save(FOLDER / f"{name}.png", optimize=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    for scan_name in sys.argv[1:] or SCANS:
        renew(scan_name)
        print(f"{scan_name}: renewed")
