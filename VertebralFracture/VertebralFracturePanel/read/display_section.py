"""What of a result is visible and how strongly; the state is that of the display nodes, never kept here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from VertebralFractureLib.export.palette import GROUPS
from VertebralFractureLib.export.scene import SceneNodes
from VertebralFracturePanel.read.results_table import isLight

if TYPE_CHECKING:
    import slicer

    Displays = list[slicer.vtkMRMLMarkupsDisplayNode]


class DisplaySection:
    """Check boxes and the opacity of one result's nodes."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._nodes: SceneNodes | None = None
        self._isShowing = False
        self._boxes = (ui.pointsCheckBox, ui.centerlineCheckBox, ui.landmarksCheckBox)
        for box in (*self._boxes, ui.labelsCheckBox, ui.outlinesCheckBox):
            box.connect("toggled(bool)", self._onChanged)
        ui.opacitySlider.connect("valueChanged(double)", self._onChanged)
        ui.legendLabel.text = _legend()

    def show(self, nodes: SceneNodes | None) -> None:
        """Show the state of ``nodes``; without any the section is disabled."""
        self._nodes = nodes
        self._isShowing = True
        self._ui.displaySection.enabled = nodes is not None
        points, lines, landmarks = self._displays()
        for box, displays in zip(self._boxes, (points, lines, landmarks), strict=True):
            box.enabled = bool(displays)
            box.checked = any(display.GetVisibility() for display in displays)
        labels = self._labels()
        self._ui.labelsCheckBox.enabled = bool(labels)
        self._ui.labelsCheckBox.checked = any(display.GetPointLabelsVisibility() for display in labels)
        outlines = self._outlines()
        self._ui.outlinesCheckBox.enabled = bool(outlines)
        self._ui.outlinesCheckBox.checked = any(display.GetVisibility2D() for display in outlines)
        if points:
            self._ui.opacitySlider.value = points[0].GetOpacity()
        self._isShowing = False

    def _onChanged(self, _value: Any = None) -> None:
        if self._isShowing:
            return
        points, lines, landmarks = self._displays()
        for box, displays in zip(self._boxes, (points, lines, landmarks), strict=True):
            for display in displays:
                display.SetVisibility(bool(box.checked))
        for display in self._labels():
            # As for the outlines: whether a node is seen at all follows from the layout.
            display.SetPointLabelsVisibility(bool(self._ui.labelsCheckBox.checked))
        for display in self._outlines():
            # The one switch of both: in which views each is seen follows from the layout.
            display.SetVisibility2D(bool(self._ui.outlinesCheckBox.checked))
        for display in (*points, *lines, *landmarks, *self._labels(), *self._outlines()):
            display.SetOpacity(float(self._ui.opacitySlider.value))

    def _displays(self) -> tuple[Displays, Displays, Displays]:
        """Display nodes of the points by grade, of the centerline, and of the landmarks."""
        nodes = self._nodes
        if nodes is None:
            return [], [], []
        kinds = (list(nodes.points.values()), [nodes.centerline], [nodes.landmarks])
        points, lines, landmarks = (
            [node.GetDisplayNode() for node in kind if node is not None and node.GetDisplayNode() is not None]
            for kind in kinds
        )
        return points, lines, landmarks

    def _labels(self) -> Displays:
        """Display nodes of what writes level and probability: beside the bodies, in older scenes at the points."""
        nodes = self._nodes
        written = () if nodes is None else nodes.label_nodes or tuple(nodes.points.values())
        return [node.GetDisplayNode() for node in written if node.GetDisplayNode() is not None]

    def _outlines(self) -> list[slicer.vtkMRMLModelDisplayNode]:
        """Display nodes of the bodies, in the patient and straightened."""
        bodies = () if self._nodes is None else (self._nodes.bodies, self._nodes.straight_bodies)
        displays = [node.GetDisplayNode() for node in bodies if node is not None]
        return [display for display in displays if display is not None]


def _legend() -> str:
    """The groups in two columns, each as words on its color, as in the table."""
    cells = [_cell(group.name, group.color) for group in GROUPS]
    rows = ("".join(cells[first : first + 2]) for first in range(0, len(cells), 2))
    return f'<table cellspacing="2" cellpadding="2">{"".join(f"<tr>{row}</tr>" for row in rows)}</table>'


def _cell(words: str, color: tuple[float, float, float]) -> str:
    text = "#000000" if isLight(color) else "#ffffff"
    return f'<td bgcolor="{_hex(color)}"><span style="color:{text};">&nbsp;{words}&nbsp;</span></td>'


def _hex(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * component):02x}" for component in color)
