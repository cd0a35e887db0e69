"""Outlines of the bodies in slice views, and the segmentation that is made of them."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk
from correction_samples import landmarks
from outline_samples import an_outline
from panel_helpers import detect, until
from vtk.util.numpy_support import vtk_to_numpy

from VertebralFractureLib.export.palette import GROUPS
from VertebralFractureLib.export.scene import find_results, load_mrb, save_mrb
from VertebralFractureLib.result import edits
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFracturePanel.read.side_by_side import STRAIGHT_VIEW
from VertebralFracturePanel.shown_result import ShownResult


def moved(points):
    """From the samples' bodies at A = 27 to those of this folder, at R = 1 and A = 20."""
    return tuple((r + 1.0, a - 7.0, s) for r, a, s in points)


@pytest.fixture
def a_report(a_report):
    traced = [
        replace(
            v,
            outline_ras=moved(an_outline(v.center_ras[2])),
            landmarks_ras=moved(landmarks(v.center_ras[2], 18.0, 20.0, 26.0)),
        )
        if v.label != "T11"
        else v
        for v in a_report.vertebrae
    ]
    return replace(a_report, vertebrae=tuple(traced))


@pytest.fixture
def a_result(widget, a_spine_ct, a_successful_worker):  # noqa: ARG001
    detect(widget)
    return find_results(slicer.mrmlScene)[0]


def groups_at(node, s_mm):
    """Keys of the groups whose color the bodies have at that height."""
    points = vtk_to_numpy(node.GetPolyData().GetPoints().GetData())
    numbers = vtk_to_numpy(node.GetPolyData().GetPointData().GetScalars())
    return {GROUPS[number].key for number in numbers[np.abs(points[:, 2] - s_mm) < 14.0]}


def cut(node, r_mm):
    """The outlines in the sagittal slice at R: their points."""
    plane = vtk.vtkPlane()
    plane.SetOrigin(r_mm, 0.0, 0.0)
    plane.SetNormal(1.0, 0.0, 0.0)
    cutter = vtk.vtkCutter()
    cutter.SetCutFunction(plane)
    cutter.SetInputData(node.GetPolyData())
    cutter.Update()
    return vtk_to_numpy(cutter.GetOutput().GetPoints().GetData())


def test_a_slice_cuts_each_body_in_its_outline_in_the_color_of_its_grade(a_result):
    outlines = cut(a_result.bodies, 2.0)
    t12 = outlines[np.abs(outlines[:, 2] - 40.0) < 14.0]
    display = a_result.bodies.GetDisplayNode()

    assert t12[:, 2].max() == pytest.approx(52.0 + 0.7, abs=0.3)
    assert (t12[:, 1].min(), t12[:, 1].max()) == pytest.approx((4.0 - 0.7, 36.0 + 0.7), abs=0.4)
    assert groups_at(a_result.bodies, 40.0) == {"grade_2"}
    assert groups_at(a_result.bodies, 10.0) == {"grade_0"}
    assert display.GetVisibility()
    assert display.GetVisibility2D()
    assert not display.GetVisibility3D()
    assert display.GetColorNodeID() == a_result.grade_colors.GetID()
    assert display.GetColorNode().GetNumberOfColors() == len(GROUPS)


def test_a_suspected_body_shows_the_three_lines_of_its_heights_and_no_other_does(a_result):
    faces = a_result.bodies.GetPolyData()
    sides = vtk_to_numpy(faces.GetPoints().GetData())
    middle = sides[(np.abs(sides[:, 1] - 20.0) < 0.1) & (np.abs(sides[:, 0] - 1.0) < 10.0)]

    assert {round(float(s), 1) for s in middle[:, 2] if 25.0 < s < 55.0} >= {30.0, 50.0}
    assert not {0.0, 20.0} & {round(float(s), 1) for s in middle[:, 2] if s < 25.0}


def test_the_bodies_in_straight_space_are_those_of_the_patient(a_result):
    patient = vtk_to_numpy(a_result.bodies.GetPolyData().GetPoints().GetData())
    straight = vtk_to_numpy(a_result.straight_bodies.GetPolyData().GetPoints().GetData())
    back = vtk.vtkGeneralTransform()
    a_result.transform.GetTransformFromWorld(back)

    again = np.array([back.TransformPoint(*point) for point in straight[::50].astype(float)])

    assert again == pytest.approx(patient[::50], abs=0.1)
    assert not a_result.straight_bodies.GetDisplayNode().GetVisibility()


def test_the_outline_follows_a_dragged_height_point_and_its_undo(a_result):
    result = ShownResult(a_result)
    index = [v.label for v in result.shown.vertebrae].index("T12")
    before = cut(a_result.bodies, 2.0)

    result.edit(edits.drag_landmark, index, 1, (1.0, 20.0, 46.0))

    after = cut(a_result.bodies, 2.0)
    near = np.abs(after[:, 1] - 20.0) < 2.0
    assert after[near & (np.abs(after[:, 2] - 47.0) < 4.0)][:, 2].max() == pytest.approx(48.0 + 0.7, abs=0.5)

    result.undo()

    assert cut(a_result.bodies, 2.0) == pytest.approx(before)


def test_the_color_follows_the_readers_threshold(widget, a_result):
    widget.ui.thresholdSlider.value = 0.05

    assert groups_at(a_result.bodies, 10.0) == {"suspected"}
    assert groups_at(a_result.bodies, 40.0) == {"grade_2"}


def test_one_switch_hides_the_outlines_in_both_spaces_and_stays_in_the_scene(widget, a_result, scene, tmp_path):
    assert widget.ui.outlinesCheckBox.enabled
    assert widget.ui.outlinesCheckBox.checked

    widget.ui.outlinesCheckBox.checked = False

    both = (a_result.bodies, a_result.straight_bodies)
    assert not any(node.GetDisplayNode().GetVisibility2D() for node in both)
    save_mrb(scene, tmp_path / "scene.mrb")
    loaded = load_mrb(tmp_path / "scene.mrb")
    again = find_results(loaded)[0]
    assert not again.bodies.GetDisplayNode().GetVisibility2D()
    assert again.bodies.GetPolyData().GetNumberOfCells() == a_result.bodies.GetPolyData().GetNumberOfCells()


def test_a_saved_scene_shows_outlines_and_colors_without_this_extension(a_result, scene, tmp_path):
    save_mrb(scene, tmp_path / "scene.mrb")

    loaded = load_mrb(tmp_path / "scene.mrb")

    model = loaded.GetFirstNodeByName(a_result.bodies.GetName())
    display = model.GetDisplayNode()
    assert display.GetVisibility()
    assert display.GetVisibility2D()
    assert display.GetScalarVisibility()
    assert display.GetActiveScalarName() == "group"
    assert display.GetColorNode().GetColorName(2) == GROUPS[2].name
    assert groups_at(model, 40.0) == {"grade_2"}


def test_side_by_side_shows_each_space_its_own_bodies(widget, scene, a_result):
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    logic.GetLayoutNode().SetViewArrangement(logic.GetLayoutNode().SlicerLayoutFourUpView)

    widget.ui.sideBySideButton.click()

    straight = scene.GetSingletonNode(STRAIGHT_VIEW, "vtkMRMLSliceNode").GetID()
    yellow = scene.GetSingletonNode("Yellow", "vtkMRMLSliceNode").GetID()
    inside, outside = a_result.straight_bodies.GetDisplayNode(), a_result.bodies.GetDisplayNode()
    assert inside.GetVisibility()
    assert inside.IsDisplayableInView(straight)
    assert not inside.IsDisplayableInView(yellow)
    assert outside.IsDisplayableInView(yellow)
    assert not outside.IsDisplayableInView(straight)

    widget.ui.sideBySideButton.click()

    assert not inside.GetVisibility()
    assert outside.GetNumberOfViewNodeIDs() == 0


def segmentations(scene):
    return [
        scene.GetNthNodeByClass(place, "vtkMRMLSegmentationNode")
        for place in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
    ]


def test_the_button_makes_a_segmentation_with_the_levels_names_and_codes(widget, scene, a_result):
    widget.ui.segmentationButton.click()
    until(lambda: segmentations(scene) and not widget.view.exportSection.isExporting)

    (node,) = segmentations(scene)
    segments = node.GetSegmentation()
    names = [segments.GetNthSegment(place).GetName() for place in range(segments.GetNumberOfSegments())]
    t12 = segments.GetNthSegment(names.index("T12"))
    terminology = vtk.reference("")
    t12.GetTag("TerminologyEntry", terminology)
    assert names == ["L1", "T12"]
    assert t12.GetLabelValue() == LEVEL_NUMBERS["T12"]
    assert "23215003" in str(terminology)
    assert "T11" in widget.ui.exportLabel.text
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(a_result.table))
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


@pytest.mark.usefixtures("a_result")
def test_the_segmentation_lies_where_the_bodies_are(widget, scene):
    widget.ui.segmentationButton.click()
    until(lambda: segmentations(scene) and not widget.view.exportSection.isExporting)

    segment = segmentations(scene)[0].GetSegmentation().GetNthSegment(1)
    name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    ijk = np.argwhere(voxels == segment.GetLabelValue())[:, ::-1]
    ras = ijk @ slicer.util.arrayFromVTKMatrix(matrix)[:3, :3].T + slicer.util.arrayFromVTKMatrix(matrix)[:3, 3]
    assert segment.GetName() == "T12"
    assert ras.mean(axis=0) == pytest.approx([1.0, 20.0, 40.0], abs=1.0)
    assert (ras[:, 2].min(), ras[:, 2].max()) == pytest.approx((28.0, 52.0), abs=2.0)


@pytest.mark.usefixtures("a_result")
def test_what_somebody_painted_into_a_segmentation_stays_when_another_is_made_or_the_result_is_removed(widget, scene):
    widget.ui.segmentationButton.click()
    until(lambda: segmentations(scene) and not widget.view.exportSection.isExporting)
    (first,) = segmentations(scene)
    first.GetSegmentation().GetNthSegment(0).SetName("painted")

    widget.ui.segmentationButton.click()
    until(lambda: len(segmentations(scene)) == 2 and not widget.view.exportSection.isExporting)
    widget.ui.removeButton.click()

    assert first in segmentations(scene)
    assert first.GetSegmentation().GetNthSegment(0).GetName() == "painted"
