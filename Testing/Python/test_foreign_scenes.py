"""A scene from elsewhere writes nothing outside, opens no file of the user, and unpacks to no more than fits."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume import CTVolume, read_volume, write_volume

pytest.importorskip("slicer", reason="the scene needs slicer-core (the 'scene' group)")

from VertebralFractureLib.export.scene import load_mrb

SCENE = '<MRML><VolumeArchetypeStorage id="s1" {attribute}="{name}"/><Volume id="v1" references="storage:s1;"/></MRML>'


def write_bundle(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../../planted.txt", "scene/../../planted.txt", "/planted.txt", "C:\\planted.txt"])
def test_a_bundle_whose_members_lead_out_is_not_unpacked(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path / "scene.mrb", {"s/s.mrml": b"<MRML></MRML>", name: b"planted"})

    for read in (load_mrb, read_volume):
        with pytest.raises(UnreadableVolume, match="outside its own folder"):
            read(bundle)
    assert not list(tmp_path.rglob("planted*"))


def test_a_bundle_with_a_link_or_a_member_twice_is_not_unpacked(tmp_path: Path) -> None:
    # Given a link to a folder of the user, through which a further member would be written; and two scenes of one name
    outside = tmp_path / "outside"
    outside.mkdir()
    link = zipfile.ZipInfo("s/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.mrb", "w") as bundle:
        bundle.writestr("s/s.mrml", "<MRML></MRML>")
        bundle.writestr(link, str(outside))
        bundle.writestr("s/link/planted.txt", "planted")
    with zipfile.ZipFile(tmp_path / "twice.mrb", "w") as bundle:
        bundle.writestr("s/s.mrml", "<MRML></MRML>")
        with pytest.warns(UserWarning, match="Duplicate"):
            bundle.writestr("s/s.mrml", "<MRML></MRML>")

    for name in ("link.mrb", "twice.mrb"):
        for read in (load_mrb, read_volume):
            with pytest.raises(UnreadableVolume, match=name):
                read(tmp_path / name)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("attribute", ["fileName", "fileListMember0", "uri"])
@pytest.mark.parametrize("name", ["{secret}", "%2e%2e/%2e%2e/secret.nrrd", "../secret.nrrd", "file://{secret}"])
def test_a_scene_loads_no_file_from_outside_its_bundle(tmp_path: Path, attribute: str, name: str) -> None:
    named = SCENE.format(attribute=attribute, name=name.format(secret=tmp_path / "secret.nrrd"))
    bundle = write_bundle(tmp_path / "scene.mrb", {"s/s.mrml": named.encode()})

    with pytest.raises(UnreadableVolume, match=r"outside its own folder|on the network"):
        load_mrb(bundle)


@pytest.mark.parametrize("reads", [load_mrb, read_volume])
def test_a_header_in_a_bundle_opens_no_file_of_the_user(tmp_path: Path, reads: Callable[[Path], object]) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(1000))
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 10 10 5\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n"
        f"data file: {tmp_path / 'secret.raw'}\n"
    )
    scene = SCENE.format(attribute="fileName", name="Data/ct.nhdr")
    bundle = write_bundle(tmp_path / "scene.mrb", {"s/s.mrml": scene.encode(), "s/Data/ct.nhdr": header.encode()})

    with pytest.raises(UnreadableVolume, match="outside its own folder"):
        reads(bundle)


def test_a_bundle_that_unpacks_to_more_than_the_disk_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "scene.mrb", {"s/s.mrml": b"<MRML></MRML>"})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))

    with pytest.raises(UnreadableVolume, match="disk has no room"):
        load_mrb(bundle)


def test_reading_the_volume_of_a_bundle_unpacks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a bundle that holds 200 MB of zeros beside a CT, and a temporary folder that takes nothing
    ct = CTVolume(np.arange(24 * 20 * 22, dtype=np.int16).reshape(24, 20, 22) % 300 - 200, np.diag([2.0, 2.5, 3.0, 1]))
    write_volume(ct, tmp_path / "ct.nrrd")
    scene = SCENE.format(attribute="fileName", name="Data/ct.nrrd").encode()
    with zipfile.ZipFile(tmp_path / "scene.mrb", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        bundle.writestr("s/s.mrml", scene)
        bundle.write(tmp_path / "ct.nrrd", "s/Data/ct.nrrd")
        bundle.writestr("s/Data/bomb.bin", bytes(200_000_000))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    assert np.array_equal(read_volume(tmp_path / "scene.mrb").hu, ct.hu)
