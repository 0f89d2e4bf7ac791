"""Outlook messages made for tests (MS-OXMSG in MS-CFB, version 3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FREE, END = 0xFFFFFFFF, 0xFFFFFFFE
UNICODE, BINARY, LONG = 0x001F, 0x0102, 0x0003
Tree = dict[str, "bytes | Tree"]


def msg(
    subject: str,
    body: str = "",
    *,
    html: bytes = b"",
    sender: str = "",
    attached: Sequence[tuple[str, bytes | Tree]] = (),
    kind: str = "IPM.Note",
    headers: str = "",
    recipients: Sequence[tuple[int, str, str]] = (),
) -> Tree:
    """A message as storages and streams; what is attached are bytes, or messages. Recipients: kind, name, address."""
    values: dict[tuple[int, int], bytes | int] = {
        (0x001A, UNICODE): kind.encode("utf-16-le"),
        (0x0037, UNICODE): subject.encode("utf-16-le"),
    }
    if body:
        values[0x1000, UNICODE] = body.encode("utf-16-le")
    if html:
        values |= {(0x1013, BINARY): html, (0x3FDE, LONG): 65001}
    if sender:
        values |= {(0x0C1A, UNICODE): sender.encode("utf-16-le"), (0x0C1F, UNICODE): b"a\0@\0b\0"}
    if headers:
        values[0x007D, UNICODE] = headers.encode("utf-16-le")
    tree = _storage(struct.pack("<8x4I", 0, 0, len(recipients), len(attached)), values)
    for number, (what, name, address) in enumerate(recipients):
        named = {(0x3001, UNICODE): name.encode("utf-16-le"), (0x3003, UNICODE): address.encode("utf-16-le")}
        tree[f"__recip_version1.0_#{number:08X}"] = _storage(bytes(8), {(0x0C15, LONG): what, **named})
    for number, (name, content) in enumerate(attached):
        held: dict[tuple[int, int], bytes | int] = {(0x3705, LONG): 1 if isinstance(content, bytes) else 5}
        if name:
            held[0x3707, UNICODE] = name.encode("utf-16-le")
        if isinstance(content, bytes):
            held[0x3701, BINARY] = content
        storage = _storage(bytes(8), held)
        if not isinstance(content, bytes):
            storage["__substg1.0_3701000D"] = content
        tree[f"__attach_version1.0_#{number:08X}"] = storage
    return tree


def outlook(message: Tree) -> bytes:
    """The message as a file: its properties have a longer head than those of enclosed ones."""
    said = message["__properties_version1.0"]
    assert isinstance(said, bytes)
    return compound_tree({**message, "__properties_version1.0": said[:24] + bytes(8) + said[24:]})


def _storage(head: bytes, values: Mapping[tuple[int, int], bytes | int]) -> Tree:
    tree: Tree = {}
    listed = head
    for (number, kind), value in values.items():
        told = len(value) + 2 * (kind == UNICODE) if isinstance(value, bytes) else value
        listed += struct.pack("<HHIII", kind, number, 6, told, 0)
        if isinstance(value, bytes):
            tree[f"__substg1.0_{number:04X}{kind:04X}"] = value
    tree["__properties_version1.0"] = listed
    return tree


def compound_tree(tree: Tree) -> bytes:
    """A compound file of storages and streams, small ones in the small stream as the format has it."""
    entries: list[list[object]] = [["Root Entry", 5, FREE, FREE, END, 0]]
    table: list[int] = []
    small_table: list[int] = []
    body, small = b"", b""

    def chain(count: int, into: list[int]) -> int:
        first = len(into)
        into.extend([*range(first + 1, first + count), END] if count else [])
        return first if count else END

    def add(level: Tree) -> int:
        nonlocal body, small
        first = previous = FREE
        for name, content in level.items():
            number = len(entries)
            entries.append([name, 1 if isinstance(content, dict) else 2, FREE, FREE, END, 0])
            if previous == FREE:
                first = number
            else:
                entries[previous][2] = number
            previous = number
            if isinstance(content, dict):
                entries[number][3] = add(content)
                entries[number][4] = 0
            elif len(content) >= 4096:
                entries[number][4:] = [chain(-(-len(content) // 512), table), len(content)]
                body += content.ljust(-(-len(content) // 512) * 512, b"\0")
            else:
                entries[number][4:] = [chain(-(-len(content) // 64), small_table), len(content)]
                small += content.ljust(-(-len(content) // 64) * 64, b"\0")
        return first

    entries[0][3] = add(tree)
    entries[0][4:] = [chain(-(-len(small) // 512), table), len(small)]
    body += small.ljust(-(-len(small) // 512) * 512, b"\0")
    small_sectors = -(-len(small_table) // 128)
    small_first = chain(small_sectors, table)
    body += b"".join(struct.pack("<I", n) for n in small_table).ljust(small_sectors * 512, b"\xff")
    directory = b""
    for name, kind, right, child, first, size in entries:
        encoded = str(name).encode("utf-16-le") + b"\0\0"
        directory += encoded.ljust(64, b"\0") + struct.pack("<HBBIII", len(encoded), kind, 1, FREE, right, child)
        directory += bytes(36) + struct.pack("<III", first, size, 0)
    directory_sectors = -(-len(directory) // 512)
    directory_first = chain(directory_sectors, table)
    body += directory.ljust(directory_sectors * 512, b"\0")
    table_sector = len(table)
    table.append(0xFFFFFFFD)
    assert len(table) <= 128, "one sector of the table is enough for tests"
    body += struct.pack(f"<{len(table)}I", *table).ljust(512, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<9I", 0, 1, directory_first, 0, 4096, small_first, small_sectors, END, 0)
    return header + struct.pack("<I", table_sector) + struct.pack("<I", FREE) * 108 + body
