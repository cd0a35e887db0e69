"""Weights: the same format as the safetensors package, refused when damaged, and documented where they ship."""

import hashlib
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from VertebralFractureLib.canal.network import CanalModel
from VertebralFractureLib.errors import WeightsDamaged
from VertebralFractureLib.fracture.scoring import FractureMember
from VertebralFractureLib.research.training.save_weights import encode_safetensors, save_weights
from VertebralFractureLib.vertebrae.body_network import BodyModel
from VertebralFractureLib.vertebrae.level_network import LevelModel
from VertebralFractureLib.weights import MANIFEST, decode_safetensors, load_weights, weights_folder, weights_names


@pytest.fixture
def tensors():
    random = np.random.default_rng(0)
    return {
        "encoder.weight": random.normal(size=(3, 2, 5)).astype(np.float32),
        "encoder.bias": random.normal(size=3).astype(np.float16),
        "steps": np.array(12, dtype=np.int64),
        "shape": np.array([4, 5], dtype=np.int32),
    }


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, array in right.items():
        assert left[name].dtype == array.dtype
        np.testing.assert_array_equal(left[name], array)


def test_the_safetensors_package_reads_what_we_write(tensors):
    data = encode_safetensors(tensors, {"config": "{}"})

    assert_same(safetensors.numpy.load(data), tensors)


def test_we_read_what_the_safetensors_package_writes(tensors):
    data = safetensors.numpy.save(tensors, {"config": '{"width": 3}'})

    decoded, metadata = decode_safetensors(data)

    assert_same(decoded, tensors)
    assert metadata == {"config": '{"width": 3}'}


def test_weights_come_back_with_their_config_and_hash(tensors, tmp_path):
    sha256 = save_weights("cord", tensors, {"width": 3}, tmp_path)

    weights = load_weights("cord", tmp_path)

    assert_same(dict(weights.tensors), tensors)
    assert weights.config == {"width": 3}
    assert weights.sha256 == sha256


def test_equal_weights_are_equal_files(tensors, tmp_path):
    first = save_weights("a", tensors, {"x": 1, "y": 2}, tmp_path / "1")
    second = save_weights("a", dict(reversed(tensors.items())), {"y": 2, "x": 1}, tmp_path / "2")

    assert first == second


def test_names_are_listed_by_prefix(tensors, tmp_path):
    for name in ("fracture-b", "cord", "fracture-a"):
        save_weights(name, tensors, {}, tmp_path)

    assert weights_names("fracture-", tmp_path) == ["fracture-a", "fracture-b"]


def test_one_flipped_bit_is_noticed(tensors, tmp_path):
    save_weights("cord", tensors, {}, tmp_path)
    path = tmp_path / "VertebralFracture-cord.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))

    with pytest.raises(WeightsDamaged, match="SHA-256"):
        load_weights("cord", tmp_path)


def test_missing_weights_are_named(tensors, tmp_path):
    save_weights("cord", tensors, {}, tmp_path)
    (tmp_path / "VertebralFracture-cord.safetensors").unlink()

    with pytest.raises(WeightsDamaged, match="'cord' cannot be read"):
        load_weights("cord", tmp_path)
    with pytest.raises(WeightsDamaged, match="no weights called 'levels'"):
        load_weights("levels", tmp_path)


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"cord": {}}', '{"cord": 3}'])
def test_a_damaged_manifest_is_refused_in_words(tmp_path, manifest):
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest, encoding="utf-8")

    with pytest.raises(WeightsDamaged):
        load_weights("cord", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: data[:5],
        lambda data: data[:-4],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:8] + b"not json" + data[16:],
        lambda data: data.replace(b"F32", b"F99"),
        lambda data: data.replace(b'"dtype"', b'"dtipe"'),
    ],
)
def test_bytes_that_are_not_safetensors_are_refused(tensors, damage):
    data = encode_safetensors(tensors, {})

    with pytest.raises(WeightsDamaged):
        decode_safetensors(damage(data))


def encode(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(start, end, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),  # overlapping
        ({"a": entry(0, 8), "b": entry(12, 20)}, bytes(20)),  # a gap
        ({"a": entry(0, 8)}, bytes(12)),  # bytes left over
        ({"a": entry(0, 8)}, struct.pack("<2f", 1.0, float("nan"))),
        ({"a": entry(0, 8)}, struct.pack("<2f", 1.0, float("inf"))),
        ({"a": entry(0, 8, shape=(1 << 40, 0))}, bytes(8)),
        ({"a": entry(0, 8, shape=(-1, -2))}, bytes(8)),
        ({"a": entry(0, 8, shape=(2.0,))}, bytes(8)),
        ({"a": entry(0, 16, dtype="F64")}, bytes(16)),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}', bytes(8)),  # twice
        (b"[" * 200_000, b""),
        (b" " * (2 << 20) + b"{}", b""),
        ({"__metadata__": {"config": 3}}, b""),
    ],
)
def test_tensors_that_are_not_exactly_the_bytes_of_the_file_are_refused(header, body):
    with pytest.raises(WeightsDamaged):
        decode_safetensors(encode(header, body))


@pytest.mark.parametrize("config", ['{"width": NaN}', "[" * 100_000, "{", "3", '{"a": 1, "a": 2}'])
def test_a_configuration_that_is_none_is_refused(tmp_path, config):
    data = encode_safetensors({}, {"config": config})
    (tmp_path / "a.safetensors").write_bytes(data)
    write_manifest(tmp_path, "a.safetensors", data)

    with pytest.raises(WeightsDamaged, match="configuration"):
        load_weights("a", tmp_path)


def write_manifest(folder, file, data=b""):
    listed = {"a": {"file": str(file), "sha256": hashlib.sha256(data).hexdigest()}}
    (folder / MANIFEST).write_text(json.dumps(listed), encoding="utf-8")


def test_weights_are_regular_files_of_their_folder(tensors, tmp_path):
    # Given a manifest that names, with the right hash, a file elsewhere, a pipe, an endless device, or a folder
    folder = tmp_path / "weights"
    folder.mkdir()
    data = encode_safetensors(tensors, {})
    (tmp_path / "elsewhere.safetensors").write_bytes(data)
    (folder / "link.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    os.mkfifo(folder / "pipe")
    (folder / "endless").symlink_to("/dev/zero")

    # When they are loaded, then they are refused at once
    for file in ("../elsewhere.safetensors", tmp_path / "elsewhere.safetensors", "link.safetensors", "pipe"):
        write_manifest(folder, file, data)
        with pytest.raises(WeightsDamaged, match="cannot be read"):
            load_weights("a", folder)
    for file in ("endless", "/dev/zero", ".", "a\0b"):
        write_manifest(folder, file, data)
        with pytest.raises(WeightsDamaged, match="cannot be read"):
            load_weights("a", folder)


@pytest.mark.parametrize("name", ["cord", "vertebrae", "levels", "fracture-3d-sagittal"])
def test_a_network_whose_tensors_are_not_all_there_is_not_built(name):
    # Given the weights that ship, with one tensor missing, one more, one of another shape, or another width
    builders = {"cord": CanalModel, "vertebrae": BodyModel, "levels": LevelModel}
    build = builders.get(name, FractureMember).from_weights
    whole = load_weights(name)
    first = next(iter(whole.tensors))
    damaged = [
        replace(whole, tensors={key: value for key, value in whole.tensors.items() if key != first}),
        replace(whole, tensors={**whole.tensors, "more": np.zeros(3, np.float32)}),
        replace(whole, tensors={**whole.tensors, first: whole.tensors[first][..., :1]}),
        replace(whole, config={**whole.config, "width": 10**9, "widths": [10**7] * 4, "network": {"width": 10**9}}),
        replace(whole, config={}),
    ]

    # When a network is built of them, then they are refused, and of the whole ones it is built
    for weights in damaged:
        with pytest.raises(WeightsDamaged):
            build(weights)
    build(whole)


def test_the_weights_that_ship_are_what_the_manifest_says():
    folder = weights_folder()
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))

    assert {entry["file"] for entry in manifest.values()} == {path.name for path in folder.glob("*.safetensors")}
    for name, entry in manifest.items():
        assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], name


def test_every_weights_file_that_ships_has_a_model_card_that_names_it():
    folder = weights_folder()
    cards = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.md"))

    for path in folder.glob("*.safetensors"):
        assert path.with_suffix(".md").is_file(), f"{path.name} has no model card beside it"
        assert hashlib.sha256(path.read_bytes()).hexdigest() in cards, f"no model card names the SHA-256 of {path.name}"
