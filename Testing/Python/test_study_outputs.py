"""What an evaluation writes agrees with itself: rows, figures, page, checklist; what it keeps, it would say again."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from study_samples import a_small_spine, write_scan
from test_study_denominators import a_study

from VertebralFractureLib import __version__
from VertebralFractureLib.cli import evaluate
from VertebralFractureLib.cli.main import _Parser, main
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.research.datasets.import_dataset import ImportedScan
from VertebralFractureLib.research.evaluation import case_sets
from VertebralFractureLib.research.evaluation.case_sets import annotated_cases, uncalibrated_members
from VertebralFractureLib.research.evaluation.flow import LEFT_OUT, flow_of, left_out_as_judged
from VertebralFractureLib.research.evaluation.judged import judge
from VertebralFractureLib.research.evaluation.run_cases import Case, run_case
from VertebralFractureLib.research.phantom import PhantomOptions
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.weights import load_weights, weights_names

TITLE = "Real scans"


@pytest.fixture(scope="module")
def an_evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of test_study_denominators, written as ``evaluate`` writes it; scan a was in the training."""
    out = tmp_path_factory.mktemp("evaluation")
    parser = _Parser()
    evaluate.add_arguments(parser)
    arguments = parser.parse_args(["--out", str(out), "--phantoms", "1"])
    results = a_study()
    results[0] = replace(results[0], case=replace(results[0].case, seen_by=("levels",)))
    characteristics = {name: {"sex": "mf"[n % 2]} for n, name in enumerate("abcde")}
    evaluate._write(arguments, {TITLE: results}, {TITLE: []}, characteristics, ["5 scans of 5 patients."])
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_count_of_the_figures_is_found_again_in_the_rows(an_evaluation: Path) -> None:
    """Counted from vertebrae.csv alone, as a reader of the paper would, and held against performance.json."""
    figures = json.loads((an_evaluation / "performance.json").read_text(encoding="utf-8"))[TITLE]
    rows = rows_of(an_evaluation / "vertebrae.csv")
    fractured = [row for row in rows if int(row["truth_grade"]) > 0]
    normal = [row for row in rows if int(row["truth_grade"]) == 0]
    caught = [row for row in fractured if row["called"] == "1"]
    spared = [row for row in normal if row["called"] == "0"]
    called = figures["at_threshold"]["vertebrae"]

    assert (len(fractured), len(normal)) == (called["fractured"], called["normal"]) == (4, 6)
    answered = [row for row in rows if row["called"]]
    assert len(caught) / len([row for row in fractured if row["called"]]) == called["sensitivity"]
    assert len(caught) / len(fractured) == called["intention_to_diagnose"]["sensitivity"]
    assert len(spared) / len([row for row in normal if row["called"]]) == called["specificity"]
    assert len(spared) / len(normal) == pytest.approx(called["intention_to_diagnose"]["specificity"])
    study = figures["study"]
    assert study["flow"]["graded"] == len(rows)
    assert study["flow"]["answered"] == len(answered) == study["endpoints"]["vertebrae"]["any grade"]["answered"]
    point = study["endpoints"]["vertebrae"]["any grade"]["operating_points"]["threshold 0.5"]
    assert (point["sensitivity"]["hits"], point["sensitivity"]["count"]) == (1, 1)
    assert study["failures"]["fractured_vertebrae"] == {"scan refused": 2, "not found": 1}


def test_every_scan_has_a_row_with_its_outcome_and_what_a_table_says_of_it(an_evaluation: Path) -> None:
    rows = {row["scan"]: row for row in rows_of(an_evaluation / "cases.csv")}

    assert {name: row["outcome"] for name, row in rows.items()} == {
        "a": "answered", "b": "answered", "c": "refused", "d": "answered", "e": "not evaluable",
    }  # fmt: skip
    assert rows["c"]["reason"] == "The file is damaged."
    assert (rows["b"]["found_where_truth_has_nothing"], rows["a"]["called_of_unknown_grade"]) == ("1", "1")
    assert rows["d"]["truth_fractured"] == "", "of it nothing is known"
    assert rows["a"]["seen_in_training_by"] == "levels"
    assert [rows[name]["characteristic_sex"] for name in "ab"] == ["m", "f"]


def test_the_flow_adds_up(an_evaluation: Path) -> None:
    flow = json.loads((an_evaluation / "performance.json").read_text(encoding="utf-8"))[TITLE]["study"]["flow"]

    assert (
        flow["scans"]
        == flow["left_out"] + flow["refused"] + flow["not_evaluable"] + flow["without_grades"] + flow["analyzed"]
    )
    assert (flow["scans"], flow["refused"], flow["not_evaluable"], flow["without_grades"]) == (5, 1, 1, 1)
    assert flow["vertebrae"] == flow["truncated"] + flow["ungraded"] + flow["graded"] == 19 + 1
    assert flow["graded"] == flow["answered"] + sum(count for count, _ in flow["lost"].values())


def test_page_checklist_and_figures_carry_version_and_weights_and_say_what_was_seen(an_evaluation: Path) -> None:
    page, text, claim = (
        (an_evaluation / name).read_text(encoding="utf-8") for name in ("report.html", "results.md", "claim.md")
    )
    drawn = sorted(path.name for path in (an_evaluation / "figures" / "real-scans").iterdir())

    for content in (page, text):
        assert f"VertebralFracture {__version__}" in content
        assert "1 of the scans (a) were in the training of the weights; figures on these say nothing." in content
    assert {"roc.pdf", "roc.svg", "roc.png", "flow.pdf", "calibration.pdf", "froc.pdf"} <= set(drawn)
    for path in (an_evaluation / "figures" / "real-scans").glob("*.svg"):
        assert f"VertebralFracture {__version__}" in path.read_text(encoding="utf-8"), path.name
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", claim, re.MULTILINE)] == list(range(1, 45))
    assert "1 of the scans were in the training" in claim
    assert "to be filled in" in claim


def test_scans_that_the_import_left_out_stay_in_the_flow_and_their_fractures_are_missed() -> None:
    left_out = [ImportedScan("x_1", "left out", "No canal.", 2, 1, unplaced={"L1": 3, "L2": 0, "*": 0})]

    scans = [judge(result) for result in a_study()] + left_out_as_judged(left_out, {})

    flow = flow_of(scans)
    assert (flow.scans, flow.left_out, flow.refused) == (6, 1, 1)
    assert (flow.graded, flow.graded_fractured) == (12, 5)
    assert flow.lost[LEFT_OUT] == (2, 1)
    assert scans[-1].patient == "x"


def test_an_answer_is_kept_while_volume_weights_and_program_are_the_same(tmp_path: Path) -> None:
    """Given a scan that is refused, when judged again, then the answer is kept; when the file changes, it is not."""
    write_scan(tmp_path, "a", a_small_spine(0))
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    case = Case("a", "a", tmp_path / "a.nii.gz", tmp_path / "a.json")
    (tmp_path / "cases").mkdir()

    first = run_case(case, tmp_path / "cases" / "a", key="one")
    again = run_case(case, tmp_path / "cases" / "a", key="one")
    other = run_case(case, tmp_path / "cases" / "a", key="two")

    assert (first.exit_code, first.is_kept, again.is_kept, other.is_kept) == (2, False, True, False)
    assert (again.message, again.wall_s) == (first.message, first.wall_s)
    assert first.message


def test_weights_that_cannot_answer_are_refused_before_anything_is_judged(tmp_path: Path, capsys) -> None:
    (tmp_path / "half").mkdir()
    weights = load_weights("levels")
    save_weights("levels", weights.tensors, weights.config, tmp_path / "half")

    mistyped = main(["evaluate", "--phantoms", "1", "--out", str(tmp_path / "o"), "--weights", str(tmp_path / "typo")])
    half = main(["evaluate", "--phantoms", "1", "--out", str(tmp_path / "o"), "--weights", str(tmp_path / "half")])

    said = capsys.readouterr().err
    assert (mistyped, half) == (2, 2)
    assert "'typo' holds no weights" in said
    assert "'half' lack" in said
    assert "cord" in said
    assert not (tmp_path / "o").exists()


def test_a_scan_whose_patient_trained_the_weights_is_told_by_name(tmp_path: Path) -> None:
    """Given weights trained on one date of a patient, when the other is judged, then they saw the patient."""
    for name in ("p_2019", "p_2021", "q_2020"):
        (tmp_path / f"{name}.nii.gz").touch()
        (tmp_path / f"{name}.json").write_text("{}", encoding="utf-8")
    folder = tmp_path / "w"
    for name in weights_names(""):
        weights = load_weights(name)
        config = {**weights.config, "scans": ["p_2019"]} if name == "levels" else weights.config
        save_weights(name, weights.tensors, config, folder)

    cases = annotated_cases(tmp_path, folder, None)

    assert {case.identifier: case.seen_by for case in cases} == {
        "p_2019": ("levels",), "p_2021": ("levels",), "q_2020": (),
    }  # fmt: skip


def test_a_fold_s_weights_judge_the_patients_that_the_table_puts_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").touch()
        (tmp_path / f"{name}.json").write_text("{}", encoding="utf-8")
    (tmp_path / "patients.csv").write_text("scan,patient,fold,sex\na,A,2,f\nb,B,none,m\n", encoding="utf-8")
    folds = Path(__file__).parents[1] / "FoldWeights"

    cases = {case.identifier: case for case in annotated_cases(tmp_path, None, folds)}

    assert cases["a"].weights_folder == folds / "fold2"
    assert cases["b"].weights_folder is None
    assert cases["a"].characteristics == {"sex": "f"}


def test_every_card_names_the_license_of_its_weights(project_folder: Path) -> None:
    cards = sorted((project_folder / "Resources" / "Weights").glob("*.md"))

    assert len(cards) == len(weights_names(""))
    for card in cards:
        text = card.read_text(encoding="utf-8")
        assert re.search(r"Licen[sc]e of the weights\W+Apache-2\.0", text), card.name
        assert "measured on the weights before" not in text, card.name


def test_members_that_nobody_calibrated_are_told(tmp_path: Path) -> None:
    """A member that was trained alone and from nothing is saved with the lines of no calibration."""
    for name, lines in (
        ("fracture-25d-sagittal", {"vertebra": [1.0, 0.0], "scan": [1.0, 0.0]}),
        ("fracture-3d-sagittal", None),
    ):
        weights = load_weights(name)
        config = weights.config if lines is None else {**weights.config, "calibration": lines}
        save_weights(name, weights.tensors, config, tmp_path)

    assert uncalibrated_members(tmp_path) == ["fracture-25d-sagittal"]
    assert uncalibrated_members(None) == []


def test_a_phantom_that_would_be_drawn_otherwise_now_is_drawn_again(tmp_path: Path, monkeypatch) -> None:
    """Given a phantom of an earlier evaluation, it is kept while its options are the same, and drawn anew when not."""
    small = {"caudal_level": "L3", "cranial_level": "L1", "field_of_view": "spine", "spacing_mm": (3.0, 3.0, 3.0)}
    monkeypatch.setattr(case_sets, "random_options", lambda seed: PhantomOptions(seed, **small))
    [case] = case_sets.phantom_cases(1, tmp_path, None)
    first = case.annotation.stat().st_mtime_ns
    case_sets.phantom_cases(1, tmp_path, None)
    assert case.annotation.stat().st_mtime_ns == first

    monkeypatch.setattr(case_sets, "random_options", lambda seed: PhantomOptions(seed, **{**small, "noise_hu": 40.0}))
    case_sets.phantom_cases(1, tmp_path, None)

    assert case.annotation.stat().st_mtime_ns > first


def test_other_weights_judge_each_scan_by_the_fold_that_did_not_see_it(tmp_path: Path) -> None:
    folds = Path(__file__).parents[1] / "FoldWeights"
    cases = [
        Case("a", "a", tmp_path / "a.nii.gz", tmp_path / "a.json", tmp_path / "mine" / "fold2"),
        Case("b", "b", tmp_path / "b.nii.gz", tmp_path / "b.json"),
    ]

    by_folds = evaluate._weights_to_compare(folds, {TITLE: cases})[TITLE]
    by_one = evaluate._weights_to_compare(folds / "fold1", {TITLE: cases})[TITLE]
    by_reader = evaluate._weights_to_compare(tmp_path / "reader.csv", {TITLE: cases})[TITLE]

    assert [case.weights_folder for case in by_folds] == [folds / "fold2", folds / "fold0"]
    assert {case.weights_folder for case in by_one} == {folds / "fold1"}
    assert by_reader == []
    with pytest.raises(OptionRefused, match="holds no weights"):
        evaluate._weights_to_compare(tmp_path, {TITLE: cases})


def test_a_comparison_with_other_weights_is_written_for_the_same_vertebrae(tmp_path: Path) -> None:
    """Given the study judged twice, the second time with another fracture missed, then the difference is told."""
    parser = _Parser()
    evaluate.add_arguments(parser)
    (tmp_path / "others").mkdir()
    words = ["--out", str(tmp_path / "out"), "--phantoms", "1", "--against", str(tmp_path / "others")]
    second = a_study()
    second[0] = replace(second[0], report=None, comparison=None, message="The file is damaged.")

    evaluate._write(parser.parse_args(words), {TITLE: a_study()}, {TITLE: second}, {}, [])

    content = json.loads((tmp_path / "out" / "performance.json").read_text(encoding="utf-8"))[TITLE]["study"]["against"]
    assert content["name"] == "others"
    found = content["vertebrae"]["any grade"]
    assert (found["both_answered"], found["only_first"], found["only_second"]) == (3, 3, 0)
    assert "### Against others" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
