"""The one sampler gives what SciPy gives, inside and beyond the volume; a window turns HU into a network's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.hu_windows import (
    BONE_DISPLAY,
    CANAL_NETWORK,
    FRACTURE_NETWORKS,
    VERTEBRA_NETWORKS,
    HuWindow,
)
from VertebralFractureLib.volume.sampling import sample_hu_near, sample_linear, sample_nearest, sample_tensor


def some_points(size_ijk: tuple[int, ...], seed: int = 3) -> np.ndarray:
    """``(40, 25, d)`` indices within an array of this size and up to two voxels beyond it."""
    draw = np.random.default_rng(seed).uniform(-2.0, 1.0, (40, 25, len(size_ijk)))
    return draw + np.random.default_rng(seed + 1).uniform(0.0, 1.0, draw.shape) * np.array(size_ijk)


@pytest.mark.parametrize("shape", [(7, 9, 11), (1, 9, 11), (8, 6)])
def test_linear_values_are_those_of_scipy_inside_and_beyond_the_border(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).normal(0.0, 300.0, shape).astype(np.float32)
    index = some_points(shape[::-1])

    values = sample_linear(array, index)

    expected = map_coordinates(array.astype(np.float64), np.moveaxis(index, -1, 0)[::-1], order=1, mode="nearest")
    assert np.abs(values - expected).max() < 1e-9


def test_whole_indices_give_the_voxels_themselves() -> None:
    array = np.random.default_rng(2).normal(size=(4, 5, 6))
    k, j, i = np.indices(array.shape)

    assert np.array_equal(sample_linear(array, np.stack([i, j, k], axis=-1).astype(float)), array)


@pytest.mark.parametrize(("beyond", "mode"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_the_tensor_sampler_gives_the_same_in_single_precision(beyond: str, mode: str) -> None:
    array = np.random.default_rng(1).normal(0.0, 1.0, (7, 9, 11)).astype(np.float32)
    index = some_points((11, 9, 7))

    both = [
        sample_tensor(torch.from_numpy(array)[None, None], given[None, None], beyond=beyond)[0, 0, 0]
        for given in (index, torch.from_numpy(index))
    ]

    expected = map_coordinates(array, np.moveaxis(index, -1, 0)[::-1], order=1, mode=mode)
    for values in both:
        assert np.abs(values.numpy() - expected).max() < 1e-5


def test_the_nearest_voxel_is_read_and_what_lies_outside_is_said() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)

    values, within = sample_nearest(array, np.array([[3.4, 1.6, 0.51], [3.6, 0.0, 0.0], [-0.6, 0.0, 0.0]]))

    assert values[0] == array[1, 2, 3]
    assert values.dtype == np.int16
    assert within.tolist() == [True, False, False]


def test_hu_at_a_place_of_the_patient_are_those_of_an_oblique_grid() -> None:
    matrix = np.array([[0.0, 0.0, 2.0, 5.0], [0.7, 0.0, 0.0, -3.0], [0.0, -0.7, 0.0, 40.0], [0.0, 0.0, 0.0, 1.0]])
    ct = CTVolume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), matrix)
    at = ct.ijk_to_ras_points(np.array([[[4.0, 3.0, 2.0], [0.0, 0.0, 3.0]]]))

    hu = sample_hu_near(ct, at)

    assert hu.shape == (1, 2)
    assert hu[0, 0] == 59.0
    assert np.isnan(hu[0, 1])


@pytest.mark.parametrize("window", [CANAL_NETWORK, VERTEBRA_NETWORKS, FRACTURE_NETWORKS])
def test_a_window_gives_the_same_numbers_for_arrays_and_tensors_and_leaves_the_input(window: HuWindow) -> None:
    hu = np.array([-2000.0, window.low, window.center, 333.0, window.high, 3000.0], dtype=np.float32)
    before = hu.copy()

    array, tensor = window.normalize(hu), window.normalize(torch.from_numpy(hu)).numpy()

    lowest, highest = ((edge - window.center) / window.scale for edge in (window.low, window.high))
    expected = [lowest, lowest, 0.0, (333.0 - window.center) / window.scale, highest, highest]
    assert array == pytest.approx(expected)
    assert np.array_equal(array, tensor)
    assert array.dtype == np.float32
    assert np.array_equal(hu, before)


def test_a_display_window_is_black_at_its_lower_and_white_at_its_upper_end() -> None:
    gray = BONE_DISPLAY.normalize(np.array([-500.0, -100.0, 400.0, 900.0, 2000.0]))

    assert gray == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    assert (BONE_DISPLAY.width, BONE_DISPLAY.level) == (1000.0, 400.0)
