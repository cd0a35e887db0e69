"""A file or folder that is still being written is read again when it is complete, or refused by that name."""

from __future__ import annotations

from pathlib import Path

import pytest
import volume_samples

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume import read_volume, reading, write_volume


@pytest.fixture
def written_while_read(monkeypatch):
    """Let ``write(n)`` run right after the n-th reading of an image file began, as another program would."""

    def arrange(write):
        read, count = reading.read_image_file, [0]

        def read_and_write(path: Path):
            count[0] += 1
            try:
                return read(path)
            finally:
                write(count[0])

        monkeypatch.setattr(reading, "read_image_file", read_and_write)

    return arrange


def a_file(folder: Path) -> tuple[Path, bytes]:
    path = folder / "ct.nii.gz"
    write_volume(volume_samples.a_ct(shape_kji=(40, 40, 44)), path)
    return path, path.read_bytes()


def test_a_file_that_is_completed_while_it_is_read_is_read_again(tmp_path, written_while_read):
    path, whole = a_file(tmp_path)
    path.write_bytes(whole[: len(whole) // 2])
    written_while_read(lambda n: path.write_bytes(whole) if n == 1 else None)

    assert read_volume(path).shape_kji == (40, 40, 44)


def test_a_file_that_goes_on_growing_is_refused_as_being_written(tmp_path, written_while_read):
    path, whole = a_file(tmp_path)
    written_while_read(lambda n: path.write_bytes(whole + bytes(n)))

    with pytest.raises(UnreadableVolume, match="still being written"):
        read_volume(path)


def test_a_damaged_file_that_nobody_writes_to_is_called_damaged(tmp_path):
    path, whole = a_file(tmp_path)
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnreadableVolume, match="damaged"):
        read_volume(path)


def test_what_is_written_beside_the_file_does_not_matter(tmp_path, written_while_read):
    path, _ = a_file(tmp_path)
    written_while_read(lambda n: (tmp_path / f"other-{n}.nii").write_bytes(bytes(n)))

    assert read_volume(path).shape_kji == (40, 40, 44)


def test_a_folder_into_which_slices_arrive_while_it_is_read_is_refused(tmp_path, monkeypatch):
    volume_samples.write_dicom(tmp_path / "series", volume_samples.a_ct())
    read, count = reading._read_any, [0]

    def read_and_receive(path, series):
        ct = read(path, series)
        count[0] += 1
        (path / f"IM9{count[0]:03d}").write_bytes(b"arriving")
        return ct

    monkeypatch.setattr(reading, "_read_any", read_and_receive)

    with pytest.raises(UnreadableVolume, match="still being written"):
        read_volume(tmp_path / "series")
