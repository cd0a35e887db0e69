"""What a person finds in 3D Slicer: the result's nodes, where they lie, and the report that one of them holds."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import ReformatGrid, StraightenedVolume, straighten
from VertebralFractureLib.errors import Cancelled, UnreadableVolume
from VertebralFractureLib.result import CorrectedReport, SpineReport
from VertebralFractureLib.result.report import (
    NOT_EVALUABLE,
    BoneDensity,
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    ScanResult,
    Software,
)
from VertebralFractureLib.vertebrae.vertebra import Heights, OrientedBox, ReaderAssessment, Reason, Status, Vertebra
from VertebralFractureLib.volume import CTVolume

slicer = pytest.importorskip("slicer", reason="the scene needs slicer-core (the 'scene' group)")

from vtkmodules.util.numpy_support import vtk_to_numpy  # noqa: E402
from vtkmodules.vtkCommonMath import vtkMatrix4x4  # noqa: E402

from VertebralFractureLib.export import files  # noqa: E402
from VertebralFractureLib.export.scene import (  # noqa: E402
    find_results,
    load_mrb,
    new_scene,
    packing_result,
    read_report,
    save_mrb,
    write_scene,
)

OBLIQUE = np.array([[-1.9, 0.3, 0.0, 40.0], [0.3, 1.9, 0.2, -50.0], [0.0, -0.2, 2.0, 10.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def a_ct() -> CTVolume:
    hu = np.random.default_rng(1).integers(-200, 900, (60, 40, 44)).astype(np.int16)
    return CTVolume(hu, OBLIQUE, "tube", {"modality": "CT"})


@pytest.fixture(scope="module")
def a_bent_centerline() -> Centerline:
    s = np.linspace(0.0, 100.0, 21)
    points = np.stack([2.0 * np.sin(s / 30.0), -20.0 + 14.0 * np.sin(s / 40.0), 15.0 + s], axis=1)
    return Centerline(points, np.linspace(0.6, 1.0, len(points)))


@pytest.fixture(scope="module")
def a_spine(a_ct: CTVolume, a_bent_centerline: Centerline) -> StraightenedVolume:
    return straighten(a_ct, a_bent_centerline, grid=ReformatGrid((2.0, 2.0, 2.0), (-20.0, 20.0), (-16.0, 30.0)))


def _vertebra(spine: StraightenedVolume, label: str, s: float, **changes: object) -> Vertebra:
    corners = [(0.0, a, s + half) for half in (9.0, -9.0) for a in (22.0, 15.0, 8.0)]
    (center,) = spine.frame.straight_to_ras(np.array([[0.0, 15.0, s]])).tolist()
    landmarks = spine.frame.straight_to_ras(np.array(corners)).tolist()
    vertebra = Vertebra(
        level=label,
        level_probability=0.97,
        label=label,
        center_ras=tuple(center),
        status=Status.SCORED,
        reason=None,
        fracture_probability=0.0312345,
        uncertainty=0.01,
        grade=0,
        morphometric_grade=0,
        shape=None,
        heights_mm=Heights(20.25, 19.5, 21.123456),
        height_loss=0.04,
        borderline=False,
        trabecular_hu=143.7,
        complete=True,
        detection_confidence=0.99,
        extent_mm=(s - 9.0, s + 9.0),
        landmarks_ras=tuple(tuple(point) for point in landmarks),
        height_sd_mm=0.5,
        height_loss_sd=0.035,
        box=OrientedBox(tuple(center), ((1.0, 0.0, 0.0), (0.0, 0.8, -0.6), (0.0, 0.6, 0.8)), (40.0, 30.0, 25.5)),
    )
    return dataclasses.replace(vertebra, **changes)


@pytest.fixture(scope="module")
def a_report(a_ct: CTVolume, a_bent_centerline: Centerline, a_spine: StraightenedVolume) -> SpineReport:
    fracture = {"fracture_probability": 0.93, "shape": "wedge", "height_loss": 0.31, "borderline": True}
    fracture |= {"grade": 2, "morphometric_grade": 2}
    unmeasured = {
        "status": Status.NOT_EVALUABLE,
        "reason": Reason.TRUNCATED,
        "complete": False,
        "level": None,
        **dict.fromkeys(("fracture_probability", "uncertainty", "grade", "heights_mm", "height_loss")),
        "morphometric_grade": None,
        **dict.fromkeys(("trabecular_hu", "landmarks_ras", "height_sd_mm", "height_loss_sd", "box")),
        "trabecular_reason": Reason.TRUNCATED,
    }
    positions = np.arange(0.0, 100.0, 5.0)
    return SpineReport(
        software=Software("0.1.0", {"member": "ab" * 32}),
        input=InputIdentity(a_ct.name, a_ct.shape_kji, (1.923538, 1.923538, 2.009975)),
        status="evaluable",
        reason=None,
        scan=ScanResult(0.93, 2, ("T12",), 0.5, BoneDensity("L1", 143.7, None, None, None, "Not calibrated.")),
        centerline=ReportedCenterline(
            tuple(tuple(point) for point in a_bent_centerline.points_ras.tolist()),
            tuple(a_bent_centerline.confidence.tolist()),
        ),
        sequence=ReportedSequence(
            tuple(positions.tolist()), tuple((positions / 100.0).tolist()), tuple((positions / 1000.0).tolist())
        ),
        vertebrae=(
            _vertebra(a_spine, "V1", 12.0, **unmeasured),
            _vertebra(a_spine, "L1", 38.0, reader=ReaderAssessment(grade=1, comment="looks old")),
            _vertebra(a_spine, "T12", 62.0, **fracture),
            _vertebra(a_spine, "T11", 86.0),
        ),
        timings_s={"read": 1.25, "total": 3.5},
        peak_memory_mb=512.5,
    )


@pytest.fixture
def a_scene(a_report: SpineReport, a_ct: CTVolume, a_spine: StraightenedVolume) -> object:
    scene = new_scene()
    write_scene(a_report, a_ct, a_spine, scene)
    return scene


@pytest.fixture(scope="module")
def a_saved_scene(
    a_report: SpineReport, a_ct: CTVolume, a_spine: StraightenedVolume, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    scene = new_scene()
    write_scene(a_report, a_ct, a_spine, scene)
    path = tmp_path_factory.mktemp("scene") / "scene.mrb"
    save_mrb(scene, path)
    return path


def _assert_close(expected: object, found: object, where: str) -> None:
    if dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            _assert_close(getattr(expected, field.name), getattr(found, field.name), f"{where}.{field.name}")
    elif isinstance(expected, tuple):
        assert isinstance(found, tuple), where
        assert len(expected) == len(found), where
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            _assert_close(one, other, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=5.1e-7), where
    else:
        assert found == expected, where


def test_the_report_read_from_the_scene_is_the_report_that_was_written(a_scene, a_report) -> None:
    _assert_close(a_report, read_report(a_scene), "report")


def test_the_report_survives_a_saved_and_loaded_scene(a_saved_scene, a_report) -> None:
    found = read_report(load_mrb(a_saved_scene))

    _assert_close(a_report, found, "report")


def test_every_voxel_of_an_oblique_left_handed_ct_keeps_its_value_at_its_place_in_the_patient(
    a_saved_scene, a_ct
) -> None:
    import vtk

    scene = load_mrb(a_saved_scene)

    node = find_results(scene)[0].input_volume
    matrix = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(matrix)
    to_index = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    index = np.random.default_rng(4).integers(0, a_ct.shape_kji[::-1], (500, 3))
    found = a_ct.ijk_to_ras_points(index.astype(np.float64)) @ to_index[:3, :3].T + to_index[:3, 3]
    np.testing.assert_allclose(found, np.round(found), atol=1e-6)
    i, j, k = np.round(found).astype(int).T
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node)[k, j, i], a_ct.hu[tuple(index.T[::-1])])


def test_the_transform_of_a_loaded_scene_straightens_and_bends_back_within_a_twentieth_of_a_mm(
    a_saved_scene, a_spine
) -> None:
    scene = load_mrb(a_saved_scene)
    transform = find_results(scene)[0].transform
    rng = np.random.default_rng(2)
    straight = np.stack([rng.uniform(-40, 40, 300), rng.uniform(-40, 40, 300), rng.uniform(-8, 108, 300)], axis=1)
    patient = a_spine.frame.straight_to_ras(straight)

    to_patient = np.array([transform.GetTransformFromParent().TransformPoint(point) for point in straight])
    to_straight = np.array([transform.GetTransformToParent().TransformPoint(point) for point in patient])

    assert np.linalg.norm(to_patient - patient, axis=1).max() <= 0.05
    assert np.linalg.norm(to_straight - straight, axis=1).max() <= 0.05


def test_points_put_under_the_transform_land_on_the_same_vertebrae_of_the_straightened_volume(a_scene) -> None:
    nodes = find_results(a_scene)[0]
    moved = nodes.points["grade_2"]
    moved.SetAndObserveTransformNodeID(nodes.transform.GetID())

    moved.HardenTransform()

    names = [nodes.straight_points.GetNthControlPointLabel(n) for n in range(4)]
    straight = nodes.straight_points.GetNthControlPointPositionWorld(names.index("T12 · 0.93"))
    np.testing.assert_allclose(moved.GetNthControlPointPositionWorld(0), straight, atol=0.05)
    np.testing.assert_allclose(straight, (0.0, 15.0, 62.0), atol=1e-6)


def test_every_vertebra_stands_in_the_point_list_of_its_grade_with_its_score(a_scene) -> None:
    points = find_results(a_scene)[0].points

    labels = {
        key: [n.GetNthControlPointLabel(i) for i in range(n.GetNumberOfControlPoints())] for key, n in points.items()
    }

    assert labels == {
        "grade_0": ["L1 · 0.03", "T11 · 0.03"],
        "grade_2": ["T12 · 0.93"],
        "not_evaluable": ["V1 · not evaluable"],
    }


def test_a_cell_or_a_description_that_is_edited_is_not_read_because_they_only_show_the_report(a_scene) -> None:
    before = read_report(a_scene)
    nodes = find_results(a_scene)[0]

    nodes.table.GetTable().GetColumnByName("reader_grade").SetValue(1, 3)
    nodes.points["grade_2"].SetNthControlPointDescription(0, "something else")
    nodes.landmarks.RemoveAllControlPoints()
    nodes.centerline.RemoveNthControlPoint(0)
    nodes.table.SetAttribute("VertebralFracture.status", "not_evaluable")

    assert read_report(a_scene) == before


def test_quotes_and_line_breaks_in_a_comment_do_not_damage_the_table(a_report, a_ct, a_spine, tmp_path) -> None:
    first, *others = a_report.vertebrae
    remark = dataclasses.replace(first, reader=ReaderAssessment(comment='a "doubtful"\tone,\nsee MR'))
    scene = new_scene()
    write_scene(dataclasses.replace(a_report, vertebrae=(remark, *others)), a_ct, a_spine, scene)
    save_mrb(scene, tmp_path / "scene.mrb")

    loaded = load_mrb(tmp_path / "scene.mrb")

    found = read_report(loaded).vertebrae
    shown = find_results(loaded)[0].table.GetTable()
    assert found[0].reader.comment == 'a "doubtful"\tone,\nsee MR'
    assert shown.GetColumnByName("reader_comment").GetValue(3) == "a 'doubtful' one, see MR"
    assert shown.GetNumberOfRows() == len(found) == len(a_report.vertebrae)


def test_a_scan_that_is_not_evaluable_gets_no_grade_and_no_score_only_the_reason(a_report, a_ct, tmp_path) -> None:
    reason = "The canal was found over 40 mm only."
    report = dataclasses.replace(
        a_report,
        status=NOT_EVALUABLE,
        reason=reason,
        scan=ScanResult(None, None, (), 0.5),
        sequence=ReportedSequence((), (), ()),
        vertebrae=(),
    )
    scene = new_scene()
    write_scene(report, a_ct, None, scene)
    save_mrb(scene, tmp_path / "scene.mrb")

    loaded = load_mrb(tmp_path / "scene.mrb")

    nodes = find_results(loaded)[0]
    assert nodes.points == {}
    assert nodes.straightened is None
    assert nodes.table.GetTable().GetColumnByName("reason").GetValue(0) == reason
    _assert_close(report, read_report(loaded), "report")


def test_everything_lies_in_one_folder_beside_the_input(a_scene) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    nodes = find_results(a_scene)[0]

    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table))

    results = [nodes.centerline, nodes.straightened, nodes.transform, nodes.landmarks, *nodes.points.values()]
    assert {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in results} == {folder}
    assert hierarchy.GetItemName(folder) == "VertebralFracture: tube"
    assert hierarchy.GetItemParent(folder) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.input_volume))


def test_a_volume_that_the_user_chose_is_referred_to_and_left_as_it_is(a_report, a_spine) -> None:
    scene = new_scene()
    chosen = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my scan")
    names_before = sorted(chosen.GetAttributeNames())

    nodes = write_scene(a_report, None, a_spine, scene, input_node=chosen)

    assert nodes.input_volume is chosen
    assert chosen.GetName() == "my scan"
    assert sorted(chosen.GetAttributeNames()) == names_before


def test_a_second_run_is_kept_beside_the_first_and_read_by_default(a_scene, a_report, a_ct, a_spine) -> None:
    later = dataclasses.replace(a_report, software=Software("9.9.9", {}))

    write_scene(later, a_ct, a_spine, a_scene)

    first, second = find_results(a_scene)
    assert read_report(a_scene).software.version == "9.9.9"
    _assert_close(a_report, read_report(a_scene, first), "first")
    _assert_close(later, read_report(a_scene, second), "second")


def test_a_node_that_the_user_renames_is_still_found(a_scene, a_report) -> None:
    for node in (find_results(a_scene)[0].table, find_results(a_scene)[0].centerline):
        node.SetName("something else")

    _assert_close(a_report, read_report(a_scene), "report")


def test_the_centerline_is_locked_and_colored_by_probability(a_saved_scene) -> None:
    scene = load_mrb(a_saved_scene)

    centerline = find_results(scene)[0].centerline
    assert centerline.GetLocked()
    assert centerline.GetDisplayNode().GetScalarVisibility()
    assert centerline.GetDisplayNode().GetColorNode().GetName() == "Fracture probability"
    assert centerline.GetCurveWorld().GetPointData().GetScalars().GetName() == "fracture probability"


def test_where_the_centerline_leaves_a_slice_it_does_not_turn_red_as_a_fracture(a_saved_scene) -> None:
    scene = load_mrb(a_saved_scene)

    # Slicer shifts the hue of a curve away from the slice, unless the color there has no saturation.
    assert find_results(scene)[0].centerline.GetDisplayNode().GetLineColorFadingSaturation() == 0.0


def test_one_sagittal_slice_of_the_straightened_volume_shows_every_vertebra(a_saved_scene) -> None:
    scene = load_mrb(a_saved_scene)

    display = find_results(scene)[0].straight_points.GetDisplayNode()
    assert display.GetSliceProjection()
    assert display.GetSliceProjectionOpacity() == 1.0


def test_the_file_opens_with_the_ct_at_the_most_suspicious_vertebra(a_saved_scene, a_report) -> None:
    scene = load_mrb(a_saved_scene)

    nodes = find_results(scene)[0]
    center = np.array(next(v for v in a_report.vertebrae if v.label == "T12").center_ras)
    for name, axis in (("Red", 2), ("Yellow", 0), ("Green", 1)):
        composite = scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}")
        to_ras = scene.GetNodeByID(f"vtkMRMLSliceNode{name}").GetSliceToRAS()
        assert composite.GetBackgroundVolumeID() == nodes.input_volume.GetID()
        assert to_ras.GetElement(axis, 3) == pytest.approx(center[axis], abs=0.01)
        assert abs(to_ras.GetElement(axis, 2)) == pytest.approx(1.0)


def test_the_views_of_a_scene_that_has_views_stay_as_the_user_left_them(a_report, a_ct, a_spine) -> None:
    scene = new_scene()
    view = slicer.vtkMRMLSliceCompositeNode()
    view.SetSingletonTag("Red")
    view.SetLayoutName("Red")
    scene.AddNode(view)

    write_scene(a_report, a_ct, a_spine, scene)

    assert view.GetBackgroundVolumeID() is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode") == 1


def test_the_file_names_no_folder_of_the_machine_it_was_written_on(a_saved_scene) -> None:
    folders = {part for part in a_saved_scene.parts[1:-1] if len(part) > 3}

    with zipfile.ZipFile(a_saved_scene) as bundle:
        text = b"".join(bundle.read(name) for name in bundle.namelist() if not name.endswith((".nrrd", ".h5")))

    assert folders
    assert not [folder for folder in folders if folder.encode() in text]


def test_only_the_finished_file_is_left_in_the_output_folder(a_saved_scene) -> None:
    assert [path.name for path in a_saved_scene.parent.iterdir()] == ["scene.mrb"]


def test_a_file_that_is_no_scene_is_refused_by_name(tmp_path) -> None:
    path = tmp_path / "notes.mrb"
    path.write_text("not a scene", encoding="utf-8")
    working_folder = Path.cwd()

    with pytest.raises(UnreadableVolume, match=r"notes\.mrb"):
        load_mrb(path)

    assert Path.cwd() == working_folder


def test_a_scene_without_a_result_says_so() -> None:
    with pytest.raises(ValueError, match="holds no VertebralFracture result"):
        read_report(new_scene())


def test_a_result_is_packed_with_all_its_voxels_though_its_nodes_were_written_with_one(
    a_report, a_ct, a_spine, tmp_path
) -> None:
    with packing_result(a_ct, a_spine, tmp_path / "scene.mrb") as result:
        result.write(CorrectedReport(a_report))

    scene = load_mrb(tmp_path / "scene.mrb")
    nodes = find_results(scene)[0]
    _assert_close(a_report, read_report(scene), "report")
    for node, hu, matrix in (
        (nodes.input_volume, a_ct.hu, a_ct.ijk_to_ras),
        (nodes.straightened, a_spine.hu, a_spine.ijk_to_straight),
    ):
        found = vtkMatrix4x4()
        node.GetIJKToRASMatrix(found)
        to_ras = np.array([[found.GetElement(row, column) for column in range(4)] for row in range(4)])
        voxels = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
        voxels = voxels.reshape(node.GetImageData().GetDimensions()[::-1])
        # Reading may turn a left-handed grid over.
        k, j, i = np.indices(voxels.shape).reshape(3, -1)
        at = (np.linalg.inv(matrix) @ to_ras @ np.stack([i, j, k, np.ones_like(i)]))[:3]
        assert np.abs(at - np.rint(at)).max() < 1e-4
        i_there, j_there, k_there = np.rint(at).astype(int)
        assert voxels.size == hu.size
        assert np.array_equal(voxels[k, j, i], hu[k_there, j_there, i_there].round())
    assert [path.name for path in tmp_path.iterdir()] == ["scene.mrb"]


def test_a_result_that_is_given_up_leaves_the_former_file_and_stops_compressing(a_ct, a_spine, tmp_path) -> None:
    (tmp_path / "scene.mrb").write_bytes(b"the former file")

    with pytest.raises(Cancelled), packing_result(a_ct, a_spine, tmp_path / "scene.mrb"):
        raise Cancelled("by the user")

    assert (tmp_path / "scene.mrb").read_bytes() == b"the former file"
    assert [path.name for path in tmp_path.iterdir()] == ["scene.mrb"]


def test_a_volume_that_could_not_be_compressed_leaves_no_scene(a_report, a_ct, a_spine, tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "pack_volume", refuse)

    with pytest.raises(OSError, match="No space"), packing_result(a_ct, a_spine, tmp_path / "scene.mrb") as result:
        result.write(CorrectedReport(a_report))

    assert list(tmp_path.iterdir()) == []
