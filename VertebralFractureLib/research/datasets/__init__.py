"""What is known to be true about a spine: read from an annotation, or drawn by the phantom."""

from VertebralFractureLib.research.datasets.annotation_file import read_annotation, reference_to_json
from VertebralFractureLib.research.datasets.reference_spine import (
    BodyBox,
    ReferenceSpine,
    ReferenceVertebra,
    Source,
    fracture_summary,
)

__all__ = [
    "BodyBox",
    "ReferenceSpine",
    "ReferenceVertebra",
    "Source",
    "fracture_summary",
    "read_annotation",
    "reference_to_json",
]
