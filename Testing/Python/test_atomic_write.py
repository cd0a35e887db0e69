"""A file is written whole or not at all, whatever writer is used and however often it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from VertebralFractureLib.atomic_write import atomic_write, discard_partial, partial_folder


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


def test_what_a_killed_program_left_is_replaced_or_discarded(tmp_path: Path) -> None:
    target = tmp_path / "scene.mrb"
    for _ in range(2):
        partial_folder(target).mkdir()
        (partial_folder(target) / "scene.mrb").write_text("half")
        (partial_folder(target) / "of an older writer").write_text("half")

        with atomic_write(target) as partial:
            partial.write_text("whole")

        assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
    partial_folder(target).mkdir()

    discard_partial(target)

    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_writes_nothing_is_an_error_and_keeps_the_former_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("former")

    with pytest.raises(OSError, match="nothing was written"), atomic_write(target):
        pass

    assert target.read_text() == "former"
