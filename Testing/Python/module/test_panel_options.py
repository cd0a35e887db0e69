"""The section Advanced: each choice is kept with the scene, reaches the worker, and is seen in the result."""

import json
from dataclasses import replace

import pytest
from panel_helpers import detect, load_scene

from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.export.scene import read_report, save_mrb
from VertebralFractureLib.fracture.members import PREFIX, choose_members
from VertebralFractureLib.options import ALL_MEMBERS, SINGLE_MODEL, DetectionOptions
from VertebralFractureLib.result import report_to_json
from VertebralFracturePanel.parameters import SPACINGS_MM


@pytest.fixture
def a_curious_worker(a_worker, tmp_path):
    """Keeps what it was asked, and gives up."""
    seen = tmp_path / "seen.json"
    a_worker(f"Path({str(seen)!r}).write_text(json.dumps(request['options'])); say(error='enough', exit_code=2)")
    return lambda: json.loads(seen.read_text(encoding="utf-8"))


def choose(widget):
    widget.ui.deviceSelector.setCurrentIndex(1)
    widget.ui.membersSelector.setCurrentIndex(1)
    widget.ui.spacingSelector.setCurrentIndex(SPACINGS_MM.index(0.8))
    widget.ui.threadsSpinBox.value = 3


@pytest.mark.usefixtures("a_ct")
def test_the_choices_reach_the_worker(widget, a_curious_worker):
    detect(widget)
    usual = a_curious_worker()
    choose(widget)

    detect(widget)

    request = a_curious_worker()
    names = ("device", "members", "spacing_mm", "threads")
    assert [usual[name] for name in names] == ["automatic", ["all"], 1.0, None]
    assert [request[name] for name in names] == ["cpu", ["single"], 0.8, 3]


@pytest.mark.usefixtures("a_ct")
def test_the_choices_come_back_with_the_scene(widget, scene, tmp_path):
    choose(widget)
    save_mrb(scene, tmp_path / "scene.mrb")

    scene.Clear()
    assert widget.ui.spacingSelector.currentText == "1 mm"
    load_scene(scene, tmp_path / "scene.mrb")

    ui = widget.ui
    shown = [box.currentText for box in (ui.deviceSelector, ui.membersSelector, ui.spacingSelector)]
    assert shown == ["CPU", "single model", "0.8 mm"]
    assert ui.threadsSpinBox.value == 3


def test_choices_that_a_scene_holds_in_an_unknown_form_are_the_defaults(widget):
    node = widget.logic.getParameterNode()
    for name in ("Device", "Members", "SpacingMm"):
        node.SetParameter(name, "nonsense")

    widget.restoreFromScene()

    options = widget.logic.parameters.options
    assert (options.device, options.members, options.spacing_mm) == ("automatic", ALL_MEMBERS, 1.0)
    assert widget.ui.deviceSelector.currentText == "automatic"


def test_a_scene_of_an_earlier_version_still_asks_for_a_single_model(widget):
    widget.logic.getParameterNode().SetParameter("Members", "fastest")

    widget.restoreFromScene()

    assert widget.logic.parameters.options.members == DetectionOptions(members=("fastest",)).members == SINGLE_MODEL


def test_a_script_is_told_what_cannot_be(logic, a_ct):
    for wrong in ({"device": "gpu"}, {"members": []}, {"spacingMm": 5.0}, {"threads": 0}):
        with pytest.raises(OptionRefused):
            logic.detectFractures(a_ct, **wrong)


def test_the_true_worker_does_as_it_is_told_and_the_panel_says_with_what(scene, a_phantom_node, the_real_widget):
    nodes = the_real_widget.logic.detectFractures(
        a_phantom_node, device="cpu", members=SINGLE_MODEL, spacingMm=1.5, threads=1
    )

    the_real_widget.updatePanel()
    software = read_report(scene, nodes).software
    (alone,) = choose_members(SINGLE_MODEL)
    assert nodes.straightened.GetSpacing() == (1.5, 1.5, 1.5)
    assert [name for name in software.weights_sha256 if name.startswith(PREFIX)] == [PREFIX + alone]
    assert software.device == "cpu"
    words = the_real_widget.ui.madeWithLabel.text
    assert f"computed on the CPU, fracture networks {alone}, straightened at 1.5 mm, in " in words


@pytest.mark.usefixtures("a_ct", "a_successful_worker")
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"kvp": "100", "contrast_agent": "yes", "slice_thickness_mm": "2.5"},
            "The CT's header says: 100 kV, with contrast medium, 2.5 mm thick slices.",
        ),
        ({"kvp": "120"}, "The CT's header says: 120 kV. Not known: contrast medium, slice thickness."),
        ({"kvp": "no number"}, "Not known: tube voltage, contrast medium, slice thickness."),
        ({}, "Not known: tube voltage, contrast medium, slice thickness."),
    ],
)
def test_the_panel_says_what_the_header_told_and_what_it_did_not(widget, a_report, tmp_path, facts, words):
    known = replace(a_report, input=replace(a_report.input, identifiers=facts))
    (tmp_path / "answer.json").write_text(report_to_json(known), encoding="utf-8")

    detect(widget)

    assert widget.ui.madeWithLabel.text.splitlines()[1] == words
