"""Straightening against other ways to the same volume, as ratios; peak memory; and the time after a dragged point.

Run: ``python Testing/Benchmarks/benchmark_straightening.py``. It prints and judges nothing: machines differ. All
methods take the same scan and the same frame and give the same float32 volume; they run in turns, so that a busy
machine slows all of them. ``vtk`` and ``scipy`` are needed for one of them each.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
import torch

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import (
    IncrementalReformatter,
    IncrementalUpdate,
    ReformatGrid,
    StraightenedVolume,
    straighten,
)
from VertebralFractureLib.cpr.frame import build_displacement_grid
from VertebralFractureLib.cpr.sampler import locate_planes
from VertebralFractureLib.volume import CTVolume, ct_to_sitk

SHAPE_KJI = (400, 512, 512)
GRID = ReformatGrid(right_mm=(-80.0, 79.0), anterior_mm=(-80.0, 79.0), margin_mm=4.0)
REPEATS = 5
DRAGS = 60
THREADS = 2
OUTSIDE = -1024.0
_OWNERS: list[object] = []
"""Keeps alive what the last array that was handed out only looks into, so that no method pays for a copy."""


def a_bent_centerline() -> Centerline:
    z = np.arange(5.0, 560.0, 5.0)
    r, a = 12.0 * np.sin(z / 90.0), -30.0 * np.sin(np.pi * z / 560.0)
    return Centerline(np.stack([r, a, z], axis=1), np.ones(len(z)))


def a_ct() -> CTVolume:
    matrix = np.diag([0.8, 0.8, 1.42, 1.0])
    matrix[:3, 3] = (-205.0, -220.0, 0.0)
    hu = np.random.default_rng(0).integers(-1000, 1000, SHAPE_KJI, dtype=np.int16)
    return CTVolume(hu, matrix)


def voxel_indices(ct: CTVolume, spine: StraightenedVolume, dtype: type) -> np.ndarray:
    """``(3, k, j, i)`` indices (i, j, k) of every straight voxel: what the array methods start from."""
    planes = locate_planes(ct, spine.frame, spine.axis_mm("s")).astype(dtype)
    r, a = spine.axis_mm("r").astype(dtype), spine.axis_mm("a").astype(dtype)
    index = np.empty((3, *spine.hu.shape), dtype=dtype)
    for axis in range(3):
        across = planes[:, 0, axis, None] + planes[:, 2, axis, None] * a
        np.add(across[:, :, None], (planes[:, 1, axis, None] * r)[:, None, :], out=index[axis])
    return index


def with_torch(ct: CTVolume, spine: StraightenedVolume) -> np.ndarray:
    """``grid_sample``, two halves of the volume as a batch, because it runs one thread per batch entry."""
    index = voxel_indices(ct, spine, np.float32)
    scale = (2.0 / (np.array(SHAPE_KJI[::-1]) - 1.0)).astype(np.float32)
    grid = torch.from_numpy(np.moveaxis(index, 0, -1) * scale - np.float32(1.0))
    half = len(grid) // 2
    halves = torch.stack([grid[:half], grid[half : 2 * half]])
    scan = torch.from_numpy(ct.hu.astype(np.float32))[None, None].expand(2, 1, *SHAPE_KJI)
    values = torch.nn.functional.grid_sample(scan, halves, padding_mode="border", align_corners=True)
    return values.reshape(2 * half, *spine.hu.shape[1:]).numpy()


def with_scipy(ct: CTVolume, spine: StraightenedVolume) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    index = voxel_indices(ct, spine, np.float32)
    return np.asarray(map_coordinates(ct.hu, index[::-1], output=np.float32, order=1, mode="nearest"))


def with_simpleitk(ct: CTVolume, spine: StraightenedVolume) -> np.ndarray:
    """``Resample`` through the displacement grid (in LPS, as SimpleITK wants it)."""
    grid = build_displacement_grid(spine.frame)
    field = sitk.GetImageFromArray(grid.displacement_mm * (-1.0, -1.0, 1.0), isVector=True)
    field.SetSpacing(grid.spacing_mm)
    field.SetOrigin((-grid.origin_mm[0], -grid.origin_mm[1], grid.origin_mm[2]))
    field.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    resampler = sitk.ResampleImageFilter()
    resampler.SetTransform(sitk.DisplacementFieldTransform(field))
    resampler.SetSize(spine.hu.shape[::-1])
    resampler.SetOutputSpacing(spine.spacing_mm)
    resampler.SetOutputOrigin((-spine.origin_mm[0], -spine.origin_mm[1], spine.origin_mm[2]))
    resampler.SetOutputDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    return run_simpleitk(resampler, ct)


def plain_simpleitk(ct: CTVolume, spine: StraightenedVolume) -> np.ndarray:
    """No straightening at all: an axis-parallel box of the same size, as the floor."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(spine.hu.shape[::-1])
    resampler.SetOutputSpacing(spine.spacing_mm)
    resampler.SetOutputOrigin((-80.0, -80.0, 5.0))
    return run_simpleitk(resampler, ct)


def run_simpleitk(resampler: sitk.ResampleImageFilter, ct: CTVolume) -> np.ndarray:
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetDefaultPixelValue(OUTSIDE)
    resampler.SetNumberOfThreads(THREADS)
    resampled = resampler.Execute(ct_to_sitk(ct))
    _OWNERS[:] = [resampled]
    return sitk.GetArrayViewFromImage(resampled)


def with_vtk(ct: CTVolume, spine: StraightenedVolume) -> np.ndarray:
    """``vtkImageReslice`` through ``vtkGridTransform``, as core's curved planar reformat does."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    grid = build_displacement_grid(spine.frame)
    rows, columns_a, columns_r, _ = grid.displacement_mm.shape
    displacements = vtk.vtkImageData()
    displacements.SetDimensions(columns_r, columns_a, rows)
    displacements.SetOrigin(*grid.origin_mm)
    displacements.SetSpacing(*grid.spacing_mm)
    displacements.GetPointData().SetScalars(numpy_to_vtk(grid.displacement_mm.reshape(-1, 3)))
    warp = vtk.vtkGridTransform()
    warp.SetDisplacementGridData(displacements)
    to_index = vtk.vtkGeneralTransform()
    to_index.PostMultiply()
    to_index.Concatenate(warp)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.linalg.inv(ct.ijk_to_ras).ravel().tolist())
    to_index.Concatenate(matrix)
    scan = vtk.vtkImageData()
    scan.SetDimensions(*SHAPE_KJI[::-1])
    scan.GetPointData().SetScalars(numpy_to_vtk(ct.hu.reshape(-1)))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(scan)
    reslice.SetResliceTransform(to_index)
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputScalarType(vtk.VTK_FLOAT)
    reslice.SetBackgroundLevel(OUTSIDE)
    reslice.SetOutputSpacing(*spine.spacing_mm)
    reslice.SetOutputOrigin(*spine.origin_mm)
    reslice.SetOutputExtent(*(bound for count in spine.hu.shape[::-1] for bound in (0, count - 1)))
    reslice.SetNumberOfThreads(THREADS)
    reslice.Update()
    _OWNERS[:] = [reslice, displacements, scan]
    return vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).reshape(spine.hu.shape)


def exact(ct: CTVolume, spine: StraightenedVolume) -> np.ndarray:
    """The reference: trilinear in float64, coordinates computed point by point through the frame's own map."""
    r, a = spine.axis_mm("r"), spine.axis_mm("a")
    result = np.empty(spine.hu.shape)
    for k, s in enumerate(spine.axis_mm("s")):
        points = np.stack(np.broadcast_arrays(r[None, :], a[:, None], s), axis=-1).reshape(-1, 3)
        index = ct.ras_to_ijk_points(spine.frame.straight_to_ras(points))
        low = np.clip(np.floor(index).astype(int), 0, np.array(SHAPE_KJI[::-1]) - 2)
        share = np.clip(index - low, 0.0, 1.0)
        total = np.zeros(len(points))
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(np.array(corner) == 1, share, 1.0 - share), axis=1)
            i, j, plane = (low + np.array(corner)).T
            total += weight * ct.hu[plane, j, i]
        result[k] = total.reshape(spine.hu.shape[1:])
    return result


def compare(ct: CTVolume, centerline: Centerline) -> None:
    spine = straighten(ct, centerline, grid=GRID, threads=THREADS)
    truth = exact(ct, spine)
    methods: dict[str, Callable[[], np.ndarray]] = {
        "straighten": lambda: straighten(ct, centerline, grid=GRID, threads=THREADS).hu,
        "vtkImageReslice, grid transform": lambda: with_vtk(ct, spine),
        "torch grid_sample": lambda: with_torch(ct, spine),
        "scipy map_coordinates": lambda: with_scipy(ct, spine),
        "SimpleITK, displacement field": lambda: with_simpleitk(ct, spine),
        "SimpleITK, plain box (no bending)": lambda: plain_simpleitk(ct, spine),
    }
    for name, module in (("scipy map_coordinates", "scipy"), ("vtkImageReslice, grid transform", "vtk")):
        if importlib.util.find_spec(module) is None:
            print(f"{name}: left out, {module} is not installed")
            del methods[name]
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    errors: dict[str, float] = {}
    for _ in range(REPEATS):
        for name, run in methods.items():
            started = time.perf_counter()
            volume = run()
            seconds[name].append(time.perf_counter() - started)
            same = spine.inside[: len(volume)] & (volume != OUTSIDE)
            errors[name] = float(np.sqrt(np.mean((volume - truth[: len(volume)])[same] ** 2)))
    ours = min(seconds["straighten"])
    print(
        f"{SHAPE_KJI} -> {spine.hu.shape}, noise of -1000 to 1000 HU, {THREADS} threads, best and median of {REPEATS}:"
    )
    for name, times in seconds.items():
        error = "" if "plain" in name else f"  RMS to float64 {errors[name]:.4f} HU"
        print(f"  {name:34s} {min(times):6.2f} s {statistics.median(times):6.2f} s {min(times) / ours:6.2f} x{error}")


def memory(ct: CTVolume, centerline: Centerline) -> None:
    tracemalloc.start()
    spine = straighten(ct, centerline, grid=GRID, threads=THREADS)
    output = spine.hu.nbytes + spine.inside.nbytes
    extra = tracemalloc.get_traced_memory()[1] - output
    tracemalloc.stop()
    print(f"Peak memory beside the output: {extra / output:.2f} of the output's {output / 1e6:.0f} MB")


def follow(ct: CTVolume, centerline: Centerline, grid: ReformatGrid, name: str) -> None:
    """One point of the curve is dragged in four steps and let go, many times."""
    live = IncrementalReformatter(ct, centerline, grid=grid, threads=THREADS)
    rng = np.random.default_rng(0)
    times: dict[str, list[tuple[float, float]]] = {"dragged": [], "let go": []}
    rows = []

    def timed(what: str, run: Callable[[Centerline], IncrementalUpdate], line: Centerline) -> IncrementalUpdate:
        wall, cpu = time.perf_counter(), time.process_time()
        update = run(line)
        times[what].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
        return update

    for _ in range(DRAGS):
        index, by = rng.integers(len(centerline.points_ras)), rng.normal(0.0, 1.0, 3) * (3.0, 3.0, 1.0)
        for part in (0.25, 0.5, 0.75, 1.0):
            moved = centerline.points_ras.copy()
            moved[index] += part * by
            line = Centerline(moved, centerline.confidence)
            rows.append(len(timed("dragged", live.move, line).changed_planes))
        timed("let go", live.settle, line)
        live.commit(centerline)
    for what, pairs in times.items():
        (wall, wall_high), (cpu, cpu_high) = np.percentile(pairs, [50, 95], axis=0).T
        print(
            f"  {name} {live.spine.hu.shape}, {what}: median {wall:.0f} ms, 95th percentile {wall_high:.0f} ms", end=""
        )
        print(f" (processor time of both cores together {cpu:.0f} and {cpu_high:.0f} ms)")
    print(f"    rows sampled per move: median {np.median(rows):.0f}, most {max(rows)} of {len(live.spine.hu)}")


def main() -> None:
    torch.set_num_threads(THREADS)
    ct, centerline = a_ct(), a_bent_centerline()
    compare(ct, centerline)
    memory(ct, centerline)
    print("One moved control point:")
    follow(ct, centerline, GRID, "benchmark grid")
    follow(ct, centerline, ReformatGrid(), "default grid")


if __name__ == "__main__":
    main()
