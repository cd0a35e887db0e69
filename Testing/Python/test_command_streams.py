"""Words are lost before files are, and no text from a file speaks in the program's name."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from stopped_commands import stop_during_search

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.cli.progress_display import Bar, JsonLines
from VertebralFractureLib.cli.table import format_report_table
from VertebralFractureLib.cli.terminal import HarmlessFormatter, tell, warn, write_lines
from VertebralFractureLib.export.scene import load_mrb, new_scene, read_report, save_mrb
from VertebralFractureLib.export.scene.volume_nodes import add_ct_node
from VertebralFractureLib.result.build_report import build_not_evaluable_report
from VertebralFractureLib.volume import CTVolume, read_volume, write_volume

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="devices and signals of POSIX")
FORGED = "CT\r\nNo fracture suspected; 17 vertebrae scored\x1b[2J\x1b]0;owned\x07"


@pytest.fixture(scope="module")
def a_body_file(tmp_path_factory):
    """A water cylinder: a CT that is read, searched and refused in a moment, with all files written."""
    y, x = np.mgrid[-48:48, -48:48]
    disk = np.where(x**2 + y**2 < 40**2, 40, -1000).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 15, (48, 96, 96)).astype(np.int16)
    path = tmp_path_factory.mktemp("body") / "body.nii.gz"
    write_volume(CTVolume(disk[None] + noise, np.diag([1.5, 1.5, 2.5, 1.0])), path)
    return path


def test_each_text_is_one_line_whatever_it_holds(capsys):
    tell(f"1.2.3  {FORGED}", "second")
    warn(FORGED)

    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert len(said.err.splitlines()) == 1
    assert not {"\x1b", "\r", "\x07"} & set(said.out + said.err)


def test_letters_that_the_terminal_does_not_have_are_written_as_escapes(tmp_path):
    with (tmp_path / "said").open("w", encoding="cp1252") as stream:
        assert write_lines(stream, ("Ergebnis 頭 für",))

    assert (tmp_path / "said").read_text(encoding="cp1252") == "Ergebnis \\u982d für\n"


def test_a_log_line_stays_in_its_line():
    record = logging.LogRecord("ours", logging.WARNING, "file", 1, "%s is left out", (FORGED,), None)

    assert len(HarmlessFormatter().format(record).splitlines()) == 1


def test_no_cell_of_the_table_begins_a_line_of_its_own(a_not_evaluable_report):
    report = replace(a_not_evaluable_report, reason=FORGED)

    lines = format_report_table(report).splitlines()

    assert not any(line.startswith("No fracture") for line in lines)
    assert "\x1b" not in "".join(lines)


@pytest.fixture
def a_not_evaluable_report():
    return build_not_evaluable_report(CTVolume(np.zeros((4, 4, 4), np.int16), np.eye(4)), "No spine.", {})


@POSIX_ONLY
def test_a_full_standard_output_loses_words_and_no_file(a_body_file, tmp_path, monkeypatch, capsys):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = main(["detect", str(a_body_file), "--out", str(tmp_path / "out"), "--progress", "none"])

    said = capsys.readouterr().err
    assert code == 3
    assert f"all files are in {tmp_path / 'out'}" in said
    assert json.loads((tmp_path / "out" / "report.json").read_text())["status"] == "not_evaluable"


@POSIX_ONLY
def test_a_progress_that_nobody_reads_does_not_stop_the_work():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        for progress in (JsonLines(stream), Bar(stream)):
            progress("read", 0.0)
            progress("read", 1.0)


@POSIX_ONLY
def test_closed_streams_are_no_file_that_a_result_is_written_into(tmp_path):
    """The next file that is opened would get the number of a closed stream, and with it what libraries say."""
    command = [sys.executable, "-m", "VertebralFractureLib.cli", "phantom", "--out", str(tmp_path / "p.nrrd")]
    shell = f"exec {' '.join(command)} --seed 6 --field-of-view spine --fractures 0 >&- 2>&- <&-"

    assert subprocess.run(["sh", "-c", shell], check=False).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "p.nrrd"]


@POSIX_ONLY
@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGTERM"])
def test_a_request_to_stop_leaves_no_folder_behind(a_body_file, tmp_path, name):
    code, said = stop_during_search(getattr(signal, name), a_body_file, tmp_path / "out")

    assert code == 130, said
    assert "Cancelled" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["res [1]", "caf\udce9", "100% 頭"])
def test_a_scene_in_a_folder_of_any_name_opens_again(a_body_file, tmp_path, folder):
    if sys.platform == "win32" and "\udce9" in folder:
        pytest.skip("names on Windows are text")
    out = tmp_path / folder

    code = main(["detect", str(a_body_file), "--out", str(out), "--progress", "none"])

    (tmp_path / "plain").mkdir()
    scene = tmp_path / "plain" / "scene.mrb"
    scene.write_bytes((out / "scene.mrb").read_bytes())
    assert code == 3
    assert read_report(load_mrb(scene)).status == "not_evaluable"


@POSIX_ONLY
def test_a_file_whose_name_is_no_text_is_judged_and_named(a_body_file, tmp_path):
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 & co.nii.gz"))
    named.write_bytes(a_body_file.read_bytes())

    code = main(["detect", str(named), "--out", str(tmp_path / "out"), "--identifiers", "--progress", "none"])

    assert code == 3
    assert json.loads((tmp_path / "out" / "report.json").read_text())["input"]["name"] == "caf? & co"
    assert read_report(load_mrb(tmp_path / "out" / "scene.mrb")).input.name == "caf? & co"


def test_a_limit_of_memory_under_which_nothing_runs_is_said(tmp_path):
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-m", "VertebralFractureLib.cli", "detect", "x.nii.gz", "--out", str(tmp_path / "out")]
    limit = 2**30
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "1.0 GB" in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_want_of_memory_is_said_in_one_sentence(monkeypatch, capsys, error):
    def fail(_arguments):
        raise error

    monkeypatch.setattr("VertebralFractureLib.cli.detect.run", fail)

    assert main(["detect", "x.nii.gz", "--out", "y"]) == 2
    assert "not enough memory" in capsys.readouterr().err


@POSIX_ONLY
@pytest.mark.parametrize("ending", [b".nii.gz", b".nrrd", b".mha", b".mrb"])
def test_a_volume_whose_name_is_no_text_is_written_and_read(tmp_path, ending):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9" + ending))
    voxels = np.random.default_rng(0).normal(0.0, 200.0, (60, 60, 60)).astype(np.int16)
    ct = CTVolume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))

    if ending == b".mrb":
        scene = new_scene()
        add_ct_node(scene, ct)
        save_mrb(scene, path)
        assert load_mrb(path).GetFirstNodeByClass("vtkMRMLScalarVolumeNode").GetName() == "CT"
    else:
        write_volume(ct, path)
    assert np.array_equal(read_volume(path).hu, ct.hu)
    assert [os.fsencode(file) for file in tmp_path.iterdir()] == [os.fsencode(path)]


@POSIX_ONLY
def test_dicom_files_whose_names_are_no_text_are_read(tmp_path):
    voxels = np.random.default_rng(0).normal(0.0, 200.0, (40, 64, 64)).astype(np.int16)
    for index, pixels in enumerate(voxels):
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing((3.0, 3.0))
        tags = {"0008|0060": "CT", "0020|000e": "1.2.3", "0008|0018": f"1.2.3.{index + 1}"}
        tags |= {"0020|0037": "1\\0\\0\\0\\1\\0", "0020|0032": f"0\\0\\{index * 3.0}"}
        for tag, value in (tags | {"0028|1052": "0", "0028|1053": "1"}).items():
            image.SetMetaData(tag, value)
        sitk.WriteImage(image, str(tmp_path / "plain.dcm"))
        (tmp_path / "plain.dcm").rename(os.fsdecode(os.fsencode(tmp_path) + b"/schicht-\xfc-%03d.dcm" % index))

    assert np.array_equal(read_volume(tmp_path).hu, voxels)


@POSIX_ONLY
@pytest.mark.parametrize("name", ["spine.nii", "spine.nii.gz", "spine.nrrd", "spine.mha"])
def test_a_volume_that_does_not_fit_on_the_disk_is_refused_in_silence(tmp_path, name):
    """A limit on the size of a file stands for a full disk; NIfTI's writer says no error there."""
    program = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from VertebralFractureLib.errors import OutputRefused\n"
        "from VertebralFractureLib.volume import CTVolume, write_volume\n"
        "noise = np.random.default_rng(0).normal(0, 200, (60, 60, 60)).astype(np.int16)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_volume(CTVolume(noise, np.eye(4)), Path(sys.argv[1]))\n"
        "except OutputRefused as refusal: print(refusal)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / name)], capture_output=True, text=True, check=False
    )

    assert "free space" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@POSIX_ONLY
def test_a_scene_of_any_name_is_saved_in_a_folder_of_any_name(tmp_path):
    ct = CTVolume(np.zeros((4, 5, 6), np.int16), np.eye(4), 'Thorax & Abdomen <1>\x01 "x"')
    scene = new_scene()
    add_ct_node(scene, ct)
    folders = [
        "st*r",
        "q?",
        "ü 頭",
        "p%20",
        "h#",
        "a;b",
        "{1}",
        "new\nline",
        "x" * 255,
        "back\\slash",
        "q'\"",
        "caf\udce9",
    ]

    for folder in folders:
        path = tmp_path / folder / "scene.mrb"
        path.parent.mkdir()
        save_mrb(scene, path)

        name = load_mrb(path).GetFirstNodeByClass("vtkMRMLScalarVolumeNode").GetName()
        assert name == 'Thorax + Abdomen <1>? "x"', ascii(folder)
        assert len(list(path.parent.iterdir())) == 1, ascii(folder)
