"""Detection in a process of its own: ``python -m VertebralFractureLib.worker request.json``.

Standard output carries one JSON object per line: ``{"stage", "fraction"}`` while it works, then one line with
``"done"`` or ``"error"``. It imports neither Slicer nor Qt, so that a crash or a cancel costs Slicer nothing.

The request: ``{"input": file or folder, "output": folder, "series": null, "acquisition": {},
"stop_when_input_closes": false, "resident": false}`` and what ``DetectionOptions.to_request`` gives. With
``stop_when_input_closes`` the worker ends at once when its standard input is closed, which is how it is cancelled
through a launcher, and how it never outlives the program that started it. The output folder gets ``report.json``,
``vertebrae.csv`` and, when there is one, ``spine.npz``. With ``resident`` the worker stays and answers requests, see
``VertebralFractureLib.resident``. With ``export``, which is ``"scene"`` or ``"page"``, it writes a file of a result
instead, see ``VertebralFractureLib.export.files``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from VertebralFractureLib.cli.exit_codes import BAD_INPUT, CANCELLED, DONE, INTERNAL_ERROR, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.progress_display import JsonLines
from VertebralFractureLib.errors import Cancelled, NotEvaluable, VertebralFractureError
from VertebralFractureLib.passive_waiting import use_passive_waiting
from VertebralFractureLib.progress import CancelToken, StageProgress

if TYPE_CHECKING:
    from VertebralFractureLib.pipeline import Detection


def main(request_path: Path) -> int:
    """Do what the request asks and return the exit code that the last line also names."""
    lines = JsonLines(sys.stdout)
    try:
        request = json.loads(request_path.read_text(encoding="utf-8"))
        if request.get("resident"):
            from VertebralFractureLib.resident import serve

            return serve(request, lines)
        if request.get("export"):
            _export(request, lines)
            lines.write({"done": True, "exit_code": DONE})
            return DONE
        if request.get("stop_when_input_closes"):
            threading.Thread(target=_end_with_standard_input, daemon=True).start()
        code, report_path = _work(request, lines)
        lines.write({"done": True, "report": str(report_path), "exit_code": code})
        return code
    except Cancelled as error:
        return _fail(lines, str(error), CANCELLED)
    except NotEvaluable as error:
        return _fail(lines, str(error), NOT_EVALUABLE_CODE)
    except VertebralFractureError as error:
        return _fail(lines, str(error), BAD_INPUT)
    except OSError as error:
        return _fail(lines, f"A file could not be read or written: {error.strerror or error}.", BAD_INPUT)
    except Exception as error:
        traceback.print_exc()
        return _fail(lines, f"The worker met a defect of the program: {error}.", INTERNAL_ERROR)


def _end_with_standard_input() -> None:
    _await_closed_input()
    os._exit(CANCELLED)


def _cancel_with_standard_input(token: CancelToken) -> None:
    """For an export, which takes away its unfinished file before it ends."""
    _await_closed_input()
    token.cancel()


def _await_closed_input() -> None:
    # Not sys.stdin.read(): its lock would be held by this thread when the interpreter shuts down, which is fatal.
    while os.read(sys.stdin.fileno(), 4096):
        pass


def _work(request: dict[str, Any], lines: JsonLines) -> tuple[int, Path]:
    from VertebralFractureLib.pipeline import DetectionOptions, detect_in_file

    series, options = request.get("series"), DetectionOptions.from_request(request)
    detection = detect_in_file(
        Path(str(request["input"])),
        series=str(series) if series else None,
        acquisition=request.get("acquisition"),
        options=options,
        listener=lines,
    )
    report_path = write_answer(detection, Path(str(request["output"])))
    return (DONE if detection.report.status == "evaluable" else NOT_EVALUABLE_CODE), report_path


def _export(request: dict[str, Any], lines: JsonLines) -> None:
    from VertebralFractureLib.export import files

    target, token = Path(str(request["target"])), CancelToken()
    if request.get("stop_when_input_closes"):
        threading.Thread(target=_cancel_with_standard_input, args=(token,), daemon=True).start()
    tell = StageProgress("export", lines, token)

    if request["export"] == "scene":
        volumes = {str(name): Path(str(path)) for name, path in request["volumes"].items()}
        files.pack_scene(Path(str(request["bundle"])), volumes, target, tell)
    else:
        report = Path(str(request["report"]))
        files.write_page(Path(str(request["input"])), report, request["notes"], target, tell)


def write_answer(detection: Detection, folder: Path) -> Path:
    """Write report, table and spine volume for the program that asked; the report's path."""
    from VertebralFractureLib.cpr.straightened_volume import save_straightened
    from VertebralFractureLib.export.table import report_to_csv
    from VertebralFractureLib.result import report_to_json

    folder.mkdir(parents=True, exist_ok=True)
    if detection.spine is not None and detection.report.status == "evaluable":
        save_straightened(detection.spine, folder / "spine.npz")
    (folder / "vertebrae.csv").write_text(report_to_csv(detection.report), encoding="utf-8")
    report_path = folder / "report.json"
    report_path.write_text(report_to_json(detection.report), encoding="utf-8")
    return report_path


def _fail(lines: JsonLines, sentence: str, code: int) -> int:
    lines.write({"error": sentence, "exit_code": code})
    return code


if __name__ == "__main__":
    use_passive_waiting()
    sys.exit(main(Path(sys.argv[1])))
