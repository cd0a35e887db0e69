"""What the panel remembers in the scene's parameter node; results keep their own state in their nodes.

A choice that was never made, or that a scene holds in an unknown form, gives the default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from VertebralFractureLib.options import (
    ALL_MEMBERS,
    AUTOMATIC,
    DEVICES,
    FORMER_SINGLE_MODEL,
    SINGLE_MODEL,
    DetectionOptions,
)
from VertebralFractureLib.result import OWN_RULE
from VertebralFractureLib.vertebrae import GRADING_RULES

if TYPE_CHECKING:
    import slicer

ADD, REPLACE = "add", "replace"
"""What detecting again does with the earlier result of the same volume."""
OWN_SPACING_MM = 1.0
SPACINGS_MM = (0.5, 0.8, OWN_SPACING_MM, 1.5)
"""Of the straightened volume that is shown; the networks' own grid is the default."""


class Parameters:
    """Typed access to the module's parameter node."""

    def __init__(self, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self._node = node

    @property
    def inputVolume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self._node.GetNodeReference("InputVolume")

    @inputVolume.setter
    def inputVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self._node.SetNodeReferenceID("InputVolume", _idOf(volumeNode))

    @property
    def resultTable(self) -> slicer.vtkMRMLTableNode | None:
        """The table node of the result that was chosen among several."""
        return self._node.GetNodeReference("ResultTable")

    @resultTable.setter
    def resultTable(self, tableNode: slicer.vtkMRMLTableNode | None) -> None:
        self._node.SetNodeReferenceID("ResultTable", _idOf(tableNode))

    @property
    def chosenVertebra(self) -> int | None:
        """Index in the result, caudal first."""
        return self._number("ChosenVertebra", int)

    @chosenVertebra.setter
    def chosenVertebra(self, index: int | None) -> None:
        self._set("ChosenVertebra", "" if index is None else str(index))

    @property
    def followsVertebra(self) -> bool:
        """Whether the views of the CT turn to the chosen vertebra."""
        return self._node.GetParameter("FollowVertebra") != "0"

    @followsVertebra.setter
    def followsVertebra(self, value: bool) -> None:
        self._set("FollowVertebra", "1" if value else "0")

    @property
    def threshold(self) -> float | None:
        """Of the reader's last choice, for results to come; None: the model's own."""
        value = self._number("Threshold", float)
        return value if value is not None and 0.0 <= value <= 1.0 else None

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        self._set("Threshold", "" if value is None else repr(value))

    @property
    def rule(self) -> str:
        value = self._node.GetParameter("GradingRule")
        return value if value in GRADING_RULES else OWN_RULE

    @rule.setter
    def rule(self, value: str) -> None:
        self._set("GradingRule", value)

    @property
    def secondRun(self) -> str:
        return REPLACE if self._node.GetParameter("SecondRun") == REPLACE else ADD

    @secondRun.setter
    def secondRun(self, value: str) -> None:
        self._set("SecondRun", value)

    @property
    def threads(self) -> int | None:
        """None: as many as PyTorch takes by itself."""
        value = self._number("Threads", int)
        return value if value is not None and value > 0 else None

    @threads.setter
    def threads(self, value: int | None) -> None:
        self._set("Threads", str(value or 0))

    @property
    def device(self) -> str:
        value = self._node.GetParameter("Device")
        return value if value in DEVICES else AUTOMATIC

    @device.setter
    def device(self, value: str) -> None:
        self._set("Device", value)

    @property
    def members(self) -> tuple[str, ...]:
        """``ALL_MEMBERS`` or ``SINGLE_MODEL``."""
        single = (*SINGLE_MODEL, *FORMER_SINGLE_MODEL)
        return SINGLE_MODEL if self._node.GetParameter("Members") in single else ALL_MEMBERS

    @members.setter
    def members(self, value: tuple[str, ...]) -> None:
        self._set("Members", value[0])

    @property
    def spacingMm(self) -> float:
        """Of the straightened volume; one of ``SPACINGS_MM``."""
        value = self._number("SpacingMm", float)
        return value if value in SPACINGS_MM else OWN_SPACING_MM

    @spacingMm.setter
    def spacingMm(self, value: float) -> None:
        self._set("SpacingMm", repr(value))

    @property
    def options(self) -> DetectionOptions:
        """What a detection that is started now gets."""
        return DetectionOptions(
            threads=self.threads, device=self.device, members=self.members, spacing_mm=self.spacingMm
        )

    def _set(self, name: str, text: str) -> None:
        if self._node.GetParameter(name) != text:
            self._node.SetParameter(name, text)

    def _number(self, name: str, kind: Any) -> Any:
        try:
            return kind(self._node.GetParameter(name))
        except ValueError:
            return None


def _idOf(node: slicer.vtkMRMLNode | None) -> str | None:
    return None if node is None else node.GetID()
