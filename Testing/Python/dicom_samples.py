"""DICOM files written element by element, for what SimpleITK does not write: enhanced CT, DICOMDIR, odd classes.

Explicit VR little endian throughout (DICOM PS3.5). The Hounsfield units are those of ``volume_samples``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from volume_samples import LPS_TO_RAS

from VertebralFractureLib.volume import CTVolume

CT_CLASS, ENHANCED_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE_ENDIAN, _JPEG_PROCESS_4 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.51"
_LONG_TYPES = (b"OB", b"OW", b"SQ", b"UN", b"UT")

Value = str | int | bytes | Sequence[Any]
Elements = Mapping[str, tuple[str, Value]]
"""``{"0008|0060": ("CS", "CT")}``: type and value by tag; a sequence holds its items' elements."""


def encode(elements: Elements) -> bytes:
    """The elements in the order of their tags."""
    return b"".join(_element(tag, *elements[tag]) for tag in sorted(elements))


def write_elements(
    path: Path, elements: Elements, preamble_class: str | None = None, jpeg: bytes | None = None
) -> Path:
    """Write a Part 10 file.

    Args:
        preamble_class: the class that its first group names; None: the data set's.
        jpeg: its one image in JPEG process 4, instead of plain pixels.
    """
    elements = dict(elements)
    meta = encode(
        {
            "0002|0001": ("OB", b"\0\1"),
            "0002|0002": ("UI", preamble_class or str(elements.get("0008|0016", ("UI", CT_CLASS))[1])),
            "0002|0003": ("UI", str(elements.get("0008|0018", ("UI", "1.2.3"))[1])),
            "0002|0010": ("UI", _EXPLICIT_LITTLE_ENDIAN if jpeg is None else _JPEG_PROCESS_4),
        }
    )
    pixels = b""
    if jpeg is not None:
        del elements["7fe0|0010"]
        parts = (_item(b""), _item(jpeg + b"\0" * (len(jpeg) % 2)), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
        pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + b"".join(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = b"\0" * 128 + b"DICM" + encode({"0002|0000": ("UL", len(meta))})
    path.write_bytes(head + meta + encode(elements) + pixels)
    return path


def ct_elements(ct: CTVolume, slices: Sequence[int], uid: str = "1.2.826.0.1.1") -> dict[str, tuple[str, Value]]:
    """The elements of a CT image of one or more slices, without what says where they lie."""
    stored = (ct.hu[list(slices)].astype(np.int32) + 1024).astype("<u2")
    return {
        "0008|0008": ("CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        "0008|0016": ("UI", CT_CLASS),
        "0008|0018": ("UI", f"{uid}.{slices[0] + 1}"),
        "0008|0060": ("CS", "CT"),
        "0008|103e": ("LO", "Thorax 1.0"),
        "0010|0010": ("PN", "SECRET^NAME"),
        "0010|0020": ("LO", "SECRET-ID"),
        "0020|000d": ("UI", "1.2.826.0.1"),
        "0020|000e": ("UI", uid),
        "0020|0011": ("IS", "3"),
        "0028|0002": ("US", 1),
        "0028|0004": ("CS", "MONOCHROME2"),
        "0028|0008": ("IS", str(len(slices))),
        "0028|0010": ("US", stored.shape[1]),
        "0028|0011": ("US", stored.shape[2]),
        "0028|0100": ("US", 16),
        "0028|0101": ("US", 12),
        "0028|0102": ("US", 11),
        "0028|0103": ("US", 0),
        "0028|1052": ("DS", "-1024"),
        "0028|1053": ("DS", "1"),
        "7fe0|0010": ("OW", stored.tobytes()),
    }


def place_elements(ct: CTVolume, k: int) -> dict[str, tuple[str, Value]]:
    """Position, orientation and pixel spacing of one slice, as a plain CT image has them."""
    return {
        "0020|0032": ("DS", _decimals(LPS_TO_RAS @ (ct.ijk_to_ras[:3, 3] + k * ct.ijk_to_ras[:3, 2]))),
        "0020|0037": ("DS", _decimals((LPS_TO_RAS @ ct.ijk_to_ras[:3, :2] / ct.spacing_mm[:2]).T.ravel())),
        "0028|0030": ("DS", _decimals(ct.spacing_mm[1::-1])),
    }


def write_ct(folder: Path, ct: CTVolume, changes: Elements | None = None, uid: str = "1.2.826.0.1.1") -> list[Path]:
    """One plain CT file for each slice, with ``changes`` in every one."""
    return [
        write_elements(
            folder / f"CT{k:04d}", {**ct_elements(ct, [k], uid), **place_elements(ct, k), **(changes or {})}, CT_CLASS
        )
        for k in range(len(ct.hu))
    ]


def enhanced_ct(ct: CTVolume, slices: Sequence[int], frames: Sequence[Elements] | None = None) -> Elements:
    """The elements of an enhanced CT image; ``frames`` are more functional groups for each of its frames."""
    more = frames or [{}] * len(slices)
    per_frame = []
    for k, own in zip(slices, more, strict=True):
        place = place_elements(ct, k)
        groups: dict[str, tuple[str, Value]] = {"0020|9113": ("SQ", [{"0020|0032": place["0020|0032"]}])}
        per_frame.append({**groups, **own})
    place = place_elements(ct, slices[0])
    shared: Elements = {
        "0020|9116": ("SQ", [{"0020|0037": place["0020|0037"]}]),
        "0028|9110": ("SQ", [{"0018|0050": ("DS", "3"), "0028|0030": place["0028|0030"]}]),
        "0028|9145": (
            "SQ",
            [{"0028|1052": ("DS", "-1024"), "0028|1053": ("DS", "1"), "0028|1054": ("LO", "HU")}],
        ),
    }
    elements = {tag: value for tag, value in ct_elements(ct, slices).items() if not tag.startswith("0028|105")}
    return {
        **elements,
        "0008|0016": ("UI", ENHANCED_CT_CLASS),
        "5200|9229": ("SQ", [shared]),
        "5200|9230": ("SQ", per_frame),
    }


def _decimals(values: Sequence[float] | np.ndarray) -> str:
    return "\\".join(f"{value:.6g}" for value in values)


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _element(tag: str, kind: str, value: Value) -> bytes:
    group, number = (int(part, 16) for part in tag.split("|"))
    if isinstance(value, str):
        content = value.encode("latin-1")
        content += (b"\0" if kind == "UI" else b" ") * (len(content) % 2)
    elif isinstance(value, int):
        content = struct.pack({"US": "<H", "UL": "<I"}[kind], value)
    elif isinstance(value, bytes):
        content = value + b"\0" * (len(value) % 2)
    else:
        content = b"".join(_item(encode(item)) for item in value)
    code = kind.encode()
    length = struct.pack("<HI", 0, len(content)) if code in _LONG_TYPES else struct.pack("<H", len(content))
    return struct.pack("<HH", group, number) + code + length + content
