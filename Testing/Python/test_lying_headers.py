"""A header that lies is refused before a voxel is taken: no memory, no file of somebody else, no invented number."""

from __future__ import annotations

import gzip
import os
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from volume_samples import a_ct, largest_error_hu

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume import ct_to_sitk, read_volume
from VertebralFractureLib.volume.memory_limit import measure_free_bytes


def a_file(path: Path, compressed: bool = True) -> Path:
    sitk.WriteImage(ct_to_sitk(a_ct()), str(path), useCompression=compressed)
    return path


def change(path: Path, field: bytes, value: bytes) -> None:
    """Give a field of a text header another value; ``field`` with its separator."""
    changed, count = re.subn(
        rb"(?m)^" + re.escape(field) + rb".*$", lambda _: field + value, path.read_bytes(), count=1
    )
    assert count == 1
    path.write_bytes(changed)


def change_nifti(path: Path, form: str, offset: int, *values: float) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)


def test_a_compressed_content_shorter_than_its_header_says_is_no_volume(tmp_path: Path) -> None:
    # Given a whole zlib stream that holds half of the voxels, which SimpleITK fills up with what lies in memory
    half = zlib.compress(a_ct().hu[:12].tobytes())
    mha, nrrd = a_file(tmp_path / "ct.mha"), a_file(tmp_path / "ct.nrrd")
    head = re.sub(rb"CompressedDataSize = \d+", b"CompressedDataSize = %d" % len(half), mha.read_bytes())
    mha.write_bytes(head[: head.index(b"LOCAL") + 6] + half)
    nrrd.write_bytes(nrrd.read_bytes().partition(b"\n\n")[0] + b"\n\n" + gzip.compress(a_ct().hu[:12].tobytes()))

    # When it is read, then it is refused
    for path in (mha, nrrd):
        with pytest.raises(UnreadableVolume, match="damaged, cut off"):
            read_volume(path)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize(
    "sizes", [b"22 20 25", b"22 20 23", b"21 20 24", b"22 19 24", b"2200 2000 2400", b"22 20 99999999999", b"22 -20 24"]
)
def test_a_size_that_is_not_that_of_the_content_is_refused(tmp_path: Path, suffix: str, sizes: bytes) -> None:
    path = a_file(tmp_path / f"ct{suffix}")
    change(path, b"DimSize = " if suffix.startswith(".mh") else b"sizes: ", sizes)

    with pytest.raises(UnreadableVolume, match=r"ct\."):
        read_volume(path)


@pytest.mark.parametrize("spacing", [b"2 2.5 0", b"2 -2.5 3", b"2 nan 3", b"2 1e400 3", b"2 2.5", b"x y z"])
def test_a_spacing_that_is_no_distance_is_never_replaced(tmp_path: Path, spacing: bytes) -> None:
    path = a_file(tmp_path / "ct.mha")
    change(path, b"ElementSpacing = ", spacing)

    with pytest.raises(UnreadableVolume, match=r"no distance|not 3 finite"):
        read_volume(path)


def test_a_missing_spacing_is_not_taken_as_one_millimeter(tmp_path: Path) -> None:
    mha, nrrd = a_file(tmp_path / "ct.mha"), a_file(tmp_path / "ct.nrrd")
    mha.write_bytes(mha.read_bytes().replace(b"ElementSpacing = 2 2.5 3\n", b""))
    nrrd.write_bytes(re.sub(rb"space[^\n]*\n", b"", nrrd.read_bytes()))

    with pytest.raises(UnreadableVolume, match="how far apart"):
        read_volume(mha)
    with pytest.raises(UnreadableVolume, match="spacings"):
        read_volume(nrrd)


@pytest.mark.parametrize("steps", [(2.0, 2.5, 0.0), (2.0, -2.5, 3.0), (2.0, 2.5, float("nan")), (2.0, 2.5, 6.0)])
def test_a_nifti_whose_two_spacings_differ_is_refused(tmp_path: Path, steps: tuple[float, ...]) -> None:
    path = a_file(tmp_path / "ct.nii")
    change_nifti(path, "<3f", 80, *steps)

    with pytest.raises(UnreadableVolume, match=r"two spacings|no distance"):
        read_volume(path)


@pytest.mark.parametrize("scale", [(float("nan"), 0.0), (-1.0, 0.0), (0.0, -1024.0), (float("inf"), 0.0)])
def test_a_scale_that_means_nothing_is_refused(tmp_path: Path, scale: tuple[float, float]) -> None:
    path = a_file(tmp_path / "ct.nii")
    change_nifti(path, "<2f", 112, *scale)

    with pytest.raises(UnreadableVolume, match="slope"):
        read_volume(path)


@pytest.mark.parametrize("scale", [(0.0, 0.0), (float("nan"), float("nan"))])
def test_a_nifti_without_a_scale_is_read_as_it_is(tmp_path: Path, scale: tuple[float, float]) -> None:
    path = a_file(tmp_path / "ct.nii")
    change_nifti(path, "<2f", 112, *scale)

    assert largest_error_hu(read_volume(path)) <= 1


def test_an_origin_that_no_scanner_has_is_refused(tmp_path: Path) -> None:
    mha, nrrd, nii = (a_file(tmp_path / f"ct{suffix}") for suffix in (".mha", ".nrrd", ".nii"))
    change(mha, b"Offset = ", b"1e30 0 0")
    change(nrrd, b"space origin: ", b"(0,1e30,0)")
    change_nifti(nii, "<f", 280 + 12, 1e30)

    for path in (mha, nrrd, nii):
        with pytest.raises(UnreadableVolume, match="geometry is damaged"):
            read_volume(path)


@pytest.mark.parametrize("elsewhere", ["../secret.raw", "{folder}/secret.raw", "link.raw", "..\\secret.raw", "a\0b"])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_header_opens_no_file_outside_its_folder(tmp_path: Path, suffix: str, elsewhere: str) -> None:
    # Given a header whose voxels are another file of the user, named upward, absolutely or through a link
    (tmp_path / "secret.raw").write_bytes(a_ct().hu.tobytes())
    folder = tmp_path / "sent"
    folder.mkdir()
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    path = a_file(folder / f"ct{suffix}", compressed=False)
    field = b"ElementDataFile = " if suffix == ".mhd" else b"data file: "
    change(path, field, elsewhere.format(folder=tmp_path).encode())

    # When it is read, then it is refused by that name
    with pytest.raises(UnreadableVolume, match=r"outside its own folder|cannot be a file's name"):
        read_volume(path)


@pytest.mark.parametrize(
    "pattern", ["%s%s%s%n 1 24 1", "s%03d.raw 1 24 0", "s%03d.raw 1 999999999 1", "%99999999d 1 2 1"]
)
def test_a_pattern_of_files_that_is_none_is_refused(tmp_path: Path, pattern: str) -> None:
    path = a_file(tmp_path / "ct.mhd", compressed=False)
    change(path, b"ElementDataFile = ", pattern.encode())

    with pytest.raises(UnreadableVolume, match="damaged"):
        read_volume(path)


def test_slices_in_files_of_their_own_are_read_by_list_and_pattern(tmp_path: Path) -> None:
    # Given a header per way to name 24 files, beside these files
    for index, plane in enumerate(a_ct().hu):
        (tmp_path / f"s{index + 1:03d}.raw").write_bytes(plane.tobytes())
    names = b"\n".join(b"s%03d.raw" % (index + 1) for index in range(24))
    for name, field, data in (
        ("pattern.mhd", b"ElementDataFile = ", b"s%03d.raw 1 24 1"),
        ("list.mhd", b"ElementDataFile = ", b"LIST\n" + names),
        ("pattern.nhdr", b"data file: ", b"s%03d.raw 1 24 1 2"),
        ("list.nhdr", b"data file: ", b"LIST\n" + names),
    ):
        change(a_file(tmp_path / name, compressed=False), field, data)

        # When it is read, then each voxel lies where it was
        assert largest_error_hu(read_volume(tmp_path / name)) <= 1


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    # Given 100 kB that unpack to 100 MB where the header says 21 kB, and a header that says more than any CT
    bomb = a_file(tmp_path / "bomb.nii")
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress((tmp_path / "bomb.nii").read_bytes() + bytes(100_000_000)))
    claim = a_file(tmp_path / "claim.nrrd", compressed=False)
    change(claim, b"sizes: ", b"2048 2048 1024")
    os.truncate(claim, 9_000_000_000)

    # When they are read, then they are refused within a few megabytes
    tracemalloc.start()
    for path in (bomb, claim):
        with pytest.raises(UnreadableVolume, match=r"more voxels than|more than any CT|of memory"):
            read_volume(path)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_what_needs_more_memory_than_is_free_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("VertebralFractureLib.volume.memory_limit.measure_free_bytes", lambda: 10_000)

    with pytest.raises(UnreadableVolume, match=r"needs 0\.0 GB of memory, and 0\.0 GB are free"):
        read_volume(a_file(tmp_path / "ct.nii.gz"))


def test_free_memory_is_known_here() -> None:
    assert (measure_free_bytes() or 0) > 100_000_000


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ct.raw")
    path = a_file(tmp_path / "other.mhd", compressed=False)
    change(path, b"ElementDataFile = ", b"ct.raw")

    with pytest.raises(UnreadableVolume, match="missing"):
        read_volume(path)


def test_a_pair_of_nifti_files_is_read_and_an_analyze_file_refused_by_its_name(tmp_path: Path) -> None:
    sitk.WriteImage(ct_to_sitk(a_ct()), str(tmp_path / "plain.nii"))
    content = (tmp_path / "plain.nii").read_bytes()
    header = bytearray(content[:348])
    header[344:347] = b"ni1"
    struct.pack_into("<f", header, 108, 0.0)
    (tmp_path / "pair.hdr").write_bytes(header)
    (tmp_path / "pair.img").write_bytes(content[352:])
    header[344:348] = bytes(4)
    (tmp_path / "old.hdr").write_bytes(header)

    assert largest_error_hu(read_volume(tmp_path / "pair.hdr")) <= 1
    with pytest.raises(UnreadableVolume, match="Analyze"):
        read_volume(tmp_path / "old.hdr")


def test_odd_but_legal_headers_are_read(tmp_path: Path) -> None:
    # Given line ends of Windows, an sform a little off orthonormal, and voxels in the other byte order
    nrrd = a_file(tmp_path / "windows.nrrd", compressed=False)
    head, _, body = nrrd.read_bytes().partition(b"\n\n")
    nrrd.write_bytes(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
    nifti = a_file(tmp_path / "off.nii")
    change_nifti(nifti, "<hh", 252, 0, 1)
    change_nifti(nifti, "<f", 284, 2.5 * 5e-4)
    big = a_file(tmp_path / "big.mha", compressed=False)
    change(big, b"BinaryDataByteOrderMSB = ", b"True")
    start = big.read_bytes().partition(b"LOCAL\n")
    big.write_bytes(start[0] + start[1] + np.frombuffer(start[2], "<i2").astype(">i2").tobytes())

    # When they are read, then each voxel lies where it was
    for path in (nrrd, nifti, big):
        assert largest_error_hu(read_volume(path)) <= 1
