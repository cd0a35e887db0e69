"""One session per CT: nothing is done twice, scores equal those of a fresh run, and it is cancelled when asked."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.cpr.straightened_volume import load_straightened
from VertebralFractureLib.pipeline import detect, reader_centerline
from VertebralFractureLib.research.phantom.no_spine import NO_SPINE_KINDS, make_no_spine
from VertebralFractureLib.result import Correction, apply_correction, edits, report_from_json
from VertebralFractureLib.session import VolumeSession
from VertebralFractureLib.volume import read_volume


class Client:
    """The program that talks to the session."""

    def __init__(self, process):
        self.process = process
        self.number = 0

    def send(self, **request):
        self.number += 1
        self.process.stdin.write(json.dumps({"id": self.number, **request}) + "\n")
        self.process.stdin.flush()
        return self.number

    def answers(self, number):
        """Every line up to the last one for this request."""
        lines = []
        for line in self.process.stdout:
            lines.append(json.loads(line))
            if lines[-1].get("id") == number and {"done", "error"} & set(lines[-1]):
                return lines
        raise AssertionError("the session ended without an answer")

    def ask(self, **request):
        return self.answers(self.send(**request))[-1]


def start(folder, *arguments):
    return Client(
        subprocess.Popen(
            [sys.executable, "-m", "VertebralFractureLib.session", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )
    )


@pytest.fixture(scope="module")
def session(a_phantom_file, project_folder_once):
    client = start(project_folder_once)
    assert client.ask(command="open", input=str(a_phantom_file))["exit_code"] == 0
    yield client
    client.process.kill()
    client.process.wait()
    client.process.stdin.close()
    client.process.stdout.close()


@pytest.fixture(scope="module")
def a_detection(session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detected")
    assert session.ask(command="detect", output=str(folder))["exit_code"] == 0
    return report_from_json((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def a_corrected_curve(session, a_detection):
    """One point in the lower third dragged by 6 mm, and what the network makes of it."""
    points = a_detection.centerline.points_ras
    r, a, s = points[len(points) // 3]
    answer = session.ask(command="repair", points_ras=points, dragged_ras=(r + 6.0, a, s), anchors_ras=[])
    assert answer["anchors_ras"][0] == pytest.approx([r + 6.0, a, s], abs=1e-6)
    assert answer["anchors_ras"][0] in answer["points_ras"]
    return answer["points_ras"]


def test_scores_follow_a_corrected_centerline_within_two_seconds_and_equal_a_fresh_run(
    session, a_corrected_curve, a_phantom_file, tmp_path
):
    seconds = []
    for _ in range(3):
        answer = session.ask(command="rescore", centerline_ras=a_corrected_curve, output=str(tmp_path))
        seconds.append(answer["cpu_seconds"])

    scored = report_from_json((tmp_path / "report.json").read_text())
    fresh = detect(read_volume(a_phantom_file), centerline=reader_centerline(a_corrected_curve))
    # Two cores for two seconds; counted as work, because other programs may hold the cores while this test runs.
    assert min(seconds) < 4.0
    assert scored.centerline.points_ras == tuple(tuple(point) for point in a_corrected_curve)
    assert [v.label for v in scored.vertebrae] == [v.label for v in fresh.report.vertebrae]
    assert scored.sequence.probability == pytest.approx(fresh.report.sequence.probability, abs=2e-3)
    for mine, theirs in zip(scored.vertebrae, fresh.report.vertebrae, strict=True):
        assert mine.fracture_probability == pytest.approx(theirs.fracture_probability, abs=2e-3)
        assert mine.center_ras == pytest.approx(theirs.center_ras, abs=1e-3)
        assert (mine.grade, mine.status) == (theirs.grade, theirs.status)
    # A voxel on the very border of the field of view may fall to either side of it.
    assert np.mean(np.abs(load_straightened(tmp_path / "spine.npz").hu - fresh.spine.hu) > 1.0) < 1e-4


def test_a_newer_correction_cancels_the_one_that_runs(session, a_corrected_curve, tmp_path):
    first = session.send(command="rescore", centerline_ras=a_corrected_curve, output=str(tmp_path / "first"))
    second = session.send(command="rescore", centerline_ras=a_corrected_curve[2:], output=str(tmp_path / "second"))

    lines = session.answers(second)

    assert [line["exit_code"] for line in lines if line.get("id") == first and "error" in line] == [130]
    assert lines[-1]["exit_code"] == 0
    assert not (tmp_path / "first").exists()


def test_cancel_stops_what_runs_and_the_worker_goes_on(session, a_corrected_curve, tmp_path):
    number = session.send(command="rescore", centerline_ras=a_corrected_curve, output=str(tmp_path / "none"))
    session.process.stdin.write('{"command": "cancel"}\n')
    session.process.stdin.flush()

    assert session.answers(number)[-1]["exit_code"] == 130
    assert not (tmp_path / "none").exists()
    assert session.ask(command="prepare")["exit_code"] == 0


def test_a_curve_is_drawn_from_a_handful_of_points(session, a_detection):
    points = a_detection.centerline.points_ras
    answer = session.ask(command="draw", points_ras=[points[-4], points[3], points[len(points) // 2]])

    assert len(answer["points_ras"]) > 0.8 * len(points)
    assert len(answer["anchors_ras"]) == 3


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "fly"},
        {"command": "rescore"},
        {"command": "draw", "points_ras": []},
        {"command": "rescore", "centerline_ras": [[0, 0, 0], [0, 0, 1e9]], "output": "none"},
        {"command": "rescore", "centerline_ras": [[0, 0, float("nan")], [0, 0, 9]], "output": "none"},
        {"command": "rescore", "centerline_ras": [[0, 0, 0.1 * n] for n in range(9_000)], "output": "none"},
        {"command": "measure", "centerline_ras": [[0, 0, 0], [0, 0, 99]], "extents_mm": [[60, 40]]},
    ],
)
def test_a_wrong_request_is_answered_in_a_sentence(session, request_):
    answer = session.ask(**request_)

    assert answer["exit_code"] == 2
    assert answer["error"].startswith("The request could not be answered")


def test_a_second_detection_and_a_correction_need_neither_reading_nor_a_search_for_the_canal(
    session, a_detection, a_corrected_curve, tmp_path
):
    before = session.ask(command="status")["counters"]
    again = session.ask(command="detect", output=str(tmp_path / "again"))
    coarser = session.ask(command="detect", output=str(tmp_path / "coarser"), options={"spacing_mm": 2.0})
    corrected = session.ask(command="rescore", centerline_ras=a_corrected_curve, output=str(tmp_path / "corrected"))

    assert before["volume_reads"] == before["canal_runs"] == 1
    assert again["counters"] == coarser["counters"] == corrected["counters"] == before
    first, second = report_from_json((tmp_path / "again/report.json").read_text()), a_detection
    assert (first.centerline, first.sequence, first.vertebrae) == (
        second.centerline,
        second.sequence,
        second.vertebrae,
    )
    assert load_straightened(tmp_path / "coarser/spine.npz").spacing_mm == (2.0, 2.0, 2.0)


def test_a_detection_after_a_correction_equals_one_before_it(a_phantom):
    volume = VolumeSession(a_phantom.ct)
    points = np.array(a_phantom.reference.centerline.points_ras)

    volume.draw([points[3] + (90.0, 0.0, 0.0), points[-3] + (90.0, 0.0, 0.0)])
    late, early = volume.detect().report, detect(a_phantom.ct).report

    assert volume.canal_runs == 1
    assert (late.centerline, late.sequence, late.vertebrae) == (early.centerline, early.sequence, early.vertebrae)


def test_a_scan_without_a_spine_is_refused_twice_and_searched_once():
    volume = VolumeSession(make_no_spine(NO_SPINE_KINDS[0], 900_100, (2.0, 2.0, 4.0)))

    reasons = [volume.detect().report.reason for _ in range(2)]

    assert reasons[0] == reasons[1]
    assert "spin" in reasons[0]
    assert volume.canal_runs == 1


def test_what_a_session_keeps_is_bounded(session, a_detection, a_phantom):  # noqa: ARG001
    kept = session.ask(command="status")
    assert set(kept["kept_bytes"]) == {"volume", "straightened", "canal"}
    assert all(0 < size < kept["limit_bytes"] for size in kept["kept_bytes"].values())

    volume = VolumeSession(a_phantom.ct)
    volume.prepare()
    volume.measure(a_phantom.reference.centerline.points_ras, [(20.0, 45.0)])
    full = volume.kept_bytes
    volume.drop_surplus(sum(full.values()) - 1)
    without_planes = volume.kept_bytes
    volume.drop_surplus(full["volume"])

    assert without_planes == {**full, "straightened": 0}
    assert volume.kept_bytes == {**full, "straightened": 0, "canal": 0}


def test_a_cancelled_detection_writes_nothing_and_the_next_one_is_as_good(session, a_detection, tmp_path):
    number = session.send(command="detect", output=str(tmp_path / "none"))
    session.send(command="cancel", id=number)
    assert session.answers(number)[-1]["exit_code"] == 130

    session.ask(command="detect", output=str(tmp_path / "next"))

    assert not (tmp_path / "none").exists()
    assert report_from_json((tmp_path / "next/report.json").read_text()).vertebrae == a_detection.vertebrae


def test_a_file_that_cannot_be_read_is_answered_in_a_sentence(project_folder, tmp_path):
    client = start(project_folder)

    *progress, answer = client.answers(client.send(command="open", input=str(tmp_path / "missing.nii.gz")))
    detected = client.ask(command="detect", output=str(tmp_path / "result"))
    client.process.communicate(timeout=60)

    assert progress[0] == {"id": 1, "stage": "read", "fraction": 0.0}
    assert answer["exit_code"] == 2
    assert "missing.nii.gz" in answer["error"]
    assert "no volume is open" in detected["error"]
    assert not (tmp_path / "result").exists()


IDLE = "import sys; from VertebralFractureLib.session import serve; sys.exit(serve(0.2))"
BUSY = """
import sys, time
from VertebralFractureLib import session
session.Session._do = lambda self, request, token, lines: lines("canal", 0.5) or time.sleep(300)
sys.exit(session.serve())
"""


def test_it_ends_when_told_when_its_input_closes_and_when_nobody_asks(project_folder):
    command = [sys.executable, "-m", "VertebralFractureLib.session"]
    environment = {**os.environ, "PYTHONPATH": str(project_folder)}

    told, closed = (
        subprocess.run(command, input=words, capture_output=True, text=True, timeout=60, env=environment, check=False)
        for words in ('{"command": "stop"}\n', "")
    )
    idle = subprocess.Popen(
        [sys.executable, "-c", IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    assert (told.returncode, closed.returncode) == (0, 130)
    assert [json.loads(line) for line in idle.stdout] == [{"idle": True}, {"done": True, "exit_code": 0}]
    assert idle.wait(timeout=60) == 0
    idle.communicate()


def test_a_closed_standard_input_ends_it_at_once_also_at_work(project_folder):
    busy = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_folder)},
    )
    busy.stdin.write('{"id": 1, "command": "detect"}\n')
    busy.stdin.flush()
    assert json.loads(busy.stdout.readline()) == {"id": 1, "stage": "canal", "fraction": 0.5}

    busy.stdin.close()

    assert busy.wait(timeout=60) == 130
    busy.stdout.close()


def test_a_vertebra_that_a_reader_adds_is_measured_as_the_model_would_have(a_phantom):
    volume = VolumeSession(a_phantom.ct)
    report = volume.detect().report
    index = next(i for i, v in enumerate(report.vertebrae) if v.grade == 0 and v.heights_mm is not None)
    known = report.vertebrae[index]
    missing = replace(report, vertebrae=tuple(v for v in report.vertebrae if v is not known))
    clicked = tuple(value + 2.0 for value in known.center_ras)

    correction = edits.add_vertebra(Correction(), missing, clicked)
    shown = apply_correction(missing, correction)
    added = shown.vertebrae[index]
    body = volume.measure(report.centerline.points_ras, [added.extent_mm])[0]
    correction = edits.measure_added(correction, shown, index, body.extent_mm, body.landmarks_ras.tolist())
    measured = apply_correction(missing, correction).vertebrae[index]

    assert (added.label, added.morphometric_grade) == (known.label, None)
    assert measured.source == "reader"
    assert measured.heights_mm.anterior == pytest.approx(known.heights_mm.anterior, abs=1.0)
    assert measured.heights_mm.posterior == pytest.approx(known.heights_mm.posterior, abs=1.0)
    assert measured.extent_mm == pytest.approx(known.extent_mm, abs=1.5)
    assert measured.grade == 0
    with pytest.raises(ValueError, match="found by the model"):
        edits.measure_added(correction, shown, index - 1, body.extent_mm, body.landmarks_ras.tolist())


def test_rescoring_again_and_again_gives_what_the_first_time_gave(a_phantom):
    volume = VolumeSession(a_phantom.ct)
    points = np.array(a_phantom.reference.centerline.points_ras)
    bent = points + np.array([5.0, 0.0, 0.0]) * np.exp(-(((points[:, 2:] - points[:, 2].mean()) / 30.0) ** 2))

    first = volume.rescore(points).report
    volume.rescore(bent)
    again = volume.rescore(points).report

    assert again.vertebrae == first.vertebrae
    assert again.sequence == first.sequence
    assert "cord" not in first.software.weights_sha256


RUBBISH = [
    "[" * 100_000,
    "{",
    '"text"',
    '{"id": [1], "command": "status"}',
    '{"id": 7, "command": 9}',
    "NaN",
    "\x00" * 50,
]


def test_rubbish_is_answered_and_the_session_goes_on_and_still_ends_with_its_parent(project_folder_once):
    """Given lines that are no requests, deep ones and one of 9 MB, then each is answered and a closed input ends it."""
    client = start(project_folder_once)
    for line in [*RUBBISH, "9" * 9_000_000]:
        client.process.stdin.write(line + "\n")
    client.process.stdin.flush()

    answers = [json.loads(client.process.stdout.readline()) for _ in range(len(RUBBISH) + 1)]
    assert {answer["exit_code"] for answer in answers} == {2}
    assert all(answer["error"].startswith("The request could not be answered: ") for answer in answers)
    assert "32 levels deep" in answers[0]["error"]
    assert "longer than 8 MB" in answers[-1]["error"]
    assert client.ask(command="fly")["exit_code"] == 2
    client.process.stdin.close()
    assert client.process.wait(timeout=20) == 130
    client.process.stdout.close()
