"""A file is written whole or not at all, whatever writer is used and however often it is tried."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from VertebralFractureLib.atomic_write import atomic_write, write_file


def write_half(target: Path) -> None:
    with atomic_write(target) as partial:
        partial.write_text("half")
        raise RuntimeError("midway")


def test_the_former_file_stays_and_nothing_is_left_over_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("former")

    with pytest.raises(RuntimeError, match="midway"):
        write_half(target)

    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_sees_the_final_name_and_its_companion_file_arrives_too(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "ct.mhd") as partial:
        assert partial.name == "ct.mhd"
        partial.write_text("header")
        (partial.parent / "ct.zraw").write_text("voxels")
        assert list(tmp_path.glob("ct.*")) == []

    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.mhd", "ct.zraw"]


def test_what_a_killed_program_left_is_swept_by_the_next_write_beside_it(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from VertebralFractureLib.atomic_write import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "scene.mrb")], check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "scene.mrb").read_text() == "half"

    with atomic_write(tmp_path / "table.csv") as partial:
        partial.write_text("whole")

    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_a_writer_that_writes_nothing_is_an_error_and_keeps_the_former_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("former")

    with pytest.raises(OSError, match="nothing was written"), atomic_write(target):
        pass

    assert target.read_text() == "former"


def test_a_file_that_does_not_hold_what_it_should_is_not_moved_in(tmp_path: Path) -> None:
    target = tmp_path / "scene.mrb"
    target.write_text("former")

    def check(written: Path) -> None:
        raise OSError(5, f"{written.name} is damaged")

    with pytest.raises(OSError, match=r"scene\.mrb is damaged"), atomic_write(target, check) as partial:
        partial.write_text("half")

    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


def test_text_is_written_with_its_line_ends_and_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    write_file(tmp_path / "page.html", "caf\udce9\nü\n")

    assert (tmp_path / "page.html").read_bytes() == "caf?\nü\n".encode()


@pytest.mark.skipif(sys.platform == "win32", reason="links and permissions are those of POSIX")
def test_the_file_behind_a_link_is_replaced_with_its_permissions_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "report.json", tmp_path / "link.json"
    real.write_text("former")
    real.chmod(0o600)
    link.symlink_to(real)

    write_file(link, "new")

    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match=name):
            write_file(tmp_path / name, "mine")

    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_the_voxels_of_another_header_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "ct.zraw").write_text("of ct.nhdr")

    def write_with_companion() -> None:
        with atomic_write(tmp_path / "ct.mhd") as partial:
            partial.write_text("header")
            (partial.parent / "ct.zraw").write_text("voxels")

    with pytest.raises(FileExistsError, match=r"ct\.zraw"):
        write_with_companion()

    assert [path.read_text() for path in tmp_path.iterdir()] == ["of ct.nhdr"]
