"""The examples of the Python page run, in their order, on a phantom; and the library says that it is typed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import VertebralFractureLib


@pytest.mark.slow
def test_the_examples_of_the_python_page_run_as_they_are_written(
    project_folder: Path, a_phantom_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Given a phantom called chest.nii.gz, and a folder with a scan and a broken file, no block fails."""
    (tmp_path / "scans").mkdir()
    shutil.copyfile(a_phantom_file, tmp_path / "chest.nii.gz")
    shutil.copyfile(a_phantom_file, tmp_path / "scans" / "a.nii.gz")
    (tmp_path / "scans" / "broken.nii.gz").write_bytes(b"no image")
    page = (project_folder / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)

    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python-api.md", "exec"), names)

    said = capsys.readouterr().out
    assert len(blocks) == 8
    assert "broken.nii.gz refused:" in said
    assert "a.nii.gz 0.9" in said, "T12 of the phantom has lost half of its height"
    assert "T12 (2, <Shape.CRUSH: 'crush'>, 0.4)" in said, "low everywhere: only its neighbors show it"
    assert "T11 not measured" in said
    for name in ("bodies.nii.gz", "overview.png", "report.html", "vertebrae.csv", "report.json"):
        assert (tmp_path / name).stat().st_size > 0


def test_the_library_says_that_it_is_typed() -> None:
    assert (Path(VertebralFractureLib.__file__).parent / "py.typed").is_file()
