"""A volume goes into a file that a worker can read, slab by slab, so that Slicer's window never stands still."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from VertebralFractureLib.volume.nrrd_stream import nrrd_header
from VertebralFracturePanel.detect.volume_export import VolumeExport
from VertebralFracturePanel.process.background import finished


def handOver(
    export: VolumeExport, path: Path, background: ThreadPoolExecutor, progressed: Callable[[float], None]
) -> Generator[int, None, None]:
    """Steps, each with the pause in ms before the next; ``progressed`` gets the fraction that is written.

    Raises:
        UnusableVolume, OSError: when the volume is no longer what it was, or the file cannot be written.
    """
    bytesPerSlice = export.shape[1] * export.shape[2] * export.dtype.itemsize
    step = max(export.slabBytes // bytesPerSlice, 1)
    file = path.open("wb")
    try:
        file.write(nrrd_header(export.shape, export.dtype, export.ijkToRas))
        for first in range(0, export.shape[0], step):
            slab = export.slab(first, min(first + step, export.shape[0]))
            yield 0
            yield from finished(background.submit(file.write, slab))
            progressed(first / export.shape[0])
    finally:
        # In the thread, behind a write that may still be going on.
        closing = background.submit(file.close)
    yield from finished(closing)
