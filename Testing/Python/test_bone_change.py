"""Bodies that are denser or less dense than their neighbors: seen, told with their height, and never on sound bone."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from correction_samples import a_column

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cli.table import format_report_table
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.export.page import report_to_html
from VertebralFractureLib.export.table import report_to_csv
from VertebralFractureLib.fracture.density_weight import weigh_network
from VertebralFractureLib.fracture.vertebra_scores import join_witnesses
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.evaluation.density_copies import DensityCopy
from VertebralFractureLib.research.evaluation.evaluate_density import count_copy
from VertebralFractureLib.research.simulation.density_changes import DensityChange, change_density
from VertebralFractureLib.research.training.fracture_data import LabeledSpine, LabeledVertebra
from VertebralFractureLib.result import report_from_json, report_to_json
from VertebralFractureLib.result.words import DENSITY_WORDS, write_impression
from VertebralFractureLib.vertebrae.bone_change import find_density_findings, keeps_height
from VertebralFractureLib.vertebrae.bone_map import map_bone
from VertebralFractureLib.vertebrae.endplates import BodyShape
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.sequence_search import Span
from VertebralFractureLib.vertebrae.vertebra import DensityFinding
from VertebralFractureLib.volume import CTVolume

COUNT, HEIGHT, SPACING = 7, 22, 28
BODY_A, HALF_WIDTH = (8, 38), 20
CHANGED = 3


def a_box(number: int) -> BodyBox:
    low = 5 + SPACING * number
    return BodyBox(float(low), float(low + HEIGHT), *map(float, BODY_A), -float(HALF_WIDTH), float(HALF_WIDTH))


def a_spine(bone: float = 150.0, noise: float = 25.0, seed: int = 0) -> StraightenedVolume:
    """Seven bodies with their cortex in soft tissue, 1 mm voxels; their density rises gently towards the head."""
    length = COUNT * SPACING + 10
    line = Centerline(np.array([[0.0, 0.0, s] for s in np.linspace(0.0, length, 20)]), np.ones(20))
    hu = np.full((length, 70, 61), 45.0, dtype=np.float32)
    for number in range(COUNT):
        low = 5 + SPACING * number
        rows, depth, width = slice(low, low + HEIGHT + 1), slice(18, 49), slice(10, 51)
        hu[rows, depth, width] = bone + 250.0
        hu[low + 2 : low + HEIGHT - 1, 20:47, 12:49] = bone * (1.0 + 0.05 * number)
    hu += np.random.default_rng(seed).normal(0.0, noise, hu.shape).astype(np.float32)
    inside = np.ones(hu.shape, dtype=np.bool_)
    return StraightenedVolume(hu, inside, (-30.0, -10.0, 0.0), (1.0, 1.0, 1.0), lay_frame(line))


def findings_of(spine: StraightenedVolume) -> list[DensityFinding | None]:
    maps = []
    for number in range(COUNT):
        box = a_box(number)
        ends = [(a, s) for s in (box.s_sup, box.s_inf) for a in (34.0, 23.0, 12.0)]
        shape = BodyShape(box.a_post, box.a_ant, np.array(ends))
        span = Span(box.s_inf, box.s_sup, 0.9)
        maps.append(map_bone(spine, LocalizedBody(span, 23.0, shape, True, MidPlane.of_canal())))
    return find_density_findings(maps)


def changed(spine: StraightenedVolume, change: DensityChange, seed: int = 0) -> StraightenedVolume:
    rng = np.random.default_rng(seed)
    return replace(spine, hu=change_density(spine.hu, spine.origin_mm, a_box(CHANGED), change, rng, 2.0))


@pytest.mark.parametrize("bone", [30.0, 90.0, 150.0, 260.0])
def test_sound_bone_of_any_density_has_no_finding(bone: float) -> None:
    assert findings_of(a_spine(bone)) == [None] * COUNT


@pytest.mark.parametrize("change", [DensityChange.SCLEROTIC, DensityChange.PATCHY, DensityChange.BANDS])
@pytest.mark.parametrize("seed", range(3))
def test_a_body_that_becomes_dense_is_found_and_its_neighbors_are_not(change: DensityChange, seed: int) -> None:
    found = findings_of(changed(a_spine(), change, seed))

    assert found[CHANGED] is not None
    assert found[CHANGED].is_dense
    assert found[:CHANGED] + found[CHANGED + 1 :] == [None] * (COUNT - 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_destroyed_part_of_a_body_is_found(seed: int) -> None:
    found = findings_of(changed(a_spine(bone=200.0), DensityChange.LYTIC, seed))

    assert found[CHANGED] in (DensityFinding.LUCENT_FOCUS, DensityFinding.LUCENT_BODY)
    assert found[:CHANGED] + found[CHANGED + 1 :] == [None] * (COUNT - 1)


def test_where_every_body_is_as_dense_as_ivory_each_is_found_although_no_neighbor_differs() -> None:
    assert findings_of(a_spine(bone=480.0)) == [DensityFinding.DENSE_BODY] * COUNT


def test_a_change_of_density_changes_nothing_outside_its_body() -> None:
    spine = a_spine()

    difference = np.abs(changed(spine, DensityChange.SCLEROTIC).hu - spine.hu)

    box, s = a_box(CHANGED), spine.axis_mm("s")
    assert difference.max() > 100.0
    assert difference[(s < box.s_inf - 5.0) | (s > box.s_sup + 5.0)].max() == 0.0


@pytest.fixture
def a_report_with_a_dense_body():
    """L4, of grade 0 and with heights, is dense; the networks give it 0.81."""
    report = a_column()
    lowest, *others = report.vertebrae
    dense = replace(
        lowest,
        density_finding=DensityFinding.DENSE_BODY,
        height_loss_sd=0.03,
        member_probability={"one": 0.81, "two": 0.81},
        network_probability=0.81,
        fracture_probability=0.3,
    )
    return replace(report, vertebrae=(dense, *others))


def test_every_density_finding_has_words() -> None:
    assert set(DENSITY_WORDS) == set(DensityFinding)


def test_the_impression_says_the_density_the_height_and_what_the_networks_said(a_report_with_a_dense_body) -> None:
    said = write_impression(a_report_with_a_dense_body)

    sentence = "L4: denser than its neighbors, height kept; not counted as a fracture by morphometry; networks 0.81"
    assert said.endswith(sentence)
    assert "metasta" not in said


def test_table_terminal_page_and_json_hold_the_finding_on_its_row(a_report_with_a_dense_body) -> None:
    report = a_report_with_a_dense_body
    ct = CTVolume(np.zeros((40, 40, 40), np.int16), np.diag([4.0, 4.0, 8.0, 1.0]))

    row = next(line for line in format_report_table(report).splitlines() if line.startswith("L4 "))
    cells = list(csv.DictReader(io.StringIO(report_to_csv(report))))

    assert "denser than its neighbors, height kept" in row
    assert [cells[-1]["density_finding"], cells[0]["density_finding"]] == ["dense_body", ""]
    assert "L4: denser than its neighbors, height kept" in report_to_html(report, ct, None, b"")
    assert report_from_json(report_to_json(report)).vertebrae[0].density_finding == DensityFinding.DENSE_BODY


def test_compacted_bone_of_a_fracture_that_both_see_is_no_finding_of_its_own_but_a_hole_in_it_is(
    a_report_with_a_dense_body,
) -> None:
    dense, *others = a_report_with_a_dense_body.vertebrae
    graded = replace(dense, grade=2, morphometric_grade=2, height_loss=0.3, density_finding=DensityFinding.DENSE_BAND)

    compacted = write_impression(replace(a_report_with_a_dense_body, vertebrae=(graded, *others)))
    hole = replace(graded, density_finding=DensityFinding.LUCENT_FOCUS)
    destroyed = write_impression(replace(a_report_with_a_dense_body, vertebrae=(hole, *others)))

    assert "dense" not in compacted
    assert "L4: a hole in its bone, height lower" in destroyed


def test_a_loss_in_dense_bone_that_the_networks_do_not_see_is_told_as_one_that_may_be_none(
    a_report_with_a_dense_body,
) -> None:
    dense, *others = a_report_with_a_dense_body.vertebrae
    graded = replace(dense, grade=3, height_loss=0.47, density_finding=DensityFinding.DENSE_FOCUS)
    unseen = replace(graded, network_probability=0.01)

    said = write_impression(replace(a_report_with_a_dense_body, vertebrae=(unseen, *others)))

    assert "L4: a focus denser than in its neighbors, height lower, or read at the dense bone; networks 0.01" in said


def test_a_loss_that_may_be_one_is_no_kept_height_and_none_measured_is_none(a_report_with_a_dense_body) -> None:
    dense = a_report_with_a_dense_body.vertebrae[0]

    assert keeps_height(dense) is True
    assert keeps_height(replace(dense, height_loss=0.18)) is False
    assert keeps_height(replace(dense, grade=None, height_loss=None)) is None


def test_the_networks_count_less_in_a_dense_body_that_kept_its_height_and_a_sure_answer_still_calls_it(
    a_report_with_a_dense_body,
) -> None:
    dense = a_report_with_a_dense_body.vertebrae[0]

    counted = [weigh_network(dense, probability) for probability in (0.2, 0.81, 0.98)]

    assert counted[0] < counted[1] < 0.5 < counted[2] < 0.98
    asked = replace(dense, member_probability={"one": 0.81})
    joined, plain = (join_witnesses(one) for one in (asked, replace(asked, density_finding=None)))
    assert joined.fracture_probability < plain.fracture_probability
    assert joined.network_probability == plain.network_probability == pytest.approx(0.81), "what they said stays"


@pytest.mark.parametrize(
    "other",
    [
        {"density_finding": None},
        {"density_finding": DensityFinding.DENSE_BAND},
        {"density_finding": DensityFinding.LUCENT_FOCUS},
        {"height_loss": 0.19},
        {"height_loss": None, "grade": None},
    ],
)
def test_elsewhere_their_answer_stays_what_it_is(a_report_with_a_dense_body, other) -> None:
    vertebra = replace(a_report_with_a_dense_body.vertebrae[0], **other)

    assert weigh_network(vertebra, 0.81) == 0.81


def test_a_report_of_revision_6_which_looked_for_no_density_is_read(a_report_with_a_dense_body) -> None:
    content = json.loads(report_to_json(a_report_with_a_dense_body))
    content["revision"] = 6
    for vertebra in content["vertebrae"]:
        del vertebra["density_finding"]

    again = report_from_json(json.dumps(content))

    assert [vertebra.density_finding for vertebra in again.vertebrae] == [None] * len(again.vertebrae)


def test_counts_of_changed_copies_hold_what_is_said_of_each_body(a_report_with_a_dense_body) -> None:
    dense, above, *_ = a_report_with_a_dense_body.vertebrae
    truth = tuple(LabeledVertebra(*vertebra.extent_mm, 0, (None,) * 3) for vertebra in (dense, above))
    copy = DensityCopy("density", 1.0, LabeledSpine(a_spine(), truth), {0: DensityChange.SCLEROTIC})

    counts = count_copy(copy, [dense, replace(above, fracture_probability=None)])

    of_dense, of_other = "density, grade 0, sclerotic body", "density, grade 0, unchanged"
    assert counts == {
        f"{of_dense}: {said}": 1
        for said in ("bodies", "scored", "called by the networks", "height kept", "finding dense_body")
    } | {f"{of_other}: bodies": 1, f"{of_other}: not evaluable, None": 1}
