"""Keys that tell whether two contents are the same: what is made from something and kept is kept under its key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 20
_KEY_LETTERS = 16


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, read in blocks.

    Raises:
        OSError: when it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def folder_sha256(folder: Path) -> str:
    """SHA-256 of the names and contents of all files below a folder.

    Raises:
        OSError: when one cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def key_of(content: Any) -> str:
    """Sixteen letters that are the same for equal plain values (what ``json`` writes), in any order of their keys."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_KEY_LETTERS]
