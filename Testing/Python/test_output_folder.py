"""The output folder is complete or absent, and nothing that is not ours is ever touched."""

import os
import sys

import pytest

from VertebralFractureLib.cli.output_folder import write_folder_atomically
from VertebralFractureLib.errors import OutputRefused

OURS = '{"schema": "vertebral-fracture-report/1"}'


def test_results_appear_together_in_a_new_folder(tmp_path):
    target = tmp_path / "deep" / "out"

    with write_folder_atomically(target) as work:
        (work / "report.json").write_text(OURS)
        assert not target.exists()

    assert [path.name for path in target.iterdir()] == ["report.json"]
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def interrupted_run(target, error):
    with write_folder_atomically(target) as work:
        (work / "report.json").write_text("half")
        raise error


def test_an_interrupted_run_leaves_no_trace(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted_run(tmp_path / "new" / "out", KeyboardInterrupt())

    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_second_run_keeps_the_first_result(tmp_path):
    target = tmp_path / "out"
    with write_folder_atomically(target) as work:
        (work / "report.json").write_text(OURS)

    with pytest.raises(OSError, match="full"):
        interrupted_run(target, OSError("full"))

    assert (target / "report.json").read_text() == OURS
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_second_run_replaces_our_own_earlier_result(tmp_path):
    target = tmp_path / "out"
    for text in (OURS, OURS + "\n"):
        with write_folder_atomically(target) as work:
            (work / "report.json").write_text(text)

    assert (target / "report.json").read_text() == OURS + "\n"


@pytest.mark.parametrize("name", ["thesis.docx", "report.json"])
def test_a_folder_with_anything_of_the_users_is_refused_and_untouched(tmp_path, name):
    (tmp_path / name).write_text("mine")

    with pytest.raises(OutputRefused, match="not results of this program"), write_folder_atomically(tmp_path):
        pass

    assert (tmp_path / name).read_text() == "mine"


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")

    with pytest.raises(OutputRefused, match="is a file"), write_folder_atomically(tmp_path / "out"):
        pass


def write(target, text=OURS):
    with write_folder_atomically(target) as work:
        (work / "report.json").write_text(text)


def run_during_which(target, happens, text=OURS + "\n"):
    with write_folder_atomically(target) as work:
        (work / "report.json").write_text(text)
        (work / "scene.mrb").write_text("new")
        happens()


def test_what_the_user_puts_into_the_folder_during_a_run_stays(tmp_path):
    target = tmp_path / "out"
    write(target)

    run_during_which(target, lambda: (target / "thesis.docx").write_text("mine"))

    assert (target / "thesis.docx").read_text() == "mine"
    assert (target / "report.json").read_text() == OURS + "\n"
    assert sorted(path.name for path in target.iterdir()) == ["report.json", "scene.mrb", "thesis.docx"]


def test_a_folder_that_the_user_makes_during_a_run_keeps_what_is_in_it(tmp_path):
    target = tmp_path / "out"

    def make():
        target.mkdir()
        (target / "thesis.docx").write_text("mine")

    run_during_which(target, make)

    assert (target / "thesis.docx").read_text() == "mine"
    assert (target / "report.json").read_text() == OURS + "\n"


@pytest.mark.parametrize("name", ["scene.mrb", "report.json"])
def test_a_result_that_somebody_else_writes_during_a_run_is_not_replaced(tmp_path, name):
    target = tmp_path / "out"
    write(target)

    with pytest.raises(OutputRefused, match="changed meanwhile"):
        run_during_which(target, lambda: (target / name).write_text("of another run"))

    assert (target / name).read_text() == "of another run"
    assert all(not path.name.startswith(".") for path in target.iterdir())


def test_a_folder_that_bears_the_name_of_a_result_is_refused_and_untouched(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "out" / "scene.mrb").mkdir()
    (tmp_path / "out" / "scene.mrb" / "thesis.docx").write_text("mine")

    with pytest.raises(OutputRefused, match="not results of this program"):
        write(tmp_path / "out")

    assert (tmp_path / "out" / "scene.mrb" / "thesis.docx").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
def test_a_pipe_that_bears_the_name_of_a_result_does_not_keep_the_program_waiting(tmp_path):
    os.mkfifo(tmp_path / "report.json")

    with pytest.raises(OutputRefused, match="not results of this program"):
        write(tmp_path)


def test_a_report_of_any_size_is_known_by_its_beginning(tmp_path):
    (tmp_path / "report.json").write_text(OURS[:-1] + ', "x": ' + "[" * 300_000)

    write(tmp_path)

    assert (tmp_path / "report.json").read_text() == OURS


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a right of their own on Windows")
def test_a_link_as_output_stays_a_link_and_its_folder_gets_the_result(tmp_path):
    (tmp_path / "disk").mkdir()
    for name, target in (("there", "disk"), ("nowhere", "disk/new")):
        (tmp_path / name).symlink_to(tmp_path / target)

        write(tmp_path / name)

        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target / "report.json").read_text() == OURS


def test_an_existing_folder_is_filled_and_not_exchanged(tmp_path):
    """A mount point and the folder that a terminal stands in cannot be renamed."""
    target = tmp_path / "out"
    target.mkdir()
    (target / ".DS_Store").write_text("of the Finder")
    before = target.stat().st_ino

    write(target)
    write(target, OURS + "\n")

    assert target.stat().st_ino == before
    assert sorted(path.name for path in target.iterdir()) == [".DS_Store", "report.json"]


def test_where_a_file_cannot_be_replaced_the_former_result_stays_whole(tmp_path, monkeypatch):
    target = tmp_path / "out"
    write(target)
    (target / "vertebrae.csv").write_text("open in a spreadsheet")
    rename = type(target).rename

    def refuse(path, to):
        if path == target / "vertebrae.csv":
            raise PermissionError(13, "it is being used by another process")
        return rename(path, to)

    monkeypatch.setattr(type(target), "rename", refuse)
    with pytest.raises(OutputRefused, match=r"vertebrae\.csv.*another process.*close it"):
        run_during_which(target, lambda: None)

    assert (target / "report.json").read_text() == OURS
    assert sorted(path.name for path in target.iterdir()) == ["report.json", "vertebrae.csv"]


def test_the_longest_name_of_a_folder_can_be_written(tmp_path):
    write(tmp_path / ("x" * 255))

    assert (tmp_path / ("x" * 255) / "report.json").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_nobody_else_reads_the_result_before_it_is_whole(tmp_path):
    with write_folder_atomically(tmp_path / "out") as work:
        assert work.parent.stat().st_mode & 0o777 == 0o700
        (work / "report.json").write_text(OURS)
