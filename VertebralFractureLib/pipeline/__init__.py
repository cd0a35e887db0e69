"""All steps in a row: from a CT to a ``SpineReport``, with progress and cancellation."""

from VertebralFractureLib.pipeline.detection import Detection, DetectionOptions, detect, detect_in_file

__all__ = ["Detection", "DetectionOptions", "detect", "detect_in_file"]
