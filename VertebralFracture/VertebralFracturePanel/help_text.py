"""What the help section of the panel says."""

from __future__ import annotations

HELP = """
<p><b>1.</b> Choose a CT and press <i>Detect fractures</i>. Slicer stays usable meanwhile.</p>
<p><b>2.</b> Click a row, or a point in a view: all views go to that vertebra. With the table in use, the keys
<i>Up</i> and <i>Down</i> walk the suspected ones.</p>
<p><b>3.</b> Hover over a row for heights, uncertainty, and why it is shown as it is.</p>
<p><b>Probability</b> is the model's; <b>grade</b> comes from the measured heights. Where they disagree, look.
<b>Not evaluable</b> is never "normal".</p>
<p>Threshold and grading rule change how a result is read. The model's own answer stays stored.</p>
"""
