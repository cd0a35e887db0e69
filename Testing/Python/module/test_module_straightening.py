"""A CT under a parent transform, as Slicer holds it, gives the straightened volume of the patient where he now lies."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk
from cpr_samples import BentSpine
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

import VertebralFracture as module
from VertebralFractureLib.cpr import CUBIC, ReformatGrid, straighten
from VertebralFractureLib.export.scene.volume_nodes import add_ct_node, add_curve_node
from VertebralFractureLib.volume import CTVolume
from VertebralFracturePanel.detect.volume_export import exportOf

GRID = ReformatGrid(right_mm=(-16.0, 16.0), anterior_mm=(0.0, 36.0), margin_mm=0.0)
BENT = BentSpine(radius_mm=160.0, towards=(0.3, 0.9), length_mm=84.0)
SCAN_MM = (1.0, 1.0, 1.0)


def exported(node):
    export = exportOf(node)
    return CTVolume(export.slab(0, export.shape[0]), export.ijkToRas)


def rms_away_from_edges(spine, expected):
    flat = np.max([np.abs(g) for g in np.gradient(expected.hu)], axis=0) < 1.0
    difference = (spine.hu - expected.hu)[spine.inside & expected.inside & flat]
    assert difference.size > 20_000
    return np.sqrt(np.mean(difference**2))


def test_a_linear_parent_transform_moves_nothing_in_straight_space(scene):
    scan = BENT.scan(SCAN_MM)
    turned = np.array([[0.0, -1.0, 0.0, 25.0], [0.8, 0.0, -0.6, -7.0], [0.6, 0.0, 0.8, 110.0], [0, 0, 0, 1.0]])
    node = add_ct_node(scene, CTVolume(scan.hu, np.linalg.inv(turned) @ scan.ijk_to_ras))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turned))
    node.SetAndObserveTransformNodeID(transform.GetID())

    spine = straighten(exported(node), BENT.centerline(), grid=GRID)

    expected = straighten(scan, BENT.centerline(), grid=GRID)
    assert np.array_equal(spine.inside, expected.inside)
    assert np.abs(spine.hu - expected.hu).max() < 0.1


def test_a_warping_parent_transform_is_followed(scene):
    expected = straighten(BENT.scan(SCAN_MM), BENT.centerline(), grid=GRID)
    scan = BENT.scan((1.2, 1.2, 1.2))
    warp = vtk.vtkThinPlateSplineTransform()
    low, high = scan.ijk_to_ras_points(np.array([[0, 0, 0], np.array(scan.shape_kji[::-1]) - 1]))
    middle = 0.5 * (low + high)
    corners = np.array([np.where(np.array(corner) == 1, high, low) for corner in np.ndindex(2, 2, 2)])
    source, target = np.vstack([corners, middle]), np.vstack([corners, middle + np.array((3.0, 5.0, -2.0))])
    warp.SetSourceLandmarks(_vtk_points(source))
    warp.SetTargetLandmarks(_vtk_points(target))
    warp.SetBasisToR()
    # The node's voxels hold what the warp takes to the true place of the spine.
    voxels = np.argwhere(np.ones(scan.shape_kji, dtype=bool))[:, ::-1]
    in_world = vtk.vtkPoints()
    warp.TransformPoints(_vtk_points(scan.ijk_to_ras_points(voxels)), in_world)
    hu = BENT.field(vtk_to_numpy(in_world.GetData()).astype(float)).reshape(scan.shape_kji)
    node = add_ct_node(scene, CTVolume(hu.astype(np.float32), scan.ijk_to_ras))
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())

    spine = straighten(exported(node), BENT.centerline(), grid=GRID)

    assert rms_away_from_edges(spine, expected) <= 2.0
    node.SetAndObserveTransformNodeID(None)
    unmoved = straighten(exported(node), BENT.centerline(), grid=GRID)
    assert rms_away_from_edges(unmoved, expected) > 10.0


def _vtk_points(points):
    result = vtk.vtkPoints()
    result.SetDataTypeToDouble()
    result.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=float), deep=True))
    return result


def test_the_logic_straightens_along_a_curve_with_the_choices_of_a_script(scene):
    scan = BENT.scan(SCAN_MM)
    grid = replace(GRID, spacing_mm=(2.0, 2.0, 1.0), rotation_deg=10.0, interpolation=CUBIC)
    turned = np.array([[0.0, -1.0, 0.0, 25.0], [0.8, 0.0, -0.6, -7.0], [0.6, 0.0, 0.8, 110.0], [0, 0, 0, 1.0]])
    curve = add_curve_node(scene, BENT.centerline().points_ras[::-1], "Canal")
    volume = add_ct_node(scene, CTVolume(scan.hu, np.linalg.inv(turned) @ scan.ijk_to_ras, "Patient"))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turned))
    volume.SetAndObserveTransformNodeID(transform.GetID())

    nodes = module.VertebralFractureLogic().straighten(volume, curve, grid=grid)

    expected = straighten(scan, BENT.centerline(), grid=grid)
    assert nodes.volume.GetName() == "Patient straightened"
    assert np.abs(slicer.util.arrayFromVolume(nodes.volume) - expected.hu).max() < 0.7
    straight = nodes.transform.GetTransformFromParent().TransformPoint((5.0, 20.0, 40.0))
    np.testing.assert_allclose(straight, expected.frame.straight_to_ras(np.array([[5.0, 20.0, 40.0]]))[0], atol=0.05)


def test_a_curve_with_one_point_is_refused_in_words(scene):
    volume = add_ct_node(scene, BENT.scan((4.0, 4.0, 4.0)))

    with pytest.raises(ValueError, match="at least two points"):
        module.VertebralFractureLogic().straighten(volume, add_curve_node(scene, np.zeros((1, 3)), "Canal"))
