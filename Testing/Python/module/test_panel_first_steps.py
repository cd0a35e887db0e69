"""A panel with nothing to read yet leads on: one sentence, one button; and what is read before the first use."""

import types
from dataclasses import replace

import pytest
import slicer
import slicer_stand_ins
from panel_helpers import detect, not_evaluable
from PySide6.QtWidgets import QApplication

import VertebralFracture as module
from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.result import report_to_json
from VertebralFractureLib.result.report import ReportedCenterline
from VertebralFracturePanel.detect import first_use
from VertebralFracturePanel.detect.torch_installer import Remedy, TorchInstaller, TorchMissing
from VertebralFracturePanel.documentation import READING, pageAddress


@pytest.fixture
def opened(monkeypatch):
    """The modules and dialogs of Slicer that were opened."""
    opened = []
    application = type("Application", (), {"openExtensionsManagerDialog": lambda _self: opened.append("Extensions")})
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    monkeypatch.setattr(slicer, "app", application(), raising=False)
    return opened


def test_without_a_volume_the_panel_leads_to_the_dicom_module(widget, opened, add_volume):
    assert widget.ui.nextStepLabel.text.startswith("No CT is loaded;")
    assert not widget.ui.impressionLabel.visible

    widget.ui.nextStepButton.click()
    assert opened == ["DICOM"]

    add_volume("CT")
    QApplication.processEvents()
    assert not widget.ui.nextStepButton.visible
    assert widget.ui.impressionLabel.text == "No result for this volume yet."


class Unusable(TorchInstaller):
    def __init__(self, remedy):
        self.remedy = remedy

    def ensureTorch(self):
        raise TorchMissing("There is no PyTorch.", self.remedy)


@pytest.mark.usefixtures("a_ct")
@pytest.mark.parametrize(
    ("remedy", "leads_to"),
    [
        (Remedy.EXTENSIONS_MANAGER, ["Extensions"]),
        (Remedy.PYTORCH_UTILS, ["PyTorchUtils"]),
        (Remedy.TRY_AGAIN, []),
    ],
)
def test_without_pytorch_the_button_leads_to_where_it_is_mended(scene, opened, remedy, leads_to):  # noqa: ARG001
    widget = module.VertebralFractureWidget(
        slicer_stand_ins.module_parent(), module.VertebralFractureLogic(Unusable(remedy))
    )
    widget.setup()
    widget.ui.detectButton.click()

    assert widget.ui.stageLabel.text == "There is no PyTorch."
    assert not widget.ui.nextStepLabel.visible, "it is said once"
    widget.ui.nextStepButton.click()

    assert widget.ui.nextStepButton.text == remedy.value
    assert opened == leads_to
    widget.cleanup()


@pytest.mark.usefixtures("a_spine_ct")
def test_where_no_spine_was_found_the_panel_leads_to_drawing(widget, scene, a_report, a_worker, tmp_path):
    nothing = replace(not_evaluable(a_report, "no spine was found"), centerline=ReportedCenterline((), ()))
    (tmp_path / "answer.json").write_text(report_to_json(nothing), encoding="utf-8")
    a_worker("""
        (folder / "report.json").write_bytes(Path("answer.json").read_bytes())
        say(done=True, report=str(folder / "report.json"), exit_code=3)
    """)
    detect(widget)
    assert "a few clicks" in widget.ui.nextStepLabel.text

    widget.ui.nextStepButton.click()

    assert not widget.ui.centerlineSection.collapsed
    assert widget.ui.drawCenterlineButton.checked
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place


@pytest.mark.usefixtures("a_spine_ct")
def test_where_nothing_could_be_judged_the_panel_leads_to_the_curve(widget, a_report, a_successful_worker, tmp_path):  # noqa: ARG001
    reason = "no complete vertebra"
    (tmp_path / "answer.json").write_text(report_to_json(not_evaluable(a_report, reason)), encoding="utf-8")
    detect(widget)

    widget.ui.nextStepButton.click()

    assert widget.ui.editCenterlineButton.checked
    assert not widget.view.nodes.centerline.GetLocked()


@pytest.mark.usefixtures("a_spine_result")
def test_a_result_that_can_be_read_needs_no_next_step(widget, add_volume):
    add_volume("Another")
    add_volume("And another")
    QApplication.processEvents()

    assert not widget.ui.nextStepButton.visible
    assert not widget.ui.nextStepLabel.visible


def test_the_strip_before_the_first_use_says_three_things_and_is_dismissed_for_good(widget, logic):
    assert widget.ui.firstUseFrame.visible
    words = widget.ui.firstUseLabel.text
    assert words.count(". ") == 2
    assert RESEARCH_USE_ONLY.split(".")[0] in words

    widget.ui.dismissFirstUseButton.click()
    assert not widget.ui.firstUseFrame.visible

    later = module.VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    later.setup()
    assert not later.ui.firstUseFrame.visible
    later.cleanup()


def test_the_sample_of_the_strip_becomes_the_chosen_volume(scene, logic, add_volume, monkeypatch):  # noqa: ARG001
    # Given a sample that is drawn at once
    class DrawnAtOnce(first_use.PhantomSample):
        def __call__(self):
            self.ended.emit(add_volume("Phantom"))

    monkeypatch.setattr(first_use, "PhantomSample", DrawnAtOnce)
    add_volume("CT of a patient")
    widget = module.VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    widget.setup()

    widget.ui.sampleButton.click()

    assert widget.ui.inputSelector.currentNode().GetName() == "Phantom"
    widget.cleanup()


def test_help_is_where_people_look_for_it(widget, a_spine_result, monkeypatch):  # noqa: ARG001
    # Given a panel with a result, in the source tree
    opened = []
    monkeypatch.setattr("qt.QDesktopServices.openUrl", lambda url: opened.append(url.toString()))
    assert widget.ui.howToReadButton.visible

    # When the button below the table is pressed, then the page opens
    widget.ui.howToReadButton.click()
    assert opened[0].endswith("docs/explanation/reading-a-result.md")
    assert widget.ui.helpSection.collapsed

    # When there is no page, then the section Help unfolds
    monkeypatch.setattr("VertebralFracturePanel.read.results_view.pageAddress", lambda _page: "")
    widget.ui.howToReadButton.click()
    assert len(opened) == 1
    assert not widget.ui.helpSection.collapsed


@pytest.mark.parametrize(
    ("metadata", "address"),
    [
        (
            {"homepage": "https://example.org/SlicerVertebralFracture/"},
            "https://example.org/SlicerVertebralFracture/blob/main/docs/explanation/reading-a-result.md",
        ),
        ({"homepage": "https://github.com/PUBLISHER/SlicerVertebralFracture"}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_an_installed_extension_finds_its_pages_where_it_was_published(monkeypatch, tmp_path, metadata, address):
    model = types.SimpleNamespace(extensionMetadata=lambda _name: metadata)
    application = types.SimpleNamespace(extensionsManagerModel=lambda: model)
    monkeypatch.setattr(slicer, "app", application, raising=False)

    assert pageAddress(READING, tmp_path) == address
