"""Mailboxes (RFC 4155: mbox as most mail programs write it): every message a document of its own."""

from __future__ import annotations

import email.policy
import io
import re
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING, Final

from indexer.parsers.archives.unpacking import PART_BYTES, Account, check_size
from indexer.parsers.blocks import Member, Notice
from indexer.parsers.mail.message import header, message_name, parse_mail
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from indexer.parsers.blocks import Limits, Parsed

_MARK: Final = b"From "
# What follows a mark; after a line of a text that begins with the same word comes no header.
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")
# Programs that write ">From " for "From " in a text write ">>From " for that, or leave it (mboxrd, mboxo).
_QUOTED = re.compile(rb"^>(?=>*From )", re.MULTILINE)
_LINE_BYTES: Final = 1 << 16
_LINES_A_SIGN: Final = 1 << 16
_HEAD_BYTES: Final = 1 << 16
_MOZILLA_STATUS: Final = "X-Mozilla-Status"
_MOZILLA_EXPUNGED: Final = 0x8


@dataclass(frozen=True, slots=True)
class _Message:
    start: int
    end: int


def parse_mailbox(file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]:
    """Yield the messages of a mailbox; a file that holds one only is this message.

    Messages that were deleted and are still in the file, as Thunderbird leaves them, are counted in a notice.

    Raises:
        SourceTooLarge: it is over a limit.
    """
    if encoding != "latin-1":  # the whole file was saved in another encoding
        text = file.read().decode(encoding, errors="replace").lstrip("\ufeff")
        file = io.BytesIO(text.encode("utf-8", errors="replace"))
    messages: list[_Message] = []
    account = Account(limits, file.seek(0, io.SEEK_END))
    for found in _messages(file):
        if found is not None:
            account.add(found.end - found.start)
            messages.append(found)
        yield None
    if len(messages) < 2:
        file.seek(0)
        yield from parse_mail(file, "latin-1", limits)
        return
    deleted = 0
    for message in messages:
        file.seek(message.start)
        head = file.read(min(_HEAD_BYTES, message.end - message.start))
        headers = BytesHeaderParser(policy=email.policy.compat32).parsebytes(head)
        if _is_deleted(header(headers, _MOZILLA_STATUS)):
            deleted += 1
            yield None
        else:
            yield Member(name=message_name(header(headers, "Subject")), content=_content(file, message, limits))
    if deleted:
        yield Notice(message=f"{plural(deleted, 'deleted message')} left out.")


def _messages(file: BinaryIO) -> Iterator[_Message | None]:
    """Where each message begins and ends, without its mark; ``None`` now and then."""
    file.seek(0)
    at = lines = 0
    begun: int | None = None
    mark: int | None = None  # where the line before begins, if it may be a mark
    whole = True  # whether a line begins here: long ones come in parts
    while line := file.readline(_LINE_BYTES):
        if mark is not None and _HEADER.match(line):
            if begun is not None:
                yield _Message(begun, mark)
            begun = at
        whole, begins = line.endswith(b"\n"), whole
        mark = at if begins and whole and line.startswith(_MARK) else None
        at += len(line)
        lines += 1
        if not lines % _LINES_A_SIGN:
            yield None
    if begun is not None:
        yield _Message(begun, at)


def _is_deleted(status: str) -> bool:
    try:
        return bool(int(status, 16) & _MOZILLA_EXPUNGED)
    except ValueError:
        return False


def _content(file: BinaryIO, message: _Message, limits: Limits) -> Iterator[bytes]:
    check_size(message.end - message.start, limits)
    file.seek(message.start)
    left = message.end - message.start
    while left:
        lines: list[bytes] = []
        size = 0
        while size < min(PART_BYTES, left) and (line := file.readline(left - size)):
            lines.append(line)
            size += len(line)
        if not size:  # the file is shorter than it was
            return
        left -= size
        yield _QUOTED.sub(b"", b"".join(lines))
