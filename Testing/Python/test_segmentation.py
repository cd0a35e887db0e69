"""The label map of the bodies: on the CT's grid whatever its geometry, and with the names that other tools read."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from correction_samples import a_column
from outline_samples import an_outlined_report

from VertebralFractureLib.cli.main import main
from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.export.scene import new_scene
from VertebralFractureLib.export.segmentation import LabelMap, fill_bodies, write_segmentation
from VertebralFractureLib.vertebrae.body_solid import mark_body, mesh_body
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sitk_bridge import ct_from_sitk

AXIAL = np.diag([-1.5, -1.5, 2.0, 1.0])
AXIAL[:3, 3] = (40.0, 60.0, 20.0)


def a_ct(ijk_to_ras: np.ndarray = AXIAL, shape_kji: tuple[int, int, int] = (70, 55, 54)) -> CTVolume:
    return CTVolume(np.zeros(shape_kji, np.int16), ijk_to_ras, "CT")


def a_descending_ct() -> CTVolume:
    """The same voxels, the head first."""
    matrix = AXIAL.copy()
    matrix[:3, 2] *= -1.0
    matrix[:3, 3] += 69.0 * AXIAL[:3, 2]
    return a_ct(matrix)


def an_oblique_ct() -> CTVolume:
    """Rotated by 20 degrees about R and 10 about S; another voxel size."""
    x, z = np.radians(20.0), np.radians(10.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag([1.2, -1.2, 1.7])
    matrix[:3, 3] = np.array([0.0, 27.0, 90.0]) - matrix[:3, :3] @ np.array([40.0, 50.0, 60.0])
    return a_ct(matrix, (121, 101, 81))


@pytest.fixture(scope="module")
def a_report():
    return an_outlined_report()


def centers_of(label_map: LabelMap) -> dict[int, np.ndarray]:
    """Mean place of the voxels of each number, RAS mm."""
    voxels = label_map.volume.hu
    return {
        number: label_map.volume.ijk_to_ras_points(np.argwhere(voxels == number)[:, ::-1].astype(float)).mean(axis=0)
        for number in np.unique(voxels[voxels > 0]).tolist()
    }


@pytest.mark.parametrize("ct", [a_ct(), a_descending_ct(), an_oblique_ct()], ids=["axial", "descending", "oblique"])
def test_each_body_is_filled_in_its_place_with_the_number_of_its_level(a_report, ct: CTVolume) -> None:
    label_map = fill_bodies(a_report, ct)

    assert np.array_equal(label_map.volume.ijk_to_ras, ct.ijk_to_ras)
    centers = centers_of(label_map)
    inside = [v for v in a_report.vertebrae if 40.0 < v.center_ras[2] < 140.0]
    assert len(inside) >= 3
    for vertebra in inside:
        assert centers[LEVEL_NUMBERS[vertebra.level]] == pytest.approx(vertebra.center_ras, abs=1.0)


def a_far_ct() -> CTVolume:
    """90 m from the origin, where a NIfTI's single precision is 0.008 mm."""
    matrix = an_oblique_ct().ijk_to_ras.copy()
    matrix[:3, 3] += 90_000.1234
    return a_ct(matrix)


def test_a_grid_far_from_the_origin_is_no_reason_to_refuse_a_file(a_report, tmp_path: Path) -> None:
    far = tuple(
        replace(v, outline_ras=None, landmarks_ras=None, box=None, center_ras=(9e4, 9e4, 9e4 + v.center_ras[2]))
        for v in a_report.vertebrae
    )

    write_segmentation(fill_bodies(replace(a_report, vertebrae=far), a_far_ct()), tmp_path / "bodies.nii.gz")

    assert (tmp_path / "bodies.nii.gz").is_file()


@pytest.mark.parametrize("ct", [a_ct(), a_descending_ct(), an_oblique_ct()], ids=["axial", "descending", "oblique"])
@pytest.mark.parametrize("name", ["bodies.nii.gz", "bodies.nii", "bodies.nrrd"])
def test_the_file_lies_exactly_on_the_grid_of_the_ct(a_report, ct: CTVolume, name: str, tmp_path: Path) -> None:
    label_map = fill_bodies(a_report, ct)

    write_segmentation(label_map, tmp_path / name)

    again = ct_from_sitk(sitk.ReadImage(str(tmp_path / name)))
    assert np.array_equal(again.hu, label_map.volume.hu)
    corners = np.array([[i, j, k] for i in (0, 80) for j in (0, 100) for k in (0, 120)], dtype=float)
    assert again.ijk_to_ras_points(corners) == pytest.approx(ct.ijk_to_ras_points(corners), abs=1e-3)


def test_the_surface_that_is_shown_encloses_what_is_filled(a_report) -> None:
    vertebra = a_report.vertebrae[3]
    points, triangles = mesh_body(vertebra)
    middle = points.mean(axis=0)

    assert mark_body(vertebra, middle + 0.98 * (points - middle)).mean() > 0.97
    assert mark_body(vertebra, middle + 1.03 * (points - middle)).mean() < 0.1
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    # Closed but for the two ends, each a ring that has collapsed into a line.
    assert (counts == 1).sum() == 2 * len(vertebra.outline_ras)


def test_bodies_without_a_level_of_their_own_have_numbers_beyond_all_levels(a_report) -> None:
    named = list(a_report.vertebrae)
    named[2] = replace(named[2], level=None, label="V3")
    named[3] = replace(named[3], level=named[1].level, label=named[1].label)

    label_map = fill_bodies(replace(a_report, vertebrae=tuple(named)), a_ct())

    numbers = {segment.vertebra.center_ras: segment.number for segment in label_map.segments}
    assert [numbers[named[at].center_ras] for at in (2, 3)] == [101, 102]
    assert len(set(numbers.values())) == len(numbers)


def test_what_was_not_traced_or_lies_outside_is_left_out_and_said(a_report) -> None:
    bare = list(a_report.vertebrae)
    bare[1] = replace(bare[1], outline_ras=None)

    label_map = fill_bodies(replace(a_report, vertebrae=tuple(bare)), a_ct())

    assert bare[1].label in label_map.left_out
    assert bare[-1].label in label_map.left_out
    assert LEVEL_NUMBERS[bare[1].level] not in label_map.volume.hu
    assert fill_bodies(a_column(), a_ct()).segments == ()


def test_where_two_bodies_overlap_a_voxel_belongs_to_the_nearer_one(a_report) -> None:
    lower, upper = a_report.vertebrae[1:3]
    high = 0.6 * (upper.center_ras[2] - lower.center_ras[2])
    taller = [(r, a, lower.center_ras[2] + np.sign(s - lower.center_ras[2]) * high) for r, a, s in lower.outline_ras]
    report = replace(a_report, vertebrae=(replace(lower, outline_ras=tuple(taller)), upper))

    label_map = fill_bodies(report, a_ct())

    owned = centers_of(label_map)
    assert owned[LEVEL_NUMBERS[upper.level]] == pytest.approx(upper.center_ras, abs=1.0)


def test_slicer_reads_the_names_and_codes_of_an_nrrd_as_segments(a_report, tmp_path: Path) -> None:
    path = tmp_path / "bodies.seg.nrrd"
    write_segmentation(fill_bodies(a_report, a_ct()), path)
    scene = new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bodies")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))

    assert storage.ReadData(node) == 1
    segments = node.GetSegmentation()
    names = [segments.GetNthSegment(n).GetName() for n in range(segments.GetNumberOfSegments())]
    assert "L1" in names
    segment = segments.GetNthSegment(names.index("L1"))
    assert segment.GetLabelValue() == LEVEL_NUMBERS["L1"]
    assert "SCT^3572006^Vertebral body" in _terminology(segment)
    assert "SCT^66794005^L1 vertebra" in _terminology(segment)


def _terminology(segment) -> str:
    import vtk

    held = vtk.reference("")
    segment.GetTag("TerminologyEntry", held)
    return str(held)


def test_slicer_reads_the_names_beside_a_nifti_as_a_color_table(a_report, tmp_path: Path) -> None:
    write_segmentation(fill_bodies(a_report, a_ct()), tmp_path / "bodies.nii.gz")
    scene = new_scene()
    colors = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "bodies")
    storage = scene.AddNewNodeByClass("vtkMRMLColorTableStorageNode")
    storage.SetFileName(str(tmp_path / "bodies.csv"))

    assert storage.ReadData(colors) == 1
    assert colors.GetColorName(LEVEL_NUMBERS["L1"]) == "L1"
    assert "66794005" in colors.GetTerminologyAsString(LEVEL_NUMBERS["L1"])
    rows = list(csv.DictReader((tmp_path / "bodies.csv").open(encoding="utf-8")))
    assert [int(row["LabelValue"]) for row in rows if row["Name"] == "L1"] == [LEVEL_NUMBERS["L1"]]


def test_a_sheared_grid_is_written_as_nrrd_and_refused_as_nifti(a_report, tmp_path: Path) -> None:
    matrix = AXIAL.copy()
    matrix[1, 2] = 0.6
    label_map = fill_bodies(a_report, a_ct(matrix))

    write_segmentation(label_map, tmp_path / "bodies.nrrd")

    with pytest.raises(OutputRefused, match=r"\.nrrd"):
        write_segmentation(label_map, tmp_path / "bodies.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["bodies.nrrd"]


@pytest.mark.parametrize(
    ("name", "words"), [("bodies.png", "no ending"), ("result/bodies.nii.gz", "--out"), ("scan.nii.gz", "read too")]
)
def test_a_label_map_that_cannot_be_written_is_refused_before_anything_is_read(
    name: str, words: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"no scan")

    scan, result, bodies = (str(tmp_path / one) for one in ("scan.nii.gz", "result", name))
    code = main(["detect", scan, "--out", result, "--segmentation", bodies])

    assert code == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]
