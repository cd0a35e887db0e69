"""The module's panel as pictures: the real widget on a real scene, drawn by PySide6 in place of Slicer's PythonQt.

Fonts and margins are therefore not exactly Slicer's; what stands where, and every word, is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.types import ByteArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Python" / "module"))
import slicer_stand_ins

WIDTH = 420
_LONGEST_S = 120.0


def open_panel(scene: Any) -> Any:
    """The module's widget on ``scene``, as after choosing the module in Slicer."""
    slicer_stand_ins.install()
    slicer.mrmlScene = scene
    from VertebralFracture import VertebralFractureWidget

    widget = VertebralFractureWidget(slicer_stand_ins.module_parent())
    widget.setup()
    widget.enter()
    widget.parent.setFixedWidth(WIDTH)
    widget.parent.show()
    return widget


def grab(widget: Any, height: int) -> ByteArray:
    """The upper ``height`` pixels of the panel, RGB ``[row, column, channel]``."""
    widget.parent.resize(WIDTH, height)
    _settle(0.3)
    image = widget.parent.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _LONGEST_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("The panel did not come to the state that was to be drawn.")
        _settle(0.01)


def _settle(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)
