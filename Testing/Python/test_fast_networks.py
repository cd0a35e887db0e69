"""Networks made fast answer as they did: folded norms, short numbers, and the axial stacks that they read."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from drawn_phantoms import draw_once

from VertebralFractureLib import fast_networks
from VertebralFractureLib.canal import axial_stack
from VertebralFractureLib.canal.axial_stack import AxialStacks, build_axial_stack
from VertebralFractureLib.canal.candidates import CanalReader
from VertebralFractureLib.canal.network import CanalModel, network_from_weights
from VertebralFractureLib.models import Models
from VertebralFractureLib.orientation.network import OrientationNetwork
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.research.phantom import PhantomOptions
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_linear
from VertebralFractureLib.weights import build_network, load_weights


@pytest.fixture(scope="module")
def a_scan():
    return draw_once(
        PhantomOptions(
            seed=4, caudal_level="L2", cranial_level="T9", spacing_mm=(3.0, 3.0, 4.0), slice_thickness_mm=4.0
        )
    ).ct


def an_oblique_volume(shape=(21, 38, 45), flipped=False):
    """Voxels of 0.7 x 0.9 x 1.6 mm, none of whose blocks of 2 mm is whole at the border."""
    random = np.random.default_rng(3)
    matrix = np.diag([0.7, 0.9, 1.6, 1.0])
    matrix[:3, 3] = (-13.3, -20.1, 41.7)
    if flipped:
        matrix[:3, 0], matrix[0, 3] = -matrix[:3, 0], 17.9
    return CTVolume(random.integers(-1000, 1500, shape).astype(np.int16), matrix)


def test_a_folded_network_gives_the_answers_of_the_one_that_was_trained():
    for name, build, picture in (
        ("cord", network_from_weights, torch.randn(2, 5, 48, 64)),
        ("orientation", lambda weights: build_network(OrientationNetwork, weights), torch.randn(1, 2, 32, 24, 24)),
    ):
        trained = build(load_weights(name))
        folded = copy.deepcopy(trained)

        fast_networks.fold_batch_norms(folded)

        assert not any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in folded.modules())
        with torch.inference_mode():
            before, after = trained(picture), folded(picture)
        for one, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (before, after)), strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


def test_short_numbers_move_the_canal_by_no_more_than_a_twentieth_of_a_millimeter(a_scan, monkeypatch):
    stack = build_axial_stack(a_scan)
    found = []
    for is_short in (False, True):
        monkeypatch.setattr(fast_networks, "multiplies_short_floats", lambda _, is_short=is_short: is_short)
        model = CanalModel.from_weights(load_weights("cord"))
        assert next(model.network.parameters()).dtype == (torch.bfloat16 if is_short else torch.float32)
        reader = CanalReader(model.network, stack)
        reader.read_along_path()
        found.append(reader.found)

    exact, short = found
    sure = exact.probability[:, 0] > 0.8
    assert sure.sum() > 10
    assert np.abs(exact.position_mm[sure, 0] - short.position_mm[sure, 0]).max() < 0.05
    assert np.abs(exact.probability[sure, 0] - short.probability[sure, 0]).max() < 0.01
    assert np.abs(exact.walls_mm[sure, 0] - short.walls_mm[sure, 0]).max() < 0.3


def test_nothing_is_shortened_on_a_graphics_card():
    assert not fast_networks.multiplies_short_floats("cuda")


@pytest.mark.parametrize("flipped", [False, True])
def test_blocks_hold_the_means_of_their_voxels_at_the_border_too(flipped):
    ct = an_oblique_volume(flipped=flipped)

    means, matrix = axial_stack._block_means(ct)

    world = ct.ijk_to_ras_points(np.stack(np.meshgrid(*map(np.arange, ct.shape_kji[::-1]), indexing="ij"), axis=-1))
    at = (world - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
    k, j, i = np.moveaxis(np.rint(at - 1e-6).astype(int), -1, 0)[::-1]
    total, count = np.zeros(means.shape), np.zeros(means.shape)
    values = ct.hu.transpose(2, 1, 0)
    np.add.at(total, (k, j, i), values)
    np.add.at(count, (k, j, i), 1)
    assert count.min() >= 1
    assert np.abs(means - total / count).max() < 1e-3


def test_a_stack_is_the_same_whether_its_axes_are_taken_one_by_one_or_together(monkeypatch):
    for axes in ((0, 1, 2), (1, 2, 0), (2, 1, 0)):
        ct = an_oblique_volume()
        matrix = np.eye(4)
        matrix[:3, :3] = ct.ijk_to_ras[list(axes), :3]
        matrix[:3, 3] = (-13.3, -20.1, 41.7)
        turned = CTVolume(ct.hu, matrix)

        monkeypatch.setattr(axial_stack, "_STRAIGHT", 1e-3)
        straight = build_axial_stack(turned, 3.0, 3.0)
        monkeypatch.setattr(axial_stack, "_STRAIGHT", -1.0)
        together = build_axial_stack(turned, 3.0, 3.0)

        assert straight.origin_ras == together.origin_ras
        assert (straight.hu == axial_stack.OUTSIDE_HU).any()
        assert (straight.hu > 0.0).any()
        assert np.abs(straight.hu - together.hu).max() < 0.1


def test_the_part_of_a_stack_around_points_is_that_part_of_the_whole(a_scan):
    stacks = AxialStacks(a_scan)
    whole = stacks.build(3.0, 3.0)
    middle = np.array(whole.origin_ras) + 0.5 * np.array(whole.hu.shape[::-1]) * 3.0

    part = stacks.build(3.0, 3.0, around_ras=middle + np.array([[-6.0, 0.0, -9.0], [6.0, 3.0, 9.0]]), margin_mm=12.0)

    i, j, k = np.rint((np.array(part.origin_ras) - whole.origin_ras) / 3.0).astype(int)
    depth, height, width = part.hu.shape
    assert (depth, height, width) < whole.hu.shape
    assert np.abs(part.hu - whole.hu[k : k + depth, j : j + height, i : i + width]).max() < 1e-2


def test_a_detection_averages_the_voxels_of_a_scan_once(a_scan, monkeypatch):
    calls = []
    average = axial_stack._block_means
    monkeypatch.setattr(axial_stack, "_block_means", lambda ct: calls.append(ct) or average(ct))

    detect(a_scan, models=Models.load())

    assert len(calls) == 1


def test_voxels_are_read_alike_in_any_storage_order():
    random = np.random.default_rng(0)
    volume = random.normal(size=(9, 7, 5))
    points = random.uniform(-2.0, 10.0, (40, 3))
    stored = np.asfortranarray(volume)
    assert not stored.flags.c_contiguous

    assert np.array_equal(sample_linear(volume, points), sample_linear(stored, points))
    assert np.array_equal(sample_linear(volume, np.rint(points)), sample_linear(stored, np.rint(points)))
