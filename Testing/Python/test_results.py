"""The published figures reproduce: a test phantom, drawn and judged again, gives what docs/results.json says."""

import json

import pytest

from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.research.evaluation.compare import compare
from VertebralFractureLib.research.phantom import make_phantom, random_options
from VertebralFractureLib.weights import load_weights, weights_names

SEED = 900_000


@pytest.fixture(scope="module")
def published(request):
    path = request.config.rootpath / "docs" / "results.json"
    return {record["identifier"]: record for record in json.loads(path.read_text(encoding="utf-8"))}


def test_the_published_phantom_figures_come_out_again(published):
    phantom = make_phantom(random_options(SEED))
    record = published[f"phantom-{SEED}"]["comparison"]

    comparison = compare(detect(phantom.ct).report, phantom.reference)

    assert comparison.centerline.mean_mm == pytest.approx(record["centerline"]["mean_mm"], abs=0.1)
    assert comparison.level_shift == record["level_shift"]
    for pair, known in zip(comparison.pairs, record["pairs"], strict=True):
        assert (pair.found is None) == (known["found"] is None)
        if pair.found is not None:
            assert pair.found.label == known["found"]["label"]
            assert pair.found.fracture_probability == pytest.approx(known["found"]["fracture_probability"], abs=0.05)


def test_every_reference_scan_has_a_row_also_where_detection_failed(published):
    scans = [name for name in published if not name.startswith("phantom-")]

    assert len(scans) == 25
    assert all(published[name]["exit_code"] in (0, 3) for name in scans)


def test_published_figures_were_made_with_the_weights_that_ship(published):
    shipped = {name: load_weights(name).sha256 for name in weights_names("")}

    assert published[f"phantom-{SEED}"]["weights_sha256"] == shipped
