"""Samples for the canal network keep truth and image together, and the training command writes weights that load."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.canal.network import BOX_SIDES, CanalNetwork, compute_log_probabilities, network_from_weights
from VertebralFractureLib.research.datasets import ReferenceSpine
from VertebralFractureLib.research.evaluation.evaluate_canal import centerline_errors
from VertebralFractureLib.research.training import train_canal
from VertebralFractureLib.research.training.canal_cases import case_without_spine, load_case, make_canal_case, save_case
from VertebralFractureLib.research.training.canal_data import CanalSampler, canal_loss
from VertebralFractureLib.research.training.canal_windows import WINDOW, window_at
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
    return make_canal_case("made", a_body_with_a_bright_canal(), a_reference(0.0, 145.0))


def test_only_what_is_known_of_the_canal_is_taught():
    case = make_canal_case("made", a_body_with_a_bright_canal(), a_reference(60.0, 100.0, ((10.0, 20.0),)))
    heights = case.stack.heights_mm

    state = {round(float(s)): int(value) for s, value in zip(heights, case.state, strict=True)}

    assert all(value == 1 for s, value in state.items() if 82 < s < 98)
    assert all(value == -1 for s, value in state.items() if 71 < s < 79 or 20 < s < 55)
    assert all(value == 0 for s, value in state.items() if s < 12)


def test_the_target_lies_on_the_canal_in_every_augmented_window(a_case):
    random = np.random.default_rng(0)
    windows = [window_at(a_case, int(random.integers(10, 60)), random) for _ in range(60)]

    distances = []
    for window in (window for window in windows if window.present):
        middle = window.hu[2].numpy()
        j, i = np.mgrid[:WINDOW, :WINDOW]
        near = np.hypot(i - window.target[0], j - window.target[1]) < 12
        weight = np.where(near, np.clip(middle - np.median(middle[near]), 0.0, None), 0.0) ** 2
        center = np.array([(weight * i).sum(), (weight * j).sum()]) / weight.sum()
        distances.append(np.hypot(*(center - window.target)))

    assert len(distances) > 15
    assert np.median(distances) < 0.4
    assert np.percentile(distances, 90) < 1.5


def test_a_window_without_the_canal_in_it_says_so(a_case):
    random = np.random.default_rng(1)
    windows = [window_at(a_case, 30, random) for _ in range(60)]

    absent = [window for window in windows if not window.present]

    assert 3 < len(absent) < 40
    assert all((window.hu.numpy() > 600).sum() == 0 for window in absent)
    assert all(np.isnan(window.walls_mm).all() for window in absent)


def test_a_volume_without_a_spine_teaches_that_there_is_none():
    case = case_without_spine("nothing", a_body_with_a_bright_canal())

    batch = CanalSampler([], [case], [case], batch_size=8)(3)

    assert not batch.present.any()
    assert not torch.isfinite(batch.walls_mm).any()


def test_a_batch_depends_on_its_seed_alone(a_case):
    sampler = CanalSampler([a_case], [], batch_size=3)

    first, again, other = sampler(5), sampler(5), sampler(6)

    assert torch.equal(first.slices, again.slices)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.slices, other.slices)


def test_a_case_survives_its_file(a_case, tmp_path):
    save_case(a_case, tmp_path / "made.npz")

    loaded = load_case("made", tmp_path / "made.npz")

    assert np.array_equal(loaded.stack.hu, a_case.stack.hu)
    assert np.array_equal(loaded.state, a_case.state)
    assert np.array_equal(loaded.walls_mm, a_case.walls_mm, equal_nan=True)
    assert loaded.stack.origin_ras == a_case.stack.origin_ras


def test_pixels_and_none_share_one_probability():
    logits = torch.randn(2, 16, 16)

    pixels, none = compute_log_probabilities(logits)

    assert torch.allclose(pixels.exp().sum(dim=(1, 2)) + none.exp(), torch.ones(2), atol=1e-5)


class Fixed(torch.nn.Module):
    """A network that always gives the same answer."""

    def __init__(self, logits: torch.Tensor, boxes: torch.Tensor) -> None:
        super().__init__()
        self.answer = logits, boxes

    def forward(self, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.answer


def loss_of(batch, logits, boxes) -> float:
    return float(canal_loss(Fixed(logits, boxes), batch, torch.device("cpu")))


def test_the_loss_falls_when_the_network_points_at_the_canal(a_case):
    batch = CanalSampler([a_case], [], batch_size=6)(0)
    pointing = torch.full((6, WINDOW, WINDOW), -9.0)
    for row in torch.nonzero(batch.present)[:, 0].tolist():
        i, j = (round(value) for value in batch.target[row].tolist())
        pointing[row, max(j - 2, 0) : j + 3, max(i - 2, 0) : i + 3] = 8.0
    boxes = torch.zeros(6, BOX_SIDES, WINDOW // 2, WINDOW // 2)

    assert loss_of(batch, pointing, boxes) < loss_of(batch, torch.zeros_like(pointing), boxes)


def test_the_loss_falls_when_the_known_walls_are_right_and_ignores_the_unknown(a_case):
    batch = CanalSampler([a_case], [], batch_size=6)(0)
    row = int(torch.nonzero(batch.present)[0])
    batch.walls_mm[:] = torch.nan
    batch.walls_mm[row, :2] = torch.tensor([-9.0, 10.0])
    logits = torch.zeros(6, WINDOW, WINDOW)
    wrong = torch.zeros(6, BOX_SIDES, WINDOW // 2, WINDOW // 2)
    right = wrong.clone()
    right[row, :2] = torch.tensor([-9.0, 10.0])[:, None, None]
    right_and_more = right.clone()
    right_and_more[row, 2:] = 50.0

    assert loss_of(batch, logits, right) < loss_of(batch, logits, wrong)
    assert loss_of(batch, logits, right) == loss_of(batch, logits, right_and_more)


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
    train_canal.add_arguments(parser)
    out = tmp_path / "out"
    arguments = ["--data", str(tmp_path), "--out", str(out), "--steps", "2"]
    arguments += ["--phantoms", "0", "--without-spine", "1"]

    code = train_canal.run(parser.parse_args([*arguments, "--weights-folder", str(tmp_path / "weights")]))

    weights = load_weights("cord", tmp_path / "weights")
    assert code == 0
    assert weights.config["training"]["scans"] == ["hcc-007a"]
    assert isinstance(network_from_weights(weights), CanalNetwork)


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
