"""Write weights as safetensors and enter them in their folder's manifest, as ``weights.WeightsFolder`` reads them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.weights import MANIFEST, SAFETENSORS_DTYPES, read_manifest

_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}


def save_weights(name: str, tensors: Mapping[str, NDArray[np.generic]], config: Mapping[str, Any], folder: Path) -> str:
    """Write ``VertebralFracture-<name>.safetensors`` into ``folder``, enter it in the manifest, return its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    data = encode_safetensors(tensors, {"config": json.dumps(config, sort_keys=True)})
    sha256 = hashlib.sha256(data).hexdigest()
    file_name = f"VertebralFracture-{name}.safetensors"
    write_file(folder / file_name, data)
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else {}
    manifest[name] = {"file": file_name, "sha256": sha256}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return sha256


def encode_safetensors(tensors: Mapping[str, NDArray[np.generic]], metadata: Mapping[str, str]) -> bytes:
    """Encode arrays; keys in sorted order, so that equal content gives equal bytes."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    blocks, offset = [], 0
    for key in sorted(tensors):
        array = np.ascontiguousarray(tensors[key])
        block = array.tobytes()
        header[key] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(block)],
        }
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blocks)
