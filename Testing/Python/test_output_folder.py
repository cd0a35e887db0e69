"""The output folder is complete or absent, and nothing that is not ours is ever touched."""

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
