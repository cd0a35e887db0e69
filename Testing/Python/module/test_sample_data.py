"""The phantom in Slicer's Sample Data: registered the way each version of Slicer wants it, drawn by the real worker.

``SampleDataLogic`` stands in with the signature of Slicer's own (Modules/Scripted/SampleData/SampleData.py).
"""

import logging
import shutil
import sys
import time
import types
from pathlib import Path

import pytest
import slicer
from PySide6.QtWidgets import QApplication, QProgressDialog

from VertebralFracturePanel.detect import sample_data
from VertebralFracturePanel.detect.sample_data import FILE_NAME, SAMPLE_NAME, PhantomSample, registerSampleData
from VertebralFracturePanel.process.json_process import JsonProcess


class SampleDataLogic:
    """Slicer 5.10: there are no titles of categories yet."""

    registered: list[dict] = []  # noqa: RUF012  as Slicer keeps them, once for all

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
        thumbnailFileName=None, loadFileType="VolumeFile", loadFiles=None, loadFileProperties={}, checksums=None,  # noqa: B006
    ):  # fmt: skip
        SampleDataLogic.registered.append(dict(locals()))


class NewerSampleDataLogic(SampleDataLogic):
    """Slicer 5.12 and newer."""

    @staticmethod
    def registerCustomSampleDataCategory(category, title=None):
        SampleDataLogic.registered.append({"category": category, "title": title})


@pytest.fixture
def application(scene, tmp_path_factory, monkeypatch):
    """What of ``slicer.app`` is used, and a scene with a cache folder, as in the application."""
    folder = tmp_path_factory.getbasetemp() / "slicer-cache"
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    logic.SetModuleLogic("Colors", colors)
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(folder))
    remote.AddDataIOToScene()
    application = types.SimpleNamespace(
        applicationLogic=lambda: logic,
        topLevelWidgets=lambda: [],
        testingEnabled=lambda: True,
        applicationName="Slicer",
        remote=remote,
        colors=colors,
    )
    monkeypatch.setattr(slicer, "app", application, raising=False)
    return application


@pytest.fixture
def cache(application):
    return Path(application.remote.GetCacheManager().GetRemoteCacheDirectory())


@pytest.fixture
def an_empty_cache(application, tmp_path):
    application.remote.GetCacheManager().SetRemoteCacheDirectory(str(tmp_path / "empty"))
    return tmp_path / "empty"


def a_sample():
    """A sample, and the list of what it has ended with."""
    ended = []
    sample = PhantomSample(lambda: JsonProcess(sys.executable))
    sample.ended.connect(ended.append)
    return sample, ended


def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        QApplication.processEvents()
        time.sleep(0.005)


def open_dialogs():
    return [w for w in QApplication.topLevelWidgets() if isinstance(w, QProgressDialog) and w.isVisible()]


def files_in(folder):
    """What lies in the cache, without the file by which Slicer knows its cache."""
    return {path.name for path in folder.iterdir()} - {".slicer-cache"}


@pytest.mark.parametrize("logic", [SampleDataLogic, NewerSampleDataLogic])
def test_the_phantom_is_offered_in_every_version_of_slicer(logic, monkeypatch):
    monkeypatch.setattr(SampleDataLogic, "registered", [])
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))

    registerSampleData()

    *categories, source = SampleDataLogic.registered
    assert source["sampleName"] == SAMPLE_NAME == "VertebralFracture phantom"
    assert isinstance(source["customDownloader"], PhantomSample)
    assert Path(source["thumbnailFileName"]).is_file()
    assert source["uris"].startswith("file:"), "nothing may be downloaded"
    assert [category["category"] for category in categories] == [source["category"]] * len(categories)
    assert len(categories) == (logic is NewerSampleDataLogic)


@pytest.mark.slow
def test_a_click_draws_the_phantom_beside_slicer_and_shows_it(scene, application, cache):
    sample, ended = a_sample()

    sample()
    assert len(open_dialogs()) == 1
    sample()  # impatience
    until(lambda: ended)

    (volume,) = ended
    assert [scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode") for i in range(2)] == [volume, None]
    low, high = volume.GetImageData().GetScalarRange()
    assert low < -900
    assert high > 300
    known = "T8 grade 2 wedge, T12 grade 3 crush, L3 grade 2 biconcave"
    assert volume.GetDescription() == f"No patient. Known fractures: {known}."
    assert volume.GetStorageNode() is None, "a saved scene must hold the volume, not a path into the cache"
    assert application.applicationLogic().GetSelectionNode().GetActiveVolumeID() == volume.GetID()
    assert open_dialogs() == []
    assert volume.GetDisplayNode().GetColorNode().GetName() == "Grey"
    assert files_in(cache) == {FILE_NAME, sample_data.TRUTH_NAME}

    sample()

    assert [node.GetName() for node in ended] == [SAMPLE_NAME, f"{SAMPLE_NAME}_1"], "the second comes from the cache"


@pytest.mark.usefixtures("an_empty_cache")
@pytest.mark.parametrize("accident", ["cancel", "scene closed"])
def test_drawing_can_be_stopped_and_leaves_nothing_behind(scene, an_empty_cache, accident, caplog):
    sample, ended = a_sample()
    sample()

    if accident == "cancel":
        open_dialogs()[0].canceled.emit()
    else:
        scene.Clear()
    until(lambda: ended)

    assert ended == [None]
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None
    assert files_in(an_empty_cache) == set()
    assert open_dialogs() == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_damaged_file_in_the_cache_is_drawn_again(an_empty_cache):
    (an_empty_cache / sample_data.TRUTH_NAME).write_text("half a tru", encoding="utf-8")
    sample, ended = a_sample()

    sample()

    assert ended == []
    assert len(open_dialogs()) == 1
    sample.cancel()
    until(lambda: ended)


@pytest.mark.usefixtures("an_empty_cache")
def test_a_failure_is_said_in_words(caplog):
    ended = []
    sample = PhantomSample(lambda: JsonProcess("no-such-python"))
    sample.ended.connect(ended.append)

    sample()
    until(lambda: ended)

    assert ended == [None]
    assert "The phantom could not be drawn" in caplog.text
    assert "no-such-python could not be started" in caplog.text


def test_a_cache_that_cannot_be_used_is_said_in_words(an_empty_cache, caplog):
    shutil.rmtree(an_empty_cache)
    an_empty_cache.write_text("a file where the folder should be", encoding="utf-8")
    sample, ended = a_sample()

    sample()

    assert ended == [None]
    assert "cache folder cannot be used" in caplog.text
