"""The outline of a body: where the phantom's body ends, and after a reader's corrections."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from correction_samples import landmarks
from outline_samples import an_outline, an_outlined_report
from scipy import ndimage

from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.export.segmentation import fill_bodies
from VertebralFractureLib.result import (
    Correction,
    apply_correction,
    correction_from_json,
    correction_to_json,
    edits,
    report_from_json,
    report_to_json,
)
from VertebralFractureLib.result.correction import AddedVertebra
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.vertebrae.outline import follow_landmarks, widen_polygon
from VertebralFractureLib.vertebrae.vertebra import Vertebra

LEVEL = "L1"


@pytest.fixture(scope="module")
def a_report():
    return an_outlined_report()


def at(report, level: str) -> int:
    return [v.level for v in report.vertebrae].index(level)


def heights_at(outline, a: float) -> FloatArray:
    """S of the points whose A is that, the highest first."""
    return np.array(sorted((point[2] for point in outline if abs(point[1] - a) < 0.01), reverse=True))


@pytest.fixture(scope="module")
def found(a_phantom) -> list[Vertebra]:
    return localize_vertebrae(straighten(a_phantom.ct, a_phantom.reference.centerline))


@pytest.fixture(scope="module")
def distances_mm(a_phantom, found) -> dict[str, tuple[FloatArray, FloatArray]]:
    """By level, the distance from the true body's surface of the traced outline and of the six landmarks' lines."""
    result = {}
    for vertebra in found:
        if vertebra.outline_ras is not None and vertebra.landmarks_ras is not None and vertebra.level is not None:
            corners = [vertebra.landmarks_ras[index] for index in (0, 1, 2, 5, 4, 3)]
            body = a_phantom.body_labels == LEVEL_NUMBERS[vertebra.level]
            result[vertebra.level] = tuple(
                distances_from_surface(body, a_phantom.ct.ras_to_ijk_points(dense(points)), a_phantom.ct.spacing_mm)
                for points in (vertebra.outline_ras, corners)
            )
    return result


def distances_from_surface(body, points_ijk: FloatArray, spacing_mm) -> FloatArray:
    """In mm, from the surface of a label ``[k, j, i]``, which is drawn finer first."""
    window = tuple(slice(max(part.start - 4, 0), part.stop + 4) for part in ndimage.find_objects(body.astype(int))[0])
    fine = ndimage.zoom(body[window].astype(np.float32), 2, order=1, grid_mode=True, mode="nearest") > 0.5
    step = [0.5 * spacing for spacing in spacing_mm[::-1]]
    outside, inside = (ndimage.distance_transform_edt(part, sampling=step) for part in (~fine, fine))
    at = 2.0 * (points_ijk[:, ::-1] - [part.start for part in window]) + 0.5
    return np.abs(ndimage.map_coordinates(outside - inside, at.T, order=1, mode="nearest"))


def dense(points) -> FloatArray:
    """Twenty points along each side of a closed line."""
    starts = np.array(points)
    steps = np.linspace(0.0, 1.0, 20, endpoint=False)[:, None, None]
    return ((1.0 - steps) * starts + steps * np.roll(starts, -1, axis=0)).reshape(-1, 3)


def test_the_outline_lies_on_the_bodys_surface_and_much_nearer_than_lines_between_six_points(distances_mm) -> None:
    outlines, lines = (np.array([np.abs(one[which]).mean() for one in distances_mm.values()]) for which in (0, 1))

    assert len(distances_mm) >= 7
    assert outlines.max() < 1.2
    assert outlines.mean() < 0.9
    assert outlines.mean() < 0.6 * lines.mean()


def test_the_outline_of_a_broken_body_follows_its_lost_front(distances_mm) -> None:
    outline, _ = distances_mm["T12"]

    assert np.abs(outline).mean() < 1.0


def test_filled_bodies_are_the_phantoms_bodies(a_phantom, found) -> None:
    true = a_phantom.body_labels

    label_map = fill_bodies(replace(an_outlined_report(), vertebrae=tuple(found)), a_phantom.ct)

    filled = label_map.volume.hu
    dice = {
        segment.name: 2.0
        * ((filled == segment.number) & (true == segment.number)).sum()
        / ((filled == segment.number).sum() + (true == segment.number).sum())
        for segment in label_map.segments
    }
    assert len(dice) >= 7
    assert min(dice.values()) > 0.85
    assert np.mean(list(dice.values())) > 0.9


def test_an_endplate_that_is_dragged_takes_its_part_of_the_outline_along(a_report) -> None:
    index = at(a_report, LEVEL)
    s = a_report.vertebrae[index].center_ras[2]

    correction = edits.drag_landmark(Correction(), a_report, index, 1, (0.0, 27.0, s + 7.5))
    moved = apply_correction(a_report, correction).vertebrae[index].outline_ras

    assert heights_at(moved, 27.0) == pytest.approx([s + 12.0 - 4.0, s - 12.0])
    assert heights_at(moved, 43.0) == pytest.approx([s + 12.0, s - 12.0])
    assert heights_at(moved, 11.0) == pytest.approx([s + 12.0, s - 12.0])


def test_what_the_model_traced_stays_in_the_report_beside_the_corrected_outline(a_report) -> None:
    index = at(a_report, LEVEL)
    s = a_report.vertebrae[index].center_ras[2]

    shown = apply_correction(a_report, edits.drag_landmark(Correction(), a_report, index, 0, (0.0, 40.0, s + 8.0)))

    assert shown.vertebrae[index].model.outline_ras == a_report.vertebrae[index].outline_ras
    assert shown.vertebrae[index].outline_ras != a_report.vertebrae[index].outline_ras
    assert shown.vertebrae[index + 1].outline_ras == a_report.vertebrae[index + 1].outline_ras


def test_landmarks_that_stay_leave_the_outline_as_it_is() -> None:
    points = landmarks(50.0, 24.0, 23.0, 25.0)

    assert follow_landmarks(an_outline(50.0), points, points) == an_outline(50.0)


def test_a_split_vertebra_has_no_outline_until_it_was_measured_and_then_its_own(a_report) -> None:
    index = at(a_report, LEVEL)
    correction = edits.split_vertebra(Correction(), a_report, index)
    shown = apply_correction(a_report, correction)
    lower = shown.vertebrae[index]
    s = lower.center_ras[2]
    traced = tuple((r, a, s + 0.4 * (z - s)) for r, a, z in an_outline(s))

    correction = edits.measure_added(
        correction, shown, index, lower.extent_mm, landmarks(s, 9.0, 9.0, 9.0), outline_ras=traced
    )
    measured = apply_correction(a_report, correction).vertebrae[index].outline_ras

    assert lower.outline_ras is None
    # It is drawn through the landmarks that its heights are measured between.
    assert heights_at(measured, 27.0) == pytest.approx([s + 4.5, s - 4.5], abs=0.01)


def test_a_removed_vertebra_takes_its_outline_with_it(a_report) -> None:
    index = at(a_report, LEVEL)

    shown = apply_correction(a_report, edits.remove_vertebra(Correction(), a_report, index))

    assert a_report.vertebrae[index].outline_ras not in [v.outline_ras for v in shown.vertebrae]


def test_an_outline_survives_json_and_a_report_without_one_opens(a_report) -> None:
    text = report_to_json(a_report)
    older = json.loads(text)
    older["revision"] = 6
    for item in older["vertebrae"]:
        del item["outline_ras"]

    assert report_from_json(text).vertebrae == a_report.vertebrae
    assert [v.outline_ras for v in report_from_json(json.dumps(older)).vertebrae] == [None] * len(a_report.vertebrae)


def test_edits_of_an_older_version_have_added_vertebrae_without_an_outline() -> None:
    added = Correction(added=(AddedVertebra((0.0, 27.0, 50.0), 20.0),))
    content = json.loads(correction_to_json(added))
    del content["edits"]["added"][0]["outline_ras"]

    assert correction_from_json(json.dumps(content)) == added


def test_an_outline_of_two_points_is_refused(a_report) -> None:
    content = json.loads(report_to_json(a_report))
    content["vertebrae"][3]["outline_ras"] = content["vertebrae"][3]["outline_ras"][:2]

    with pytest.raises(RefusedContent, match="at least three"):
        report_from_json(json.dumps(content))


def test_the_line_around_a_body_leaves_its_endplates_to_be_seen() -> None:
    square = np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 20.0], [10.0, 20.0]])

    for corners in (square, square[::-1]):
        wider = widen_polygon(corners, 2.0)

        assert wider.min(axis=0) == pytest.approx([10.0 - 2.0**0.5, 10.0 - 2.0**0.5])
        assert wider.max(axis=0) == pytest.approx([30.0 + 2.0**0.5, 20.0 + 2.0**0.5])
