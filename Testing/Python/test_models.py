"""Weights are read and networks built once, however often a volume is detected or corrected."""

from pathlib import Path

import pytest

from VertebralFractureLib.errors import WeightsDamaged
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import SINGLE_MODEL, DetectionOptions
from VertebralFractureLib.session import VolumeSession
from VertebralFractureLib.vertebrae import level_input
from VertebralFractureLib.weights import MANIFEST, weights_folder


@pytest.fixture
def files_read(monkeypatch):
    """Names of the weights files that are read from here on, in their order."""
    names, read_bytes = [], Path.read_bytes

    def counted(path):
        if path.suffix == ".safetensors":
            names.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return names


@pytest.fixture
def volumes_pooled(monkeypatch):
    """How many volumes are pooled from here on: two, values and field of view, for what the column's networks see."""
    shapes, pool = [], level_input._pooled
    monkeypatch.setattr(level_input, "_pooled", lambda volume: (shapes.append(volume.shape), pool(volume))[1])
    return shapes


def test_a_detection_reads_each_weights_file_and_pools_the_column_once_and_what_follows_reads_none(
    a_phantom, files_read, volumes_pooled
):
    session = VolumeSession(a_phantom.ct)

    curve = session.detect().report.centerline.points_ras

    assert sorted(files_read) == sorted(path.name for path in weights_folder().glob("*.safetensors"))
    assert len(volumes_pooled) == 2
    files_read.clear()
    r, a, s = curve[len(curve) // 3]
    repaired, _ = session.repair(curve, (r + 6.0, a, s))
    session.rescore(repaired)
    session.measure(repaired, [(40.0, 62.0)])
    VolumeSession(a_phantom.ct, session.models).rescore(curve)
    assert files_read == []


def test_a_network_is_built_once_and_only_when_it_is_asked(files_read):
    models = Models.load()
    assert files_read == []

    alone = Models.load(DetectionOptions(members=SINGLE_MODEL), before=models)

    (name,) = alone.members
    assert alone.fractures.members[name] is models.fractures.members[name]
    assert models.vertebrae.body is alone.vertebrae.body
    assert len(set(files_read)) == len(files_read)
    assert not any("cord" in name for name in files_read)


def test_a_damaged_file_is_met_before_the_canal_is_searched(a_phantom, tmp_path):
    for path in weights_folder().iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert (tmp_path / MANIFEST).is_file()
    (tmp_path / "VertebralFracture-levels.safetensors").write_bytes(b"damaged")
    session = VolumeSession(a_phantom.ct)

    with pytest.raises(WeightsDamaged, match="'levels' are damaged"):
        session.detect(DetectionOptions(weights_folder=tmp_path))

    assert session.canal_runs == 0
