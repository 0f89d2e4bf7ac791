"""Runs commands, each in a fork of this process, on a disk that fills up (``full_disk.c``, loaded before Python).

Reads a request a line from standard input and writes an answer a line, with the request's id. What a child had to
import is imported here before the next one is forked, so that a sweep over every write of a command does so once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import sys
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path

import click
import httpx2 as httpx

import indexer.cli
import indexer.worker
import rag.cli
from api.app import create_app
from indexer.folders.following import Following
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import RagError
from rag.factory import Library, open_library
from rag.stores.full_text.language import language_of
from rag.stores.index import bases
from rag.stores.jobs import queue
from tests.unit.api_library import ScriptedLibrary


@click.command()
@click.argument("file", type=Path)
@click.option("--json", "_as_json", is_flag=True)
def upload(file: Path, _as_json: bool) -> None:
    """Hand a file over to the service, which keeps what it cannot hold in memory in a folder on that disk."""
    tempfile.tempdir = os.environ["RAG_HOME"]
    try:
        response = asyncio.run(_posted(file.name, file.read_bytes()))
    except RagError as error:  # it could not even be opened
        click.echo(json.dumps({"error": {"code": error.code, "detail": str(error)}}))
        sys.exit(1)
    accepted = response.status_code == httpx.codes.ACCEPTED
    click.echo(json.dumps(response.json() if accepted else {"error": response.json()}))
    sys.exit(not accepted)


async def _posted(name: str, content: bytes) -> httpx.Response:
    settings, served = load_settings(), ScriptedLibrary()
    with open_library(settings) as library:
        served.store, served.history, served.jobs, served.blobs = (
            library.store,
            library.history,
            library.jobs,
            library.blobs,
        )
        app = create_app(settings, served)
        async with (
            app.lifespan(),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client,
        ):
            return await client.post("/v1/documents", files={"file": (name, content)})


PROGRAMS = {"indexer": indexer.cli.main, "rag": rag.cli.main, "upload": upload}


def _open_embedder(_library: Library, name: str) -> HashingEmbedder:
    return HashingEmbedder(name=name, dimension=16)


def _run(request: dict, library: ctypes.CDLL) -> int:
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    bases.FLAT_UP_TO = request["flat_up_to"]
    sys.argv = request["command"]
    if request["looks"]:
        Following.looks = lambda _self: iter([None] * request["looks"])
    library.full_disk_from(os.fsencode(request["folder"]), *request["full"])
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
    indexer.worker._PAUSES_S = (0.0, 0.0)  # nobody else makes room
    indexer.worker._UNTIL_THEN = queue._FIRST_DELAY = timedelta(0)
    library = ctypes.CDLL(None)
    library.full_disk_from.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int]
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
