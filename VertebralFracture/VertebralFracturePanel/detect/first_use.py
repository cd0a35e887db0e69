"""What a user reads before the first detection, until it is dismissed for good; with a sample to try it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from VertebralFracturePanel.detect.sample_data import PhantomSample

DISMISSED_SETTING = "VertebralFracture/FirstUseDismissed"
WORDS = (
    "Finds vertebral compression fractures on CT: choose a CT, press <i>Detect fractures</i>, and read the table. "
    "Everything is computed on this computer, and nothing is installed before you are asked. "
    "<b>Research use only</b>: it misses fractures and calls others that are none, so look at each vertebra yourself."
)


class FirstUse:
    """The strip at the top of the panel."""

    def __init__(self, ui: Any, choose: Callable[[Any], None], sample: PhantomSample | None = None) -> None:
        """
        Args:
            choose: makes a volume node the input of the panel.
        """
        self._ui = ui
        self._choose = choose
        self._sample = sample or PhantomSample()
        self._sample.ended.connect(self._onSample)
        ui.firstUseLabel.text = WORDS
        ui.firstUseFrame.visible = not slicer.util.settingsValue(DISMISSED_SETTING, False, slicer.util.toBool)
        ui.sampleButton.connect("clicked(bool)", lambda _checked=False: self._sample())
        ui.dismissFirstUseButton.connect("clicked(bool)", self._onDismissed)

    def cleanup(self) -> None:
        """The panel is going: a phantom that is being drawn is given up."""
        self._sample.cancel()

    def _onDismissed(self, _checked: bool = False) -> None:
        qt.QSettings().setValue(DISMISSED_SETTING, True)
        self._ui.firstUseFrame.visible = False

    def _onSample(self, volumeNode: Any) -> None:
        if volumeNode is not None:
            self._choose(volumeNode)
