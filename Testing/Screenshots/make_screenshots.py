"""Draw the pictures of the documentation; run: ``python Testing/Screenshots/make_screenshots.py [--result DIR]``.

All show the phantom that ``python run.py demo`` draws and detects on, never a patient. The views are Slicer's own,
drawn off screen (``slicer_views``); putting several of them into one picture is all that is done here.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from editing_pictures import Editing
from panel_pictures import grab, open_panel, wait_until
from PIL import Image
from slicer_views import Picture, SlicerViews, add_bone_surface

from VertebralFractureLib.cli.main import main as vertebral_fracture
from VertebralFractureLib.export.picture_canvas import Canvas
from VertebralFractureLib.export.scene import find_results, load_mrb, read_report
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.turned_views import turn_views

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
THUMBNAIL = ROOT / "VertebralFracture" / "Resources" / "Icons" / "VertebralFracture-phantom.png"
BONE_THRESHOLD_HU = 190.0
SPACE, BAR = 4, 22
CHOSEN_LEVEL = "T12"
PANEL_HEIGHT, RUNNING_ROWS = 1060, 260
_GRAY_STEP = 6.0
BAR_TEXT, BACKGROUND = (0.05, 0.05, 0.05), (0.16, 0.16, 0.17)
# The colors of Slicer's default views, and that of the straightened one in the layout of the panel.
BARS = {
    "R": (0.952941, 0.290196, 0.2),
    "Y": (0.929412, 0.835294, 0.298039),
    "G": (0.431373, 0.690196, 0.294118),
    "S": (0.352941, 0.662745, 0.647059),
    "1": (0.454902, 0.541176, 0.839216),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--result", type=Path, default=None, help="folder of a detection on the demo phantom")
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--only-editing", action="store_true", help="draw the picture of a correction alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = arguments.result
        if result is None:
            vertebral_fracture(["demo", "--out", folder])
            result = Path(folder) / "result"
        scene = load_mrb(result / "scene.mrb")
        out = arguments.out
        out.mkdir(parents=True, exist_ok=True)
        if arguments.only_editing:
            save(editing(SlicerViews(scene)), out / "editing.png")
            return
        with Image.open(result / "overview.png") as overview:
            save(np.asarray(overview.convert("RGB")), out / "overview.png")
        panel = open_panel(scene)
        shown = grab(panel, PANEL_HEIGHT)
        save(shown, out / "panel-result.png")
        save(sections(panel), out / "panel-sections.png")
        save(running(panel), out / "panel-running.png")
        panel.cleanup()
    views = SlicerViews(scene)
    nodes = find_results(scene)[0]
    place = worst_place(nodes)
    save(thumbnail(views, nodes, place), THUMBNAIL)
    save(four_views(views, nodes, place), out / "views.png")
    original, straight = straightened_views(views, nodes, place, 430, "ruler and cube")
    save(tiled([[("Y", original), ("S", straight)]]), out / "straightened.png")
    original, straight = straightened_views(views, nodes, place, 290, "ruler")
    space = bone_view(views, nodes, place, (330, PANEL_HEIGHT - BAR), 1.6)
    save(beside(shown, tiled([[("Y", original), ("S", straight), ("1", space)]])), out / "slicer.png")
    save(editing(views), out / "editing.png")


def sections(panel: Any) -> Picture:
    """The sections below the table, unfolded, in two columns; T12 is chosen."""
    ui = panel.ui
    level = [ui.vertebraTable.item(row, 0).text() for row in range(ui.vertebraTable.rowCount)].index(CHOSEN_LEVEL)
    ui.vertebraTable.cellClicked.emit(level, 0)
    ui.criteriaSection.collapsed = True
    columns = [
        unfolded(panel, (ui.correctSection, ui.centerlineSection), ui.displaySection),
        unfolded(panel, (ui.displaySection, ui.exportSection, ui.advancedSection), ui.helpSection),
    ]
    ui.criteriaSection.collapsed = False
    height = max(column.shape[0] for column in columns)
    padded = [np.pad(column, ((0, height - len(column)), (0, 0), (0, 0)), "edge") for column in columns]
    return np.concatenate(padded, axis=1)


def unfolded(panel: Any, shown: tuple[Any, ...], following: Any) -> Picture:
    """Some sections, which stand one below the other, without what follows."""
    for section in shown:
        section.collapsed = False
    picture = grab(panel, PANEL_HEIGHT + 700)
    top, bottom = (section.mapTo(panel.parent, section.rect().topLeft()).y() for section in (shown[0], following))
    for section in shown:
        section.collapsed = True
    return picture[top - 4 : bottom]


def editing(views: SlicerViews) -> Picture:
    """The sections for corrections beside the patient and the straightened spine, a point of the centerline dragged."""
    state = Editing(views.scene, find_results(views.scene)[0], "T12")
    panel = state.sections()
    patient, straight = state.views(views, (330, panel.shape[0] - BAR))
    state.end()
    return beside(panel, tiled([[("Y", patient), ("S", straight)]]))


def running(panel: Any) -> Picture:
    """The top of the panel in the middle of a detection, which is then cancelled."""
    panel.ui.detectButton.click()
    wait_until(lambda: panel.ui.progressBar.value >= 40)
    picture = grab(panel, PANEL_HEIGHT)[:RUNNING_ROWS]
    panel.ui.detectButton.click()
    wait_until(lambda: panel.run is None)
    return picture


def worst_place(nodes: Any) -> tuple[float, ...]:
    """The center (RAS mm) of the first vertebra of the highest grade, moved sideways halfway to the canal.

    A sagittal slice there meets both, and Slicer shows points and curves only where the slice meets them.
    """
    highest = max(key for key in nodes.points if key.startswith("grade_"))
    center = nodes.points[highest].GetNthControlPointPosition(0)
    canal = min(control_points(nodes.centerline), key=lambda point: abs(point[2] - center[2]))
    return (0.5 * (center[0] + canal[0]), center[1], center[2])


def thumbnail(views: SlicerViews, nodes: Any, place: Any) -> Picture:
    """The phantom alone, as Sample Data shows it."""
    shown = [markups for markups in overlays(nodes) if markups.GetDisplayVisibility()]
    for markups in shown:
        markups.SetDisplayVisibility(False)
    picture = views.slice_picture("Sagittal", nodes.input_volume, place, 330.0, (260, 280), marks="none")
    for markups in shown:
        markups.SetDisplayVisibility(True)
    return picture


def four_views(views: SlicerViews, nodes: Any, place: Any) -> Picture:
    """Slicer's four-up layout when the worst vertebra is chosen: each view is turned to it."""
    volume = nodes.input_volume
    size = (500, 420)
    report = read_report(views.scene, nodes)
    away = [np.linalg.norm(np.subtract(vertebra.center_ras, place)) for vertebra in report.vertebrae]
    chosen = int(np.argmin(away))

    def turn() -> None:
        turn_views(views.scene, nodes, report, chosen)

    axial, coronal, sagittal = (
        views.slice_picture(orientation, volume, report.vertebrae[chosen].center_ras, height_mm, size, turn=turn)
        for orientation, height_mm in (("Axial", 150.0), ("Coronal", 240.0), ("Sagittal", 240.0))
    )
    space = bone_view(views, nodes, place, size, 0.85)
    return tiled([[("R", axial), ("1", space)], [("G", coronal), ("Y", sagittal)]])


def bone_view(views: SlicerViews, nodes: Any, place: Any, size: tuple[int, int], zoom_out: float) -> Picture:
    """The right half of the spine in 3D, seen from the patient's left, with everything that was found."""
    r, a, s = place
    cut = (r, r + 60.0, a - 150.0, a + 90.0, s - 900.0, s + 900.0)
    bone = add_bone_surface(views.scene, nodes.input_volume, BONE_THRESHOLD_HU, cut)
    picture = views.threed_picture((-1.0, 0.3, 0.1), place, 300.0 * zoom_out, size)
    views.scene.RemoveNode(bone)
    return picture


def straightened_views(views: SlicerViews, nodes: Any, place: Any, width: int, marks: str) -> tuple[Picture, Picture]:
    """The patient and the straightened spine, both sagittal and at the same scale."""
    size = (width, PANEL_HEIGHT - BAR)
    height_mm = 1.04 * nodes.straightened.GetSpacing()[2] * nodes.straightened.GetImageData().GetDimensions()[2]
    original_center = (*place[:2], middle_of(nodes.input_volume)[2])
    original = views.slice_picture("Sagittal", nodes.input_volume, original_center, height_mm, size, marks)
    # The transform takes any node along: here the points, which keep the colors of their grades.
    moved = [nodes.centerline, *nodes.points.values()]
    for markups in moved:
        markups.SetAndObserveTransformNodeID(nodes.transform.GetID())
        markups.GetDisplayNode().SetSliceProjection(True)
        markups.GetDisplayNode().SetSliceProjectionOpacity(1.0)
    # Side by side shows each view the bodies and labels of its own space.
    patient = (nodes.bodies, nodes.labels, nodes.side_labels)
    straightened = (nodes.straight_bodies, nodes.straight_labels)
    displays = [node.GetDisplayNode() for node in (*patient, *straightened)]
    seen = [(display, display.GetVisibility(), list(display.GetViewNodeIDs())) for display in displays]
    for number, display in enumerate(displays):
        display.SetVisibility(number >= len(patient))
        display.RemoveAllViewNodeIDs()
    center = middle_of(nodes.straightened)
    straight = views.slice_picture("Sagittal", nodes.straightened, center, height_mm, size, marks)
    for markups in moved:
        markups.SetAndObserveTransformNodeID(None)
        markups.GetDisplayNode().SetSliceProjection(False)
    for display, visibility, ids in seen:
        display.SetVisibility(visibility)
        display.SetViewNodeIDs(ids)
    return original, straight


def overlays(nodes: Any) -> list[Any]:
    straight = (nodes.straight_points, nodes.straight_bodies)
    found = [nodes.centerline, nodes.landmarks, nodes.bodies, *nodes.label_nodes, *nodes.points.values(), *straight]
    return [node for node in found if node is not None]


def middle_of(volume: Any) -> tuple[float, ...]:
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    return tuple(0.5 * (low + high) for low, high in zip(bounds[::2], bounds[1::2], strict=True))


def tiled(rows: list[list[tuple[str, Picture]]]) -> Picture:
    """Views in rows under bars of their colors, as Slicer shows them."""
    height = sum(row[0][1].shape[0] + BAR + SPACE for row in rows) - SPACE
    width = sum(picture.shape[1] + SPACE for _, picture in rows[0]) - SPACE
    canvas = Canvas(width, height, BACKGROUND)
    top = 0
    for row in rows:
        left = 0
        for label, picture in row:
            columns = picture.shape[1]
            canvas.rectangle(left, top, columns, BAR, BARS[label])
            canvas.text(label, left + 10, top + BAR / 2, 15, BAR_TEXT, bold=True)
            canvas.image(picture / 255.0, left, top + BAR)
            left += columns + SPACE
        top += row[0][1].shape[0] + BAR + SPACE
    return as_picture(canvas)


def beside(left: Picture, right: Picture) -> Picture:
    canvas = Canvas(left.shape[1] + SPACE + right.shape[1], max(left.shape[0], right.shape[0]), BACKGROUND)
    canvas.image(left / 255.0, 0, 0)
    canvas.image(right / 255.0, left.shape[1] + SPACE, 0)
    return as_picture(canvas)


def as_picture(canvas: Canvas) -> Picture:
    return np.asarray(canvas.picture)


def save(picture: Picture, path: Path) -> None:
    canvas = Canvas(picture.shape[1], picture.shape[0], BACKGROUND)
    # In steps of a few gray levels, which nobody sees and which make noise much smaller in a file.
    canvas.image(np.round(picture / _GRAY_STEP) * _GRAY_STEP / 255.0, 0, 0)
    path.write_bytes(canvas.png())
    print(f"{path.name}: {picture.shape[1]} x {picture.shape[0]}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
