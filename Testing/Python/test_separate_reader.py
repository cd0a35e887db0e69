"""DICOM and transforms are read in a process of their own: a crash is one sentence, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from volume_samples import a_ct, largest_error_hu, write_dicom

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume import file_guard, read_volume, separate_reader
from VertebralFractureLib.volume.dicom_elements import read_top_level
from VertebralFractureLib.volume.file_guard import is_damaged_dicom
from VertebralFractureLib.volume.separate_reader import find_python, list_dicom_apart

LIBRARY = Path(separate_reader.__file__).parents[2]


def nested(depth: int, undefined: bool = True) -> bytes:
    """A sequence in a sequence in a sequence, each with one item, in implicit VR."""
    if undefined:
        begin = b"\x40\x00\x75\x02" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
        return begin * depth + (b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * depth
    content = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content
        content = b"\x40\x00\x75\x02" + struct.pack("<I", len(item)) + item
    return content


def put_before_pixels(path: Path, more: bytes) -> None:
    content = path.read_bytes()
    elements, _ = read_top_level(content)
    at = min(element.start for tag, element in elements.items() if tag >= 0x00281050) - 8
    path.write_bytes(content[:at] + more + content[at:])


@pytest.mark.parametrize("undefined", [True, False])
def test_a_file_nested_without_end_is_left_out_and_said(tmp_path: Path, undefined: bool) -> None:
    # Given a series of which the topmost slice nests 20,000 sequences, on which GDCM runs out of stack
    files = write_dicom(tmp_path, a_ct())
    put_before_pixels(files[-1], nested(20_000 if undefined else 2_000, undefined))

    # When it is read, then the other slices are, and the doubt says that one is missing
    read = read_volume(tmp_path)

    assert read.shape_kji[0] == len(files) - 1
    assert [(doubt.kind, doubt.values["files"]) for doubt in read.doubts] == [(DoubtKind.FILES_LEFT_OUT, 1)]


def test_shallow_sequences_are_no_reason_to_doubt(tmp_path: Path) -> None:
    files = write_dicom(tmp_path, a_ct())
    put_before_pixels(files[3], nested(6))

    read = read_volume(tmp_path)

    assert largest_error_hu(read) <= 1
    assert not read.doubts


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_cut_off_slice_is_damaged_and_a_whole_one_is_not(tmp_path: Path, kept: float) -> None:
    file = write_dicom(tmp_path, a_ct())[0]
    whole = file.read_bytes()

    assert not is_damaged_dicom(file)
    file.write_bytes(whole[: int(kept * len(whole))])
    assert is_damaged_dicom(file)


@pytest.mark.parametrize(("tag", "value"), [(0x00280010, 10), (0x00280011, 21), (0x00280011, 300)])
def test_a_size_that_is_not_that_of_the_pixels_is_damage(tmp_path: Path, tag: int, value: int) -> None:
    file = write_dicom(tmp_path, a_ct())[0]
    content = bytearray(file.read_bytes())
    at = read_top_level(bytes(content))[0][tag].start
    content[at : at + 2] = struct.pack("<H", value)
    file.write_bytes(content)

    assert is_damaged_dicom(file)


def test_a_folder_of_nothing_but_damaged_files_says_so(tmp_path: Path) -> None:
    for file in write_dicom(tmp_path, a_ct()):
        file.write_bytes(file.read_bytes()[:-200])

    with pytest.raises(UnreadableVolume, match="damaged or cut off"):
        read_volume(tmp_path)
    with pytest.raises(UnreadableVolume, match="damaged or cut off"):
        read_volume(tmp_path / "IM0003")


def a_python(folder: Path, program: str) -> str:
    """A program that is started in place of the process that reads."""
    path = folder / "python-that-fails"
    path.write_text(f"#!{sys.executable}\n{program}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def be_read_by(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CT in DICOM, and a program in place of the process that reads it."""
    (tmp_path / "ct").mkdir()
    write_dicom(tmp_path / "ct", a_ct())
    monkeypatch.setattr(separate_reader, "find_python", lambda: a_python(tmp_path, program))


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import sys; sys.stdout.buffer.write(bytes(4))",
        "import sys; sys.stdout.buffer.write(b'\\xff' * 8)",
        "import sys; print('Timeout (0:01:00)!', file=sys.stderr)",
    ],
)
def test_a_process_that_ends_without_an_answer_becomes_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    be_read_by(program, tmp_path, monkeypatch)

    with pytest.raises(UnreadableVolume, match="damaged in such a way") as refusal:
        read_volume(tmp_path / "ct")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "program",
    ["import os; os.kill(os.getpid(), 9)", "raise MemoryError", "raise OSError(12, 'Cannot allocate memory')"],
)
def test_a_process_without_memory_is_not_called_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    be_read_by(program, tmp_path, monkeypatch)

    with pytest.raises(UnreadableVolume, match="more memory than"):
        read_volume(tmp_path / "ct")


def test_packages_that_are_found_by_the_environment_are_found_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As under Slicer's launcher, which names the folders of its packages so
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    program = (
        "import os, sys; kept = os.environ['PYTHONPATH'].endswith('somewhere'); sys.stderr.write('Timeout (' * kept)"
    )
    monkeypatch.setattr(separate_reader, "find_python", lambda: a_python(tmp_path, program))

    with pytest.raises(UnreadableVolume, match="longer to read"):
        list_dicom_apart(tmp_path)


def test_a_defect_of_the_program_is_not_called_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separate_reader, "find_python", lambda: a_python(tmp_path, "import no_such_module"))

    with pytest.raises(RuntimeError, match="no_such_module"):
        list_dicom_apart(tmp_path)


def test_a_program_of_the_folder_that_the_user_stands_in_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path, a_ct())
    for name in ("json.py", "numpy.py", "VertebralFractureLib.py"):
        (tmp_path / name).write_text("raise SystemExit('run')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert largest_error_hu(read_volume(Path())) <= 1


def test_without_a_python_to_start_the_files_are_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom(tmp_path, a_ct())
    monkeypatch.setattr(separate_reader, "find_python", lambda: None)

    assert largest_error_hu(read_volume(tmp_path)) <= 1


def test_the_python_of_slicer_is_found_where_this_program_is_slicer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SlicerApp-real", "PythonSlicer"):
        (tmp_path / name).write_text("", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "SlicerApp-real"))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_python() == str(tmp_path / "PythonSlicer")


def run_limited(program: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[bytes]:
    begin = "import os, sys; from VertebralFractureLib.volume import file_guard; log = os.fdopen(os.dup(2), 'wb'); "
    return subprocess.run(
        [sys.executable, "-c", begin + program], cwd=LIBRARY, capture_output=True, timeout=timeout_s, check=False
    )


def test_a_library_that_hangs_ends_its_process_even_while_it_holds_the_interpreter() -> None:
    # Given a call that never comes back and holds the interpreter lock: a regular expression that backtracks
    program = "file_guard.limit_this_process(log); file_guard.watch(0.5); import re; re.match('(a+)+$', 'a' * 60 + 'b')"

    ended = run_limited(program)

    assert ended.returncode != 0
    assert b"Timeout (" in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_library_gets_no_more_memory_than_the_headers_say() -> None:
    ended = run_limited("file_guard.limit_this_process(log); file_guard.allow_memory(0); bytearray(4 << 30)")

    assert b"MemoryError" in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    # Given a program that reads a folder of which one file is read without end, and is killed meanwhile
    (tmp_path / "ct").mkdir()
    write_dicom(tmp_path / "ct", a_ct())
    hang = (
        "import sys, time, json; sys.argv = ['x'];"
        "from VertebralFractureLib.volume import separate_reader as s;"
        "s._TASKS['list'] = lambda a: time.sleep(60); s.main()"
    )
    program = (
        "from pathlib import Path; from VertebralFractureLib.volume import separate_reader as s;"
        f"s.find_python = lambda: {a_python(tmp_path, hang)!r}; s.list_dicom_apart(Path({str(tmp_path / 'ct')!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as parent:
        children = wait_for(lambda: children_of(parent.pid))
        time.sleep(1.0)
        parent.send_signal(signal.SIGKILL)

    # Then nothing of it is left
    assert wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


def wait_for(found: object, limit_s: float = 20.0) -> object:
    end = time.monotonic() + limit_s
    while not (value := found()) and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.05)
    return value


def test_listing_a_folder_names_each_series(tmp_path: Path) -> None:
    write_dicom(tmp_path, a_ct(), uid="1.2.3")

    ((uid, title, patient),) = list_dicom_apart(tmp_path)

    assert (uid, patient) == ("1.2.3", 0)
    assert "24 images" in title


def test_outside_that_process_nothing_is_limited() -> None:
    file_guard.watch(0.01)
    time.sleep(0.1)

    assert file_guard._limits.log is None
    assert json.dumps(np.zeros(1).tolist()) == "[0.0]"
