"""A result in the scene: it follows the reader's threshold and rule, leads the views, and goes without a trace."""

import math
from dataclasses import replace

import numpy as np
import pytest
import slicer
from panel_helpers import content

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.export.scene import (
    find_results,
    load_mrb,
    new_scene,
    read_report,
    save_mrb,
    scene_steps,
    write_scene,
)
from VertebralFractureLib.export.scene.result_folder import remove_result, restore_result
from VertebralFractureLib.export.scene.show_report import DisplayCriteria, criteria_of, read_shown_report, show_criteria
from VertebralFractureLib.export.scene.slice_views import highlight_vertebra, jump_to_vertebra, vertebra_at
from VertebralFractureLib.result.report import ReportedSequence
from VertebralFractureLib.result.words import write_impression


@pytest.fixture
def nodes(a_report, a_spine, scene, a_ct):
    return write_scene(a_report, None, a_spine, scene, input_node=a_ct)


def labels(nodes):
    return {
        key: [node.GetNthControlPointLabel(n) for n in range(node.GetNumberOfControlPoints())]
        for key, node in nodes.points.items()
    }


def test_another_rule_moves_the_points_between_the_grades_and_keeps_the_models_answer(scene, nodes, a_report):
    # All have heights of 18, 20 and 26 mm: 1 - 18 / 26 is a loss of 31 %.
    shown = show_criteria(scene, nodes, DisplayCriteria(0.5, "min_over_max"))

    assert [v.grade for v in shown.vertebrae] == [2, 2, None]
    after = find_results(scene)[0]
    assert labels(after) == {
        "grade_0": [],
        "grade_2": ["L1 · 0.10", "T12 · 0.93"],
        "not_evaluable": ["T11 · not evaluable"],
    }
    table = nodes.table.GetTable()
    column = {
        name: [table.GetColumnByName(name).GetValue(row) for row in range(3)] for name in ("grade", "shown_grade")
    }
    assert column == {"grade": [-1, 2, 0], "shown_grade": [-1, 2, 2]}
    assert read_report(scene, after) == a_report


def test_a_grade_that_nobody_had_gets_a_point_list_in_the_same_folder(scene, a_ct, a_report, a_spine):
    lowest, *others = a_report.vertebrae
    collapsed = replace(lowest, heights_mm=replace(lowest.heights_mm, anterior=14.0))
    nodes = write_scene(replace(a_report, vertebrae=(collapsed, *others)), None, a_spine, scene, a_ct)

    show_criteria(scene, nodes, DisplayCriteria(0.5, "over_posterior"))

    points = find_results(scene)[0].points["grade_3"]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (points, nodes.table)}
    assert points.GetNthControlPointLabel(0) == "L1 · 0.10"
    assert len(parents) == 1


def test_the_threshold_reaches_headline_colors_and_chart(scene, nodes):
    before = [0.0] * 4
    nodes.probability_colors.GetColor(11, before)

    shown = show_criteria(scene, nodes, DisplayCriteria(0.1))

    after = [0.0] * 4
    nodes.probability_colors.GetColor(11, after)
    assert write_impression(shown).startswith("2 fractures suspected, T12 and L1")
    assert nodes.table.GetAttribute("VertebralFracture.impression") == write_impression(shown)
    assert after[0] > before[0] + 0.3, "0.10 is at the threshold now, so it has a warm color"
    assert nodes.sequence.GetTable().GetColumnByName("threshold").GetValue(0) == 0.1


def test_what_the_model_says_beyond_the_scored_vertebrae_is_kept_and_not_drawn(scene, a_ct, a_report, a_spine):
    line, high = a_report.centerline, (0.99,) * 15
    positions = tuple(float(s) for s in range(0, 90, 6))
    loud = replace(a_report, sequence=ReportedSequence(positions, high, (0.0,) * 15))

    nodes = write_scene(loud, None, a_spine, scene, a_ct)

    low, top = loud.judged_mm
    assert low < top < 84.0
    inside = [low <= s <= top for s in positions]
    table = nodes.sequence.GetTable()
    drawn = [table.GetColumnByName(nodes.series.GetYColumnName()).GetValue(row) for row in range(len(positions))]
    assert [not math.isnan(value) for value in drawn] == inside
    assert read_report(scene, nodes).sequence == loud.sequence
    points = nodes.centerline.GetCurveWorld().GetPointData().GetScalars()
    along = Centerline(np.array(line.points_ras), np.array(line.confidence)).point_arc_lengths_mm
    colors = nodes.probability_colors.GetLookupTable()
    display = nodes.centerline.GetDisplayNode()
    assert display.GetScalarRange() == (-0.01, 1.0)
    assert nodes.probability_colors.GetColorName(0) == "not judged"
    measured = next(
        nodes.centerline.GetNthMeasurement(n).GetControlPointValues()
        for n in range(nodes.centerline.GetNumberOfMeasurements())
        if nodes.centerline.GetNthMeasurement(n).GetName() == "fracture probability"
    )
    values = [measured.GetValue(n) for n in range(measured.GetNumberOfValues())]
    assert values == [pytest.approx(0.99) if low <= s <= top else -0.01 for s in along]
    assert points.GetNumberOfTuples() > len(values)
    assert colors.GetNumberOfTableValues() == 102


def test_the_reading_survives_a_saved_scene(scene, nodes, tmp_path, a_report):
    show_criteria(scene, nodes, DisplayCriteria(0.05, "min_over_max"))
    save_mrb(scene, tmp_path / "scene.mrb")

    loaded = load_mrb(tmp_path / "scene.mrb")

    (found,) = find_results(loaded)
    assert criteria_of(found, read_report(loaded, found)) == DisplayCriteria(0.05, "min_over_max")
    assert [v.grade for v in read_shown_report(loaded, found).vertebrae] == [2, 2, None]
    assert [v.grade for v in read_report(loaded, found).vertebrae] == [v.grade for v in a_report.vertebrae]


def test_each_slice_view_jumps_in_the_space_that_it_shows(scene, nodes, a_report, a_spine):
    views = [scene.GetNthNodeByClass(n, "vtkMRMLSliceNode") for n in range(3)]
    scene.GetNthNodeByClass(1, "vtkMRMLSliceCompositeNode").SetBackgroundVolumeID(nodes.straightened.GetID())
    (straight,) = a_spine.frame.ras_to_straight(np.array([(1.0, 20.0, 40.0)]))

    jump_to_vertebra(scene, nodes, a_report.vertebrae, 1)

    center = [[view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] for view in views]
    np.testing.assert_allclose(center[0], (1.0, 20.0, 40.0), atol=1e-6)
    np.testing.assert_allclose(center[1], straight, atol=1e-6)


def test_the_views_stay_where_they_are_while_points_are_placed(scene, nodes, a_report):
    interaction = scene.AddNewNodeByClass("vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.Place)
    view = scene.GetNthNodeByClass(0, "vtkMRMLSliceNode")
    view.JumpSliceByCentering(5.0, 6.0, 7.0)

    jump_to_vertebra(scene, nodes, a_report.vertebrae, 1)

    assert [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == [5.0, 6.0, 7.0]


def test_one_vertebra_stands_out_and_its_point_names_it(nodes, a_report):
    highlight_vertebra(nodes, a_report.vertebrae, 1)

    chosen = [
        (key, n)
        for key, node in nodes.points.items()
        for n in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointSelected(n)
    ]
    assert chosen == [("grade_2", 0)]
    assert vertebra_at(a_report.vertebrae, nodes.points["grade_2"].GetNthControlPointPositionWorld(0)) == 1
    assert vertebra_at(a_report.vertebrae, (500.0, 0.0, 0.0)) is None


def test_points_can_be_clicked_but_neither_moved_nor_added(nodes):
    for node in nodes.points.values():
        assert not node.GetLocked()
        assert node.GetFixedNumberOfControlPoints()
        assert node.GetNthControlPointLocked(0)


def test_a_removed_result_leaves_no_trace_and_comes_back_whole(scene, a_ct, a_report, a_spine):
    write_scene(a_report, None, a_spine, scene, input_node=a_ct)
    before = content(scene)
    nodes = write_scene(a_report, None, a_spine, scene, input_node=a_ct)
    full = content(scene)

    removed = remove_result(scene, nodes)
    without = content(scene)
    restore_result(scene, removed)

    assert without == before
    assert content(scene) == full
    assert read_report(scene, find_results(scene)[-1]) == a_report


def test_writing_that_is_given_up_after_any_step_leaves_no_trace(scene, a_ct, a_report, a_spine):
    write_scene(a_report, None, a_spine, scene, input_node=a_ct)
    before = content(scene)
    other = new_scene()
    other_ct = other.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    steps = len(list(scene_steps(a_report, None, a_spine, other, other_ct)))

    for count in range(1, steps + 1):
        writing = scene_steps(a_report, None, a_spine, scene, a_ct)
        for _ in range(count):
            next(writing)
        writing.close()
        assert content(scene) == before, f"given up after step {count} of {steps}"
