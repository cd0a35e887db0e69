"""Every option of every command is checked by type, range and finiteness, in one sentence, before anything is read."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cli.main import _TRAINABLE, _available_commands, main
from VertebralFractureLib.cli.option_types import is_forbidden_name
from VertebralFractureLib.cpr import STRAIGHTENED, ReformatGrid
from VertebralFractureLib.cpr.grid import lay_box
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.options import DetectionOptions

DETECT = ["detect", "missing.nii.gz", "--out", "out"]
STRAIGHTEN = ["straighten", "missing.nii.gz", "--out", "spine.nrrd"]
PHANTOM = ["phantom", "--out", "phantom.nii.gz"]
TRAIN = ["train", "vertebrae", "--cache", "c", "--out", "o", "--weights-folder", "w"]


@pytest.mark.parametrize(
    "words",
    [
        *([*DETECT, "--threads", value] for value in ("0", "-3", "1000000000", "1.5", "many", "9" * 400)),
        *([*DETECT, "--spacing", value] for value in ("nan", "inf", "0", "-1", "1e-9")),
        *([*DETECT, "--levels", value] for value in ("banana", "L1=Z9", "=L1", "+2", "\x1b[31mL1=x")),
        *([*DETECT, option, ""] for option in ("--series", "--weights", "--centerline", "--correction")),
        ["detect", "", "--out", "out"],
        ["detect", "missing.nii.gz", "--out", ""],
        ["detect", "missing.nii.gz", "--out", "a\0b"],
        *([*STRAIGHTEN, "--rotation", value] for value in ("nan", "inf", "1e300", "361")),
        *([*STRAIGHTEN, "--margin", value] for value in ("nan", "-1", "1e6", "1e300")),
        *([*STRAIGHTEN, "--spacing", value] for value in ("nan", "1e-9", "0.001", "1e9")),
        *([*STRAIGHTEN, "--arc-length-offset", value] for value in ("nan", "1e6")),
        *([*STRAIGHTEN, "--right", *values] for values in (("nan", "nan"), ("0", "1e9"), ("inf", "inf"))),
        [*STRAIGHTEN, "--threads", "0"],
        *([*PHANTOM, "--seed", value] for value in ("-1", "9" * 30, "x")),
        *([*PHANTOM, "--fractures", value] for value in ("-1", "99")),
        ["phantom", "--out", "phantom.banana"],
        ["phantom", "--out", ".nii.gz"],
        ["evaluate", "--out", "e", "--phantoms", "-1"],
        *([*TRAIN, "--steps", value] for value in ("-5", "nan", "1e3")),
        *([*TRAIN, "--minutes", value] for value in ("-5", "nan", "inf")),
        ["train", "canal", "--out", "o", "--weights-folder", "w", "--learning-rate", "nan"],
    ],
    ids=lambda words: " ".join(words)[-40:].encode("ascii", "backslashreplace").decode(),
)
def test_a_word_that_cannot_be_is_refused_in_one_sentence(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    code = main(words)

    said = capsys.readouterr().err
    assert code == 2
    assert len(said.splitlines()) == 1, said
    assert "\x1b" not in said
    assert "missing.nii.gz" not in said
    assert list(tmp_path.iterdir()) == []


def every_option(command, model=None):
    """The options of a command, as argparse holds them."""
    from VertebralFractureLib.cli.main import _Parser

    name = _TRAINABLE[model] if model else f"VertebralFractureLib.cli.{command.replace('-', '_')}"
    parser = _Parser()
    importlib.import_module(name).add_arguments(parser)
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def test_no_number_and_no_path_of_any_command_goes_unchecked():
    commands = [(command, None) for command in _available_commands() if command != "train"]
    for command, model in [*commands, *(("train", model) for model in _TRAINABLE)]:
        for option in every_option(command, model):
            assert option.type not in (int, float, Path), f"{command} {model}: {option.option_strings}"


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.parametrize("option", ["INPUT", "--centerline", "--correction", "--weights"])
def test_a_pipe_is_refused_instead_of_waited_for(option, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    words = ["detect", str(tmp_path / "pipe")] if option == "INPUT" else [*DETECT[:2], option, str(tmp_path / "pipe")]

    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "is a pipe or a device" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.parametrize("name", ["spine.nrrd", "phantom.nii.gz", "phantom.json"])
def test_an_output_that_is_no_file_is_refused_before_anything_is_read(name, tmp_path, capsys):
    for make in (os.mkfifo, os.mkdir):
        folder = tmp_path / make.__name__
        folder.mkdir()
        make(folder / name)
        command = STRAIGHTEN[:2] if name == "spine.nrrd" else PHANTOM[:1]

        code = main([*command, "--out", str(folder / name.replace(".json", ".nii.gz"))])

        said = capsys.readouterr().err
        assert code == 2
        assert name in said
        assert [path.name for path in folder.iterdir()] == [name]


def test_the_scan_that_is_read_is_not_written_over(a_phantom_file, tmp_path, capsys):
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(a_phantom_file.read_bytes())
    (tmp_path / "same").symlink_to(tmp_path)

    for out in (scan, tmp_path / "same" / "scan.nii.gz"):
        assert main(["straighten", str(scan), "--out", str(out)]) == 2
        assert "would be lost" in capsys.readouterr().err

    assert scan.read_bytes() == a_phantom_file.read_bytes()


def test_the_truth_of_a_phantom_replaces_no_other_file(tmp_path, capsys):
    (tmp_path / "ct.json").write_text(json.dumps({"mine": 1}))

    code = main(["phantom", "--out", str(tmp_path / "ct.nii.gz")])

    assert code == 2
    assert "is something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["ct.json"]


def test_an_evaluation_replaces_only_what_an_evaluation_wrote(tmp_path, capsys):
    (tmp_path / "report.html").write_text("of a detection")

    code = main(["evaluate", "--out", str(tmp_path), "--phantoms", "1"])

    assert code == 2
    assert "not from an evaluation" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_library_refuses_the_same_numbers_as_the_command():
    for grid in ({"rotation_deg": float("nan")}, {"margin_mm": float("inf")}, {"right_mm": (-1e9, 1e9)}):
        with pytest.raises(ValueError, match="spine volume"):
            ReformatGrid(**grid)
    line = Centerline(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 400.0]]), np.ones(2))
    grid = ReformatGrid((0.05, 0.05, 1.0), (-400.0, 400.0), (-400.0, 400.0))
    with pytest.raises(OptionRefused, match="400 million voxels"):
        lay_box(line, grid.frame(line, STRAIGHTENED), grid)
    with pytest.raises(OptionRefused, match="1 to 256"):
        DetectionOptions(threads=1_000_000_000)


@pytest.mark.parametrize("name", ["CON", "aux.nrrd", "com1.nii.gz", "spine.", "spine ", "a:b.nrrd", "what?.nrrd"])
def test_names_that_windows_takes_for_devices_or_changes_are_refused_there_alone(name):
    assert is_forbidden_name(name, "win32")
    assert not is_forbidden_name(name, "linux")
    assert not is_forbidden_name(f"x{name}".rstrip(". ").replace(":", "").replace("?", ""), "win32")
