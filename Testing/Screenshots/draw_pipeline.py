"""Draw the pipeline from the code: ``python Testing/Screenshots/draw_pipeline.py`` writes ``docs/images/pipeline.svg``.

The boxes are the step folders, in the order that their imports allow; their words are the folders' own docstrings, and
an arrow is drawn where a step imports from an earlier one. A test draws the figure again and compares.
"""

from __future__ import annotations

import ast
import io
import textwrap
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "VertebralFractureLib"
PICTURE = ROOT / "docs" / "images" / "pipeline.svg"
STEPS = ("volume", "canal", "cpr", "vertebrae", "orientation", "fracture", "result", "export")
_BOX_WIDTH, _BOX_HEIGHT, _GAP = 2.15, 1.95, 0.55


def imports_between_steps() -> dict[str, set[str]]:
    """For every step the steps that its files import, also inside functions."""
    found: dict[str, set[str]] = {step: set() for step in STEPS}
    for step in STEPS:
        for path in (LIBRARY / step).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("VertebralFractureLib."):
                    other = node.module.split(".")[1]
                    if other in STEPS and other != step:
                        found[step].add(other)
    return found


def steps_in_order() -> list[str]:
    """The steps, each after all that it imports from; where imports leave the order open, that of ``STEPS``."""
    sorter = TopologicalSorter(imports_between_steps())
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=STEPS.index)
        order += ready
        sorter.done(*ready)
    return order


def words_of(step: str) -> str:
    """What the step's folder says that it does: its docstring's first sentence, without its number."""
    docstring = ast.get_docstring(ast.parse((LIBRARY / step / "__init__.py").read_text(encoding="utf-8"))) or ""
    sentence = " ".join(docstring.split("\n\n")[0].split())
    return sentence.partition(": ")[2] if sentence.startswith("Step") else sentence


def pipeline_svg() -> str:
    """The figure as SVG text, the same for the same code."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    steps = steps_in_order()
    width = len(steps) * (_BOX_WIDTH + _GAP) - _GAP
    with mpl.rc_context({"svg.hashsalt": "pipeline", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, _BOX_HEIGHT + 0.8))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(-0.1, width + 0.1), ylim=(-0.75, _BOX_HEIGHT + 0.1))
        axes.set_axis_off()
        for index, step in enumerate(steps):
            left = index * (_BOX_WIDTH + _GAP)
            box = (left, 0.0), _BOX_WIDTH, _BOX_HEIGHT
            axes.add_patch(FancyBboxPatch(*box, boxstyle="round,pad=0.02", facecolor="#eef3f8", edgecolor="#33536f"))
            axes.text(left + 0.1, _BOX_HEIGHT - 0.12, step, va="top", fontsize=13, weight="bold", color="#16324a")
            words = "\n".join(textwrap.wrap(words_of(step), 27))
            axes.text(left + 0.1, _BOX_HEIGHT - 0.46, words, va="top", fontsize=8.5, color="#222222")
            if index:
                axes.annotate(
                    "",
                    xy=(left - 0.03, 0.5 * _BOX_HEIGHT),
                    xytext=(left - _GAP + 0.03, 0.5 * _BOX_HEIGHT),
                    arrowprops={"arrowstyle": "-|>", "color": "#33536f", "lw": 1.6},
                )
        axes.text(
            0.0,
            -0.35,
            "pipeline.py runs the steps from left to right; no step imports from a step to its right. "
            "cli and session.py are the entry points.",
            va="center",
            fontsize=10,
            color="#222222",
        )
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(pipeline_svg(), encoding="utf-8")
    print(f"Wrote {PICTURE.relative_to(ROOT)}: {' -> '.join(steps_in_order())}")
