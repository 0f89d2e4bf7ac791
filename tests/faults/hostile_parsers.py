"""Parsers that misbehave, for the process that has to survive them. Each is named to it as ``module:function``."""

from __future__ import annotations

import _socket
import ctypes
import os
import signal
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from indexer.parsers.blocks import Block, BlockKind, Notice, Title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = __name__
_PLENTY = 1 << 18


def well_behaved(file: BinaryIO, encoding: str) -> Iterator[Block | Notice]:
    yield Notice(message=f"process {os.getpid()}")
    yield Block(text=file.read().decode(encoding))


def tells_its_priority(file: BinaryIO, encoding: str) -> Iterator[Notice]:
    yield Notice(message=str(os.getpriority(os.PRIO_PROCESS, 0)))
    with suppress(FileNotFoundError):
        yield Notice(message=Path("/proc/self/autogroup").read_text())


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


def is_killed_with_much_memory(file: BinaryIO, encoding: str) -> Iterator[Block]:
    held = bytearray(b"x") * (200 << 20)
    os.kill(os.getpid(), signal.SIGKILL)
    yield Block(text=str(len(held)))


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


def notices_aplenty(file: BinaryIO, encoding: str) -> Iterator[Notice]:
    for _ in range(_PLENTY):
        yield Notice(message="It holds something that is left out.")


def notices_much(file: BinaryIO, encoding: str) -> Iterator[Block | Notice]:
    yield Block(text=file.read().decode(encoding))
    for number in range(1000):
        yield Notice(message=f"{number} " * 200)


def titles_aplenty(file: BinaryIO, encoding: str) -> Iterator[Title]:
    for _ in range(_PLENTY):
        yield Title(text="A title " * 2000)


def captions_aplenty(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for _ in range(_PLENTY):
        yield Block(text="", kind=BlockKind.TABLE, header="a header " * 200, caption="a caption " * 200)


def headings_aplenty(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for _ in range(_PLENTY):
        yield Block(text="", kind=BlockKind.HEADING, level=1, heading="a heading " * 200)


def empty_aplenty(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for _ in range(_PLENTY):
        yield Block(text="")


def speaks_nonsense(file: BinaryIO, encoding: str) -> Iterator[Block]:
    os.write(int(sys.argv[1]), b"\x00\x00\x00\x03abc")
    yield Block(text="")


def announces_a_huge_reply(file: BinaryIO, encoding: str) -> Iterator[Block]:
    os.write(int(sys.argv[1]), b"\xff\xff\xff\xff")
    yield Block(text="")


def wants_out(file: BinaryIO, encoding: str) -> Iterator[Block]:
    """Tells what of the outside it could reach, by what a library could use."""
    reached = []
    with suppress(PermissionError):
        socket.create_connection(("127.0.0.1", 9))
        reached.append("network")
    if "SECRET_OF_THE_PARENT" in os.environ:
        reached.append("environment")
    yield Block(text=",".join(reached) or "nothing")


def breaks_out(file: BinaryIO, encoding: str) -> Iterator[Block]:
    """The file's text names a folder, a file and a port; tells which of the system's calls did something there."""
    folder, port = file.read().decode().split("\n")

    def connects() -> None:
        with closing(_socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)) as opened:
            opened.connect(("127.0.0.1", int(port)))

    def sends() -> None:
        with closing(_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)) as opened:
            opened.sendto(b"x", ("127.0.0.1", int(port)))

    ways: dict[str, Callable[[], object]] = {
        "connects": connects,
        "sends": sends,
        "makes": lambda: os.close(os.open(f"{folder}/new", os.O_CREAT | os.O_WRONLY)),
        "writes": lambda: os.close(os.open(f"{folder}/precious", os.O_WRONLY)),
        "truncates": lambda: os.truncate(f"{folder}/precious", 0),
        "deletes": lambda: os.unlink(f"{folder}/precious"),  # noqa: PTH108
        "renames": lambda: os.rename(f"{folder}/precious", f"{folder}/other"),  # noqa: PTH104
        "links": lambda: os.symlink("/etc", f"{folder}/link"),  # noqa: PTH211
        "makes a folder": lambda: os.mkdir(f"{folder}/sub"),  # noqa: PTH102
    }
    done = []
    for name, way in ways.items():
        with suppress(OSError):
            way()
            done.append(name)
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123  # what libraries do to be silent
        nothing.write(b"x")
    yield Block(text=",".join(done) or "nothing")


def hangs_in_c(file: BinaryIO, encoding: str) -> Iterator[Block]:
    """Runs where no other Python thread does."""
    yield Block(text="x" * 200_000)
    ctypes.PyDLL(None).pause()


def is_slow_but_alive(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for number in range(6):
        time.sleep(0.5)
        yield Block(text=f"part {number}\n\n", kind=BlockKind.PARAGRAPH)


def works_silently(file: BinaryIO, encoding: str) -> Iterator[Block]:
    for _ in range(30):
        time.sleep(0.1)
        yield None
    yield Block(text="done")
