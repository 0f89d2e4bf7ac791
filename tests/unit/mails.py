"""Mails and archives made for tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from email.message import EmailMessage


def zipped(files: dict[str, bytes | str], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def tarred(entries: list[tuple[str, bytes | None, dict[str, object]]], mode: str = "w:gz") -> bytes:
    """Entries are names, contents, and what else is said of them (``type``, ``linkname``)."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as archive:
        for name, content, said in entries:
            entry = tarfile.TarInfo(name)
            for key, value in said.items():
                setattr(entry, key, value)
            entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content) if content is not None else None)
    return held.getvalue()


def old_tarred(name: str, content: bytes) -> bytes:
    """An archive of Unix V7, which has no mark."""
    head = bytearray(tarred([(name, content, {})], "w:")[:257].ljust(512, b"\0"))
    head[148:156] = b"%06o\0 " % (sum(head) - sum(head[148:156]) + 8 * ord(" "))
    return bytes(head) + content.ljust(-(-len(content) // 512) * 512, b"\0") + bytes(1024)


def mail(subject: str = "Rivers", text: str = "Rivers run down.\n", **attachments: bytes) -> EmailMessage:
    """A plain mail; attachments by their names, ``_`` for the dot."""
    message = EmailMessage()
    message["From"] = "Ann <ann@example.org>"
    message["To"] = "bob@example.org"
    message["Subject"] = subject
    message["Date"] = "Mon, 02 Mar 2020 10:00:00 +0000"
    message.set_content(text)
    for name, content in attachments.items():
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name.replace("_", "."))
    return message
