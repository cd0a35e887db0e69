"""The training loop: the same seed gives the same weights, whether or not the run was broken off on its way."""

import json
from dataclasses import replace

import pytest
import torch

from VertebralFractureLib.research.training.loop import TrainingOptions, train

OPTIONS = TrainingOptions(steps=30, checkpoint_every=7, log_every=5, seed=3, learning_rate=1e-2)


class BrokenOff(Exception):
    pass


def small_model():
    """Batch normalisation has state, dropout draws random numbers: both must survive a break."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
    )


def make_batch(seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(16, 4, generator=generator)
    return inputs, inputs.sum(dim=1, keepdim=True)


def squared_error(model, batch, device):
    inputs, targets = (tensor.to(device) for tensor in batch)
    return torch.nn.functional.mse_loss(model(inputs), targets)


def breaking_at(step):
    calls = []

    def make(seed):
        calls.append(seed)
        if len(calls) > step:
            raise BrokenOff
        return make_batch(seed)

    return make


def assert_same_weights(left, right):
    for name, value in left.state_dict().items():
        assert torch.equal(value, right.state_dict()[name]), name


def losses(log):
    return [(entry["step"], entry["loss"]) for entry in log]


@pytest.mark.parametrize("broken_at", [3, 7, 13, 29])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, broken_at):
    unbroken, resumed = small_model(), small_model()
    unbroken_log = train(unbroken, make_batch, squared_error, OPTIONS, tmp_path / "unbroken")

    with pytest.raises(BrokenOff):
        train(small_model(), breaking_at(broken_at), squared_error, OPTIONS, tmp_path / "resumed")
    torch.rand(5)  # the random state of another process is not the one that was left
    resumed_log = train(resumed, make_batch, squared_error, OPTIONS, tmp_path / "resumed")

    assert_same_weights(unbroken, resumed)
    assert losses(unbroken_log) == losses(resumed_log)


def test_another_seed_gives_other_weights(tmp_path):
    first, second = small_model(), small_model()

    train(first, make_batch, squared_error, OPTIONS, tmp_path / "1")
    train(second, make_batch, squared_error, replace(OPTIONS, seed=4), tmp_path / "2")

    assert not torch.equal(first[0].weight, second[0].weight)


def test_a_finished_run_that_is_started_again_gives_the_same_weights(tmp_path):
    first, again = small_model(), small_model()
    options = replace(OPTIONS, checkpoint_every=10)
    train(first, make_batch, squared_error, options, tmp_path)

    train(again, breaking_at(0), squared_error, options, tmp_path)

    assert_same_weights(first, again)


def test_training_learns_and_leaves_its_log(tmp_path):
    model = small_model()

    log = train(model, make_batch, squared_error, replace(OPTIONS, steps=200), tmp_path)

    written = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    assert written["log"] == log
    assert written["options"]["seed"] == 3
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert not model.training


def test_the_time_limit_ends_a_run(tmp_path):
    options = replace(OPTIONS, steps=10_000_000, time_limit_s=0.3, log_every=1)

    log = train(small_model(), make_batch, squared_error, options, tmp_path)

    assert 0 < len(log) < 10_000_000
    assert log[-1]["elapsed_s"] < 5.0
