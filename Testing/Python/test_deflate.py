"""Compressed files are read and written alike by ISA-L, where it is installed, and by Python's own zlib."""

from __future__ import annotations

import gzip
import io
import zlib

import numpy as np
import pytest

from VertebralFractureLib import deflate
from VertebralFractureLib.export import files
from VertebralFractureLib.volume import read_volume
from VertebralFractureLib.volume.compressed_stream import read_unpacked_blocks


@pytest.fixture(params=["zlib", "isal"], autouse=True)
def codec(request, monkeypatch):
    if request.param == "isal":
        module = pytest.importorskip("isal.isal_zlib", reason="the 'fast' group is not installed")
    else:
        module = zlib
    monkeypatch.setattr(deflate, "find_codec", lambda: module)
    monkeypatch.setattr("VertebralFractureLib.volume.compressed_stream.find_codec", lambda: module)
    return module


CONTENT = np.random.default_rng(0).integers(-1000, 1500, 900_000).astype("<i2").tobytes()


def unpacked(data: bytes) -> bytes:
    return b"".join(read_unpacked_blocks(io.BytesIO(data)))


def test_a_stream_is_unpacked_whatever_its_kind_and_however_many_follow_each_other():
    for packed in (gzip.compress(CONTENT, 6), zlib.compress(CONTENT, 1), gzip.compress(CONTENT) * 2 + b"\0" * 512):
        assert unpacked(packed) in (CONTENT, 2 * CONTENT)


def test_a_wrong_bit_a_wrong_checksum_and_a_cut_are_noticed():
    packed = gzip.compress(CONTENT, 1)
    half = len(packed) // 2

    for damaged in (packed[:half] + bytes([packed[half] ^ 4]) + packed[half + 1 :], packed[:-6] + b"\1\2\3\4\5\6"):
        with pytest.raises((zlib.error, EOFError)):
            unpacked(damaged)
    for cut in (packed[:half], packed[:-4]):
        with pytest.raises(EOFError):
            unpacked(cut)


def test_a_packed_volume_is_what_every_reader_reads(tmp_path):
    hu = np.frombuffer(CONTENT, "<i2").reshape(30, 150, 200)
    told = []

    files.pack_volume(hu, np.diag([0.7, 0.8, 3.0, 1.0]), tmp_path / "ct.nrrd", told.append)

    start = (tmp_path / "ct.nrrd").read_bytes()
    assert gzip.decompress(start[start.index(b"\n\n") + 2 :]) == CONTENT
    ct = read_volume(tmp_path / "ct.nrrd")
    assert np.array_equal(ct.hu, np.maximum(hu, ct.hu.min()))
    assert told[-1] == 1.0
