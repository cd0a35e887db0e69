"""A training on one's own scans does what was asked, and says what it leaves out: folds, caches, patients, adapting."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from study_samples import a_small_spine, correct_grade, name_of_fold, write_scan, write_three_patients

from VertebralFractureLib.cli.main import _TRAINABLE, main
from VertebralFractureLib.errors import OptionRefused, OutputRefused, RefusedContent
from VertebralFractureLib.research.datasets import disk_space
from VertebralFractureLib.research.datasets.reference_set import describe_grouping, reference_scans
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.evaluation.case_sets import refuse_unusable_weights
from VertebralFractureLib.research.training.fracture_data import SeriesOptions
from VertebralFractureLib.research.training.fracture_members import GRIDS
from VertebralFractureLib.research.training.fracture_series import build_series
from VertebralFractureLib.research.training.loop import TrainingOptions, Validation, train
from VertebralFractureLib.research.training.run_options import add_other_models, drop_shipped_members
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.weights import load_weights, weights_names

OPTIONS = TrainingOptions(steps=30, checkpoint_every=10, log_every=5, seed=3, learning_rate=1e-2)


def a_line() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 1)


def a_batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs.sum(dim=1, keepdim=True)


def squared_error(model, batch, device):
    inputs, targets = (tensor.to(device) for tensor in batch)
    return torch.nn.functional.mse_loss(model(inputs), targets)


@pytest.fixture(scope="module")
def three_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "scans"
    write_three_patients(folder)
    return folder


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"made_of": {"fold_left_out": 1}}, r"fold_left_out \(0 there, 1 now\)"),
        ({"made_of": {"fold_left_out": 0, "data": {"a": "changed"}}}, "data"),
        ({"options": replace(OPTIONS, steps=60)}, r"steps \(30 there, 60 now\)"),
        ({"options": replace(OPTIONS, seed=4)}, "seed"),
    ],
)
def test_a_checkpoint_of_another_fold_seed_or_length_is_not_gone_on_from(other, word, tmp_path):
    made_of = {"fold_left_out": 0}
    train(a_line(), a_batch, squared_error, OPTIONS, tmp_path, made_of)

    with pytest.raises(OptionRefused, match=word):
        train(
            a_line(),
            a_batch,
            squared_error,
            other.get("options", OPTIONS),
            tmp_path,
            other.get("made_of", made_of),
        )


def test_a_checkpoint_of_an_earlier_version_is_refused_as_it_does_not_say_what_it_saw(tmp_path):
    train(a_line(), a_batch, squared_error, OPTIONS, tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del saved["fingerprint"]
    torch.save(saved, tmp_path / "checkpoint.pt")

    with pytest.raises(OptionRefused, match="earlier version"):
        train(a_line(), a_batch, squared_error, OPTIONS, tmp_path)


def test_training_stops_when_held_out_patients_gain_nothing_and_returns_the_best_weights(tmp_path):
    """The held-out truth is the opposite of the training's: every step makes it worse, the first look is the best."""
    inputs, targets = a_batch(99)
    validation = Validation([(inputs, -targets)], every=5, patience=3)
    model = a_line()

    log = train(model, a_batch, squared_error, replace(OPTIONS, steps=500), tmp_path, validation=validation)

    looks = [entry["validation_loss"] for entry in log if "validation_loss" in entry]
    assert log[-1]["step"] == 20, "the look at step 5 was the best, three more brought nothing"
    assert looks[0] == min(looks)
    with torch.no_grad():
        assert float(squared_error(model, validation.batches[0], torch.device("cpu"))) == pytest.approx(looks[0])
    with (tmp_path / "log.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == [str(entry["step"]) for entry in log]
    assert float(rows[-1]["validation_loss"]) == pytest.approx(looks[-1])


@pytest.mark.parametrize("model", [name for name in _TRAINABLE if name != "ensemble"])
def test_a_fold_that_does_not_exist_is_refused(model, tmp_path, capsys):
    out = ["--out", str(tmp_path / "o"), "--weights-folder", str(tmp_path / "w")]
    cache = [] if model == "canal" else ["--cache", str(tmp_path / "c")]

    assert main(["train", model, *cache, *out, "--fold", "7"]) == 2

    assert "There is no fold '7'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_of_an_option_starts_no_run(tmp_path, capsys):
    command = ["train", "ensemble", "--data", "d", "--cache", str(tmp_path / "c"), "--out", str(tmp_path / "o")]

    with pytest.raises(SystemExit):
        main([*command, "--seed", "1"])

    assert "unrecognized arguments: --seed" in capsys.readouterr().err


def test_a_fold_without_patients_is_refused_before_anything_is_trained(tmp_path, capsys):
    one = tmp_path / "scans"
    write_scan(one, name_of_fold(0), a_small_spine(0))
    (one / "patients.csv").write_text(f"scan,patient\n{name_of_fold(0)},p\n", encoding="utf-8")
    words = ["--data", str(one), "--cache", str(tmp_path / "c"), "--out", str(tmp_path / "o")]

    code = main(["train", "ensemble", *words])

    assert code == 2
    assert "No patient lies in fold" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_second_fold_is_trained_on_other_patients_than_the_first_though_both_share_their_folders(
    three_patients, tmp_path
):
    """Given one --out and one --cache, when two folds are trained, then each has weights of its own patients."""
    command = ["train", "fracture", "--data", str(three_patients), "--cache", str(tmp_path / "cache")]
    command += ["--out", str(tmp_path / "out"), "--phantoms", "0", "--steps", "2", "--series-per-scan", "1"]
    for fold in (0, 1):
        assert main([*command, "--fold", str(fold), "--weights-folder", str(tmp_path / f"fold{fold}")]) == 0

    first, second = (load_weights("fracture-25d-sagittal", tmp_path / f"fold{fold}") for fold in (0, 1))
    names = [name_of_fold(fold) for fold in range(3)]
    assert first.config["training"]["scans"] == sorted([names[1], names[2]])
    assert second.config["training"]["scans"] == sorted([names[0], names[2]])
    assert any(not np.array_equal(first.tensors[key], second.tensors[key]) for key in first.tensors)
    assert (tmp_path / "out" / "fold-0" / "log.csv").is_file()
    assert {"cord", "levels", "vertebrae", "orientation"} <= set(weights_names("", tmp_path / "fold0")), "complete"


def test_weights_that_saw_a_patient_never_lie_beside_those_that_must_not(three_patients, tmp_path, capsys):
    command = ["train", "fracture", "--data", str(three_patients), "--cache", str(tmp_path / "cache")]
    command += ["--out", str(tmp_path / "out"), "--phantoms", "0", "--steps", "2", "--series-per-scan", "1"]
    assert main([*command, "--fold", "0", "--weights-folder", str(tmp_path / "w")]) == 0

    other = main([*command, "--fold", "1", "--seed", "1", "--weights-folder", str(tmp_path / "w")])
    started = main([*command, "--fold", "1", "--start-from", str(tmp_path / "w"), "--weights-folder", "elsewhere"])

    said = capsys.readouterr().err
    assert (other, started) == (2, 2)
    assert "'fracture-25d-sagittal' in 'w' were trained on 1 of the scans that are left out" in said
    assert "The weights of --start-from were trained on 1 of the scans" in said


def test_a_corrected_grade_reaches_the_cache_and_the_training_series(tmp_path):
    """Given a cached study, when one grade is corrected, then the case has it and its series are made again."""
    data, name = tmp_path / "scans", name_of_fold(0)
    write_scan(data, name, a_small_spine(0))
    cache = tmp_path / "cache"
    options = SeriesOptions(length=8)
    [before] = load_or_build_cases(cache, data)
    first = build_series(tmp_path / "series", [before], GRIDS, options, 1)
    hu = (cache / "real" / name / "hu.npy").stat().st_mtime_ns

    correct_grade(data / f"{name}.json", "L1", 3)
    [after] = load_or_build_cases(cache, data)
    second = build_series(tmp_path / "series", [after], GRIDS, options, 1)

    assert {v.level: v.grade for v in after.reference.vertebrae}["L1"] == 3
    assert not set(first) & set(second)
    assert before.content_key != after.content_key
    assert (cache / "real" / name / "hu.npy").stat().st_mtime_ns == hu, "the picture is the same and stays"
    assert build_series(tmp_path / "series", [after], GRIDS, options, 1) == second
    assert not set(second) & set(build_series(tmp_path / "series", [after], GRIDS, replace(options, length=9), 1))


def test_another_volume_under_the_same_name_is_straightened_anew(tmp_path):
    data, name = tmp_path / "scans", name_of_fold(0)
    write_scan(data, name, a_small_spine(0))
    [before] = load_or_build_cases(tmp_path / "cache", data)
    kept = np.array(before.volume.hu)
    annotation = (data / f"{name}.json").read_text(encoding="utf-8")
    write_scan(data, name, a_small_spine(1))
    (data / f"{name}.json").write_text(annotation, encoding="utf-8")

    [after] = load_or_build_cases(tmp_path / "cache", data)

    assert not np.array_equal(kept, after.volume.hu)


def test_a_case_of_an_earlier_version_is_used_as_long_as_its_annotation_is_the_same(tmp_path, caplog):
    data, name = tmp_path / "scans", name_of_fold(0)
    write_scan(data, name, a_small_spine(0))
    load_or_build_cases(tmp_path / "cache", data)
    (tmp_path / "cache" / "real" / name / "content.json").unlink()

    with caplog.at_level(logging.INFO):
        load_or_build_cases(tmp_path / "cache", data)

    assert not [record for record in caplog.records if "changed" in record.message or "Straightening" in record.message]


def an_annotated_folder(folder: Path, names: list[str], table: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.nii.gz").touch()
        (folder / f"{name}.json").write_text("{}", encoding="utf-8")
    if table is not None:
        (folder / "patients.csv").write_text(table, encoding="utf-8")
    return folder


def test_a_table_says_whose_each_scan_is_and_in_which_fold(tmp_path):
    table = "scan,patient,fold,sex\nx-2019,A,0,f\nx-2021,A,0,f\ny,B,none,m\n"

    scans = {s.identifier: s for s in reference_scans(an_annotated_folder(tmp_path, ["x-2019", "x-2021", "y"], table))}

    assert {name: (scan.patient, scan.fold) for name, scan in scans.items()} == {
        "x-2019": ("A", 0),
        "x-2021": ("A", 0),
        "y": ("B", None),
    }
    said = "\n".join(describe_grouping(list(scans.values())))
    assert "3 scans of 2 patients (by patients.csv)" in said
    assert "Patient A: x-2019, x-2021" in said
    assert "Fold 0: 2 scans of 1 patients" in said


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ("scan,patient\na,A\n", "lacks 1 of the scans"),
        ("scan,patient\na,A\nb,B\na,C\n", "'a' twice"),
        ("scan,patient,fold\na,A,0\nb,A,1\n", "into two folds"),
        ("scan,patient,fold\na,A,0\nb,B,3\n", "the fold '3'"),
        ("scan;who\na;A\nb;B\n", "needs the columns scan and patient"),
        ("scan,patient\na,\nb,B\n", "without a scan or a patient"),
    ],
)
def test_a_table_of_patients_that_would_let_one_leak_is_refused(table, word, tmp_path):
    with pytest.raises(RefusedContent, match=word):
        reference_scans(an_annotated_folder(tmp_path, ["a", "b"], table))


def test_semicolons_of_a_spreadsheet_are_read_as_well(tmp_path):
    scans = reference_scans(an_annotated_folder(tmp_path, ["a", "b"], "scan;patient;fold\na;A;0\nb;B;2\n"))

    assert [(scan.patient, scan.fold) for scan in scans] == [("A", 0), ("B", 2)]


def test_names_that_may_hide_one_patient_or_many_are_told_before_anything_is_trained(tmp_path):
    dates = describe_grouping(reference_scans(an_annotated_folder(tmp_path / "a", ["p07-2019", "p07-2021", "p08"])))
    one = describe_grouping(reference_scans(an_annotated_folder(tmp_path / "b", [f"CT_{n}" for n in range(5)])))
    verse = describe_grouping(
        reference_scans(an_annotated_folder(tmp_path / "c", [f"sub-verse{n:03d}_dir-sag" for n in range(4, 24)]))
    )

    assert any("p07-2019, p07-2021 count as 2 patients and may be one" in line for line in dates)
    assert any("most scans count as one patient, 'CT'" in line for line in one)
    assert not any("CAUTION" in line for line in verse)


def test_a_spreadsheet_file_is_refused_with_what_to_do(tmp_path, capsys):
    (tmp_path / "grades.xlsx").write_bytes(b"PK\x03\x04" + bytes(200))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii.gz").touch()
    words = ["--from", str(tmp_path / "in"), "--out", str(tmp_path / "out")]

    code = main(["import-dataset", *words, "--grades", str(tmp_path / "grades.xlsx")])

    assert code == 2
    assert "save its sheet as CSV" in capsys.readouterr().err


def test_what_a_cache_takes_is_said_before_it_is_made_and_refused_where_it_does_not_fit(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        disk_space.say_space(tmp_path / "cache", 60_000_000, "3 straightened spines")

    assert "'cache' gets 3 straightened spines: about 0.1 GB" in caplog.text
    with pytest.raises(OutputRefused, match="no room"):
        disk_space.say_space(tmp_path, 10**18, "a series")


@pytest.mark.slow
def test_a_body_network_goes_on_from_what_ships_and_ends_in_a_folder_that_detects(three_patients, tmp_path):
    """Given three patients, when a fold is left out and one watched, then one patient trains, and the rest ships."""
    command = ["train", "vertebrae", "--data", str(three_patients), "--cache", str(tmp_path / "cache")]
    command += ["--out", str(tmp_path / "out"), "--phantoms", "0", "--steps", "2", "--start-from", "shipped"]
    command += ["--fold", "0", "--validation-fold", "1", "--validation-every", "1", "--patience", "1"]

    assert main([*command, "--weights-folder", str(tmp_path / "w")]) == 0

    config = load_weights("vertebrae", tmp_path / "w").config
    assert config["scans"] == [name_of_fold(2)]
    assert config["started_from_sha256"] == load_weights("vertebrae").sha256
    assert "lidc-0314" in trained_scans(config), "what it started from saw that scan"
    refuse_unusable_weights(tmp_path / "w")
    with (tmp_path / "out" / "fold-0" / "log.csv").open(encoding="utf-8") as stream:
        assert all(row["validation_loss"] for row in csv.DictReader(stream))


@pytest.mark.slow
def test_adapting_gives_a_complete_calibrated_folder_and_says_whether_it_helped(three_patients, tmp_path, caplog):
    """Given three graded patients, when the ensemble goes on from what ships, then folds calibrate and compare it."""
    command = ["train", "ensemble", "--data", str(three_patients), "--cache", str(tmp_path / "cache")]
    command += ["--members", "25d-sagittal", "--seeds", "1", "--phantoms", "0", "--validation-phantoms", "0"]
    command += ["--steps", "3", "--series-per-scan", "2", "--variants", "1"]
    command += ["--patience", "1", "--validation-every", "1"]

    with caplog.at_level(logging.INFO):
        assert main([*command, "--out", str(tmp_path / "out"), "--start-from", "shipped"]) == 0
    again = main([*command, "--out", str(tmp_path / "other"), "--start-from", str(tmp_path / "out" / "weights")])

    made = load_weights("fracture-25d-sagittal", tmp_path / "out" / "weights")
    shipped = load_weights("fracture-25d-sagittal")
    assert made.config["training"]["started_from"] == shipped.sha256
    assert made.config["calibration"]["vertebra"] not in ([1.0, 0.0], shipped.config["calibration"]["vertebra"])
    refuse_unusable_weights(tmp_path / "out" / "weights")
    compared = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert compared["vertebrae"]["any grade"]["both_answered"] > 10
    assert "Adapted against what it started from, vertebrae, auc on held-out patients" in caplog.text
    card = (tmp_path / "out" / "weights" / "VertebralFracture-fracture-25d-sagittal.md").read_text(encoding="utf-8")
    assert "grade 1 fractured vertebrae on 1 of the scans" in card
    assert "Not validated on real fractures" not in card
    assert "were not experts" not in card
    assert "to be chosen by whoever trained them" in card
    assert again == 2, "these weights saw every patient that a fold would leave out"


def test_learning_from_the_program_s_own_answers_is_told(tmp_path, caplog):
    """Given a scan whose centerline and levels an import took from the program, then a caution says so."""
    data, name = tmp_path / "scans", name_of_fold(0)
    write_scan(data, name, a_small_spine(0))
    content = json.loads((data / f"{name}.json").read_text(encoding="utf-8"))
    content["centerline"]["source"] = "program"
    for vertebra in content["vertebrae"]:
        vertebra["sources"]["level"] = "program"
    (data / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    with caplog.at_level(logging.WARNING):
        load_or_build_cases(tmp_path / "cache", data)

    assert "CAUTION: the centerline of 1 of 1 scans are the program's own" in caplog.text
    assert "CAUTION: the levels of 1 of 1 scans" in caplog.text
    assert "the heights of" not in caplog.text


@pytest.mark.parametrize(
    ("model", "more", "word"),
    [
        ("levels", ["--numbering-phantoms", "0"], "no named vertebra"),
        ("vertebrae", ["--phantoms", "2000000"], "reserved for the final test"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_a_sentence(model, more, word, tmp_path, capsys):
    """Given a scan without a single name, or seeds that only test, then a sentence comes and no traceback."""
    data, name = tmp_path / "scans", name_of_fold(0)
    write_scan(data, name, a_small_spine(0))
    content = json.loads((data / f"{name}.json").read_text(encoding="utf-8"))
    for vertebra in content["vertebrae"]:
        vertebra["level"] = None
    (data / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    words = ["--data", str(data), "--cache", str(tmp_path / "c"), "--out", str(tmp_path / "o"), "--phantoms", "0"]

    code = main(["train", model, *words, *more, "--weights-folder", str(tmp_path / "w")])

    said = capsys.readouterr().err
    assert code == 2, said
    assert word in said
    assert "Traceback" not in said


def test_a_member_of_one_s_own_is_never_joined_with_those_that_ship(tmp_path):
    """Given a folder that another training completed with what ships, when it gets its own member, shipped ones go."""
    weights = load_weights("levels")
    save_weights("levels", weights.tensors, weights.config, tmp_path)
    add_other_models(tmp_path)
    assert "fracture-3d-sagittal" in weights_names("", tmp_path)

    drop_shipped_members(tmp_path, "fracture-25d-sagittal")
    own = load_weights("fracture-25d-sagittal")
    save_weights("fracture-25d-sagittal", own.tensors, {**own.config, "own": True}, tmp_path)
    add_other_models(tmp_path)

    assert weights_names("fracture-", tmp_path) == ["fracture-25d-sagittal"]
    assert {path.name for path in tmp_path.glob("*fracture*.safetensors")} == {
        "VertebralFracture-fracture-25d-sagittal.safetensors"
    }
    refuse_unusable_weights(tmp_path)
