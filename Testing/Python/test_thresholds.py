"""The tuned numbers stand in one place, each with what it decides and where it comes from."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.canal.path import find_canal_path
from VertebralFractureLib.thresholds import CANAL_PATH, GROUPS, moved_threshold, thresholds
from VertebralFractureLib.vertebrae.grading import grade_from_loss
from VertebralFractureLib.vertebrae.norms import find_level_norm

LIBRARY = Path(__file__).parents[2] / "VertebralFractureLib"
FOLDERS = ("volume", "canal", "cpr", "orientation", "vertebrae", "fracture", "result")

LAYOUT = "size of an array, batch or chunk"
WEIGHTS = "belongs to the weights: architecture, grid or HU window of the training"
NUMERICAL = "tolerance, step or iterations of a numerical method"
TABLE = "table of the literature, with its source beside it"
UNIT = "unit, axis or value of a file format"
BORDER = "the most that a field of a file can hold, far beyond what any scan gives"

NOT_TUNED = {
    "canal/axial_stack.py": {
        **dict.fromkeys(("IN_PLANE_MM", "SLICE_MM", "_BLOCK_MM"), WEIGHTS),
        "_CHUNK_POINTS": LAYOUT,
        "POOLED_PIXELS": WEIGHTS,
        **dict.fromkeys(("FROM_FACE_MM", "_FROM_BOUNDARY", "_STRAIGHT"), NUMERICAL),
        "OUTSIDE_HU": UNIT,
    },
    "canal/bony_canal.py": {"_SIDES": UNIT},
    "canal/candidates.py": {
        **dict.fromkeys(("_SLICES_PER_BATCH", "_WINDOW"), LAYOUT),
        **dict.fromkeys(("_MIRRORED_SIDES", "_MIRRORED_SIGNS"), UNIT),
    },
    "canal/centerline.py": {"_SAMPLES_PER_SEGMENT": NUMERICAL},
    "canal/editing.py": {"_STEP_MM": NUMERICAL},
    "canal/reader_curve.py": {"_STEP_MM": NUMERICAL},
    "canal/network.py": dict.fromkeys(
        ("CHANNELS", "BOX_SIDES", "BOX_PIXELS", "_BOX_SCALE_MM"),
        WEIGHTS,
    ),
    "canal/path.py": {"_REQUIRED_GAIN": NUMERICAL},
    "cpr/frame.py": {
        **dict.fromkeys(
            ("_STEP_MM", "_FAR_MM", "_NEWTON_STEPS", "_HALF_WIDTH_MM", "_COLUMNS", "_MARGIN_MM"), NUMERICAL
        ),
        "_CHUNK": LAYOUT,
    },
    "cpr/grid.py": dict.fromkeys(
        (
            "SPACING_LIMITS_MM",
            "EXTENT_LIMIT_MM",
            "ROTATION_LIMIT_DEG",
            "OFFSET_LIMIT_MM",
            "VOXEL_LIMIT",
            "_TOO_MANY_VOXELS",
        ),
        BORDER,
    ),
    "cpr/incremental.py": {
        **dict.fromkeys(("_TOLERANCE_VOXELS", "_LIMIT_TOLERANCE_MM"), NUMERICAL),
        "_SPARE_PLANES": LAYOUT,
    },
    "cpr/plane_intersection.py": dict.fromkeys(("_SCREEN_MM", "_OTHERS_MM"), NUMERICAL),
    "cpr/plane_sampling.py": dict.fromkeys(("_SAMPLES_PER_CHUNK", "_MOST_THREADS", "_BORDER"), LAYOUT),
    "cpr/sampler.py": {"_PLANES_PER_BATCH": LAYOUT},
    "cpr/straightened_volume.py": {"OUTSIDE_HU": UNIT},
    "fracture/grade_posterior.py": {"GRADES": UNIT},
    "fracture/network.py": dict.fromkeys(("GRADES", "HEIGHTS", "_DILATIONS"), WEIGHTS),
    "fracture/patches.py": {
        **dict.fromkeys(("STRIDE_MM", "_OUTSIDE_VALUE"), WEIGHTS),
        **dict.fromkeys(("CODE_PERIODS_MM", "_BEND_BASE_MM", "CODE_LENGTH"), WEIGHTS),
        "_LATTICE": NUMERICAL,
    },
    "fracture/pooling.py": {"_BOUND": NUMERICAL},
    "fracture/scoring.py": {"_PATCHES_PER_CHUNK": LAYOUT},
    "orientation/network.py": dict.fromkeys(("VOXEL_MM", "CELL_VOXELS", "MULTIPLE", "OUTPUTS"), WEIGHTS),
    "orientation/patient_axes.py": {"_FRONT_OF_FILE": UNIT},
    "orientation/upright_network.py": {"_WIDTH": WEIGHTS},
    "result/apply_correction.py": dict.fromkeys(("_SAME_PROBABILITY", "_SAME_LOSS"), NUMERICAL),
    "result/bone_density.py": {"_TO_120_KV": TABLE, "_HIGHEST_KV": BORDER},
    "result/consistency.py": {
        **dict.fromkeys(("_ROUNDED", "_SEEN_ROUNDED", "_SAME_PROBABILITY", "_SAME_HU"), NUMERICAL),
        **dict.fromkeys(("_BEYOND_MM",), BORDER),
    },
    "result/correction.py": dict.fromkeys(("MOST_EDITS", "_NEAR_MM"), BORDER),
    "result/edits.py": {"_SAME_PLACE_MM": NUMERICAL},
    "result/report.py": {
        "REVISION": UNIT,
        **dict.fromkeys(("MOST_POINTS", "MOST_VERTEBRAE", "_MOST_SECONDS", "_MOST_MEMORY_MB"), BORDER),
        "AXES_OF_FILE": UNIT,
    },
    "result/words.py": {"HIGHEST_GRADE": UNIT},
    "vertebrae/bone_map.py": dict.fromkeys(("CELLS", "_POINTS"), NUMERICAL),
    "vertebrae/body_axes.py": dict.fromkeys(("_LEAST_FLATNESS", "_LEAST_ALONG"), NUMERICAL),
    "vertebrae/body_input.py": {
        **dict.fromkeys(("SLAB_CENTERS_MM", "SLAB_OFFSETS_MM", "ANTERIOR_FROM_MM", "COLUMNS", "CHANNELS"), WEIGHTS),
        "_ROW_MULTIPLE": LAYOUT,
    },
    "vertebrae/body_network.py": dict.fromkeys(("MAPS",), WEIGHTS),
    "vertebrae/body_surface.py": {
        "_OUTLINE_POINTS": LAYOUT,
        **dict.fromkeys(("_LEAST_COLUMNS", "_FAR_MM"), NUMERICAL),
    },
    "vertebrae/surface_input.py": dict.fromkeys(("SHAPE", "STEP_MM", "HINT_EDGE_MM", "CHANNELS"), WEIGHTS),
    "vertebrae/surface_network.py": dict.fromkeys(("_MAPS", "LEAST_SCALE_MM"), WEIGHTS),
    "vertebrae/body_solid.py": dict.fromkeys(("_RINGS", "_STRIP_OF_WIDTH"), LAYOUT),
    "vertebrae/endplates.py": {"ENDPLATE_POINTS": LAYOUT},
    "vertebrae/expected_heights.py": {
        "_KINDS": LAYOUT,
        **dict.fromkeys(("_LEAST_WEIGHT", "_ROUNDS", "_SETTLED"), NUMERICAL),
    },
    "vertebrae/level_assignment.py": {"LEVELS": UNIT},
    "vertebrae/level_column.py": {"BEYOND": WEIGHTS, "_NEVER": NUMERICAL, "MOST_STEPS": LAYOUT},
    "vertebrae/level_input.py": dict.fromkeys(
        (
            "ROWS_PER_CELL",
            "STEP_MM",
            "COARSE_A",
            "COARSE_R",
            "CHANNELS",
            "FINE_MM",
            "TYPICAL_SPACING_MM",
            "LEVEL_CLASSES",
        ),
        WEIGHTS,
    ),
    "vertebrae/levels.py": dict.fromkeys(("LEVEL_NUMBERS", "SCORED_LEVELS", "SPINAL_DEFORMITY_INDEX_LEVELS"), UNIT),
    "vertebrae/norms.py": dict.fromkeys(("LEVEL_NORMS", "UNKNOWN_LEVEL_NORM"), TABLE),
    "vertebrae/oriented_box.py": {"_SMOOTHING": NUMERICAL},
    "vertebrae/outline.py": {"_DECIMALS": UNIT},
    "vertebrae/relabeling.py": {"_CONTRADICTION": NUMERICAL},
    "vertebrae/vertebra.py": {
        "LANDMARK_COUNT": UNIT,
        **dict.fromkeys(
            ("MOST_OUTLINE_POINTS", "FAR_MM", "LONGEST_CURVE_MM", "LEAST_HU", "MOST_HU", "TALLEST_MM"), BORDER
        ),
    },
    "volume/compressed_stream.py": dict.fromkeys(("_BLOCK_BYTES", "LARGEST_RATIO"), UNIT),
    "volume/dicom_choice.py": {"_SHOWN": LAYOUT},
    "volume/dicom_elements.py": dict.fromkeys(
        ("PIXEL_DATA", "_ITEM", "_END_OF_ITEM", "_END_OF_SEQUENCE", "_UNDEFINED", "_DEEPEST"), UNIT
    ),
    "volume/dicom_mending.py": dict.fromkeys(
        ("_CLASS_OF_FILE", "_CLASS", "_GROUP_LENGTH", "_PHOTOMETRIC", "_FRAME_GROUPS", "_DECIMALS"), UNIT
    ),
    "volume/dicom_multiframe.py": dict.fromkeys(("_SHARED_GROUPS", "_FRAME_GROUPS", "_GROUPS"), UNIT),
    "volume/dicom_series.py": dict.fromkeys(("_LONGEST_VALUE", "_LEAST_LONE_IMAGES"), UNIT),
    "volume/hu_windows.py": {
        **dict.fromkeys(("CANAL_NETWORK", "VERTEBRA_NETWORKS", "FRACTURE_NETWORKS"), WEIGHTS),
        **dict.fromkeys(("ORIENTATION_NETWORK_BONE", "ORIENTATION_NETWORK_WIDE"), WEIGHTS),
        **dict.fromkeys(("BONE_DISPLAY", "OVERVIEW_DISPLAY"), LAYOUT),
    },
    "volume/image_header.py": {
        "_SKIPPED_BYTES": LAYOUT,
        **dict.fromkeys(("_MOST_VOXELS", "_MOST_AXES", "_MOST_TEXT_BYTES_PER_VOXEL"), UNIT),
    },
    "volume/memory_limit.py": {"_USABLE_SHARE": UNIT},
    "volume/metaimage_file.py": {"_HEADER_BYTES": UNIT, "_UNIT_TOLERANCE": NUMERICAL},
    "volume/nifti_file.py": {
        **dict.fromkeys(("_HEADER_BYTES", "_FIRST_VOXEL", "_LARGEST_OFFSET", "_VOXEL_TYPES", "_COMPONENTS"), UNIT),
        **dict.fromkeys(("_SCANNER", "_ALIGNED", "_MM_PER_UNIT"), UNIT),
        **dict.fromkeys(("_SHEAR", "_SAME"), NUMERICAL),
    },
    "volume/nrrd_file.py": dict.fromkeys(("_HEADER_BYTES", "MOST_PARTS", "_TO_LPS"), UNIT),
    "volume/plausibility.py": {"AIR_HU": UNIT, "_SAMPLES": LAYOUT},
    "volume/sitk_bridge.py": {"LPS_TO_RAS": UNIT, "_SAME_PLACE_MM": NUMERICAL, "_SAME_PLACE": NUMERICAL},
    "volume/file_guard.py": {
        **dict.fromkeys(("FILE_LIMIT_S", "_SLOWEST_BYTES_PER_S", "SPARE_BYTES"), LAYOUT),
        **dict.fromkeys(("_ROWS", "_COLUMNS", "_SAMPLES", "_FRAMES", "_BITS"), UNIT),
    },
    "volume/scene_file.py": dict.fromkeys(("_LARGEST_SCENE_BYTES", "_LARGEST_TRANSFORM_BYTES", "_LONGEST_CHAIN"), UNIT),
    "volume/separate_reader.py": dict.fromkeys(
        ("_LONGEST_ANSWER_BYTES", "_LAST_WORDS_BYTES", "_WRITE_LIMIT_S", "_GRACE_S", "_KILLED"), LAYOUT
    ),
    "volume/stored_file.py": dict.fromkeys(("_LONGEST_NAME", "_MOST_MEMBERS"), UNIT),
}
"""The numbers that a module may hold itself, by name, with the reason."""


def numbers_of(module: Path) -> Iterator[str]:
    """The names of a module that are bound to a number, or to something made of numbers, when it is imported."""
    for statement in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        else:
            continue
        if statement.value is not None and holds_number(statement.value):
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def holds_number(value: ast.expr) -> bool:
    return any(
        isinstance(part, ast.Constant) and type(part.value) in (int, float)
        for part in ast.walk(value)
        # An index is no number of its own.
        if not isinstance(value, ast.Subscript)
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_step_holds_no_tuned_number_of_its_own(folder: str) -> None:
    modules = {path.relative_to(LIBRARY).as_posix(): path for path in sorted((LIBRARY / folder).glob("*.py"))}

    found = {name: set(numbers_of(path)) for name, path in modules.items()}

    astray = {name: names - set(NOT_TUNED.get(name, {})) for name, names in found.items()}
    assert {name: names for name, names in astray.items() if names} == {}, "move them to thresholds.py"
    gone = {name: set(NOT_TUNED[name]) - names for name, names in found.items() if name in NOT_TUNED}
    assert {name: names for name, names in gone.items() if names} == {}, "these are not there any more"


def test_every_number_says_what_it_decides_and_where_it_comes_from() -> None:
    for one in thresholds():
        assert one.decides, one.name
        assert one.source, one.name
        assert one.unit or not one.name.endswith(("_mm", "_hu", "_deg")), one.name


def test_no_group_is_left_out_of_the_list() -> None:
    import VertebralFractureLib.thresholds as module

    groups = {name for name, value in vars(module).items() if type(value).__name__.endswith("Thresholds")}

    assert groups == set(GROUPS)
    assert {one.name.partition(".")[0] for one in thresholds()} == groups


def test_a_step_follows_a_moved_number_and_it_comes_back() -> None:
    position, probability = np.zeros((40, 1, 2)), np.full((40, 1), 0.9)
    probability[11:29] = 0.0

    with moved_threshold("CANAL_PATH.longest_gap_mm", 200.0):
        across = find_canal_path(position, probability, 4.0)
    before = find_canal_path(position, probability, 4.0)

    assert across is not None
    assert before is not None
    assert (across.rows[0], across.rows[-1]) == (0, 39)
    assert before.rows[-1] - before.rows[0] == 10
    assert CANAL_PATH.longest_gap_mm == 64.0


def test_a_number_that_is_not_there_cannot_be_moved() -> None:
    with pytest.raises(KeyError), moved_threshold("CANAL_PATH.no_such_number", 1.0):
        pass


def test_reading_the_numbers_loads_nothing_else() -> None:
    code = (
        "import sys, VertebralFractureLib.thresholds;"
        "print(sorted(set(sys.modules) & {'numpy', 'torch', 'scipy', 'SimpleITK', 'slicer'}))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert answer.stdout.strip() == "[]"


def test_a_move_of_20_percent_keeps_whole_numbers_whole_and_probabilities_possible(benchmark_sensitivity) -> None:
    numbers = {one.name: one for one in benchmark_sensitivity.all_numbers()}

    def moved(name: str) -> tuple[float, float]:
        return tuple(benchmark_sensitivity.moved_value(numbers[name], share) for share in (-0.2, 0.2))

    assert moved("CANAL_PATH.longest_gap_mm") == pytest.approx((51.2, 76.8))
    assert moved("CANAL_PLAUSIBILITY.lowest_content_hu") == pytest.approx((-54.0, -36.0))
    assert moved("SCORING.minimum_scored") == (2, 4)
    assert moved("CORTICAL_REFINEMENT.rays") == (38, 58)
    assert moved("CANAL_PLAUSIBILITY.least_probability_on_three_sides") == pytest.approx((0.72, 1.0))
    assert moved("GRADING.genant_cut_offs[2]") == pytest.approx((0.32, 0.48))


def test_a_part_of_several_numbers_moves_alone_and_a_norm_moves_too(benchmark_sensitivity) -> None:
    numbers = {one.name: one for one in benchmark_sensitivity.all_numbers()}

    with benchmark_sensitivity.moved(numbers["GRADING.genant_cut_offs[1]"], 0.3):
        assert grade_from_loss(0.27) == 1
    with benchmark_sensitivity.moved(numbers["NORMS.L4.anterior"], 1.2):
        assert find_level_norm("L4").anterior == 1.2

    assert grade_from_loss(0.27) == 2
    assert find_level_norm("L4").anterior == 1.0


def test_the_table_names_what_a_result_hangs_on_and_what_never_mattered(benchmark_sensitivity) -> None:
    changed = {"evaluable": [], "changed": {"level": ["L1 to T12"]}, "heights_mm": 0.5, "probability": 0.0}
    rows = [
        {"scan": "a", "number": "GROUP.shaky", "value": 2.0, "share": 0.2, **changed},
        {"scan": "a", "number": "GROUP.shaky", "value": 2.0, "share": 0.05, "changed": {}},
        {"scan": "a", "number": "GROUP.firm", "value": 1.0, "share": 0.2, "changed": {}},
    ]

    printed = benchmark_sensitivity.table(rows)

    assert "1 scans, 2 numbers, 2 moves by 20 %" in printed
    assert "| GROUP.shaky | 2 | 1 | 1 |  |" in printed
    assert "Nothing moved: GROUP.firm." in printed


def test_the_benchmark_judges_a_scan_anew_with_what_it_remembers(benchmark_sensitivity, a_phantom) -> None:
    numbers = {one.name: one for one in benchmark_sensitivity.all_numbers()}
    scan = benchmark_sensitivity.Scan(a_phantom.ct)
    with benchmark_sensitivity.remembered_steps():
        before = scan.detect()
        benchmark_sensitivity.MEMORY.stop_learning()

        firm = benchmark_sensitivity.one_move(scan, before, numbers["VOLUME_CHECKS.min_width_mm"], 0.2)
        shaken = benchmark_sensitivity.one_move(scan, before, numbers["ENDPLATES.anterior_inset_mm"], 0.2)
        refused = benchmark_sensitivity.one_move(scan, before, numbers["SCORING.minimum_scored"], 5.0)

    assert (firm["changed"], firm["heights_mm"], firm["curve_mm"]) == ({}, 0.0, 0.0)
    assert 0.0 < shaken["heights_mm"] < 2.0
    assert refused["changed"]["evaluable"][0].startswith("evaluable to not_evaluable")


@pytest.fixture(scope="module")
def benchmark_sensitivity():
    """The benchmark as a module; it is no package, so that nothing of ours is called ``Testing``."""
    path = LIBRARY.parent / "Testing" / "Benchmarks" / "benchmark_sensitivity.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
