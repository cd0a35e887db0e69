"""Unpack gzip and zlib streams in pieces of limited size and prove that they are whole.

SimpleITK stops before the checksum at the end of a stream: a file with a single wrong bit can reach it with most voxels
wrong and no error. The checksum is compared here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from VertebralFractureLib.deflate import find_codec, new_unpacker

_BLOCK_BYTES = 1 << 20
LARGEST_RATIO = 1032
"""No deflate stream unpacks to more than so many times its size (https://zlib.net/zlib_tech.html)."""


def read_unpacked_blocks(reader: BinaryIO) -> Iterator[bytes]:
    """The content of the stream (or of several, one after the other) from the reader's position to its end.

    Raises:
        EOFError: when the stream is cut off.
        zlib.error: when its content or its checksum is wrong.
    """
    stream = new_unpacker()
    while block := reader.read(_BLOCK_BYTES):
        while block:
            if stream.eof:
                # Some archives fill the last block of a file with zeros.
                block = block.lstrip(b"\0")
                if not block:
                    break
                stream = new_unpacker()
            yield from _unpack(stream, block)
            block = stream.unused_data
    if not stream.eof:
        raise EOFError


def _unpack(stream: Any, block: bytes) -> Iterator[bytes]:
    """All that a block holds, in pieces: a bomb is noticed by whoever counts them, before it takes memory."""
    while True:
        try:
            piece = stream.decompress(block, _BLOCK_BYTES)
        except find_codec().error as error:
            raise zlib.error(str(error)) from error
        if piece:
            yield piece
        block = stream.unconsumed_tail
        if stream.eof or (not block and len(piece) < _BLOCK_BYTES):
            return


def read_plain_blocks(reader: BinaryIO) -> Iterator[bytes]:
    """The content of a file that is not compressed."""
    while block := reader.read(_BLOCK_BYTES):
        yield block
