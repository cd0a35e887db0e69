"""Other people's data become annotated scans: a VerSe tree with masks and a table, or CTs with a table alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.research.datasets import read_annotation
from VertebralFractureLib.research.datasets.grade_table import ScanGrades, read_grades, scan_key
from VertebralFractureLib.research.datasets.import_dataset import import_scan, import_scans, source_scans
from VertebralFractureLib.research.phantom import Phantom, make_phantom
from VertebralFractureLib.research.phantom.options import FractureOptions, PhantomOptions
from VertebralFractureLib.volume import CTVolume, write_volume

TABLE = "verse_ID,T11_fx-g,T12_fx-g,T12_fx-s,L1_fx-g,L1_fx-s,L2_fx-g\n4,0,0,,3,wedge,0\n"


@pytest.fixture(scope="module")
def a_phantom() -> Phantom:
    options = PhantomOptions(
        7,
        fractures=(FractureOptions("L1", "wedge", 0.45),),
        field_of_view="spine",
        caudal_level="L4",
        cranial_level="T9",
        spacing_mm=(1.2, 1.2, 2.0),
    )
    return make_phantom(options)


@pytest.fixture(scope="module")
def a_verse_tree(a_phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom as VerSe stores a subject: the masks hold an arch behind the canal too."""
    tree = tmp_path_factory.mktemp("verse")
    raw, derived = tree / "rawdata" / "sub-verse004", tree / "derivatives" / "sub-verse004"
    raw.mkdir(parents=True)
    derived.mkdir(parents=True)
    ct, labels = a_phantom.ct, a_phantom.body_labels
    write_volume(ct, raw / "sub-verse004_ct.nii.gz")
    # j grows towards the back or the front; the arch lies 50 mm behind the body.
    towards_back = -round(50.0 / ct.spacing_mm[1]) if ct.ijk_to_ras[1, 1] > 0 else round(50.0 / ct.spacing_mm[1])
    with_arch = np.maximum(labels, np.roll(labels, towards_back, axis=1))
    write_volume(CTVolume(with_arch.astype(np.int16), ct.ijk_to_ras), derived / "sub-verse004_seg-vert_msk.nii.gz")
    points: list[dict[str, object]] = [{"direction": ["L", "A", "S"]}]
    for number in np.unique(labels[labels > 0]):
        k, j, i = np.argwhere(labels == number).mean(axis=0)
        points.append({"label": int(number), "X": float(i), "Y": float(j), "Z": float(k)})
    (derived / "sub-verse004_seg-subreg_ctd.json").write_text(json.dumps(points), encoding="utf-8")
    (tree / "grades.csv").write_text(TABLE, encoding="utf-8")
    return tree


def test_a_verse_tree_becomes_annotated_scans(a_phantom: Phantom, a_verse_tree: Path, tmp_path: Path) -> None:
    grades = str(a_verse_tree / "grades.csv")

    code = main(["import-dataset", "--from", str(a_verse_tree), "--grades", grades, "--out", str(tmp_path)])

    assert code == 0
    made = read_annotation(tmp_path / "sub-verse004.json")
    truth = {v.level: v for v in a_phantom.reference.vertebrae}
    assert (tmp_path / "sub-verse004.nii.gz").is_file()
    whole = [v for v in made.vertebrae if v.complete]
    assert {v.level for v in whole} == {v.level for v in truth.values() if v.complete and v.level != "S1"}
    for vertebra in whole:
        known = truth[vertebra.level]
        assert np.linalg.norm(np.subtract(vertebra.center_ras, known.center_ras)) < 3.0
        for measured, drawn in zip(vertebra.heights_mm, known.heights_mm, strict=True):
            assert measured == pytest.approx(drawn, abs=3.0)
    graded = {v.level: (v.grade, v.shape) for v in made.vertebrae}
    assert graded["L1"] == (3, "wedge")
    assert graded["T12"] == (0, None)
    assert graded["L3"] == (None, None), "the table has no word on it"


def test_centroids_of_a_turned_image_are_refused(a_verse_tree: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(a_verse_tree, turned)
    file = next(turned.rglob("*_ctd.json"))
    points = json.loads(file.read_text(encoding="utf-8"))
    for point in points[1:]:
        point["X"], point["Z"] = point["Z"], point["X"]
    file.write_text(json.dumps(points), encoding="utf-8")

    assert import_scans(source_scans(turned), None, tmp_path / "out").done == 0
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == ["import-dataset.json"]


def test_a_mask_on_another_grid_is_refused(a_verse_tree: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(a_verse_tree, turned)
    mask = next(turned.rglob("*_msk.nii.gz"))
    image = sitk.ReadImage(str(mask))
    sitk.WriteImage(image[:, :, 1:], str(mask))

    with pytest.raises(UnreadableVolume, match="not on the grid"):
        import_scan(source_scans(turned)[0], ScanGrades())


def test_cts_with_a_table_alone_are_annotated_by_what_the_program_finds(a_phantom: Phantom, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_volume(a_phantom.ct, tmp_path / "in" / "mine_2020.nii.gz")
    found = {v.level for v in a_phantom.reference.vertebrae}
    (tmp_path / "grades.csv").write_text(
        "scan,level,grade,shape\nmine_2020,*,0,\nmine_2020,L1,3,wedge\n", encoding="utf-8"
    )

    done = import_scans(source_scans(tmp_path / "in"), tmp_path / "grades.csv", tmp_path / "out")

    assert done.done == 1
    made = read_annotation(tmp_path / "out" / "mine_2020.json")
    truth = {v.level: v for v in a_phantom.reference.vertebrae}
    complete = [v for v in made.vertebrae if v.complete]
    assert len(complete) >= 4
    for vertebra in complete:
        assert vertebra.level in found or vertebra.level is None
        nearest = min(
            truth.values(), key=lambda known: np.linalg.norm(np.subtract(known.center_ras, vertebra.center_ras))
        )
        assert np.linalg.norm(np.subtract(nearest.center_ras, vertebra.center_ras)) < 5.0
    assert all(v.grade in (None, 3 if v.level == "L1" else 0) for v in made.vertebrae)


def test_a_scan_is_found_in_its_table_under_any_of_its_names() -> None:
    assert {scan_key(name) for name in ("sub-verse004", "verse004", "4", "4.0")} == {"4"}
    assert scan_key("Chest_07") == "chest_07"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a,b\n1,2\n", "needs the columns"),
        ("scan,level,grade\nx,T99,1\n", "T99"),
        ("scan,level,grade\nx,L1,5\n", "'5'"),
    ],
)
def test_a_table_that_means_something_else_is_refused(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")

    with pytest.raises(UnreadableVolume, match=word):
        read_grades(tmp_path / "t.csv")
