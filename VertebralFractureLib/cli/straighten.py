"""``vertebral-fracture straighten INPUT --out FILE``: the CT along its spine, as a volume or a scene.

No network looks at the result, so every choice of ``ReformatGrid`` is free here; without ``--centerline`` the canal is
detected first, with the patient's front and head, whatever the file says of them. A scene also holds the transform that
leads back to the patient.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from VertebralFractureLib.cli.exit_codes import DONE
from VertebralFractureLib.cli.option_types import (
    VOLUME_ENDINGS,
    add_run_arguments,
    number,
    path_to_read,
    path_to_write,
    refuse_output,
    words,
)
from VertebralFractureLib.cli.progress_display import progress_listener
from VertebralFractureLib.cli.stop_signals import cancel_on_stop_signals
from VertebralFractureLib.cli.terminal import tell, warn
from VertebralFractureLib.cpr import STRAIGHTENED, VIRTUAL_SAGITTAL, ReformatGrid, StraightenedVolume, straighten
from VertebralFractureLib.cpr.grid import (
    EXTENT_LIMIT_MM,
    INTERPOLATIONS,
    OFFSET_LIMIT_MM,
    ROTATION_LIMIT_DEG,
    SPACING_LIMITS_MM,
)
from VertebralFractureLib.errors import OptionRefused, OutputRefused
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.progress import CancelToken, StageProgress

_DEFAULT = ReformatGrid()
_SCENE_ENDING = ".mrb"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=path_to_read("INPUT"), help=".nii .nii.gz .nrrd .mha .mhd .mrb, or a DICOM folder"
    )
    parser.add_argument(
        "--out",
        type=path_to_write("--out"),
        required=True,
        help=".mrb: volume, grid transform and centerline for Slicer; .nrrd .nii.gz .mha: the volume alone",
    )
    parser.add_argument("--series", type=words("--series"), help="DICOM: series UID, its beginning, or its description")
    parser.add_argument(
        "--centerline",
        type=path_to_read("--centerline"),
        default=None,
        help="Slicer markups (.mrk.json) or a report.json; else it is detected",
    )
    parser.add_argument("--kind", choices=(STRAIGHTENED, VIRTUAL_SAGITTAL), default=STRAIGHTENED)
    add_grid_arguments(parser)
    add_run_arguments(parser, "up to four")


def add_grid_arguments(parser: argparse.ArgumentParser) -> None:
    """The choices of ``ReformatGrid``; ``grid_of`` reads them back."""
    parser.add_argument(
        "--spacing",
        type=number("--spacing", 0.0, SPACING_LIMITS_MM[1], "mm"),
        nargs="+",
        default=None,
        metavar="MM",
        help="one value, or three along R, A and S",
    )
    for option in ("--right", "--anterior"):
        extent = number(option, -EXTENT_LIMIT_MM, EXTENT_LIMIT_MM, "mm")
        parser.add_argument(option, type=extent, nargs=2, default=None, metavar=("FROM", "TO"), help="extent, mm")
    parser.add_argument(
        "--margin",
        type=number("--margin", 0.0, EXTENT_LIMIT_MM, "mm"),
        default=_DEFAULT.margin_mm,
        help="mm beyond both ends of the canal",
    )
    parser.add_argument(
        "--rotation",
        type=number("--rotation", -ROTATION_LIMIT_DEG, ROTATION_LIMIT_DEG, "degrees"),
        default=0.0,
        help="degrees about the canal, right towards anterior",
    )
    parser.add_argument(
        "--arc-length-offset",
        "--even-at",  # its name until version 1
        type=number("--arc-length-offset", -OFFSET_LIMIT_MM, OFFSET_LIMIT_MM, "mm"),
        default=0.0,
        help="mm in front of the canal where lengths are true: 0 along the canal, 25 along the bodies",
    )
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default=_DEFAULT.interpolation)


def grid_of(arguments: argparse.Namespace) -> ReformatGrid:
    """The grid that the arguments ask for.

    Raises:
        OptionRefused: when no such grid can be laid.
    """
    try:
        return ReformatGrid(
            spacing_mm=_spacing(arguments.spacing),
            right_mm=_range(arguments.right, _DEFAULT.right_mm),
            anterior_mm=_range(arguments.anterior, _DEFAULT.anterior_mm),
            margin_mm=arguments.margin,
            interpolation=arguments.interpolation,
            rotation_deg=arguments.rotation,
            arc_length_offset_mm=arguments.arc_length_offset,
        )
    except ValueError as error:
        raise OptionRefused(str(error)) from error


def run(arguments: argparse.Namespace) -> int:
    from VertebralFractureLib.canal.reader_curve import refuse_curve_outside
    from VertebralFractureLib.cli.corrections import read_curve
    from VertebralFractureLib.models import Models
    from VertebralFractureLib.options import DetectionOptions
    from VertebralFractureLib.pipeline import find_patient_centerline, reader_centerline
    from VertebralFractureLib.result.words import describe_doubt
    from VertebralFractureLib.volume import read_volume

    grid = grid_of(arguments)
    _check_ending(arguments.out)
    refuse_output("--out", arguments.out, arguments.input, arguments.centerline)
    curve = None if arguments.centerline is None else read_curve(arguments.centerline)
    listener, token = progress_listener(arguments.progress), CancelToken()
    with cancel_on_stop_signals(token):
        reading = StageProgress("read", listener, token)
        reading(0.0)
        ct = read_volume(arguments.input, series=arguments.series)
        reading(1.0)
        if curve is None:
            progress = StageProgress("canal", listener, token)
            models = Models.load(DetectionOptions(weights_folder=arguments.weights, threads=arguments.threads))
            centerline, doubts = find_patient_centerline(ct, models, threads=arguments.threads, progress=progress)
            warn(*(f"In doubt: {describe_doubt(doubt)}." for doubt in doubts))
        else:
            centerline = reader_centerline(curve)
            refuse_curve_outside(ct, centerline, arguments.centerline.name)
        progress = StageProgress("cpr", listener, token)
        spine = straighten(ct, centerline, arguments.kind, grid, progress, threads=arguments.threads)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if arguments.out.name.endswith(_SCENE_ENDING):
        _write_scene(spine, centerline.points_ras, arguments.out)
    else:
        _write_volume(spine, arguments.out)
    if arguments.progress != "json":
        size = " x ".join(str(count) for count in reversed(spine.hu.shape))
        inside = f"{size} voxels, {100.0 * spine.inside.mean():.0f} % inside the scan."
        if not tell(f"Wrote {arguments.out}: {inside}"):
            warn(f"Standard output could not be written; the file {arguments.out} is complete.")
    return DONE


def _write_volume(spine: StraightenedVolume, path: Path) -> None:
    from VertebralFractureLib.volume import CTVolume, write_volume

    voxels = spine.hu.round().clip(-32768, 32767).astype("int16")
    write_volume(CTVolume(voxels, spine.ijk_to_straight, "straightened"), path)


def _write_scene(spine: StraightenedVolume, points_ras: Any, path: Path) -> None:
    from VertebralFractureLib.export.scene import new_scene, save_mrb
    from VertebralFractureLib.export.scene.volume_nodes import add_curve_node, add_spine_nodes

    scene = new_scene()
    add_spine_nodes(scene, spine, "Spine")
    add_curve_node(scene, points_ras, "Spine centerline")
    save_mrb(scene, path)


def _check_ending(path: Path) -> None:
    if not path.name.endswith((_SCENE_ENDING, *VOLUME_ENDINGS)):
        raise OutputRefused(
            f"'{one_line(path.name, NAME_LIMIT)}' has no ending that can be written; "
            f"use {_SCENE_ENDING} or {', '.join(VOLUME_ENDINGS)}."
        )


def _spacing(values: Sequence[float] | None) -> tuple[float, float, float]:
    if values is None:
        return _DEFAULT.spacing_mm
    if len(values) not in (1, 3):
        raise ValueError("Give --spacing one value in mm, or three: along right, anterior and superior.")
    r, a, s = values if len(values) == 3 else (values[0],) * 3
    return r, a, s


def _range(values: Sequence[float] | None, default: tuple[float, float]) -> tuple[float, float]:
    if values is None:
        return default
    low, high = values
    return low, high
