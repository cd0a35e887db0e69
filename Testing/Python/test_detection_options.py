"""What a person can choose about a detection does what it says, and what cannot be is refused in words."""

import io
import json
import logging
import re

import numpy as np
import pytest
import torch

from VertebralFractureLib import models
from VertebralFractureLib.canal import canal_evidence
from VertebralFractureLib.canal.network import CanalModel
from VertebralFractureLib.cli.main import main
from VertebralFractureLib.cli.progress_display import JsonLines
from VertebralFractureLib.cpr import grid as cpr_grid
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.cpr.frame import lay_frame
from VertebralFractureLib.cpr.sampler import ReformatSampler
from VertebralFractureLib.errors import DeviceMissing, NotEvaluable, OptionRefused
from VertebralFractureLib.export.page import report_to_html
from VertebralFractureLib.fracture import scoring
from VertebralFractureLib.fracture.members import choose_members
from VertebralFractureLib.fracture.pooling import pool_ensemble
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import CPU, CUDA, SINGLE_MODEL, DetectionOptions
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.progress import CancelToken
from VertebralFractureLib.session import Session, VolumeSession
from VertebralFractureLib.torch_arrays import to_array
from VertebralFractureLib.vertebrae import labeling, localization

BAD_CHOICES = [
    (["--device", "tpu"], {"device": "tpu"}, "no device 'tpu'; use one of automatic, cpu, cuda"),
    (["--members", "best"], {"members": ["best"]}, "no fracture network 'best'; use all, single, or some of 25d-"),
    (["--spacing", "0.1"], {"spacing_mm": 0.1}, r"0\.1.*0\.5 to 2"),
    (["--spacing", "nan"], {"spacing_mm": "fine"}, r"use .*0\.5 to 2"),
    (["--threads", "0"], {"threads": 0}, "threads cannot be '?0'?; use .*1 to 256"),
    (["--device", "cuda"], {"device": "cuda"}, "PyTorch sees no NVIDIA card"),
]


@pytest.fixture
def no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize(("arguments", "_request", "words"), BAD_CHOICES)
def test_the_command_refuses_what_cannot_be_before_it_reads_anything(arguments, _request, words, tmp_path, capsys):
    missing = tmp_path / "missing.nii.gz"

    code = main(["detect", str(missing), "--out", str(tmp_path / "out"), "--progress", "none", *arguments])

    assert code == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize(("_arguments", "request_", "words"), BAD_CHOICES)
def test_the_session_refuses_it_too(_arguments, request_, words, a_phantom_file, tmp_path):
    session, written = Session(), io.StringIO()
    requests = (
        {"command": "open", "input": str(a_phantom_file)},
        {"command": "detect", "output": str(tmp_path / "out"), "options": request_},
    )

    for request in requests:
        session.answer(request, CancelToken(), JsonLines(written))

    last = json.loads(written.getvalue().splitlines()[-1])
    assert re.search(words, last["error"])
    assert last["exit_code"] == 2
    assert not (tmp_path / "out").exists()


def test_a_request_keeps_every_choice():
    options = DetectionOptions(None, 3, CPU, ("25d-sagittal",), 0.8)

    assert DetectionOptions.from_request(json.loads(json.dumps(options.to_request()))) == options
    assert DetectionOptions.from_request({}) == DetectionOptions()


@pytest.fixture(scope="module")
def a_shown_scan(a_phantom):
    """One phantom judged along the same centerline by one network, shown at 1 mm and at 1.5 mm."""
    line = a_phantom.reference.centerline
    choices = (DetectionOptions(members=SINGLE_MODEL, spacing_mm=spacing) for spacing in (None, 1.5))
    return [detect(a_phantom.ct, centerline=line, options=options) for options in choices]


def test_the_spacing_changes_what_is_shown_and_no_score(a_shown_scan):
    usual, coarse = a_shown_scan

    assert usual.spine.spacing_mm == (1.0, 1.0, 1.0)
    assert coarse.spine.spacing_mm == (1.5, 1.5, 1.5)
    assert coarse.spine.hu.size < 0.4 * usual.spine.hu.size
    assert coarse.report.vertebrae == usual.report.vertebrae
    assert coarse.report.scan == usual.report.scan
    assert coarse.report.sequence == usual.report.sequence


def test_the_coarser_volume_shows_the_same_anatomy_in_the_same_place(a_shown_scan):
    usual, coarse = (detection.spine for detection in a_shown_scan)

    ends = [volume.axis_mm("s")[[0, -1]] for volume in (usual, coarse)]
    assert np.abs(ends[0] - ends[1]).max() <= 1.5
    every = coarse.hu[::2, ::2, ::2]
    same = usual.hu[::3, ::3, ::3][: every.shape[0], : every.shape[1], : every.shape[2]]
    assert np.corrcoef(every[: same.shape[0]].ravel(), same.ravel())[0, 1] > 0.98


def test_the_frame_is_laid_once_however_many_spacings_are_made_of_it(a_phantom, monkeypatch):
    laid, planes, sample = [], [], ReformatSampler.sample

    def counted_frame(*given):
        laid.append(given)
        return lay_frame(*given)

    def counted_planes(sampler, scan_planes, box, *more):
        planes.append(box.shape_kji[0])
        return sample(sampler, scan_planes, box, *more)

    monkeypatch.setattr(cpr_grid, "lay_frame", counted_frame)
    monkeypatch.setattr(ReformatSampler, "sample", counted_planes)
    options = DetectionOptions(members=SINGLE_MODEL, spacing_mm=1.5)

    shown = detect(a_phantom.ct, centerline=a_phantom.reference.centerline, options=options).spine

    assert len(laid) == 1
    assert len(planes) == 2, "the networks' planes and the shown ones, each once"
    assert planes[1] == len(shown.hu)


def test_one_network_alone_is_named_in_the_report_and_claims_no_second_opinion(a_shown_scan, a_phantom):
    report = a_shown_scan[0].report
    asked = [name for name in report.software.weights_sha256 if name.startswith("fracture-")]

    assert asked == [f"fracture-{choose_members(SINGLE_MODEL)[0]}"]
    assert not any(report.sequence.uncertainty)
    page = report_to_html(report, a_phantom.ct, a_shown_scan[0].spine, b"")
    assert asked[0] in page
    assert "the CPU" in page


def test_networks_can_be_named(a_phantom):
    spine = straighten(a_phantom.ct, a_phantom.reference.centerline)
    everyone = Models.load().fractures.score_positions(spine)
    first, *_, last = everyone.member_probability

    two = Models.load(DetectionOptions(members=(last, first))).fractures.score_positions(spine)

    assert list(two.member_probability) == [first, last]
    asked = np.stack([everyone.member_probability[name] for name in (first, last)])
    np.testing.assert_allclose(two.probability, pool_ensemble(asked))
    with pytest.raises(OptionRefused, match="no fracture network 'nobody'"):
        Models.load(DetectionOptions(members=("nobody",)))


def test_the_report_says_where_it_was_computed(a_shown_scan):
    assert a_shown_scan[0].report.software.device == CPU


def fail_on_the_card(monkeypatch, words):
    """A computer whose card is seen and fails when the first network is put on it; on the CPU, no step follows."""
    asked = []

    def put_on(_weights, device):
        asked.append(device)
        if device == CUDA:
            raise RuntimeError(words)
        raise NotEvaluable("enough seen")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(CanalModel, "from_weights", put_on)
    return asked


def test_a_card_that_fails_is_left_for_the_cpu_where_the_choice_was_automatic(a_phantom, monkeypatch, caplog):
    asked = fail_on_the_card(monkeypatch, "CUDA error: no kernel image is available\nand many more lines")

    with caplog.at_level(logging.WARNING):
        found = detect(a_phantom.ct, centerline=a_phantom.reference.centerline)

    assert asked == [CUDA, CPU]
    assert found.report.software.device == CPU
    assert "The graphics card failed (CUDA error: no kernel image is available)" in caplog.text


def test_a_card_that_fails_is_named_where_it_was_asked_for(a_phantom, monkeypatch):
    asked = fail_on_the_card(monkeypatch, "CUDA out of memory.")

    with pytest.raises(DeviceMissing, match=r"card failed \(CUDA out of memory.\); choose automatic or cpu"):
        detect(a_phantom.ct, centerline=a_phantom.reference.centerline, options=DetectionOptions(device=CUDA))

    assert asked == [CUDA]


def test_a_defect_of_the_program_is_not_blamed_on_the_card(a_phantom, monkeypatch):
    asked = fail_on_the_card(monkeypatch, "sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        detect(a_phantom.ct, centerline=a_phantom.reference.centerline)

    assert asked == [CUDA]


def test_every_network_reads_its_input_on_the_device_it_was_put_on(a_phantom, monkeypatch):
    """With torch's device "meta", which holds no numbers: an input that was left behind on the CPU is an error."""
    answers = []

    def without_numbers(tensor):
        if tensor.device.type != "meta":
            return to_array(tensor)
        answers.append(tensor.shape)
        return np.zeros(tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))

    for part in (scoring, localization, labeling):
        monkeypatch.setattr(part, "to_array", without_numbers)
    monkeypatch.setattr(models, "usable_device", str)
    elsewhere = Models.load().on("meta")
    spine = straighten(a_phantom.ct, a_phantom.reference.centerline)

    elsewhere.fractures.score_positions(spine)
    localization.compute_body_maps(spine, elsewhere.vertebrae.body)
    labeling.compute_level_opinion(spine, [(20.0, 40.0), (44.0, 66.0)], elsewhere.vertebrae.levels)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        canal_evidence(a_phantom.ct, elsewhere.canal)

    assert len(answers) == len(choose_members(["all"])) + 3


def test_a_correction_is_scored_with_the_same_choices(a_phantom):
    options = DetectionOptions(members=SINGLE_MODEL, spacing_mm=1.5)

    again = VolumeSession(a_phantom.ct).rescore(a_phantom.reference.centerline.points_ras, options)

    assert again.spine.spacing_mm == (1.5, 1.5, 1.5)
    assert sum(name.startswith("fracture-") for name in again.report.software.weights_sha256) == 1
