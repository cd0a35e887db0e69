"""PyTorch through Slicer's PyTorch extension, asked for when the user clicks and never before.

What is installed is judged from its files and never by importing it: an import would load PyTorch into Slicer, whose
files could then no longer be replaced, and a half-installed one fails with any error there is.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

MINIMUM_TORCH = (2, 2)
READY, MISSING, BROKEN, TOO_OLD = "ready", "missing", "broken", "too old"
_AGAIN = "uninstall it in the module PyTorch Utils, restart Slicer, and press Detect fractures again."


class Remedy(Enum):
    """Where a user goes on when PyTorch cannot be used."""

    EXTENSIONS_MANAGER = "Open the Extensions Manager"
    PYTORCH_UTILS = "Open PyTorch Utils"
    TRY_AGAIN = "Try again"


class TorchMissing(Exception):
    """PyTorch cannot be used; the message says why and what to do, ``remedy`` where that is done."""

    def __init__(self, message: str, remedy: Remedy = Remedy.TRY_AGAIN) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True)
class InstalledTorch:
    """``state``: ``READY``, ``MISSING``, ``BROKEN`` (only partly there) or ``TOO_OLD``; ``version``: its own words."""

    state: str
    version: str = ""


class TorchInstaller:
    """Makes sure that the session will find PyTorch."""

    def ensureTorch(self) -> None:
        """Return when PyTorch is there; ask and install it through the PyTorch extension otherwise.

        Raises:
            TorchMissing: when it is too old or only partly installed, when the extension is missing, when the user
                declined, or when the installation failed.
        """
        torch = installedTorch()
        if torch.state == READY:
            return
        if torch.state != MISSING:
            raise TorchMissing(_problem(torch), Remedy.PYTORCH_UTILS)
        try:
            import PyTorchUtils
        except ImportError as error:
            raise TorchMissing(
                "This needs the PyTorch extension: install it in the Extensions Manager and restart Slicer.",
                Remedy.EXTENSIONS_MANAGER,
            ) from error
        requirement = ">=" + ".".join(map(str, MINIMUM_TORCH))
        try:
            accepted = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=requirement
            )
        except Exception as error:
            raise TorchMissing(_whyItFailed(error)) from error
        if accepted is None:
            raise TorchMissing("Without PyTorch nothing can be detected; it was not installed.")
        torch = installedTorch()
        if torch.state != READY:
            raise TorchMissing(_problem(torch), Remedy.PYTORCH_UTILS)


def installedTorch() -> InstalledTorch:
    """What the files of this Python's packages say about PyTorch."""
    importlib.invalidate_caches()
    specification = importlib.util.find_spec("torch")
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        version = None
    if specification is None and version is None:
        return InstalledTorch(MISSING)
    number = re.match(r"(\d+)\.(\d+)", version or "")
    # A folder left behind has no __init__.py, hence no origin; the compiled part is the last thing that pip unpacks.
    isWhole = specification is not None and specification.origin and any(Path(specification.origin).parent.glob("_C.*"))
    if not isWhole or number is None:
        return InstalledTorch(BROKEN, version or "")
    isOld = (int(number[1]), int(number[2])) < MINIMUM_TORCH
    return InstalledTorch(TOO_OLD if isOld else READY, version)


def _problem(torch: InstalledTorch) -> str:
    if torch.state == TOO_OLD:
        needed = ".".join(map(str, MINIMUM_TORCH))
        return f"PyTorch {torch.version} is installed, but {needed} or newer is needed: {_AGAIN}"
    return f"PyTorch is only partly installed: {_AGAIN}"


def _whyItFailed(error: Exception) -> str:
    torch = installedTorch()
    if torch.state == READY:
        return f"PyTorch {torch.version} was installed, but cannot be loaded before Slicer is restarted ({error})."
    # pip's own words went to the Python console; its command line, which the error holds, helps nobody.
    isPip = isinstance(error, subprocess.CalledProcessError)
    reason = f"pip ended with code {error.returncode}, see the Python console" if isPip else str(error).rstrip(".")
    clause = f"PyTorch could not be installed ({reason})"
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("http")
    if proxy:
        return f"{clause}; it is downloaded through the proxy {_withoutPassword(proxy)}: is that the right one?"
    return (
        f"{clause}; is this computer online, or does it need a proxy, which the environment variable HTTPS_PROXY names "
        "before Slicer is started?"
    )


def _withoutPassword(proxy: str) -> str:
    address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return f"{address.hostname}:{address.port}" if address.port else str(address.hostname)
