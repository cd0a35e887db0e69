"""Where the frames of an enhanced (multi-frame) CT lie and what they show, which SimpleITK does not report.

GDCM gives frames in the order of the file and, when they are out of order or uneven, a spacing of 1 mm without a word.
Position, orientation, spacing and type of every frame are therefore read from the functional groups
(DICOM PS3.3 C.7.6.16.2 and C.8.15.3), and from nowhere else: other sequences hold positions of other things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from VertebralFractureLib.volume.dicom_elements import (
    Content,
    Element,
    NoDataSet,
    open_content,
    read_items,
    read_top_level,
    text_of,
)

_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_GROUPS: Mapping[int, Mapping[str, int]] = {
    0x00209113: {"position": 0x00200032},
    0x00209116: {"orientation": 0x00200037},
    0x00289110: {"spacing": 0x00280030, "slice_thickness_mm": 0x00180050},
    0x00289145: {"intercept": 0x00281052, "slope": 0x00281053, "rescale_type": 0x00281054},
    0x00189329: {"image_type": 0x00089007, "technique": 0x00089207},
    0x00209111: {"acquisition": 0x00209156, "stack": 0x00209056, "time": 0x00209128},
}
"""What is taken from which sequence of a functional group."""
_WHOLE_NUMBERS = ("acquisition", "time")


def read_frame_tags(path: Path) -> list[dict[str, str]] | None:
    """What the functional groups say of each frame, by the names of ``dicom_series``; None where there are none.

    Raises:
        OSError: when the file cannot be read.
    """
    with open_content(path) as content:
        try:
            elements, explicit = read_top_level(content)
            shared = read_items(content, elements.get(_SHARED_GROUPS), explicit)
            frames = read_items(content, elements.get(_FRAME_GROUPS), explicit)
            common = _tags(content, shared[0], explicit) if shared else {}
            return [{**common, **_tags(content, frame, explicit)} for frame in frames] or None
        except NoDataSet:
            return None


def why_frames_are_no_stack(groups: Sequence[Mapping[str, str]] | None, frames: int) -> str | None:
    """What keeps the frames of a file from being placed in space, as the end of a sentence; None where nothing does."""
    if groups is None or len(groups) != frames or any(not group.get("position") for group in groups):
        return "does not say where each of its frames lies"
    # GDCM applies one slope and intercept to the whole file.
    if len({(group.get("slope", ""), group.get("intercept", "")) for group in groups}) > 1:
        return "has frames of different rescale slope or intercept"
    return None


def _tags(content: Content, group: Mapping[int, Element], explicit: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for sequence, names in _GROUPS.items():
        for item in read_items(content, group.get(sequence), explicit)[:1]:
            for name, tag in names.items():
                if tag not in item:
                    continue
                element = item[tag]
                if name in _WHOLE_NUMBERS:
                    found[name] = str(int.from_bytes(content[element.start : element.end], "little"))
                else:
                    found[name] = text_of(content, item, tag)
    return found
