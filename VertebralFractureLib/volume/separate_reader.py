"""Read what only a library can read, DICOM and ITK's transforms, in a process of its own.

GDCM and HDF5 can crash, hang or take gigabytes on a damaged file. Here that ends a process which holds nothing else: a
crash becomes one sentence, and no voxel of an earlier scan is in its memory. NIfTI, NRRD and MetaImage need none of
this: ``image_header`` reads them without a library.

The process gets one request as a JSON line on standard input, and answers on standard output with the length of a JSON
text in eight bytes, the text, and the voxels. It ends with its parent: on Linux by the system, elsewhere as soon as its
input closes, and in any case when a file takes longer than its time (``file_guard``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import file_guard
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.memory_limit import require_memory
from VertebralFractureLib.volume.sitk_bridge import linear_transform_matrix

_LONGEST_ANSWER_BYTES = 1 << 26
_LAST_WORDS_BYTES = 4000
_WRITE_LIMIT_S = 600.0
_GRACE_S = 2.0
_LIBRARY = Path(__file__).resolve().parents[2]
_VOXEL_TYPES = ("int16", "float32")
_KILLED = 9
"""The signal by which Linux ends a process when memory runs out."""
_SHORT_OF_MEMORY = ("MemoryError", "annot allocate memory", "failed to map segment", "std::bad_alloc")

Answer = tuple[dict[str, Any], NDArray[np.generic] | None]


def read_dicom_apart(folder: Path, series: str | None, file: Path | None) -> CTVolume:
    """``reading.read_dicom_folder`` in a process of its own.

    Raises:
        UnreadableVolume: as there, and when the files end the process.
        OSError, MemoryError: as there.
    """
    said, hu = _ask("dicom", folder=str(folder.absolute()), series=series, file=str(file.absolute()) if file else None)
    assert hu is not None
    doubts = tuple(Doubt(DoubtKind(kind), values) for kind, values in said["doubts"])
    return CTVolume(hu, np.array(said["ijk_to_ras"]), said["name"], said["source"], doubts)


def list_dicom_apart(folder: Path) -> list[tuple[str, str, int]]:
    """UID, title and number of the patient of each series in a folder, in their order.

    Raises:
        UnreadableVolume, OSError: as ``dicom_series.list_dicom_series``, and when the files end the process.
    """
    said, _ = _ask("list", folder=str(folder.absolute()))
    return [(uid, title, patient) for uid, title, patient in said["series"]]


def read_linear_transform_apart(path: Path) -> FloatArray | None:
    """A linear ITK transform file as its matrix to the parent in RAS mm; None when it is not linear or not readable.

    Raises:
        UnreadableVolume: when the file ends the process.
    """
    matrix = _ask("transform", path=str(path.absolute()))[0]["matrix"]
    return None if matrix is None else np.array(matrix)


def find_python() -> str | None:
    """A Python to run: this one, or the one that Slicer brings, in which ``sys.executable`` is Slicer itself."""
    candidates = [sys.executable, shutil.which("PythonSlicer")]
    candidates += [str(Path(sys.prefix) / "bin" / "python3"), str(Path(sys.prefix) / "python.exe")]
    return next((one for one in candidates if one and "python" in Path(one).name.lower() and Path(one).is_file()), None)


def _ask(task: str, **arguments: str | None) -> Answer:
    """The answer of a process to one request.

    Raises:
        UnreadableVolume, OSError, MemoryError: what the process met, or when it ended without an answer.
        RuntimeError: when the process met a defect of the program.
    """
    python = find_python()
    if python is None:
        # No Python to start: the files are looked at, and read here.
        return _TASKS[task](arguments)
    with _started(python) as (process, log):
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"task": task, **arguments}).encode("ascii") + b"\n")
            process.stdin.flush()
        try:
            said = _read_said(process.stdout)
            if "hu" not in said:
                _raise(said)
                return said, None
            return said, _read_voxels(process.stdout, said)
        except EOFError:
            # Its input is closed, so a process that goes on without an answer ends now; what it said is known by then.
            with suppress(OSError):
                process.stdin.close()
            raise _explain(_wait(process), log) from None


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that should have ended; 1 where it had to be ended."""
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 1


def _read_said(stream: IO[bytes]) -> dict[str, Any]:
    length = int.from_bytes(_exactly(stream, 8), "little")
    if length > _LONGEST_ANSWER_BYTES:
        raise EOFError
    said: dict[str, Any] = json.loads(_exactly(stream, length))
    return said


def _read_voxels(stream: IO[bytes], said: Mapping[str, Any]) -> NDArray[np.generic]:
    shape, kind = tuple(int(size) for size in said["hu"]["shape"]), str(said["hu"]["dtype"])
    if len(shape) != 3 or min(shape) < 1 or kind not in _VOXEL_TYPES:
        raise EOFError
    require_memory(said["name"], int(np.prod(shape, dtype=np.float64)) * np.dtype(kind).itemsize)
    hu = np.empty(shape, dtype=kind)
    view = hu.reshape(-1).view(np.uint8).data
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]
    return hu


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _raise(said: Mapping[str, Any]) -> None:
    """Raise here what the process met."""
    if "refused" in said:
        raise UnreadableVolume(said["refused"])
    if "os_error" in said:
        raise OSError(*said["os_error"])
    if "memory" in said:
        raise MemoryError
    if "defect" in said:
        raise RuntimeError(said["defect"])


def _explain(code: int, log: BinaryIO) -> Exception:
    """Why a process ended without an answer."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _LAST_WORDS_BYTES))
    words = log.read().decode("utf-8", "replace")
    if code == -_KILLED or any(word in words for word in _SHORT_OF_MEMORY):
        return MemoryError()
    if "Timeout (" in words:
        how = "it takes longer to read than any whole file"
    elif "Traceback (most recent call last)" in words:
        return RuntimeError(f"The process that reads DICOM ended: {words}")
    else:
        how = f"the library that reads it ended with code {code}"
    return UnreadableVolume(
        f"A file of the input is damaged in such a way that {how}; export the series again, or convert it to NIfTI."
    )


@contextmanager
def _started(python: str) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """The process, and the file that takes what it writes besides its answer; it is gone afterwards, whatever happens.

    It is found in the folder of this package, never in the one that the user stands in, and does not get the
    terminal's signals, which are for its parent.
    """
    # Slicer's own Python finds its packages by this variable.
    found_at = os.pathsep.join([str(_LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": found_at, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [python, "-m", "VertebralFractureLib.volume.separate_reader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=_LIBRARY,
            env=environment,
            **apart,
        )
        try:
            yield process, log
        finally:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()
            process.wait()


def _read_dicom(arguments: Mapping[str, str | None]) -> Answer:
    from VertebralFractureLib.volume.reading import read_dicom_folder

    file = arguments["file"]
    ct = read_dicom_folder(Path(str(arguments["folder"])), arguments["series"], None if file is None else Path(file))
    said = {
        "hu": {"shape": ct.hu.shape, "dtype": ct.hu.dtype.name},
        "ijk_to_ras": ct.ijk_to_ras.tolist(),
        "name": ct.name,
        "source": dict(ct.source),
        "doubts": [(doubt.kind.value, dict(doubt.values)) for doubt in ct.doubts],
    }
    return said, ct.hu


def _list_dicom(arguments: Mapping[str, str | None]) -> Answer:
    from VertebralFractureLib.volume.dicom_series import list_dicom_series

    listed = list_dicom_series(Path(str(arguments["folder"])))
    return {"series": [(series.uid, series.title, series.patient) for series in listed]}, None


def _read_transform(arguments: Mapping[str, str | None]) -> Answer:
    matrix = linear_transform_matrix(Path(str(arguments["path"])))
    return {"matrix": None if matrix is None else matrix.tolist()}, None


_TASKS = {"dicom": _read_dicom, "list": _list_dicom, "transform": _read_transform}


def main() -> None:
    """Answer one request; the program of the process."""
    answers = _take_standard_output()
    _end_with_parent()
    request = json.loads(sys.stdin.readline())
    _end_when_input_closes()
    with os.fdopen(os.dup(2), "wb") as log:
        file_guard.limit_this_process(log)
        hu = None
        try:
            said, hu = _TASKS[request.pop("task")](request)
        except UnreadableVolume as error:
            said = {"refused": str(error)}
        except MemoryError:
            said = {"memory": True}
        except OSError as error:
            said = {"os_error": [error.errno, error.strerror]}
        except Exception:
            said = {"defect": traceback.format_exc()}
        file_guard.watch(_WRITE_LIMIT_S)
        text = json.dumps(said).encode("ascii")
        answers.write(len(text).to_bytes(8, "little") + text)
        if hu is not None:
            answers.write(np.ascontiguousarray(hu).reshape(-1).view(np.uint8).data)
        answers.flush()
        # At once: nothing that a damaged file left in the libraries is taken down in order.
        os._exit(0)


def _take_standard_output() -> BinaryIO:
    """Standard output for the answer alone: what a library prints goes where errors go."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(1, os.O_BINARY)
    answers = os.fdopen(os.dup(1), "wb")
    if sys.platform == "win32":
        msvcrt.setmode(answers.fileno(), os.O_BINARY)
    os.dup2(2, 1)
    return answers


def _end_with_parent() -> None:
    """Have Linux end this process when its parent ends, even while a library holds the interpreter."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    import resource

    # No picture of a patient's voxels on the disk after a crash.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_when_input_closes() -> None:
    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
