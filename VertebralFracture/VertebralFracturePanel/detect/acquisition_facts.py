"""Tube voltage, contrast medium and kernel of a volume, from Slicer's DICOM database; the session gets voxels alone."""

from __future__ import annotations

from typing import Any

import slicer

from VertebralFractureLib.volume.ct_volume import contrast_of_header

INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"
"""Where Slicer keeps the instances that a volume was loaded from, separated by spaces."""
_TAGS = {"kvp": "0018,0060", "kernel": "0018,1210", "slice_thickness_mm": "0018,0050"}
_CONTRAST_TAG = "0018,0010"


def acquisitionFacts(volumeNode: Any, database: Any = None) -> dict[str, str]:
    """What the header of the volume's first instance says, by the names of ``ACQUISITION_FACTS``; empty if unknown.

    Args:
        database: a ``ctkDICOMDatabase``; None takes Slicer's, where there is one.
    """
    database = database or getattr(slicer, "dicomDatabase", None)
    instances = (volumeNode.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()
    if database is None or not instances:
        return {}
    found = {name: database.instanceValue(instances[0], tag) for name, tag in _TAGS.items()}
    facts = {name: value.strip() for name, value in found.items() if value}
    # A header without an agent does not say that there was none.
    if contrast := contrast_of_header(database.instanceValue(instances[0], _CONTRAST_TAG) or ""):
        facts["contrast_agent"] = contrast
    return facts
