"""Parsers that misbehave, for the process that has to survive them. Each is named to it as ``module:function``."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from indexer.parsers.blocks import Block, BlockKind, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = __name__


def well_behaved(file: BinaryIO, encoding: str) -> Iterator[Block | Notice]:
    yield Notice(message=f"process {os.getpid()}")
    yield Block(text=file.read().decode(encoding))


def hangs(file: BinaryIO, encoding: str) -> Iterator[Block]:
    yield Block(text="x" * 200_000)
    signal.pause()


def hangs_when_told(file: BinaryIO, encoding: str) -> Iterator[Block]:
    text = file.read().decode(encoding)
    if "hang" in text:
        signal.pause()
    yield Block(text=text)


def segfaults(file: BinaryIO, encoding: str) -> Iterator[Block]:
    yield Block(text="x" * 200_000)
    os.kill(os.getpid(), signal.SIGSEGV)


def raises(file: BinaryIO, encoding: str) -> Iterator[Block]:
    yield Block(text="before\n\n")
    raise ValueError("the parser met something it did not expect")


def exits(file: BinaryIO, encoding: str) -> Iterator[Block]:
    sys.exit(3)
    yield Block(text="")


def is_killed(file: BinaryIO, encoding: str) -> Iterator[Block]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield Block(text="")


def takes_all_memory(file: BinaryIO, encoding: str) -> Iterator[Block]:
    held = []
    while True:
        held.append(bytearray(1 << 24))
        yield None


def aborts(file: BinaryIO, encoding: str) -> Iterator[Block]:
    os.abort()
    yield Block(text="")


def aborts_for_want_of_memory(file: BinaryIO, encoding: str) -> Iterator[Block]:
    """As libraries do: they double what they have until they cannot, and say nothing."""
    held = bytearray(1 << 20)
    try:
        while True:
            held += b"x" * len(held)
    except MemoryError:
        os.abort()
    yield Block(text="")


def recurses(file: BinaryIO, encoding: str) -> Iterator[Block]:
    yield from recurses(file, encoding)


def floods(file: BinaryIO, encoding: str) -> Iterator[Block]:
    while True:
        yield Block(text="x" * 16_000)


def speaks_nonsense(file: BinaryIO, encoding: str) -> Iterator[Block]:
    os.write(int(sys.argv[1]), b"\x00\x00\x00\x03abc")
    yield Block(text="")


def announces_a_huge_reply(file: BinaryIO, encoding: str) -> Iterator[Block]:
    os.write(int(sys.argv[1]), b"\xff\xff\xff\xff")
    yield Block(text="")


def wants_out(file: BinaryIO, encoding: str) -> Iterator[Block]:
    """Tells what of the outside it could reach."""
    reached = []
    try:
        socket.create_connection(("127.0.0.1", 9))
        reached.append("network")
    except PermissionError:
        pass
    try:
        # Python buffers; only the flush meets the limit.
        with open(f"/tmp/plumbline-{os.getpid()}", "wb") as escape:  # noqa: PTH123, S108
            escape.write(b"x" * (1 << 21))
        reached.append("files")
    except OSError:
        pass
    if "SECRET_OF_THE_PARENT" in os.environ:
        reached.append("environment")
    os.unlink(f"/tmp/plumbline-{os.getpid()}")  # noqa: PTH108, S108
    yield Block(text=",".join(reached) or "nothing")


def is_slow_but_alive(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for number in range(6):
        time.sleep(0.5)
        yield Block(text=f"part {number}\n\n", kind=BlockKind.PARAGRAPH)


def works_silently(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for _ in range(30):
        time.sleep(0.1)
        yield None
    yield Block(text="done")
