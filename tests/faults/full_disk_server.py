"""Runs commands, each in a fork of this process, on a disk that fills up (``full_disk.c``, loaded before Python).

Reads a request a line from standard input and writes an answer a line, with the request's id. What a child had to
import is imported here before the next one is forked, so that a sweep over every write of a command does so once.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import click

import indexer.cli
import rag.cli
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library
from rag.stores.full_text.language import language_of
from rag.stores.index import bases

PROGRAMS = {"indexer": indexer.cli.main, "rag": rag.cli.main}


def _open_embedder(_library: Library, name: str) -> HashingEmbedder:
    return HashingEmbedder(name=name, dimension=16)


def _run(request: dict, library: ctypes.CDLL) -> int:
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    bases.FLAT_UP_TO = request["flat_up_to"]
    sys.argv = request["command"]
    library.full_disk_from(os.fsencode(request["folder"]), request["full_from"])
    try:
        PROGRAMS[request["command"][0]].main(request["command"][1:])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except click.ClickException:
        return 2
    except BaseException:  # noqa: BLE001  # as the interpreter itself would end
        traceback.print_exc()
        return 1
    return 0


def _child(request: dict, library: ctypes.CDLL, told: int) -> int:
    known = set(sys.modules)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        with Path(request[name]).open("wb") as file:  # beside the disk that fills up
            os.dup2(file.fileno(), descriptor)
    status = _run(request, library)
    sys.stdout.flush()
    sys.stderr.flush()
    ended = {"calls": library.full_disk_calls(), "imported": sorted(sys.modules.keys() - known)}
    with open(told, "w") as answer:  # a descriptor
        json.dump(ended, answer)
    return status


def _import(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):  # of those that were made of other things than a file of their name
            importlib.import_module(name)


def main() -> None:
    language_of("")
    Library._open_embedder = _open_embedder
    library = ctypes.CDLL(None)
    library.full_disk_from.argtypes = [ctypes.c_char_p, ctypes.c_long]
    library.full_disk_calls.restype = ctypes.c_long
    for line in sys.stdin:
        request = json.loads(line)
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            os.close(ours)
            os._exit(_child(request, library, theirs))
        os.close(theirs)
        with open(ours) as told:  # noqa: PTH123  # a descriptor
            ended = json.loads(told.read() or '{"calls": -1, "imported": []}')
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _import(ended["imported"])
        answer = {"id": request["id"], "status": status, "calls": ended["calls"]}
        print(json.dumps(answer), flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
