"""Source code, split by its syntax: functions and classes with their names as headings, text verbatim."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import Block, BlockKind, Parsed, bounded, one_line
from indexer.parsers.code.line_syntax import CUTTERS, cuts
from indexer.parsers.code.syntax import CONTAINERS, WRAPPERS, defines, language_of
from indexer.parsers.decoding import TextReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from indexer.parsers.blocks import Parser

# A definition longer than this is split into those within it.
_WHOLE_BYTES: Final = 1500
# Neighbours shorter than this share a section, and each chunk names those it holds: a page of accessors is one topic.
_SMALL_BYTES: Final = 400
_MAX_DEPTH: Final = 5
_MAX_NAME_CHARS: Final = 100
# A syntax tree takes a hundred times the text's memory.
_MAX_TREE_BYTES: Final = 1 << 23


@dataclass(frozen=True, slots=True)
class _Segment:
    start: int
    end: int
    path: tuple[str, ...]
    small: bool = False
    name: str = ""  # where it is not the last of the path


def parse_code(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield code in a language whose syntax is not known here, as it stands: it is cut at empty lines."""
    yield from _parse(file, encoding, "")


def _for(language: str) -> Parser:
    def parse(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
        yield from _parse(file, encoding, language)

    return parse


parse_python = _for("python")
parse_javascript = _for("javascript")
parse_typescript = _for("typescript")
parse_tsx = _for("tsx")
parse_java = _for("java")
parse_go = _for("go")
parse_rust = _for("rust")
parse_c = _for("c")
parse_cpp = _for("cpp")
parse_csharp = _for("csharp")
parse_ruby = _for("ruby")
parse_php = _for("php")
parse_shell = _for("shell")
parse_sql = _for("sql")
parse_make = _for("make")
parse_dockerfile = _for("dockerfile")


def _parse(file: BinaryIO, encoding: str, language: str) -> Iterator[Parsed]:
    with TextReader(file, encoding) as reader:
        code = reader.read().lstrip("\ufeff").encode("utf-8", errors="replace")
        if language in CUTTERS:
            segments: Iterable[_Segment] = _together(_by_lines(language, code))
        elif language and len(code) <= _MAX_TREE_BYTES:
            from tree_sitter import Parser as SyntaxParser

            root = SyntaxParser(language_of(language)).parse(code).root_node
            segments = _together(_Walk(code).segments(root, (), 0, len(code)))
        else:
            segments = [_Segment(0, len(code), ())]
        yield from _blocks(code, segments)
        yield from reader.notices()


def _by_lines(language: str, code: bytes) -> Iterator[_Segment]:
    for cut in cuts(language, code):
        path = (one_line(cut.name)[:_MAX_NAME_CHARS],) if cut.name else ()
        yield _Segment(cut.start, cut.end, path, small=bool(path) and cut.end - cut.start < _SMALL_BYTES)


class _Walk:
    """Cuts a syntax tree at its definitions, lines whole, comments in front with what they are about."""

    def __init__(self, code: bytes) -> None:
        self._code = code

    def segments(self, parent: Any, path: tuple[str, ...], start: int, end: int) -> Iterator[_Segment]:  # noqa: ANN401
        at = start
        for node in self._definitions(parent):
            begin = max(at, self._line_start(self._with_comments(node)))
            stop = min(end, self._line_end(node.end_byte))
            name = self._name(node)
            if stop <= begin or not name:
                continue
            if begin > at:
                yield _Segment(at, begin, path)
            inner = (*path, name)
            size = stop - begin
            if size > _WHOLE_BYTES and len(inner) < _MAX_DEPTH and _unwrapped(node).type in CONTAINERS:
                yield from self.segments(_unwrapped(node), inner, begin, stop)
            else:
                yield _Segment(begin, stop, inner, small=size < _SMALL_BYTES)
            at = stop
        if at < end:
            yield _Segment(at, end, path)

    def _definitions(self, parent: Any) -> Iterator[Any]:  # noqa: ANN401
        """The definitions directly within, whatever bodies and blocks are between."""
        pending = list(reversed(parent.children))
        while pending:
            node = pending.pop()
            inner = _unwrapped(node)
            if defines(inner):
                yield node
            elif inner.type not in _LEAVES and node.end_byte - node.start_byte > _SMALL_BYTES:
                pending.extend(reversed(node.children))

    def _name(self, node: Any) -> str:  # noqa: ANN401
        inner = _unwrapped(node)
        found = inner.child_by_field_name("name") or inner.child_by_field_name("declarator")
        if found is None:
            found = inner.child_by_field_name("type") or inner.child_by_field_name("left")
        if found is None:  # Go and others name one level further down
            specs = [child for child in inner.named_children if child.child_by_field_name("name") is not None]
            found = specs[0].child_by_field_name("name") if specs else None
        # C and C++ wrap a function's name in its pointers, references and parameters.
        while found is not None and (deeper := _within(found)) is not None:
            found = deeper
        if found is None:
            return ""
        receiver = inner.child_by_field_name("receiver")  # Go: the type is nowhere around its methods
        owner = _RECEIVER.search(receiver.text) if receiver is not None else None
        name = found.text if owner is None else owner[1] + b"." + found.text
        return one_line(name.decode("utf-8", errors="replace"))[:_MAX_NAME_CHARS]

    def _with_comments(self, node: Any) -> int:  # noqa: ANN401
        start = node
        before = node.prev_sibling
        while (before is not None and "comment" in before.type) or (before is not None and before.type in _ATTRIBUTES):
            if b"\n\n" in self._code[before.end_byte : start.start_byte]:
                break
            start, before = before, before.prev_sibling
        return int(start.start_byte)

    def _line_start(self, at: int) -> int:
        begin = self._code.rfind(b"\n", 0, at) + 1
        return at if self._code[begin:at].strip() else begin

    def _line_end(self, at: int) -> int:
        end = self._code.find(b"\n", at)
        end = len(self._code) if end < 0 else end + 1
        if (
            len(self._code[at:end].strip(b" \t\r\n;,)}"))
            and b"#" not in self._code[at:end][:3]
            and b"//" not in self._code[at:end][:4]
        ):
            return at
        while self._code[end : end + 1] in {b"\n", b"\r"}:
            end += 1
        return end


_RECEIVER = re.compile(rb"(\w+)\s*(?:\[[^\]]*\]\s*)?\)\Z")
_LEAVES: Final = frozenset({"string", "comment", "template_string", "heredoc_body", "string_literal", "raw_string"})
_ATTRIBUTES: Final = frozenset({"attribute_item", "attribute_list", "decorator", "annotation"})


def _within(declarator: Any) -> Any:  # noqa: ANN401
    if declarator.type == "reference_declarator":  # the grammar gives what is in it no name
        return declarator.named_children[-1] if declarator.named_children else None
    return declarator.child_by_field_name("declarator")


def _unwrapped(node: Any) -> Any:  # noqa: ANN401
    """The definition within decorators, exports and templates."""
    while node.type in WRAPPERS:
        inner = node.child_by_field_name("definition") or node.child_by_field_name("declaration")
        inner = inner or next((child for child in node.named_children if defines(child)), None)
        if inner is None:
            return node
        node = inner
    return node


def _together(segments: Iterable[_Segment]) -> Iterator[_Segment]:
    """Small definitions that follow one another stand under what is around them; each knows its own name."""
    for (small, around), found in groupby(segments, key=lambda segment: (segment.small, segment.path[:-1])):
        run = list(found)
        if small and len(run) > 1:
            yield from (_Segment(each.start, each.end, around, name=each.path[-1]) for each in run)
        else:
            yield from run


def _blocks(code: bytes, segments: Iterable[_Segment]) -> Iterator[Block]:
    path: tuple[str, ...] = ()
    for segment in segments:
        text = code[segment.start : segment.end].decode("utf-8", errors="replace")
        if segment.path != path and text.strip():
            # Headings without a text of their own: the names stand in the code that follows.
            common = next((n for n, (a, b) in enumerate(zip(path, segment.path, strict=False)) if a != b), None)
            kept = min(len(path), len(segment.path)) if common is None else common
            for level, name in enumerate(segment.path[kept:], kept + 1):
                yield Block(text="", kind=BlockKind.HEADING, level=level, heading=name)
            if kept == len(segment.path):
                yield Block(text="", kind=BlockKind.HEADING, level=kept + 1)
            path = segment.path
        yield from bounded(Block(text=text, kind=BlockKind.CODE, heading=segment.name))
