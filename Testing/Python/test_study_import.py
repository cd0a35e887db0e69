"""Grades find their scans by the set's own rules, and what finds none is said: names, rows, levels, corrections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study_samples import a_small_spine, correct_grade, write_verse_scan

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.research.datasets import Source, read_annotation
from VertebralFractureLib.research.datasets.grade_table import read_grades, scan_keys
from VertebralFractureLib.research.datasets.import_dataset import import_scans, source_scans
from VertebralFractureLib.volume import write_volume

SPLIT, SAGITTAL, UNKNOWN = "sub-verse401_split-verse253", "sub-verse011_dir-sag", "sub-gl003_dir-ax"
TABLE = (
    "verse_ID,T7_fx-g,T12_fx-g,L1_fx-g,L1_fx-s,L2_fx-g,L3_fx-g\n"
    "253,2,0,3,wedge,0,\n"  # T7 lies outside the image
    "011,,0,0,,1,0\n"
    "777,0,0,2,,0,0\n"  # no such scan
)


@pytest.fixture(scope="module")
def a_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("verse")
    for seed, name in enumerate((SPLIT, SAGITTAL, UNKNOWN)):
        write_verse_scan(tree, name, a_small_spine(seed, "L1" if name == SPLIT else None))
    (tree / "grades.csv").write_text(TABLE, encoding="utf-8")
    return tree


@pytest.fixture(scope="module")
def an_import(a_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "scans"
    assert (
        main(["import-dataset", "--from", str(a_tree), "--grades", str(a_tree / "grades.csv"), "--out", str(out)]) == 0
    )
    return out


def grades_of(annotation: Path) -> dict[str | None, int | None]:
    return {vertebra.level: vertebra.grade for vertebra in read_annotation(annotation).vertebrae}


@pytest.mark.parametrize(
    ("scan", "row"),
    [
        ("sub-verse401_split-verse253", "253"),
        ("sub-verse401_split-verse253", "verse253"),
        ("sub-verse401_split-verse253", "sub-verse401_split-verse253"),
        ("sub-verse401_split-verse253_dir-ax", "sub-verse401_split-verse253"),
        ("sub-verse011_dir-sag", "11"),
        ("sub-verse011_dir-sag", "sub-verse011"),
        ("sub-verse011_dir-sag", "sub-verse011_dir-sag_ct.nii.gz"),
        ("sub-gl003_dir-ax", "GL003"),
        ("mine_2020", "Mine_2020"),
    ],
)
def test_a_scan_takes_the_row_that_names_it(scan: str, row: str) -> None:
    assert scan_keys(row)[0] in scan_keys(scan)


def test_a_split_takes_its_own_row_and_not_that_of_another_image_of_its_subject(tmp_path: Path) -> None:
    table = "scan,level,grade\n401,L1,0\n253,L1,2\n254,L1,3\n"
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")

    join = read_grades(tmp_path / "t.csv").join(
        ["sub-verse401_split-verse253", "sub-verse401_split-verse254", "verse9"]
    )

    assert {name: grades.grade("L1") for name, grades in join.grades.items()} == {
        "sub-verse401_split-verse253": 2,
        "sub-verse401_split-verse254": 3,
    }
    assert (join.scans_without_row, join.rows_without_scan) == (("verse9",), ("401",))


def test_a_name_of_a_hospital_is_not_shortened_to_its_patient(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Scan;Level;Grade\nAB_01;Th12;1\n", encoding="utf-8")

    join = read_grades(tmp_path / "t.csv").join(["AB_01", "AB_02"])

    assert join.grades["AB_01"].grade("T12") == 1
    assert join.scans_without_row == ("AB_02",)


def test_a_vertebra_with_two_grades_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("scan,level,grade\nverse004,T9,0\n4,T9,2\n", encoding="utf-8")

    with pytest.raises(UnreadableVolume, match="gives T9 of 'verse004' the grades 0 and 2"):
        read_grades(tmp_path / "t.csv")


def test_every_scan_row_and_level_without_a_partner_is_listed(an_import: Path, a_tree: Path, capsys) -> None:
    """Given awkward names and planted mistakes, when imported again, then each is named and counts are a reader's."""
    main(["import-dataset", "--from", str(a_tree), "--grades", str(a_tree / "grades.csv"), "--out", str(an_import)])

    said = capsys.readouterr().out
    assert f"{SPLIT} kept, 3 vertebrae graded, 1 of them fractured; NOT FOUND in it: T7 grade 2." in said
    assert f"{SAGITTAL} kept, 4 vertebrae graded, 1 of them fractured." in said
    assert f"{UNKNOWN} kept, 0 vertebrae graded" in said
    assert f"Scans without a row in the table, so without any grade (1): {UNKNOWN}." in said
    assert "Rows without a scan (1): 777." in said
    assert "with 7 graded vertebrae (2 of them fractured); 1 rows of levels that were not found count as missed" in said
    log = json.loads((an_import / "import-dataset.json").read_text(encoding="utf-8"))
    assert log["rows_without_scan"] == ["777"]
    assert read_annotation(an_import / f"{SPLIT}.json").unplaced_grades == {"T7": 2}


def test_a_split_and_a_direction_get_their_grades(an_import: Path) -> None:
    assert grades_of(an_import / f"{SPLIT}.json")["L1"] == 3
    assert grades_of(an_import / f"{SAGITTAL}.json")["L2"] == 1
    assert set(grades_of(an_import / f"{UNKNOWN}.json").values()) == {None}


def test_an_import_says_what_it_measured_itself(an_import: Path) -> None:
    made = read_annotation(an_import / f"{SPLIT}.json")

    assert made.centerline_by is Source.PROGRAM
    assert {v.heights_by for v in made.vertebrae} == {v.level_by for v in made.vertebrae} == {Source.MASK}


def test_a_corrected_table_and_a_corrected_level_reach_what_was_imported_before(
    an_import: Path, tmp_path: Path
) -> None:
    """Given an import, when grades are corrected and withdrawn and levels renamed, grades follow and bodies stay."""
    out = tmp_path / "scans"
    out.mkdir()
    for path in an_import.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    before = read_annotation(out / f"{SAGITTAL}.json")
    content = json.loads((out / f"{SAGITTAL}.json").read_text(encoding="utf-8"))
    for vertebra in content["vertebrae"]:
        vertebra["level"] = {"L3": "L4", "L4": "L5"}.get(vertebra["level"], vertebra["level"])
    (out / f"{SAGITTAL}.json").write_text(json.dumps(content), encoding="utf-8")
    correct_grade(out / f"{UNKNOWN}.json", "L1", 2)
    tree = tmp_path / "tree"
    for seed, name in enumerate((SPLIT, SAGITTAL, UNKNOWN)):
        write_verse_scan(tree, name, a_small_spine(seed, "L1" if name == SPLIT else None))
    (tree / "g.csv").write_text("scan,level,grade\n11,L1,2\n11,L4,3\n", encoding="utf-8")

    done = {scan.identifier: scan for scan in import_scans(source_scans(tree), tree / "g.csv", out).scans}

    after = read_annotation(out / f"{SAGITTAL}.json")
    assert grades_of(out / f"{SAGITTAL}.json") == {
        level: {"L1": 2, "L4": 3}.get(level) for level in (v.level for v in after.vertebrae)
    }
    assert [v.center_ras for v in after.vertebrae] == [v.center_ras for v in before.vertebrae]
    assert done[SAGITTAL].regraded == 4, "L1 and L4 have another grade, T12 and L2 have none any more"
    assert grades_of(out / f"{UNKNOWN}.json")["L1"] == 2, "what a reader wrote into the annotation stays"
    assert done[SPLIT].state == "kept"


def test_another_volume_under_the_same_name_is_imported_anew(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "scans"
    write_verse_scan(tree, SPLIT, a_small_spine(0, "L1"))
    import_scans(source_scans(tree), None, out)
    write_verse_scan(tree, SPLIT, a_small_spine(1))

    [scan] = import_scans(source_scans(tree), None, out).scans

    assert scan.state == "imported"
    assert (out / f"{SPLIT}.nii.gz").read_bytes() == next(tree.rglob("*_ct.nii.gz")).read_bytes()


def test_a_scan_that_is_left_out_takes_its_grades_with_it_in_the_log(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "scans"
    tree.mkdir()
    (tree / "broken.nii.gz").write_bytes(b"no image")
    (tree / "g.csv").write_text("scan,level,grade\nbroken,L1,3\nbroken,L2,0\n", encoding="utf-8")

    [scan] = import_scans(source_scans(tree), tree / "g.csv", out).scans

    assert (scan.state, scan.graded, scan.fractured) == ("left out", 2, 1)
    assert json.loads((out / "import-dataset.json").read_text())["scans"][0]["unplaced"] == {"L1": 3, "L2": 0}


def test_one_file_name_in_many_folders_is_many_scans(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        (tmp_path / patient).mkdir()
        write_volume(a_small_spine(0).ct, tmp_path / patient / "ct.nii.gz")

    assert [scan.identifier for scan in source_scans(tmp_path)] == ["p1_ct", "p2_ct"]


def test_centroids_of_a_split_are_not_those_of_its_subject_s_other_image(tmp_path: Path) -> None:
    for name in ("sub-verse401", "sub-verse401_split-verse253"):
        (tmp_path / f"{name}_ct.nii.gz").touch()
    for name in ("sub-verse401_split-verse253", "sub-verse401"):
        (tmp_path / f"{name}_seg-subreg_ctd.json").touch()

    found = {scan.identifier: scan.centroids.name for scan in source_scans(tmp_path) if scan.centroids}

    assert found == {name: f"{name}_seg-subreg_ctd.json" for name in ("sub-verse401", "sub-verse401_split-verse253")}


def test_an_output_inside_the_source_is_refused(a_tree: Path, capsys) -> None:
    assert main(["import-dataset", "--from", str(a_tree), "--out", str(a_tree / "derivatives" / "mine")]) == 2
    assert "--out lies inside --from" in capsys.readouterr().err
