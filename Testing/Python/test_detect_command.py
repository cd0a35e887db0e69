"""The main job: one command takes a CT and leaves an annotated scene, a report, a table and a picture."""

import csv
import json
import logging

import pytest
import SimpleITK as sitk

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.export.scene import load_mrb, read_report
from VertebralFractureLib.research.datasets import read_annotation
from VertebralFractureLib.research.evaluation.compare import compare
from VertebralFractureLib.result import report_from_json


@pytest.fixture(scope="module")
def a_result(a_phantom_file, tmp_path_factory):
    """The folder that detection on the phantom leaves behind."""
    folder = tmp_path_factory.mktemp("detection") / "result"
    bodies = str(folder.with_name("bodies.nii.gz"))
    assert main(["detect", str(a_phantom_file), "--out", str(folder), "--segmentation", bodies]) == 0
    return folder


@pytest.fixture(scope="module")
def a_report(a_result):
    return report_from_json((a_result / "report.json").read_text())


def test_the_folder_holds_the_promised_files_and_no_other(a_result):
    names = sorted(path.name for path in a_result.iterdir())

    assert names == ["overview.png", "report.html", "report.json", "scene.mrb", "vertebrae.csv"]


def test_the_centerline_runs_within_the_canal(a_report, a_phantom):
    error = compare(a_report, a_phantom.reference).centerline

    assert error.mean_mm < 2.0
    assert error.coverage > 0.95


def test_every_complete_vertebra_is_found_where_it_is(a_report, a_phantom):
    comparison = compare(a_report, a_phantom.reference)

    assert [pair.truth.level for pair in comparison.pairs if pair.found is None] == []
    assert comparison.extra == ()


def test_the_severe_fracture_is_suspected_and_measured_as_a_loss_of_height(a_report, a_phantom):
    comparison = compare(a_report, a_phantom.reference)
    severe = next(pair.found for pair in comparison.pairs if pair.truth.grade == 3)

    assert severe in a_report.suspected
    assert severe.height_loss > 0.25


def test_vertebrae_without_a_fracture_score_lower_than_the_severe_one(a_report, a_phantom):
    comparison = compare(a_report, a_phantom.reference)
    by_grade = {grade: [] for grade in range(4)}
    for pair in comparison.pairs:
        if pair.found is not None and pair.found.fracture_probability is not None:
            by_grade[pair.truth.grade].append(pair.found.fracture_probability)

    assert max(by_grade[0]) < min(by_grade[3])


def test_reading_the_scene_back_gives_the_same_report(a_result, a_report):
    again = read_report(load_mrb(a_result / "scene.mrb"))

    assert again.scan == a_report.scan
    assert again.software == a_report.software
    assert again.input == a_report.input
    assert [v.label for v in again.vertebrae] == [v.label for v in a_report.vertebrae]
    for mine, theirs in zip(again.vertebrae, a_report.vertebrae, strict=True):
        assert mine.center_ras == pytest.approx(theirs.center_ras, abs=1e-3)
        assert mine.status == theirs.status
        assert mine.fracture_probability == pytest.approx(theirs.fracture_probability, abs=1e-4)


def test_every_number_names_the_code_and_the_weights_it_came_from(a_report):
    assert a_report.software.version
    assert {"cord", "vertebrae", "levels"} <= set(a_report.software.weights_sha256)
    assert sum(name.startswith("fracture-") for name in a_report.software.weights_sha256) >= 2
    assert all(len(value) == 64 for value in a_report.software.weights_sha256.values())


def test_the_stages_that_ran_are_timed(a_report):
    assert list(a_report.timings_s) == ["read", "canal", "cpr", "vertebrae", "fracture", "scene", "total"]
    assert all(seconds > 0.0 for seconds in a_report.timings_s.values())


def test_the_table_has_one_row_per_vertebra(a_result, a_report):
    rows = list(csv.DictReader((a_result / "vertebrae.csv").open()))

    assert [row["label"] for row in rows] == [v.label for v in reversed(a_report.vertebrae)]


def test_the_label_map_of_the_bodies_lies_beside_the_folder(a_result, a_report, a_phantom):
    image = sitk.ReadImage(str(a_result.with_name("bodies.nii.gz")))
    voxels = sitk.GetArrayFromImage(image)
    names = {int(row["LabelValue"]): row["Name"] for row in csv.DictReader(a_result.with_name("bodies.csv").open())}

    assert voxels.shape == a_phantom.ct.shape_kji
    assert [names[number] for number in sorted(set(voxels[voxels > 0].tolist()))] == [
        v.label for v in reversed(a_report.vertebrae) if v.outline_ras is not None
    ]
    assert (voxels[a_phantom.body_labels == 19] == 19).mean() > 0.75


def test_the_picture_is_large_enough_to_read(a_result):
    picture = sitk.ReadImage(str(a_result / "overview.png"))

    assert min(picture.GetSize()) >= 1000


def test_json_progress_goes_through_every_stage_in_order(a_phantom_file, tmp_path, capsys):
    code = main(["detect", str(a_phantom_file), "--out", str(tmp_path / "out"), "--progress", "json"])

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    stages = list(dict.fromkeys(line["stage"] for line in lines if "stage" in line))
    assert stages == ["read", "canal", "cpr", "vertebrae", "fracture", "scene"]
    assert lines[-1] == {"done": True, "status": "evaluable", "reason": None, "exit_code": code}
    assert code == 0


def test_a_drawn_phantom_comes_with_its_truth(tmp_path, capsys):
    """The seed is one of a short spine with thick slices, which is drawn in a second."""
    volume = tmp_path / "drawn" / "phantom.nii.gz"

    code = main(["phantom", "--out", str(volume), "--seed", "61", "--field-of-view", "spine", "--fractures", "1"])

    truth = read_annotation(volume.with_name("phantom.json"))
    assert code == 0
    assert volume.is_file()
    assert sum(bool(vertebra.grade) for vertebra in truth.vertebrae) == 1
    assert "Known fractures: " in capsys.readouterr().out


def test_without_an_output_folder_nothing_runs(a_phantom_file, capsys):
    code = main(["detect", str(a_phantom_file)])

    assert code == 2
    assert "--out" in capsys.readouterr().err


def test_a_folder_of_several_series_lists_them_and_takes_the_largest_ct(a_phantom, tmp_path, caplog):
    folder = tmp_path / "study"
    folder.mkdir()
    spacing = a_phantom.ct.spacing_mm
    for series, (name, count) in enumerate([("thorax", len(a_phantom.ct.hu)), ("scout", 12)], start=1):
        for index in range(count):
            image = sitk.GetImageFromArray(a_phantom.ct.hu[index])
            image.SetSpacing(spacing[:2])
            tags = {"0008|0060": "CT", "0008|103e": name, "0020|000e": f"1.2.{series}"}
            tags |= {"0008|0018": f"1.2.{series}.{index + 1}", "0020|0037": "1\\0\\0\\0\\1\\0"}
            tags |= {"0020|0032": f"0\\0\\{index * spacing[2]}", "0028|1052": "0", "0028|1053": "1"}
            for tag, value in tags.items():
                image.SetMetaData(tag, value)
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.SetFileName(str(folder / f"{name}{index}.dcm"))
            writer.Execute(image)

    with caplog.at_level(logging.INFO):
        code = main(["detect", str(folder), "--out", str(tmp_path / "out"), "--identifiers"])

    report = report_from_json((tmp_path / "out" / "report.json").read_text())
    said = caplog.text
    assert code == 0
    assert "'thorax'" in said.partition("is taken")[0]
    assert "'scout'" in said.partition("Not taken")[2]
    assert report.input.identifiers["series_instance_uid"] == "1.2.1"


def test_a_misspelt_option_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["detect", "--no-such-option"])

    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err
