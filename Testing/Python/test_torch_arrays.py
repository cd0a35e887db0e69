"""Arrays and tensors, also with the PyTorch of Slicer on a Mac: 2.2, built for NumPy 1, beside NumPy 2.

What that PyTorch refuses is refused here by hand. With the real pair (2.2.2 and 2.0.2) detection gives the same report.
"""

import re

import numpy as np
import pytest
import torch

from VertebralFractureLib.torch_arrays import to_array, to_tensor

INFERENCE = (
    *("volume", "canal", "cpr", "vertebrae", "fracture", "result"),
    *("models.py", "pipeline.py", "session.py", "weights.py"),
)


@pytest.fixture(params=["NumPy is known", "NumPy is not available"])
def pytorch(request, monkeypatch):
    """This PyTorch, and one that cannot speak with NumPy."""

    def refuse(*_arguments, **_options):
        raise RuntimeError("Numpy is not available")

    if request.param == "NumPy is not available":
        monkeypatch.setattr(torch, "from_numpy", refuse)
        monkeypatch.setattr(torch.Tensor, "numpy", refuse)


@pytest.mark.usefixtures("pytorch")
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(8, dtype=np.int16)[::2],
        np.array([True, False]),
        np.zeros((0, 3)),
        np.array(3.5),
    ],
    ids=["volume", "transposed", "strided", "mask", "empty", "number"],
)
def test_every_array_comes_back_as_it_was(array):
    tensor = to_tensor(array)
    back = to_array(tensor)

    assert tuple(tensor.shape) == back.shape == array.shape
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.usefixtures("pytorch")
def test_a_tensor_that_learns_or_is_transposed_becomes_an_array():
    learning = torch.nn.Parameter(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))

    np.testing.assert_array_equal(to_array(learning.T), [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])


def test_an_array_that_must_not_change_does_not():
    array = np.zeros(3)
    array.flags.writeable = False

    to_tensor(array).add_(1.0)

    assert array.tolist() == [0.0, 0.0, 0.0]


def test_a_large_array_is_shared_and_not_copied():
    array = np.zeros((4, 4), dtype=np.float32)

    to_tensor(array).add_(1.0)

    assert array.sum() == 16.0


def test_detection_speaks_with_pytorch_in_this_way_only(project_folder):
    folder = project_folder / "VertebralFractureLib"
    files = [path for part in INFERENCE for path in (folder / part).rglob("*.py")]
    files += [folder / part for part in INFERENCE if part.endswith(".py")]

    found = [
        f"{path.relative_to(folder)}: {match.group(0)}"
        for path in files
        for match in re.finditer(r"from_numpy|\.numpy\(\)", path.read_text(encoding="utf-8"))
    ]

    assert len(files) > 40
    assert found == []
