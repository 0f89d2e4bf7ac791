"""The child process that parses: it limits itself, then answers one request after the other until its parent goes."""

from __future__ import annotations

import faulthandler
import os
import resource
import socket
import sys
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

from indexer.parsers.blocks import Block, Notice, Title
from indexer.parsers.registry import load_parser
from indexer.wire import Failure, Finished, ParseRequest, Pieces, decode_request, frame, frame_length
from rag.errors import ParserOutOfMemory, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from indexer.parsers.blocks import Parsed

_BATCH_CHARS: Final = 1 << 17
# Quiet for this long, the parent is told that work goes on.
_SIGN_OF_LIFE_S: Final = 1.0
# Only error output is written; the kernel stops anything else.
_MAX_FILE_BYTES: Final = 1 << 20
_PARENT_CHECK_S: Final = 2.0

_parser = lru_cache(maxsize=None)(load_parser)


def main() -> None:
    """Serve the channel whose descriptor is the first argument, within the bytes of memory given as the second."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    limit_process(int(sys.argv[2]))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    while (received := _receive(channel)) is not None:
        request, descriptor = received
        _serve(channel.sendall, request, descriptor)


def limit_process(memory_bytes: int) -> None:
    """Give up memory beyond the limit, core dumps, writing files and the network."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    # No parser has a reason to open a connection; this stops libraries, the limits above stop the rest.
    socket.socket = _NoSocket  # type: ignore[assignment,misc]


class _NoSocket:
    def __init__(self, *_arguments: object, **_options: object) -> None:
        _refuse_network()


def _refuse_network() -> NoReturn:
    raise PermissionError("parsers have no network")


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone: a file that hangs its parser must not outlive the ingestion."""
    waiting = threading.Event()
    while os.getppid() == parent:
        waiting.wait(_PARENT_CHECK_S)
    os._exit(0)


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
            for pieces in batches(_parser(request.parser)(file, request.encoding)):
                send(frame(pieces))
    except SourceError as error:
        send(frame(Failure(code=error.code, message=error.message, hint=error.hint)))
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0] >> 20
        message = f"Parsing this file needs more memory than the limit of {limit} MiB."
        hint = "Raise RAG_PARSE_MEMORY_BYTES, or split the file."
        send(frame(Failure(code=ParserOutOfMemory.code, message=message, hint=hint)))
    else:
        send(frame(Finished()))


def batches(parsed: Iterator[Parsed]) -> Iterator[Pieces]:
    """Group what a parser yields; a slow parser's batches are small, so the parent sees that it lives."""
    blocks: list[Block] = []
    notices: list[str] = []
    title = ""
    size = 0
    sent = time.monotonic()
    for item in parsed:
        if isinstance(item, Block):
            blocks.append(item)
            size += len(item.text)
        elif isinstance(item, Title):
            title = item.text
        elif isinstance(item, Notice):
            notices.append(item.message)
        now = time.monotonic()
        if size >= _BATCH_CHARS or now - sent >= _SIGN_OF_LIFE_S:
            yield Pieces(blocks=blocks, title=title, notices=notices)
            blocks, notices, title, size, sent = [], [], "", 0, now
    if blocks or notices or title:
        yield Pieces(blocks=blocks, title=title, notices=notices)


if __name__ == "__main__":
    main()
