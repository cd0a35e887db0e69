"""What the values of a DICOM series are: a scan in Hounsfield units, something computed from one, or no such thing.

Heights cannot be measured on a projection, and a map of iodine or of the atomic number is no CT. Attributes decide
where they say it (image type, rescale type; DICOM PS3.3 C.8.2.1.1 and C.8.15.2); a description only raises a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum


class SeriesContent(Enum):
    """What a series shows, the best to be judged first."""

    ORIGINAL = "original"
    DERIVED = "derived"
    VIRTUAL = "virtual"
    SEEMS_PROJECTION = "seems projection"
    SEEMS_MAP = "seems map"
    PROJECTION = "projection"
    MAP = "map"

    @property
    def is_no_original(self) -> bool:
        """Whether it never makes one volume with original images."""
        return self not in (SeriesContent.ORIGINAL, SeriesContent.DERIVED)

    @property
    def is_refused(self) -> bool:
        """Whether its attributes say that nothing can be measured on it."""
        return self in (SeriesContent.PROJECTION, SeriesContent.MAP)

    @property
    def only_if_asked(self) -> bool:
        """Whether its description alone says so."""
        return self in (SeriesContent.SEEMS_PROJECTION, SeriesContent.SEEMS_MAP)


_WORDS = {
    SeriesContent.ORIGINAL: "an original scan",
    SeriesContent.DERIVED: "computed from another series",
    SeriesContent.VIRTUAL: "virtual values of a dual-energy scan",
    SeriesContent.SEEMS_PROJECTION: "by its description a maximum or minimum intensity projection",
    SeriesContent.SEEMS_MAP: "by its description no Hounsfield units but a map",
    SeriesContent.PROJECTION: "a maximum or minimum intensity projection",
    SeriesContent.MAP: "no Hounsfield units but a map, for example of iodine",
}


def describe_content(content: SeriesContent) -> str:
    """What a series shows, in words that follow "is"."""
    return _WORDS[content]


_PROJECTION_TYPE = re.compile(
    r"MIP(_.*)?|MAX_IP|MIN_IP|MINIP|MAXIP|MAXIMUM|MINIMUM|PROJECTION IMAGE|VOLUME_RENDER.*|VRT"
)
_MAP_TYPE = re.compile(
    r"MAT_SPECIFIC|MAT_FRACTIONAL|MAT_VALUE_BASED|EFF_ATOMIC_NUM|ELECTRON_DENSITY|IODINE.*|.*Z_?EFF.*|SUBTRACTION|DIVISION|"
    r".*PERFUSION.*|CBF|CBV|MTT|TTP|TMAX|.*_CALC_IODINE.*"
)
_VIRTUAL_TYPE = re.compile(r"VMI|VNC|MONO.*|.*_MONO.*|MAT_REMOVED|MAT_MODIFIED|.*VNC.*|VIRTUAL.*")
_PROJECTION_WORDS = re.compile(r"\b(t?mip|min ?ip|max ?ip|maximum intensity|minimum intensity|vrt|ssd)\b")
_MAP_WORDS = re.compile(
    r"mg/ml|mg/cm|\biodine[ _-]*(map|density|image|overlay|no|\()|\bz[ _-]*eff|effective z|\belectron[ _-]*density|"
    r"\(iodine\)|\bvnca\b|calcium[ _-]*suppress|\bperfusion map|\bblood (volume|flow)\b|\bpbv\b|\buric acid"
)
_DERIVED_MAP_WORDS = re.compile(
    r"\b(iodine|iod|jod|iodio|subtract\w*|perfusion|overlay|fusion|fused|cbf|cbv|mtt|ttp)\b"
)
_VIRTUAL_WORDS = re.compile(r"\bmono([ _-]?e|energetic|chromatic|\+)?[ _]*\d+ *kev|\b\d{2,3} *kev\b|\bvnc\b|virtual")
_HOUNSFIELD = ("", "HU", "US", "NORMALIZED", "HOUNSFIELD", "HOUNSFIELD UNITS")
"""Rescale types of a CT; US is "unspecified" (DICOM PS3.3 C.11.1.1.2)."""


def judge_content(tags: Mapping[str, str]) -> SeriesContent:
    """What the values of an image are, by its ``image_type``, ``rescale_type``, ``technique`` and ``description``."""
    types = [part.strip().upper() for part in f"{tags['image_type']}\\{tags['technique']}".split("\\") if part.strip()]
    words = tags["description"].casefold().replace("_", " ")
    unit = tags["rescale_type"].upper()
    derived = bool(types) and types[0] == "DERIVED"
    if any(_PROJECTION_TYPE.fullmatch(part) for part in types):
        return SeriesContent.PROJECTION
    if any(_MAP_TYPE.fullmatch(part) for part in types) or unit not in (*_HOUNSFIELD, "HU_MOD"):
        return SeriesContent.MAP
    if _PROJECTION_WORDS.search(words):
        return SeriesContent.SEEMS_PROJECTION
    if _MAP_WORDS.search(words) or (derived and _DERIVED_MAP_WORDS.search(words)):
        return SeriesContent.SEEMS_MAP
    if any(_VIRTUAL_TYPE.fullmatch(part) for part in types) or unit == "HU_MOD" or _VIRTUAL_WORDS.search(words):
        return SeriesContent.VIRTUAL
    # An image that was compressed with loss is called derived, too (DICOM PS3.3 C.7.6.1.1.5).
    compressed = tags["lossy"] == "01" and "SECONDARY" not in types and len(types) <= 3
    return SeriesContent.DERIVED if derived and not compressed else SeriesContent.ORIGINAL


_SHARP_NAMES = ("LUNG", "BONE", "EDGE", "SHARP", "HRCT", "ULTRA")
_NUMBERED_KERNEL = re.compile(r"[A-Z]{1,3}(\d{2})")


def is_sharp_kernel(kernel: str) -> bool:
    """Whether a convolution kernel is made for the edges of lung or bone, and shows trabecular bone as noise.

    Siemens and Canon number their kernels (B70f, Br64, FC52); others name them.
    """
    name = kernel.upper()
    if any(word in name for word in _SHARP_NAMES):
        return True
    number = _NUMBERED_KERNEL.match(name)
    return number is not None and int(number.group(1)) >= (50 if name.startswith("FC") else 60)
