"""Contacts (vCard, RFC 6350 and before) and calendars (iCalendar, RFC 5545): a record each, in words.

Pictures, keys, time zones, alarms and what programs note for themselves are left out.
"""

from __future__ import annotations

import html
import quopri
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, Title, bounded, one_line
from indexer.parsers.decoding import TextReader, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

_RECORDS: Final = frozenset({"VCARD", "VEVENT", "VTODO", "VJOURNAL"})
_TIMES: Final = {"DTSTART": "From", "DTEND": "Until", "DUE": "Due", "COMPLETED": "Done"}
# What is told of a record, in this order, and what it is called; the first that is there begins it.
_NAMES: Final = ("FN", "SUMMARY", "N", "ORG", "NICKNAME", "EMAIL", "TEL")
_CALLED: Final = {
    "NICKNAME": "Nickname",
    "ORG": "Organisation",
    "TITLE": "Title",
    "ROLE": "Role",
    "TEL": "Phone",
    "EMAIL": "Mail",
    "IMPP": "Messages",
    "ADR": "Address",
    "URL": "Web",
    "BDAY": "Birthday",
    "ANNIVERSARY": "Anniversary",
    "RELATED": "Related",
    **_TIMES,
    "RRULE": "Repeats",
    "LOCATION": "Place",
    "ORGANIZER": "Organiser",
    "ATTENDEE": "Attendee",
    "STATUS": "Status",
    "CATEGORIES": "Categories",
    "DESCRIPTION": "",
    "COMMENT": "",
    "NOTE": "",
}
_LINE = re.compile(r"(?:[\w-]+\.)?([A-Za-z][\w-]*)((?:;(?:[^\":;]|\"[^\"]*\")*)*):(.*)\Z", re.DOTALL)
_PARAMETER = re.compile(r";(?:([\w-]+)=)?((?:[^\";]|\"[^\"]*\")*)")
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?\Z")
_ESCAPED = re.compile(r"\\([nN]|.)")
_PARTS = re.compile(r"(?<!\\);")
_TAG = re.compile(r"<(?:br|/p|/div|/li)\b[^<>]*>|(<[a-zA-Z/][^<>]*>)", re.IGNORECASE)
# What nearly every number and address says of itself.
_USUAL: Final = frozenset({"voice", "pref", "internet"})
_QUOTED_PRINTABLE: Final = "QUOTED-PRINTABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Property:
    name: str
    parameters: dict[str, str]
    kinds: tuple[str, ...]
    value: str


def parse_cards(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield each contact, appointment, task and entry of a journal."""
    with TextReader(file, encoding) as reader:
        record: list[_Property] | None = None
        aside = 0  # how deep within what is left out
        begun = False
        for line in _unfolded(reader.lines()):
            found = _property(line)
            if found is None:
                continue
            kind = found.value.upper()
            if found.name in {"BEGIN", "END"} and kind in _RECORDS:
                yield from _written(record or ())
                record = [] if found.name == "BEGIN" else None
                aside, begun = 0, True
            elif found.name == "BEGIN":
                aside += kind != "VCALENDAR"
            elif found.name == "END":
                aside = max(0, aside - 1)
            elif record is not None and not aside:
                record.append(found)
            elif found.name == "X-WR-CALNAME" and not begun and (title := one_line(_text(found))):
                yield Title(text=title)
                begun = True
        yield from _written(record or ())
        yield from reader.notices()


def _unfolded(lines: Iterable[str]) -> Iterator[str]:
    """Lines that go on on the next are one: by white space there, or by an equals sign in quoted-printable."""
    parts: list[str] = []
    quoted = False
    for line in lines:
        text = line.rstrip("\n")
        if parts and quoted and parts[-1].endswith("="):
            parts[-1] = parts[-1][:-1]
            parts.append(text)
        elif parts and text.startswith((" ", "\t")):
            parts.append(text[1:])
        else:
            if parts:
                yield "".join(parts)
            parts, quoted = [text], _QUOTED_PRINTABLE in text.upper()
    yield "".join(parts)


def _property(line: str) -> _Property | None:
    found = _LINE.match(line)
    if found is None:
        return None
    parameters: dict[str, str] = {}
    kinds: list[str] = []
    for key, value in _PARAMETER.findall(found[2]):
        if key.upper() in {"", "TYPE"}:
            kinds += value.strip('"').lower().split(",")
        else:
            parameters[key.upper()] = value.strip('"')
    return _Property(name=found[1].upper(), parameters=parameters, kinds=tuple(kinds), value=found[3].strip())


def _written(record: Sequence[_Property]) -> Iterator[Block]:
    names = [(found.name, text) for found in record if found.name in _NAMES and (text := _text(found))]
    names.sort(key=lambda name: _NAMES.index(name[0]))
    lines = [one_line(names[0][1])] if names else []
    for name, called in _CALLED.items():
        for found in record:
            if found.name == name and (text := _text(found)) and (name, text) not in names[:1]:
                kinds = ", ".join(kind for kind in found.kinds if kind not in _USUAL and called)
                label = f"{called} ({kinds})" if kinds else called
                lines.append(f"{label}: {text}" if label else text)
    if lines:
        text = "\n".join(lines)
        yield from bounded(Block(text=f"{text}\n\n"))


def _text(found: _Property) -> str:
    """A value as people write it; empty where it is none to read."""
    value = found.value
    encoding = found.parameters.get("ENCODING", "").upper()
    if _QUOTED_PRINTABLE in {encoding, *(kind.upper() for kind in found.kinds)}:
        value = _decoded(quopri.decodestring(value.encode()), found.parameters.get("CHARSET", "utf-8"))
    elif encoding or value.startswith("data:"):
        return ""
    if found.name in _TIMES or found.name in {"BDAY", "ANNIVERSARY"}:
        return _moment(value, found.parameters.get("TZID", ""))
    if found.name in {"ORGANIZER", "ATTENDEE"}:
        address = re.sub(r"^mailto:", "", value, flags=re.IGNORECASE)
        name = found.parameters.get("CN", "")
        return f"{name} <{address}>" if name and name != address else address
    if found.name in {"N", "ADR", "ORG"}:
        parts = filter(None, (_unescaped(part).strip() for part in _PARTS.split(value)))
        return ", ".join(map(one_line, parts))
    text = _unescaped(value)
    if found.name == "DESCRIPTION" and _TAG.search(text):
        text = html.unescape(_TAG.sub(lambda tag: "" if tag[1] else "\n", text))
    return storable(text).strip()


def _decoded(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset, errors="replace")
    except LookupError:
        return data.decode("utf-8", errors="replace")


def _moment(value: str, zone: str) -> str:
    found = _MOMENT.match(value)
    if found is None:
        return storable(value)
    year, month, day, hour, minute, second, universal = found.groups()
    if hour is None:
        return f"{year}-{month}-{day}"
    time = f"{hour}:{minute}" + (f":{second}" if second != "00" else "")
    zone = "UTC" if universal else zone
    return f"{year}-{month}-{day} {time}" + (f" ({zone})" if zone else "")


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)
