"""Temporary folders are their owner's alone, and what a killed program left in one is swept by a later one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from VertebralFractureLib.private_folders import (
    PREFIX,
    STALE_S,
    is_private_folder,
    make_private_folder,
    private_folder,
    sweep_leftovers,
)


def a_folder_of_a_process_that_is_gone(parent: Path) -> Path:
    program = (
        "import sys; from pathlib import Path\n"
        "from VertebralFractureLib.private_folders import make_private_folder\n"
        "folder = make_private_folder(Path(sys.argv[1])); (folder / 'voxels').write_text('of a patient'); print(folder)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(parent)], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows protects the user's folders by access lists")
def test_nobody_else_can_read_a_private_folder(tmp_path: Path) -> None:
    with private_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700

    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_swept_once_its_process_is_gone_and_not_before(tmp_path: Path) -> None:
    left = a_folder_of_a_process_that_is_gone(tmp_path)
    assert (left / "voxels").is_file()

    with private_folder(tmp_path) as mine:
        sweep_leftovers(tmp_path)

        assert list(tmp_path.iterdir()) == [mine]


def test_a_folder_of_another_machine_is_swept_only_when_it_is_old(tmp_path: Path) -> None:
    foreign = tmp_path / f"{PREFIX}00000000-1-0123abcd"
    foreign.mkdir()

    sweep_leftovers(tmp_path)
    assert foreign.is_dir()

    old = time.time() - STALE_S - 60.0
    os.utime(foreign, (old, old))
    sweep_leftovers(tmp_path)
    assert not foreign.exists()


def test_what_only_looks_similar_is_left_alone(tmp_path: Path) -> None:
    left = a_folder_of_a_process_that_is_gone(tmp_path)
    left.rename(tmp_path / "kept")
    similar = [tmp_path / f"{PREFIX}notes", tmp_path / f"{left.name}.zip", tmp_path / left.name]
    for path in similar:
        path.write_text("mine")
    old = time.time() - STALE_S - 60.0
    os.utime(similar[0], (old, old))

    sweep_leftovers(tmp_path)

    assert all(path.is_file() for path in similar)
    assert [is_private_folder(path.name) for path in similar] == [False, False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a right of their own on Windows")
def test_a_link_of_that_name_does_not_lead_the_sweep_astray(tmp_path: Path) -> None:
    left = a_folder_of_a_process_that_is_gone(tmp_path)
    left.rename(tmp_path / "theirs")
    (tmp_path / left.name).symlink_to(tmp_path / "theirs")

    sweep_leftovers(tmp_path)

    assert (tmp_path / "theirs" / "voxels").is_file()


def test_a_folder_fits_beside_a_file_of_the_longest_name(tmp_path: Path) -> None:
    (tmp_path / ("x" * 255)).write_text("a file system holds 255 bytes")

    assert len(make_private_folder(tmp_path).name) < 60
