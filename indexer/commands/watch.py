"""``indexer watch``: a collection that follows a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import rich_click as click

from indexer.commands.index_file import warn
from indexer.commands.ingest import metadata_option
from indexer.commands.interruption import Interruption, StoppedLooking
from indexer.commands.options import collection_option
from indexer.commands.sync import folder_argument, prune_option
from indexer.commands.sync_run import SyncRun
from indexer.folders.following import Follower, Following
from indexer.folders.walking import why_left_out
from indexer.parsing.isolation import IsolatedParsers
from rag.commands.errors import printable
from rag.commands.json_output import json_lines_option, print_json
from rag.config import load_settings
from rag.errors import IngestInProgress, InvalidRequest, JobLost, SourceNotFound, StorageError
from rag.factory import open_library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rag.types import MetadataValue

_RETRY_S: Final = 30.0


@click.command()
@folder_argument
@collection_option
@prune_option
@click.option("--poll", is_flag=True, help="Look through the folder every two seconds: for network drives.")
@metadata_option
@json_lines_option
def watch(
    folder: Path,
    collection: str,
    prune: bool,  # noqa: FBT001
    poll: bool,  # noqa: FBT001
    metadata: dict[str, MetadataValue] | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Sync a folder, then follow it: what is made, changed, moved or deleted in it is so in the collection soon after.

    A file is taken in when nothing has been written to it for a moment. Deletions are followed with --prune only, by
    the rules of `indexer sync`. A folder that vanishes is waited for and nothing of it is deleted. Other programs may
    write to the collection meanwhile.

    With --json, one JSON object is printed for each step; `watching` says that changes are followed from there on.
    Ctrl-C or SIGTERM finishes the files that are being embedded and ends with 0.
    """
    settings = load_settings()
    parsers = IsolatedParsers.limited_by(settings)
    _refuse_own_files(folder, settings.home)
    with open_library(settings, embeds_apart=True) as library, parsers, Interruption() as interruption:
        run = SyncRun(
            library,
            parsers,
            folder,
            collection,
            metadata=metadata,
            prune=prune,
            as_json=as_json,
            interruption=interruption,
        )
        teller = _Teller(as_json=as_json, stop=interruption.requested)
        following = Following(folder, teller, poll=poll)
        run.check()
        for places in following.looks():
            try:
                run.run(places, repeated=teller.watching, busy=following.busy())
            except StoppedLooking:  # what follows ends
                continue
            except IngestInProgress as error:
                teller.held_up(error)
                following.again(places, after_s=1)
            except SourceNotFound:  # what follows waits for it
                following.again(places, after_s=0)
            except (JobLost, StorageError) as error:
                teller.problem(error)
                following.again(None, after_s=_RETRY_S)
            else:
                teller.follows(folder, poll=following.poll)


class _Teller(Follower):
    """Says what the following is at: once for each change of it."""

    def __init__(self, *, as_json: bool, stop: Callable[[], bool]) -> None:
        self._as_json = as_json
        self._stop = stop
        self._state = ""
        self.watching = False

    def waiting(self, folder: Path) -> None:
        self._tell("waiting", f"{folder} is not there; nothing is deleted, and it is followed again when it is back.")

    def polling(self, reason: str) -> None:
        self._say("polling", f"The folder is looked through every two seconds: {reason}.")

    def follows(self, folder: Path, *, poll: bool) -> None:
        if self._stop():  # what was looked through was left half done, and nothing is followed any more
            return
        self.watching = True
        self._tell("watching", f"Watching {folder}{', polling it' if poll else ''}; Ctrl-C ends.")

    def held_up(self, error: IngestInProgress) -> None:
        self._tell("held_up", f"{error.message} It is waited for.")

    def problem(self, error: JobLost | StorageError) -> None:
        if self._as_json:
            self._say("notice", error.message, code=error.code, hint=error.hint)
        else:
            warn(error)

    def stop(self) -> bool:
        return self._stop()

    def _tell(self, state: str, message: str) -> None:
        if state != self._state:
            self._state = state
            self._say(state, message)

    def _say(self, kind: str, message: str, **more: str) -> None:
        if self._as_json:
            print_json({"type": kind, "message": message, **more})
        else:
            click.echo(printable(message), err=True)


def _refuse_own_files(folder: Path, home: Path) -> None:
    root, home = folder.resolve(), home.resolve()
    if home.is_relative_to(root) and (home == root or why_left_out(root, home.relative_to(root).as_posix()) is None):
        raise InvalidRequest(
            f"The data directory {home} lies in {folder}: following that would follow its own writing.",
            hint="Set RAG_HOME to a place outside of it, or name it in the folder's .plumblineignore.",
        )
