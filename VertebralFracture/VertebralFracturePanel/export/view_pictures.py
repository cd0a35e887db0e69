"""Pictures of the views as they are on the screen, one PNG each, without what Slicer writes into their corners.

Those corners hold the volume's name and, for volumes from DICOM, the patient's: they stay only where that is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk

from VertebralFractureLib.atomic_write import write_file

View = tuple[str, Any]
"""Name and ``vtkRenderWindow``."""


def openViews() -> list[View]:
    """The slice and 3D views that Slicer's layout shows now."""
    layout = slicer.app.layoutManager()
    views = []
    for name in layout.sliceViewNames():
        widget = layout.sliceWidget(name)
        if widget.visible:
            views.append((name, widget.sliceView().renderWindow()))
    for index in range(layout.threeDViewCount):
        widget = layout.threeDWidget(index)
        if widget.visible:
            views.append((f"3D-{index + 1}", widget.threeDView().renderWindow()))
    return views


def writePicture(window: Any, path: Path, *, identifiers: bool) -> None:
    """Draw ``window`` (``vtkRenderWindow``) once more and write it as PNG.

    Raises:
        OSError: when the file cannot be written.
    """
    with _withoutCorners(window, not identifiers):
        window.Render()
        picture = vtk.vtkWindowToImageFilter()
        picture.SetInput(window)
        picture.SetInputBufferTypeToRGB()
        picture.ReadFrontBufferOff()
        picture.Update()
    # VTK says nothing when it cannot write, so Python opens the file.
    writer = vtk.vtkPNGWriter()
    writer.WriteToMemoryOn()
    writer.SetInputData(picture.GetOutput())
    writer.Write()
    write_file(path, bytes(memoryview(writer.GetResult())))


@contextmanager
def _withoutCorners(window: Any, isWanted: bool) -> Iterator[None]:
    corners = [prop for prop in _props(window) if prop.IsA("vtkCornerAnnotation") and prop.GetVisibility()]
    if not isWanted:
        corners = []
    for corner in corners:
        corner.SetVisibility(False)
    try:
        yield
    finally:
        for corner in corners:
            corner.SetVisibility(True)
        if corners:
            window.Render()


def _props(window: Any) -> Iterator[Any]:
    renderers = window.GetRenderers()
    for index in range(renderers.GetNumberOfItems()):
        props = renderers.GetItemAsObject(index).GetViewProps()
        yield from (props.GetItemAsObject(number) for number in range(props.GetNumberOfItems()))
