"""Unpack gzip and zlib streams and prove that they are whole.

SimpleITK stops before the checksum at the end of a stream: a file with a single wrong bit can reach it with most voxels
wrong and no error. zlib compares the checksum here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK_BYTES = 1 << 20
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def read_unpacked_blocks(reader: BinaryIO) -> Iterator[bytes]:
    """The content of the stream (or of several, one after the other) from the reader's position to its end.

    Raises:
        EOFError: when the stream is cut off.
        zlib.error: when its content or its checksum is wrong.
    """
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    while block := reader.read(_BLOCK_BYTES):
        while block:
            if stream.eof:
                # Some archives fill the last block of a file with zeros.
                block = block.lstrip(b"\0")
                if not block:
                    break
                stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            yield stream.decompress(block)
            block = stream.unused_data
    if not stream.eof:
        raise EOFError


def read_plain_blocks(reader: BinaryIO) -> Iterator[bytes]:
    """The content of a file that is not compressed."""
    while block := reader.read(_BLOCK_BYTES):
        yield block
