"""A layout of our own: the CT and the straightened spine side by side, the probability along the spine below.

It is there only while it is wanted: leaving it, the module or the scene brings back the layout and the volumes that the
user had in the views.
"""

from __future__ import annotations

import re

import slicer

from VertebralFractureLib.export.scene import SceneNodes

LAYOUT_ID = 15341
"""Beyond the numbers that Slicer's own layouts use."""
STRAIGHT_VIEW = "VertebralFractureStraight"
_SLICE = """<item><view class="vtkMRMLSliceNode" singletontag="{name}">
<property name="orientation" action="default">{orientation}</property>
<property name="viewlabel" action="default">{label}</property>
<property name="viewcolor" action="default">{color}</property></view></item>"""
_DESCRIPTION = (
    '<layout type="vertical" split="true"><item splitSize="700"><layout type="horizontal">'
    + _SLICE.format(name="Red", orientation="Axial", label="R", color="#F34A33")
    + _SLICE.format(name="Yellow", orientation="Sagittal", label="Y", color="#EDD54C")
    + _SLICE.format(name=STRAIGHT_VIEW, orientation="Sagittal", label="S", color="#5AA9A5")
    + '</layout></item><item splitSize="300"><view class="vtkMRMLPlotViewNode" singletontag="PlotView1">'
    '<property name="viewlabel" action="default">P</property></view></item></layout>'
)

_VIEW_CLASSES = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
_VIEW_IN_LAYOUT = re.compile(r'<view class="(vtkMRMLSliceNode|vtkMRMLViewNode)" singletontag="([^"]+)"')
_LAYOUT_NUMBERS = 1000
"""More than Slicer's own layouts use."""


class SideBySide:
    """``enter`` for a result, ``leave`` to go back; both may be called at any time."""

    def __init__(self) -> None:
        self._nodes: SceneNodes | None = None
        self._formerLayout: int | None = None
        self._formerVolumes: dict[str, str | None] = {}

    @property
    def isEntered(self) -> bool:
        return self._formerLayout is not None

    def enter(self, nodes: SceneNodes) -> None:
        """Show the volumes of ``nodes`` beside each other; needs a straightened volume."""
        scene = slicer.mrmlScene
        layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is None or nodes.straightened is None:
            return
        if not self.isEntered:
            current = layout.GetViewArrangement()
            # Ours is never the one to go back to: a scene that was saved with it leaves it behind.
            self._formerLayout = layout.SlicerLayoutConventionalView if current == LAYOUT_ID else current
            _describeLayout(layout)
            layout.SetViewArrangement(LAYOUT_ID)
            # A Slicer without this extension does not know the layout, and would open the saved scene without a view.
            layout.SetSaveWithScene(False)
        self._nodes = nodes
        for name, volume in (
            ("Red", nodes.input_volume),
            ("Yellow", nodes.input_volume),
            (STRAIGHT_VIEW, nodes.straightened),
        ):
            composite = _composite(scene, name)
            self._formerVolumes.setdefault(name, composite.GetBackgroundVolumeID())
            composite.SetBackgroundVolumeID(None if volume is None else volume.GetID())
        _fit(_view(scene, STRAIGHT_VIEW), nodes.straightened)
        plot = scene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
        if plot is not None and nodes.chart is not None:
            plot.SetPlotChartNodeID(nodes.chart.GetID())
        self._showPointsPerView(scene)

    def leave(self) -> None:
        """Back to the layout and the volumes of before."""
        if not self.isEntered:
            return
        scene = slicer.mrmlScene
        layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        self._leaveLayout(layout)
        for name, volumeId in self._formerVolumes.items():
            composite = _composite(scene, name)
            composite.SetBackgroundVolumeID(volumeId if volumeId and scene.GetNodeByID(volumeId) else None)
        for node in self._ofThePatient():
            node.GetDisplayNode().RemoveAllViewNodeIDs()
        for display in self._straightDisplays:
            display.SetVisibility(False)
        self.forget()

    def forget(self) -> None:
        """The scene is going: its layout comes back, and nothing else is there to bring back."""
        self._leaveLayout(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode"))
        self._nodes = None
        self._formerLayout = None
        self._formerVolumes = {}

    def _leaveLayout(self, layout: slicer.vtkMRMLLayoutNode | None) -> None:
        if layout is None or not self.isEntered:
            return
        layout.SetSaveWithScene(True)
        if layout.GetViewArrangement() == LAYOUT_ID:
            layout.SetViewArrangement(self._formerLayout)

    def _showPointsPerView(self, scene: slicer.vtkMRMLScene) -> None:
        """What is in straightened coordinates in the straightened view alone, what is in the patient in all others."""
        straight = _view(scene, STRAIGHT_VIEW)
        others = _otherViews(scene, straight)
        for node in self._ofThePatient():
            node.GetDisplayNode().SetViewNodeIDs(others)
        for display in self._straightDisplays if straight is not None else ():
            display.SetViewNodeIDs([straight.GetID()])
            display.SetVisibility(True)

    @property
    def _straightDisplays(self) -> list[slicer.vtkMRMLDisplayNode]:
        """Of points, labels and bodies in straightened coordinates; the user may have deleted them."""
        nodes = (self._nodes.straight_points, self._nodes.straight_labels, self._nodes.straight_bodies)
        displays = [node.GetDisplayNode() for node in nodes if node is not None]
        return [display for display in displays if display is not None]

    def _ofThePatient(self) -> list[slicer.vtkMRMLDisplayableNode]:
        nodes = self._nodes
        own = [*nodes.points.values(), nodes.labels, nodes.side_labels, nodes.centerline, nodes.landmarks, nodes.bodies]
        return [node for node in own if node is not None and node.GetDisplayNode() is not None]


def registerLayout() -> None:
    """Let the scene's layout node know the layout, so that a scene that was saved with it opens with its views."""
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None:
        _describeLayout(layout)


def _describeLayout(layout: slicer.vtkMRMLLayoutNode) -> None:
    if not layout.IsLayoutDescription(LAYOUT_ID):
        layout.AddLayoutDescription(LAYOUT_ID, _DESCRIPTION)


def _view(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLSliceNode | None:
    return scene.GetSingletonNode(name, "vtkMRMLSliceNode")


def _otherViews(scene: slicer.vtkMRMLScene, straight: slicer.vtkMRMLSliceNode | None) -> list[str]:
    """IDs of all other slice and 3D views, those included that only a change of the layout makes.

    A scene that is saved side by side may be looked at in any layout, where nobody is there to add a view to this list.
    """
    views = [
        scene.GetNthNodeByClass(index, className)
        for className in _VIEW_CLASSES
        for index in range(scene.GetNumberOfNodesByClass(className))
    ]
    known = {view.GetID() for view in views if view is not straight}
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    for number in range(_LAYOUT_NUMBERS):
        if layout is not None and layout.IsLayoutDescription(number):
            known |= {kind + name for kind, name in _VIEW_IN_LAYOUT.findall(layout.GetLayoutDescription(number))}
    return sorted(known)


def _composite(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLSliceCompositeNode:
    """The view's composite node; Slicer's slice widget has made it, elsewhere it is made here."""
    composite = scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
    if composite is None:
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetSingletonTag(name)
        composite.SetLayoutName(name)
        composite = scene.AddNode(composite)
    return composite


def _fit(view: slicer.vtkMRMLSliceNode | None, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Center a sagittal view on the whole volume."""
    if view is None:
        return
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    view.SetOrientation("Sagittal")
    view.JumpSliceByCentering(*(0.5 * (bounds[2 * axis] + bounds[2 * axis + 1]) for axis in range(3)))
    width, height = (max(size, 1) for size in view.GetDimensions()[:2])
    tall = max(bounds[5] - bounds[4], (bounds[3] - bounds[2]) * height / width)
    view.SetFieldOfView(tall * width / height, tall, 1.0)
