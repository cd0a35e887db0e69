"""Rotations between the directions that a file names and those of the patient.

A rotation is a 3x3 matrix whose rows are the patient's right, front and head as directions of the file's RAS axes
(``Centerline.patient_axes``). Right and left look alike in a spine: of an image and its mirror image the same rotation
is found, the one whose axes are right-handed. So the 48 ways to permute and flip three axes are 24 pairs of front and
head, and which of the two belongs to each pair is not told.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np

from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.volume import CTVolume


def list_axis_rotations() -> list[FloatArray]:
    """The 24 rotations by quarter turns, those by small angles first."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            rotation = np.eye(3)[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(rotation) > 0.0:
                found.append(rotation)
    return sorted(found, key=measure_angle_deg)


def measure_angle_deg(rotation: FloatArray) -> float:
    """By how much a rotation turns, 0 to 180 degrees."""
    return float(np.degrees(np.arccos(np.clip(0.5 * (np.trace(rotation) - 1.0), -1.0, 1.0))))


def rotation_from_directions(front: FloatArray, head: FloatArray) -> FloatArray:
    """The rotation with this head and, of all, the front nearest to the given one; the two are not parallel."""
    head = head / np.linalg.norm(head)
    front = front - (front @ head) * head
    front = front / np.linalg.norm(front)
    return np.stack([np.cross(front, head), front, head])


def rotate_array(hu: Float32Array, rotation: FloatArray) -> Float32Array:
    """An array ``[k, j, i]`` along the file's S, A and R as one along the patient's, for quarter turns."""
    order = [int(np.abs(row).argmax()) for row in rotation]
    flipped = tuple(axis for axis in range(3) if rotation[axis, order[axis]] < 0.0)
    return np.ascontiguousarray(np.flip(hu.transpose(2, 1, 0).transpose(order), flipped).transpose(2, 1, 0))


def rotate_volume(ct: CTVolume, rotation: FloatArray) -> CTVolume:
    """The same voxels with the patient's directions as RAS; the world's origin stays where it is."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return replace(ct, ijk_to_ras=matrix @ ct.ijk_to_ras)


def axes_of_curve(points_ras: FloatArray) -> FloatArray:
    """The quarter turn that brings a curve's longest extent ``(n, 3)`` along S; the identity for almost every spine."""
    extent = np.ptp(np.asarray(points_ras, dtype=np.float64).reshape(-1, 3), axis=0)
    return np.roll(np.eye(3), int(extent.argmax()) - 2, axis=1)
