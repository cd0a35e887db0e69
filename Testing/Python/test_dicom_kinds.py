"""DICOM of every kind that archives hold is read right, or refused by its true name."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_samples import (
    CT_CLASS,
    SECONDARY_CAPTURE_CLASS,
    Elements,
    ct_elements,
    enhanced_ct,
    place_elements,
    write_ct,
    write_elements,
)
from volume_samples import a_ct, largest_error_hu

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.result.words import describe_doubt
from VertebralFractureLib.volume import CTVolume, list_dicom_series, read_volume
from VertebralFractureLib.volume.dicom_elements import NoDataSet, read_top_level

SLICES = 24


def a_stored_ct(shape_kji: Sequence[int] = (SLICES, 20, 22)) -> CTVolume:
    """The ramp, whose values a CT of 12 bits can hold."""
    ct = a_ct(shape_kji)
    assert ct.hu.min() > -1024
    return ct


def described(
    image_type: str = "ORIGINAL\\PRIMARY\\AXIAL", description: str = "Thorax 1.0", number: str = "3"
) -> Elements:
    return {
        "0008|0008": ("CS", image_type),
        "0008|103e": ("LO", description),
        "0020|0011": ("IS", number),
    }


def write_uneven(folder: Path, slices: Sequence[int], changes: Callable[[int], Elements] = lambda _: {}) -> None:
    ct = a_stored_ct((40, 20, 22))
    for k in slices:
        write_elements(folder / f"CT{k}", {**ct_elements(ct, [k]), **place_elements(ct, k), **changes(k)})


@pytest.mark.parametrize("sop_class", [SECONDARY_CAPTURE_CLASS, "1.3.12.2.1107.5.9.1", "1.2.3.4.5"])
def test_images_of_another_or_an_unknown_class_are_read_as_the_ct_they_are(tmp_path: Path, sop_class: str) -> None:
    ct = a_stored_ct()
    for k in range(SLICES):
        elements = {**ct_elements(ct, [k]), **place_elements(ct, k), "0008|0016": ("UI", sop_class)}
        write_elements(tmp_path / f"CT{k}", elements)

    read = read_volume(tmp_path)

    assert read.shape_kji == ct.shape_kji
    assert largest_error_hu(read) <= 1


def test_a_ct_whose_modality_was_taken_out_with_the_names_is_still_one(tmp_path: Path) -> None:
    write_ct(tmp_path, a_stored_ct(), {"0008|0060": ("CS", "")})

    assert largest_error_hu(read_volume(tmp_path)) <= 1


def test_monochrome1_is_a_matter_of_display_and_changes_no_hounsfield_unit(tmp_path: Path) -> None:
    write_ct(tmp_path, a_stored_ct(), {"0028|0004": ("CS", "MONOCHROME1")})

    assert largest_error_hu(read_volume(tmp_path)) <= 1


def test_decimal_commas_are_read_as_points(tmp_path: Path) -> None:
    def with_commas(k: int) -> Elements:
        place = place_elements(a_stored_ct((40, 20, 22)), k)
        commas = {tag: (kind, str(value).replace(".", ",")) for tag, (kind, value) in place.items()}
        return {**commas, "0028|1052": ("DS", "-1024,0"), "0028|1053": ("DS", "1,0")}

    write_uneven(tmp_path, range(40), with_commas)

    read = read_volume(tmp_path)

    assert read.spacing_mm == pytest.approx((2.0, 2.5, 3.0))
    assert largest_error_hu(read) <= 1


def test_images_that_share_one_instance_uid_are_all_kept(tmp_path: Path) -> None:
    write_ct(tmp_path, a_stored_ct(), {"0008|0018": ("UI", "1.2.3.4")})

    assert read_volume(tmp_path).shape_kji == (SLICES, 20, 22)


def test_images_with_a_series_uid_each_are_put_together(tmp_path: Path) -> None:
    ct = a_stored_ct()
    for k in range(SLICES):
        write_elements(tmp_path / f"CT{k}", {**ct_elements(ct, [k], f"1.2.3.{k}"), **place_elements(ct, k)})

    read = read_volume(tmp_path)

    assert largest_error_hu(read) <= 1
    assert read.shape_kji == ct.shape_kji
    assert [series.uid_count for series in list_dicom_series(tmp_path)] == [SLICES]


@pytest.mark.parametrize("frames", [1, 6, SLICES])
def test_an_enhanced_ct_in_files_of_any_number_of_frames_is_one_volume(tmp_path: Path, frames: int) -> None:
    ct = a_stored_ct()
    for first in range(0, SLICES, frames):
        write_elements(tmp_path / f"E{first}", enhanced_ct(ct, range(first, first + frames)))

    read = read_volume(tmp_path)

    assert read.shape_kji == ct.shape_kji
    assert largest_error_hu(read) <= 1
    assert read.slice_thickness_mm == 3.0


def test_a_second_position_in_another_sequence_of_a_frame_does_not_count(tmp_path: Path) -> None:
    other: list[Elements] = [{"0020|930e": ("SQ", [{"0020|0032": ("DS", "1\\2\\3")}])}] * SLICES
    write_elements(tmp_path / "E", enhanced_ct(a_stored_ct(), range(SLICES), other))

    assert largest_error_hu(read_volume(tmp_path)) <= 1


@pytest.mark.parametrize(("tag", "kind", "word"), [("0020|9056", "SH", "stack"), ("0020|9128", "UL", "time point")])
def test_of_two_stacks_or_times_in_one_file_one_is_taken_and_both_can_be_chosen(
    tmp_path: Path, tag: str, kind: str, word: str
) -> None:
    first = a_stored_ct()
    second = replace(first, hu=np.roll(first.hu, 3, axis=2))
    both = replace(first, hu=np.concatenate([first.hu, second.hu]))
    frames: list[Elements] = [
        {"0020|9111": ("SQ", [{tag: (kind, str(n) if kind == "SH" else n)}])} for n in (1, 2) for _ in range(SLICES)
    ]
    elements = dict(enhanced_ct(first, [*range(SLICES)] * 2, frames))
    elements["7fe0|0010"] = ct_elements(both, range(2 * SLICES))["7fe0|0010"]
    write_elements(tmp_path / "E", elements)

    taken, chosen = read_volume(tmp_path), read_volume(tmp_path, series=f"{word} 2")

    assert largest_error_hu(taken) <= 1
    assert np.array_equal(chosen.hu, second.hu)
    assert f"{word} 1" in taken.source["series_choice"]
    assert f"Not taken (--series chooses): 3: 'Thorax 1.0', {word} 2" in taken.source["series_choice"]


def test_frames_of_different_rescale_slope_are_refused_by_name(tmp_path: Path) -> None:
    slopes: list[Elements] = [
        {"0028|9145": ("SQ", [{"0028|1052": ("DS", "-1024"), "0028|1053": ("DS", str(1 + k % 2))}])}
        for k in range(SLICES)
    ]
    write_elements(tmp_path / "E", enhanced_ct(a_stored_ct(), range(SLICES), slopes))

    with pytest.raises(UnreadableVolume, match="frames of different rescale slope"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (described("DERIVED\\SECONDARY\\AXIAL\\MIP", "Recon", "7"), "intensity projection"),
        (described("ORIGINAL\\PRIMARY\\AXIAL", "MIP 10/2", "7"), "by its description a maximum"),
        (described("DERIVED\\SECONDARY\\AXIAL\\IODINE", "Spectral", "7"), "a map"),
        ({**described("ORIGINAL\\PRIMARY\\AXIAL", "Spectral", "7"), "0028|1054": ("LO", "MGML")}, "a map"),
        (described("DERIVED\\SECONDARY\\AXIAL", "Iodine map [mg/ml]", "7"), "by its description no Hounsfield units"),
        (described("DERIVED\\PRIMARY\\AXIAL\\VMI", "Mono 40 keV", "7"), "virtual values of a dual-energy scan"),
        (described("DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE", "Axial avg", "7"), "computed from another series"),
        (described("ORIGINAL\\PRIMARY\\LOCALIZER", "Topogram", "7"), "localizer"),
    ],
    ids=["mip", "mip by name", "iodine", "iodine by unit", "iodine by name", "virtual", "average", "localizer"],
)
def test_an_original_scan_is_taken_before_a_longer_series_that_is_none(
    tmp_path: Path, other: Elements, what: str
) -> None:
    write_ct(tmp_path / "original", a_stored_ct())
    write_ct(tmp_path / "other", a_stored_ct((40, 20, 22)), other, uid="1.2.9.9")

    read = read_volume(tmp_path)

    assert read.shape_kji[0] == SLICES
    choice = read.source["series_choice"]
    assert "Series 3: 'Thorax 1.0', CT, 24 images (axial) is taken: an original scan" in choice
    assert what in choice.partition("Not taken")[2]


@pytest.mark.parametrize(
    "other",
    [
        described("DERIVED\\SECONDARY\\AXIAL\\MIP", "Recon", "7"),
        {**described("ORIGINAL\\PRIMARY\\AXIAL", "Spectral", "7"), "0028|1054": ("LO", "Z_EFF")},
    ],
)
def test_a_projection_or_a_map_is_refused_by_name_even_when_it_is_asked_for(tmp_path: Path, other: Elements) -> None:
    write_ct(tmp_path, a_stored_ct(), other)

    for series in (None, "7"):
        with pytest.raises(UnreadableVolume, match=r"(projection|map).*no vertebra can be measured"):
            read_volume(tmp_path, series=series)


def test_what_only_a_description_calls_a_projection_is_taken_when_it_is_asked_for(tmp_path: Path) -> None:
    write_ct(tmp_path, a_stored_ct(), described("ORIGINAL\\PRIMARY\\AXIAL", "MIP 10/2", "7"))

    asked = read_volume(tmp_path, series="7")

    assert largest_error_hu(asked) <= 1
    assert [doubt.kind for doubt in asked.doubts] == [DoubtKind.NO_ORIGINAL_SERIES]
    with pytest.raises(UnreadableVolume, match=r"by its description.*--series this one"):
        read_volume(tmp_path)


def test_contrast_medium_in_a_description_makes_no_map_of_a_scan(tmp_path: Path) -> None:
    write_ct(tmp_path, a_stored_ct(), described(description="Thorax with iodine contrast, perfusion protocol"))

    assert largest_error_hu(read_volume(tmp_path)) <= 1


def test_of_two_kernels_of_one_scan_the_softer_is_taken(tmp_path: Path) -> None:
    write_ct(tmp_path / "b", a_stored_ct(), {"0018|1210": ("SH", "B70f")}, uid="1.2.3.1")
    write_ct(tmp_path / "a", a_stored_ct(), {"0018|1210": ("SH", "B30f")}, uid="1.2.3.2")

    assert read_volume(tmp_path).source["kernel"] == "B30f"


def test_a_folder_with_two_patients_is_refused_without_their_names_until_one_series_is_chosen(tmp_path: Path) -> None:
    other: Elements = {"0010|0010": ("PN", "OTHER^NAME"), "0010|0020": ("LO", "OTHER-ID"), **described(number="8")}
    write_ct(tmp_path / "a", a_stored_ct())
    write_ct(tmp_path / "b", a_stored_ct((40, 20, 22)), other, uid="1.2.9.9")

    with pytest.raises(UnreadableVolume, match=r"CTs of 2 patients.*patient 1.*--series") as refused:
        read_volume(tmp_path)

    assert "NAME" not in str(refused.value)
    assert "-ID" not in str(refused.value)
    assert read_volume(tmp_path, series="8").shape_kji[0] == 40


@pytest.mark.parametrize(
    ("other", "patients"),
    [
        ({"0010|0010": ("PN", "Secret^Name^^Dr"), "0010|0020": ("LO", "SECRET-ID")}, 1),
        ({"0010|0010": ("PN", "SECRET^MARRIED"), "0010|0020": ("LO", "SECRET-ID")}, 1),
        ({"0010|0010": ("PN", ""), "0010|0020": ("LO", "")}, 1),
        ({"0010|0010": ("PN", "OTHER^PERSON"), "0010|0020": ("LO", "SECRET-ID")}, 2),
        ({"0010|0010": ("PN", "SECRET^NAME"), "0010|0020": ("LO", "NEW-ID")}, 2),
    ],
    ids=["title", "married", "anonymous copy", "shared ID", "same name, other ID"],
)
def test_one_patient_under_two_spellings_is_one(tmp_path: Path, other: Elements, patients: int) -> None:
    write_ct(tmp_path / "a", a_stored_ct())
    write_ct(tmp_path / "b", a_stored_ct((40, 20, 22)), other, uid="1.2.9.9")

    assert len({series.patient for series in list_dicom_series(tmp_path)}) == patients


@pytest.mark.parametrize(
    ("agent", "said"), [(None, None), ("", None), ("NONE", "no"), ("without", "no"), ("Ultravist 370", "yes")]
)
def test_contrast_medium_is_unknown_where_the_header_says_nothing(
    tmp_path: Path, agent: str | None, said: str | None
) -> None:
    write_ct(tmp_path, a_stored_ct(), {} if agent is None else {"0018|0010": ("LO", agent)})

    assert read_volume(tmp_path).source.get("contrast_agent") == said


def test_a_dicomdir_is_read_through_the_files_that_it_names(tmp_path: Path) -> None:
    ct = a_stored_ct()
    write_ct(tmp_path / "DICOM", ct)
    write_ct(tmp_path / "another", a_stored_ct((40, 20, 22)), {"0010|0020": ("LO", "OTHER")}, uid="1.2.9.9")
    records: list[Elements] = [{"0004|1500": ("CS", f"DICOM\\CT{k:04d}")} for k in range(SLICES)]
    dicomdir: Elements = {"0004|1220": ("SQ", [*records, {"0004|1500": ("CS", "..\\another\\CT0000")}])}
    write_elements(tmp_path / "DICOMDIR", dicomdir, "1.2.840.10008.1.3.10")

    assert np.array_equal(read_volume(tmp_path / "DICOMDIR").hu, ct.hu)


def test_a_dicomdir_without_its_disc_is_refused_by_its_true_name(tmp_path: Path) -> None:
    dicomdir: Elements = {"0004|1220": ("SQ", [{"0004|1500": ("CS", "DICOM\\CT0000")}])}
    write_elements(tmp_path / "DICOMDIR", dicomdir, "1.2.840.10008.1.3.10")

    with pytest.raises(UnreadableVolume, match=r"only the list of contents.*none of the 1 files"):
        read_volume(tmp_path / "DICOMDIR")


def test_images_without_a_position_are_refused_by_their_true_name(tmp_path: Path) -> None:
    for k in range(SLICES):
        write_elements(tmp_path / f"CT{k}", ct_elements(a_stored_ct(), [k]))

    with pytest.raises(UnreadableVolume, match="do not say where they lie"):
        read_volume(tmp_path)


def test_slices_whose_distance_changes_are_interpolated_and_count_as_thick_as_the_widest(tmp_path: Path) -> None:
    write_uneven(tmp_path, [*range(20), *range(20, 40, 2)])

    read = read_volume(tmp_path)

    assert read.spacing_mm == pytest.approx((2.0, 2.5, 3.0))
    assert read.shape_kji[0] == 39
    assert largest_error_hu(read) <= 1
    assert read.slice_thickness_mm == 6.0
    assert [describe_doubt(doubt) for doubt in read.doubts] == [
        "the distance between the slices changes, and the volume was interpolated (3.0 to 6.0 mm)"
    ]
    assert "interpolated_slices" not in read.source


def test_a_distance_that_changes_too_widely_is_refused_by_its_true_name(tmp_path: Path) -> None:
    write_uneven(tmp_path, [*range(20), *range(20, 40, 3)])

    with pytest.raises(UnreadableVolume, match=r"distance between the slices.*changes from 3\.0 to 9\.0 mm"):
        read_volume(tmp_path)


def test_a_step_to_the_side_is_refused_with_its_size(tmp_path: Path) -> None:
    def moved(k: int) -> Elements:
        ct = a_stored_ct((40, 20, 22))
        matrix = ct.ijk_to_ras.copy()
        matrix[0, 3] += 12.0 if k >= 25 else 0.0
        return place_elements(replace(ct, ijk_to_ras=matrix), k)

    write_uneven(tmp_path, range(40), moved)

    with pytest.raises(UnreadableVolume, match=r"Between the images 25 and 26.*moves 12\.0 mm to the side"):
        read_volume(tmp_path)


JPEG_OF_12_BITS = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoK"
    "CgoKBggLDAsKDAkKCgr/wQALDAAUABYBAREA/8QAFwABAQEBAAAAAAAAAAAAAAAACAkHDf/EACMQAAAFAwQDAQAAAAAAAAAAAAAB"
    "CCZDBwlRJCU0QmFx0RX/2gAIAQEAAD8A5cim2zLx2piEUATbZl47UxCHpQ2zLsxtSMofQbibbMvHamIRQBNtmXjtTEIelDbMuzG1"
    "Iyh9Da02pco3p23jsXwUATalyjenbeOxfA9KGpco3+MbbjLsXjwP/9k="
)
"""A slice of the ramp in JPEG process 4 (lossy, 12 bits), which GDCM's decoder comments on for every image."""


def test_lossy_images_of_12_bits_are_read_without_a_word_of_the_library(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ct = a_stored_ct()
    for k in range(SLICES):
        elements = {**ct_elements(ct, [k]), **place_elements(ct, k), "0028|2110": ("CS", "01")}
        write_elements(tmp_path / f"CT{k}", elements, CT_CLASS, jpeg=JPEG_OF_12_BITS)

    read = read_volume(tmp_path)

    assert np.abs(read.hu[11].astype(int) - ct.hu[11]).max() <= 4
    assert capfd.readouterr().err == ""
    assert [doubt.kind for doubt in read.doubts] == [DoubtKind.LOSSY_IMAGES]


def test_sequences_that_are_nested_too_deep_are_no_data_set() -> None:
    start = struct.pack("<HH", 0x0040, 0xA730) + b"SQ" + struct.pack("<HI", 0, 0xFFFFFFFF)
    deep = (start + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 3000

    with pytest.raises(NoDataSet):
        read_top_level(b"\0" * 128 + b"DICM" + deep)
