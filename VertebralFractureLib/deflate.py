"""Deflate streams (gzip, zlib) by ISA-L where it is installed (``pip install isal``), else by Python's own zlib.

ISA-L unpacks a CT twice and packs it five times as fast; what it writes is read by either, and both compare checksums.
"""

from __future__ import annotations

import zlib
from functools import cache
from types import ModuleType
from typing import Any

_GZIP, _GZIP_OR_ZLIB = 16 + zlib.MAX_WBITS, 32 + zlib.MAX_WBITS
_QUICK = 1
"""Level of compression: zlib's next one halves the speed for a few percent."""


@cache
def find_codec() -> ModuleType:
    """The module that packs and unpacks; it has what zlib has, and its own ``error``."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    found: ModuleType = isal_zlib
    return found


def new_unpacker() -> Any:
    """A ``decompressobj`` for gzip or zlib; it raises ``find_codec().error``."""
    return find_codec().decompressobj(_GZIP_OR_ZLIB)


def new_packer() -> Any:
    """A ``compressobj`` for gzip, as fast as the codec can."""
    return find_codec().compressobj(_QUICK, zlib.DEFLATED, _GZIP)
