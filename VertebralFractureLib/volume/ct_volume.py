"""``CTVolume``: Hounsfield units that are never separated from their geometry.

World coordinates are RAS millimeters. Arrays are ``[k, j, i]`` (slice, row, column); index points are ``(i, j, k)``,
the order that a 4x4 IJK-to-RAS matrix multiplies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.doubts import Doubt
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from VertebralFractureLib.volume.continuity import Continuity


@dataclass(frozen=True)
class CTVolume:
    """A CT volume.

    Attributes:
        hu: Hounsfield units ``[k, j, i]``, int16 or float32.
        ijk_to_ras: 4x4 matrix from voxel center indices ``(i, j, k, 1)`` to RAS mm.
        name: what the user calls it, made harmless for terminal, scene and page; no patient identifier.
        source: identifiers of where it came from (for example ``series_instance_uid``, ``modality``), and what a
            header said of the acquisition (``acquisition.ACQUISITION_FACTS``).
        doubts: what was noticed while it was read and checked.

    Raises:
        ValueError: when the array is not 3D, or the matrix is not 4x4, finite and invertible.
    """

    hu: NDArray[np.generic]
    ijk_to_ras: FloatArray
    name: str = "CT"
    source: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()

    def __post_init__(self) -> None:
        if self.hu.ndim != 3:
            raise ValueError(f"A CT volume has three axes [k, j, i]; this array has {self.hu.ndim}.")
        matrix = np.asarray(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix)) < 1e-9:
            raise ValueError("The IJK-to-RAS matrix must be 4x4, finite and invertible.")
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "name", one_line(self.name, NAME_LIMIT))

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        k, j, i = self.hu.shape
        return k, j, i

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighboring voxel centers along i, j and k."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def slice_thickness_mm(self) -> float | None:
        """Thickness of the slices, which lie along k, as the source says it (DICOM 0018,0050); None where unknown.

        Slices may overlap (5 mm thick, 2.5 mm apart), so this is not the distance between them.
        """
        try:
            thickness = float(self.source.get("slice_thickness_mm", ""))
        except ValueError:
            return None
        return thickness if 0.0 < thickness < np.inf else None

    @property
    def resolution_mm(self) -> tuple[float, float, float]:
        """What one voxel averages over along i, j and k: the spacing, or the slice thickness where that is larger."""
        i, j, k = self.spacing_mm
        return i, j, max(k, self.slice_thickness_mm or 0.0)

    @property
    def resolution_along_patient_mm(self) -> float:
        """``resolution_mm`` along the file's superior axis, however the volume is stored."""
        return self.along_patient_mm(self.resolution_mm)

    def along_patient_mm(self, voxel_mm: tuple[float, float, float], head_ras: FloatArray | None = None) -> float:
        """How far a voxel of this size along i, j and k reaches along the patient's superior axis.

        Args:
            head_ras: ``(3,)`` that axis as a unit vector of the file; None: the file's S.
        """
        voxel = self.ijk_to_ras[:3, :3] * (np.array(voxel_mm) / np.array(self.spacing_mm))
        head = np.array([0.0, 0.0, 1.0]) if head_ras is None else head_ras
        return float(1.0 / np.abs(np.linalg.inv(voxel) @ head).max())

    @cached_property
    def continuity(self) -> Continuity:
        """Where its planes do not follow each other; looked for once, because a large volume takes a second."""
        from VertebralFractureLib.volume.continuity import find_plane_faults

        return find_plane_faults(self)

    @cached_property
    def imaged(self) -> CTVolume:
        """The part without the planes at its ends that hold no image, at its place; slices share their voxels.

        What was filled up with air or zeros beyond the last slice was not scanned: a body that the last slice cuts is
        cut there.
        """
        parts = [part.indices(count)[:2] for part, count in zip(self.continuity.imaged, self.hu.shape, strict=True)]
        if parts == [(0, count) for count in self.hu.shape]:
            return self
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.ijk_to_ras_points(np.array([[low for low, _ in reversed(parts)]]))[0]
        hu = np.ascontiguousarray(self.hu[tuple(slice(*part) for part in parts)])
        return replace(self, hu=hu, ijk_to_ras=matrix)

    def contains_points(self, points_ras: FloatArray) -> BoolArray:
        """Whether each RAS mm point ``(n, 3)`` lies within the outer faces of what was imaged, ``(n,)``."""
        ijk = self.imaged.ras_to_ijk_points(points_ras)
        return np.asarray(np.all((ijk >= -0.5) & (ijk <= np.array(self.imaged.hu.shape[::-1]) - 0.5), axis=1))

    def ijk_to_ras_points(self, points_ijk: FloatArray) -> FloatArray:
        """Map ``(n, 3)`` index points ``(i, j, k)`` to RAS mm."""
        points = np.asarray(points_ijk, dtype=np.float64)
        return np.asarray(points @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3])

    def ras_to_ijk_points(self, points_ras: FloatArray) -> FloatArray:
        """Map ``(n, 3)`` RAS mm points to continuous indices ``(i, j, k)``."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        points = np.asarray(points_ras, dtype=np.float64)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])


ACQUISITION_FACTS = ("slice_thickness_mm", "kvp", "kernel", "contrast_agent")
"""Names in ``CTVolume.source``; ``contrast_agent`` is "yes" or "no", and missing where it is not known."""
_WITHOUT_CONTRAST = re.compile(r"(no|none|nein|ohne|without|non|n|0|w/?o|nativ\w*|unenhanced)\b.*", re.IGNORECASE)


def contrast_of_header(agent: str) -> str:
    """Whether contrast medium was given, by DICOM (0018,0010): "yes", "no", or "" where the header does not say it.

    An absent or empty agent does not mean that there was none: many scanners never fill it in.
    """
    if not agent.strip():
        return ""
    return "no" if _WITHOUT_CONTRAST.fullmatch(agent.strip()) else "yes"


SERIES_CHOICE = "series_choice"
"""Name in ``CTVolume.source``: why this series of a folder was taken, and what was not; holds descriptions."""


def with_acquisition(ct: CTVolume, facts: Mapping[str, object] | None) -> CTVolume:
    """The volume with facts that came with its file; names that are none of ``ACQUISITION_FACTS`` are dropped."""
    known = {name: str(value) for name, value in (facts or {}).items() if name in ACQUISITION_FACTS and value}
    return replace(ct, source={**ct.source, **known})
