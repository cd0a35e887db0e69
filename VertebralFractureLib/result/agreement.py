"""How often reader and model agree, counted over the vertebrae that the reader assessed."""

from __future__ import annotations

from dataclasses import dataclass

from VertebralFractureLib.result.report import SpineReport, is_suspected
from VertebralFractureLib.vertebrae.vertebra import Source, Status, Vertebra


@dataclass(frozen=True)
class Agreement:
    """Counts, and the labels where the two differ, cranial first.

    Attributes:
        judged: vertebrae that the reader called fractured or not, and that have an answer of the model.
        agreed: of these, how many where both say the same.
        only_model, only_reader: labels that only one of them calls a fracture.
        grades_compared, grades_agreed: the same for the Genant grade, where both have one.
        not_evaluable: labels that the reader marked so.
        reader_fractures: labels that the reader calls fractured.
    """

    judged: int
    agreed: int
    only_model: tuple[str, ...]
    only_reader: tuple[str, ...]
    grades_compared: int
    grades_agreed: int
    not_evaluable: tuple[str, ...]
    reader_fractures: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For example "Reader and model agree on 11 of 12 vertebrae; only the model: T8"."""
        if not self.judged:
            return "The reader has judged no vertebra."
        words = f"Reader and model agree on {self.agreed} of {self.judged} vertebrae"
        for title, labels in (("only the model", self.only_model), ("only the reader", self.only_reader)):
            words += f"; {title}: {', '.join(labels)}" if labels else ""
        return words


def agreement(shown: SpineReport) -> Agreement:
    """Compare the reader's assessments of a corrected report with what the model said about the same vertebrae."""
    threshold = shown.scan.decision_threshold
    assessed = [
        vertebra
        for vertebra in reversed(shown.vertebrae)
        if vertebra.reader.assessment is not None and vertebra.source == Source.MODEL
    ]
    judged = [(v, _model_call(v, threshold)) for v in assessed if v.reader.fracture is not None]
    judged = [(v, call) for v, call in judged if call is not None]
    grades = [(v.reader.grade, (v.model or v).grade) for v in assessed if v.reader.fracture is not None]
    compared = [(mine, theirs) for mine, theirs in grades if mine is not None and theirs is not None]
    return Agreement(
        judged=len(judged),
        agreed=sum(v.reader.fracture == call for v, call in judged),
        only_model=tuple(v.label for v, call in judged if call and not v.reader.fracture),
        only_reader=tuple(v.label for v, call in judged if v.reader.fracture and not call),
        grades_compared=len(compared),
        grades_agreed=sum(mine == theirs for mine, theirs in compared),
        not_evaluable=tuple(v.label for v in assessed if v.reader.fracture is None),
        reader_fractures=tuple(v.label for v in reversed(shown.vertebrae) if v.reader.fracture),
    )


def _model_call(vertebra: Vertebra, threshold: float) -> bool | None:
    """Whether the model itself calls it a fracture; None where it gave no answer."""
    answer = vertebra.model or vertebra
    return is_suspected(answer, threshold) if answer.status == Status.SCORED else None
