"""Parsing in a child process with limits, so that a hostile or broken file costs itself and nothing else."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Final, Self

from indexer.parsers.registry import PARSERS
from indexer.parsing.wire import (
    Ended,
    Failure,
    Finished,
    ParseRequest,
    Pieces,
    decode_ended,
    decode_reply,
    frame,
    frame_length,
)
from rag.errors import ParserCrashed, ParserOutOfMemory, ParserTimeout, SourceError, SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import BinaryIO

    from indexer.parsers.blocks import Limits
    from indexer.parsing.wire import Found, Reply
    from rag.config import Settings

# Long enough that starting (a third of a second) is noise, short enough that what a library leaks stays small.
_FILES_PER_PROCESS: Final = 200
# More text than this from one file is not a document but a bomb: formats that compress can write any amount.
_MAX_TEXT_CHARS: Final = 1 << 26
_MAX_TEXT_PER_BYTE: Final = 4
_STDERR_TAIL: Final = 16_000
_KEPT_ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
# Libraries reserve address space for every core; on large machines that alone would reach the memory limit.
_SMALL_RESERVES: Final = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_OUT_OF_MEMORY: Final = ("MemoryError", "out of memory", "Memory allocation failed", "Cannot allocate memory")
_ABORTED: Final = (-signal.SIGABRT, -signal.SIGTRAP, -signal.SIGILL)
_LINGER_S: Final = 5.0
# Limits of time may be infinite; a socket waits for 24 days at most.
_LONGEST_WAIT_S: Final = 2e6
# What Rust's libraries say before they abort; Python's own last words come after it.
_RUST_OUT_OF_MEMORY: Final = "memory allocation of "

_CRASH_HINT: Final = "The file may be damaged; other files are not affected."

_SOURCE_ERRORS: Final = {error.code: error for error in SourceError.__subclasses__()}


class IsolatedParsers:
    """Runs parsers in one child process that is kept for the next file and replaced when it fails.

    ``timeout_s`` is how long the child may go without handing over anything while it is waited for, ``longest_s`` how
    long it may take for one file; time that the caller spends on what it got does not count. ``memory_bytes`` limits
    the child's address space. ``parsers`` maps media types to ``module:function``.

    The child gets an open file and no path, and no environment beyond the basics. Where the kernel has the means it can
    neither write, make nor delete files, nor reach a network (``indexer.parsing.confinement``); elsewhere Python's
    sockets are closed to it, and files of more than a mebibyte. One caller at a time.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        memory_bytes: int,
        longest_s: float = math.inf,
        parsers: Mapping[str, str] = PARSERS,
    ) -> None:
        self._timeout_s = timeout_s
        self._longest_s = longest_s
        self._memory_bytes = memory_bytes
        self._parsers = parsers
        self._child: _Child | None = None
        self._nested: IsolatedParsers | None = None

    @classmethod
    def limited_by(cls, settings: Settings) -> Self:
        return cls(
            timeout_s=settings.parse_timeout_s,
            longest_s=settings.parse_longest_s,
            memory_bytes=settings.parse_memory_bytes,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child process, and those of the parsers nested in it."""
        if self._nested is not None:
            self._nested.close()
        if self._child is not None:
            self._child.kill()
            self._child = None

    def nested(self) -> IsolatedParsers:
        """Parsers in another process, for a member while the process that holds its container waits for more."""
        if self._nested is None:
            self._nested = IsolatedParsers(
                timeout_s=self._timeout_s,
                longest_s=self._longest_s,
                memory_bytes=self._memory_bytes,
                parsers=self._parsers,
            )
        return self._nested

    def parse(
        self, file: BinaryIO, *, media_type: str, encoding: str, size: int, limits: Limits | None = None
    ) -> Generator[Found]:
        """Parse an open file of ``size`` bytes and yield what is found, in order, as it is found.

        ``limits`` bound what a container unpacks and are given for containers only; other files have no members.

        The child waits while the caller works, so memory stays bounded on both sides. Closing the iterator early
        ends the child.

        Raises:
            SourceError: as the parser found it.
            ParserTimeout, ParserOutOfMemory, ParserCrashed: the child failed.
            SourceTooLarge: the file holds more text than any document does.
        """
        child = self._ready_child()
        finished = False
        limit = max(_MAX_TEXT_CHARS, _MAX_TEXT_PER_BYTE * size)
        characters = 0
        left_s = self._longest_s
        try:
            child.send(ParseRequest(parser=self._parsers[media_type], encoding=encoding, limits=limits), file)
            while True:
                began = time.monotonic()
                try:
                    reply = child.receive(min(self._timeout_s, left_s))
                except TimeoutError as error:
                    raise self._timeout(silent=self._timeout_s < left_s) from error
                left_s -= time.monotonic() - began
                if isinstance(reply, Finished):
                    break
                if isinstance(reply, Failure):
                    # After running out of memory nothing in the child can be relied on.
                    finished = reply.code != ParserOutOfMemory.code
                    raise _SOURCE_ERRORS.get(reply.code, ParserCrashed)(reply.message, hint=reply.hint)
                if isinstance(reply, Pieces):
                    characters += reply.cost
                if characters > limit:
                    raise SourceTooLarge(
                        f"The file holds more than {limit:,} characters of text.",
                        hint="It may be a decompression bomb; if it is a real document, split it.",
                    )
                yield reply
            finished = True
        finally:
            if not finished or child.files >= _FILES_PER_PROCESS:
                self.close()

    def _timeout(self, *, silent: bool) -> ParserTimeout:
        if silent:
            told, setting = f"found nothing new for {self._timeout_s:g} s", "RAG_PARSE_TIMEOUT_S"
        else:
            told, setting = f"was not done after {self._longest_s:g} s", "RAG_PARSE_LONGEST_S"
        return ParserTimeout(
            f"The parser {told} and was stopped.", hint=f"Raise {setting} if the file is worth the wait."
        )

    def _ready_child(self) -> _Child:
        if self._child is None or not self._child.alive:
            self.close()
            self._child = _Child(self._memory_bytes)
        return self._child


class _Child:
    """The process and the channel to it."""

    def __init__(self, memory_bytes: int) -> None:
        self.files = 0
        self._memory_bytes = memory_bytes
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; closed in kill
        self._channel, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        environment |= _SMALL_RESERVES
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this Python and a module of this package
                # -P: the working directory must not be able to replace a library; -B: it may not write files.
                [sys.executable, "-P", "-B", "-m", "indexer.parsing.process", str(theirs.fileno()), str(memory_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                pass_fds=[theirs.fileno()],
                env=environment,
                # Ctrl-C is for the parent to handle: it finishes what is being embedded first. And both processes,
                # the one that parses and the one that waits for it, are ended as one group.
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        if self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._channel.close()
        self._stderr.close()

    def send(self, request: ParseRequest, file: BinaryIO) -> None:
        self.files += 1
        file.seek(0)
        try:
            socket.send_fds(self._channel, [frame(request)], [file.fileno()])
        except OSError as error:
            raise self._death() from error

    def receive(self, timeout_s: float) -> Reply:
        """Raises TimeoutError, ParserCrashed and ParserOutOfMemory."""
        deadline = time.monotonic() + timeout_s
        try:
            length = frame_length(self._read(4, deadline))
            return decode_reply(self._read(length, deadline))
        except ConnectionAbortedError as error:
            raise ParserCrashed(
                f"The parser crashed on this file (its process sent what is no reply: {error}).", hint=_CRASH_HINT
            ) from error
        except ConnectionError as error:
            raise self._death() from error

    def _read(self, count: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._channel.settimeout(min(remaining, _LONGEST_WAIT_S))
            part = self._channel.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise ConnectionResetError
            parts += part
        return bytes(parts)

    def _death(self) -> ParserCrashed | ParserOutOfMemory:
        """The error that tells how the child ended."""
        ended = self._ended()
        status = ended.status
        errors = self._error_output()
        said = _last_words(errors)
        # Libraries that cannot get memory abort, few with a word. What grows is copied: it asks for twice what it has.
        full = 3 * ended.peak_bytes > self._memory_bytes
        aborted = status in _ABORTED and (_RUST_OUT_OF_MEMORY in errors or full)
        killed = status == -signal.SIGKILL
        if (killed and full) or aborted or any(mark in said for mark in _OUT_OF_MEMORY):
            return out_of_memory(self._memory_bytes)
        if killed:
            held = f" when it had {ended.peak_bytes >> 20} MiB of memory" if ended.peak_bytes else ""
            return ParserCrashed(
                f"The parser was killed on this file{held}: by the system for want of memory, or by someone.",
                hint="See whether the machine, or the container, has memory to spare, and ingest the file again.",
            )
        if status < 0:
            cause = f"signal {signal.Signals(-status).name}"
            cause += f", {said}" if said else ""
        else:
            cause = said or f"exit status {status}"
        return ParserCrashed(f"The parser crashed on this file ({cause}).", hint=_CRASH_HINT)

    def _ended(self) -> Ended:
        try:
            report, _ = self._process.communicate(timeout=_LINGER_S)
        except subprocess.TimeoutExpired:
            # Its end of the channel is closed, so it was ending; what lingers is ended here.
            os.killpg(self._process.pid, signal.SIGKILL)
            report, _ = self._process.communicate()
        return decode_ended(report) if report else Ended(status=self._process.returncode, peak_bytes=0)

    def _error_output(self) -> str:
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - _STDERR_TAIL))
        return self._stderr.read().decode("utf-8", errors="replace")


def _last_words(errors: str) -> str:
    lines = errors.splitlines()
    fatal = [line for line in lines if line.startswith("Fatal Python error: ")]
    spoken = fatal or [line for line in lines if line.strip()]
    return spoken[-1].strip()[:300] if spoken else ""


def out_of_memory(memory_bytes: int) -> ParserOutOfMemory:
    return ParserOutOfMemory(
        f"Parsing this file needs more memory than the limit of {memory_bytes >> 20} MiB.",
        hint="Raise RAG_PARSE_MEMORY_BYTES, or split the file.",
    )
