"""The columns of every table of vertebrae: one list, made from the fields of ``Vertebra``, for CSV and MRML alike.

A field of one value is one column of its name; a field of several has its parts listed here.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from operator import attrgetter

from VertebralFractureLib.vertebrae.vertebra import Vertebra


class ColumnKind(Enum):
    """What the cells of a column hold; whole numbers include yes (1) and no (0)."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"


@dataclass(frozen=True)
class Column:
    """One column: its name with the unit, its kind, and how its cell is read from a vertebra (None: unknown)."""

    name: str
    kind: ColumnKind
    cell: Callable[[Vertebra], object]


def _numbers(
    owner: str,
    names: tuple[str, ...],
    values: Callable[[Vertebra], tuple[float, ...]],
    kind: ColumnKind = ColumnKind.NUMBER,
) -> tuple[Column, ...]:
    """Columns for the parts of the field ``owner``; all are unknown where the field is None."""

    def read(index: int) -> Callable[[Vertebra], object]:
        return lambda vertebra: None if getattr(vertebra, owner) is None else values(vertebra)[index]

    return tuple(Column(name, kind, read(index)) for index, name in enumerate(names))


def _box_values(vertebra: Vertebra) -> tuple[float, ...]:
    box = vertebra.box
    return () if box is None else (*box.corner_ras, *(part for axis in box.axes_ras for part in axis), *box.size_mm)


_BOX_COLUMNS = tuple(
    f"box_{part}_{axis}" for part in ("corner", "right", "anterior", "superior", "size") for axis in ("r", "a", "s")
)
_PARTS: dict[str, tuple[Column, ...]] = {
    **dict.fromkeys(("member_probability", "member_probability_of_2", "member_probability_of_3"), ()),
    "grade_probability": _numbers(
        "grade_probability",
        ("probability_of_grade_0", "probability_of_grade_1", "probability_of_grade_2", "probability_of_grade_3"),
        attrgetter("grade_probability"),
    ),
    "grade_range": _numbers(
        "grade_range", ("grade_at_least", "grade_at_most"), attrgetter("grade_range"), ColumnKind.WHOLE
    ),
    "height_losses": _numbers(
        "height_losses",
        ("height_loss_anterior", "height_loss_middle", "height_loss_posterior"),
        attrgetter("height_losses.anterior", "height_losses.middle", "height_losses.posterior"),
    ),
    "landmarks_ras": (),
    "outline_ras": (),
    "doubts": (Column("doubts", ColumnKind.TEXT, lambda v: " ".join(v.doubts)),),
    "heights_mm": _numbers(
        "heights_mm",
        ("height_anterior_mm", "height_middle_mm", "height_posterior_mm"),
        attrgetter("heights_mm.anterior", "heights_mm.middle", "heights_mm.posterior"),
    ),
    "expected_heights_mm": _numbers(
        "expected_heights_mm",
        ("expected_anterior_mm", "expected_middle_mm", "expected_posterior_mm"),
        attrgetter("expected_heights_mm.anterior", "expected_heights_mm.middle", "expected_heights_mm.posterior"),
    ),
    "center_ras": _numbers("center_ras", ("center_r_mm", "center_a_mm", "center_s_mm"), attrgetter("center_ras")),
    "extent_mm": _numbers("extent_mm", ("lower_endplate_mm", "upper_endplate_mm"), attrgetter("extent_mm")),
    "box": _numbers("box", _BOX_COLUMNS, _box_values),
    "model": (
        Column("model_level", ColumnKind.TEXT, lambda v: None if v.models_answer is None else v.models_answer.level),
        Column("model_grade", ColumnKind.WHOLE, lambda v: None if v.models_answer is None else v.models_answer.grade),
    ),
    "reader": (
        Column("reader_assessment", ColumnKind.TEXT, attrgetter("reader.assessment")),
        Column("reader_fracture", ColumnKind.WHOLE, attrgetter("reader.fracture")),
        Column("reader_grade", ColumnKind.WHOLE, attrgetter("reader.grade")),
        Column("reader_comment", ColumnKind.TEXT, attrgetter("reader.comment")),
    ),
}
_KINDS = {float: ColumnKind.NUMBER, int: ColumnKind.WHOLE, bool: ColumnKind.WHOLE}


def _columns() -> tuple[Column, ...]:
    hints = typing.get_type_hints(Vertebra)
    found: list[Column] = []
    for one in fields(Vertebra):
        if one.name in _PARTS:
            found += _PARTS[one.name]
            continue
        hint = hints[one.name]
        if isinstance(hint, types.UnionType):
            hint = next(part for part in typing.get_args(hint) if part is not type(None))
        kind = ColumnKind.TEXT if issubclass(hint, str) else _KINDS[hint]
        found.append(Column(one.name, kind, attrgetter(one.name)))
    return tuple(found)


VERTEBRA_COLUMNS: tuple[Column, ...] = _columns()
"""All columns, in the order of the record's fields."""
