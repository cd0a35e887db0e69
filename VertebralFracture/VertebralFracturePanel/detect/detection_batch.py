"""Several CTs of the scene, detected one after the other: a CT that cannot be examined does not stop the others.

The next one begins when the process of the former has ended, so that no two CTs are held beside Slicer at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from VertebralFractureLib.export.scene import SceneNodes, find_results
from VertebralFractureLib.export.scene.scene_nodes import ATTRIBUTE_PREFIX, INPUT, ROLE_ATTRIBUTE
from VertebralFracturePanel.detect import detection_run
from VertebralFracturePanel.detect.detection_run import DetectionRun
from VertebralFracturePanel.detect.torch_installer import TorchMissing
from VertebralFracturePanel.detect.volume_export import UnusableVolume
from VertebralFracturePanel.process.event_loop_steps import EventLoopSteps
from VertebralFracturePanel.process.session_process import WATCH_MS, SessionProcess
from VertebralFracturePanel.process.signal import Signal


@dataclass(frozen=True)
class Outcome:
    """What became of one CT: the impression of its result, or why there is none."""

    name: str
    sentence: str


class DetectionBatch:
    """Runs once. Signals: ``advanced(volumeNode)`` before each CT, ``ended()`` when all are done or it was given up."""

    def __init__(
        self, volumes: Sequence[Any], session: SessionProcess, startRun: Callable[[Any], DetectionRun]
    ) -> None:
        """
        Args:
            startRun: starts a detection of a volume; raises ``UnusableVolume`` or ``TorchMissing``.
        """
        self.advanced = Signal()
        self.ended = Signal()
        self.outcomes: list[Outcome] = []
        self.number = 1
        """Of the CT that is being examined, or is next."""
        self.missing: TorchMissing | None = None
        self._stopped = ""
        self._volumes = list(volumes)
        self._session = session
        self._startRun = startRun
        self._steps = EventLoopSteps()

    @property
    def count(self) -> int:
        return len(self._volumes)

    @property
    def summary(self) -> str:
        """A line about each CT that was examined, and why it ended where not all were."""
        lines = [f"{outcome.name}: {outcome.sentence}" for outcome in self.outcomes]
        left = self.count - len(self.outcomes)
        if self._stopped and self.outcomes:
            lines.append(f"{self._stopped} {left} of {self.count} CTs were not examined.")
        elif self._stopped:
            lines.append(self._stopped)
        return "\n".join(lines)

    def start(self) -> None:
        self._steps.start(self._work())

    def cancel(self) -> None:
        """Begin no further CT; what is done is kept. The run that is going on is the caller's to cancel."""
        if self._steps.isRunning:
            self._stopped = "Cancelled."
            self._steps.stop()
            self.ended.emit()

    def _work(self) -> Generator[int, None, None]:
        for index, volume in enumerate(self._volumes):
            self.number = index + 1
            if volume.GetScene() is None:
                continue  # The user deleted it meanwhile.
            self._session.end()
            while not self._session.isGone:
                yield WATCH_MS
            self.advanced.emit(volume)
            try:
                run = self._startRun(volume)
            except UnusableVolume as error:
                self.outcomes.append(Outcome(volume.GetName(), str(error)))
                continue
            except TorchMissing as error:
                self.missing, self._stopped = error, str(error)
                break
            while run.state == detection_run.RUNNING:
                yield WATCH_MS
            if run.state == detection_run.DONE:
                self.outcomes.append(Outcome(volume.GetName(), impressionOf(run.nodes)))
            elif volume.GetScene() is not None:
                self.outcomes.append(Outcome(volume.GetName(), run.error))
        yield 0
        self.ended.emit()


def impressionOf(nodes: SceneNodes) -> str:
    """The finding as the table of the result keeps it."""
    return nodes.table.GetAttribute(ATTRIBUTE_PREFIX + "impression") or ""


def volumesWithoutResult(scene: Any) -> list[Any]:
    """The scene's volumes that may be a CT and have no result yet, in the scene's order."""
    known = {nodes.input_volume for nodes in find_results(scene)}
    kind = "vtkMRMLScalarVolumeNode"
    volumes = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    return [volume for volume in volumes if volume not in known and _mayBeCt(volume)]


def _mayBeCt(volume: Any) -> bool:
    """Not a label map, a color image, or a volume that a detection made."""
    image = volume.GetImageData()
    isPlain = volume.GetClassName() == "vtkMRMLScalarVolumeNode" and not volume.GetHideFromEditors()
    isMade = volume.GetAttribute(ROLE_ATTRIBUTE) not in (None, INPUT)
    return isPlain and not isMade and image is not None and image.GetNumberOfScalarComponents() == 1
