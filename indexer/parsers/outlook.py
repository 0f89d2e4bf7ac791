"""Outlook messages (MS-OXMSG): headers and text as one document, attachments as members."""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import Member, Parsed, one_line
from indexer.parsers.decoding import storable
from indexer.parsers.mail import html_blocks, opening, plain_blocks
from indexer.parsers.unpacking import PART_BYTES, Account, check_size
from rag.errors import SourceDamaged, SourceEncrypted, SourceError, SourceUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from indexer.parsers.blocks import Block, Limits

_ENCRYPTED_CLASSES: Final = ("ipm.note.smime", "ipm.note.secure")
_SIGNED: Final = "multipartsigned"


def parse_outlook(file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]:  # noqa: ARG001 - a parser's signature
    """Yield a message's headers and text, then its attachments.

    Raises:
        SourceDamaged: it is no message, or torn.
        SourceEncrypted: its text can be read with a key only.
        SourceTooLarge: it has more attachments than allowed.
    """
    try:
        message = _open(file)
        attachments = [(_clean(each.file_name), each) for each in message.attachments]
        account = Account(limits, file.seek(0, 2))
        for _name, attachment in attachments:
            account.add(attachment.size or 0)
        subject = _clean(message.subject)
        told = _headers(message)
        body = list(_body(message))
        kind = (message.message_class or "").lower()
    except SourceError:
        raise
    # The library reads a torn message's tables with whatever Python says of them.
    except (struct.error, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SourceDamaged(f"This is not readable as an Outlook message: {error}.", hint="Save it again.") from error
    enciphered = kind.startswith(_ENCRYPTED_CLASSES) and _SIGNED not in kind
    if not body and (enciphered or any(name.endswith(".pgp-encrypted") for name, _attachment in attachments)):
        raise SourceEncrypted("The message is encrypted.", hint="Decrypt it in Outlook and save it again.")
    yield from opening(subject, told)
    yield from body
    for number, (name, attachment) in enumerate(attachments, 1):
        file_name = name.replace("/", "-").replace("\\", "-") or f"attachment-{number}.bin"
        yield Member(name=file_name, content=_content(attachment, limits))


def _open(file: BinaryIO) -> Any:  # noqa: ANN401 - the library is loaded here only
    from oxmsg import Message

    logging.getLogger("olefile").setLevel(logging.CRITICAL)
    return Message.load(file)


def _headers(message: Any) -> list[tuple[str, str]]:  # noqa: ANN401
    headers = {name.lower(): value for name, value in (message.message_headers or {}).items()}
    recipients = ", ".join(_person(each.name, each.email_address) for each in message.recipients)
    sent = message.sent_date
    told = [
        ("From", message.sender or headers.get("from", "")),
        ("To", headers.get("to", "") or recipients),
        ("Cc", headers.get("cc", "")),
        ("Date", sent.strftime("%a, %d %b %Y %H:%M %Z") if sent else headers.get("date", "")),
    ]
    return [(name, _clean(value)) for name, value in told]


def _body(message: Any) -> Iterator[Block]:  # noqa: ANN401
    text = message.body or ""
    if text.strip():
        yield from plain_blocks(text)
    elif message.html_body:
        yield from html_blocks(message.html_body)


def _content(attachment: Any, limits: Limits) -> Iterator[bytes]:  # noqa: ANN401
    try:
        data = attachment.file_bytes
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceDamaged(f"This attachment cannot be read: {error}.", hint="Save it from Outlook.") from error
    if data is None:
        raise _enclosed()
    check_size(len(data), limits)
    for start in range(0, len(data), PART_BYTES):
        yield data[start : start + PART_BYTES]


def _enclosed() -> SourceError:
    return SourceUnsupported(
        "This is a message or an object within the message, which is not read.", hint="Save it as a file of its own."
    )


def _person(name: str | None, address: str | None) -> str:
    return f"{name} <{address}>" if name and address and name != address else name or address or ""


def _clean(text: str | None) -> str:
    return one_line(storable(text or ""))
