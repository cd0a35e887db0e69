"""Take one scalar volume out of a saved Slicer scene (.mrb, or .mrml with its files), without Slicer.

The parent transforms of the volume are part of its geometry: a linear chain is multiplied into the matrix, and any
other transform is refused, because leaving it out would move every result.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.private_folders import private_folder
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.image_file import read_image_header, read_stored_image
from VertebralFractureLib.volume.separate_reader import read_linear_transform_apart
from VertebralFractureLib.volume.sitk_bridge import require_valid_geometry
from VertebralFractureLib.volume.stored_file import ArchiveMember, DiskFile, StoredFile, open_archive

Node = ElementTree.Element

_STRAIGHTENED = "VertebralFracture.role:straightened"
"""The mark of a result's own volume in straight space, which is no CT to be read again."""
_LARGEST_SCENE_BYTES = 1 << 27
_LARGEST_TRANSFORM_BYTES = 1 << 26
_LONGEST_CHAIN = 64


def read_scene_file(path: Path, volume_name: str | None) -> CTVolume:
    """Read a scalar volume of a scene, hardened by its parent transforms.

    Nothing of a bundle is unpacked to the disk, and of a scene only files in its own folder or below are opened.

    Args:
        path: an .mrb (a zip that holds an .mrml and its files) or an .mrml whose files lie beside it.
        volume_name: the name or node ID of the volume; None for the scalar volume with the most slices that is not
            a straightened spine of an earlier result.

    Raises:
        UnreadableVolume: when the scene is damaged, or the volume, its file or its transform cannot be used.
    """
    if path.suffix.lower() == ".mrml":
        return _read_scene(DiskFile(path), path.name, volume_name)
    try:
        with open_archive(path) as archive:
            scenes = [name for name in archive.namelist() if name.lower().endswith(".mrml")]
            if not scenes:
                raise UnreadableVolume(f"'{path.name}' holds no Slicer scene (.mrml); save the scene again as .mrb.")
            outermost = min(sorted(scenes), key=lambda name: len(PurePosixPath(name).parts))
            return _read_scene(ArchiveMember(archive, outermost), path.name, volume_name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UnreadableVolume(f"'{path.name}' is damaged or cut off; save or copy the scene again.") from error


def _read_scene(scene: StoredFile, shown_name: str, volume_name: str | None) -> CTVolume:
    nodes = _read_nodes(scene, shown_name)
    volumes = [node for node in nodes.values() if node.tag == "Volume"]
    if volume_name is not None:
        named = [node for node in volumes if volume_name in (node.get("name"), node.get("id"))]
        if not named:
            names = ", ".join(f"'{node.get('name', '')}'" for node in volumes) or "none"
            raise UnreadableVolume(f"'{shown_name}' has no volume named '{volume_name}'; it has: {names}.")
        volumes = named
    else:
        volumes = [node for node in volumes if _STRAIGHTENED not in node.get("attributes", "")]
    if not volumes:
        raise UnreadableVolume(f"'{shown_name}' holds no scalar volume; save the scene together with its CT.")
    files = [(node, _stored_file(scene, nodes, node)) for node in volumes]
    present = [(node, file) for node, file in files if file is not None]
    if not present:
        raise UnreadableVolume(
            f"The file of the volume '{volumes[0].get('name', '')}' is not in '{shown_name}'; "
            "save the scene again as .mrb."
        )
    node, file = max(present, key=lambda pair: _slice_count(pair[1]))
    ct = read_stored_image(file)
    matrix = require_valid_geometry(_to_world(scene, nodes, node) @ ct.ijk_to_ras)
    return replace(ct, ijk_to_ras=matrix, name=node.get("name", "") or "CT", source={"format": "mrml"})


def _read_nodes(scene: StoredFile, shown_name: str) -> dict[str, Node]:
    """The nodes of the scene by their ID, without what lies in them.

    Raises:
        UnreadableVolume: when it is no scene, larger than any, or two nodes have one ID.
    """
    damaged = UnreadableVolume(f"The scene in '{shown_name}' is damaged; save it again.")
    if scene.size_bytes > _LARGEST_SCENE_BYTES:
        raise damaged
    nodes: dict[str, Node] = {}
    depth = 0
    try:
        with scene.open() as reader:
            for event, node in ElementTree.iterparse(reader, events=("start", "end")):
                depth += 1 if event == "start" else -1
                if event == "end" and depth == 1:
                    identifier = node.get("id", "")
                    if identifier and identifier in nodes:
                        raise damaged
                    nodes[identifier] = node
                if event == "end":
                    # What is nested in a node is not needed, and may be endless.
                    del node[:]
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise damaged from error
    return nodes


def _reference(node: Node, role: str) -> str | None:
    """The ID that a node refers to: ``references="role:ID;..."``, or ``roleNodeRef="ID"`` in older scenes."""
    for entry in node.get("references", "").split(";"):
        key, _, identifiers = entry.partition(":")
        if key.strip() == role and identifiers.split():
            return identifiers.split()[0]
    return node.get(f"{role}NodeRef")


def _stored_file(scene: StoredFile, nodes: Mapping[str, Node], node: Node) -> StoredFile | None:
    """The file that a node is stored in; None where it is not there.

    Raises:
        UnreadableVolume: when it is named outside the folder of the scene.
    """
    identifier = _reference(node, "storage")
    storage = nodes.get(identifier) if identifier else None
    written = "" if storage is None else storage.get("fileName", "")
    # Slicer writes the path as a URL part; a bundle made on Windows may hold backslashes.
    for name in (unquote(written), written, unquote(written).replace("\\", "/")):
        found = scene.beside(name) if name else None
        if found is not None:
            return found
    return None


def _slice_count(file: StoredFile) -> int:
    """Images along the third axis, from the header alone; 0 for a file that cannot be read."""
    try:
        return read_image_header(file).size_ijk[2]
    except UnreadableVolume:
        return 0


def _to_world(scene: StoredFile, nodes: Mapping[str, Node], volume: Node) -> FloatArray:
    """The product of all parent transforms, RAS mm to RAS mm."""
    world: FloatArray = np.eye(4)
    seen: set[str] = set()
    child = volume
    while (identifier := _reference(child, "transform")) is not None:
        transform = nodes.get(identifier)
        if transform is None or identifier in seen or len(seen) > _LONGEST_CHAIN:
            raise UnreadableVolume(
                f"The transform of the volume '{volume.get('name', '')}' is missing from the scene; "
                "harden it in Slicer and save again."
            )
        seen.add(identifier)
        world = _to_parent(scene, nodes, transform) @ world
        child = transform
    return world


def _to_parent(scene: StoredFile, nodes: Mapping[str, Node], transform: Node) -> FloatArray:
    """One transform node's matrix to its parent, RAS mm."""
    matrix = _written_matrix(transform.get("matrixTransformToParent", ""))
    if matrix is None:
        file = _stored_file(scene, nodes, transform)
        matrix = _linear_matrix(file) if file is not None else None
    if matrix is None:
        raise UnreadableVolume(
            f"The volume lies under the transform '{transform.get('name', '')}', which is not linear or not readable; "
            "harden it in Slicer and save again."
        )
    return matrix


def _written_matrix(numbers: str) -> FloatArray | None:
    try:
        matrix = np.array(numbers.split(), dtype=np.float64).reshape(4, 4)
    except ValueError:
        return None
    return matrix if np.all(np.isfinite(matrix)) and np.array_equal(matrix[3], [0.0, 0.0, 0.0, 1.0]) else None


def _linear_matrix(file: StoredFile) -> FloatArray | None:
    """The matrix to the parent in RAS mm of a transform's file; None when it is not linear or not readable."""
    if not 0 < file.size_bytes <= _LARGEST_TRANSFORM_BYTES:
        return None
    # ITK's readers take a path and tell the format by its ending.
    with private_folder(Path(tempfile.gettempdir())) as folder, file.open() as reader:
        copy = folder / f"transform{PurePosixPath(file.name).suffix}"
        copy.write_bytes(reader.read(_LARGEST_TRANSFORM_BYTES))
        return read_linear_transform_apart(copy)
