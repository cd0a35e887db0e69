"""Every reader of bytes reads a damaged file or refuses it by the error that it names, soon, and never in another way.

Each case damages a small whole file by chance, always the same for the same number of the case.
``VERTEBRAL_FRACTURE_FUZZ=1000`` tries so many cases of every kind instead of the few of the suite.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import json
import os
import random
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from volume_samples import a_ct, write_dicom

from VertebralFractureLib.cli.corrections import read_curve
from VertebralFractureLib.cpr.straightened_volume import load_straightened
from VertebralFractureLib.errors import UnreadableVolume, UnusableCorrection, WeightsDamaged
from VertebralFractureLib.research.datasets.annotation_file import read_annotation, reference_to_json
from VertebralFractureLib.research.training.save_weights import encode_safetensors
from VertebralFractureLib.result import correction_from_json, report_from_json
from VertebralFractureLib.result.report_json import corrected_from_json
from VertebralFractureLib.volume import ct_to_sitk, read_volume
from VertebralFractureLib.weights import decode_safetensors

CASES = int(os.environ.get("VERTEBRAL_FRACTURE_FUZZ", "12"))
LIMIT_S = 10.0
FIRST_VERSION = Path(__file__).parent / "first_version"
# As little-endian integers: the largest unsigned, zero, the largest; as floats: infinity, not a number.
_ODD_BYTES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f")
_ODD_VALUES = (None, True, -1, 0, 3, 1e308, "", "T99", [], {}, [None], [[1, 2], 3], {"a": 1}, "9" * 400)


def damage(content: bytes, chance: random.Random, header_bytes: int = 400) -> bytes:
    """Change bytes, cut, repeat or remove a piece, or make a written number absurd; one to three times."""
    for _ in range(chance.randint(1, 3)):
        if len(content) < 8:
            return content
        # Half of all damage goes to the header.
        reach = len(content) if chance.random() < 0.5 else min(len(content), header_bytes)
        at = chance.randrange(reach)
        piece = chance.randint(1, 40)
        kind = chance.randrange(6)
        numbers = list(re.finditer(rb"\d+", content[:4000]))
        if kind == 0:
            content = content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at]
        elif kind == 2:
            content = content[:at] + content[at : at + piece] + content[at:]
        elif kind == 3:
            content = content[:at] + content[at + piece :]
        elif kind == 4:
            content = content[:at] + chance.choice(_ODD_BYTES) + content[at + 4 :]
        elif numbers:
            number = chance.choice(numbers)
            value = chance.choice([b"0", b"-1", b"99999999999", b"1e400", b"nan", b"x"])
            content = content[: number.start()] + value + content[number.end() :]
    return content


def damage_values(content: Any, chance: random.Random) -> Any:
    """Put an odd value in a place of a JSON tree, or take one out."""
    content = json.loads(json.dumps(content))
    for _ in range(chance.randint(1, 3)):
        parent, key = None, None
        node = content
        while isinstance(node, dict | list) and node and (parent is None or chance.random() < 0.8):
            parent, key = node, chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
            node = parent[key]
        if parent is None:
            return chance.choice(_ODD_VALUES)
        if chance.random() < 0.2:
            del parent[key]
        else:
            parent[key] = chance.choice(_ODD_VALUES)
    return content


def damaged_json(content: bytes, chance: random.Random) -> bytes:
    """Damage of the text, or of the values in it, which a reader meets more often."""
    if chance.random() < 0.3:
        return damage(content, chance)
    return json.dumps(damage_values(json.loads(content), chance)).encode()


def damaged_inside_gzip(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return damage(content, chance)
    return gzip.compress(damage(gzip.decompress(content), chance), 1)


def damaged_inside_zip(content: bytes, chance: random.Random) -> bytes:
    """Damage of one member, which is packed again with a checksum that fits; now and then of the archive itself."""
    if chance.random() < 0.2:
        return damage(content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice([*members, *(name for name in members if name.endswith(".mrml"))])
    members[name] = damage(members[name], chance)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return packed.getvalue()


@functools.cache
def a_whole_image(suffix: str, folder: Path) -> bytes:
    path = folder / f"whole{suffix}"
    sitk.WriteImage(ct_to_sitk(a_ct()), str(path), useCompression=suffix == ".compressed.nrrd")
    return path.read_bytes()


@functools.cache
def a_whole_scene(folder: Path) -> bytes:
    """A bundle as Slicer writes it, with one volume under a linear transform."""
    nrrd = a_whole_image(".compressed.nrrd", folder)
    mrml = (
        '<MRML version="Volume4"><LinearTransform id="T1" name="moved" '
        'matrixTransformToParent="1 0 0 2  0 1 0 3  0 0 1 4  0 0 0 1"/>'
        '<VolumeArchetypeStorage id="S1" fileName="Data/ct.nrrd"/>'
        '<Volume id="V1" name="CT" references="storage:S1;transform:T1;"/></MRML>'
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("scene/scene.mrml", mrml)
        archive.writestr("scene/Data/ct.nrrd", nrrd)
    return packed.getvalue()


@functools.cache
def a_whole_slice(folder: Path) -> tuple[list[Path], bytes]:
    files = write_dicom(folder / "whole", a_ct())
    return files, files[4].read_bytes()


def attempt(read: Callable[[], object], allowed: tuple[type[Exception], ...]) -> None:
    started = time.perf_counter()
    with contextlib.suppress(*allowed):
        read()
    assert time.perf_counter() - started < LIMIT_S


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".compressed.nrrd", ".mha"])
def test_a_damaged_image_is_read_or_refused(suffix: str, case: int, tmp_path: Path, whole_files: Path) -> None:
    chance = random.Random(f"{suffix} {case}")
    change = damaged_inside_gzip if suffix == ".nii.gz" else damage
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(change(a_whole_image(suffix, whole_files), chance))

    attempt(lambda: read_volume(path), (UnreadableVolume,))


@pytest.mark.parametrize("case", range(CASES))
def test_a_damaged_scene_is_read_or_refused(case: int, tmp_path: Path, whole_files: Path) -> None:
    path = tmp_path / "scene.mrb"
    path.write_bytes(damaged_inside_zip(a_whole_scene(whole_files), random.Random(f"scene {case}")))

    attempt(lambda: read_volume(path), (UnreadableVolume,))


@pytest.mark.parametrize("case", range(CASES))
def test_a_series_with_a_damaged_slice_is_read_or_refused(case: int, tmp_path: Path, whole_files: Path) -> None:
    files, content = a_whole_slice(whole_files)
    for file in files:
        (tmp_path / file.name).hardlink_to(file)
    (tmp_path / files[4].name).unlink()
    (tmp_path / files[4].name).write_bytes(content[:132] + damage(content[132:], random.Random(f"slice {case}"), 1500))

    attempt(lambda: read_volume(tmp_path), (UnreadableVolume,))


@pytest.mark.parametrize("case", range(CASES))
def test_damaged_weights_are_read_or_refused(case: int) -> None:
    tensors = {"first": np.arange(12, dtype=np.float32).reshape(3, 4), "second": np.arange(3, dtype=np.int64)}
    content = encode_safetensors(tensors, {"config": '{"width": 4}'})
    chance = random.Random(f"weights {case}")

    attempt(lambda: decode_safetensors(damage(content, chance)), (WeightsDamaged,))


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("read", [report_from_json, corrected_from_json, correction_from_json])
def test_a_damaged_report_is_read_or_refused(read: Callable[[str], object], case: int) -> None:
    chance = random.Random(f"report {case}")
    text = damaged_json((FIRST_VERSION / "report.json").read_bytes(), chance).decode("utf-8", "replace")

    attempt(lambda: read(text), (ValueError,))


@pytest.mark.parametrize("case", range(CASES))
def test_a_damaged_curve_is_read_or_refused(case: int, tmp_path: Path) -> None:
    points = [{"id": str(n), "position": [1.0, -2.0, 30.0 * n], "positionStatus": "defined"} for n in range(4)]
    curve = {"markups": [{"type": "Curve", "coordinateSystem": "LPS", "controlPoints": points}]}
    path = tmp_path / "curve.mrk.json"
    path.write_bytes(damaged_json(json.dumps(curve).encode(), random.Random(f"curve {case}")))

    attempt(lambda: read_curve(path), (UnusableCorrection,))


@pytest.mark.parametrize("case", range(CASES))
def test_a_damaged_annotation_is_read_or_refused(case: int, a_phantom: Any, tmp_path: Path) -> None:
    content = json.dumps(reference_to_json(a_phantom.reference)).encode()
    path = tmp_path / "annotation.json"
    path.write_bytes(damaged_json(content, random.Random(f"annotation {case}")))

    attempt(lambda: read_annotation(path), (ValueError,))


@pytest.mark.parametrize("case", range(CASES))
def test_a_damaged_straightened_volume_is_read_or_refused(case: int, tmp_path: Path) -> None:
    content = io.BytesIO()
    arrays = {"hu": np.zeros((4, 5, 6), np.int16), "inside": np.ones((4, 5, 6), bool), "kind": np.array("straightened")}
    rows = {name: np.zeros((9, 3)) for name in ("origin_ras", "right_ras", "anterior_ras")}
    np.savez(content, origin_mm=np.zeros(3), spacing_mm=np.ones(3), s_mm=np.arange(9.0), **arrays, **rows)
    path = tmp_path / "spine.npz"
    path.write_bytes(damaged_inside_zip(content.getvalue(), random.Random(f"spine {case}")))

    attempt(lambda: load_straightened(path), (OSError, ValueError))


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")
