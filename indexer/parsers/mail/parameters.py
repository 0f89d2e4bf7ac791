"""Parameters of a mail's headers (RFC 2045, RFC 2231), without those that the library fails on."""

from __future__ import annotations

import email.policy
from email.message import Message
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Names of 255 characters take 3 KB (RFC 2231).
_LONGEST: Final = 4096
# What a part cannot be read without.
_NEEDED: Final = frozenset({"boundary", "charset"})
_ASKED: Final = _NEEDED | {"filename", "name"}


class SoundParameters(email.policy.Compat32):
    """Leaves out of headers what the library parts in time that grows with the square, or fails on when it is asked."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        if name.lower() not in {"content-type", "content-disposition"}:
            return name, value
        if len(value) > _LONGEST:
            value = _shortened(value)
        return name, value if _can_be_parted(value) else _sound(value)


def _shortened(value: str) -> str:
    """As many parameters as have room, those that are needed first."""
    kind, *parameters = _parted(value)
    kept = [kind[:_LONGEST]]
    room = _LONGEST
    for parameter in sorted(parameters, key=lambda each: _name(each) not in _NEEDED):
        if len(parameter) < room:
            kept.append(parameter)
            room -= len(parameter) + 1
    return ";".join(kept)


def _sound(value: str) -> str:
    """Without parameters in the form of RFC 2231 that break it."""
    kind, *parameters = _parted(value)
    extended: dict[str, list[str]] = {}
    for each in parameters:
        if _is_extended(each):
            extended.setdefault(_name(each), []).append(each)
    sound = {name for name in _ASKED & extended.keys() if _can_be_parted(";".join([kind, *extended[name]]))}
    return ";".join([kind, *(each for each in parameters if not _is_extended(each) or _name(each) in sound)])


def _parted(value: str) -> Sequence[str]:
    """The value at semicolons that are not quoted, in one pass."""
    return list(_parts(value))


def _parts(value: str) -> Iterator[str]:
    held: list[str] = []
    is_quoted = False
    for piece in value.split(";"):
        held.append(piece)
        is_quoted ^= (piece.count('"') - piece.count('\\"')) % 2 == 1
        if not is_quoted:
            yield ";".join(held)
            held = []
    if held:
        yield ";".join(held)


def _name(parameter: str) -> str:
    return parameter.partition("=")[0].partition("*")[0].strip().lower()


def _is_extended(parameter: str) -> bool:
    return "*" in parameter.partition("=")[0]


def _can_be_parted(value: str) -> bool:
    probe = Message()
    probe["Content-Type"] = probe["Content-Disposition"] = value
    try:
        return bool((probe.get_filename(), probe.get_content_charset(), probe.get_boundary()))
    except (ValueError, LookupError, TypeError):
        return False
