"""Choose the series of a folder that is judged, and say why and what was left out.

An original scan in Hounsfield units goes before what was computed from one, however many slices that has; a projection
or a map is never taken. Where a folder holds several patients, nothing is chosen for the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.thresholds import VOLUME_CHECKS
from VertebralFractureLib.volume.dicom_content import SeriesContent, describe_content, is_sharp_kernel
from VertebralFractureLib.volume.dicom_series import DicomSeries, rank_of_series

_SHOWN = 6


@dataclass(frozen=True)
class SeriesChoice:
    """The stack that is taken, and one or two sentences on why it is this one; "" where there was no other."""

    series: DicomSeries
    why: str


def select_series(stacks: Sequence[DicomSeries], wanted: str | None) -> SeriesChoice:
    """The stack that the user means, or the original CT with the most slices; of alike ones that of a soft kernel.

    Args:
        stacks: as ``list_dicom_series`` gives them.
        wanted: a UID, the beginning of one, a series number, a description, or part of one; None: the program chooses.

    Raises:
        UnreadableVolume: when no stack or more than one series fits, when several patients would have to be chosen
            from, or when what fits is not a CT volume in Hounsfield units.
    """
    fitting = list(stacks) if wanted is None else _fitting(stacks, wanted.strip())
    if wanted is not None:
        if not fitting:
            raise UnreadableVolume(f"No series fits '{wanted}'; choose one of: {_titles(stacks)}.")
        if len({(stack.uid, stack.patient) for stack in fitting}) > 1:
            raise UnreadableVolume(f"More than one series fits '{wanted}'; choose one of: {_titles(fitting)}.")
    volumes = [series for series in fitting if series.modality == "CT" and series.is_volume]
    if not volumes:
        raise _no_volume(fitting)
    patients = len({series.patient for series in volumes})
    if patients > 1:
        raise UnreadableVolume(
            f"The folder holds CTs of {patients} patients, or of one under different identifiers: {_titles(volumes)}; "
            "choose the folder of one patient, or one series with --series."
        )
    usable = [series for series in volumes if not series.content.is_refused]
    if wanted is None:
        usable = [series for series in usable if not series.content.only_if_asked]
    if not usable:
        raise _refused(min(volumes, key=rank_of_series), asked=wanted is not None)
    chosen = _best(usable)
    others = [series for series in stacks if series is not chosen]
    return SeriesChoice(chosen, _explain(chosen, others, fitting) if others else "")


def _best(usable: Sequence[DicomSeries]) -> DicomSeries:
    """The first by ``rank_of_series``; of those with nearly as many slices, one with a soft kernel."""
    first = min(usable, key=rank_of_series)
    enough = VOLUME_CHECKS.alike_slice_counts * first.slice_count
    alike = [series for series in usable if series.content is first.content and series.slice_count >= enough]
    return min(alike, key=lambda series: (is_sharp_kernel(series.kernel), rank_of_series(series)))


def _explain(chosen: DicomSeries, others: Sequence[DicomSeries], fitting: Sequence[DicomSeries]) -> str:
    if len(fitting) == 1:
        reason = "as asked"
    elif chosen.content is SeriesContent.ORIGINAL:
        reason = "an original scan in Hounsfield units, of these with the most slices"
    else:
        reason = f"{describe_content(chosen.content)}, for want of an original scan"
    return f"Series {chosen.title} is taken: {reason}. Not taken (--series chooses): {_titles(others)}."


def _no_volume(fitting: Sequence[DicomSeries]) -> UnreadableVolume:
    modalities = sorted({stack.modality or "unknown" for stack in fitting})
    if "CT" not in modalities:
        return UnreadableVolume(
            f"The modality is {' and '.join(modalities)}, not CT; choose the folder of a CT series."
        )
    unplaced = [series for series in fitting if series.modality == "CT" and series.kind == "unplaced"]
    if unplaced:
        return UnreadableVolume(
            f"The images of {_titles(unplaced)} do not say where they lie (no image position, orientation or pixel "
            "spacing), so nothing can be measured; export the series again with it."
        )
    return UnreadableVolume(f"There is no CT volume, only {_titles(fitting)}; choose the folder of the CT series.")


def _refused(series: DicomSeries, *, asked: bool) -> UnreadableVolume:
    again = " (or with --series this one, if that is not so)" if series.content.only_if_asked and not asked else ""
    return UnreadableVolume(
        f"Series {series.title} is {describe_content(series.content)}, on which no vertebra can be measured; "
        f"choose the original series of the scan{again}."
    )


def _fitting(stacks: Sequence[DicomSeries], wanted: str) -> list[DicomSeries]:
    """The narrowest reading of the user's word that fits anything."""
    low = wanted.casefold()
    for test in (
        lambda s: s.uid == wanted,
        lambda s: s.number == wanted,
        lambda s: s.description.casefold() == low,
        lambda s: s.part == low,
        lambda s: s.uid.startswith(wanted),
        lambda s: low in f"{s.description}, {s.part}".casefold(),
    ):
        found = [stack for stack in stacks if test(stack)]
        if found and wanted:
            return found
    return []


def _titles(stacks: Sequence[DicomSeries]) -> str:
    patients = len({stack.patient for stack in stacks})
    shown = [stack.title + (f" of patient {stack.patient + 1}" if patients > 1 else "") for stack in stacks[:_SHOWN]]
    return "; ".join(shown) + (f"; and {len(stacks) - _SHOWN} more" if len(stacks) > _SHOWN else "")
