"""The views of the CT turn to the chosen vertebra, so that what is drawn of it lies in what is seen, and back again."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
from leaning_vertebra import (
    AXES,
    VIEWS,
    add_composite,
    add_layout,
    find_vertebra,
    let_t12_lean,
    rotation,
    view,
)
from panel_helpers import choose, close_and_load, detect, load_scene
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import new_scene, save_mrb
from VertebralFractureLib.export.scene.turned_views import turn_views
from VertebralFracturePanel.read.side_by_side import STRAIGHT_VIEW


@pytest.fixture
def a_report(a_report):
    return let_t12_lean(a_report)


def orientations(scene):
    return {name: view(scene, name).GetOrientation() for name in VIEWS}


def matrix(scene, name):
    return slicer.util.arrayFromVTKMatrix(view(scene, name).GetSliceToRAS())


def off_the_plane(scene, name, points):
    """How far points (n, 3) lie from what a view shows, mm."""
    shown = matrix(scene, name)
    return np.abs((np.array(points) - shown[:3, 3]) @ shown[:3, 2])


def test_the_sagittal_view_shows_the_chosen_vertebra_where_its_outline_is_drawn(widget, scene, seen_result, a_report):
    # Given a body that is turned, leaning and tilted, whose outline a plain sagittal slice cuts far from
    t12 = find_vertebra(a_report, "T12")
    choose(widget, "L1")
    view(scene, "Yellow").JumpSliceByCentering(*t12.center_ras)
    assert off_the_plane(scene, "Yellow", t12.outline_ras).max() > 3.0
    assert seen_result.bodies.GetDisplayNode().GetVisibility2D()

    # When it is chosen
    choose(widget, "T12")

    # Then outline and height points lie in the slice, the axial one is across the body, the coronal one along it
    assert off_the_plane(scene, "Yellow", t12.outline_ras).max() < 0.01
    assert off_the_plane(scene, "Yellow", t12.landmarks_ras).max() < 0.01
    for name, axis in (("Yellow", 0), ("Green", 1), ("Red", 2)):
        assert abs(matrix(scene, name)[:3, 2] @ AXES[:, axis]) == pytest.approx(1.0, abs=1e-5)
        assert matrix(scene, name)[:3, 3] == pytest.approx(t12.center_ras)
    # And each picture is upright as the patient is: nothing is mirrored, and up is as near to up as can be
    for name, up in (("Yellow", 2), ("Green", 2), ("Red", 1)):
        turned = matrix(scene, name)[:3, :3]
        preset = slicer.util.arrayFromVTKMatrix(view(scene, name).GetSliceOrientationPreset(VIEWS[name]))
        assert np.linalg.det(turned) == pytest.approx(np.linalg.det(preset))
        assert turned.T @ turned == pytest.approx(np.eye(3), abs=1e-5)
        assert turned[up, 1] == pytest.approx(np.sqrt(1.0 - turned[up, 2] ** 2), abs=1e-5)
        assert (turned * preset).sum(axis=0).min() > 0.8


def test_a_vertebra_that_was_not_traced_is_shown_along_the_canal(widget, scene, seen_result, a_report):  # noqa: ARG001
    choose(widget, "T11")

    tangent = np.array([0.0, np.cos(70.0 / 30.0) / 30.0, 1.0])
    assert matrix(scene, "Red")[:3, 2] == pytest.approx(tangent / np.linalg.norm(tangent), abs=0.01)
    assert abs(matrix(scene, "Yellow")[0, 2]) == pytest.approx(1.0, abs=0.01)
    assert matrix(scene, "Yellow")[:3, 3] == pytest.approx(find_vertebra(a_report, "T11").center_ras)


@pytest.mark.usefixtures("seen_result")
def test_every_way_to_another_vertebra_turns_the_views_again(widget, scene):
    choose(widget, "T12")
    first = matrix(scene, "Red")

    widget.view.vertebraWalk.step(1)  # Ctrl+Down, as the key does

    assert not np.allclose(matrix(scene, "Red"), first)
    widget.ui.previousButton.click()
    assert matrix(scene, "Red") == pytest.approx(first)


def leave_module(widget):
    widget.exit()


def choose_another_volume(widget):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Other")
    slicer.util.updateVolumeFromArray(other, np.zeros((4, 4, 4), np.int16))
    widget.ui.inputSelector.setCurrentNode(other)


def close_scene(_widget):
    slicer.mrmlScene.Clear(0)


def remove_result(widget):
    widget.ui.removeButton.click()


def switch_off(widget):
    widget.ui.followCheckBox.checked = False


def detect_again(widget):
    detect(widget)


@pytest.mark.usefixtures("seen_result")
@pytest.mark.parametrize(
    "leave", [leave_module, choose_another_volume, close_scene, remove_result, switch_off, detect_again]
)
def test_slicers_own_orientations_come_back(widget, scene, leave):
    choose(widget, "T12")
    assert orientations(scene) == {name: f"Vertebra{orientation}" for name, orientation in VIEWS.items()}

    leave(widget)
    QApplication.processEvents()

    assert orientations(scene) == VIEWS
    assert not any(view(scene, name).HasSliceOrientationPreset("VertebraSagittal") for name in VIEWS)


@pytest.mark.usefixtures("seen_result")
def test_one_box_switches_it_off_and_on_and_stays_in_the_scene(widget, scene, tmp_path):
    widget.ui.followCheckBox.checked = False
    choose(widget, "T12")
    assert orientations(scene) == VIEWS

    save_mrb(scene, tmp_path / "scene.mrb")
    close_and_load(scene, tmp_path / "scene.mrb")
    assert not widget.ui.followCheckBox.checked

    widget.ui.followCheckBox.checked = True
    assert orientations(scene)["Yellow"] == "VertebraSagittal"


@pytest.mark.usefixtures("seen_result")
def test_a_view_that_the_user_rotated_stays_as_it_is(widget, scene):
    # Given a turned view that the user goes on to rotate, and one that was rotated before
    before = matrix(scene, "Green").copy()
    before[:3, :3] = rotation(2, 30.0) @ before[:3, :3]
    view(scene, "Green").GetSliceToRAS().DeepCopy(before.ravel())
    view(scene, "Green").UpdateMatrices()
    choose(widget, "T12")
    own = matrix(scene, "Yellow").copy()
    own[:3, :3] = rotation(2, 5.0) @ own[:3, :3]
    view(scene, "Yellow").GetSliceToRAS().DeepCopy(own.ravel())
    view(scene, "Yellow").UpdateMatrices()

    # When other vertebrae are chosen, and the module is left
    for act in (lambda: choose(widget, "L1"), lambda: choose(widget, "T12"), widget.exit):
        act()

        # Then both keep their directions
        assert matrix(scene, "Green")[:3, :3] == pytest.approx(before[:3, :3])
        assert matrix(scene, "Yellow")[:3, :3] == pytest.approx(own[:3, :3])


@pytest.mark.usefixtures("seen_result")
def test_linked_views_turn_each_for_itself_and_scroll_with_their_likes(widget, scene, logics, a_spine_ct):
    # Given two rows of three linked views, all of the same CT
    layout = logics[0].GetLayoutNode()
    layout.SetViewArrangement(layout.SlicerLayoutThreeOverThreeView)
    names = [node.GetLayoutName() for node in logics[0].GetViewNodes() if node.IsA("vtkMRMLSliceNode")]
    for name in names:
        composite = scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode") or add_composite(scene, name)
        view(scene, name).SetViewGroup(0)
        composite.SetBackgroundVolumeID(a_spine_ct.GetID())
        composite.SetLinkedControl(True)
    choose(widget, "T12")
    before = {name: matrix(scene, name).copy() for name in names}
    likes = [name for name in names if view(scene, name).GetOrientation() == "VertebraSagittal"]
    assert (len(names), len(likes)) == (6, 2)

    # When the user scrolls in a sagittal one
    slider = slicer.vtkMRMLSliceLogic()
    slider.SetMRMLScene(scene)
    slider.SetSliceNode(view(scene, "Yellow"))
    slider.SetSliceCompositeNode(scene.GetSingletonNode("Yellow", "vtkMRMLSliceCompositeNode"))
    slider.StartSliceOffsetInteraction()
    slider.SetSliceOffset(slider.GetSliceOffset() + 3.0)
    slider.EndSliceOffsetInteraction()

    # Then both sagittal ones move along the body's own axis, and no other does
    for name in names:
        moved = matrix(scene, name)[:3, 3] - before[name][:3, 3]
        assert matrix(scene, name)[:3, :3] == pytest.approx(before[name][:3, :3])
        assert np.abs(moved) == pytest.approx(3.0 * np.abs(AXES[:, 0]) if name in likes else np.zeros(3), abs=1e-4)


def test_side_by_side_turns_the_patients_views_and_not_the_straightened_one(widget, scene, seen_result, a_report):
    choose(widget, "T12")

    widget.ui.sideBySideButton.click()

    assert seen_result.straightened is not None
    assert view(scene, STRAIGHT_VIEW).GetOrientation() == "Sagittal"
    assert off_the_plane(scene, "Yellow", find_vertebra(a_report, "T12").outline_ras).max() < 0.01

    widget.ui.sideBySideButton.click()

    assert orientations(scene)["Yellow"] == "VertebraSagittal"
    widget.exit()
    assert orientations(scene) == VIEWS


@pytest.mark.usefixtures("seen_result")
def test_a_view_that_shows_another_volume_keeps_its_own_orientation(widget, scene, add_volume):
    other = add_volume("Another patient")
    scene.GetSingletonNode("Green", "vtkMRMLSliceCompositeNode").SetBackgroundVolumeID(other.GetID())

    choose(widget, "T12")

    assert orientations(scene) == {"Red": "VertebraAxial", "Yellow": "VertebraSagittal", "Green": "Coronal"}


@pytest.mark.usefixtures("seen_result")
def test_no_view_turns_while_points_are_placed_or_an_edit_is_made(widget, scene):
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    interaction = interaction or scene.AddNewNodeByClass("vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.Place)
    choose(widget, "T12")
    assert orientations(scene) == VIEWS

    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    choose(widget, "T12")
    before = matrix(scene, "Yellow").copy()
    widget.ui.assessmentButton.click()
    widget.ui.levelsUpButton.click()

    assert matrix(scene, "Yellow") == pytest.approx(before)


@pytest.mark.parametrize("sideBySide", [False, True])
def test_a_scene_saved_turned_opens_upright_at_the_vertebra_where_this_module_is_missing(
    widget, scene, seen_result, a_report, tmp_path, sideBySide
):
    # Given a scene that was saved with the views turned
    t12 = find_vertebra(a_report, "T12")
    assert seen_result.straightened is not None
    widget.ui.sideBySideButton.checked = sideBySide
    choose(widget, "T12")
    save_mrb(scene, tmp_path / "turned.mrb")

    # When it is opened with Slicer's own layouts and views alone
    other = new_scene()
    logics = add_layout(other)
    load_scene(other, tmp_path / "turned.mrb")

    # Then the sagittal view shows that vertebra with its outline, and Slicer's own orientation is one choice away
    assert matrix(other, "Yellow")[:3, 3] == pytest.approx(t12.center_ras, abs=1e-3)
    assert off_the_plane(other, "Yellow", t12.outline_ras).max() < 0.05
    assert orientations(other)["Yellow"] == "VertebraSagittal"
    view(other, "Yellow").SetOrientation("Sagittal")
    assert abs(matrix(other, "Yellow")[0, 2]) == 1.0
    for logic in logics:
        logic.SetMRMLScene(None)


@pytest.mark.usefixtures("seen_result")
def test_a_scene_saved_turned_is_led_back_where_this_module_opens_it(widget, scene, tmp_path):
    choose(widget, "T12")
    save_mrb(scene, tmp_path / "turned.mrb")
    close_and_load(scene, tmp_path / "turned.mrb")
    assert orientations(scene)["Yellow"] == "VertebraSagittal"

    widget.exit()

    assert orientations(scene) == VIEWS


def test_a_scan_whose_header_lies_is_turned_to_where_the_patient_is(scene, logics, seen_result, a_report):  # noqa: ARG001
    # Given a file that calls the patient's head front and the patient's back head
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    there = tuple(tuple(point) for point in (np.array(a_report.centerline.points_ras) @ axes).tolist())
    line = replace(a_report.centerline, points_ras=there, patient_axes_ras=tuple(map(tuple, axes.tolist())))
    moved = [
        replace(
            v,
            center_ras=tuple((np.array(v.center_ras) @ axes).tolist()),
            outline_ras=None if v.outline_ras is None else tuple(map(tuple, (np.array(v.outline_ras) @ axes).tolist())),
            landmarks_ras=None,
        )
        for v in a_report.vertebrae
    ]

    turn_views(scene, seen_result, replace(a_report, centerline=line, vertebrae=tuple(moved)), 1)

    # Then the axial view is across the spine, and the sagittal one shows the head above and the front to the left
    assert matrix(scene, "Red")[1, 2] > 0.9
    assert matrix(scene, "Yellow")[1, 1] > 0.9
    assert matrix(scene, "Yellow")[2, 0] > 0.9
    assert off_the_plane(scene, "Yellow", moved[1].outline_ras).max() < 0.01
