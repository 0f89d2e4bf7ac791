"""Members: documents within a source, as the parsing process hands them over, under addresses of their own.

Their bytes go into files without a name; no path that an archive or a mail gives is ever opened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Limits
from indexer.parsing.wire import MemberBegins, MemberEnds, MemberPart, Pieces
from indexer.sources import SourceScan, SourceStat, scan_file
from indexer.spooling import SpoolFull
from rag.errors import ParserCrashed, SourceError, SourceTooLarge, SourceUnsafe
from rag.plurals import plural
from rag.types import MEMBER_MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from indexer.parsing.wire import Found
    from indexer.spooling import Spool, Spooled

# Mails with archives of mails happen; what nests deeper is made to.
MAX_DEPTH: Final = 4
# What a person still reads; one document of a few megabytes could give a hundred thousand.
_MAX_NOTICES: Final = 24
_MAX_NOTICE_CHARS: Final = 500
# No file system takes longer ones.
_MAX_NAME_BYTES: Final = 4096

_ERRORS: Final = {error.code: error for error in SourceError.__subclasses__()}


class Budget:
    """What all members of one source may come to, those in nested containers included."""

    def __init__(self, *, members: int, total_bytes: int, member_bytes: int) -> None:
        self._whole = Limits(members=members, total_bytes=total_bytes, member_bytes=member_bytes)
        self.renew()

    def renew(self) -> None:
        """As if nothing had been unpacked."""
        self._members = self._whole.members
        self._total_bytes = self._whole.total_bytes

    @property
    def limits(self) -> Limits:
        """What is left."""
        return replace(self._whole, members=max(0, self._members), total_bytes=max(0, self._total_bytes))

    def begin(self) -> None:
        """Raises SourceTooLarge: there are more members than allowed."""
        self._members -= 1
        if self._members < 0:
            raise SourceTooLarge(
                "It holds more files than the limit allows.", hint="Raise RAG_MAX_MEMBERS, or unpack it."
            )

    def spend(self, count: int) -> None:
        """Raises SourceTooLarge: the members have more bytes than allowed."""
        self._total_bytes -= count
        if self._total_bytes < 0:
            raise SourceTooLarge(
                "It unpacks to more bytes than the limit allows.", hint="Raise RAG_MAX_UNPACKED_BYTES, or unpack it."
            )


@dataclass(slots=True, kw_only=True)
class MemberSource:
    """An unpacked member. Implements ``indexer.sources.OpenSource``."""

    uri: str
    file: BinaryIO

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath(self.uri)

    @property
    def opened(self) -> SourceStat | None:
        return None

    def changed(self) -> bool:
        return False

    def scan(self) -> SourceScan:
        return scan_file(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedMember:
    """A member that cannot be taken in as it stands."""

    uri: str
    error: SourceError


class Handover:
    """What a parser hands over of one source: the text of its own first, then its members by way of the spool."""

    def __init__(self, found: Iterator[Found], uri: str, budget: Budget, spool: Spool) -> None:
        self._found = found
        self._uri = uri
        self._budget = budget
        self._spool = spool
        self._first: MemberBegins | None = None
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # of the last one of each name that came more than once
        self.notices: list[str] = []
        self._untold = 0

    def pieces(self) -> Iterator[Pieces]:
        """The source's own text; ends where the members begin."""
        for found in self._found:
            if isinstance(found, MemberBegins):
                self._first = found
                return
            if not isinstance(found, Pieces):
                raise _out_of_order()
            self._tell(found.notices)
            yield found

    @property
    def has_members(self) -> bool:
        """Whether the source's own text ended with a member's beginning."""
        return self._first is not None

    def members(self) -> Iterator[MemberSource | RefusedMember]:
        """Each member in turn; its file is gone when the next one is asked for. At their end all notices are there.

        Raises:
            SourceTooLarge: a limit on all members is passed; those that came before are not taken back.
            SpoolFull: there is no room to make a file; as before.
            DataDirectoryUnwritable: a member's bytes cannot be written anywhere.
        """
        begun, self._first = self._first, None
        while begun is not None:
            self._budget.begin()
            uri, problem = self._address(begun.name)
            with self._spool.file() as spooled:
                error = self._receive(spooled)
                refused = problem or error
                if refused is not None:
                    yield RefusedMember(uri=uri, error=refused)
                else:
                    yield MemberSource(uri=uri, file=spooled.file)
            begun = self._next()
        if self._untold:
            self.notices.append(f"There is more to say of it: {plural(self._untold, 'notice')} left out.")

    def _next(self) -> MemberBegins | None:
        for found in self._found:
            if isinstance(found, MemberBegins):
                return found
            if not isinstance(found, Pieces) or found.blocks:
                raise _out_of_order()
            self._tell(found.notices)
        return None

    def _tell(self, notices: list[str]) -> None:
        for notice in notices:
            if len(self.notices) < _MAX_NOTICES:
                cut = len(notice) > _MAX_NOTICE_CHARS
                self.notices.append(f"{notice[:_MAX_NOTICE_CHARS]}…" if cut else notice)
            else:
                self._untold += 1

    def _receive(self, spooled: Spooled) -> SourceError | None:
        """Take all of a member up, also where there is no room for it: others follow. Returns what is wrong with it."""
        error: SourceError | None = None
        for found in self._found:
            if isinstance(found, MemberEnds):
                if (failure := found.failure) is not None:
                    return _ERRORS.get(failure.code, ParserCrashed)(failure.message, hint=failure.hint)
                return error or _no_room(spooled.end)
            if not isinstance(found, MemberPart):
                break
            self._budget.spend(len(found.data))
            error = error or _no_room(partial(spooled.write, found.data))
        raise _out_of_order()

    def _address(self, raw: bytes) -> tuple[str, SourceUnsafe | None]:
        name = raw.decode("utf-8", errors="surrogateescape")
        if not name:  # the one file that is packed, named like the packed one
            name = PurePosixPath(self._uri).stem.removeprefix("upload:")
        problem = _problem(name)
        parts = [part for part in name[:_MAX_NAME_BYTES].split("/") if part not in {"", "."}]
        uri = self._uri + MEMBER_MARK + "/".join(_readable(part) for part in parts)
        wanted = PurePosixPath(uri)
        while uri in self._taken:
            number = self._numbers[str(wanted)] = self._numbers.get(str(wanted), 1) + 1
            uri = str(wanted.with_name(f"{wanted.stem}~{number}{wanted.suffix}"))
        self._taken.add(uri)
        return uri, problem


def _no_room(write: Callable[[], None]) -> SpoolFull | None:
    try:
        write()
    except SpoolFull as error:
        return error
    return None


def _problem(name: str) -> SourceUnsafe | None:
    parts = name.split("/")
    if name.startswith("/") or parts[0].endswith(":") or ".." in parts:
        return SourceUnsafe(
            "Its name leads out of what holds it, which only a program that unpacks carelessly would follow.",
            hint="If the file is wanted, unpack it by hand and ingest it.",
        )
    if len(name) > _MAX_NAME_BYTES or not any(part not in {"", "."} for part in parts):
        return SourceUnsafe("Its name is empty, or longer than any file's.", hint="Rename it and pack it again.")
    return None


def _readable(part: str) -> str:
    """One part of a name as it stands in a URI: what cannot be shown is percent-encoded, and ``!/`` stays a mark."""
    shown = "".join(
        character if character.isprintable() and character != "%" else _percent(character) for character in part
    )
    return f"{shown[:-1]}%21" if shown.endswith("!") else shown


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", errors="surrogateescape"))


def _out_of_order() -> ParserCrashed:
    return ParserCrashed(
        "The parser crashed on this file (its process sent what does not follow).",
        hint="The file may be damaged; other files are not affected.",
    )
