"""What a scanner's header says of an acquisition and a measurement needs to know; nothing that names a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from VertebralFractureLib.volume.ct_volume import CTVolume

ACQUISITION_FACTS = ("slice_thickness_mm", "kvp", "kernel", "contrast_agent")
"""Names in ``CTVolume.source``; ``contrast_agent`` is "yes" or "no"."""


def with_acquisition(ct: CTVolume, facts: Mapping[str, object] | None) -> CTVolume:
    """The volume with facts that came beside its file; names that are none of ``ACQUISITION_FACTS`` are dropped."""
    known = {name: str(value) for name, value in (facts or {}).items() if name in ACQUISITION_FACTS and value}
    return replace(ct, source={**ct.source, **known})
