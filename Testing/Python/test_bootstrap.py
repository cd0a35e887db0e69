"""``run.py``: an environment is used again, made again, or refused with a sentence; these tests install nothing.

The environments are real and empty (``venv`` without pip); only the step that would download is recorded instead.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def bootstrap(project_folder, tmp_path, monkeypatch):
    """``run.py`` loaded over a folder of its own, with what it would install written down."""
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (tmp_path / "constraints.txt").write_text('torch==9.9.9; sys_platform == "linux"\n', encoding="utf-8")
    specification = importlib.util.spec_from_file_location("run_py", project_folder / "run.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "made-by-run-py.json")
    monkeypatch.setattr(module, "PINS", tmp_path / "constraints.txt")
    monkeypatch.setattr(module, "MODULES", {"": ("json",), "scene": ("csv",), "dev": ("ast",), "research": ()})
    module.installed = []
    create = module.venv.create
    monkeypatch.setattr(module.venv, "create", lambda folder, clear, with_pip: create(folder, clear=clear))  # noqa: ARG005
    monkeypatch.setattr(module, "install_torch", lambda: module.installed.append("torch"))
    monkeypatch.setattr(module, "pip", lambda *arguments: module.installed.append(arguments[-1].rpartition("[")[2]))
    return module


def test_an_environment_is_made_once_and_used_again(bootstrap):
    bootstrap.ensure_environment(("scene",))
    bootstrap.ensure_environment(("scene",))

    assert bootstrap.installed == ["torch", "scene]"]


def test_tests_add_to_the_environment_of_the_demo(bootstrap):
    bootstrap.ensure_environment(("scene",))
    bootstrap.ensure_environment(("dev", "research"))
    bootstrap.ensure_environment(("scene",))

    assert bootstrap.installed == ["torch", "scene]", "dev,research,scene]"]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_make_the_environment_again(bootstrap, changed):
    bootstrap.ensure_environment(("scene",))
    path = bootstrap.ROOT / changed
    path.write_text(path.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")

    bootstrap.ensure_environment(("scene",))

    assert bootstrap.installed == ["torch", "scene]"] * 2


def break_off(*_arguments):
    raise KeyboardInterrupt


def test_an_installation_that_was_broken_off_is_made_again(bootstrap, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "pip", break_off)
        with pytest.raises(KeyboardInterrupt):
            bootstrap.ensure_environment(("scene",))

    bootstrap.ensure_environment(("scene",))

    assert bootstrap.installed == ["torch", "torch", "scene]"]
    assert json.loads(bootstrap.STAMP.read_text(encoding="utf-8"))["groups"] == ["scene"]


@pytest.mark.parametrize("damage", ["python", "stamp", "module"])
def test_a_damaged_environment_is_noticed(bootstrap, damage, monkeypatch):
    bootstrap.ensure_environment(("scene",))
    if damage == "python":
        bootstrap.environment_python().unlink()
    elif damage == "stamp":
        bootstrap.STAMP.write_text("half a st", encoding="utf-8")
    else:
        monkeypatch.setitem(bootstrap.MODULES, "scene", ("a_package_that_was_removed",))

    bootstrap.ensure_environment(("scene",))

    assert bootstrap.installed == ["torch", "scene]"] * 2


def test_a_python_that_is_too_old_or_too_new_is_told_so(bootstrap, monkeypatch, capsys):
    for version in ((3, 9), (3, 15)):
        monkeypatch.setattr(bootstrap.sys, "version_info", version)
        monkeypatch.setattr(bootstrap.sys, "argv", ["run.py", "demo"])

        assert bootstrap.main() == 2

        assert "needs Python 3.10 to 3.14" in capsys.readouterr().err
    assert bootstrap.installed == []


def test_a_failed_check_fails_the_test_command_but_not_the_checks_after_it(bootstrap, monkeypatch, capfd):
    bootstrap.ensure_environment(())
    checks = {"first": ("a_module_that_is_missing",), "second": ("platform",)}
    monkeypatch.setattr(bootstrap, "CHECKS", checks)

    code = bootstrap.run_checks()

    out = capfd.readouterr().out
    assert code == 1
    assert "== second" in out
    assert out.rstrip().endswith("FAILED: first")


def test_an_unknown_command_shows_the_usage(project_folder):
    done = subprocess.run(
        [sys.executable, str(project_folder / "run.py"), "dance"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )

    assert done.returncode == 2
    assert "demo" in done.stderr
    assert "test" in done.stderr
