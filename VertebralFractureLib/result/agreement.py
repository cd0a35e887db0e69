"""How often reader and model agree, counted over the vertebrae on which the reader gave a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from VertebralFractureLib.result.report import FROM_READER, ReportedVertebra, SpineReport, is_suspected


@dataclass(frozen=True)
class Agreement:
    """Counts, and the labels where the two differ, cranial first.

    Attributes:
        judged: vertebrae with a verdict that says fracture or no fracture, and with an answer of the model.
        agreed: of these, how many where both say the same.
        only_model, only_reader: labels that only one of them calls a fracture.
        grades_compared, grades_agreed: the same for the Genant grade, where both have one.
        not_evaluable: labels that the reader marked so.
    """

    judged: int
    agreed: int
    only_model: tuple[str, ...]
    only_reader: tuple[str, ...]
    grades_compared: int
    grades_agreed: int
    not_evaluable: tuple[str, ...]

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
    """Compare the reader's verdicts of a corrected report with what the model said about the same vertebrae."""
    threshold = shown.scan.decision_threshold
    verdicts = [v for v in reversed(shown.vertebrae) if v.reader.verdict is not None and v.origin != FROM_READER]
    judged = [(v, _model_says(v, threshold)) for v in verdicts if v.reader.fracture is not None]
    judged = [(v, told) for v, told in judged if told is not None]
    grades = [(v.reader.grade, _model_grade(v)) for v in verdicts if v.reader.fracture is not None]
    compared = [(mine, theirs) for mine, theirs in grades if mine is not None and theirs is not None]
    return Agreement(
        judged=len(judged),
        agreed=sum(v.reader.fracture == told for v, told in judged),
        only_model=tuple(v.label for v, told in judged if told and not v.reader.fracture),
        only_reader=tuple(v.label for v, told in judged if v.reader.fracture and not told),
        grades_compared=len(compared),
        grades_agreed=sum(mine == theirs for mine, theirs in compared),
        not_evaluable=tuple(v.label for v in verdicts if v.reader.fracture is None),
    )


def reader_fractures(shown: SpineReport) -> tuple[str, ...]:
    """Labels that the reader calls fractured, cranial first."""
    return tuple(v.label for v in reversed(shown.vertebrae) if v.reader.fracture)


def _model_says(vertebra: ReportedVertebra, threshold: float) -> bool | None:
    """The model's own call; None where it gave none."""
    told = vertebra.model or vertebra
    if told.status != "scored" or told.fracture_probability is None:
        return None
    return told.fracture_probability >= threshold if vertebra.model else is_suspected(vertebra, threshold)


def _model_grade(vertebra: ReportedVertebra) -> int | None:
    return vertebra.model.grade if vertebra.model else vertebra.grade
