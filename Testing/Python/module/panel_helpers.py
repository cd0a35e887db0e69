"""What the tests of the panel do again and again: wait in the event loop, and say what a person sees."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace

import slicer
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results
from VertebralFractureLib.export.scene.scene_file import import_mrb
from VertebralFractureLib.result.report import ReportedSequence, ScanResult

LINE = tuple((0.0, round(math.sin(s / 30.0), 6), float(s)) for s in range(0, 85, 5))
"""A gently bent canal, a point every 5 mm, RAS mm."""
SECRET_NAME, SECRET_UID, SECRET_FOLDER = "Doe^Jane 19450101", "1.2.840.99999.7.7", "private_patients"
"""What may be in no file that is handed on: a patient's name, an identifier, and a folder of the user's."""

ASSESSMENTS = ("none", "agrees", "no fracture", "grade 0", "grade 1", "grade 2", "grade 3", "not judged")
"""The choices of the panel, in their order."""


def until(condition, seconds=90.0):
    """Let Qt work until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        QApplication.processEvents()
        time.sleep(0.002)


def not_evaluable(report, reason):
    """The report of a scan that could not be judged, otherwise as ``report``."""
    return replace(
        report,
        status="not_evaluable",
        reason=reason,
        vertebrae=(),
        scan=ScanResult(None, None, (), 0.5),
        sequence=ReportedSequence((), (), ()),
    )


def load_scene(scene, path):
    """Load a file into the scene, as *File > Add Data* does."""
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    import_mrb(scene, application, path)
    QApplication.processEvents()


def close_and_load(scene, path):
    """Close the scene, and load the file."""
    scene.Clear()
    QApplication.processEvents()
    load_scene(scene, path)


def detect(widget):
    """Press the button and wait for the result."""
    widget.ui.detectButton.click()
    assert widget.run is not None
    until(lambda: widget.run is None)


def cells(table):
    """The words of the table, row by row."""
    columns = range(table.columnCount())
    return [[table.item(row, column).text() for column in columns] for row in range(table.rowCount)]


def display_boxes(ui):
    """The boxes of the section *Display*."""
    return (
        ui.pointsCheckBox,
        ui.labelsCheckBox,
        ui.centerlineCheckBox,
        ui.landmarksCheckBox,
        ui.outlinesCheckBox,
        ui.followCheckBox,
    )


def panel_state(widget):
    """Everything that the panel says about the result that it shows."""
    ui = widget.ui
    colors = [ui.vertebraTable.item(row, 2).background().color().name() for row in range(ui.vertebraTable.rowCount)]
    return {
        "input": ui.inputSelector.currentNode().GetName() if ui.inputSelector.currentNode() is not None else None,
        "headline": ui.impressionLabel.text,
        "cells": cells(ui.vertebraTable),
        "colors": colors,
        "chosen row": sorted({index.row() for index in ui.vertebraTable.selectedIndexes()}),
        "threshold": round(ui.thresholdSlider.value, 2),
        "rule": ui.ruleSelector.currentText,
        "shown": [box.checked for box in display_boxes(ui)],
        "opacity": round(ui.opacitySlider.value, 2),
        "second run": ui.secondRunSelector.currentText,
        "button": (ui.detectButton.text, ui.detectButton.enabled),
    }


def content(scene):
    """Everything in a scene that a person can see: the nodes by class and name, and the size of the data tree.

    Display and storage nodes are numbered by the scene, and nobody sees their names.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = [scene.GetNthNode(place) for place in range(scene.GetNumberOfNodes())]
    names = sorted(f"{node.GetClassName()} {re.sub('_[0-9]+$', '', node.GetName() or '')}" for node in nodes)
    return names, hierarchy.GetNumberOfItems()


def chosen_points(scene):
    """Labels of the points that stand out."""
    return [
        node.GetNthControlPointLabel(place)
        for nodes in find_results(scene)
        for node in nodes.points.values()
        for place in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointSelected(place)
    ]


def choose(widget, label):
    labels = [row[0] for row in cells(widget.ui.vertebraTable)]
    widget.ui.vertebraTable.cellClicked.emit(labels.index(label), 0)


def judge(widget, label, assessment, comment=""):
    choose(widget, label)
    widget.ui.assessmentSelector.setCurrentIndex(ASSESSMENTS.index(assessment))
    widget.ui.commentEdit.text = comment
    widget.ui.assessmentButton.click()
