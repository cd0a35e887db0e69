"""The console command's entry point: it turns errors into one sentence and an exit code, and nothing else."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.util
import logging
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from VertebralFractureLib import RESEARCH_USE_ONLY, __version__
from VertebralFractureLib.cli import option_types
from VertebralFractureLib.cli.exit_codes import BAD_INPUT, CANCELLED, INTERNAL_ERROR, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.stop_signals import interrupt_on_stop_signals
from VertebralFractureLib.cli.terminal import open_standard_streams, set_up_logging, warn
from VertebralFractureLib.errors import Cancelled, NotEvaluable, OptionRefused, VertebralFractureError
from VertebralFractureLib.passive_waiting import use_passive_waiting
from VertebralFractureLib.plain_text import one_line

_COMMANDS = {
    "detect": "find vertebral fractures on a CT",
    "straighten": "resample a CT along its spine",
    "phantom": "make a digital spine phantom with known fractures",
    "demo": "phantom, then detect: the README's first command",
}
_RESEARCH_COMMANDS = {
    "import-dataset": "turn a VerSe tree, or CTs with a table of grades, into annotated scans",
    "train": "train a model: canal, orientation, upright, vertebrae, levels, surfaces, fracture, or the ensemble",
    "evaluate": "measure the program on scans with known truth",
}
_WITHOUT_NETWORKS = ("phantom",)
_ADDRESS_SPACE_BYTES = 2 * 2**30
"""What PyTorch, SimpleITK and VTK map (docs/results/unusual_input.md): with 1.6 GB they fail to load or abort."""
_RESEARCH = "VertebralFractureLib.research"
_RESEARCH_LIBRARIES = {"sklearn", "scipy", "matplotlib"}
_TRAINABLE = {
    **{
        name: f"{_RESEARCH}.training.train_{name}"
        for name in ("canal", "orientation", "upright", "vertebrae", "levels", "surfaces", "fracture")
    },
    "ensemble": f"{_RESEARCH}.release.train_ensemble",
}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MEMORY = re.compile(
    r"bad_?alloc|allocate memory|memory allocation|out of memory|unable to allocate|can't start new thread"
    r"|failed to map segment",
    re.IGNORECASE,
)
"""What libraries say, in errors of many types, when they get no memory."""


_TOO_LITTLE_MEMORY = (
    "There is not enough memory for this; close other programs, raise the limit, or give a smaller volume. "
    "No result was written."
)


class _Parser(argparse.ArgumentParser):
    """As argparse's, but every word is checked before anything is read, and refused in one sentence.

    What an option may be at most stands where it is declared; no count, size or path goes unchecked where it does not.
    An option is given by its whole name: a beginning of it could be that of another (``--seed`` for ``--seeds``).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        check = option_types.CHECKS.get(settings.get("type"))
        if check is not None:
            settings["type"] = check(names[0])
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def run() -> None:
    """Entry point of the installed command."""
    open_standard_streams()
    use_passive_waiting()
    with interrupt_on_stop_signals():
        code = main(sys.argv[1:])
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    set_up_logging()
    try:
        return _dispatch(arguments)
    except (Cancelled, KeyboardInterrupt):
        return _say("Cancelled; what was not finished is not kept.", CANCELLED)
    except NotEvaluable as error:
        return _say(str(error), NOT_EVALUABLE_CODE)
    except VertebralFractureError as error:
        return _say(str(error), BAD_INPUT)
    except OSError as error:
        if error.errno in _NO_SPACE:
            return _say("The disk is full; free some space or choose another --out. No result was written.", BAD_INPUT)
        if error.errno == errno.ENOMEM:
            return _say(_TOO_LITTLE_MEMORY, BAD_INPUT)
        return _say(f"A file could not be read or written: {error.strerror or error}.", BAD_INPUT)
    except Exception as error:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            return _say(_TOO_LITTLE_MEMORY, BAD_INPUT)
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _RESEARCH_LIBRARIES:
            return _say(f"This command needs {error.name}: pip install 'VertebralFracture[research]'.", BAD_INPUT)
        logging.exception("This is a defect of the program; please report it with the lines above.")
        return INTERNAL_ERROR


def _available_commands() -> dict[str, str]:
    """Name and summary of every command; Slicer's installation holds no file that trains or evaluates."""
    has_research = importlib.util.find_spec(f"{_RESEARCH}.evaluation") is not None
    return {**_COMMANDS, **(_RESEARCH_COMMANDS if has_research else {})}


def _dispatch(arguments: Sequence[str]) -> int:
    parser = _Parser(prog="vertebral-fracture", description=RESEARCH_USE_ONLY)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    available = _available_commands()
    chosen = next((item for item in arguments if item in available), None)
    for name, summary in available.items():
        command = commands.add_parser(name, help=summary, description=f"{summary}. {RESEARCH_USE_ONLY}")
        if name == chosen:
            _add_arguments(name, command, arguments)
    parsed = parser.parse_args(arguments)
    if parsed.command not in _WITHOUT_NETWORKS:
        _require_address_space()
    return int(parsed.run(parsed))


def _require_address_space() -> None:
    """Refuse a limit (``ulimit -v``) under which libraries end the program without a word.

    Raises:
        OptionRefused: with both numbers.
    """
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE_BYTES:
        raise OptionRefused(
            f"The memory of this program is limited to {limit / 2**30:.1f} GB (ulimit -v), and it needs "
            f"{_ADDRESS_SPACE_BYTES / 2**30:.1f} GB and more; raise the limit."
        )


def _add_arguments(name: str, parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Only the chosen command's module is imported: ``--help`` and ``detect`` never load the training code."""
    if name == "train":
        models = parser.add_subparsers(dest="model", required=True)
        for model in _TRAINABLE:
            model_parser = models.add_parser(model)
            if model in arguments:
                module = importlib.import_module(_TRAINABLE[model])
                module.add_arguments(model_parser)
                model_parser.set_defaults(run=module.run)
        return
    module = importlib.import_module(f"VertebralFractureLib.cli.{name.replace('-', '_')}")
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)


def _say(sentence: str, code: int) -> int:
    warn(sentence)
    return code
