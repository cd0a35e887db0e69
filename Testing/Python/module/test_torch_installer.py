"""PyTorch at the click: what is installed is judged without importing it, and each trouble has its own clear words.

Packages are real folders on a search path of their own; ``PyTorchUtils`` stands in with the PyTorch extension's names.
"""

import subprocess
import sys
import types

import pytest

from VertebralFracturePanel.detect.torch_installer import TorchInstaller, TorchMissing, installedTorch


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """An empty folder of packages in place of this environment's."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name == "torch" or name.startswith("torch.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def add_torch(packages, version="2.5.1+cpu", *, folder=True, module=True, compiled=True, metadata=True):
    if folder:
        (packages / "torch").mkdir()
    if module:
        # Whoever imports it fails as a half-installed PyTorch does.
        (packages / "torch" / "__init__.py").write_text("raise OSError('c10.dll is missing')", encoding="utf-8")
    if compiled:
        (packages / "torch" / "_C.cp312-win_amd64.pyd").write_bytes(b"")
    if metadata:
        (packages / f"torch-{version}.dist-info").mkdir()
        text = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        (packages / f"torch-{version}.dist-info" / "METADATA").write_text(text, encoding="utf-8")


@pytest.fixture
def extension(monkeypatch):
    """The PyTorch extension; gives a function that says what its installation does, and a list of its calls."""
    calls = []

    def offer(install):
        class PyTorchUtilsLogic:
            def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
                calls.append((askConfirmation, forceComputationBackend, torchVersionRequirement))
                return install()

        monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))

    offer.calls = calls
    return offer


def refused():
    with pytest.raises(TorchMissing) as caught:
        TorchInstaller().ensureTorch()
    return str(caught.value)


def failing(error):
    def install():
        raise error

    return install


def test_a_whole_pytorch_is_used_without_being_imported(packages, extension):
    add_torch(packages)
    extension(failing(AssertionError("nothing may be installed")))

    TorchInstaller().ensureTorch()

    assert installedTorch().version == "2.5.1+cpu"
    assert "torch" not in sys.modules
    assert extension.calls == []


def test_the_pytorch_of_this_environment_is_found():
    assert installedTorch().state == "ready"


@pytest.mark.parametrize(
    "left_out",
    [
        {"module": False},
        {"compiled": False},
        {"metadata": False},
        {"folder": False, "module": False, "compiled": False},
    ],
    ids=["no module", "no compiled part", "no metadata", "nothing but metadata"],
)
def test_a_half_installed_pytorch_is_said_to_be_so(packages, extension, left_out):
    add_torch(packages, **left_out)
    extension(failing(AssertionError("pip would find it installed")))

    words = refused()

    assert "only partly installed" in words
    assert "PyTorch Utils" in words
    assert extension.calls == []


@pytest.mark.parametrize(
    ("version", "enough"), [("1.13.1", False), ("2.1.2", False), ("2.2.2", True), ("10.0.0", True)]
)
def test_an_old_pytorch_is_named_with_what_is_needed(packages, extension, version, enough):
    add_torch(packages, version)
    extension(failing(AssertionError("nothing may be replaced behind the user's back")))

    if enough:
        TorchInstaller().ensureTorch()  # 2.2.2 is the last one for Slicer on a Mac
    else:
        assert f"PyTorch {version} is installed, but 2.2 or newer is needed" in refused()


@pytest.mark.usefixtures("packages")
def test_the_pytorch_extension_is_asked_for_by_name(monkeypatch):
    monkeypatch.delitem(sys.modules, "PyTorchUtils", raising=False)

    assert "install it in the Extensions Manager" in refused()


def test_the_user_is_asked_and_then_it_is_installed(packages, extension):
    extension(lambda: add_torch(packages) or "the torch module")

    TorchInstaller().ensureTorch()

    assert extension.calls == [(True, None, ">=2.2")]


@pytest.mark.usefixtures("packages")
def test_a_user_who_declines_is_told_what_that_means(extension):
    extension(lambda: None)

    assert "was not installed" in refused()


PIP_FAILED = subprocess.CalledProcessError(1, ["C:/somebody/PythonSlicer.exe", "-m", "light_the_torch"])


@pytest.mark.usefixtures("packages")
def test_offline_the_words_ask_for_a_connection_and_name_no_command_line(extension):
    extension(failing(PIP_FAILED))

    words = refused()

    assert "is this computer online" in words
    assert "HTTPS_PROXY" in words
    assert "pip ended with code 1" in words
    assert "somebody" not in words


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("proxy", ["http://reader:secret@proxy.hospital:8080", "proxy.hospital:8080"])
def test_behind_a_proxy_the_words_name_it_without_its_password(extension, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    extension(failing(PIP_FAILED))

    words = refused()

    assert "through the proxy proxy.hospital:8080" in words
    assert "secret" not in words


def test_an_installation_that_broke_off_is_noticed(packages, extension):
    extension(lambda: add_torch(packages, compiled=False) or "something")

    assert "only partly installed" in refused()


def test_a_pytorch_that_cannot_be_loaded_yet_asks_for_a_restart(packages, extension):
    def install():
        add_torch(packages)
        raise OSError("c10.dll is missing")

    extension(install)

    words = refused()

    assert "c10.dll is missing" in words
    assert "Slicer is restarted" in words
