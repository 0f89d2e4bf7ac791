"""From the lines of a PDF page to headings, paragraphs, lists, code and tables, by font, place and gaps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain, pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, one_line
from indexer.parsers.captions import is_caption
from indexer.parsers.heading_words import CAPTION, LIST_ITEM, is_numbered, section_numbers, without_number
from indexer.parsers.pdf.grids import with_grids
from indexer.parsers.pdf.headings import Levels
from indexer.parsers.pdf.lines import SAME_LINE
from indexer.parsers.pdf.tables import Table, is_column, with_tables
from indexer.parsers.tables import leading_names, stands_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from indexer.parsers.pdf.headings import Style
    from indexer.parsers.pdf.lines import Line
    from indexer.parsers.pdf.rules import Grid

_MAX_HEADING_LINES: Final = 3
# Distances are between baselines, in units of the document's usual one.
_PARAGRAPH_GAP: Final = 1.3
_HEADING_GAP: Final = 1.7
_ITEM_GAP: Final = 2.0
_CODE_GAP: Final = 3.0
# A number so far below a heading without one begins another heading; a later number does so at any distance.
_NUMBER_GAP: Final = 1.2
# Lines of one heading share an edge or their middle, or are moved by less than so many font sizes.
_MOVED: Final = 4.0
# An indent of this many font sizes begins a paragraph.
_INDENT: Final = 0.7
# A line that ends this many font sizes before the next ends a paragraph if the distance is more than usual, too.
_SHORT: Final = 3.0
_USUAL_GAP: Final = 1.1
_SENTENCE_END: Final = tuple('.!?:;。！？”"’)')
# Words that keep their hyphen when it falls on a line's end.
_KEPT_HYPHEN = re.compile(r"(?:^|[\s(])(?:self|non|well|high|low|all|cross|half|quasi|state-of-the)$", re.IGNORECASE)
_LAST_WORD = re.compile(r"[\w-]+$")
_FIRST_WORD = re.compile(r"^\w+")
# Without those that a line's end may have cut.
_WHOLE_WORD = re.compile(r"(?<![\w-])\w+(?:-\w+)*(?![\w-])")
# Chinese and Japanese, whose words have no spaces between them.
_UNSPACED = re.compile("[\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff9f\U00020000-\U0003ffff]")
_MAX_WORDS: Final = 200_000
# The dots between an entry of a table of contents and its page.
_LEADERS = re.compile(r"\s*(?:\.\s?){5,}(?=\s*(?:\d+|[ivxlc]+)$)")
_BARE_ITEM = re.compile(r"^(\d{1,2})\s+[^\W\d_a-z]")
_MIN_BARE_ITEMS: Final = 3
_CONTINUED_CHARS: Final = 120
# What stands above the rest of a table, on the next page.
_CONTINUED = re.compile(r"\b(?:cont|fort(?:s|gesetzt)|suite|contin[uú]a|segue|vervolg)", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class _Row:
    """A line or a table, and what it would be. ``told``: the outline says the level."""

    line: Line | None
    table: Table | None = None
    level: int | None = None
    told: bool = False
    item: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenTable:
    """The last table, with nothing below it so far, and the names of its columns."""

    page: int
    columns: int
    header: str


@dataclass(slots=True)
class PageWriter:
    """Groups the lines of one page after the other. ``outline`` has the levels of headings by page and folded title."""

    style: Style
    outline: Mapping[tuple[int, str], int] = field(default_factory=dict)
    _words: set[str] = field(default_factory=set)
    _levels: Levels = field(default_factory=Levels)
    _open: _OpenTable | None = None

    def blocks(self, lines: Sequence[Line], *, page: int, grids: Sequence[Grid] = ()) -> Iterator[Block]:
        """The blocks of a page; ``grids`` are its ruled tables."""
        self.learn(lines)
        for group in self._groups(lines, page, grids):
            block = self._block(group, page)
            if block.kind is not BlockKind.TABLE and not _CONTINUED.search(block.text[:_CONTINUED_CHARS]):
                self._open = None
            yield block

    def learn(self, *pages: Sequence[Line]) -> None:
        """Take in the words of pages, which tell whether others have the hyphen that they are cut at."""
        cut = False
        for line in chain.from_iterable(pages):
            if len(self._words) < _MAX_WORDS:
                words = _WHOLE_WORD.findall(line.text.lower())
                self._words.update(words[int(cut) : len(words) - line.hyphenated])
            cut = line.hyphenated

    def _groups(self, lines: Sequence[Line], page: int, grids: Sequence[Grid]) -> Iterator[list[_Row]]:
        group: list[_Row] = []
        rows = [self._row(piece, page) for piece in self._pieces(lines, grids)]
        _mark_bare_items(rows)
        for row, following in pairwise(rows):
            if self._is_emphasis(row, following):
                row.level = None
        for row in rows:
            if row.line is not None and row.level is not None and not row.told:
                row.level = self._levels.of(row.line, row.level)
            if group and not self._joins(group, row):
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def _pieces(self, lines: Sequence[Line], grids: Sequence[Grid]) -> Iterator[Line | Table]:
        for part in with_grids(lines, grids):
            if isinstance(part, Table):
                yield part
            else:
                yield from with_tables(part, self.style.pitch)

    def _row(self, piece: Line | Table, page: int) -> _Row:
        if isinstance(piece, Table):
            return _Row(line=None, table=piece)
        told = self._outline_level(piece.text, page)
        level = self.style.heading_level(piece) if told is None else self._levels.told(piece, told)
        entry = _LEADERS.search(piece.text)
        if entry is not None:
            piece.text = f"{piece.text[: entry.start()]} … {piece.text[entry.end() :].strip()}"
        item = level is None and (entry is not None or bool(LIST_ITEM.match(piece.text)))
        return _Row(line=piece, level=level, told=told is not None, item=item)

    def _is_emphasis(self, row: _Row, following: _Row) -> bool:
        """Whether what looks like a heading is the beginning of a sentence that goes on below it."""
        above, below = row.line, following.line
        if above is None or below is None or row.level is None or row.told or following.level is not None:
            return False
        near = 0 < above.base - below.base <= _PARAGRAPH_GAP * self.style.pitch
        same = abs(above.size - below.size) <= 1.0
        return near and same and below.text[0].islower() and not is_numbered(above.text)

    def _outline_level(self, text: str, page: int) -> int | None:
        if not self.outline or len(text) > MAX_HEADING_CHARS:
            return None
        level = self.outline.get((page, folded(text)))
        # An outline may leave out the number of a section.
        return self.outline.get((page, folded(without_number(text)))) if level is None else level

    def _joins(self, group: list[_Row], row: _Row) -> bool:
        first, last = group[0], group[-1]
        if last.line is None or row.line is None or last.line.turned != row.line.turned:
            return False
        above, below = last.line, row.line
        step = above.base - below.base
        usual = max(self.style.pitch, min(above.size, below.size))
        if last.level is not None or row.level is not None:
            # The lines of one heading may differ a little by the fonts of their words.
            one = last.level == row.level or not (last.told or row.told or last.level is None or row.level is None)
            one = one and abs(above.size - below.size) <= 1.0 and _share_an_edge(above, below)
            another = _is_next_heading(first.line or above, below, step / usual)
            return one and not another and 0 < step <= _HEADING_GAP * usual
        if abs(step) <= SAME_LINE * usual:
            return not is_column(above, below)  # an index or an exponent
        if above.mono or below.mono:
            return above.mono == below.mono and 0 < step <= _CODE_GAP * usual
        if row.item:
            return first.item and abs(above.size - below.size) <= 1.0 and 0 < step <= _ITEM_GAP * usual
        return _is_one_paragraph(above, below, step / usual, in_list=first.item)

    def _block(self, group: list[_Row], page: int) -> Block:
        first = group[0]
        if first.table is not None:
            return self._table(first.table, page)
        lines = [row.line for row in group if row.line is not None]
        if first.level is not None:
            title = one_line(self._joined(group))
            if len(title) <= MAX_HEADING_CHARS and len(group) <= _MAX_HEADING_LINES:
                return Block(text=f"{title}\n\n", kind=BlockKind.HEADING, level=first.level, heading=title, page=page)
        elif all(line.mono for line in lines) and len(lines) > 1:
            return Block(text=_code(lines, self.style.pitch) + "\n\n", kind=BlockKind.CODE, page=page)
        text = self._joined(group)
        kind = BlockKind.LIST if first.item else BlockKind.PARAGRAPH
        if is_caption(text):
            kind = BlockKind.CAPTION
        return Block(text=f"{text}\n\n", kind=kind, page=page)

    def _table(self, table: Table, page: int) -> Block:
        """A table, or the rest of the one that the page before ends with."""
        names, header = leading_names(table.rows)
        before, columns = self._open, len(table.rows[0])
        adjoins = before is not None and before.page == page - 1 and before.columns == columns
        if adjoins and before is not None and before.header and not (names and stands_out(table.rows)):
            names, header = (names, header) if header == before.header else (0, before.header)
        self._open = _OpenTable(page=page, columns=columns, header=header)
        return Block(text=f"{table.text}\n\n", kind=BlockKind.TABLE, page=page, header=None if names == 1 else header)

    def _joined(self, group: Sequence[_Row]) -> str:
        """Lines as running text; words cut at a line's end are whole again; list items keep their lines."""
        text = ""
        hyphenated = False
        for row in group:
            if (line := row.line) is None:
                continue
            if not text:
                text = line.text
            elif hyphenated:
                text += self._hyphen(text, line.text) + line.text
            else:
                unspaced = _UNSPACED.match(text[-1]) and _UNSPACED.match(line.text)
                text += ("\n" if row.item else "" if unspaced else " ") + line.text
            hyphenated = line.hyphenated
        return f"{text}-" if hyphenated else text

    def _hyphen(self, before: str, after: str) -> str:
        """The hyphen of a word cut at a line's end if it is the word's own: before names and figures, in compounds."""
        if not after[0].islower():
            return "-"
        last, first = _LAST_WORD.search(before), _FIRST_WORD.search(after)
        if last and first:
            if f"{last[0]}-{first[0]}".lower() in self._words:
                return "-"
            if f"{last[0]}{first[0]}".lower() in self._words:
                return ""
        return "-" if _KEPT_HYPHEN.search(before) else ""


def _mark_bare_items(rows: Sequence[_Row]) -> None:
    """Mark the items of lists that are numbered without a dot: on one edge, from 1 on, each before a capital letter."""
    run: list[_Row] = []
    for row in rows:
        if row.line is None or row.level is not None:
            run = []
            continue
        number = _BARE_ITEM.match(row.line.text)
        if number is None:
            continue
        first = run[0].line if run else None
        if int(number[1]) == 1:
            run = [row]
        elif (
            first is not None
            and int(number[1]) == len(run) + 1
            and abs(row.line.left - first.left) <= row.line.size / 2
        ):
            run.append(row)
        if len(run) >= _MIN_BARE_ITEMS:
            for item in run:
                item.item = True


def _share_an_edge(above: Line, below: Line) -> bool:
    moved = (
        below.left - above.left,
        below.right - above.right,
        (below.left + below.right - above.left - above.right) / 2,
    )
    return min(map(abs, moved)) <= _MOVED * below.size


def _is_next_heading(first: Line, below: Line, step: float) -> bool:
    """Whether a line begins another heading with its number, ``first`` being the first line of the one above."""
    numbers = section_numbers(below.text) if is_numbered(below.text) else ()
    if not numbers or without_number(below.text)[0].islower():
        return False
    above = section_numbers(first.text) if is_numbered(first.text) else ()
    return _follows(above, numbers) if above else step > _NUMBER_GAP


def _follows(above: tuple[str, ...], below: tuple[str, ...]) -> bool:
    """Whether a section's number may come right after another: ``3.1`` after ``3``, ``4`` after ``3`` or ``3.2``."""
    common = len(below) - 1
    if len(below) == len(above) + 1:
        return below[:-1] == above and below[-1] == "1"
    return len(below) <= len(above) and below[:common] == above[:common] and _one_more(above[common], below[common])


def _one_more(above: str, below: str) -> bool:
    if above.isdecimal() and below.isdecimal():
        return int(below) == int(above) + 1
    return len(above) == len(below) == 1 and ord(below) == ord(above) + 1


def _is_one_paragraph(above: Line, below: Line, step: float, *, in_list: bool) -> bool:
    """Whether a line goes on with the paragraph above it; ``step`` is the distance in usual line distances."""
    ends = above.text.endswith(_SENTENCE_END)
    if CAPTION.match(below.text) or (abs(above.size - below.size) > 1.0 and (ends or not _goes_on(above, below, step))):
        return False
    if step <= 0:
        # On to the next column, in the middle of a sentence or of a word.
        goes_on = above.hyphenated or (below.text[0].islower() and not ends)
        return goes_on and below.left > above.left + above.width / 2
    begins = ends and not (below.text[0].islower() or below.text[0].isdigit())
    indented = begins and below.left > above.left + _INDENT * below.size
    short = ends and step > _USUAL_GAP and above.right < below.right - _SHORT * below.size
    return step <= _PARAGRAPH_GAP and (in_list or not (indented or short))


def _goes_on(above: Line, below: Line, step: float) -> bool:
    """Whether a line of another size is within the sentence above it: a line of code within text."""
    beside = abs(above.left - below.left) <= below.size / 2
    return beside and 0 < step <= _USUAL_GAP and below.mono == above.mono and not below.text[0].isupper()


def folded(title: str) -> str:
    """A heading's text as it is compared: without case, space and punctuation."""
    return "".join(character for character in title.casefold() if character.isalnum())


def _code(lines: Sequence[Line], pitch: float) -> str:
    """Lines of a fixed-width font with their indentation and empty lines."""
    left = min(line.left for line in lines)
    advance = median(line.width / len(line.text) for line in lines) or 1.0
    parts = []
    for index, line in enumerate(lines):
        step = lines[index - 1].base - line.base if index else 0.0
        parts.append("\n" if step > 1.6 * pitch else "")
        parts.append(" " * round((line.left - left) / advance) + line.text + "\n")
    return "".join(parts).rstrip()
