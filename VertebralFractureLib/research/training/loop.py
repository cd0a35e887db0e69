"""One training loop for every model: seeded, resumable, on CPU or GPU, in bfloat16 where the machine is fast at it.

A batch is a pure function of ``(seed, step)`` and each step seeds the random state that dropout draws from, so a
resumed run takes exactly the steps that one without interruption would.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from VertebralFractureLib.atomic_write import atomic_write, write_file

logger = logging.getLogger(__name__)

BatchMaker = Callable[[int], Any]
"""From a step's seed to a batch (any structure that the loss understands)."""
LossFunction = Callable[[torch.nn.Module, Any, torch.device], torch.Tensor]


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


def training_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
) -> list[dict[str, float]]:
    """Train ``model`` in place and return its log, one entry per ``log_every`` steps and one for the last step.

    ``folder`` holds ``checkpoint.pt`` (resumed from when it is there) and ``log.json``.
    """
    device = training_device()
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint_path = folder / "checkpoint.pt"
    first_step, log, spent_s, averaging = 0, [], 0.0, False
    running, seen = 0.0, 0
    if checkpoint_path.is_file():
        saved = torch.load(checkpoint_path, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, first_step, spent_s = saved["average"], int(saved["step"]), float(saved["spent_s"])
        averaging = bool(saved["averaging"])
        log = json.loads(saved["log"])
        running, seen = float(saved["running"]), int(saved["seen"])
    started = time.monotonic() - spent_s
    use_bfloat16 = _bfloat16_is_fast(device)
    step = first_step
    while step < options.steps:
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
        if step % options.log_every == 0 or step == options.steps:
            log.append({"step": step, "loss": running / seen, "elapsed_s": time.monotonic() - started})
            logger.info("step %d of %d, loss %.4f, %.0f s", step, options.steps, running / seen, log[-1]["elapsed_s"])
            running, seen = 0.0, 0
        if step % options.checkpoint_every == 0:
            progress = {
                "step": step,
                "averaging": averaging,
                "running": running,
                "seen": seen,
                "log": json.dumps(log),
                "spent_s": time.monotonic() - started,
            }
            _save_checkpoint(checkpoint_path, model, optimizer, average, progress)
    if averaging:
        model.load_state_dict(average)
    write_file(folder / "log.json", json.dumps({"options": asdict(options), "log": log}, indent=1) + "\n")
    model.eval()
    return log


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
