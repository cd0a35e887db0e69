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
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.image_file import read_image_file
from VertebralFractureLib.volume.sitk_bridge import LPS_TO_RAS, require_valid_geometry

Node = ElementTree.Element

_STRAIGHTENED = "VertebralFracture.role:straightened"
"""The mark of a result's own volume in straight space, which is no CT to be read again."""


def read_scene_file(path: Path, volume_name: str | None) -> CTVolume:
    """Read a scalar volume of a scene, hardened by its parent transforms.

    Args:
        path: an .mrb (a zip that holds an .mrml and its files) or an .mrml whose files lie beside it.
        volume_name: the name or node ID of the volume; None for the scalar volume with the most slices that is not
            a straightened spine of an earlier result.

    Raises:
        UnreadableVolume: when the scene is damaged, or the volume, its file or its transform cannot be used.
    """
    if path.suffix.lower() == ".mrml":
        return _read_scene(path, path.name, volume_name)
    with tempfile.TemporaryDirectory(prefix="vertebral-fracture-") as folder:
        try:
            with zipfile.ZipFile(path) as bundle:
                # ZipFile.extractall keeps every member inside the folder, whatever its name says.
                bundle.extractall(folder)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise UnreadableVolume(f"'{path.name}' is damaged or cut off; save or copy the scene again.") from error
        scenes = sorted(Path(folder).rglob("*.mrml"), key=lambda file: len(file.parts))
        if not scenes:
            raise UnreadableVolume(f"'{path.name}' holds no Slicer scene (.mrml); save the scene again as .mrb.")
        return _read_scene(scenes[0], path.name, volume_name)


def _read_scene(scene: Path, shown_name: str, volume_name: str | None) -> CTVolume:
    try:
        nodes = {node.get("id", ""): node for node in ElementTree.parse(scene).getroot()}
    except ElementTree.ParseError as error:
        raise UnreadableVolume(f"The scene in '{shown_name}' is damaged; save it again.") from error
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
    ct = read_image_file(file)
    matrix = require_valid_geometry(_to_world(scene, nodes, node) @ ct.ijk_to_ras)
    return replace(ct, ijk_to_ras=matrix, name=node.get("name", "") or "CT", source={"format": "mrml"})


def _reference(node: Node, role: str) -> str | None:
    """The ID that a node refers to: ``references="role:ID;..."``, or ``roleNodeRef="ID"`` in older scenes."""
    for entry in node.get("references", "").split(";"):
        key, _, identifiers = entry.partition(":")
        if key.strip() == role and identifiers.split():
            return identifiers.split()[0]
    return node.get(f"{role}NodeRef")


def _stored_file(scene: Path, nodes: Mapping[str, Node], node: Node) -> Path | None:
    storage = nodes.get(_reference(node, "storage") or "")
    if storage is None:
        return None
    written = storage.get("fileName", "")
    # Slicer writes the path as a URL part; a bundle made on Windows may hold backslashes.
    for name in (unquote(written), written, unquote(written).replace("\\", "/")):
        candidate = scene.parent / PurePosixPath(name)
        if name and candidate.is_file():
            return candidate
    return None


def _slice_count(file: Path) -> int:
    """Images along the longest stack axis, from the header alone; 0 for a file that cannot be read."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return 0
    size = reader.GetSize()
    return int(size[2]) if len(size) > 2 else 1


def _to_world(scene: Path, nodes: Mapping[str, Node], volume: Node) -> FloatArray:
    """The product of all parent transforms, RAS mm to RAS mm."""
    world: FloatArray = np.eye(4)
    seen: set[str] = set()
    child = volume
    while (identifier := _reference(child, "transform")) is not None:
        transform = nodes.get(identifier)
        if transform is None or identifier in seen:
            raise UnreadableVolume(
                f"The transform of the volume '{volume.get('name', '')}' is missing from the scene; "
                "harden it in Slicer and save again."
            )
        seen.add(identifier)
        world = _to_parent(scene, nodes, transform) @ world
        child = transform
    return world


def _to_parent(scene: Path, nodes: Mapping[str, Node], transform: Node) -> FloatArray:
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
        return np.array(numbers.split(), dtype=np.float64).reshape(4, 4)
    except ValueError:
        return None


def _linear_matrix(file: Path) -> FloatArray | None:
    """A linear ITK transform file as the matrix to the parent in RAS mm; None when it is not linear.

    ITK's transform maps the parent's LPS points to the child's: the inverse of Slicer's direction.
    """
    import SimpleITK as sitk

    try:
        transform = sitk.ReadTransform(str(file))
    except RuntimeError:
        return None
    if transform.GetDimension() != 3 or not transform.IsLinear():
        return None
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    from_parent = np.eye(4)
    for axis in range(3):
        from_parent[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    from_parent[:3, 3] = origin
    return np.asarray(LPS_TO_RAS @ np.linalg.inv(from_parent) @ LPS_TO_RAS)
