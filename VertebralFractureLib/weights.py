"""Read the weights that ship: safetensors without pickle, checked by SHA-256 before use.

Slicer's users install nothing but PyTorch, so the format's few lines are here instead of the ``safetensors`` package;
a test proves that it reads what that package writes. Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
_LARGEST_FILE_BYTES = 1 << 28
_LARGEST_HEADER_BYTES = 1 << 20
_MOST_AXES = 8
_AGAIN = "install VertebralFracture again"
_COUNTER = "num_batches_tracked"
"""How long a batch normalization was trained, which no answer hangs on; it need not be stored."""
Network = TypeVar("Network")


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
        data = _read_file(folder, entry["file"])
    except (OSError, ValueError) as error:
        raise WeightsDamaged(f"The weights '{name}' cannot be read; install VertebralFracture again.") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != entry["sha256"]:
        raise WeightsDamaged(f"The weights '{name}' are damaged (SHA-256 differs); install VertebralFracture again.")
    tensors, metadata = decode_safetensors(data)
    try:
        config = _strict_json(metadata.get("config", "{}"))
    except (ValueError, RecursionError) as error:
        raise WeightsDamaged(f"The weights '{name}' are damaged (configuration); {_AGAIN}.") from error
    if not isinstance(config, dict):
        raise WeightsDamaged(f"The weights '{name}' are damaged (configuration); {_AGAIN}.")
    return Weights(tensors, config, sha256)


def _read_file(folder: Path, name: str) -> bytes:
    """The content of a file that lies in the folder of the weights.

    Raises:
        ValueError: when the name leads elsewhere, or it is no regular file of a size that weights have.
        OSError: when it cannot be read.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("elsewhere")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE_BYTES:
        raise ValueError("no file of weights")
    return path.read_bytes()


def _strict_json(text: str | bytes) -> Any:
    """JSON without a name that is there twice and without numbers that are none.

    Raises:
        ValueError, RecursionError: for anything else.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a name is there twice")
        return dict(pairs)

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def build_network(make: Callable[[], Network], weights: Weights) -> Network:
    """The torch module that ``make`` gives, with these tensors as float32, in evaluation mode.

    Raises:
        WeightsDamaged: when the configuration is not one of this architecture, or a tensor is missing, left over or of
            another shape; nothing is left as the module was initialized.
    """
    import torch

    misfit = WeightsDamaged("A weights file does not fit its network; install VertebralFracture again.")
    try:
        # On this device tensors have a shape and take no memory, whatever width a configuration asks for.
        with torch.device("meta"):
            expected = {key: tuple(value.shape) for key, value in make().state_dict().items()}  # type: ignore[attr-defined]
        given = {key: value.shape for key, value in weights.tensors.items()}
        if expected != {**{key: () for key in expected if key.endswith(_COUNTER)}, **given}:
            raise misfit
        network = make()
        restore(network, weights)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise misfit from error
    return network


def restore(network: Any, weights: Weights) -> None:
    """Put the tensors, as float32, into a torch module of their architecture and set it to evaluation mode.

    Raises:
        RuntimeError: from torch, when a tensor is missing, left over or of another shape.
    """

    state = {key: value for key, value in network.state_dict().items() if key.endswith(_COUNTER)}
    state |= {key: to_tensor(np.asarray(value, dtype=np.float32)) for key, value in weights.tensors.items()}
    network.load_state_dict(state)
    network.eval()


def decode_safetensors(data: bytes) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Decode to arrays and metadata.

    Raises:
        WeightsDamaged: when the bytes are not safetensors of the types float32, float16, int64 or int32, when tensors
            overlap, leave bytes over or hold what is no finite number.
    """
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > _LARGEST_HEADER_BYTES:
            raise ValueError("header")
        header = _strict_json(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata")
        tensors: dict[str, NDArray[np.generic]] = {}
        spans = []
        for key, entry in header.items():
            start, end = entry["data_offsets"]
            shape = tuple(entry["shape"])
            dtype = SAFETENSORS_DTYPES[entry["dtype"]]
            if len(shape) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in (*shape, start, end)):
                raise ValueError("shape")
            if end - start != math.prod(shape) * dtype.itemsize or end > len(body):
                raise ValueError("length")
            spans.append((start, end))
            values = np.frombuffer(body[start:end], dtype=dtype).reshape(shape).copy()
            if not np.all(np.isfinite(values)):
                raise ValueError("not finite")
            tensors[key] = values
        if [0, *(end for _, end in sorted(spans))] != [*(start for start, _ in sorted(spans)), len(body)]:
            raise ValueError("overlap or gap")
        return tensors, metadata
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsDamaged(f"A weights file is not valid safetensors; {_AGAIN}.") from error


def read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    """The manifest: for each name the ``file`` and its ``sha256``.

    Raises:
        WeightsDamaged: when it is missing or says anything else.
    """
    try:
        content: dict[str, dict[str, str]] = _strict_json(_read_file(folder, MANIFEST))
        manifest = {name: {"file": entry["file"], "sha256": entry["sha256"]} for name, entry in content.items()}
        if not all(isinstance(value, str) for entry in manifest.values() for value in entry.values()):
            raise TypeError("file and sha256 are words")
        return manifest
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise WeightsDamaged(
            "The list of the weights is missing or damaged; install VertebralFracture again."
        ) from error
