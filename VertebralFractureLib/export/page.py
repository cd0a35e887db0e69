"""``report.html``: the whole result in one file that opens without a network and prints on A4.

Pictures are inside as data; a content security policy forbids the browser to load anything from anywhere. Both answers
stand side by side, the model's and the reader's.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.page_pictures import draw_probability_plot, draw_vertebra
from VertebralFractureLib.result.deidentification import VOXELS_SHA256
from VertebralFractureLib.result.report import EVALUABLE, BoneDensity, SpineReport, is_suspected
from VertebralFractureLib.result.words import (
    ASSESSMENT_WORDS,
    describe_call,
    describe_expected,
    describe_grade,
    describe_index,
    list_densities,
    list_doubts,
    write_finding,
)
from VertebralFractureLib.vertebrae.vertebra import Source, Vertebra
from VertebralFractureLib.volume import CTVolume

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
@page { size: A4; margin: 14mm 12mm }
* { box-sizing: border-box }
body { font: 14px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1b1f24; background: #fff;
  max-width: 1000px; margin: 0 auto; padding: 20px }
h1 { font-size: 22px; margin: 0 }
h2 { font-size: 16px; margin: 22px 0 8px; break-after: avoid }
.disclaimer { border: 1px solid #b58900; background: #fff8e1; padding: 6px 10px; margin: 10px 0; font-weight: 600 }
.doubts { border-left: 4px solid #b58900; padding: 2px 10px; margin: 8px 0 }
.doubts ul { margin: 0; padding-left: 20px }
.impression { font-size: 17px; font-weight: 600; margin: 10px 0 4px }
.quiet { color: #57606a }
figure { margin: 0; break-inside: avoid }
figure img { width: 100%; display: block; border-radius: 4px; background: #000 }
figcaption { margin-top: 4px }
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 14px }
table { border-collapse: collapse; width: 100%; break-inside: avoid; font-size: 12.5px }
thead { display: table-header-group }
tr { break-inside: avoid }
th, td { text-align: left; padding: 3px 6px; border-bottom: 1px solid #d0d7de; vertical-align: top }
th { border-bottom: 2px solid #57606a }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr.suspected td { background: #fdecec; font-weight: 600 }
svg { width: 100%; height: auto; display: block; font-size: 11px }
svg .grid { stroke: #d0d7de } svg .threshold { stroke: #57606a; stroke-dasharray: 5 4 }
svg .band { fill: #8c959f; opacity: 0.25 } svg .curve { fill: none; stroke: #24292f; stroke-width: 1.6 }
svg circle { stroke: #24292f }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0; break-inside: avoid }
dt { color: #57606a } dd { margin: 0; overflow-wrap: anywhere }
@media print { body { padding: 0; max-width: none; font-size: 11.5px }
  .overview img { max-height: 215mm; width: auto; max-width: 100%; margin: 0 auto }
  table { font-size: 10.5px } * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""
_COLUMNS = (
    ("level", "word"),
    ("of the level", "number"),
    ("probability", "number"),
    ("grade", "word"),
    ("Ha / Hm / Hp mm", "number"),
    ("expected mm", "number"),
    ("loss", "number"),
    ("HU", "number"),
    ("model, where corrected", "word"),
    ("reader", "word"),
    ("status", "word"),
)
_RULE = (
    "Heights are distances between the endplates at the anterior edge, the middle and the posterior edge of the body. "
    "Each is compared with the expected one, which the rest of the spine and the norms of the levels predict; the "
    "largest loss alone would be grade 1 after Genant from 20 %, 2 from 25 %, 3 from 40 %. What follows ± is one "
    "standard deviation: of a height from slices and noise, of a loss from what is expected too. Probability and grade "
    "join this loss with the answers of the networks, and "
    "heights count the less the thicker the slices are; behind the grade stand the least and the highest one that are "
    "not improbable (one in ten lies below, one in ten above). Where networks and heights disagree, the row says so. "
    "HU are the mean of the body's inside where that is sound trabecular bone. A vertebra is called suspected from the "
    "threshold on."
)


def report_to_html(
    report: SpineReport, ct: CTVolume, spine: StraightenedVolume | None, overview_png: bytes, notes: Sequence[str] = ()
) -> str:
    """Return the page as text; ``overview_png`` is the overview, ``notes`` are sentences below the impression.

    It names the input as the report does: pass a report ``deidentify_report`` to name nobody.
    """
    evaluable = report.status == EVALUABLE
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>Vertebral fractures: {escape(report.input.name)}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{escape(report.input.name)}</h1><p class="disclaimer">{escape(RESEARCH_USE_ONLY)}</p>',
        f'<p class="impression">{escape(write_finding(report))}</p>',
        *(f"<p>{escape(line)}.</p>" for line in list_densities(report)),
        _doubts(report),
        f'<p class="quiet">{escape(_scores(report))}</p>' if evaluable else "",
        *(f"<p>{escape(note)}</p>" for note in notes),
        _figure(overview_png, "Sagittal and straightened view of the spine", "overview"),
    ]
    if evaluable:
        parts += [_close_ups(report, ct, spine), "<h2>Probability along the spine</h2>"]
        parts += [f"<figure>{draw_probability_plot(report)}</figure>", "<h2>Vertebrae</h2>", _table(report)]
        parts += [f"<h2>How it was measured</h2><p>{escape(_RULE)}</p>"]
    parts += ["<h2>What it was made from</h2>", _facts(report)]
    parts.append(f'<p class="disclaimer">{escape(RESEARCH_USE_ONLY)}</p></body></html>\n')
    return "\n".join(part for part in parts if part)


def _doubts(report: SpineReport) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in list_doubts(report))
    return f'<div class="doubts">In doubt:<ul>{items}</ul></div>' if items else ""


def _scores(report: SpineReport) -> str:
    probability = report.scan.fracture_probability
    score = "unknown" if probability is None else f"{probability:.2f}"
    return (
        f"Probability that the scan shows a fracture {score}; "
        f"spinal deformity index {describe_index(report.scan)}, T4 to L4; "
        f"a vertebra is suspected from {report.scan.decision_threshold:g} on."
    )


def _figure(picture: bytes, words: str, kind: str) -> str:
    data = base64.b64encode(picture).decode("ascii")
    return f'<figure class="{kind}"><img alt="{escape(words)}" src="data:image/png;base64,{data}"></figure>'


def _close_ups(report: SpineReport, ct: CTVolume, spine: StraightenedVolume | None) -> str:
    threshold = report.scan.decision_threshold
    shown = [v for v in reversed(report.vertebrae) if is_suspected(v, threshold) or v.reader.fracture]
    if spine is None or not shown:
        return ""
    cards = []
    for vertebra in shown:
        data = base64.b64encode(draw_vertebra(vertebra, ct, spine.frame, threshold)).decode("ascii")
        words = f"<strong>{escape(vertebra.label)}</strong>: {escape(_summary(vertebra))}"
        picture = f'<img alt="{escape(vertebra.label)} with its heights" src="data:image/png;base64,{data}">'
        cards.append(f"<figure>{picture}<figcaption>{words}</figcaption></figure>")
    return f'<h2>Suspected vertebrae</h2><div class="cards">{"".join(cards)}</div>'


def _summary(vertebra: Vertebra) -> str:
    words = "" if vertebra.fracture_probability is None else f"probability {vertebra.fracture_probability:.2f}"
    if vertebra.grade is not None:
        words += f", grade {describe_grade(vertebra)}" + (f" {vertebra.shape}" if vertebra.shape else "")
    if vertebra.network_probability is not None:
        words += f"; networks alone {vertebra.network_probability:.2f}"
    if vertebra.height_loss is not None:
        words += f"; heights alone grade {vertebra.morphometric_grade}, loss {vertebra.height_loss:.0%}"
        words += "" if vertebra.area_loss is None else f" (area {vertebra.area_loss:.0%})"
    reader = _reader(vertebra)
    return words.removeprefix(", ") + (f"; reader: {reader}" if reader else "")


def _table(report: SpineReport) -> str:
    """Columns in which no vertebra has anything to say are left out."""
    vertebrae, threshold = list(reversed(report.vertebrae)), report.scan.decision_threshold
    rows = [_cells(vertebra, threshold) for vertebra in vertebrae]
    kept = [column for column in range(len(_COLUMNS)) if any(row[column] for row in rows)]
    head = "".join(f"<th>{escape(_COLUMNS[column][0])}</th>" for column in kept)
    lines = []
    for vertebra, row in zip(vertebrae, rows, strict=True):
        cells = "".join(f'<td class="{_COLUMNS[column][1]}">{escape(row[column])}</td>' for column in kept)
        lines.append(f'<tr class="{"suspected" if is_suspected(vertebra, threshold) else "other"}">{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cells(vertebra: Vertebra, threshold: float) -> tuple[str, ...]:
    heights = vertebra.heights_mm
    probability = "–" if vertebra.fracture_probability is None else f"{vertebra.fracture_probability:.2f}"
    if vertebra.uncertainty is not None:
        probability += f" ± {vertebra.uncertainty:.2f}"
    grade = "–" if vertebra.grade is None else describe_grade(vertebra)
    measured = "–" if heights is None else f"{heights.anterior:.1f} / {heights.middle:.1f} / {heights.posterior:.1f}"
    if heights is not None and vertebra.height_sd_mm is not None:
        measured += f" ± {vertebra.height_sd_mm:.1f}"
    expected = "" if vertebra.expected_heights_mm is None else describe_expected(vertebra.expected_heights_mm)
    loss = "–" if vertebra.height_loss is None else f"{vertebra.height_loss:.0%}"
    if vertebra.height_loss is not None and vertebra.height_loss_sd is not None:
        loss += f" ± {vertebra.height_loss_sd:.0%}"
    hu = "" if vertebra.trabecular_hu is None else f"{vertebra.trabecular_hu:.0f}"
    status = describe_call(vertebra, threshold)
    shaped = f"{grade} {vertebra.shape or ''}".strip()
    named = "" if vertebra.level is None else f"{vertebra.level_probability:.2f}"
    found = (vertebra.label, named, probability, shaped, measured, expected, loss, hu)
    return *found, _model(vertebra), _reader(vertebra), status


def _model(vertebra: Vertebra) -> str:
    """What the model had said, where that is no longer what is shown."""
    if vertebra.source == Source.READER:
        return "not found"
    if vertebra.model is None:
        return ""
    model = vertebra.model
    words = model.label
    if model.fracture_probability is not None:
        words += f", {model.fracture_probability:.2f}"
    return words + ("" if model.grade is None else f", grade {model.grade}")


def _reader(vertebra: Vertebra) -> str:
    reader = vertebra.reader
    words = "" if reader.assessment is None else ASSESSMENT_WORDS[reader.assessment]
    if reader.grade is not None:
        words += f", grade {reader.grade}"
    if reader.comment:
        words += f": {reader.comment}"
    signed = ", ".join(part for part in (reader.who, reader.when) if part)
    return (words + (f" ({signed})" if signed else "")).removeprefix(", ")


def _bone(density: BoneDensity) -> str:
    words = f"{density.hu:.0f} HU at {density.level}"
    if density.hu_at_120_kv is not None and density.tube_voltage_kv is not None:
        words += f", {density.hu_at_120_kv:.0f} at 120 kV (scanned with {density.tube_voltage_kv:g} kV)"
    return f"{words}. {density.note}"


def _facts(report: SpineReport) -> str:
    volume = report.input
    size, spacing = " × ".join(map(str, reversed(volume.shape_kji))), " × ".join(f"{mm:g}" for mm in volume.spacing_mm)
    named = dict.fromkeys((volume.name, volume.modality))
    facts = [("Input", f"{', '.join(named)}, {size} voxels of {spacing} mm")]
    facts += [
        ("SHA-256 of the voxels" if key == VOXELS_SHA256 else key.replace("_", " "), value)
        for key, value in sorted(volume.identifiers.items())
        if key != "modality"
    ]
    if report.scan.bone_density is not None:
        facts.append(("Trabecular bone", _bone(report.scan.bone_density)))
    facts.append(("Software", f"VertebralFracture {report.software.version}"))
    if report.software.device is not None:
        facts.append(("Computed on", {"cpu": "the CPU", "cuda": "a graphics card (CUDA)"}[report.software.device]))
    facts += [(f"Weights {name}", sha256) for name, sha256 in report.software.weights_sha256.items()]
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts) + "</dl>"
