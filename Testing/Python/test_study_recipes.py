"""The recipes: trees as those of public sets, and a hospital's DICOM with a spreadsheet, become annotated scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_samples import write_ct
from study_samples import a_small_spine

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.research.datasets import Source, read_annotation
from VertebralFractureLib.research.datasets.import_dataset import import_scans, source_scans
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.volume import CTVolume, read_volume, write_volume


def write_mask(path: Path, labels: np.ndarray, ct: CTVolume) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(CTVolume(labels.astype(np.int16), ct.ijk_to_ras), path)


def levels_of(annotation: Path) -> set[str | None]:
    return {vertebra.level for vertebra in read_annotation(annotation).vertebrae if vertebra.complete}


@pytest.fixture(scope="module")
def expected() -> set[str | None]:
    return {v.level for v in a_small_spine(0).reference.vertebrae if v.complete and v.level != "S1"}


def test_a_tree_as_that_of_ctspine1k_has_its_label_maps_beside(expected: set[str | None], tmp_path: Path) -> None:
    """Given trainset/x.nii.gz and a label map x_seg.nii.gz in another folder, then levels and bodies are the mask's."""
    phantom = a_small_spine(0)
    (tmp_path / "in" / "trainset").mkdir(parents=True)
    write_volume(phantom.ct, tmp_path / "in" / "trainset" / "1.3.6.1.4.1.9328.50.4.0001.nii.gz")
    write_mask(tmp_path / "in" / "gt" / "1.3.6.1.4.1.9328.50.4.0001_seg.nii.gz", phantom.body_labels, phantom.ct)

    done = import_scans(source_scans(tmp_path / "in"), None, tmp_path / "out")

    assert [scan.identifier for scan in done.scans] == ["1.3.6.1.4.1.9328.50.4.0001"]
    made = read_annotation(tmp_path / "out" / "1.3.6.1.4.1.9328.50.4.0001.json")
    assert levels_of(tmp_path / "out" / "1.3.6.1.4.1.9328.50.4.0001.json") == expected
    assert {v.level_by for v in made.vertebrae} == {Source.MASK}
    assert {v.grade for v in made.vertebrae} == {None}, "levels only"


def test_a_tree_as_that_of_totalsegmentator_has_a_mask_for_each_vertebra(
    expected: set[str | None], tmp_path: Path
) -> None:
    phantom = a_small_spine(0)
    for subject in ("s0001", "s0002"):
        folder = tmp_path / "in" / subject
        folder.mkdir(parents=True)
        write_volume(phantom.ct, folder / "ct.nii.gz")
        write_mask(folder / "segmentations" / "liver.nii.gz", phantom.body_labels * 0, phantom.ct)
        for level, number in LEVEL_NUMBERS.items():
            if (phantom.body_labels == number).any():
                write_mask(
                    folder / "segmentations" / f"vertebrae_{level}.nii.gz", phantom.body_labels == number, phantom.ct
                )

    scans = source_scans(tmp_path / "in")
    import_scans(scans[:1], None, tmp_path / "out")

    assert [scan.identifier for scan in scans] == ["s0001_ct", "s0002_ct"]
    assert levels_of(tmp_path / "out" / "s0001_ct.json") == expected


def test_a_tree_as_that_of_rsna_has_dicom_and_a_label_map_with_other_axes(
    expected: set[str | None], tmp_path: Path
) -> None:
    """Given train_images/UID and segmentations/UID.nii whose axes are turned and swapped, then its levels arrive."""
    phantom = a_small_spine(0)
    folder = tmp_path / "in" / "train_images" / "1.2.826.7"
    folder.mkdir(parents=True)
    write_ct(folder, phantom.ct)
    mask = phantom.body_labels.transpose(2, 1, 0)[:, ::-1].astype(np.int16)  # [i, j, k], j backwards
    count_j = mask.shape[1]
    swap = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, count_j - 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    (tmp_path / "in" / "segmentations").mkdir()
    write_volume(
        CTVolume(np.ascontiguousarray(mask), phantom.ct.ijk_to_ras @ swap),
        tmp_path / "in" / "segmentations" / "1.2.826.7.nii",
    )

    import_scans(source_scans(tmp_path / "in"), None, tmp_path / "out")

    made = read_annotation(tmp_path / "out" / "1.2.826.7.json")
    assert {v.level for v in made.vertebrae if v.complete} == expected
    truth = {v.level: v.center_ras for v in phantom.reference.vertebrae}
    for vertebra in made.vertebrae:
        if vertebra.complete:
            assert np.linalg.norm(np.subtract(vertebra.center_ras, truth[vertebra.level])) < 3.0


def test_a_hospital_s_dicom_with_a_spreadsheet_becomes_graded_scans_with_what_the_header_said(
    tmp_path: Path, capsys
) -> None:
    """Given a folder of DICOM for each scan and a table with semicolons, then grades, kV and kernel reach the scan."""
    phantom = a_small_spine(0, "L1")
    folder = tmp_path / "pacs" / "A17_2024-03-01"
    folder.mkdir(parents=True)
    write_ct(folder, phantom.ct, {"0018|0060": ("DS", "120"), "0018|1210": ("SH", "B30f")})
    (tmp_path / "grades.csv").write_text(
        "Scan;Level;Grade\nA17_2024-03-01;*;0\nA17_2024-03-01;L1;2\n", encoding="utf-8-sig"
    )

    words = ["--from", str(tmp_path / "pacs"), "--grades", str(tmp_path / "grades.csv")]
    code = main(["import-dataset", *words, "--out", str(tmp_path / "scans")])

    said = capsys.readouterr().out
    assert code == 0, said
    assert "1 scans of 1 patients (by their names, up to the first underscore)" in said
    made = read_annotation(tmp_path / "scans" / "A17_2024-03-01.json")
    assert (made.acquisition["kvp"], made.acquisition["kernel"]) == ("120", "B30f")
    assert read_volume(tmp_path / "scans" / "A17_2024-03-01.nii.gz").shape_kji == phantom.ct.shape_kji
    grades = {v.level: v.grade for v in made.vertebrae}
    assert {grade for grade in grades.values() if grade is not None} | set(made.unplaced_grades.values()) == {0, 2}
