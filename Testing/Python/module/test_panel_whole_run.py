"""The whole way with the true worker process on a phantom: a click, the progress, the result, and the way to it."""

import numpy as np
import pytest
from curve_helpers import drag, edit, settled
from panel_helpers import cells, chosen_points, detect, until
from PySide6.QtCore import QElapsedTimer, QTimer

from VertebralFractureLib.export.scene import find_results, read_report
from VertebralFractureLib.vertebrae import GRADING_RULES


@pytest.mark.usefixtures("a_phantom_node")
def test_a_click_finds_the_fracture_and_leads_to_it(the_real_widget, scene, a_phantom):
    widget, ui = the_real_widget, the_real_widget.ui
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    stages, shares, pauses = [], [], []
    clock, timer = QElapsedTimer(), QTimer()
    timer.timeout.connect(lambda: pauses.append(clock.restart()))

    clock.start()
    timer.start(5)
    ui.detectButton.click()
    widget.run.progressed.connect(lambda stage, _: (stages.append(stage), shares.append(ui.progressBar.value)))
    until(lambda: widget.run is None, 300.0)
    timer.stop()

    assert ui.stageLabel.text == ""
    assert list(dict.fromkeys(stages)) == ["export", "read", "canal", "cpr", "vertebrae", "fracture", "scene"]
    assert shares == sorted(shares)
    # The worker takes both processors here; what the panel itself takes is measured in test_panel_accidents.
    assert np.quantile(pauses, 0.99) < 100

    report = read_report(scene)
    levels = [row[0] for row in cells(ui.vertebraTable)]
    assert levels == [vertebra.label for vertebra in reversed(report.vertebrae)]
    assert "T12" in ui.impressionLabel.text

    ui.vertebraTable.cellClicked.emit(levels.index("T12"), 0)
    truth = next(vertebra for vertebra in a_phantom.reference.vertebrae if vertebra.level == "T12")
    center = np.array([view.GetSliceToRAS().GetElement(row, 3) for row in range(3)])
    assert np.linalg.norm(center - np.array(truth.center_ras)) < 10.0
    assert len(chosen_points(scene)) == 1
    assert chosen_points(scene)[0].startswith("T12")

    ui.thresholdSlider.value = 0.99
    ui.ruleSelector.setCurrentIndex(list(GRADING_RULES).index("min_over_max"))
    raw = {row[0]: row[2].splitlines()[0] for row in cells(ui.vertebraTable)}
    assert raw["T12"] in ("2 moderate", "3 severe")
    assert read_report(scene) == report
    assert find_results(scene)[0].straightened.GetSpacing() == (1.0, 1.0, 1.0)
    assert ", fracture networks 25d-" in ui.madeWithLabel.text


@pytest.mark.usefixtures("a_phantom_node")
def test_a_second_detection_and_the_first_correction_need_no_export_no_reading_and_no_search_for_the_canal(
    the_real_widget, scene
):
    widget, session = the_real_widget, the_real_widget.logic.session
    detect(widget)
    first, counted, stages = read_report(scene), dict(session.counters), []

    session.progressed.connect(lambda _command, stage, _fraction: stages.append(stage))
    detect(widget)
    second = read_report(scene, find_results(scene)[-1])
    edit(widget)
    drag(widget, 12, (2.0, -1.0, 0.0))
    until(settled(widget))

    assert (session.started, counted["volume_reads"], counted["canal_runs"]) == (1, 1, 1)
    assert session.counters == counted
    assert set(stages) == {"cpr", "vertebrae", "fracture"}
    assert (second.centerline, second.sequence, second.vertebrae) == (
        first.centerline,
        first.sequence,
        first.vertebrae,
    )
