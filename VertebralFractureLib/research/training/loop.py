"""One training loop for every model: seeded, resumable, on CPU or GPU, in bfloat16 where the machine is fast at it.

A batch is a pure function of ``(seed, step)`` and each step seeds the random state that dropout draws from, so a
resumed run takes exactly the steps that one without interruption would.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from VertebralFractureLib.atomic_write import atomic_write, write_file
from VertebralFractureLib.compute_device import usable_device
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.options import AUTOMATIC
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

logger = logging.getLogger(__name__)

BatchMaker = Callable[[int], Any]
"""From a step's seed to a batch (any structure that the loss understands)."""
LossFunction = Callable[[torch.nn.Module, Any, torch.device], torch.Tensor]
LogEntry = dict[str, float]
CHECKPOINT = "checkpoint.pt"
_LOG_COLUMNS = ("step", "loss", "validation_loss", "elapsed_s")
_FREE_TO_CHANGE = ("checkpoint_every", "log_every", "device")
"""Options that change nothing about the weights that a run gives."""


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how: ``learning_rate`` is warmed up over 5 % of the steps and then follows a cosine to 1 %."""

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0
    checkpoint_every: int = 200
    log_every: int = 50
    average_from: float = 0.6
    """From this share of the steps on, an exponential average of the weights is kept; it is what the run returns."""
    average_decay: float = 0.99
    time_limit_s: float | None = None
    """Stop after this wall time even if steps are left; the schedule then follows time, not steps."""
    device: str = AUTOMATIC
    """One of ``options.DEVICES``."""


@dataclass(frozen=True)
class Validation:
    """Batches of patients that do not train: their loss says when to stop.

    Attributes:
        batches: always the same ones.
        every: steps between two looks at them.
        patience: looks in a row without a lower loss after which the run ends and returns the weights with the lowest;
            None only writes the loss down.
    """

    batches: Sequence[Any]
    every: int = 100
    patience: int | None = None


@dataclass
class _Best:
    """The lowest validation loss so far, and its weights."""

    loss: float = math.inf
    state: dict[str, torch.Tensor] | None = None
    worse: int = 0


def _bfloat16_is_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = Path("/proc/cpuinfo")
    if not flags.is_file():
        return False
    text = flags.read_text(encoding="utf-8", errors="replace")
    return "amx_bf16" in text or "avx512_bf16" in text


def train(
    model: torch.nn.Module,
    make_batch: BatchMaker,
    loss_of: LossFunction,
    options: TrainingOptions,
    folder: Path,
    made_of: Mapping[str, Any] | None = None,
    validation: Validation | None = None,
    *,
    anew: bool = False,
) -> list[LogEntry]:
    """Train ``model`` in place and return its log, one entry per ``log_every`` steps and one for the last step.

    ``folder`` holds ``checkpoint.pt`` (resumed from when it is there), ``log.json`` and ``log.csv``.

    Args:
        made_of: what the run depends on beside ``options`` (data, fold, model, ...), as plain values: a checkpoint of
            another run is not gone on from.
        validation: held-out batches to watch.
        anew: a checkpoint of another run is left behind instead of refused.

    Raises:
        OptionRefused: when the folder holds a checkpoint of another run; the sentence names what differs.
        DeviceMissing: when a card is wanted and there is none.
    """
    device = torch.device(usable_device(options.device))
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint_path = folder / CHECKPOINT
    fingerprint = _fingerprint(options, made_of or {}, validation)
    first_step, log, spent_s, averaging = 0, [], 0.0, False
    running, seen = 0.0, 0
    best, is_over = _Best(), False
    if anew:
        _leave_other_run(checkpoint_path, fingerprint)
    if checkpoint_path.is_file():
        saved = torch.load(checkpoint_path, map_location=device, weights_only=True)
        _refuse_other_run(json.loads(saved.get("fingerprint", "{}")), fingerprint, folder)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, first_step, spent_s = saved["average"], int(saved["step"]), float(saved["spent_s"])
        averaging = bool(saved["averaging"])
        log = json.loads(saved["log"])
        running, seen = float(saved["running"]), int(saved["seen"])
        best, is_over = _Best(float(saved["best_loss"]), saved["best"], int(saved["worse"])), bool(saved["is_over"])
        logger.info("Going on from step %d of %d in %s", first_step, options.steps, folder)
    started = time.monotonic() - spent_s
    use_bfloat16 = _bfloat16_is_fast(device)
    step = first_step
    while step < options.steps and not is_over:
        elapsed = time.monotonic() - started
        share = step / options.steps
        if options.time_limit_s is not None:
            share = max(share, elapsed / options.time_limit_s)
            if elapsed >= options.time_limit_s:
                break
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _schedule(share)
        step_seed = options.seed * 1_000_003 + step
        batch = make_batch(step_seed)
        torch.manual_seed(step_seed)
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16):
            loss = loss_of(model, batch, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        step += 1
        running, seen = running + float(loss.detach()), seen + 1
        if share >= options.average_from:
            _update_average(average, model, options.average_decay if averaging else 0.0)
            averaging = True
        looked = validation is not None and (step % validation.every == 0 or step == options.steps)
        if step % options.log_every == 0 or step == options.steps or looked:
            entry = {"step": step, "loss": running / seen, "elapsed_s": time.monotonic() - started}
            said = ""
            if looked and validation is not None:
                now = {
                    key: value.detach().clone() for key, value in (average if averaging else model.state_dict()).items()
                }
                entry["validation_loss"] = _validation_loss(model, now, validation, loss_of, device)
                said = f", on held-out patients {entry['validation_loss']:.4f}"
                is_over = _note_look(best, entry["validation_loss"], now, validation)
            log.append(entry)
            logger.info(
                "step %d of %d, loss %.4f%s, %.0f s", step, options.steps, running / seen, said, entry["elapsed_s"]
            )
            running, seen = 0.0, 0
        if step % options.checkpoint_every == 0 or is_over:
            progress = {
                "step": step,
                "averaging": averaging,
                "running": running,
                "seen": seen,
                "log": json.dumps(log),
                "spent_s": time.monotonic() - started,
                "fingerprint": json.dumps(fingerprint, sort_keys=True),
                "best": best.state,
                "best_loss": best.loss,
                "worse": best.worse,
                "is_over": is_over,
            }
            _save_checkpoint(checkpoint_path, model, optimizer, average, progress)
    if validation is not None and validation.patience is not None and best.state is not None:
        model.load_state_dict(best.state)
    elif averaging:
        model.load_state_dict(average)
    content = {"options": asdict(options), "made_of": fingerprint, "log": log}
    write_file(folder / "log.json", json.dumps(content, indent=1) + "\n")
    write_file(folder / "log.csv", _as_csv(log))
    model.eval()
    return log


def _fingerprint(options: TrainingOptions, made_of: Mapping[str, Any], validation: Validation | None) -> dict[str, Any]:
    """What the weights of a run depend on, as JSON has it."""
    own = {name: value for name, value in asdict(options).items() if name not in _FREE_TO_CHANGE}
    watched = {} if validation is None else {"every": validation.every, "patience": validation.patience}
    content: dict[str, Any] = json.loads(json.dumps({**own, **made_of, **watched}))
    return content


def _refuse_other_run(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Check that a checkpoint is of the run that is asked for.

    Raises:
        OptionRefused: otherwise.
    """
    name = one_line(folder.name, NAME_LIMIT)
    if not found:
        raise OptionRefused(
            f"'{name}' holds a checkpoint of an earlier version, which does not say what it was trained on; "
            "remove it or choose another --out."
        )
    other = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if other:
        differences = ", ".join(
            f"{key} ({_brief(found.get(key))} there, {_brief(wanted.get(key))} now)" for key in other
        )
        raise OptionRefused(
            f"'{name}' holds a checkpoint of another run: {differences}. "
            "Choose another --out, or remove it to train anew."
        )


def _leave_other_run(path: Path, wanted: Mapping[str, Any]) -> None:
    """Remove a checkpoint of another run, and say so."""
    if not path.is_file():
        return
    found = json.loads(torch.load(path, map_location="cpu", weights_only=True).get("fingerprint", "{}"))
    if found != wanted:
        logger.info("Data or options have changed: '%s' is trained anew", path.parent)
        path.unlink()


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _validation_loss(
    model: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    validation: Validation,
    loss_of: LossFunction,
    device: torch.device,
) -> float:
    """Mean loss over the held-out batches of the model with the tensors ``state``; the model stays as it was."""
    own = {key: value.detach().clone() for key, value in model.state_dict().items()}
    model.load_state_dict(dict(state))
    model.eval()
    with torch.no_grad():
        losses = [float(loss_of(model, batch, device)) for batch in validation.batches]
    model.load_state_dict(own)
    model.train()
    return sum(losses) / len(losses)


def _note_look(best: _Best, loss: float, state: dict[str, torch.Tensor], validation: Validation) -> bool:
    """Keep the state with the lowest loss; whether patience is at its end."""
    if loss < best.loss:
        best.loss, best.state, best.worse = loss, state, 0
    else:
        best.worse += 1
    return validation.patience is not None and best.worse >= validation.patience


def _as_csv(log: Sequence[LogEntry]) -> str:
    """The log as a table for spreadsheets; a cell is empty where nothing was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_LOG_COLUMNS)
    writer.writerows([entry.get(column, "") for column in _LOG_COLUMNS] for entry in log)
    return text.getvalue()


def _schedule(share: float) -> float:
    if share < 0.05:
        return 0.05 + 0.95 * share / 0.05
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min((share - 0.05) / 0.95, 1.0)))


def _update_average(average: dict[str, torch.Tensor], model: torch.nn.Module, decay: float) -> None:
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].mul_(decay).add_(value, alpha=1.0 - decay)
            else:
                average[key].copy_(value)


def _save_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
    progress: dict[str, Any],
) -> None:
    """Save everything that going on needs; a break while writing leaves the checkpoint before it."""
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
    with atomic_write(path) as partial:
        torch.save({**states, **progress}, partial)
