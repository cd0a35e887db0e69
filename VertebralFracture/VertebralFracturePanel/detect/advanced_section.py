"""Choices about the detections to come, kept in the scene's parameter node, and what the shown result was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.options import ALL_MEMBERS, AUTOMATIC, CPU, CUDA, SINGLE_MODEL
from VertebralFractureLib.result import SpineReport
from VertebralFracturePanel.parameters import ADD, REPLACE, SPACINGS_MM, Parameters
from VertebralFracturePanel.process.signal import Signal

_SECOND_RUN = (("keep the earlier result", ADD), ("replace it (assessments stay)", REPLACE))
_DEVICES = (("automatic", AUTOMATIC), ("CPU", CPU), ("NVIDIA graphics card (CUDA)", CUDA))
_DEVICE_WORDS = {CPU: "the CPU", CUDA: "an NVIDIA graphics card"}
_MEMBERS = (("all", ALL_MEMBERS), ("single model", SINGLE_MODEL))


class AdvancedSection:
    """Signal: ``changed()`` when the user chose something else."""

    def __init__(self, ui: Any) -> None:
        self.changed = Signal()
        self._ui = ui
        self._isShowing = False
        self._selectors = (
            (ui.secondRunSelector, _SECOND_RUN, "secondRun"),
            (ui.deviceSelector, _DEVICES, "device"),
            (ui.membersSelector, _MEMBERS, "members"),
            (ui.spacingSelector, tuple((f"{mm:g} mm", mm) for mm in SPACINGS_MM), "spacingMm"),
        )
        for selector, entries, _ in self._selectors:
            for words, _value in entries:
                selector.addItem(words)
            selector.connect("currentIndexChanged(int)", self._onChanged)
        ui.threadsSpinBox.connect("valueChanged(int)", self._onChanged)

    def showChoices(self, parameters: Parameters) -> None:
        """What the parameter node holds."""
        self._isShowing = True
        for selector, entries, name in self._selectors:
            selector.setCurrentIndex([value for _, value in entries].index(getattr(parameters, name)))
        self._ui.threadsSpinBox.value = parameters.threads or 0
        self._isShowing = False

    def keepChoices(self, parameters: Parameters) -> None:
        """Into the parameter node."""
        for selector, entries, name in self._selectors:
            setattr(parameters, name, entries[selector.currentIndex][1])
        parameters.threads = int(self._ui.threadsSpinBox.value) or None

    def showResult(self, nodes: SceneNodes | None, shown: SpineReport | None) -> None:
        """Say what the result was made with."""
        self._ui.madeWithLabel.text = "" if nodes is None or shown is None else _madeWith(nodes, shown)
        self._ui.madeWithLabel.visible = bool(self._ui.madeWithLabel.text)

    def _onChanged(self, _value: Any = None) -> None:
        if not self._isShowing:
            self.changed.emit()


def _madeWith(nodes: SceneNodes, shown: SpineReport) -> str:
    software = shown.software
    words = f"The shown result: version {software.version}"
    if software.device is not None:
        words += f", computed on {_DEVICE_WORDS[software.device]}"
    members = [name.removeprefix(PREFIX) for name in software.weights_sha256 if name.startswith(PREFIX)]
    if members:
        words += f", fracture networks {', '.join(members)}"
    if nodes.straightened is not None:
        words += f", straightened at {max(nodes.straightened.GetSpacing()):g} mm"
    seconds = shown.timings_s.get("total")
    words += f", in {seconds:.0f} s." if seconds is not None else "."
    return f"{words}\n{_acquisitionWords(shown.input.identifiers)}"


def _acquisitionWords(facts: Mapping[str, str]) -> str:
    """What the header of the CT said, as far as the numbers rest on it, and what it did not say."""
    contrast = {"yes": "with contrast medium", "no": "without contrast medium"}.get(facts.get("contrast_agent", ""))
    told = [
        ("tube voltage", _number(facts, "kvp", "kV")),
        ("contrast medium", contrast),
        ("slice thickness", _number(facts, "slice_thickness_mm", "mm thick slices")),
    ]
    known = [words for _, words in told if words]
    unknown = [name for name, words in told if not words]
    parts = [f"The CT's header says: {', '.join(known)}."] if known else []
    parts += [f"Not known: {', '.join(unknown)}."] if unknown else []
    return " ".join(parts)


def _number(facts: Mapping[str, str], name: str, unit: str) -> str | None:
    try:
        return f"{float(facts[name]):g} {unit}"
    except (KeyError, ValueError):
        return None
