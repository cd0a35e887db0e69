"""Where the pages of the documentation are: beside the source tree, or where the installed extension was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

EXTENSION = "VertebralFracture"
READING = "explanation/reading-a-result.md"
_SOURCE_TREE = Path(__file__).resolve().parents[2]
_NOT_PUBLISHED = "PUBLISHER"


def pageAddress(page: str, folder: Path = _SOURCE_TREE / "docs") -> str:
    """The address of a page of ``docs``; empty where it is not on this computer, and nobody knows where else."""
    local = folder / page
    if local.is_file():
        return str(qt.QUrl.fromLocalFile(str(local)).toString())
    homepage = _homepage()
    return f"{homepage}/blob/main/docs/{page}" if homepage else ""


def _homepage() -> str:
    """As the installed extension names it; empty for one that was not installed, or whose publisher did not say."""
    try:
        metadata: Any = slicer.app.extensionsManagerModel().extensionMetadata(EXTENSION)
        address = str(metadata.get("homepage") or metadata.get("extension_homepage") or "")
    except AttributeError:  # a Slicer that was built without the Extensions Manager
        return ""
    return address.rstrip("/") if address.startswith("https://") and _NOT_PUBLISHED not in address else ""
