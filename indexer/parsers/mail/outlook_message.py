"""Messages as Outlook stores them (MS-OXMSG), by python-oxmsg (MIT); one within another is a message, too."""

from __future__ import annotations

import logging
import re
import struct
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.decoding import storable
from indexer.parsers.mail.message import decoded_words
from indexer.parsers.office.compound_file import open_streams

if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

    from oxmsg.storage import Storage

_ENCRYPTED_CLASSES: Final = ("ipm.note.smime", "ipm.note.secure")
_SIGNED: Final = "multipartsigned"
_PROPERTIES: Final = "__properties_version1.0"
# An attachment that is an object: a message, or something of another program.
_OBJECT: Final = "__substg1.0_3701000D"
# The head of an enclosed message's properties is that of a file's without what is reserved in it.
_ENCLOSED_HEAD_BYTES: Final = 24
_RESERVED: Final = bytes(8)
_SHORT_NAME: Final = 0x3704
_SENDER: Final = (0x0C1A, 0x0C1F)  # name, address
_RECIPIENT_KIND: Final = 0x0C15
_TO, _CC = 1, 2


def torn_errors() -> tuple[type[Exception], ...]:
    """The library reads a torn message's tables with whatever Python says of them."""
    from oxmsg.domain.model import UnrecognizedCodePageError, UnsupportedEncodingError

    wrong_types = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, AssertionError, RecursionError)
    return (struct.error, OSError, *wrong_types, UnrecognizedCodePageError, UnsupportedEncodingError)


def open_message(file: BinaryIO) -> OutlookMessage:
    """Raises what ``torn_errors`` lists: it is no message."""
    from oxmsg.storage import Storage

    logging.getLogger("olefile").setLevel(logging.CRITICAL)
    with open_streams(file) as opened:
        return OutlookMessage(Storage.from_ole(opened))


class OutlookMessage:
    """What a message says. Reading it raises what ``torn_errors`` lists."""

    def __init__(self, storage: Storage) -> None:
        from oxmsg import Message

        self._message: Any = Message(storage)
        self.attachments = [Attachment(each) for each in storage.iter_attachment_storages()]

    @property
    def missing(self) -> int:
        """How many attachments it counts and does not hold."""
        stated: int = self._message.attachment_count
        return max(0, stated - len(self.attachments))

    @cached_property
    def subject(self) -> str:
        return clean(self._message.subject)

    @property
    def sent(self) -> datetime | None:
        return self._message.sent_date  # type: ignore[no-any-return]

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """Sender, recipients and date as Outlook shows them, else as they were sent, as far as they are known."""
        sent = {name.lower(): value for name, value in (self._message.message_headers or {}).items()}
        told = [
            ("From", self._sender() or sent.get("from") or self._message.sender),
            ("To", self._recipients(_TO) or sent.get("to")),
            ("Cc", self._recipients(_CC) or sent.get("cc")),
            ("Date", self.sent.strftime("%a, %d %b %Y %H:%M %Z") if self.sent else sent.get("date")),
        ]
        return [(name, decoded_words(clean(value))) for name, value in told]

    def _sender(self) -> str:
        said = self._message.properties
        name, address = (said.str_prop_value(number) for number in _SENDER)
        return _person(name, address) if address and "@" in address else ""

    def _recipients(self, kind: int) -> str:
        chosen = [each for each in self._message.recipients if each.properties.int_prop_value(_RECIPIENT_KIND) == kind]
        return ", ".join(filter(None, (_person(each.name, each.email_address) for each in chosen)))

    @cached_property
    def text(self) -> str:
        return self._message.body or ""

    @cached_property
    def html(self) -> str:
        return self._message.html_body or ""

    @property
    def encrypted(self) -> bool:
        """Whether what matters of it lies enciphered in an attachment."""
        kind = (self._message.message_class or "").lower()
        enciphered = kind.startswith(_ENCRYPTED_CLASSES) and _SIGNED not in kind
        return enciphered or any(each.name.endswith(".pgp-encrypted") for each in self.attachments)


@dataclass(slots=True)
class Attachment:
    storage: Storage

    @property
    def name(self) -> str:
        """As it was attached, without folders; empty where nothing is said."""
        name = clean(self._attachment.file_name or self._attachment.properties.str_prop_value(_SHORT_NAME))
        return re.sub(r"[/\\]", "-", name)

    @property
    def media_type(self) -> str:
        return clean(self._attachment.mime_type)

    @property
    def content(self) -> bytes | None:
        """Its bytes; None where it is an object."""
        return self._attachment.file_bytes  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return _size(self.storage)

    def message(self) -> OutlookMessage | None:
        """The message that it is; None where it is none."""
        for storage in self.storage.storages:
            if storage.name == _OBJECT and any(stream.name == _PROPERTIES for stream in storage.streams):
                return OutlookMessage(_as_file(storage))
        return None

    @property
    def _attachment(self) -> Any:  # noqa: ANN401 - the library is loaded here only
        from oxmsg.attachment import Attachment as Stored

        return Stored(self.storage)


def _as_file(enclosed: Storage) -> Storage:
    streams = (
        replace(stream, bytes_=stream.bytes_[:_ENCLOSED_HEAD_BYTES] + _RESERVED + stream.bytes_[_ENCLOSED_HEAD_BYTES:])
        if stream.name == _PROPERTIES
        else stream
        for stream in enclosed.streams
    )
    return replace(enclosed, streams=tuple(streams))


def _size(storage: Storage) -> int:
    return sum(len(stream.bytes_) for stream in storage.streams) + sum(map(_size, storage.storages))


def _person(name: str | None, address: str | None) -> str:
    """Addresses of a directory, which are paths, say nothing to a reader."""
    address = address if address and "@" in address else ""
    return f"{name} <{address}>" if name and address and name != address else name or address


def clean(text: str | None) -> str:
    return one_line(storable(text or ""))
