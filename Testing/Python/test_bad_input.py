"""Every bad input gets one clear sentence, its exit code, and nothing on disk that could be taken for a result."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from stopped_commands import stop_during_search

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.volume import CTVolume, write_volume


def detect(capsys, path, out):
    """Run the command as a user would; give its exit code and what it said on standard error."""
    code = main(["detect", str(path), "--out", str(out), "--progress", "none"])
    return code, capsys.readouterr().err.strip()


def assert_refused(capsys, path, tmp_path, *words):
    out = tmp_path / "result"
    code, said = detect(capsys, path, out)
    assert code == 2
    assert len(said.splitlines()) == 1, said
    for word in words:
        assert word.lower() in said.lower(), said
    assert not out.exists()


def write_array(array, path, spacing=(1.0, 1.0, 2.5)):
    image = sitk.GetImageFromArray(array)
    if image.GetDimension() == 3:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def a_body():
    """HU of a water cylinder in air, 60 slices of 2.5 mm."""
    y, x = np.mgrid[-64:64, -64:64]
    disk = np.where(x**2 + y**2 < 50**2, 40, -1000).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 15, (60, 128, 128)).astype(np.int16)
    return disk[None] + noise


def test_no_such_file(capsys, tmp_path):
    assert_refused(capsys, tmp_path / "nowhere.nii.gz", tmp_path, "nowhere.nii.gz")


def test_a_folder_without_images(capsys, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image here")

    assert_refused(capsys, folder, tmp_path, "empty")


def test_a_truncated_file(capsys, tmp_path, a_body):
    path = write_array(a_body, tmp_path / "cut.nii.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert_refused(capsys, path, tmp_path, "cut.nii.gz")


def test_an_mr(capsys, tmp_path, a_body):
    mr = np.clip((a_body.astype(np.float32) + 1000) * 0.4, 0, None).astype(np.int16)
    folder = tmp_path / "mr"
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(30):
        image = sitk.GetImageFromArray(mr[index])
        image.SetSpacing((1.0, 1.0))
        image.SetMetaData("0008|0060", "MR")
        image.SetMetaData("0020|000e", "1.2.3.4")
        image.SetMetaData("0020|0032", f"0\\0\\{index * 2.5}")
        image.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
        image.SetMetaData("0008|0018", f"1.2.3.4.{index + 1}")
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Execute(image)

    assert_refused(capsys, folder, tmp_path, "MR")


def test_a_two_dimensional_image(capsys, tmp_path, a_body):
    assert_refused(capsys, write_array(a_body[0], tmp_path / "flat.nii.gz"), tmp_path, "2D")


def test_a_four_dimensional_image(capsys, tmp_path, a_body):
    image = sitk.JoinSeries([sitk.GetImageFromArray(a_body[:20])] * 2)
    sitk.WriteImage(image, str(tmp_path / "time.nii.gz"))

    assert_refused(capsys, tmp_path / "time.nii.gz", tmp_path, "4D")


def test_all_zeros(capsys, tmp_path, a_body):
    assert_refused(capsys, write_array(np.zeros_like(a_body), tmp_path / "zeros.nii.gz"), tmp_path, "same value")


def test_not_a_number(capsys, tmp_path, a_body):
    holes = a_body.astype(np.float32)
    holes[20:40] = np.nan

    assert_refused(capsys, write_array(holes, tmp_path / "nan.nii.gz"), tmp_path, "not")


def test_unsigned_values_without_rescale(capsys, tmp_path, a_body):
    raw = np.clip(a_body.astype(np.int32) + 1024, 0, None).astype(np.uint16)

    assert_refused(capsys, write_array(raw, tmp_path / "raw.nii.gz"), tmp_path, "rescale")


def test_slices_ten_millimeters_apart(capsys, tmp_path, a_body):
    path = write_array(a_body, tmp_path / "thick.nii.gz", spacing=(1.0, 1.0, 10.0))

    assert_refused(capsys, path, tmp_path, "10")


def test_an_output_folder_that_is_not_ours(capsys, tmp_path, a_body):
    path = write_array(a_body, tmp_path / "body.nii.gz")
    out = tmp_path / "result"
    out.mkdir()
    (out / "thesis.docx").write_text("mine")

    code, said = detect(capsys, path, out)

    assert code == 2
    assert "result" in said
    assert [item.name for item in out.iterdir()] == ["thesis.docx"]


def assert_not_evaluable(capsys, path, tmp_path):
    out = tmp_path / "result"
    code, _ = detect(capsys, path, out)
    report = json.loads((out / "report.json").read_text())
    assert code == 3
    assert report["status"] == "not_evaluable"
    assert report["reason"].endswith(".")
    assert report["scan"]["fracture_probability"] is None
    assert report["vertebrae"] == []
    return report


def test_a_scan_without_a_spine_is_reported_not_evaluable(capsys, tmp_path, a_body):
    assert_not_evaluable(capsys, write_array(a_body, tmp_path / "body.nii.gz"), tmp_path)


def test_a_scan_of_two_vertebrae_is_reported_not_evaluable(capsys, tmp_path, a_phantom):
    center = a_phantom.reference.vertebrae[3].center_ras[2]
    heights = a_phantom.ct.ijk_to_ras_points(
        np.stack([np.zeros(len(a_phantom.ct.hu))] * 2 + [np.arange(len(a_phantom.ct.hu))], 1)
    )[:, 2]
    kept = np.flatnonzero(np.abs(heights - center) < 36.0)
    matrix = a_phantom.ct.ijk_to_ras.copy()
    matrix[:3, 3] = a_phantom.ct.ijk_to_ras_points(np.array([[0.0, 0.0, kept[0]]]))[0]
    path = tmp_path / "two.nii.gz"
    write_volume(CTVolume(a_phantom.ct.hu[kept[0] : kept[-1] + 1], matrix), path)

    report = assert_not_evaluable(capsys, path, tmp_path)

    assert report["reason"]


def run_in_process(path, out, **options):
    command = [sys.executable, "-m", "VertebralFractureLib.cli", "detect", str(path), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX facility")
@pytest.mark.parametrize("room", [20_000, 1_100_000])
def test_a_disk_without_space(tmp_path, a_phantom_file, room):
    """A limit on the size of a file stands for a disk without space: first for the picture, then for the scene."""
    import resource

    process = run_in_process(
        a_phantom_file,
        tmp_path / "result",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    _, said = process.communicate(timeout=120)

    assert process.returncode == 2, said
    assert "free some space" in said.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_leaves_no_half_written_file(tmp_path, a_phantom_file):
    """Also where the tests themselves run with it ignored."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code, said = stop_during_search(signal.SIGINT, a_phantom_file, tmp_path / "result")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)

    assert code == 130, said
    assert "Cancelled" in said
    assert list(tmp_path.iterdir()) == []
