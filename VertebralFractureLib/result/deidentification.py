"""A report that names nobody: what a user calls a volume and the identifiers of a series are left out unless asked for.

What stays ties the report to its input all the same: the SHA-256 of the voxels, which only its owner can compute.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.volume import CTVolume

NAMELESS = "CT"
VOXELS_SHA256 = "voxels_sha256"
_PERSONAL = ("series_instance_uid",)


def deidentify_report(report: SpineReport) -> SpineReport:
    """The report without the input's name and the series UID; facts of the acquisition stay."""
    kept = {key: value for key, value in report.input.identifiers.items() if key not in _PERSONAL}
    return replace(report, input=replace(report.input, name=NAMELESS, identifiers=kept))


def deidentify_volume(ct: CTVolume) -> CTVolume:
    """The volume without its name and without the series UID."""
    kept = {key: value for key, value in ct.source.items() if key not in _PERSONAL}
    return replace(ct, name=NAMELESS, source=kept)


def voxels_sha256(ct: CTVolume) -> str:
    """SHA-256 of the voxels in the order ``[k, j, i]``, little-endian, as int16 or float32."""
    voxels = np.ascontiguousarray(ct.hu)
    return hashlib.sha256(voxels.astype(voxels.dtype.newbyteorder("<"), copy=False).data).hexdigest()
