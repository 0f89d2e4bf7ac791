"""An encoder in a process of its own, for programs that take documents in.

Threads that embed need Python's lock after each of some hundred operations a batch, and wait for it while documents are
read and stored; another process does not. It may have a lower priority than any thread that holds a lock which others
wait for. And where the kernel ends it for memory, that is told, and what is stored stays.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from rag.embedding.encoder import LocalEncoder
from rag.errors import ModelError, ModelUnloadable
from rag.priority import compute_behind, session_gives_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rag.embedding.encoder import Precision

_LOAD: Final = None
_END_HINT: Final = (
    "What was taken in before is stored. Run the command again, with more memory free if it was that; a job waits for "
    "another attempt by itself."
)
_GONE: Final = (EOFError, OSError)
_SIGNALS: Final = {each.value: each.name for each in signal.Signals}

_Told = Literal["loaded", "encoded", "unloadable", "failed"]


class EncoderProcess:
    """Implements ``Encoder`` with a child that is started when it is first needed, and again after it has ended."""

    def __init__(self, path: Path, *, threads: int, precision: Precision) -> None:
        self._arguments = (str(path), str(threads), precision)
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    @property
    def loaded(self) -> bool:
        return self._child is not None and self._child.loaded

    def load(self) -> None:
        with self._lock:
            self._loaded()

    def encode(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        with self._lock:
            return cast("NDArray[np.float32]", self._answer(self._loaded(), (texts, ids)))

    def close(self) -> None:
        """End the process, whatever it is at. What is embedded afterwards fails."""
        self._closed = True
        if (child := self._child) is not None:
            child.end()

    def _loaded(self) -> _Child:
        if self._child is None or self._child.ended:
            self._child = _Child(self._arguments)
            if self._closed:
                self._child.end()
            self._answer(self._child, _LOAD)
            self._child.loaded = True
        return self._child

    def _answer(self, child: _Child, request: object) -> object:
        try:
            child.connection.send(request)
            told, *found = cast("tuple[_Told, *tuple[Any, ...]]", child.connection.recv())
        except _GONE as error:
            self._child = None
            raise ModelError(f"The process that embeds has ended ({child.end()}).", hint=_END_HINT) from error
        except BaseException:  # the answer that is on its way would be taken for that to the next request
            self._child = None
            child.end()
            raise
        if told == "unloadable":
            self._child = None
            message, hint = found
            raise ModelUnloadable(message, hint=hint)
        if told == "failed":
            raise ModelError(f"The texts could not be embedded: {found[0]}.", hint=_END_HINT)
        return found[0] if found else None


class _Child:
    """The process and the connection to it; it ends when this is collected, and with the process that has it."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.loaded = False
        self.connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this Python and a module of this package
                # -P: the working directory must not be able to replace a library.
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
                # Ctrl-C is for the parent to handle: it finishes what is being embedded first.
                start_new_session=True,
            )
        self._finalizer = weakref.finalize(self, _end, self._process)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> str:
        """How it ended, now or before."""
        self._finalizer()
        status = self._process.wait()  # another thread may have it ended
        return f"signal {_SIGNALS.get(-status, -status)}" if status < 0 else f"exit status {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def main() -> None:
    """Serve the connection whose descriptor is the first argument until its other end is closed."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as service managers send to all of a group
        signal.signal(each, signal.SIG_IGN)
    descriptor, path, threads, precision = sys.argv[1:]
    threading.Thread(target=_end_with_parent, args=[int(descriptor)], daemon=True).start()
    compute_behind()
    session_gives_way()
    encoder = LocalEncoder(Path(path), threads=int(threads), precision=cast("Precision", precision))
    with Connection(int(descriptor)) as connection:
        while True:
            try:
                request = connection.recv()
                connection.send(_told(encoder, request))
            except _GONE:
                return


def _end_with_parent(descriptor: int) -> None:
    """Do not finish what nobody waits for, holding the terminal's or a pipe's end open."""
    hung_up = select.poll()
    hung_up.register(descriptor, 0)  # no wish to read; hanging up is always told
    hung_up.poll()
    os._exit(0)


def _told(encoder: LocalEncoder, request: tuple[list[str], list[list[int]]] | None) -> tuple[Any, ...]:
    try:
        if request is _LOAD:
            encoder.load()
            return ("loaded",)
        return "encoded", encoder.encode(*request)
    except ModelUnloadable as error:
        return "unloadable", error.message, error.hint
    except (MemoryError, RuntimeError) as error:  # what torch and its libraries raise
        return "failed", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
