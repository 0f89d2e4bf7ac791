"""The child process that parses: it limits itself, then answers one request after the other until its parent goes.

It is forked by one that only waits for it and tells how it ended: a process inherits the peak of memory of the one that
executed it, so what a parser took is known of a process that was forked from a small one and executes nothing.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, cast

from indexer.parsers.blocks import Block, Member, Notice, Title
from indexer.parsers.registry import load_parser
from indexer.parsers.repair import repaired
from indexer.parsing.confinement import confine
from indexer.parsing.wire import (
    PART_BYTES,
    Ended,
    Failure,
    Finished,
    MemberBegins,
    MemberEnds,
    MemberPart,
    ParseRequest,
    Pieces,
    decode_request,
    encode_ended,
    frame,
    frame_length,
)
from rag.errors import ParserOutOfMemory, SourceError
from rag.priority import BEHIND, give_way, session_gives_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from indexer.parsers.blocks import ContainerParser, Parsed, Parser
    from indexer.parsing.wire import Found

_BATCH_CHARS: Final = 1 << 17
# Quiet for this long, the parent is told that work goes on.
_SIGN_OF_LIFE_S: Final = 1.0
# Only error output is written.
_MAX_FILE_BYTES: Final = 1 << 20
_MAXRSS_BYTES: Final = 1 if sys.platform == "darwin" else 1024

_parser = lru_cache(maxsize=None)(load_parser)


def main() -> None:
    """Serve the channel whose descriptor is the first argument, within the bytes of memory given as the second."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    living, ending = os.pipe()
    if child := os.fork():
        os.close(ending)
        _wait_for(child, living, channel)
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the end is told there, nothing else
    limit_process(int(sys.argv[2]))
    while (received := _receive(channel)) is not None:
        request, descriptor = received
        _serve(channel.sendall, request, descriptor)


def _wait_for(child: int, living: int, channel: socket.socket) -> None:
    """Tell how the child ends; end it when the parent is gone, for a hanging parser must not outlive the ingestion.

    ``living`` and the channel, which the parent has the other end of, are hung up with the process that holds them.
    """
    hung_up = select.poll()
    for each in (living, channel.fileno()):
        hung_up.register(each, 0)  # that is told unasked
    if all(descriptor != living for descriptor, _ in hung_up.poll()):
        os.kill(child, signal.SIGKILL)
    _pid, status, usage = os.wait4(child, 0)
    ended = Ended(status=os.waitstatus_to_exitcode(status), peak_bytes=usage.ru_maxrss * _MAXRSS_BYTES)
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), encode_ended(ended))
    channel.close()


def limit_process(memory_bytes: int) -> None:
    """Give up memory beyond the limit, core dumps, writing files and the network, as far as the system lets it, and let
    others come first.
    """
    give_way(BEHIND)
    session_gives_way()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    confine()
    # No parser has a reason to open a connection: so a library hears of it everywhere.
    socket.socket = _NoSocket  # type: ignore[assignment,misc]


class _NoSocket:
    def __init__(self, *_arguments: object, **_options: object) -> None:
        _refuse_network()


def _refuse_network() -> NoReturn:
    raise PermissionError("parsers have no network")


def _receive(channel: socket.socket) -> tuple[ParseRequest, int] | None:
    header, descriptors, _flags, _address = socket.recv_fds(channel, 4, 1)
    if not header:
        return None
    body = b""
    length = frame_length(header)
    while len(body) < length and (part := channel.recv(length - len(body))):
        body += part
    return decode_request(body), descriptors[0]


def _serve(send: Callable[[bytes], None], request: ParseRequest, descriptor: int) -> None:
    try:
        with os.fdopen(descriptor, "rb") as file:
            for found in batches(_parsed(file, request)):
                send(frame(found))
    except SourceError as error:
        send(frame(_failure(error)))
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0] >> 20
        message = f"Parsing this file needs more memory than the limit of {limit} MiB."
        hint = "Raise RAG_PARSE_MEMORY_BYTES, or split the file."
        send(frame(Failure(code=ParserOutOfMemory.code, message=message, hint=hint)))
    else:
        send(frame(Finished()))


def _parsed(file: BinaryIO, request: ParseRequest) -> Iterator[Parsed]:
    parser = _parser(request.parser)
    if request.limits is None:
        return repaired(cast("Parser", parser)(file, request.encoding))
    return repaired(cast("ContainerParser", parser)(file, request.encoding, request.limits))


def _failure(error: SourceError) -> Failure:
    return Failure(code=error.code, message=error.message, hint=error.hint)


def batches(parsed: Iterator[Parsed]) -> Iterator[Found]:
    """Group what a parser yields; a slow parser's batches are small, so the parent sees that it lives."""
    held = _Held()
    for item in parsed:
        if isinstance(item, Member):
            if held.anything:
                yield held.take()
            yield from _member(item)
            continue
        held.add(item)
        if held.size >= _BATCH_CHARS or time.monotonic() - held.since >= _SIGN_OF_LIFE_S:
            yield held.take()
    if held.anything:
        yield held.take()


class _Held:
    """What is found and not yet sent."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._blocks: list[Block] = []
        self._notices: list[str] = []
        self._title = ""
        self.size = 0
        self.since = time.monotonic()

    @property
    def anything(self) -> bool:
        return bool(self._blocks or self._notices or self._title)

    def add(self, item: Block | Notice | Title | None) -> None:
        if isinstance(item, Block):
            self._blocks.append(item)
            self.size += item.cost
        elif isinstance(item, Title):
            self._title = item.text
            self.size += len(item.text)
        elif isinstance(item, Notice):
            self._notices.append(item.message)
            self.size += len(item.message)

    def take(self) -> Pieces:
        pieces = Pieces(blocks=self._blocks, title=self._title, notices=self._notices)
        self._clear()
        return pieces


def _member(member: Member) -> Iterator[Found]:
    yield MemberBegins(name=member.name.encode("utf-8", errors="surrogateescape"))
    try:
        for data in member.content:
            for start in range(0, len(data), PART_BYTES):
                yield MemberPart(data=data[start : start + PART_BYTES])
    except SourceError as error:
        yield MemberEnds(failure=_failure(error))
    else:
        yield MemberEnds()


if __name__ == "__main__":
    main()
