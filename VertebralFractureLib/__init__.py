"""Find vertebral compression fractures on CT: research use only, not a medical device.

The folders are the steps of the pipeline, in this order: ``volume``, ``canal``, ``cpr``, ``vertebrae``, ``fracture``,
``result``, ``export``. ``pipeline`` runs them; ``cli`` and ``session`` are the entry points. ``research`` imports the
product and is imported by no part of it. Nothing is imported here, so that importing the package costs nothing inside
Slicer.
"""

__version__ = "0.1.0"
RESEARCH_USE_ONLY = "Research use only. Not a medical device. Do not use for diagnosis or treatment."
