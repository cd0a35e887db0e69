"""Change a JSON text as a broken or a hostile program would: values, rows, keys, numbers and the text itself."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 3, 7, 9, 999, 1e9, -20.0, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", "T99", "healthy", "banana", "scored", "0.5", "\u202e", "a\x1b[2J\x00", "x" * 20_000, "9" * 400),
    *([], {}, [None], [[1, 2], 3], {"a": 1}, [0.0] * 6000, [[0.0, 0.0, 1e9]] * 2),
)

_ODD_TEXT = (
    "1e999",
    "NaN",
    "-Infinity",
    "9" * 5000,
    "[" * 3000,
    '{"a":' * 3000,
    '"\\ud800"',
    '"status":1,',
    "\x00",
    "  ",
)


def mutate_json(content: bytes, chance: random.Random) -> bytes:
    """One to three changes of the values, then perhaps one of the text."""
    value = json.loads(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        value = _mutate(value, chance)
    text = json.dumps(value)
    kind = chance.random()
    if kind < 0.1:
        text = _mutate_text(text, chance)
    return text.encode("utf-8", "surrogatepass")


def mutate_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat or remove bytes, one to three times."""
    for _ in range(chance.randint(1, 3)):
        if len(content) < 4:
            return content
        at, piece = chance.randrange(len(content)), chance.randint(1, 40)
        content = chance.choice(
            (
                content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :],
                content[:at],
                content[:at] + content[at : at + piece] + content[at:],
                content[:at] + content[at + piece :],
            )
        )
    return content


def _mutate(value: Any, chance: random.Random) -> Any:
    parent, key, node = None, None, value
    while isinstance(node, dict | list) and node and (parent is None or chance.random() < 0.8):
        parent, key = node, chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
        node = parent[key]
    if parent is None:
        return copy.deepcopy(chance.choice(ODD_VALUES))
    kind = chance.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(node))
    elif kind == 2 and isinstance(parent, list) and len(parent) > 1:
        other = chance.randrange(len(parent))
        parent[key], parent[other] = parent[other], parent[key]
    elif kind == 3 and isinstance(parent, dict):
        parent[str(key) + chance.choice("x ")] = parent.pop(key)
    elif kind in (4, 5) and isinstance(node, int | float) and not isinstance(node, bool):
        parent[key] = chance.choice((-node, node * 1000, node + 1, node + 1e-7, node * 1.5, float(node), str(node)))
    else:
        parent[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    return value


def _mutate_text(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(_ODD_TEXT) + text[at:]
