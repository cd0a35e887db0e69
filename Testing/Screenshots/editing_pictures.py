"""The panel and the views during a correction: centerline unlocked, one of its points dragged, height points shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from panel_pictures import grab, open_panel, wait_until
from slicer_views import Picture, SlicerViews

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.markups_nodes import EDITING_ATTRIBUTE

PANEL_HEIGHT = 1500
VIEW_HEIGHT_MM = 130.0
DRAG_MM = (4.0, -2.0, 0.0)


class Editing:
    """The state that the pictures show, made as a user makes it, with the true worker; ``end`` takes it back."""

    def __init__(self, scene: Any, nodes: SceneNodes, label: str) -> None:
        self.panel = open_panel(scene)
        ui, self._nodes = self.panel.ui, nodes
        rows = [ui.vertebraTable.item(row, 0).text() for row in range(ui.vertebraTable.rowCount)]
        ui.vertebraTable.cellClicked.emit(rows.index(label), 0)
        ui.criteriaSection.collapsed = True
        for section in (ui.correctSection, ui.centerlineSection):
            section.collapsed = False
        ui.landmarksButton.click()
        ui.editCenterlineButton.click()
        wait_until(self._is_settled)
        curve = nodes.centerline
        self._drag(curve, self.chosen_center)
        wait_until(self._is_settled)

    @property
    def chosen_center(self) -> np.ndarray:
        """Of the chosen vertebra, RAS mm."""
        report = self.panel.view.report
        return np.array(report.vertebrae[self.panel.logic.parameters.chosenVertebra].center_ras)

    def sections(self) -> Picture:
        """The two sections for corrections, unfolded."""
        ui = self.panel.ui
        picture = grab(self.panel, PANEL_HEIGHT)
        top, bottom = (
            section.mapTo(self.panel.parent, section.rect().topLeft()).y()
            for section in (ui.correctSection, ui.displaySection)
        )
        return picture[top - 4 : bottom]

    def views(self, views: SlicerViews, size: tuple[int, int]) -> tuple[Picture, Picture]:
        """The patient and straight space, both sagittal, with handles on the curve and the height points."""
        shown = [node for node in _markups(views.scene) if node.GetDisplayVisibility()]
        handles = [node for node in _markups(views.scene) if node.GetAttribute(EDITING_ATTRIBUTE)]
        straight = next(node for node in handles if node.IsA("vtkMRMLMarkupsCurveNode"))
        heights = next(node for node in handles if node is not straight)
        for node in (self._nodes.centerline, straight, heights):
            node.GetDisplayNode().SetSliceProjection(True)
            node.GetDisplayNode().SetSliceProjectionOpacity(1.0)
        _show(_markups(views.scene), [self._nodes.centerline, heights])
        center = self.chosen_center + np.array([0.0, -15.0, 0.0])
        patient = views.slice_picture("Sagittal", self._nodes.input_volume, center, VIEW_HEIGHT_MM, size, "ruler")
        self._nodes.bodies.GetDisplayNode().SetVisibility(False)
        straight.GetDisplayNode().RemoveAllViewNodeIDs()
        _show(_markups(views.scene), [straight])
        bounds = [0.0] * 6
        self._nodes.straightened.GetRASBounds(bounds)
        at = self._nodes.straight_points.GetNthControlPointPositionWorld(self.panel.logic.parameters.chosenVertebra)
        center = (0.0, 10.0, at[2])
        moved = views.slice_picture("Sagittal", self._nodes.straightened, center, VIEW_HEIGHT_MM, size, "ruler")
        _show(_markups(views.scene), shown)
        self._nodes.bodies.GetDisplayNode().SetVisibility(True)
        self._nodes.centerline.GetDisplayNode().SetSliceProjection(False)
        return patient, moved

    def end(self) -> None:
        """Back to the model's own answer."""
        ui = self.panel.ui
        while ui.undoEditButton.enabled:
            ui.undoEditButton.click()
        self.panel.cleanup()

    def _drag(self, curve: Any, near: np.ndarray) -> None:
        points = np.array([curve.GetNthControlPointPositionWorld(n) for n in range(curve.GetNumberOfControlPoints())])
        place = int(np.abs(points[:, 2] - near[2] - 25.0).argmin())
        curve.InvokeCustomModifiedEvent(curve.PointStartInteractionEvent)
        curve.SetNthControlPointPositionWorld(place, points[place] + DRAG_MM)
        curve.InvokeCustomModifiedEvent(curve.PointEndInteractionEvent)
        wait_until(lambda: self.panel.ui.undoEditButton.enabled)

    def _is_settled(self) -> bool:
        section = self.panel.view.centerlineSection
        isBusy = self.panel.logic.session.isBusy or section.rescoring.isBusy
        return not isBusy and self.panel.view.result.isUpToDate


def _markups(scene: Any) -> list[Any]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
    return [scene.GetNthNodeByClass(place, "vtkMRMLMarkupsNode") for place in range(count)]


def _show(nodes: list[Any], wanted: list[Any]) -> None:
    for node in nodes:
        node.SetDisplayVisibility(node in wanted)
