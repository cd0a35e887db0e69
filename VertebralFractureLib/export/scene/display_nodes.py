"""Color tables and the chart: how the result is shown, nothing that is read back."""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.palette import GROUPS, Color, probability_color
from VertebralFractureLib.export.scene.table_nodes import JUDGED_PROBABILITY

NOT_JUDGED = -0.01
"""In place of a probability where no vertebra was scored: one step below 0, with a color of its own."""
_STEPS = 101
_NOT_JUDGED_COLOR = (0.62, 0.64, 0.66)
_CURVE_COLOR = (0.84, 0.19, 0.15)
_THRESHOLD_COLOR = (0.45, 0.45, 0.45)


def add_grade_colors(scene: Any, name: str) -> Any:
    """``vtkMRMLColorTableNode`` with the legend's colors and words, in the order of ``palette.GROUPS``."""
    return _add_color_table(scene, name, [(group.name, group.color) for group in GROUPS])


def fill_grade_colors(node: Any) -> None:
    """Let the node of an older scene hold the groups of today; does nothing where it does."""
    if node.GetNumberOfColors() != len(GROUPS):
        _fill_color_table(node, [(group.name, group.color) for group in GROUPS])


def add_probability_colors(scene: Any, name: str, threshold: float) -> Any:
    """``vtkMRMLColorTableNode`` over ``NOT_JUDGED`` and 0 to 1 in steps of a hundredth; warm from ``threshold`` on."""
    return _add_color_table(scene, name, _probability_entries(threshold))


def set_probability_colors(node: Any, threshold: float) -> None:
    """Move the warm colors of such a node to begin at another threshold."""
    was_modifying = node.StartModify()
    # A scene of an earlier version has no color for what was not judged.
    for index, (words, color) in enumerate(_probability_entries(threshold)[-node.GetNumberOfColors() :]):
        node.SetColor(index, words, *color, 1.0)
    node.EndModify(was_modifying)


def _probability_entries(threshold: float) -> list[tuple[str, Color]]:
    shares = [index / (_STEPS - 1) for index in range(_STEPS)]
    return [("not judged", _NOT_JUDGED_COLOR), *((f"{p:.2f}", probability_color(p, threshold)) for p in shares)]


def _add_color_table(scene: Any, name: str, entries: list[tuple[str, Color]]) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    _fill_color_table(node, entries)
    return node


def _fill_color_table(node: Any, entries: list[tuple[str, Color]]) -> None:
    node.SetNumberOfColors(len(entries))
    for index, (words, color) in enumerate(entries):
        node.SetColor(index, words, *color, 1.0)
    node.GetLookupTable().SetTableRange(0, len(entries) - 1)


def add_chart(scene: Any, sequence_table: Any, name: str) -> tuple[Any, Any, Any]:
    """Probability over the position along the spine, with the threshold: two plot series and their chart."""
    import slicer

    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{name} chart")
    lines = []
    for column, line_name, color, style in (
        (JUDGED_PROBABILITY, name, _CURVE_COLOR, slicer.vtkMRMLPlotSeriesNode.LineStyleSolid),
        ("threshold", "Threshold", _THRESHOLD_COLOR, slicer.vtkMRMLPlotSeriesNode.LineStyleDash),
    ):
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", line_name)
        series.SetAndObserveTableNodeID(sequence_table.GetID())
        series.SetXColumnName("position_mm")
        series.SetYColumnName(column)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetLineStyle(style)
        series.SetLineWidth(2)
        series.SetColor(*color)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        lines.append(series)
    chart.SetTitle("Probability of a fracture along the spine")
    chart.SetXAxisTitle("position along the canal from the lower end (mm)")
    chart.SetYAxisTitle("probability")
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, 1.0)
    chart.SetLegendVisibility(False)
    return lines[0], lines[1], chart
