"""Read the weights that ship: safetensors without pickle, checked by SHA-256 before use.

Slicer's users install nothing but PyTorch, so the format's few lines are here instead of the ``safetensors`` package;
a test proves that it reads what that package writes. Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.errors import WeightsDamaged
from VertebralFractureLib.torch_arrays import to_tensor

SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}
MANIFEST = "VertebralFractureWeights.json"


@dataclass(frozen=True)
class Weights:
    """One model's tensors, its architecture and training record (``config``) and its file's SHA-256."""

    tensors: Mapping[str, NDArray[np.generic]]
    config: Mapping[str, Any]
    sha256: str


def weights_folder() -> Path:
    """The folder of the weights that ship with this package or extension.

    Raises:
        WeightsDamaged: when it is not there.
    """
    package = Path(__file__).resolve().parent
    for base in (package, package.parent):
        folder = base / "Resources" / "Weights"
        if (folder / MANIFEST).is_file():
            return folder
    raise WeightsDamaged("The weights folder Resources/Weights is missing; install VertebralFracture again.")


def weights_names(prefix: str, folder: Path | None = None) -> list[str]:
    """Names in the manifest that start with ``prefix`` (for example ``"fracture-"``), sorted."""
    return WeightsFolder(folder).names(prefix)


def load_weights(name: str, folder: Path | None = None) -> Weights:
    """Load the weights called ``name`` in the manifest of ``folder``.

    Raises:
        WeightsDamaged: when the file is missing, is not safetensors, or has another SHA-256.
    """
    return WeightsFolder(folder).load(name)


class WeightsFolder:
    """A folder of weights that reads its manifest and each file once, however often they are asked for.

    Args:
        path: None means the weights that ship.

    Raises:
        WeightsDamaged: when there is no manifest, or it cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or weights_folder()
        self._manifest = read_manifest(self.path)
        self._loaded: dict[str, Weights] = {}

    @property
    def files_read(self) -> int:
        return len(self._loaded)

    def names(self, prefix: str = "") -> list[str]:
        """Names in the manifest that start with ``prefix``, sorted."""
        return sorted(name for name in self._manifest if name.startswith(prefix))

    def load(self, name: str) -> Weights:
        """The weights called ``name``.

        Raises:
            WeightsDamaged: when the file is missing, is not safetensors, or has another SHA-256.
        """
        if name not in self._loaded:
            self._loaded[name] = _read_weights(name, self.path, self._manifest.get(name))
        return self._loaded[name]


def _read_weights(name: str, folder: Path, entry: Mapping[str, str] | None) -> Weights:
    if entry is None:
        raise WeightsDamaged(f"There are no weights called '{name}'; install VertebralFracture again.")
    try:
        data = (folder / entry["file"]).read_bytes()
    except OSError as error:
        raise WeightsDamaged(f"The weights '{name}' cannot be read; install VertebralFracture again.") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != entry["sha256"]:
        raise WeightsDamaged(f"The weights '{name}' are damaged (SHA-256 differs); install VertebralFracture again.")
    tensors, metadata = decode_safetensors(data)
    return Weights(tensors, json.loads(metadata.get("config", "{}")), sha256)


def restore(network: Any, weights: Weights) -> None:
    """Put the tensors, as float32, into a torch module of their architecture and set it to evaluation mode.

    Raises:
        RuntimeError: from torch, when a tensor is missing, left over or of another shape.
    """

    state = {key: to_tensor(np.asarray(value, dtype=np.float32)) for key, value in weights.tensors.items()}
    network.load_state_dict(state)
    network.eval()


def decode_safetensors(data: bytes) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Decode to arrays and metadata.

    Raises:
        WeightsDamaged: when the bytes are not safetensors of the types float32, float16, int64 or int32.
    """
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        metadata = header.pop("__metadata__", {})
        tensors: dict[str, NDArray[np.generic]] = {}
        for key, entry in header.items():
            start, end = entry["data_offsets"]
            flat = np.frombuffer(body[start:end], dtype=SAFETENSORS_DTYPES[entry["dtype"]])
            tensors[key] = flat.reshape(entry["shape"]).copy()
        return tensors, metadata
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise WeightsDamaged("A weights file is not valid safetensors; install VertebralFracture again.") from error


def read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    """The manifest: for each name the ``file`` and its ``sha256``.

    Raises:
        WeightsDamaged: when it is missing or says anything else.
    """
    try:
        content: dict[str, dict[str, str]] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {name: {"file": entry["file"], "sha256": entry["sha256"]} for name, entry in content.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise WeightsDamaged(
            "The list of the weights is missing or damaged; install VertebralFracture again."
        ) from error
