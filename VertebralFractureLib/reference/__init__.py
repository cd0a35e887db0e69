"""What is known to be true about a spine: read from an annotation, or drawn by the phantom."""

from VertebralFractureLib.reference.annotation_file import read_annotation, reference_to_json
from VertebralFractureLib.reference.reference_spine import (
    BodyBox,
    ReferenceSpine,
    ReferenceVertebra,
    fracture_summary,
)

__all__ = [
    "BodyBox",
    "ReferenceSpine",
    "ReferenceVertebra",
    "fracture_summary",
    "read_annotation",
    "reference_to_json",
]
