"""The fold weights behind the published figures: whole, like those that ship, and blind to the patients they judge."""

from __future__ import annotations

import pytest

from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.research.datasets.reference_set import fold_count, fold_of_scan, patient_of_scan
from VertebralFractureLib.research.training.fracture_members import shipped_names
from VertebralFractureLib.weights import load_weights, weights_names

FOLDS = range(fold_count())


@pytest.fixture
def folder_of_fold(project_folder):
    return lambda fold: project_folder / "Testing" / "FoldWeights" / f"fold{fold}"


def scans_learned_from(config) -> list[str]:
    return config["training"]["scans"] if "training" in config else config["scans"]


def test_what_ships_is_what_the_ensemble_s_recipe_trains():
    assert weights_names(PREFIX) == sorted(PREFIX + name for name in shipped_names())


@pytest.mark.parametrize("fold", FOLDS)
def test_a_fold_holds_a_whole_program_with_the_networks_that_ship(folder_of_fold, fold):
    assert weights_names("", folder_of_fold(fold)) == weights_names("")
    for name in weights_names(""):
        own, shipped = load_weights(name, folder_of_fold(fold)), load_weights(name)
        assert own.sha256 != shipped.sha256
        assert {key: array.shape for key, array in own.tensors.items()} == {
            key: array.shape for key, array in shipped.tensors.items()
        }


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("name", weights_names(""))
def test_the_weights_of_a_fold_never_saw_a_patient_whom_they_judge(folder_of_fold, name, fold):
    scans = scans_learned_from(load_weights(name, folder_of_fold(fold)).config)

    assert scans
    assert fold not in {fold_of_scan(scan) for scan in scans}
    judged = {patient_of_scan(scan) for scan in ("hcc-007a", "hcc-009a") if fold_of_scan(scan) == fold}
    assert not judged & {patient_of_scan(scan) for scan in scans}


@pytest.mark.parametrize("name", weights_names(""))
def test_no_weights_learned_from_scans_that_may_only_evaluate(name):
    assert None not in {fold_of_scan(scan) for scan in scans_learned_from(load_weights(name).config)}
