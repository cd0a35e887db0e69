"""Where there is nothing to read yet: one sentence that says why, and one button that leads on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer

from VertebralFracturePanel.detect.torch_installer import Remedy


@dataclass(frozen=True)
class Step:
    """``sentence`` may be empty where the panel has said it already; ``act`` is called by the button ``button``."""

    sentence: str
    button: str
    act: Callable[[], object]
    tip: str = ""


class NextStep:
    """The strip below the button that detects."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._step: Step | None = None
        ui.nextStepButton.connect("clicked(bool)", self._onClicked)
        self.show(None)

    def show(self, step: Step | None) -> None:
        """Lead on to ``step``; None where the panel is not waiting for anything."""
        self._step = step
        self._ui.nextStepLabel.visible = step is not None and bool(step.sentence)
        self._ui.nextStepButton.visible = step is not None
        if step is not None:
            self._ui.nextStepLabel.text = step.sentence
            self._ui.nextStepButton.text = step.button
            self._ui.nextStepButton.setToolTip(step.tip)

    def _onClicked(self, _checked: bool = False) -> None:
        if self._step is not None:
            self._step.act()


def loadStep() -> Step:
    """For a scene without a volume."""
    return Step(
        "No CT is loaded; any that shows thoracic or lumbar vertebrae will do.",
        "&Load DICOM data …",
        lambda: slicer.util.selectModule("DICOM"),
        "Opens the module DICOM. Files of other kinds: File > Add Data.",
    )


def torchStep(remedy: Remedy, tryAgain: Callable[[], object]) -> Step:
    """For a Slicer without a usable PyTorch; the panel shows the sentence of the error itself."""
    acts: dict[Remedy, Callable[[], object]] = {
        Remedy.EXTENSIONS_MANAGER: lambda: slicer.app.openExtensionsManagerDialog(),
        Remedy.PYTORCH_UTILS: lambda: slicer.util.selectModule("PyTorchUtils"),
        Remedy.TRY_AGAIN: tryAgain,
    }
    return Step("", remedy.value, acts[remedy])


def batchStep(count: int, detectAll: Callable[[], object]) -> Step:
    """For a scene with several CTs that have no result."""
    return Step(
        f"{count} CTs of this scene have no result yet.",
        f"Detect in &all {count} CTs",
        detectAll,
        "One after the other, with one CT at a time in memory beside Slicer. Cancel stops all; what is done is kept.",
    )


def drawStep(draw: Callable[[], object]) -> Step:
    """For a CT in which no canal was found."""
    return Step(
        "Where you can see the spinal canal, a few clicks along it are enough; the network finds the rest.",
        "D&raw the centerline",
        draw,
        "Opens the section Correct the centerline, and waits for your clicks in the views.",
    )


def curveStep(edit: Callable[[], object]) -> Step:
    """For a CT with a curve along which nothing could be judged."""
    return Step(
        "Look whether the centerline runs through the canal; where it does not, drag it there.",
        "Ed&it the centerline",
        edit,
        "Opens the section Correct the centerline, and unlocks the curve.",
    )
