"""What the command says to a person or a program: never more than it means to, and never at the cost of the result.

Text from files cannot move the cursor, clear the screen or begin a line of its own; letters that the terminal does not
have are written as escapes; a standard output that is closed, full or no longer read loses words, not files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TextIO

from VertebralFractureLib.plain_text import one_line

_LINE_LIMIT = 4000
"""Characters of a line; the table of a result has some 150."""


def tell(*lines: str) -> bool:
    """Write lines to standard output; whether they arrived there."""
    return write_lines(sys.stdout, lines)


def warn(*lines: str) -> bool:
    """Write lines to standard error; whether they arrived there."""
    return write_lines(sys.stderr, lines)


def write_lines(stream: TextIO | None, lines: tuple[str, ...]) -> bool:
    """Write each text as one line, whatever it holds, and let the stream give it on; False when it cannot."""
    text = "".join(one_line(line, _LINE_LIMIT) + "\n" for line in lines)
    return write_text(stream, text)


def write_text(stream: TextIO | None, text: str) -> bool:
    """Write a text of ours as it is, in letters that the stream has; False when it cannot."""
    if stream is None or stream in _LOST:
        return False
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError, RuntimeError):  # the last: a signal came while this stream was written
        _give_up(stream)
        return False
    return True


_LOST: list[TextIO] = []
"""Streams that failed once; what they would say later is lost too."""


def _give_up(stream: TextIO) -> None:
    """Send what the stream still holds to nowhere, so that Python does not stumble over it when it ends."""
    _LOST.append(stream)
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_standard_streams() -> None:
    """Let closed standard streams lead nowhere: the next file that is opened would get their number and their text."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class HarmlessFormatter(logging.Formatter):
    """A log line for the terminal: the message in one line; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        text = one_line(record.getMessage(), _LINE_LIMIT)
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            text += "".join(f"\n{one_line(line, _LINE_LIMIT)}" if line else "" for line in lines)
        return text


def set_up_logging() -> None:
    """Log to standard error."""
    if sys.stderr is None or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(HarmlessFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
