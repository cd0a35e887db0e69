"""``Doubt``: what a step found that makes an answer less certain than it looks, said wherever the answer is shown.

A step that can go on says its doubt here; what it cannot judge at all is a ``Reason`` of a vertebra or an error. The
sentences are in ``result.words``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from VertebralFractureLib.types import Word, about


class DoubtKind(Word):
    """What is doubtful; of the whole scan (``Doubt``), or of one vertebra (``Vertebra.doubts``)."""

    FILES_LEFT_OUT = "files_left_out"
    """DICOM files that are damaged or do not fit lay beside those of the scan; they may belong to it."""
    CORRECTION_OF_OTHER_VOXELS = "correction_of_other_voxels"
    """A correction was made on another file, and nothing proves that it is of the same scan."""
    CURVE_OFF_CANAL = "curve_off_canal"
    """A given centerline runs where the network sees no canal."""
    EDIT_WITHOUT_VERTEBRA = "edit_without_vertebra"
    """An edit of a correction means no vertebra of this scan and was left out."""
    LEVELS_CONTRADICT = "levels_contradict"
    """The levels that a reader gave cannot stand together in one spine."""
    LEVELS_MOVED_FAR = "levels_moved_far"
    """A reader's levels are further from those of the model than a numbering variant explains."""
    HU_SCALE = "hu_scale"
    """Tissues do not have the Hounsfield units that a CT gives them."""
    NO_ORIGINAL_SERIES = "no_original_series"
    """The series holds virtual values of a dual-energy scan, or is a projection or a map by its description."""
    UNEVEN_SLICES = "uneven_slices"
    """The distance between the slices changes; the volume was interpolated."""
    LOSSY_IMAGES = "lossy_images"
    """The images were compressed with loss."""
    PATIENT_ROTATED = "patient_rotated"
    """The anatomy shows the patient in another position than the file says; the scan was judged in the true one."""
    POSITION_UNCONFIRMED = "position_unconfirmed"
    """The anatomy hardly shows where front and head are; the file was believed."""
    LEVEL_BY_COUNTING = "level_by_counting"
    """No landmark that counts levels is in view: the name is counted from the look of the vertebrae alone."""
    METAL = "metal"
    """Metal, cement or dense contrast medium lies in the vertebra or beside it."""
    UNUSUAL_HEIGHT = "unusual_height"
    """The body is far taller or far shorter than its neighbors allow, without the look of a fracture."""
    ENDPLATE_UNSURE = "endplate_unsure"
    """An endplate is hard to see: sclerosis, a fused disc, noise or thick slices leave open where it lies."""
    WALL_UNSURE = "wall_unsure"
    """The front or the back of a body is hard to see, and with it where along the endplates its heights stand."""
    WITNESSES_DISAGREE = "witnesses_disagree"
    """Networks and heights say the opposite of a vertebra."""
    VERTEBRA_MISSING = "vertebra_missing"
    """Between two vertebrae there is room for another one, which was not found."""
    SLICES_EMPTY = "slices_empty"
    """Slices between others hold no image."""
    SLICES_REPEATED = "slices_repeated"
    """Slices are copies of the one before."""
    SLICES_JUMP = "slices_jump"
    """Two neighboring slices differ more than those around them: slices may be missing, or the patient moved."""
    SLICES_DISORDER = "slices_disorder"
    """Slices would follow each other far better in another order."""
    SLICES_DOUBLED = "slices_doubled"
    """The volume was made finer by repeating every slice, so that it is coarser than it says."""
    SLICES_INTERPOLATED = "slices_interpolated"
    """Missing slices were filled from their neighbors while reading."""
    LEVEL_ACROSS_JUMP = "level_across_jump"
    """Slices may be missing between this vertebra and those that its name was counted with."""


@dataclass(frozen=True)
class Doubt:
    """One doubt about the scan as a whole.

    Attributes:
        kind: what is doubtful.
        values: what was measured, by name with its unit, for the sentence and for programs.
    """

    kind: DoubtKind = field(metadata=about("what is doubtful"))
    values: Mapping[str, float] = field(
        default_factory=dict, metadata=about("what was measured, by name with its unit", least=-1e9, most=1e9)
    )
