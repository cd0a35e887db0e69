"""All steps in a row: from a CT to a ``SpineReport``, with progress and cancellation."""

from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline.detection import Detection, detect, detect_in_file, reader_centerline

__all__ = ["Detection", "DetectionOptions", "detect", "detect_in_file", "reader_centerline"]
