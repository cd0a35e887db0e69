"""Samples for the canal network keep truth and image together, and the training command writes weights that load."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from VertebralFractureLib.cord import Centerline
from VertebralFractureLib.cord.canal_network import CanalNetwork, log_probabilities, network_from_weights
from VertebralFractureLib.reference import ReferenceSpine
from VertebralFractureLib.training import train_cord
from VertebralFractureLib.training.cord_data import WINDOW, CordSampler, canal_loss, cord_case, load_case, save_case
from VertebralFractureLib.training.evaluate_cord import centerline_errors
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.weights import load_weights

CANAL_RAS = (12.0, -20.0)


def a_body_with_a_bright_canal(slices: int = 60) -> CTVolume:
    """Muscle and fat, 200 mm wide and noisy, with a rod of 900 HU and 8 mm where the canal is; 2.5 mm voxels."""
    matrix = np.diag([2.5, 2.5, 2.5, 1.0])
    matrix[:2, 3] = -100.0
    hu = np.random.default_rng(0).normal(40.0, 12.0, (slices, 80, 80)).astype(np.int16)
    hu[:, :16] -= 140
    j, i = np.mgrid[:80, :80]
    hu[:, np.hypot(2.5 * i - 100.0 - CANAL_RAS[0], 2.5 * j - 100.0 - CANAL_RAS[1]) < 4.0] = 900
    return CTVolume(hu, matrix)


def a_reference(low_mm: float, high_mm: float, uncertain=()) -> ReferenceSpine:
    heights = np.arange(low_mm, high_mm + 0.1, 5.0)
    points = np.column_stack([np.full_like(heights, CANAL_RAS[0]), np.full_like(heights, CANAL_RAS[1]), heights])
    return ReferenceSpine("made", Centerline(points, np.ones(len(points))), (), uncertain)


@pytest.fixture
def a_case():
    return cord_case("made", a_body_with_a_bright_canal(), a_reference(0.0, 145.0))


def test_only_what_is_known_of_the_canal_is_taught():
    case = cord_case("made", a_body_with_a_bright_canal(), a_reference(60.0, 100.0, ((10.0, 20.0),)))
    heights = case.stack.heights_mm

    state = {round(float(s)): int(value) for s, value in zip(heights, case.state, strict=True)}

    assert all(value == 1 for s, value in state.items() if 82 < s < 98)
    assert all(value == -1 for s, value in state.items() if 71 < s < 79 or 20 < s < 55)
    assert all(value == 0 for s, value in state.items() if s < 12)


def test_the_target_lies_on_the_canal_in_every_augmented_window(a_case):
    batches = [CordSampler([a_case], [], batch_size=8)(seed) for seed in range(6)]

    distances = []
    for batch in batches:
        for slices, target in zip(batch.slices[batch.present], batch.target[batch.present], strict=True):
            middle = slices[2].numpy()
            j, i = np.mgrid[:WINDOW, :WINDOW]
            near = np.hypot(i - target[0].item(), j - target[1].item()) < 12
            weight = np.where(near, np.clip(middle - np.median(middle[near]), 0.0, None), 0.0) ** 2
            centre = np.array([(weight * i).sum(), (weight * j).sum()]) / weight.sum()
            distances.append(np.hypot(*(centre - target.numpy())))

    assert len(distances) > 15
    assert np.median(distances) < 0.6


def test_a_batch_depends_on_its_seed_alone(a_case):
    sampler = CordSampler([a_case], [], batch_size=3)

    first, again, other = sampler(5), sampler(5), sampler(6)

    assert torch.equal(first.slices, again.slices)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.slices, other.slices)


def test_a_case_survives_its_file(a_case, tmp_path):
    save_case(a_case, tmp_path / "made.npz")

    loaded = load_case("made", tmp_path / "made.npz")

    assert np.array_equal(loaded.stack.hu, a_case.stack.hu)
    assert np.array_equal(loaded.state, a_case.state)
    assert loaded.stack.origin_ras == a_case.stack.origin_ras


def test_pixels_and_none_share_one_probability():
    logits = torch.randn(2, 16, 16)

    pixels, none = log_probabilities(logits)

    assert torch.allclose(pixels.exp().sum(dim=(1, 2)) + none.exp(), torch.ones(2), atol=1e-5)


def test_the_loss_falls_when_the_network_points_at_the_canal(a_case):
    batch = CordSampler([a_case], [], batch_size=6)(0)
    pointing = torch.full((6, WINDOW, WINDOW), -9.0)
    for row in torch.nonzero(batch.present)[:, 0].tolist():
        i, j = (round(value) for value in batch.target[row].tolist())
        pointing[row, max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2] = 8.0

    class Fixed(torch.nn.Module):
        def __init__(self, answer: torch.Tensor) -> None:
            super().__init__()
            self.answer = answer

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return self.answer

    device = torch.device("cpu")
    knowing = canal_loss(Fixed(pointing), batch, device)
    ignorant = canal_loss(Fixed(torch.zeros_like(pointing)), batch, device)

    assert knowing < ignorant


def test_the_command_trains_from_a_data_folder_to_weights_that_load(tmp_path):
    ct, reference = a_body_with_a_bright_canal(40), a_reference(0.0, 95.0)
    image = sitk.GetImageFromArray(ct.hu)
    image.SetSpacing((2.5, 2.5, 2.5))
    # SimpleITK's world is LPS: R and A of the first voxel change their signs, and so do both axes.
    image.SetOrigin((100.0, 100.0, 0.0))
    image.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, str(tmp_path / "hcc-007a.nii.gz"))
    annotation = {"id": "hcc-007a", "centerline": {"points_ras": reference.centerline.points_ras.tolist()}}
    (tmp_path / "hcc-007a.json").write_text(json.dumps({**annotation, "vertebrae": []}), encoding="utf-8")
    parser = argparse.ArgumentParser()
    train_cord.add_arguments(parser)
    out = tmp_path / "out"
    arguments = ["--data", str(tmp_path), "--out", str(out), "--steps", "2", "--fold", "1"]

    code = train_cord.run(parser.parse_args([*arguments, "--weights-folder", str(tmp_path / "weights")]))

    weights = load_weights("cord", tmp_path / "weights")
    assert code == 0
    assert weights.config["training"]["scans"] == ["hcc-007a"]
    assert isinstance(network_from_weights(weights.tensors, weights.config), CanalNetwork)


def test_a_fold_that_does_not_exist_is_refused(tmp_path):
    parser = argparse.ArgumentParser()
    train_cord.add_arguments(parser)

    with pytest.raises(ValueError, match="no fold 7"):
        train_cord.run(parser.parse_args(["--out", str(tmp_path), "--weights-folder", str(tmp_path), "--fold", "7"]))


def test_a_shifted_curve_is_as_far_off_as_it_was_shifted():
    reference = a_reference(0.0, 100.0)
    shifted = Centerline(reference.centerline.points_ras + np.array([3.0, 0.0, 0.0]), np.ones(21))

    errors = centerline_errors(shifted, reference)

    assert errors.mean_mm == pytest.approx(3.0, abs=0.01)
    assert errors.coverage == 1.0
    assert errors.beyond_mm == 0.0


def test_missed_and_superfluous_length_are_both_counted():
    reference = a_reference(0.0, 100.0)
    points = np.array([[*CANAL_RAS, 50.0], [*CANAL_RAS, 150.0]])

    errors = centerline_errors(Centerline(points, np.ones(2)), reference)

    assert errors.coverage == pytest.approx(0.55, abs=0.02)
    assert errors.beyond_mm == pytest.approx(40.0, abs=2.0)
