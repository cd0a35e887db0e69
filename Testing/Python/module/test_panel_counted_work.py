"""What one drag of a centerline point costs, counted: every reading, writing and showing of the report."""

from collections import Counter

import pytest
from curve_helpers import edit, grab, move, release, settled
from panel_helpers import judge, until

from VertebralFractureLib.cpr.sampler import ReformatSampler
from VertebralFractureLib.export.scene import find_results, load_mrb, report_node, save_mrb, show_report
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFracturePanel.process.session_process import SessionProcess
from VertebralFracturePanel.read import results_view


@pytest.fixture
def counted(monkeypatch):
    """Count calls, which go on to what they called before."""
    counts = Counter()

    def count(owner, name, key, weigh=lambda *_: 1):
        do = getattr(owner, name)

        def counting(*arguments, **more):
            counts[key] += weigh(*arguments)
            return do(*arguments, **more)

        monkeypatch.setattr(owner, name, counting)

    count(report_node, "corrected_to_json", "reports serialized")
    count(report_node, "corrected_from_json", "reports parsed")
    count(show_report, "fill_vertebra_table", "vertebra table written")
    count(results_view, "showReport", "panel's table filled")
    count(ReformatSampler, "sample", "planes reformatted", lambda _self, planes, *_: len(planes))
    count(SessionProcess, "ask", "requests")
    return counts


def test_one_drag_until_settled_serializes_and_shows_the_report_once_and_reformats_only_what_moved(
    widget, a_spine_result, counted
):
    live = widget.view.centerlineSection.live
    followed = []
    live.followed.connect(lambda: followed.append(1))
    edit(widget)
    until(settled(widget))
    counted.clear()

    grab(a_spine_result.centerline)
    for count in range(4):
        move(a_spine_result.centerline, 8, (1.0, 0.0, 0.0))
        until(lambda count=count: len(followed) > count)
    dragged = counted["planes reformatted"]
    release(a_spine_result.centerline)
    until(settled(widget))
    until(lambda: live.isReady)

    assert counted["reports serialized"] == 1
    assert counted["reports parsed"] == 0, "the panel holds what it wrote"
    assert counted["vertebra table written"] == 1
    assert counted["panel's table filled"] == 1
    planes = a_spine_result.straightened.GetImageData().GetDimensions()[2]
    assert counted["planes reformatted"] == dragged < 4 * planes, "what the other process reformatted is taken over"
    assert counted["requests"] == 2, "one for the way beside the point, one for the scores"


def test_a_scene_that_is_saved_while_scores_are_awaited_holds_the_edit_and_nothing_is_serialized_for_it(
    widget, scene, a_spine_result, counted, tmp_path
):
    judge(widget, "T12", "grade 1", "“äö” 100 % <&>; a:b")
    (tmp_path / "delay").write_text("60", encoding="utf-8")
    edit(widget)
    counted.clear()

    grab(a_spine_result.centerline)
    move(a_spine_result.centerline, 8, (1.0, 0.0, 0.0))
    release(a_spine_result.centerline)
    until(lambda: widget.logic.session.isAsked("rescore"))
    save_mrb(scene, tmp_path / "scene.mrb")
    loaded = load_mrb(tmp_path / "scene.mrb")

    assert counted["reports serialized"] == 0
    kept = read_correction(loaded, find_results(loaded)[0])
    assert kept.correction == widget.view.result.corrected.correction
    assert kept.correction.centerline_ras is not None
    assert "“äö” 100 % <&>; a:b" in [vertebra.reader.comment for vertebra in kept.shown.vertebrae]

    widget.ui.rescoreButton.click()

    assert counted["reports serialized"] == 1, "the scores were given up, so the result is settled"
    assert read_correction(scene, a_spine_result) == kept
