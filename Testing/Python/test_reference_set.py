"""Which scans may train, and in which fold: by patient, the same in every run, for the user's own scans as well."""

import pytest

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.research.datasets.reference_set import (
    fold_count,
    fold_of_scan,
    patient_of_scan,
    reference_scans,
)


def add_scan(folder, identifier):
    (folder / f"{identifier}.nii.gz").touch()
    (folder / f"{identifier}.json").write_text("{}", encoding="utf-8")


def test_both_dates_of_a_patient_are_in_one_fold():
    assert patient_of_scan("hcc-007a") == patient_of_scan("hcc-007b") == "hcc-007"
    assert fold_of_scan("hcc-007a") == fold_of_scan("hcc-007b")


def test_a_scan_whose_license_forbids_training_has_no_fold():
    assert fold_of_scan("lung1-001") is None


def test_own_scans_are_split_by_the_patient_in_their_name():
    assert patient_of_scan("sub-verse010_dir-ax_ct") == "sub-verse010"
    assert fold_of_scan("sub-verse010_first") == fold_of_scan("sub-verse010_second")
    assert {fold_of_scan(f"patient{number}") for number in range(50)} == set(range(fold_count()))


def test_every_volume_with_its_annotation_is_found(tmp_path):
    for identifier in ("own_1", "acrin-042", "lung1-002"):
        add_scan(tmp_path, identifier)
    (tmp_path / "without-volume.json").write_text("{}", encoding="utf-8")

    scans = {scan.identifier: scan.fold for scan in reference_scans(tmp_path)}

    assert scans == {"acrin-042": 0, "lung1-002": None, "own_1": fold_of_scan("own_1")}


def test_a_folder_without_scans_is_refused_in_words(tmp_path):
    with pytest.raises(UnreadableVolume, match=r"no <id>\.nii\.gz with <id>\.json"):
        reference_scans(tmp_path)
