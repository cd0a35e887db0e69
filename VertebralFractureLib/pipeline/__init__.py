"""All steps in a row: from a CT to a ``SpineReport``, with progress and cancellation."""

from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline.detection import Detection, detect, detect_in_file
from VertebralFractureLib.pipeline.rescoring import Rescorer, reader_centerline

__all__ = ["Detection", "DetectionOptions", "Rescorer", "detect", "detect_in_file", "reader_centerline"]
