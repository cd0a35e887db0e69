"""MRML scenes without the Slicer application: make one, save it as ``.mrb``, and load it again.

The logics that know the node classes must exist before a file is read: without them markups load with no points and no
error. Reading also needs a remote cache folder, which is a temporary one here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.errors import OutputRefused, UnreadableVolume
from VertebralFractureLib.export.scene.scene_nodes import find_results, refresh_colors

_LOGICS = (
    "vtkMRMLColorLogic",
    "vtkSlicerVolumesLogic",
    "vtkSlicerMarkupsLogic",
    "vtkSlicerTablesLogic",
    "vtkSlicerTransformLogic",
    "vtkSlicerPlotsLogic",
    "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerSubjectHierarchyModuleLogic",
    "vtkSlicerSequencesLogic",
)


def new_scene() -> Any:
    """An empty ``vtkMRMLScene`` that knows the node classes of a result."""
    return _scene_with_logics()[0]


def _scene_with_logics() -> tuple[Any, list[Any]]:
    import slicer

    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    logics = [application]
    for name in _LOGICS:
        logic = getattr(slicer, name)()
        logic.SetMRMLScene(scene)
        logics.append(logic)
    return scene, logics


def save_mrb(scene: Any, path: Path) -> None:
    """Write the whole scene to ``path``; an older file stays until the new one is complete.

    Raises:
        OutputRefused: when the file cannot be written.
    """
    path = Path(path).absolute()
    with atomic_write(path) as partial:
        if not scene.WriteToMRB(str(partial)) or not partial.is_file():
            raise OutputRefused(f"The scene '{path.name}' could not be written; check free space and permissions.")


def load_mrb(path: Path) -> Any:
    """The ``vtkMRMLScene`` of an ``.mrb`` file.

    Raises:
        UnreadableVolume: when the file is missing or is not a scene.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise UnreadableVolume(f"There is no scene file '{path.name}'.")
    scene, logics = _scene_with_logics()
    import_mrb(scene, logics[0], path)
    return scene


def import_mrb(scene: Any, application_logic: Any, path: Path) -> None:
    """Read an ``.mrb`` file into ``scene``, whose logics exist, in place of what it holds.

    Raises:
        UnreadableVolume: when the file is not a scene.
    """
    import slicer

    with tempfile.TemporaryDirectory(prefix="vertebral_fracture_") as cache:
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(scene)
        remote.GetCacheManager().SetRemoteCacheDirectory(cache)
        manager = slicer.vtkDataIOManagerLogic()
        manager.SetMRMLApplicationLogic(application_logic)
        manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        working_folder = Path.cwd()
        try:
            if not scene.ReadFromMRB(str(path), True):
                raise UnreadableVolume(f"'{path.name}' is not a scene that can be read.")
        finally:
            # A file that is no bundle leaves the process in the folder that it was unpacked into, which is gone.
            os.chdir(working_folder)
        remote.RemoveDataIOFromScene()
    for nodes in find_results(scene):
        refresh_colors(nodes)
