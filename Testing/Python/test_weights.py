"""Weights: the same format as the safetensors package, refused when damaged, and documented where they ship."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy

from VertebralFractureLib.errors import WeightsDamaged
from VertebralFractureLib.research.training.save_weights import encode_safetensors, save_weights
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
