"""De-identification (DICOM PS3.15): a volume's name and its series' identifiers are left out unless asked for.

What stays ties the report to its input all the same: the SHA-256 of the voxels, which only its owner can compute.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from VertebralFractureLib.result.apply_correction import CorrectedReport
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.ct_volume import SERIES_CHOICE

DEIDENTIFIED_NAME = "CT"
VOXELS_SHA256 = "voxels_sha256"
_PERSONAL = ("series_instance_uid", SERIES_CHOICE)


def deidentify_report(report: SpineReport) -> SpineReport:
    """The report without the input's name and the series UID; facts of the acquisition stay."""
    kept = {key: value for key, value in report.input.identifiers.items() if key not in _PERSONAL}
    return replace(report, input=replace(report.input, name=DEIDENTIFIED_NAME, identifiers=kept))


def deidentify_corrected(corrected: CorrectedReport) -> CorrectedReport:
    """``deidentify_report`` for every report in it; what the reader wrote stays as it is."""
    again = corrected.rescored
    return replace(
        corrected,
        detected=deidentify_report(corrected.detected),
        rescored=None if again is None else deidentify_report(again),
    )


def deidentify_volume(ct: CTVolume) -> CTVolume:
    """The volume without its name and without the series UID."""
    kept = {key: value for key, value in ct.source.items() if key not in _PERSONAL}
    return replace(ct, name=DEIDENTIFIED_NAME, source=kept)


def voxels_sha256(ct: CTVolume) -> str:
    """SHA-256 of the voxels in the order ``[k, j, i]``, little-endian, as int16 or float32."""
    voxels = np.ascontiguousarray(ct.hu)
    return hashlib.sha256(voxels.astype(voxels.dtype.newbyteorder("<"), copy=False).data).hexdigest()
