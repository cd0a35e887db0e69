"""MRML scenes without the Slicer application: make one, save it as ``.mrb``, load it again, write a result as a bundle.

The logics that know the node classes must exist before a file is read: without them markups load with no points and no
error. Reading also needs a remote cache folder, which is a temporary one here. A result is exported as a scene of its
own, written anew from its report, never copied: so nothing of the user's scene comes along by accident (names of nodes,
DICOM tags, paths, other patients), nothing in it is changed, and what hid the overlays there hides nothing here.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, cast

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.errors import NotEvaluable, OutputRefused, UnreadableVolume
from VertebralFractureLib.export import files
from VertebralFractureLib.export.scene.checked_bundle import checked_bundle
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, find_results, refresh_colors
from VertebralFractureLib.export.scene.show_report import criteria_of, show_criteria
from VertebralFractureLib.export.scene.slice_views import jump_to_vertebra, list_slice_views
from VertebralFractureLib.export.scene.volume_nodes import int16_voxels
from VertebralFractureLib.export.scene.write_scene import scene_steps, write_scene
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.private_folders import private_folder
from VertebralFractureLib.result import CorrectedReport, SpineReport
from VertebralFractureLib.result.deidentification import deidentify_corrected
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

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
    """Write the whole scene to ``path``, and read it again; an older file stays until the new one is complete.

    Raises:
        OutputRefused: when the file cannot be written, or does not hold the scene.
    """
    shown = one_line(path.name, NAME_LIMIT)
    with atomic_write(path) as partial, private_folder(_plain_folder(partial.parent)) as folder:
        written = folder / "scene.mrb"
        if not scene.WriteToMRB(str(written)) or not written.is_file():
            raise OutputRefused(f"The scene '{shown}' could not be written; check free space and permissions.")
        _require_readable(scene, written, shown)
        shutil.move(written, partial)


def _require_readable(scene: Any, path: Path, name: str) -> None:
    """Read the scene again from ``path``, and compare.

    Raises:
        OutputRefused: when it is not the same.
    """
    again, logics = _scene_with_logics()
    if not _read_bundle(again, logics[0], path) or Counter(_contents(scene)) - Counter(_contents(again)):
        raise OutputRefused(f"The scene '{name}' could not be read again once written; check free space.")


@contextmanager
def packing_result(ct: CTVolume, spine: StraightenedVolume | None, path: Path) -> Iterator[ResultFile]:
    """Compress the volumes of a result in a thread of its own, while the block does something else, and write it.

    When the block ends, what it did not write is given up.
    """
    given_up = Event()

    def tell(_: float) -> None:
        if given_up.is_set():
            raise _GivenUp

    with private_folder(_plain_folder(path.parent)) as folder, ThreadPoolExecutor(1) as thread:
        sources = {CT_FILE: (ct.hu, ct.ijk_to_ras)}
        if spine is not None:
            sources[STRAIGHTENED_FILE] = (spine.hu, spine.ijk_to_straight)

        def pack(file: str) -> Path:
            target = folder / Path(file).name
            files.pack_volume(int16_voxels(sources[file][0]), sources[file][1], target, tell)
            return target

        packed = {file: thread.submit(pack, file) for file in sources}
        try:
            yield ResultFile(ct, spine, path, folder, packed)
        finally:
            given_up.set()


class _GivenUp(Exception):
    """Nobody waits for the volume any more."""


@dataclass(frozen=True)
class ResultFile:
    """A scene file that is to be written; see ``packing_result``."""

    ct: CTVolume
    spine: StraightenedVolume | None
    path: Path
    folder: Path
    packed: Mapping[str, Future[Path]]

    def write(self, corrected: CorrectedReport) -> None:
        """Write the scene of a result, and read it again; an older file stays until the new one is complete.

        The nodes are written, and read again, with one voxel in place of each volume: a scene would hold all of them
        twice more in memory. Of the volumes the disk's checksums are compared.

        Raises:
            OutputRefused: when the file cannot be written, or does not hold the scene.
            OSError: when the disk refuses.
        """
        voxel = np.zeros((1, 1, 1), np.int16)
        spine = self.spine
        if spine is not None:
            spine = replace(spine, hu=voxel.astype(np.float32), inside=voxel.astype(np.bool_))
        scene = new_scene()
        nodes = write_scene(corrected, replace(self.ct, hu=voxel), spine, scene)
        if not corrected.shown.centerline.points_ras:
            middle = self.ct.ijk_to_ras_points(0.5 * (np.array(self.ct.shape_kji[::-1]) - 1.0))
            for view in list_slice_views(scene):
                view.JumpSliceByCentering(*middle)
        for volume, file in ((nodes.input_volume, CT_FILE), (nodes.straightened, STRAIGHTENED_FILE)):
            if volume is not None:
                volume.AddDefaultStorageNode(Path(file).name)
        bundle, small = self.folder / "scene", self.folder / "small.mrb"
        bundle.mkdir()
        if not scene.SaveSceneToSlicerDataBundleDirectory(str(bundle)):
            raise OutputRefused(f"The scene '{self.path.name}' could not be written; check free space and permissions.")
        files.pack_scene(bundle, {}, small, lambda _: None)
        _require_readable(scene, small, self.path.name)
        volumes = {file: waiting.result() for file, waiting in self.packed.items()}
        files.pack_scene(bundle, volumes, self.path, lambda _: None)


_PLAIN_PATH = re.compile(r"[^\[\]{}*?|<>\";%\\]*")


def _plain_folder(folder: Path) -> Path:
    """``folder``, or the system's temporary one where VTK would read its path as a pattern or could not read it at all.

    Raises:
        OutputRefused: when there is neither.
    """
    for place in (folder, Path(tempfile.gettempdir())):
        text = str(place).replace(os.sep, "/")
        if text.isprintable() and _PLAIN_PATH.fullmatch(text):
            return place
    raise OutputRefused("Neither the output folder nor the temporary folder has a name that a scene can be written to.")


def _contents(scene: Any) -> list[tuple[str, ...]]:
    """What a scene must not lose on its way through a file: the nodes that it saves, and how much each holds."""
    found: list[tuple[str, ...]] = []
    for name in ("Volume", "Markups", "Table", "Text", "Transform", "Model"):
        nodes = scene.GetNodesByClass(f"vtkMRML{name}Node")
        nodes.UnRegister(scene)
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if not node.GetSaveWithScene():
                continue
            found.append((node.GetClassName(), node.GetName(), _amount(node)))
    return found


def _amount(node: Any) -> str:
    if node.IsA("vtkMRMLVolumeNode"):
        image = node.GetImageData()
        scalars = None if image is None else image.GetPointData().GetScalars()
        if scalars is None:
            return "no voxels"
        # Reading may turn a left-handed grid over: the same voxels in another order.
        voxels = vtk_to_numpy(scalars).astype(np.int16, copy=False)
        counts = np.bincount(voxels.view(np.uint16).ravel(), minlength=2**16)
        return f"{sorted(image.GetDimensions())} {zlib.crc32(counts.tobytes()):08x}"
    if node.IsA("vtkMRMLMarkupsNode"):
        return f"{node.GetNumberOfControlPoints()} points"
    if node.IsA("vtkMRMLModelNode"):
        return f"{0 if node.GetPolyData() is None else node.GetPolyData().GetNumberOfCells()} faces"
    if node.IsA("vtkMRMLTableNode"):
        return f"{node.GetNumberOfRows()} rows"
    return node.GetText() or "" if node.IsA("vtkMRMLTextNode") else ""


def load_mrb(path: Path) -> Any:
    """The ``vtkMRMLScene`` of an ``.mrb`` file.

    Raises:
        UnreadableVolume: when the file is missing or is not a scene.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise UnreadableVolume(f"There is no scene file '{one_line(path.name, NAME_LIMIT)}'.")
    scene, logics = _scene_with_logics()
    import_mrb(scene, logics[0], path)
    return scene


def import_mrb(scene: Any, application_logic: Any, path: Path) -> None:
    """Read an ``.mrb`` file into ``scene``, whose logics exist, in place of what it holds.

    Raises:
        UnreadableVolume: when the file is not a scene, or leads to files outside itself.
    """
    with checked_bundle(path) as checked:
        if not _read_bundle(scene, application_logic, checked):
            raise UnreadableVolume(f"'{one_line(path.name, NAME_LIMIT)}' is not a scene that can be read.")
    for nodes in find_results(scene):
        refresh_colors(nodes)


def _read_bundle(scene: Any, application_logic: Any, path: Path) -> bool:
    """Let ``scene`` hold what an ``.mrb`` file holds, which is trusted; whether it could be read."""
    import slicer

    with private_folder(Path(tempfile.gettempdir())) as cache:
        remote = slicer.vtkMRMLRemoteIOLogic()
        remote.SetMRMLScene(scene)
        remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        manager = slicer.vtkDataIOManagerLogic()
        manager.SetMRMLApplicationLogic(application_logic)
        manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
        remote.AddDataIOToScene()
        working_folder = Path.cwd()
        try:
            is_read = bool(scene.ReadFromMRB(str(path), True))
        finally:
            # A file that is no bundle leaves the process in the folder that it was unpacked into, which is gone.
            os.chdir(working_folder)
        if is_read:
            remote.RemoveDataIOFromScene()
    return is_read


CT_FILE, STRAIGHTENED_FILE = "Data/CT.nrrd", "Data/Straightened.nrrd"
"""Where the bundle holds one voxel in place of each volume's."""


def bundle_steps(
    scene: Any, nodes: SceneNodes, ijk_to_ras: FloatArray, folder: Path, *, identifiers: bool
) -> Generator[None, None, None]:
    """Write the result of ``nodes`` into ``folder`` as Slicer's scene bundle, in short steps.

    The volumes ``CT_FILE`` and, where there is one, ``STRAIGHTENED_FILE`` hold one voxel each, in place of which the
    caller puts all of them: compressing those takes longer than an application may be kept waiting.

    Args:
        scene: that the result lies in.
        ijk_to_ras: 4x4 of the CT, to world RAS mm.
        folder: new or empty; its name becomes that of the scene file.
        identifiers: keep the input's name and the series UID.

    Raises:
        ValueError: when the result is damaged.
        OutputRefused: when the folder cannot be written to.
    """
    corrected = read_correction(scene, nodes)
    if not identifiers:
        corrected = deidentify_corrected(corrected)
    ct = CTVolume(np.zeros((1, 1, 1), np.int16), ijk_to_ras, corrected.shown.input.name)
    spine = None if nodes.straightened is None else _placeholder(corrected.shown)
    own = new_scene()
    yield
    made = yield from _written(scene_steps(corrected, ct, spine, own))
    shown = show_criteria(own, made, criteria_of(nodes, corrected.shown))
    if shown.suspected:
        # The reader's threshold may make another vertebra the first one.
        jump_to_vertebra(own, made, shown.vertebrae, shown.vertebrae.index(shown.suspected[-1]))
    yield
    if made.transform is not None and nodes.transform is not None:
        # The very transform that belongs to the voxels, also of a result that an older version made.
        made.transform.SetAndObserveTransformFromParent(_copy(nodes.transform.GetTransformFromParent()))
    for volume, file in ((made.input_volume, CT_FILE), (made.straightened, STRAIGHTENED_FILE)):
        if volume is not None:
            volume.AddDefaultStorageNode(Path(file).name)
    yield
    written = own.SaveSceneToSlicerDataBundleDirectory(str(folder))
    if not written or not (folder / f"{folder.name}.mrml").is_file():
        raise OutputRefused("The scene could not be written; check free space.")


def _written(writing: Generator[float, None, SceneNodes]) -> Generator[None, None, SceneNodes]:
    while True:
        try:
            next(writing)
        except StopIteration as end:
            return cast("SceneNodes", end.value)
        yield


def _placeholder(report: SpineReport) -> StraightenedVolume | None:
    """One voxel with the frame of the report's centerline; None where no frame can be laid along it."""
    line = report.centerline
    try:
        frame = lay_frame(line.curve())
    except NotEvaluable:
        return None
    voxel = np.zeros((1, 1, 1))
    return StraightenedVolume(voxel.astype(np.float32), voxel.astype(np.bool_), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), frame)


def _copy(transform: Any) -> Any:
    copy = transform.NewInstance()
    copy.DeepCopy(transform)
    return copy
