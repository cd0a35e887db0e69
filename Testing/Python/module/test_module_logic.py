"""The module's logic on a real scene and with a real worker process that is fast.

The worker answers with a made-up report, because what is tested is the way there and back, not the detection.
"""

import tempfile

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from panel_helpers import until

import VertebralFracture as module
from VertebralFractureLib.export.scene import read_report
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.volume import ct_from_sitk
from VertebralFracturePanel.detect.acquisition_facts import acquisitionFacts
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf
from VertebralFracturePanel.process.json_process import JsonProcess
from VertebralFracturePanel.process.session_process import SessionProcess


def test_a_volume_is_exported_with_its_geometry(a_ct, ct_ras_from_ijk):
    export = exportOf(a_ct)

    np.testing.assert_allclose(export.ijkToRas, ct_ras_from_ijk)
    assert export.shape == (10, 12, 14)
    assert export.slab(7, 10)[2, 11, 13] == 10 * 12 * 14 - 1


def test_a_linear_parent_transform_is_honored(scene, a_ct, ct_ras_from_ijk):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turned = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, 11.0], [0, 0, 0, 1]])
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turned))
    a_ct.SetAndObserveTransformNodeID(transform.GetID())

    export = exportOf(a_ct)

    np.testing.assert_allclose(export.ijkToRas, turned @ ct_ras_from_ijk)


def test_a_warping_parent_transform_is_honored_and_leaves_no_copy_behind(scene, a_ct, ct_ras_from_ijk):
    shift = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (40, 40, 40)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point[0] + 98.0, point[1], point[2])
    shift.SetSourceLandmarks(source)
    shift.SetTargetLandmarks(target)
    shift.SetBasisToR()
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(shift)
    a_ct.SetAndObserveTransformNodeID(transform.GetID())
    before = scene.GetNumberOfNodes()

    export = exportOf(a_ct)

    world = ct_ras_from_ijk @ np.array([5.0, 6.0, 7.0, 1.0]) + np.array([98.0, 0.0, 0.0, 0.0])
    i, j, k = np.linalg.solve(export.ijkToRas, world)[:3]
    np.testing.assert_allclose((i, j, k), np.round((i, j, k)), atol=0.01)
    voxels = np.concatenate([export.slab(first, first + 4) for first in range(0, export.shape[0], 4)])
    assert voxels.shape == export.shape
    assert voxels[round(k), round(j), round(i)] == slicer.util.arrayFromVolume(a_ct)[7, 6, 5]
    assert scene.GetNumberOfNodes() == before


def test_what_is_not_a_volume_is_refused_in_words(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")

    with pytest.raises(UnusableVolume, match="Choose a CT"):
        exportOf(None)
    with pytest.raises(UnusableVolume, match="'Empty' holds no image"):
        exportOf(empty)


@pytest.mark.usefixtures("a_successful_worker")
def test_a_script_detects_in_one_call(scene, a_ct, logic, a_report):
    nodes = logic.detectFractures(a_ct)

    assert nodes.input_volume is a_ct
    found = read_report(scene, nodes)
    assert write_impression(found) == write_impression(a_report)
    assert found.input.name == "Chest CT"


@pytest.mark.usefixtures("a_successful_worker")
def test_each_volume_has_its_own_newest_result(a_ct, add_volume, logic):
    other = add_volume("Other")
    first = logic.detectFractures(a_ct)
    second = logic.detectFractures(a_ct)

    assert logic.newestResult(a_ct).table is second.table is not first.table
    assert logic.newestResult(other) is None


def test_a_worker_that_explains_itself_is_quoted(a_ct, logic, a_worker):
    a_worker('say(error="This is not a CT.", exit_code=2)')

    with pytest.raises(module.RunFailed, match="This is not a CT"):
        logic.detectFractures(a_ct)


def test_a_worker_that_crashes_leaves_its_last_lines(a_ct, logic, a_worker):
    a_worker('raise RuntimeError("out of luck")')

    with pytest.raises(module.RunFailed, match=r"(?s)without an answer.*out of luck"):
        logic.detectFractures(a_ct)


def test_a_python_that_cannot_be_started_is_an_error_and_not_a_hang(a_ct, logic):
    logic.session = SessionProcess(lambda: JsonProcess("no-such-python"))

    with pytest.raises(module.RunFailed, match="could not be started"):
        logic.detectFractures(a_ct)


def test_the_worker_gets_the_volume_as_it_lies_in_the_world(a_ct, logic, a_worker, tmp_path, ct_ras_from_ijk):
    copy = tmp_path / "seen.nrrd"
    a_worker(f"""
        Path({str(copy)!r}).write_bytes(Path(request["input"]).read_bytes())
        say(error="enough seen", exit_code=2)
    """)

    with pytest.raises(module.RunFailed, match="enough seen"):
        logic.detectFractures(a_ct)

    seen = ct_from_sitk(sitk.ReadImage(str(copy)))
    np.testing.assert_allclose(seen.ijk_to_ras, ct_ras_from_ijk, atol=1e-9)
    np.testing.assert_array_equal(seen.hu, slicer.util.arrayFromVolume(a_ct))


class DatabaseStandIn:
    """Answers as ``ctkDICOMDatabase`` does: an empty text for what is not there."""

    def __init__(self, values):
        self.values = values

    def instanceValue(self, instance, tag):
        return self.values.get((instance, tag), "")


def test_the_worker_learns_tube_voltage_and_contrast_from_slicers_dicom_database(a_ct, logic, a_worker, monkeypatch):
    database = DatabaseStandIn({("1.2.3", "0018,0060"): "100 ", ("1.2.3", "0018,0010"): "Iomeprol"})
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    a_ct.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    a_worker('say(error=str(request["acquisition"]), exit_code=2)')

    with pytest.raises(module.RunFailed, match=r"'kvp': '100', 'contrast_agent': 'yes'"):
        logic.detectFractures(a_ct)


@pytest.mark.parametrize("instances", [None, "9.9.9"])
def test_a_volume_that_no_dicom_file_stands_for_has_no_facts(a_ct, instances):
    a_ct.SetAttribute("DICOM.instanceUIDs", instances)

    assert acquisitionFacts(a_ct, DatabaseStandIn({("1.2.3", "0018,0060"): "100"})) == {}
    assert acquisitionFacts(a_ct) == {}


@pytest.mark.parametrize(("agent", "said"), [("", None), ("NONE", "no"), ("Iomeprol", "yes")])
def test_a_header_without_an_agent_does_not_say_that_there_was_no_contrast_medium(a_ct, agent, said):
    a_ct.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    database = DatabaseStandIn({("1.2.3", "0018,0060"): "100", ("1.2.3", "0018,0010"): agent})

    assert acquisitionFacts(a_ct, database).get("contrast_agent") == said


def test_a_volume_that_is_refused_is_named_as_the_user_names_it(a_ct, logic):
    a_ct.SetName("Thorax of today")

    with pytest.raises(module.RunFailed, match=r"^'Thorax of today' covers only 28 mm from feet to head"):
        logic.detectFractures(a_ct)


def test_nothing_stays_in_the_temporary_folder(a_ct, logic, a_worker, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    a_worker('say(error="no", exit_code=2)')

    with pytest.raises(module.RunFailed):
        logic.detectFractures(a_ct)

    until(lambda: list((tmp_path / "temporary").iterdir()) == [], 5.0)
