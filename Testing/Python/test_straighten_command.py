"""``straighten``: a CT along its spine in one file, with every choice of the grid reachable from the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from VertebralFractureLib.cli.corrections import read_curve
from VertebralFractureLib.cli.main import main
from VertebralFractureLib.cpr import CUBIC, VIRTUAL_SAGITTAL, ReformatGrid, straighten
from VertebralFractureLib.export.scene import load_mrb
from VertebralFractureLib.pipeline import reader_centerline
from VertebralFractureLib.research.datasets import reference_to_json
from VertebralFractureLib.volume import read_volume, write_volume


@pytest.fixture(scope="module")
def a_curve_file(a_phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("curve") / "curve.json"
    path.write_text(json.dumps(reference_to_json(a_phantom.reference)))
    return path


def the_command(a_phantom_file, out, *options):
    return main(["straighten", str(a_phantom_file), "--out", str(out), "--progress", "none", *map(str, options)])


def test_the_volume_is_what_the_library_straightens_with_the_same_choices(a_phantom_file, a_curve_file, tmp_path):
    out = tmp_path / "new" / "spine.nrrd"
    options = ["--spacing", 1.5, 1.5, 2, "--right", -20, 25, "--anterior", -10, 40, "--margin", 5, "--rotation", 12]
    options += ["--arc-length-offset", 25, "--interpolation", "cubic", "--centerline", a_curve_file, "--threads", 1]

    code = the_command(a_phantom_file, out, *options)

    grid = ReformatGrid((1.5, 1.5, 2.0), (-20.0, 25.0), (-10.0, 40.0), 5.0, CUBIC, 12.0, 25.0)
    expected = straighten(read_volume(a_phantom_file), reader_centerline(read_curve(a_curve_file)), grid=grid)
    image = sitk.ReadImage(str(out))
    assert code == 0
    assert image.GetSpacing() == pytest.approx((1.5, 1.5, 2.0))
    assert np.array_equal(sitk.GetArrayFromImage(image), np.round(expected.hu))
    assert image.TransformIndexToPhysicalPoint((0, 0, 0)) == pytest.approx((20.0, 10.0, -5.0))


def test_without_a_curve_the_canal_is_found_first(a_phantom_file, tmp_path, capsys):
    out = tmp_path / "spine.nii.gz"

    code = the_command(a_phantom_file, out, "--spacing", 3, "--kind", VIRTUAL_SAGITTAL)

    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    assert code == 0
    assert np.mean(hu > -200) > 0.3
    assert "inside the scan" in capsys.readouterr().out


def test_a_patient_who_lies_otherwise_is_straightened_from_feet_to_head_and_it_is_said(
    a_phantom, a_phantom_file, tmp_path, capsys
):
    """Given a file that exchanges head and feet, when it is straightened without a curve, then the volume is that of
    the true file, and standard error says that the patient does not lie as the file says.
    """
    turned = tmp_path / "turned.nii.gz"
    write_volume(replace(a_phantom.ct, ijk_to_ras=np.diag([1.0, -1.0, -1.0, 1.0]) @ a_phantom.ct.ijk_to_ras), turned)
    grid = ("--spacing", 2, "--margin", 0, "--threads", 1)

    codes = [the_command(a_phantom_file, tmp_path / "true.nrrd", *grid)]
    said_of_true = capsys.readouterr().err
    codes.append(the_command(turned, tmp_path / "found.nrrd", *grid))

    true, found = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))) for name in ("true.nrrd", "found.nrrd"))
    rows = min(len(true), len(found))
    assert codes == [0, 0]
    assert "In doubt" not in said_of_true
    assert "In doubt: the patient does not lie as the file says" in capsys.readouterr().err
    assert np.corrcoef(true[:rows].ravel(), found[:rows].ravel())[0, 1] > 0.9


def test_a_scene_holds_the_way_back_to_the_patient(a_phantom, a_phantom_file, a_curve_file, tmp_path):
    out = tmp_path / "spine.mrb"

    assert the_command(a_phantom_file, out, "--spacing", 2, "--centerline", a_curve_file) == 0

    scene = load_mrb(out)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    transform = scene.GetFirstNodeByClass("vtkMRMLGridTransformNode")
    curve = scene.GetFirstNodeByClass("vtkMRMLMarkupsCurveNode")
    assert volume.GetName() == "Spine straightened"
    true = a_phantom.reference.vertebrae[2].center_ras
    frame = straighten(a_phantom.ct, a_phantom.reference.centerline).frame
    straight = frame.ras_to_straight(np.array([true]))[0]
    assert transform.GetTransformFromParent().TransformPoint(straight) == pytest.approx(true, abs=0.05)
    assert curve.GetNumberOfControlPoints() == len(a_phantom.reference.centerline.points_ras)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--spacing", "1", "2"], "one value in mm, or three"),
        (["--spacing", "0"], "must be positive"),
        (["--right", "20", "-20"], "from the lower to the higher"),
    ],
)
def test_a_grid_that_cannot_be_laid_is_refused_before_anything_is_read(tmp_path, capsys, options, words):
    code = main(["straighten", "missing.nii.gz", "--out", str(tmp_path / "spine.nrrd"), *options])

    assert code == 2
    assert words in capsys.readouterr().err


def test_an_ending_that_cannot_be_written_is_refused(tmp_path, capsys):
    code = main(["straighten", "missing.nii.gz", "--out", str(tmp_path / "spine.jpg")])

    assert code == 2
    assert "use .mrb or .nrrd" in capsys.readouterr().err
