"""Mail (RFC 5322, MIME): headers and text as one document, attachments and enclosed messages as members."""

from __future__ import annotations

import email
import io
import mimetypes
import re
from email.errors import CloseBoundaryNotFoundDefect, HeaderParseError
from email.header import decode_header
from itertools import islice
from typing import TYPE_CHECKING, Final

from indexer.detection.legacy_encodings import meant_by, one_byte_encoding
from indexer.parsers.archives.unpacking import PART_BYTES, Account, check_size
from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Member, Notice, Parsed, Title, one_line
from indexer.parsers.decoding import storable
from indexer.parsers.html.parser import parse_html
from indexer.parsers.mail.newsletters import is_only_links
from indexer.parsers.mail.parameters import SoundParameters
from indexer.parsers.text import parse_text
from rag.errors import SourceDamaged, SourceEncrypted
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import Message
    from typing import BinaryIO

    from indexer.parsers.blocks import Limits

_TOLD: Final = ("From", "To", "Cc", "Date")
_SIGNATURES: Final = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_ENCRYPTED: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted"})
# HTML is read where the plain text beside it is a stub such as "your program cannot show this message".
_STUB_SHARE: Final = 4
_MAX_PARTS: Final = 1000
_TAG = re.compile(r"<[^<>]*>")
_BLANK_LINES = re.compile(r"\n{3,}")


def parse_mail(file: BinaryIO, encoding: str, limits: Limits) -> Iterator[Parsed]:
    """Yield a message's headers and text, then its attachments; signatures and pictures of its text are left out.

    A page that a browser saved as one file (MHTML) is that page.

    Raises:
        SourceDamaged: its parts nest deeper than any program makes them.
        SourceEncrypted: its text can be read with a key only.
        SourceTooLarge: it has more parts than allowed.
    """
    message = _message(file.read(), encoding)
    if (page := _saved_page(message)) is not None:
        yield from parse_html(io.BytesIO(storable(_text(payload(page), page.get_content_charset())).encode()), "utf-8")
        return
    parts = _Parts(message)
    account = Account(limits, file.tell())
    for _part in parts.attached:
        account.add(0)
    body = list(_body(parts))
    if parts.encrypted and not any(block.text.strip() for block in body) and not parts.attached:
        raise SourceEncrypted("The message is encrypted.", hint="Decrypt it in the mail program and save it again.")
    subject = header(message, "Subject")
    yield from opening(subject, [(name, header(message, name)) for name in _TOLD])
    yield from body
    for part in parts.attached:
        yield Member(name=_file_name(part), content=_content(part, limits))
    if parts.pictures:
        yield Notice(message=f"{plural(parts.pictures, 'picture')} of its text left out.")
    if parts.cut:
        yield Notice(message="It ends before its last part does: it may be cut, and attachments may be missing.")


def opening(subject: str, headers: Sequence[tuple[str, str]]) -> Iterator[Parsed]:
    """How every message begins: its subject as title and heading, then who wrote it, to whom and when."""
    if subject:
        yield Title(text=subject)
        if len(subject) <= MAX_HEADING_CHARS:
            yield Block(text=f"{subject}\n\n", kind=BlockKind.HEADING, level=1, heading=subject)
        else:
            yield Block(text=f"{subject}\n\n")
    told = "\n".join(f"{name}: {value}" for name, value in headers if value)
    if told:
        yield Block(text=f"{told}\n\n")


def plain_blocks(text: str) -> Iterator[Block]:
    """The blocks of a plain text; a short line of it is not a heading as in a document."""
    clean = _BLANK_LINES.sub("\n\n", storable(text).replace("\r\n", "\n").replace("\r", "\n")).strip()
    for block in parse_text(io.BytesIO(f"{clean}\n\n".encode()), "utf-8"):
        if isinstance(block, Block) and block.text.strip():
            yield _without_headings(block)


def html_blocks(page: str) -> Iterator[Block]:
    """The blocks of a message written in HTML, without a newsletter's lines of links, if it says anything else."""
    found = [block for block in parse_html(io.BytesIO(storable(page).encode()), "utf-8") if isinstance(block, Block)]
    said = [block for block in found if block.kind is BlockKind.HEADING or not is_only_links(block.text)]
    yield from map(_without_headings, said or found)


def _without_headings(block: Block) -> Block:
    return Block(text=block.text) if block.kind is BlockKind.HEADING else block


def header(message: Message, name: str) -> str:
    """A header's text, encoded words (RFC 2047) decoded, broken ones as they are."""
    raw = message.get(name)
    return "" if raw is None else decoded_words(raw)


def decoded_words(raw: str) -> str:
    """Text with its encoded words (RFC 2047) decoded."""
    try:
        found = decode_header(raw)
    except (HeaderParseError, ValueError, LookupError):
        found = [(str(raw), None)]
    text = "".join(_decoded(part, charset) for part, charset in found)
    return one_line(storable(text if text.strip() else str(raw)))


def _decoded(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):  # bytes that are no ASCII stand in it as surrogates
        return part.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    return _text(part, charset)


def _message(raw: bytes, encoding: str) -> Message:
    if encoding != "latin-1":  # the whole file was saved in another encoding
        raw = raw.decode(encoding, errors="replace").lstrip("\ufeff").encode("utf-8", errors="replace")
    raw = raw.lstrip()
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    try:
        return email.message_from_bytes(raw, policy=SoundParameters())
    except RecursionError as error:
        raise _too_deep() from error


def _too_deep() -> SourceDamaged:
    return SourceDamaged(
        "Its parts nest deeper than any mail program makes them.", hint="Save what matters of it as a file of its own."
    )


def _saved_page(message: Message) -> Message | None:
    """The page of a file that a browser wrote, with what belongs to it, in the form of a mail to nobody."""
    if message.get_content_type() != "multipart/related" or any(message.get(name) for name in ("To", "Cc", "Received")):
        return None
    page = next((part for part in _enclosed(message) if part.get_content_type() == "text/html"), None)
    return page if page is not None and page.get("Content-Location") else None


class _Parts:
    """A message's parts by what becomes of them."""

    def __init__(self, message: Message) -> None:
        self.texts: list[tuple[str, str]] = []  # (subtype, text) of one part of the body each, the best alternative
        self.attached: list[Message] = []
        self.pictures = 0
        self.encrypted = False
        self.cut = False
        self._count = 0
        self._lengths: dict[int, int] = {}
        self._pages: list[str] = []  # what shows pictures, read or not
        self._walk(message)

    def _walk(self, message: Message) -> None:
        """In document order and without recursion."""
        pending: list[tuple[Message, bool, bool]] = [(message, False, True)]
        while pending:
            part, related, is_read = pending.pop()
            self._count += 1
            if self._count > _MAX_PARTS:
                raise SourceDamaged(
                    f"It has more than {_MAX_PARTS:,} parts.", hint="Save what matters of it as a file of its own."
                )
            self.cut |= any(isinstance(defect, CloseBoundaryNotFoundDefect) for defect in part.defects)
            kind = part.get_content_type()
            inside = _enclosed(part)
            if part.is_multipart() and part.get_content_maintype() == "multipart":
                if kind == "multipart/encrypted":  # its parts are the key and a blob
                    self.encrypted = True
                    continue
                best = self._best(inside) if kind == "multipart/alternative" else None
                related = related or kind == "multipart/related"
                pending.extend((each, related, is_read and best in {None, each}) for each in reversed(inside))
            else:
                self._leaf(part, kind, related=related, is_read=is_read)

    def _best(self, alternatives: Sequence[Message]) -> Message | None:
        """Of the same text in several forms the one to read: the plain one, unless it is a stub or empty.

        Attachments among them, or beside a form's text, stay.
        """
        plain = page = None
        said = shown = 0
        for form in alternatives:
            texts = list(islice(_texts(form), _MAX_PARTS))
            length = sum(map(self._length, texts))
            if any(text.get_content_type() == "text/html" for text in texts):
                page, shown = form, length
            elif length and plain is None:
                plain, said = form, length
        return page if page is not None and shown > _STUB_SHARE * said else plain

    def _length(self, part: Message) -> int:
        """How many characters it shows; alternatives may lie within one another."""
        if id(part) not in self._lengths:
            text = _text(payload(part), part.get_content_charset())
            if part.get_content_type() == "text/html":
                text = _TAG.sub(" ", text)
            self._lengths[id(part)] = len(one_line(text))
        return self._lengths[id(part)]

    def _leaf(self, part: Message, kind: str, *, related: bool, is_read: bool) -> None:
        if kind in _SIGNATURES:
            return
        if kind in _ENCRYPTED:
            self.encrypted = True
        elif _is_text(part):
            text = _text(payload(part), part.get_content_charset())
            if kind == "text/html":
                self._pages.append(text)
            if text.strip() and is_read:
                self.texts.append((kind, text))
        elif part.get_content_maintype() == "image" and (related or self._is_shown(part)):
            self.pictures += 1
        elif kind == "message/delivery-status":
            self.texts.append(("text/plain", part.as_string()))
        else:
            self.attached.append(part)

    def _is_shown(self, part: Message) -> bool:
        """Whether a page before it shows the picture in its text, under the name that the part has for that."""
        name = str(part.get("Content-ID") or "").strip("<> ")
        return bool(name) and any(f"cid:{name}" in page for page in self._pages)


def _texts(part: Message) -> Iterator[Message]:
    """The parts of a form of a message that are its text."""
    pending = [part]
    while pending:
        each = pending.pop()
        if each.get_content_maintype() == "multipart":
            pending.extend(reversed(_enclosed(each)))
        elif _is_text(each):
            yield each


def _is_text(part: Message) -> bool:
    attached = part.get_content_disposition() == "attachment" or bool(part.get_filename())
    return part.get_content_type() in {"text/plain", "text/html"} and not attached


def _body(parts: _Parts) -> Iterator[Block]:
    for kind, text in parts.texts:
        yield from html_blocks(text) if kind == "text/html" else plain_blocks(text)


def _enclosed(part: Message) -> list[Message]:
    """The parts within a part; none within one that has bytes of its own."""
    inside = part.get_payload() if part.is_multipart() else None
    return [each for each in inside if not isinstance(each, str)] if isinstance(inside, list) else []


def payload(part: Message) -> bytes:
    """A part's bytes, its transfer encoding undone; a broken one as far as it can be."""
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(data: bytes, charset: str | None) -> str:
    """The text in the encoding it declares where that reads it whole, else in the one it is in."""
    if charset is not None and charset.lower() in {"us-ascii", "ascii"}:
        charset = None  # said by programs that do not know either
    meant = meant_by(charset) if charset else None
    # UTF-8 under the name of its predecessor is common, and nothing else reads as UTF-8.
    names = ("utf-8", meant, charset) if meant == "cp1252" else (meant, "utf-8")
    for name in names:
        if name:
            try:
                return data.decode(name)
            except (ValueError, LookupError):
                continue
    return data.decode(one_byte_encoding(data) or "cp1252", errors="replace")


def _file_name(part: Message) -> str:
    """Its own name, or one from what it is. Names of folders that a sender gives mean nothing here."""
    name = part.get_filename() or ""
    if name:
        name = one_line(storable("".join(_decoded(piece, charset) for piece, charset in _words(name))))
        name = re.split(r"[/\\]", name)[-1]
    if name.strip(". "):
        return name
    if part.get_content_maintype() == "message":
        return message_name(header(next(iter(_enclosed(part)), part), "Subject"))
    return f"attachment{mimetypes.guess_extension(part.get_content_type()) or '.bin'}"


def message_name(subject: str) -> str:
    """What an enclosed message is called."""
    readable = re.sub(r"[/\\]", "-", subject)[:80].strip(" .")
    return f"{readable or 'message'}.eml"


def _words(name: str) -> list[tuple[bytes | str, str | None]]:
    try:
        return list(decode_header(name))
    except (HeaderParseError, ValueError, LookupError):
        return [(name, None)]


def _content(part: Message, limits: Limits) -> Iterator[bytes]:
    inside = _enclosed(part)
    if inside:  # a message
        try:
            data = b"\n".join(each.as_bytes() for each in inside)
        except (RecursionError, UnicodeError, LookupError, KeyError, TypeError, AttributeError) as error:
            raise SourceDamaged(f"This enclosed message cannot be taken out: {error}.") from error
    else:
        data = payload(part)
    check_size(len(data), limits)
    for start in range(0, len(data), PART_BYTES):
        yield data[start : start + PART_BYTES]
