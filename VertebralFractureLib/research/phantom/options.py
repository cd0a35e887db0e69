"""``PhantomOptions``: every choice behind a phantom that a reader of results may want to group by, as plain JSON data.

What is not listed here (small differences from level to level, texture, noise) follows from ``seed`` alone, so
the same options always give the same phantom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SHAPES = ("wedge", "biconcave", "crush")
GRADE_LOSS: dict[int, tuple[float, float]] = {1: (0.20, 0.25), 2: (0.25, 0.40), 3: (0.40, 0.62)}
"""Range of the height loss of each grade (Genant et al. 1993)."""


@dataclass(frozen=True)
class FractureOptions:
    """One fracture: level, shape, and the fraction of its own unfractured height that the worst of the three lost."""

    level: str
    shape: str
    height_loss: float

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"Unknown fracture shape '{self.shape}'; use one of {', '.join(SHAPES)}.")
        if not GRADE_LOSS[1][0] <= self.height_loss <= GRADE_LOSS[3][1]:
            raise ValueError(f"A fracture loses 20 to 62 % of height; {self.height_loss:.2f} was asked.")

    @property
    def grade(self) -> int:
        return next(grade for grade, (low, high) in GRADE_LOSS.items() if low <= self.height_loss <= high)


@dataclass(frozen=True)
class PhantomOptions:
    """Anatomy, disease and acquisition of one phantom.

    Attributes:
        seed: of everything that is not listed.
        female, age_years, size_factor, fat_mm: the patient; ``fat_mm`` is the fat layer under the skin.
        thoracic_count, lumbar_count: 12 and 5; 13 or 11, 6 or 4 for variants.
        kyphosis_deg, lordosis_deg, sacral_slope_deg, scoliosis_deg: curvature; scoliosis is signed.
        trabecular_hu, cortical_hu: at L1.
        degeneration: 0 to 1, of discs and of the bodies' rims.
        schmorl_nodes: how many.
        fractures: see ``FractureOptions``.
        contrast: "none", "arterial" or "portal".
        screw_levels, cement_levels: levels that hold metal screws or bone cement.
        field_of_view: "full" (the whole body) or "spine" (a box around the canal).
        caudal_level, cranial_level: the volume ends near the middle of these levels ...
        caudal_shift_mm, cranial_shift_mm: ... moved by this much (positive is cranial).
        spacing_mm: along i, j, k. slice_thickness_mm: width of the averaging over the slice.
        orientation: "axial" or "sagittal" storage. tilt_deg: of the grid about the patient's right and anterior axes.
        descending: slices run from cranial to caudal (axial storage only).
        blur_mm: standard deviation in the slice. sharpening: 0 (soft kernel) to 1 (lung or bone kernel).
        noise_hu: standard deviation. table: the patient lies on one.
        rib_thickness, rib_density: factors of the ribs' radius and of their HU.
        last_rib_mm: length of the last ribs, right and left; None leaves it to ``seed``.
        to_skull: the axis with its dens, the atlas and the base of the skull are drawn too.
    """

    seed: int
    female: bool = True
    age_years: float = 68.0
    size_factor: float = 1.12
    fat_mm: float = 18.0
    thoracic_count: int = 12
    lumbar_count: int = 5
    kyphosis_deg: float = 40.0
    lordosis_deg: float = 40.0
    sacral_slope_deg: float = 34.0
    scoliosis_deg: float = 0.0
    trabecular_hu: float = 130.0
    cortical_hu: float = 420.0
    degeneration: float = 0.2
    schmorl_nodes: int = 0
    fractures: tuple[FractureOptions, ...] = ()
    contrast: str = "none"
    screw_levels: tuple[str, ...] = ()
    cement_levels: tuple[str, ...] = ()
    field_of_view: str = "full"
    caudal_level: str = "S1"
    cranial_level: str = "T4"
    caudal_shift_mm: float = 0.0
    cranial_shift_mm: float = 0.0
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 2.0)
    slice_thickness_mm: float = 2.0
    orientation: str = "axial"
    tilt_deg: tuple[float, float] = (0.0, 0.0)
    descending: bool = False
    blur_mm: float = 0.6
    sharpening: float = 0.0
    noise_hu: float = 15.0
    table: bool = True
    rib_thickness: float = 1.0
    rib_density: float = 1.0
    last_rib_mm: tuple[float, float] | None = None
    to_skull: bool = False

    def __post_init__(self) -> None:
        if self.field_of_view not in ("full", "spine"):
            raise ValueError(f"Unknown field of view '{self.field_of_view}'; use 'full' or 'spine'.")
        if self.orientation not in ("axial", "sagittal"):
            raise ValueError(f"Unknown orientation '{self.orientation}'; use 'axial' or 'sagittal'.")
        if self.contrast not in ("none", "arterial", "portal"):
            raise ValueError(f"Unknown contrast '{self.contrast}'; use 'none', 'arterial' or 'portal'.")
        if min(self.spacing_mm) <= 0.0:
            raise ValueError(f"The spacing must be positive; {self.spacing_mm} was asked.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; ``from_dict`` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PhantomOptions:
        """The options that ``to_dict`` gave, also after a trip through JSON (where tuples become lists)."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        plain["fractures"] = tuple(FractureOptions(**item) for item in plain.get("fractures", ()))
        return cls(**plain)
