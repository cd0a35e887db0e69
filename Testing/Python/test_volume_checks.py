"""What is not a CT in Hounsfield units, or cannot show a vertebra, is refused by name; good CTs of any crop pass."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume import CTVolume, check_ct, read_volume

AIR, FAT, MUSCLE, BONE = -1000, -100, 45, 250


def a_body(
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0), shape_kji: tuple[int, int, int] = (40, 80, 80)
) -> CTVolume:
    """An elliptic trunk in air: fat around muscle around a bony column, with the noise of a CT."""
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape_kji), indexing="ij")
    hu = np.full(shape_kji, AIR, dtype=np.float64)
    hu[(i / 0.9) ** 2 + (j / 0.7) ** 2 < 1] = FAT
    hu[(i / 0.75) ** 2 + (j / 0.55) ** 2 < 1] = MUSCLE
    hu[(i / 0.15) ** 2 + ((j + 0.3) / 0.15) ** 2 + 0 * k < 1] = BONE
    hu += np.random.default_rng(0).normal(0.0, 15.0, shape_kji)
    return CTVolume(np.round(np.maximum(hu, -1024)).astype(np.int16), np.diag([*spacing_mm, 1.0]), "trunk")


def test_a_good_ct_passes_untouched() -> None:
    ct = a_body()

    assert check_ct(ct) is ct


def test_a_ct_cropped_to_the_spine_without_any_air_passes() -> None:
    ct = a_body()
    cropped = replace(ct, hu=ct.hu[:, 22:60, 20:60])
    assert cropped.hu.min() > -200

    assert check_ct(cropped) is cropped


def test_a_left_handed_grid_passes() -> None:
    ct = replace(a_body(), ijk_to_ras=np.diag([-2.0, 2.0, 2.0, 1.0]))

    assert check_ct(ct) is ct


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_is_raised_to_air_and_the_given_array_is_not_changed(padding: int) -> None:
    ct = a_body()
    hu = ct.hu.copy()
    hu[:, :20, :20] = padding

    checked = check_ct(replace(ct, hu=hu))

    assert checked.hu.min() == -1024
    assert checked.hu.dtype == np.int16
    assert np.array_equal(checked.hu[:, 20:], ct.hu[:, 20:])
    assert hu.min() == padding


@pytest.mark.parametrize(
    ("spacing_mm", "words"),
    [
        ((1.0, 1.0, 10.0), r"slices .* are 10\.0 mm apart"),
        ((1.0, 1.0, 6.5), r"slices .* are 6\.5 mm apart"),
        ((12.0, 1.0, 1.0), r"12\.0 mm apart.*spacing in the file is wrong"),
        ((0.01, 0.01, 2.0), r"voxel spacing .* 0\.01 x 0\.01 x 2 mm"),
        ((1.0, 1.0, 0.9), r"only 36 mm from feet to head"),
        ((0.2, 1.0, 2.0), r"only 16 mm wide"),
    ],
)
def test_a_geometry_without_a_judgeable_vertebra_is_refused(spacing_mm: tuple[float, float, float], words: str) -> None:
    with pytest.raises(UnreadableVolume, match=words):
        check_ct(a_body(spacing_mm))


def test_slices_of_5_mm_pass() -> None:
    ct = a_body((1.0, 1.0, 5.0))

    assert check_ct(ct) is ct


def test_the_distance_of_tilted_slices_is_measured_across_them() -> None:
    ct = a_body((1.0, 1.0, 5.5))
    tilted = ct.ijk_to_ras.copy()
    tilted[1, 2] = 4.0

    assert np.linalg.norm(tilted[:3, 2]) > 6.0
    assert check_ct(replace(ct, ijk_to_ras=tilted)).shape_kji == ct.shape_kji


def test_a_handful_of_slices_is_refused() -> None:
    ct = a_body((1.0, 1.0, 6.0))

    with pytest.raises(UnreadableVolume, match="only 7 slices"):
        check_ct(replace(ct, hu=ct.hu[:7]))


@pytest.mark.parametrize("value", [0, -1024])
def test_a_constant_volume_is_refused(value: int) -> None:
    ct = a_body()

    with pytest.raises(UnreadableVolume, match=f"same value \\({value}\\)"):
        check_ct(replace(ct, hu=np.full_like(ct.hu, value)))


def test_many_voxels_that_are_not_numbers_are_refused_and_a_few_become_air() -> None:
    ct = a_body()
    many, few = ct.hu.astype(np.float32), ct.hu.astype(np.float32)
    many[:4] = np.nan
    few[0, 0, :3] = [np.nan, np.inf, -np.inf]

    with pytest.raises(UnreadableVolume, match=r"10\.0 % of the voxels are not numbers"):
        check_ct(replace(ct, hu=many))
    assert np.array_equal(check_ct(replace(ct, hu=few)).hu[0, 0, :3], [-1024, -1024, -1024])


@pytest.mark.parametrize("crop", [slice(None), slice(20, 60)], ids=["whole", "cropped"])
def test_a_missing_rescale_intercept_is_named(crop: slice) -> None:
    ct = a_body()
    stored = np.maximum(ct.hu[:, crop, crop].astype(np.int32) + 1024, 0).astype(np.uint16)

    with pytest.raises(UnreadableVolume, match="rescale intercept"):
        check_ct(replace(ct, hu=stored))


def test_a_missing_rescale_intercept_is_named_beside_padding() -> None:
    ct = a_body()
    stored = np.maximum(ct.hu + 1024, 0).astype(np.int16)
    stored[:, :20, :20] = -2000

    with pytest.raises(UnreadableVolume, match="rescale intercept"):
        check_ct(replace(ct, hu=stored))


def an_mr() -> CTVolume:
    """Air 0, muscle darker than fat, bone dark, with Rician noise and a bias field: what T1 weighting gives."""
    ct = a_body()
    signal = np.select([ct.hu < -500, ct.hu < -50, ct.hu < 150], [0.0, 700.0, 280.0], 90.0)
    noise = np.random.default_rng(1).normal(0.0, 12.0, (2, *signal.shape))
    biased = signal * np.linspace(0.6, 1.4, signal.shape[1])[:, None]
    return replace(ct, hu=np.round(np.hypot(biased + noise[0], noise[1])).astype(np.int16), name="T1")


def test_an_mr_is_refused_by_its_content() -> None:
    with pytest.raises(UnreadableVolume, match=r"not Hounsfield units.*MR"):
        check_ct(an_mr())


def test_an_mr_normalized_to_mean_zero_is_refused() -> None:
    mr = an_mr()
    values = mr.hu.astype(np.float32)

    with pytest.raises(UnreadableVolume, match=r"not Hounsfield units|Hounsfield units, so"):
        check_ct(replace(mr, hu=(values - values.mean()) / values.std()))


def test_a_windowed_picture_is_refused() -> None:
    ct = a_body()
    window = np.clip((ct.hu + 160) * (255 / 400), 0, 255).astype(np.uint8)

    with pytest.raises(UnreadableVolume, match="windowed picture"):
        check_ct(replace(ct, hu=window))


def test_a_label_map_is_refused_as_one() -> None:
    ct = a_body()
    labels = (ct.hu > 150).astype(np.uint8) * np.arange(40, dtype=np.uint8)[:, None, None] // 2

    with pytest.raises(UnreadableVolume, match="label map"):
        check_ct(replace(ct, hu=labels))


def test_air_without_a_body_is_refused() -> None:
    ct = a_body()
    air = np.random.default_rng(2).normal(-1000.0, 15.0, ct.hu.shape).astype(np.int16)

    with pytest.raises(UnreadableVolume, match="no soft tissue"):
        check_ct(replace(ct, hu=air))


@pytest.mark.data
@pytest.mark.skipif("VERTEBRAL_FRACTURE_DATA" not in os.environ, reason="needs the reference scans")
def test_every_reference_scan_passes() -> None:
    scans = sorted(Path(os.environ["VERTEBRAL_FRACTURE_DATA"]).glob("*.nii.gz"))

    assert scans
    for scan in scans:
        assert read_volume(scan).hu.dtype == np.int16
