"""What one drag of a centerline point costs, counted: every reading, writing and showing of the report."""

from collections import Counter

import pytest
from curve_helpers import edit, grab, move, release, settled
from panel_helpers import until

from VertebralFractureLib.cpr.sampler import ReformatSampler
from VertebralFractureLib.export.scene import corrected_scene, show_report
from VertebralFracturePanel.process.resident_worker import ResidentWorker
from VertebralFracturePanel.read import results_view


@pytest.fixture
def counted(monkeypatch):
    """Count calls, which go on to what they called before."""
    counts = Counter()

    def count(owner, name, key, weigh=lambda *_: 1):
        do = getattr(owner, name)

        def counting(*arguments, **more):
            counts[key] += weigh(*arguments)
            return do(*arguments, **more)

        monkeypatch.setattr(owner, name, counting)

    count(corrected_scene, "corrected_to_json", "reports serialized")
    count(corrected_scene, "corrected_from_json", "reports parsed")
    count(show_report, "fill_vertebra_table", "vertebra table written")
    count(results_view, "showReport", "panel's table filled")
    count(ReformatSampler, "sample", "planes reformatted", lambda _self, planes, *_: len(planes))
    count(ResidentWorker, "ask", "requests")
    return counts


def test_one_drag_until_settled_serializes_the_report_once_and_shows_it_once(widget, a_spine_result, counted):
    live = widget.view.centerlineSection.live
    followed = []
    live.followed.connect(lambda: followed.append(1))
    edit(widget)
    until(settled(widget))
    counted.clear()

    grab(a_spine_result.centerline)
    for count in range(4):
        move(a_spine_result.centerline, 8, (1.0, 0.0, 0.0))
        until(lambda count=count: len(followed) > count)
    release(a_spine_result.centerline)
    until(settled(widget))
    until(lambda: live.isReady)

    print(dict(counted), a_spine_result.straightened.GetImageData().GetDimensions())
    assert counted["reports serialized"] == 1
    assert counted["reports parsed"] == 0, "the panel holds what it wrote"
    assert counted["vertebra table written"] == 1
    assert counted["panel's table filled"] == 1
    assert counted["requests"] == 2, "one for the way beside the point, one for the scores"
