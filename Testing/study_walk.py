"""The guide's way from scans to a paper's figures, walked with small phantoms and tiny steps, and counted again.

``python Testing/study_walk.py OUT`` makes a tree as VerSe has it, with its awkward names and with mistakes in every
table, and gives the commands of ``docs/how-to/retrain.md`` on it: import, corrected grades, adapting, evaluation, a
second evaluation, detection. Every count and figure is then made again from the rows alone, by code that shares nothing
with the program. It ends with "All as counted." or with the first difference.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python")]

from study_samples import a_graded_spine, write_verse_scan  # noqa: E402

FIRST, SECOND, SAGITTAL, AXIAL, BROKEN = (
    "sub-verse401_split-verse253",
    "sub-verse401_split-verse254",
    "sub-verse011_dir-sag",
    "sub-gl003_dir-ax",
    "sub-verse012",
)
FRACTURES = {FIRST: "L1", AXIAL: "T12"}
MISTAKEN = (
    "verse_ID,T5_fx-g,T11_fx-g,T12_fx-g,L1_fx-g,L1_fx-s,L2_fx-g,L3_fx-g\n"
    "253,2,0,0,0,,0,0\n"  # L1 is a fracture, and T5 lies outside the image
    "254,,0,0,0,,0,0\n"
    "011,,0,0,0,,0,\n"
    "GL003,,0,2,0,,0,0\n"
    "12,,,,3,,0,\n"  # an image that cannot be read
    "999,0,0,0,1,,0,0\n"  # no such image
)
CORRECTED = MISTAKEN.replace("253,2,0,0,0,,0,0", "253,2,0,0,2,wedge,0,0")
PATIENTS = (
    "scan,patient,fold,sex,age\n"
    f"{FIRST},401,0,f,71\n{SECOND},401,0,f,72\n{SAGITTAL},011,1,m,64\n{AXIAL},gl003,2,f,80\n{BROKEN},012,1,m,55\n"
)
READER = f"scan,level,grade\n{FIRST},*,0\n{FIRST},L1,2\n{SECOND},*,0\n{SAGITTAL},*,0\n{AXIAL},*,0\n"
TINY = ["--members", "25d-sagittal", "--seeds", "1", "--phantoms", "0", "--validation-phantoms", "0", "--steps", "2"]
TINY += ["--series-per-scan", "2", "--variants", "1", "--patience", "1", "--validation-every", "1"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="an empty folder for everything")
    walk(parser.parse_args().out)
    print("All as counted.")
    return 0


def walk(out: Path) -> None:
    """The whole way; raises AssertionError where a count or a figure is not what the rows give."""
    tree, scans = out / "dataset-verse20", out / "scans"
    make_tree(tree)
    said = give(out, "import-dataset", *options(tree, "grades.csv"), "--out", "scans")
    expect(f"{FIRST} imported" in said and "NOT FOUND in it: T5 grade 2" in said, "the row of a level outside is told")
    expect("Rows without a scan (1): 999" in said, "the row without a scan is told")
    expect(f"{BROKEN} is LEFT OUT" in said and "Its 2 graded rows (1 fractured) have no scan" in said, "left out, told")
    expect("Patient 401: " in said, "both images of a subject are one patient")
    expect(grade_in(scans / f"{FIRST}.json", "L1") == 0, "the mistake in the table is in the annotation")

    said = give(out, "import-dataset", *options(tree, "corrected.csv"), "--out", "scans")
    expect(f"{FIRST} kept" in said and "1 have another grade than before" in said, "a corrected grade counts")
    expect(grade_in(scans / f"{FIRST}.json", "L1") == 2, "the corrected grade is in the annotation")

    command = ["train", "ensemble", "--data", "scans", "--cache", "runs/cache", "--out", "runs/adapted"]
    said = give(out, *command, "--start-from", "shipped", *TINY)
    expect("4 scans of 3 patients (by patients.csv)" in said, "the grouping is told before anything is trained")
    expect("Adapted against what it started from" in said, "adapting is compared with what it started from")
    weights = out / "runs" / "adapted"
    for fold, left_out in ((0, {FIRST, SECOND}), (1, {SAGITTAL}), (2, {AXIAL})):
        expect(not left_out & trained_on(weights / "folds" / f"fold{fold}"), f"fold {fold} saw none of its patients")

    evaluation = ["evaluate", "--data", "scans", "--fold-weights", "runs/adapted/folds", "--out", "measured"]
    give(out, *evaluation, "--against", "reader.csv")
    check_figures(out / "measured", scans)
    again = give(out, *evaluation, "--against", "reader.csv")
    expect(again.count("(kept from an earlier run)") == 4, "a second run keeps every answer")

    give(out, "detect", f"scans/{SAGITTAL}.nii.gz", "--out", "result", "--weights", "runs/adapted/weights")
    report = json.loads((out / "result" / "report.json").read_text(encoding="utf-8"))
    expect("fracture-25d-sagittal" in report["software"]["weights_sha256"], "detect takes the adapted folder")


def make_tree(tree: Path) -> None:
    """Images, masks, centroids and tables."""
    for seed, name in enumerate((FIRST, SECOND, SAGITTAL, AXIAL)):
        write_verse_scan(tree, name, a_graded_spine(seed, FRACTURES.get(name)))
    broken = tree / "rawdata" / BROKEN
    broken.mkdir(parents=True)
    (broken / f"{BROKEN}_ct.nii.gz").write_bytes(b"no image")
    for name, text in (("grades.csv", MISTAKEN), ("corrected.csv", CORRECTED), ("patients.csv", PATIENTS)):
        (tree / name).write_text(text, encoding="utf-8")
    (tree.parent / "reader.csv").write_text(READER, encoding="utf-8")


def options(tree: Path, grades: str) -> list[str]:
    return ["--from", tree.name, "--grades", f"{tree.name}/{grades}", "--patients", f"{tree.name}/patients.csv"]


def give(folder: Path, *words: str) -> str:
    """Give a command of the guide in ``folder`` and return what it said; the guide names every option of it."""
    guide = (ROOT / "docs" / "how-to" / "retrain.md").read_text(encoding="utf-8")
    for word in words:
        expect(not word.startswith("--") or word in guide, f"the guide names {word}")
    print("$ vertebral-fracture", " ".join(words), flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "VertebralFractureLib.cli", *words],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    expect(done.returncode == 0, f"{' '.join(words)}\n{said}")
    return said


def environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def check_figures(measured: Path, scans: Path) -> None:
    """Count the flow, the operating point, the area and the kappa again, from annotations and rows alone."""
    content = json.loads((measured / "performance.json").read_text(encoding="utf-8"))["Real scans"]
    rows, cases = read(measured / "vertebrae.csv"), read(measured / "cases.csv")
    true = {
        (path.stem, vertebra["level"]): vertebra["genant_visual"]
        for path in scans.glob("sub-*.json")
        for vertebra in json.loads(path.read_text(encoding="utf-8"))["vertebrae"]
        if vertebra["complete"] and vertebra["genant_visual"] is not None
    }
    true[(FIRST, "T5")] = 2
    true |= {(BROKEN, "L1"): 3, (BROKEN, "L2"): 0}
    found = {(row["scan"], row["level"]): int(row["truth_grade"]) for row in rows}
    expect(found == true, f"every graded vertebra has its row: {found} is not {true}")

    answered = [row for row in rows if row["fracture_probability"]]
    flow = content["study"]["flow"]
    expect((flow["scans"], flow["left_out"], flow["analyzed"]) == (5, 1, sum_of(cases, "answered")), f"flow: {flow}")
    expect((flow["graded"], flow["answered"]) == (len(rows), len(answered)), f"flow of vertebrae: {flow}")
    expect(flow["graded_fractured"] == sum(grade > 0 for grade in true.values()) == 4, "four known fractures")

    positive = [float(row["fracture_probability"]) for row in answered if int(row["truth_grade"]) > 0]
    negative = [float(row["fracture_probability"]) for row in answered if int(row["truth_grade"]) == 0]
    called = content["at_threshold"]["vertebrae"]
    broken = sum(grade > 0 for grade in true.values())
    expect(near(called["sensitivity"], share(positive)), "sensitivity of the answered")
    expect(near(called["specificity"], 1.0 - share(negative)), "specificity of the answered")
    expect(
        near(called["intention_to_diagnose"]["sensitivity"], sum(p >= 0.5 for p in positive) / broken),
        "sensitivity by intention to diagnose",
    )
    spared = sum(p < 0.5 for p in negative) / (len(true) - broken)
    expect(near(called["intention_to_diagnose"]["specificity"], spared), "specificity by intention to diagnose")
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    area = content["study"]["endpoints"]["vertebrae"]["any grade"]["auc"]["value"]
    expect(near(area, sum(pairs) / len(pairs)), "area of the vertebrae")
    brier = [(p - 1.0) ** 2 for p in positive] + [n**2 for n in negative]
    expect(
        near(content["study"]["endpoints"]["vertebrae"]["any grade"]["calibration"]["brier"]["value"], mean(brier)),
        "Brier score",
    )
    graded = [row for row in rows if row["grade"]]
    same = mean([float(row["grade"] == row["truth_grade"]) for row in graded])
    expect(near(content["study"]["grades"]["same"]["value"], same), "grades that are the same")
    differences = [
        float(row[f"found_{part}_mm"]) - float(row[f"true_{part}_mm"])
        for row in rows
        for part in ("anterior", "middle", "posterior")
        if row[f"found_{part}_mm"] and row[f"true_{part}_mm"]
    ]
    bias = content["study"]["heights_mm"]["all"]["bias_mm"]["value"]
    expect(abs(bias - mean(differences)) < 1e-3, "bias of the heights")
    named = [row for row in rows if row["found_level"]]
    right = sum(row["found_level"] == row["level"] for row in named)
    expect(content["study"]["levels"]["vertebrae"]["hits"] == right, "levels that are right")
    by_sex = {row["characteristic_sex"] for row in cases}
    expect(
        set(content["study"]["characteristics"]["sex"]) == by_sex - {""} | ({"unknown"} if "" in by_sex else set()),
        "sex",
    )
    text = (measured / "results.md").read_text(encoding="utf-8")
    expect("Centerline: not measured" in text, "the centerline is the program's own and is not measured")
    expect(content["study"]["against"]["name"] == "reader", "the reader is compared")
    expect(
        all((measured / "figures" / "real-scans" / f"flow.{kind}").is_file() for kind in ("pdf", "svg", "png")),
        "figures",
    )


def grade_in(annotation: Path, level: str) -> int | None:
    content = json.loads(annotation.read_text(encoding="utf-8"))
    return next(vertebra["genant_visual"] for vertebra in content["vertebrae"] if vertebra["level"] == level)


def trained_on(folder: Path) -> set[str]:
    """Scans that the fracture weights in a folder name in their own header (safetensors: length, then JSON)."""
    data = (folder / "VertebralFracture-fracture-25d-sagittal.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    training = json.loads(header["__metadata__"]["config"])["training"]
    return {*training["scans"], *training["started_from_scans"]}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def sum_of(cases: Sequence[dict[str, str]], outcome: str) -> int:
    return sum(row["outcome"] == outcome for row in cases)


def share(probabilities: Sequence[float]) -> float | None:
    return mean([float(p >= 0.5) for p in probabilities]) if probabilities else None


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def near(value: float | None, other: float | None) -> bool:
    return value == other or (value is not None and other is not None and abs(value - other) < 1e-4)


def expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise AssertionError(f"Not so: {what}")


if __name__ == "__main__":
    raise SystemExit(main())
