"""Image files and saved scenes become volumes whose every voxel lies where the file says, or are refused by name."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from volume_samples import LPS_TO_RAS, a_ct, grid_points_ras, hu_at, largest_error_hu

from VertebralFractureLib.errors import OutputRefused, UnreadableVolume
from VertebralFractureLib.volume import CTVolume, ct_from_sitk, ct_to_sitk, read_volume, write_volume

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]


def an_oblique_frame() -> np.ndarray:
    """Three unit axes, none along a patient axis."""
    axes, _ = np.linalg.qr(np.array([[0.9, 0.2, -0.1], [-0.3, 0.8, 0.3], [0.2, -0.2, 0.9]]))
    return axes


AXES = {
    "RAS": np.diag([1.0, 1.0, 1.0]),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "LAS (left-handed)": np.diag([-1.0, 1.0, 1.0]),
    "RAI": np.diag([1.0, 1.0, -1.0]),
    "PIR (sagittal)": -np.eye(3)[:, [1, 2, 0]] * [1, 1, -1],
    "LIP (coronal)": -np.eye(3)[:, [0, 2, 1]],
    "SRA": np.eye(3)[:, [2, 0, 1]],
    "oblique": an_oblique_frame(),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_anatomy_lies_at_the_same_place_in_any_orientation(tmp_path: Path, axes: np.ndarray) -> None:
    ct = a_ct(shape_kji=(24, 26, 28), axes=axes)
    image = sitk.GetImageFromArray(ct.hu)
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((LPS_TO_RAS @ ct.ijk_to_ras[:3, 3]).tolist())
    image.SetDirection((LPS_TO_RAS @ axes).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))

    read = read_volume(tmp_path / "ct.nii.gz")

    assert largest_error_hu(read) <= 1
    assert read.ijk_to_ras == pytest.approx(ct.ijk_to_ras, abs=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_written_volume_is_read_back_the_same(tmp_path: Path, suffix: str) -> None:
    ct = a_ct(axes=an_oblique_frame(), shape_kji=(24, 26, 28))
    path = tmp_path / f"thörax 1.5 mm{suffix}"

    write_volume(ct, path)
    read = read_volume(path)

    assert np.array_equal(read.hu, ct.hu)
    assert read.hu.dtype == np.int16
    assert read.ijk_to_ras == pytest.approx(ct.ijk_to_ras, abs=1e-4)
    assert read.name == "thörax 1.5 mm"
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_an_image_keeps_its_geometry_through_simpleitk_with_shear() -> None:
    ct = a_ct()
    sheared = ct.ijk_to_ras.copy()
    sheared[1, 2] += 1.2

    back = ct_from_sitk(ct_to_sitk(replace(ct, ijk_to_ras=sheared)))

    assert back.ijk_to_ras == pytest.approx(sheared, abs=1e-9)


def test_a_sheared_nifti_keeps_its_shear_when_read_and_is_not_written_without_it(tmp_path: Path) -> None:
    ct = a_ct()
    sheared = ct.ijk_to_ras.copy()
    sheared[1, 2] += 1.2
    write_volume(replace(ct, hu=hu_at(grid_points_ras(ct.shape_kji, sheared))), tmp_path / "plain.nii")
    content = bytearray((tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<hh", content, 252, 0, 1)
    struct.pack_into("<12f", content, 280, *sheared[:3].ravel())
    (tmp_path / "tilted.nii").write_bytes(content)

    read = read_volume(tmp_path / "tilted.nii")

    assert largest_error_hu(read) <= 1
    with pytest.raises(ValueError, match="sheared"):
        write_volume(read, tmp_path / "out.nii.gz")


def test_scaled_and_floating_point_voxels_become_float32(tmp_path: Path) -> None:
    ct = a_ct()
    sitk.WriteImage(sitk.Cast(ct_to_sitk(ct), sitk.sitkFloat64) * 1.0, str(tmp_path / "double.nrrd"))
    write_volume(ct, tmp_path / "plain.nii")
    content = bytearray((tmp_path / "plain.nii").read_bytes())
    struct.pack_into("<ff", content, 112, 0.5, 10.0)
    (tmp_path / "scaled.nii").write_bytes(content)

    double, scaled = read_volume(tmp_path / "double.nrrd"), read_volume(tmp_path / "scaled.nii")

    assert double.hu.dtype == scaled.hu.dtype == np.float32
    assert np.array_equal(double.hu, ct.hu)
    assert np.allclose(scaled.hu, ct.hu * 0.5 + 10.0)


def test_a_4d_file_with_one_time_point_is_a_volume(tmp_path: Path) -> None:
    ct = a_ct()
    sitk.WriteImage(sitk.JoinSeries([ct_to_sitk(ct)]), str(tmp_path / "one.nii.gz"))

    assert largest_error_hu(read_volume(tmp_path / "one.nii.gz")) <= 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.66, 0.999])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"ct{suffix}"
    noise = np.random.default_rng(0).normal(0.0, 20.0, (24, 20, 22)).astype(np.int16)
    write_volume(replace(a_ct(), hu=a_ct().hu + noise), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(UnreadableVolume, match=r"damaged|empty"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_a_single_wrong_bit_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ct{suffix}"
    noise = np.random.default_rng(0).normal(0.0, 20.0, (24, 20, 22)).astype(np.int16)
    write_volume(replace(a_ct(), hu=a_ct().hu + noise), path)
    voxels = next(file for file in (tmp_path / "ct.zraw", path) if file.exists())
    content = bytearray(voxels.read_bytes())
    content[len(content) // 2] ^= 4
    voxels.write_bytes(content)

    with pytest.raises(UnreadableVolume, match="damaged"):
        read_volume(path)


def test_a_gzip_stream_that_ends_early_but_whole_is_refused(tmp_path: Path) -> None:
    write_volume(a_ct(), tmp_path / "ct.nii")
    content = (tmp_path / "ct.nii").read_bytes()
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(content[: len(content) // 2]))

    with pytest.raises(UnreadableVolume, match="damaged"):
        read_volume(tmp_path / "short.nii.gz")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_what_its_ending_says_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ct{suffix}"
    path.write_text("<html>Please log in to download this file.</html>" * 20)

    with pytest.raises(UnreadableVolume, match="damaged, cut off, or not what its ending says"):
        read_volume(path)


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")

    with pytest.raises(UnreadableVolume, match="no file or folder"):
        read_volume(tmp_path / "nowhere.nii.gz")
    with pytest.raises(UnreadableVolume, match="not a kind of file"):
        read_volume(tmp_path / "picture.png")


def test_a_2d_a_4d_and_a_color_image_are_refused(tmp_path: Path) -> None:
    image = ct_to_sitk(a_ct())
    sitk.WriteImage(image[:, :, 3:4], str(tmp_path / "flat.nii.gz"))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(tmp_path / "moving.nii.gz"))
    sitk.WriteImage(sitk.Compose([image] * 3), str(tmp_path / "color.nrrd"))

    for name, word in (("flat.nii.gz", "2D"), ("moving.nii.gz", "4D"), ("color.nrrd", "values per voxel")):
        with pytest.raises(UnreadableVolume, match=word):
            read_volume(tmp_path / name)


def test_the_voxels_of_a_pair_stand_for_its_header_and_an_analyze_image_is_refused_by_name(tmp_path: Path) -> None:
    sitk.WriteImage(ct_to_sitk(a_ct()), str(tmp_path / "pair.hdr"))
    content = (tmp_path / "pair.hdr").read_bytes()
    (tmp_path / "old.hdr").write_bytes(content[:344] + b"\0\0\0\0")
    (tmp_path / "old.img").write_bytes((tmp_path / "pair.img").read_bytes())

    assert largest_error_hu(read_volume(tmp_path / "pair.img")) <= 1
    with pytest.raises(UnreadableVolume, match=r"Analyze.*nothing of left and right"):
        read_volume(tmp_path / "old.img")


def test_a_4d_file_is_refused_with_a_way_to_its_time_points(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([ct_to_sitk(a_ct())] * 3), str(tmp_path / "gated.nii.gz"))

    with pytest.raises(UnreadableVolume, match=r"4D with 3 time points.*in Slicer.*save the volume that is shown"):
        read_volume(tmp_path / "gated.nii.gz")


TRANSFORM = np.array([[0.0, -1.0, 0.0, 10.0], [1.0, 0.0, 0.0, 20.0], [0.0, 0.0, 1.0, 30.0], [0.0, 0.0, 0.0, 1.0]])


def a_scene(folder: Path, transform: str = "", more_nodes: str = "", name: str = "My CT") -> Path:
    """An .mrb laid out as Slicer writes it, with one volume whose file name holds a space."""
    data = folder / "Data"
    data.mkdir(parents=True)
    write_volume(a_ct(), data / f"{name}.nrrd")
    references = "storage:s1;" + ("transform:t1;" if transform else "")
    (folder / "scene.mrml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<MRML version="Slicer 5.6.0">
 <Volume id="v1" name="{name}" references="{references}"></Volume>
 <VolumeArchetypeStorage id="s1" fileName="Data/{name.replace(" ", "%20")}.nrrd"></VolumeArchetypeStorage>
 {transform}
 {more_nodes}
</MRML>""",
        encoding="utf-8",
    )
    bundle = folder.parent / f"{folder.name}.mrb"
    with zipfile.ZipFile(bundle, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, Path(folder.name) / file.relative_to(folder))
    return bundle


def test_the_volume_of_a_scene_is_read(tmp_path: Path) -> None:
    bundle = a_scene(tmp_path / "scene")

    read = read_volume(bundle)

    assert read.name == "My CT"
    assert largest_error_hu(read) <= 1
    assert np.array_equal(read_volume(tmp_path / "scene" / "scene.mrml").hu, read.hu)


def test_parent_transforms_move_the_volume_of_a_scene(tmp_path: Path) -> None:
    # The chain holds a matrix in the scene and a second one in a file, which ITK stores inverted and in LPS.
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    from_parent = flip @ np.linalg.inv(TRANSFORM) @ flip
    stored = sitk.AffineTransform(from_parent[:3, :3].ravel().tolist(), from_parent[:3, 3].tolist())
    (tmp_path / "scene").mkdir()
    sitk.WriteTransform(stored, str(tmp_path / "scene" / "turn.tfm"))
    numbers = "1 0 0 100 0 1 0 0 0 0 1 0 0 0 0 1"
    transform = f"""<LinearTransform id="t1" name="shift" references="transform:t2;"
        matrixTransformToParent="{numbers}"></LinearTransform>
        <Transform id="t2" name="turn" references="storage:s2;"></Transform>
        <TransformStorage id="s2" fileName="turn.tfm"></TransformStorage>"""
    a_scene(tmp_path / "scene", transform)

    read = read_volume(tmp_path / "scene" / "scene.mrml")

    shift = np.eye(4)
    shift[0, 3] = 100.0
    assert read.ijk_to_ras == pytest.approx(TRANSFORM @ shift @ a_ct().ijk_to_ras)


def test_a_scene_is_refused_when_its_transform_bends_space(tmp_path: Path) -> None:
    bundle = a_scene(tmp_path / "scene", '<BSplineTransform id="t1" name="warp"></BSplineTransform>')

    with pytest.raises(UnreadableVolume, match=r"'warp'.*harden it"):
        read_volume(bundle)


def test_the_volume_with_most_slices_or_the_named_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    write_volume(a_ct(shape_kji=(30, 20, 22)), tmp_path / "scene" / "long.nrrd")
    more = """<Volume id="v2" name="Long CT" storageNodeRef="s3"></Volume>
        <VolumeArchetypeStorage id="s3" fileName="long.nrrd"></VolumeArchetypeStorage>"""
    a_scene(tmp_path / "scene", more_nodes=more)
    scene = tmp_path / "scene" / "scene.mrml"

    assert read_volume(scene).name == "Long CT"
    assert read_volume(scene, series="My CT").shape_kji == a_ct().shape_kji
    with pytest.raises(UnreadableVolume, match=r"no volume named 'PET'.*'My CT', 'Long CT'"):
        read_volume(scene, series="PET")


def test_the_straightened_spine_of_an_earlier_result_is_not_taken_for_the_ct(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    write_volume(a_ct(shape_kji=(60, 20, 22)), tmp_path / "scene" / "straight.nrrd")
    more = """<Volume id="v2" name="My CT straightened" references="storage:s3;"
        attributes="VertebralFracture.notice:Research;VertebralFracture.role:straightened"></Volume>
        <VolumeArchetypeStorage id="s3" fileName="straight.nrrd"></VolumeArchetypeStorage>"""
    a_scene(tmp_path / "scene", more_nodes=more)

    assert read_volume(tmp_path / "scene" / "scene.mrml").name == "My CT"


def test_a_damaged_or_empty_scene_is_refused(tmp_path: Path) -> None:
    bundle = a_scene(tmp_path / "scene")
    (tmp_path / "cut.mrb").write_bytes(bundle.read_bytes()[:-300])
    with zipfile.ZipFile(tmp_path / "empty.mrb", "w") as archive:
        archive.writestr("scene/scene.mrml", "<MRML></MRML>")

    with pytest.raises(UnreadableVolume, match="damaged"):
        read_volume(tmp_path / "cut.mrb")
    with pytest.raises(UnreadableVolume, match="no scalar volume"):
        read_volume(tmp_path / "empty.mrb")


def test_importing_the_package_needs_neither_torch_nor_simpleitk(modules_after: Callable[[str], set[str]]) -> None:
    assert modules_after("import VertebralFractureLib.volume").isdisjoint({"torch", "SimpleITK"})


def test_a_file_name_of_no_known_kind_is_refused_in_words(tmp_path: Path) -> None:
    ct = CTVolume(np.zeros((4, 4, 4), np.int16), np.eye(4))

    with pytest.raises(OutputRefused, match="check its ending"):
        write_volume(ct, tmp_path / "volume.docx")


def test_writing_to_a_missing_folder_leaves_nothing(tmp_path: Path) -> None:
    ct: CTVolume = a_ct()

    with pytest.raises(OSError, match="nowhere"):
        write_volume(ct, tmp_path / "nowhere" / "ct.nrrd")
    assert not list(tmp_path.iterdir())
