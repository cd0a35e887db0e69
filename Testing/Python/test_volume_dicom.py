"""DICOM series become volumes whose every voxel lies where the headers say, or are refused by name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from volume_samples import LPS_TO_RAS, a_ct, grid_points_ras, hu_at, largest_error_hu, write_dicom

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume import list_dicom_series, read_volume


def test_slices_in_any_file_order_are_sorted_by_place(tmp_path: Path) -> None:
    ct = a_ct()
    order = np.random.default_rng(1).permutation(len(ct.hu)).tolist()
    write_dicom(tmp_path / "séries CT 1", ct, order=order)

    read = read_volume(tmp_path / "séries CT 1")

    assert read.hu.dtype == np.int16
    assert read.shape_kji == ct.shape_kji
    assert read.spacing_mm == pytest.approx(ct.spacing_mm, abs=1e-6)
    assert largest_error_hu(read) <= 1


def test_each_slice_keeps_its_own_rescale_intercept(tmp_path: Path) -> None:
    ct = a_ct()
    write_dicom(tmp_path, ct, intercepts=(-1024.0, -1000.0, 0.0))

    read = read_volume(tmp_path)

    assert largest_error_hu(read) <= 1


@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 2, 1)], ids=["sagittal", "coronal"])
def test_a_series_that_is_not_axial_keeps_its_place(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    # Rows run to the left or posterior, columns downwards, as scanners store reformatted series.
    directions = -np.eye(3)[:, axes]
    write_dicom(tmp_path, a_ct(axes=directions))

    read = read_volume(tmp_path)

    assert largest_error_hu(read) <= 1
    assert list_dicom_series(tmp_path)[0].kind == {1: "sagittal", 0: "coronal"}[axes[0]]


def test_a_tilted_gantry_gives_an_exact_sheared_matrix(tmp_path: Path) -> None:
    ct = a_ct()
    tilted = ct.ijk_to_ras.copy()
    angle = np.radians(20.0)
    # The image plane tilts about R while the table still moves along S.
    tilted[:3, 1] = 2.5 * np.array([0.0, np.cos(angle), np.sin(angle)])
    sheared = replace(ct, ijk_to_ras=tilted, hu=hu_at(grid_points_ras(ct.shape_kji, tilted)))
    write_dicom(tmp_path, sheared, order=list(reversed(range(len(ct.hu)))))

    read = read_volume(tmp_path)

    assert largest_error_hu(read) <= 1
    assert read.ijk_to_ras == pytest.approx(tilted, abs=1e-4)


@pytest.mark.parametrize("missing", [[7], [5, 6], [5, 15]], ids=["one", "two together", "two apart"])
def test_up_to_two_missing_slices_are_interpolated(tmp_path: Path, missing: list[int]) -> None:
    ct = a_ct(shape_kji=(30, 20, 22), spacing_mm=(2.0, 2.5, 2.0))
    write_dicom(tmp_path, ct, order=[k for k in range(30) if k not in missing])

    read = read_volume(tmp_path)

    assert read.shape_kji == ct.shape_kji
    assert largest_error_hu(read) <= 1
    assert read.source["interpolated_slices"] == str(len(missing))


@pytest.mark.parametrize(("missing", "gap"), [([4, 9, 13], "6.0 mm"), ([4, 5], "9.0 mm")])
def test_a_large_gap_is_refused_with_its_size(tmp_path: Path, missing: list[int], gap: str) -> None:
    write_dicom(tmp_path, a_ct(), order=[k for k in range(24) if k not in missing])

    with pytest.raises(UnreadableVolume, match=f"gap of {gap}"):
        read_volume(tmp_path)


def test_a_slice_off_the_grid_is_refused_with_its_step(tmp_path: Path) -> None:
    ct = a_ct()
    write_dicom(tmp_path / "a", ct)
    moved = ct.ijk_to_ras.copy()
    moved[:3, 3] += [0.0, 12.0, 0.0]
    (tmp_path / "a" / "IM0010").unlink()
    write_dicom(tmp_path / "a", replace(ct, ijk_to_ras=moved), order=[10], names="moved{}")

    with pytest.raises(UnreadableVolume, match=r"images 10 and 11 .* 12\.0 mm to the side"):
        read_volume(tmp_path / "a")


def test_an_mr_series_is_refused_by_its_modality(tmp_path: Path) -> None:
    write_dicom(tmp_path, a_ct(), extra_tags={"0008|0060": "MR"})

    with pytest.raises(UnreadableVolume, match="modality is MR"):
        read_volume(tmp_path)


def test_the_largest_ct_is_chosen_among_series_localizers_and_junk(tmp_path: Path) -> None:
    ct = a_ct()
    write_dicom(tmp_path / "mr", a_ct(shape_kji=(40, 20, 22)), uid="1.2.3.9", extra_tags={"0008|0060": "MR"})
    write_dicom(tmp_path / "thick", a_ct(shape_kji=(12, 20, 22), spacing_mm=(2, 2.5, 5)), uid="1.2.3.1")
    write_dicom(tmp_path / "thin", ct, uid="1.2.3.2")
    coronal = a_ct(shape_kji=(2, 20, 22), axes=np.eye(3)[:, [0, 2, 1]])
    write_dicom(tmp_path / "thin", coronal, uid="1.2.3.2", names="scout{}", extra_tags={"0008|0018": "1.2.3.7"})
    (tmp_path / "thin" / "notes").write_text("not an image")
    (tmp_path / "thin" / ".hidden.dcm").write_bytes(b"\0" * 200)
    (tmp_path / "thin" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 60)

    read = read_volume(tmp_path)

    assert read.source["series_instance_uid"] == "1.2.3.2"
    assert read.shape_kji == ct.shape_kji


def test_a_series_is_chosen_by_uid_beginning_number_or_description(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a", a_ct(), uid="1.2.3.111")
    other = {"0020|0011": "7", "0008|103e": "Bone kernel"}
    write_dicom(tmp_path / "b", a_ct(shape_kji=(20, 20, 22)), uid="1.2.3.222", extra_tags=other)

    chosen = {
        wanted: read_volume(tmp_path, series=wanted) for wanted in ("1.2.3.222", "1.2.3.2", "7", "bone", "Bone kernel")
    }

    assert {ct.source["series_instance_uid"] for ct in chosen.values()} == {"1.2.3.222"}
    with pytest.raises(UnreadableVolume, match=r"No series fits 'liver'.*Bone kernel"):
        read_volume(tmp_path, series="liver")
    with pytest.raises(UnreadableVolume, match=r"More than one series fits '1\.2'"):
        read_volume(tmp_path, series="1.2")


def test_one_dicom_file_stands_for_its_series(tmp_path: Path) -> None:
    files = write_dicom(tmp_path, a_ct(shape_kji=(20, 20, 22)), uid="1.2.3.1", names="a{}.dcm")
    write_dicom(tmp_path, a_ct(), uid="1.2.3.2", names="b{}.dcm")

    read = read_volume(files[4])

    assert read.source["series_instance_uid"] == "1.2.3.1"
    assert read.shape_kji == (20, 20, 22)


def test_copies_of_slices_are_taken_once(tmp_path: Path) -> None:
    files = write_dicom(tmp_path, a_ct())
    for file in files[:5]:
        shutil.copy(file, tmp_path / f"copy of {file.name}")

    assert largest_error_hu(read_volume(tmp_path)) <= 1


def test_two_phases_in_one_series_are_told_apart_by_acquisition_or_refused(tmp_path: Path) -> None:
    ct = a_ct()
    late = replace(ct, hu=(ct.hu + 30).astype(np.int16))
    for case, number in (("told", "2"), ("mixed", "1")):
        write_dicom(tmp_path / case, ct, extra_tags={"0020|0012": "1"})
        for k in range(24):
            tags = {"0020|0012": number, "0008|0018": f"1.2.9.{k + 1}"}
            write_dicom(tmp_path / case, late, order=[k], names=f"late{k}", extra_tags=tags)

    assert largest_error_hu(read_volume(tmp_path / "told")) <= 1
    with pytest.raises(UnreadableVolume, match="different images at the same place"):
        read_volume(tmp_path / "mixed")


def test_no_identifier_of_the_patient_is_kept(tmp_path: Path) -> None:
    write_dicom(tmp_path, a_ct())

    read = read_volume(tmp_path)

    assert "SECRET" not in f"{read.name} {dict(read.source)} {list_dicom_series(tmp_path)}"
    assert read.name == "Thorax 1.0"
    assert dict(read.source) == {
        "format": "dicom",
        "series_instance_uid": "1.2.826.0.1.1",
        "modality": "CT",
        "slice_thickness_mm": "3",
        "kvp": "120",
        "kernel": "B30f",
    }


def test_a_truncated_slice_counts_as_missing_and_the_source_says_so(tmp_path: Path) -> None:
    ct = a_ct()
    files = write_dicom(tmp_path, ct)
    files[11].write_bytes(files[11].read_bytes()[:-400])

    read = read_volume(tmp_path)

    assert read.shape_kji == ct.shape_kji
    assert read.source["interpolated_slices"] == "1"


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")

    with pytest.raises(UnreadableVolume, match="no DICOM image"):
        read_volume(tmp_path)


def test_a_multi_frame_file_is_read_with_its_geometry(tmp_path: Path) -> None:
    _multi_frame(tmp_path / "enhanced.dcm")

    read = read_volume(tmp_path / "enhanced.dcm")

    assert largest_error_hu(read) <= 1
    assert read.spacing_mm == pytest.approx((2.0, 2.5, 3.0))


def test_the_slice_thickness_of_a_multi_frame_file_is_read_from_its_pixel_measures(tmp_path: Path) -> None:
    file = tmp_path / "enhanced.dcm"
    content = _multi_frame(file)
    spacing_between_slices, slice_thickness = b"\x18\x00\x88\x00", b"\x18\x00\x50\x00\x02\x00\x00\x005 "
    assert content.count(spacing_between_slices) == 1
    file.write_bytes(content.replace(spacing_between_slices, slice_thickness + spacing_between_slices))

    read = read_volume(file)

    assert largest_error_hu(read) <= 1
    assert read.slice_thickness_mm == 5.0


def test_frames_out_of_order_are_sorted_by_place(tmp_path: Path) -> None:
    file = tmp_path / "enhanced.dcm"
    content = _multi_frame(file)
    # Exchange the z of two frames' positions, and the same two frames' pixels.
    heights = [-26.5 + 3.0 * n for n in (4, 5)]
    low, high = (f"\\{height:g}".encode() for height in heights)
    assert len(low) == len(high)
    assert content.count(low) == content.count(high) == 1
    content = content.replace(low, b"#low#").replace(high, low).replace(b"#low#", high)
    frame = 20 * 22 * 2
    start = len(content) - 24 * frame
    frames = [content[start + n * frame : start + (n + 1) * frame] for n in range(24)]
    frames[4], frames[5] = frames[5], frames[4]
    file.write_bytes(content[:start] + b"".join(frames))

    read = read_volume(file)

    assert largest_error_hu(read) <= 1
    assert read.spacing_mm == pytest.approx((2.0, 2.5, 3.0))


def test_a_multi_frame_file_without_frame_positions_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "enhanced.dcm"
    content = _multi_frame(file)
    file.write_bytes(content.replace(b"\x20\x00\x32\x00", b"\x20\x00\x34\x00"))

    with pytest.raises(UnreadableVolume, match=r"multi-frame.*one image per slice"):
        read_volume(file)


def _multi_frame(file: Path) -> bytes:
    ct = a_ct()
    image = sitk.GetImageFromArray(ct.hu)
    image.SetSpacing(ct.spacing_mm)
    image.SetOrigin((LPS_TO_RAS @ ct.ijk_to_ras[:3, 3]).tolist())
    image.SetDirection((LPS_TO_RAS @ np.eye(3)).ravel().tolist())
    for key, value in {"0008|0060": "CT", "0028|1052": "-1024", "0028|1053": "1"}.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(file))
    return file.read_bytes()
