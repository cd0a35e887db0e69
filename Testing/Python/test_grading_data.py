"""The grading rules on a table of readings and on a label map, both written here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.research.datasets.height_measurements import read_heights
from VertebralFractureLib.research.evaluation.evaluate_grading import agreement, mask_table
from VertebralFractureLib.volume import CTVolume, write_volume

HEADER = "scan,expert,level,ant_len_vox,mid_len_vox,post_len_vox"


def a_table(folder: Path, *rows: str) -> Path:
    path = folder / "readings.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_physiological_wedge_is_flagged_by_the_raw_rules_alone(tmp_path: Path) -> None:
    table = a_table(tmp_path, "one,expert1,T7,15.8,17.0,20.0", "one,expert2,T7,15.6,17.0,20.0", "two,expert1,C5,1,1,9")
    readings = read_heights(table)

    by_rule = {rule: agreement(readings, rule) for rule in ("level_norms", "min_over_max", "over_posterior")}

    assert {rule: result.flagged_patients for rule, result in by_rule.items()} == {
        "level_norms": 0,
        "min_over_max": 1,
        "over_posterior": 1,
    }
    assert by_rule["level_norms"].patients == 1, "a cervical vertebra is not graded"


def test_kappa_is_one_for_readers_who_agree_and_below_zero_for_readers_who_contradict(tmp_path: Path) -> None:
    broken, whole = "12.0,16.0,20.0", "19.0,18.0,20.0"
    same = [f"{n},{e},L1,{broken if n == 'one' else whole}" for n in ("one", "two") for e in ("expert1", "expert2")]
    opposed = [f"{n},{e},L1,{broken if n + e in ('oneA', 'twoB') else whole}" for n in ("one", "two") for e in "AB"]

    agree = agreement(read_heights(a_table(tmp_path, *same)), "level_norms")
    contradict = agreement(read_heights(a_table(tmp_path, *opposed)), "level_norms")

    assert agree.kappa == pytest.approx(1.0)
    assert contradict.kappa < 0.0
    assert agree.reader_pairs == contradict.reader_pairs == 2


def test_a_table_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("scan,expert,level\n1,2,L1\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"'other.csv' holds no height readings"):
        read_heights(path)


def a_label_map(folder: Path, anterior_mm: dict[int, float]) -> tuple[Path, Path, Path]:
    """Bodies 20 mm high behind and as given in front; stored from front to back and from above."""
    affine = np.array([[0.0, 0.0, -2.0, 30.0], [-1.0, 0.0, 0.0, 60.0], [0.0, -1.0, 0.0, 130.0], [0.0, 0.0, 0.0, 1.0]])
    labels = np.zeros((31, 150, 90), dtype=np.int16)
    k, j, i = np.indices(labels.shape)
    r, a, s = 30.0 - 2.0 * k, 60.0 - i, 130.0 - j
    centroids: list[dict[str, object]] = [{"direction": ["P", "I", "R"]}]
    for order, (number, anterior) in enumerate(anterior_mm.items()):
        base = 100.0 - 27.0 * order
        top = 20.0 + (anterior - 20.0) * np.clip((a - 3.0) / (26.5 - 3.0), 0.0, 1.1)
        body = (np.abs(r) <= 18.0) & (a >= 0.0) & (a <= 30.0) & (s >= base) & (s <= base + top)
        labels[body] = number
        centroids.append({"label": number, "X": 60.0 - 15.0, "Y": 130.0 - base - 9.0, "Z": 15.0})
    paths = folder / "mask.nii.gz", folder / "ctd.json", folder / "grades.json"
    write_volume(CTVolume(labels, affine), paths[0])
    paths[1].write_text(json.dumps(centroids), encoding="utf-8")
    paths[2].write_text(json.dumps({"genant": {"L1": 2}}), encoding="utf-8")
    return paths


def test_a_wedge_drawn_in_a_label_map_is_measured_and_graded(tmp_path: Path) -> None:
    files = a_label_map(tmp_path, {18: 20.0, 19: 20.0, 20: 13.0, 21: 20.0})

    rows = {row["level"]: row for row in mask_table(*files)}

    assert list(rows) == ["L2", "L1", "T12", "T11"]
    assert rows["T12"]["heights_mm"]["posterior"] == pytest.approx(21.0, abs=0.5), "21 voxels of 1 mm"
    assert rows["L1"]["heights_mm"]["anterior"] == pytest.approx(14.0, abs=1.2)
    assert rows["L1"]["known_grade"] == 2
    assert rows["L1"]["level_norms"]["shape"] == "wedge"
    assert rows["L1"]["level_norms"]["grade"] >= 1
    assert {rows[level]["level_norms"]["grade"] for level in ("L2", "T12", "T11")} == {0}
