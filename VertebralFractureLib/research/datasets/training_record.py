"""What weights say of the scans that they were trained on; read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def trained_scans(config: Mapping[str, Any]) -> list[str]:
    """The real scans that weights were trained on, those of what they started from included, as far as they say."""
    record = config.get("training", config)
    before = record.get("first_stage") or {}
    return sorted({*record.get("scans", ()), *before.get("scans", ()), *record.get("started_from_scans", ())})
