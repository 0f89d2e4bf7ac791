"""Outlook messages: headers and text as one document, attachments as members, enclosed messages as mails among them."""

from __future__ import annotations

import re
from email.encoders import encode_base64
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from indexer.parsers.archives.unpacking import PART_BYTES, Account, check_size
from indexer.parsers.blocks import Member, Notice, Parsed
from indexer.parsers.decoding import storable
from indexer.parsers.mail.message import html_blocks, message_name, opening, plain_blocks
from indexer.parsers.mail.outlook_message import open_message, torn_errors
from rag.errors import SourceDamaged, SourceEncrypted, SourceTooLarge, SourceUnsupported
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from typing import BinaryIO

    from indexer.parsers.blocks import Block, Limits
    from indexer.parsers.mail.outlook_message import Attachment, OutlookMessage

# What nests deeper is made to.
_MAX_DEPTH: Final = 8
_ENCIPHERED: Final = "application/pkcs7-mime"
_MEDIA_TYPE: Final = re.compile(r"(?!multipart/|message/)[a-z]+/[\w.+-]+", re.ASCII | re.IGNORECASE)


def parse_outlook(file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]:  # noqa: ARG001 - a parser's signature
    """Yield a message's headers and text, then its attachments. A message among them is a mail with its own.

    Raises:
        SourceDamaged: it is no message, or torn.
        SourceEncrypted: its text can be read with a key only.
        SourceTooLarge: it has more attachments than allowed.
    """
    try:
        message = open_message(file)
        account = Account(limits, file.seek(0, 2))
        for attachment in message.attachments:
            account.add(attachment.size)
        told = list(opening(message.subject, message.headers))
        body = list(_body(message))
        names = [_name(attachment, number) for number, attachment in enumerate(message.attachments, 1)]
        missing = message.missing
        encrypted = not body and message.encrypted
    except torn_errors() as error:
        raise SourceDamaged(f"This is not readable as an Outlook message: {error}.", hint="Save it again.") from error
    if encrypted:
        raise SourceEncrypted("The message is encrypted.", hint="Decrypt it in Outlook and save it again.")
    yield from told
    yield from body
    for name, attachment in zip(names, message.attachments, strict=True):
        yield Member(name=name, content=_content(attachment, limits))
    if missing:
        yield Notice(message=f"It should hold {plural(missing, 'attachment')} more: it may be damaged.")


def _body(message: OutlookMessage) -> Iterator[Block]:
    if message.text.strip():
        yield from plain_blocks(message.text)
    elif message.html:
        yield from html_blocks(message.html)


def _name(attachment: Attachment, number: int) -> str:
    try:
        enclosed = attachment.message()
        name = attachment.name if enclosed is None else message_name(enclosed.subject)
    except torn_errors():  # told when its content is asked for
        name = ""
    return name or f"attachment-{number}.bin"


def _content(attachment: Attachment, limits: Limits) -> Iterator[bytes]:
    try:
        enclosed = attachment.message()
        data = attachment.content if enclosed is None else _mail(enclosed, 1).as_bytes()
    except torn_errors() as error:
        raise SourceDamaged(f"This attachment cannot be read: {error}.", hint="Save it from Outlook.") from error
    if data is None:
        raise _object()
    check_size(len(data), limits)
    for start in range(0, len(data), PART_BYTES):
        yield data[start : start + PART_BYTES]


def _mail(message: OutlookMessage, depth: int) -> Message:
    """The same message as a mail (RFC 5322), with all that it holds."""
    if depth > _MAX_DEPTH:
        raise SourceTooLarge(
            f"It lies in {depth} messages, one within the other.", hint="Save the inner ones as files of their own."
        )
    mail = MIMEMultipart()
    for name, value in [("Subject", message.subject), *message.headers]:
        if value and name != "Date":
            mail[name] = Header(value, "us-ascii" if value.isascii() else "utf-8").encode()
    date = format_datetime(message.sent) if message.sent else dict(message.headers)["Date"]
    if date:
        mail["Date"] = date
    if message.text.strip() or message.html:
        plain = bool(message.text.strip())
        mail.attach(MIMEText(storable(message.text if plain else message.html), "plain" if plain else "html", "utf-8"))
    for number, attachment in enumerate(message.attachments, 1):
        enclosed = attachment.message()
        if enclosed is not None:
            mail.attach(MIMEMessage(_mail(enclosed, depth + 1)))
        elif (data := attachment.content) is not None:
            kind = _ENCIPHERED if message.encrypted else attachment.media_type
            part = MIMEBase(*(kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream").split("/"))
            part.set_payload(data)
            encode_base64(part)
            name = attachment.name or f"attachment-{number}.bin"
            part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name))
            mail.attach(part)
    return mail


def _object() -> SourceUnsupported:
    return SourceUnsupported(
        "This is an object of another program within the message, which is not read.",
        hint="Save it as a file of its own.",
    )
