"""Level and probability beside every body: at no zoom do the words cover an endplate, a wall or the canal."""

import numpy as np
import pytest
import slicer
import vtk
from leaning_vertebra import VIEWS, add_layout, find_vertebra, let_t12_lean, view
from panel_helpers import choose, load_scene

from VertebralFractureLib.export.scene import find_results, new_scene, save_mrb
from VertebralFractureLib.export.scene.markups_nodes import EDITING_ATTRIBUTE, control_points
from VertebralFractureLib.export.scene.result_folder import remove_nodes
from VertebralFracturePanel.read.side_by_side import STRAIGHT_VIEW

CANAL_BEHIND_MM = 10.0
"""The farthest that a canal reaches behind its center."""
SEEN_MM = 0.5
"""From a slice to a point that Slicer shows in it; it takes half the distance of slices."""


@pytest.fixture
def a_report(a_report):
    return let_t12_lean(a_report)


def in_the_picture(view, points):
    """Points (n, 3) in RAS mm as pixels (right, up) of a slice view and mm out of its slice."""
    to_picture = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.GetXYToRAS(), to_picture)
    places = np.array([to_picture.MultiplyPoint([*point, 1.0])[:3] for point in np.reshape(points, (-1, 3)).tolist()])
    normal = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]
    center = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
    return places[:, :2], np.abs((np.reshape(points, (-1, 3)) - center) @ normal)


def labels_in(view, nodes):
    """Words that Slicer writes in a slice view, and the pixel that each begins at."""
    found = {}
    for node in (nodes.labels, nodes.side_labels, *nodes.points.values()):
        display = node.GetDisplayNode()
        if not (display.GetVisibility() and display.GetPointLabelsVisibility() and display.GetVisibility2D()):
            continue
        for number, point in enumerate(control_points(node)):
            (place,), (away,) = in_the_picture(view, point)
            if away < SEEN_MM:
                found.setdefault(node.GetNthControlPointLabel(number), []).append(place)
    return found


def bodies_in(view, nodes):
    """Pixels of the outlines that Slicer draws in a slice view."""
    to_ras = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    plane = vtk.vtkPlane()
    plane.SetOrigin(*to_ras[:3, 3])
    plane.SetNormal(*to_ras[:3, 2])
    cutter = vtk.vtkCutter()
    cutter.SetCutFunction(plane)
    cutter.SetInputData(nodes.bodies.GetPolyData())
    cutter.Update()
    cut = cutter.GetOutput()
    return in_the_picture(view, [cut.GetPoint(place) for place in range(cut.GetNumberOfPoints())])[0]


@pytest.mark.parametrize("name", list(VIEWS))
@pytest.mark.parametrize("width_mm", [400.0, 240.0, 80.0, 40.0])
def test_the_words_begin_beside_the_body_and_run_away_from_it_at_every_zoom(
    widget, scene, seen_result, a_report, name, width_mm
):
    choose(widget, "T12")
    shown = view(scene, name)
    shown.SetFieldOfView(width_mm, width_mm, 1.0)

    ((begin,),) = [places for words, places in labels_in(shown, seen_result).items() if words.startswith("T12")]

    # Slicer writes to the right: what lies left of where the words begin is never covered
    body = bodies_in(shown, seen_result)
    assert len(body) > 10
    assert begin[0] > body[:, 0].max()
    if name == "Yellow":
        canal = np.array([0.0, np.sin(40.0 / 30.0), 40.0]) - (0.0, CANAL_BEHIND_MM, 0.0)
        assert begin[0] > in_the_picture(shown, canal)[0][0, 0]
    # And they stand at the height of the body, so that nobody takes them for a neighbor's
    center = in_the_picture(shown, find_vertebra(a_report, "T12").center_ras)[0][0]
    assert abs(begin[1] - center[1]) * shown.GetFieldOfView()[1] / shown.GetDimensions()[1] < 8.0


def test_no_words_stand_on_a_vertebras_point_or_on_the_points_that_a_reader_drags(widget, seen_result):
    choose(widget, "T12")
    widget.ui.landmarksButton.click()

    handles = [
        node for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode") if node.GetAttribute(EDITING_ATTRIBUTE)
    ]
    assert [node.GetName() for node in handles] == ["Height points"]
    for node in (
        *handles,
        *seen_result.points.values(),
        seen_result.landmarks,
        seen_result.straight_points,
    ):
        assert not node.GetDisplayNode().GetPointLabelsVisibility()


def words(node):
    return [node.GetNthControlPointLabel(number) for number in range(node.GetNumberOfControlPoints())]


def test_labels_follow_names_and_edits_and_the_chosen_one_stands_out(widget, scene, seen_result):
    nodes = (seen_result.labels, seen_result.side_labels, seen_result.straight_labels)
    assert all(words(node) == ["L1 · 0.10", "T12 · 0.93", "T11 · not evaluable"] for node in nodes)

    choose(widget, "T12")
    assert [nodes[0].GetNthControlPointSelected(number) for number in range(3)] == [False, True, False]
    widget.ui.levelsUpButton.click()

    at_points = sorted(label for node in find_results(scene)[0].points.values() for label in words(node))
    assert [label.split(" ")[0] for label in words(nodes[0])] == ["T12", "T11", "T10"]
    assert all(sorted(words(node)) == at_points for node in nodes)
    assert [nodes[1].GetNthControlPointSelected(number) for number in range(3)] == [False, True, False]
    before = control_points(nodes[0])
    widget.ui.removeVertebraButton.click()
    assert [control_points(node) for node in nodes[:1]] == [(before[0], before[2])]
    widget.ui.undoEditButton.click()
    assert control_points(nodes[0]) == before
    assert all(node.GetLocked() for node in nodes)


def test_one_box_hides_the_labels_of_both_spaces(widget, seen_result):
    widget.ui.labelsCheckBox.checked = False

    assert not any(node.GetDisplayNode().GetPointLabelsVisibility() for node in seen_result.label_nodes)
    assert len(seen_result.label_nodes) == 3
    widget.ui.labelsCheckBox.checked = True
    assert all(node.GetDisplayNode().GetPointLabelsVisibility() for node in seen_result.label_nodes)


def test_the_straightened_view_has_labels_of_its_own_on_the_same_vertebrae(widget, scene, seen_result):
    back = seen_result.transform.GetTransformFromParent()
    patient = [back.TransformPoint(point) for point in control_points(seen_result.straight_labels)]
    assert np.array(patient) == pytest.approx(np.array(control_points(seen_result.labels)), abs=0.05)

    widget.ui.sideBySideButton.click()

    straight, yellow = view(scene, STRAIGHT_VIEW).GetID(), view(scene, "Yellow").GetID()
    inside = seen_result.straight_labels.GetDisplayNode()
    assert inside.GetVisibility()
    assert inside.GetSliceProjection()
    assert inside.IsDisplayableInView(straight)
    assert not inside.IsDisplayableInView(yellow)
    for node in (seen_result.labels, seen_result.side_labels):
        assert node.GetDisplayNode().IsDisplayableInView(yellow)
        assert not node.GetDisplayNode().IsDisplayableInView(straight)

    widget.ui.sideBySideButton.click()

    assert not inside.GetVisibility()
    assert seen_result.labels.GetDisplayNode().GetNumberOfViewNodeIDs() == 0


def test_a_scene_of_an_earlier_version_keeps_the_labels_at_its_points(widget, scene, seen_result, tmp_path):
    # Given a scene without labels of their own
    remove_nodes(scene, list(seen_result.label_nodes))
    for node in seen_result.points.values():
        node.GetDisplayNode().SetPointLabelsVisibility(True)
    save_mrb(scene, tmp_path / "older.mrb")
    scene.Clear(0)
    load_scene(scene, tmp_path / "older.mrb")
    nodes = find_results(scene)[0]
    assert nodes.label_nodes == ()
    assert widget.ui.labelsCheckBox.checked

    widget.ui.labelsCheckBox.checked = False

    assert not any(node.GetDisplayNode().GetPointLabelsVisibility() for node in nodes.points.values())
    choose(widget, "T12")


def test_a_saved_scene_has_its_labels_in_the_same_places_without_this_module(widget, scene, seen_result, tmp_path):
    choose(widget, "T12")
    save_mrb(scene, tmp_path / "scene.mrb")
    other = new_scene()
    logics = add_layout(other)

    load_scene(other, tmp_path / "scene.mrb")

    for node in seen_result.label_nodes[:2]:
        again = other.GetFirstNodeByName(node.GetName())
        assert np.array(control_points(again)) == pytest.approx(np.array(control_points(node)), abs=1e-4)
        assert words(again) == words(node)
        display = again.GetDisplayNode()
        assert display.GetVisibility()
        assert display.GetPointLabelsVisibility()
        assert display.GetGlyphScale() == 0.0
    for logic in logics:
        logic.SetMRMLScene(None)
