"""A detection in a process of its own that is asked to stop at a known moment, whatever else the machine does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_SEARCHING = "the search begins"
_WAITS = f"""
import sys, time
from VertebralFractureLib import pipeline
from VertebralFractureLib.cli import main

search = pipeline.canal_evidence

def wait_until_stopped(ct, model, *, progress, **others):
    print({_SEARCHING!r}, file=sys.stderr, flush=True)
    end = time.monotonic() + 60.0
    while not progress.token.cancelled and time.monotonic() < end:
        time.sleep(0.01)
    return search(ct, model, progress=progress, **others)

pipeline.canal_evidence = wait_until_stopped
main.run()
"""


def stop_during_search(number: signal.Signals, volume: Path, out: Path, **options: Any) -> tuple[int, str]:
    """Send a signal to ``detect`` when it begins to look for the canal, where it waits for that; exit code and words.

    A program that is started with a signal ignored (``nohup``, or a shell's background job) leaves it ignored: so that
    the tests may be run like that, this one is not.
    """
    command = [sys.executable, "-c", _WAITS, "detect", str(volume), "--out", str(out)]
    former = signal.getsignal(number)
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)
    finally:
        signal.signal(number, former)
    assert process.stderr is not None
    next(line for line in process.stderr if _SEARCHING in line)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said
