"""What the parsing process and its parent say to each other: length-prefixed MessagePack.

Not pickle: a parser that a hostile file has taken over must not be able to run code in the parent.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from indexer.parsers.blocks import Block, Limits  # noqa: TC001 - msgspec reads the annotation at run time

_LENGTH: Final = struct.Struct("!I")
_MAX_FRAME_BYTES: Final = 1 << 26
# Parts of a member are no larger.
PART_BYTES: Final = 1 << 20


class ParseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Sent with the open file. ``parser`` is ``module:function``; ``limits`` are set where it may hold members."""

    parser: str
    encoding: str
    limits: Limits | None = None


class Pieces(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A batch of what was found; an empty one says that the parser is still at work."""

    blocks: list[Block] = []
    title: str = ""
    notices: list[str] = []

    @property
    def cost(self) -> int:
        """What it counts for, in characters, where what a parser yields is limited."""
        return sum(block.cost for block in self.blocks) + len(self.title) + sum(map(len, self.notices))


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A ``SourceError`` of the parser."""

    code: str
    message: str
    hint: str = ""


class MemberBegins(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A document within the file; its bytes follow. ``name`` is that of ``Member`` in bytes."""

    name: bytes


class MemberPart(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Bytes of the member that began last."""

    data: bytes


class MemberEnds(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The member is complete, or cannot be read to its end for the reason given."""

    failure: Failure | None = None


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The file is read to its end."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the parsing process ended: its exit status (negative: a signal) and the most bytes of memory it held."""

    status: int
    peak_bytes: int


Found = Pieces | MemberBegins | MemberPart | MemberEnds
Reply = Found | Failure | Finished

_encoder = msgspec.msgpack.Encoder()
_reply_decoder = msgspec.msgpack.Decoder(Reply)
_request_decoder = msgspec.msgpack.Decoder(ParseRequest)
_ended_decoder = msgspec.msgpack.Decoder(Ended)


def frame(message: ParseRequest | Reply) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def frame_length(header: bytes) -> int:
    """Length of the body that follows a frame's first four bytes.

    Raises:
        ConnectionError: no frame is that long; the other side speaks something else.
    """
    length = int(_LENGTH.unpack(header)[0])
    if length > _MAX_FRAME_BYTES:
        raise ConnectionAbortedError(f"a frame of {length} bytes")
    return length


def decode_reply(body: bytes) -> Reply:
    """Raises ConnectionError where the body is not a reply."""
    try:
        reply: Reply = _reply_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ConnectionAbortedError(str(error)) from error
    return reply


def decode_request(body: bytes) -> ParseRequest:
    return _request_decoder.decode(body)


def encode_ended(ended: Ended) -> bytes:
    return _encoder.encode(ended)


def decode_ended(body: bytes) -> Ended:
    return _ended_decoder.decode(body)
