"""Chunks from blocks: whole sections where they fit, otherwise cut at the best border. Pure and incremental."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from indexer.chunking.lead_ins import leads_in
from indexer.chunking.packing import Group, halves, leading_headings, pack
from indexer.chunking.units import Splitter, Unit
from indexer.parsers.blocks import BlockKind, says_caption
from rag.embedding.context import contextual_text
from rag.types import ChunkDraft, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from indexer.chunking.units import CountTokens
    from indexer.parsers.blocks import Block

# Bump when the same blocks give other chunks: unchanged files are then chunked again.
CHUNKER_VERSION: Final = "plumbline-chunks-3"

# About one screen paragraph or two: one topic for the embedding, and six of them fit a small model's context.
TARGET_TOKENS: Final = 180
MAX_TOKENS: Final = 220
# A section longer than this is packed piece by piece.
_WINDOW_CHARS: Final = 1 << 16
# Shares of the embedder's input that context may take from the text.
_TITLE_SHARE: Final = 4
_PATH_SHARE: Final = 3
_TABLE_HEADER_CHARS: Final = 160
# Half of a caption of fewer words says little.
_MIN_CAPTION_WORDS: Final = 5
# More names of what a chunk of code defines say less than the code itself.
_MAX_NAMES: Final = 3
_NAMES_CHARS: Final = 80


def chunk_blocks(
    blocks: Iterable[Block],
    *,
    count_tokens: CountTokens,
    max_tokens: int,
    title: str = "",
    target: int = TARGET_TOKENS,
    limit: int = MAX_TOKENS,
) -> Iterator[ChunkDraft]:
    """Yield the chunks of a source in order, soon after their blocks have come.

    A chunk is one slice of the blocks' joined text, belongs to one heading, and fits ``max_tokens`` (special tokens
    included) together with its context as ``contextual_text`` writes it. Small neighbours under a heading share a
    chunk. A heading is not repeated in its chunks' text; one without a text of its own begins the chunk that follows,
    or, at the end of a source, ends the one before. ``title`` should have gone through ``clip_title``. A chunk's text
    has ``target`` tokens where neighbours allow it, and ``limit`` at most.
    """
    chunker = Chunker(count_tokens=count_tokens, max_tokens=max_tokens, title=title, target=target, limit=limit)
    for block in blocks:
        yield from chunker.add(block)
    yield from chunker.finish()


def clip_title(title: str, *, count_tokens: CountTokens, max_tokens: int) -> str:
    """A title that leaves the embedder room for the text."""
    return _clip(title, count_tokens, max_tokens // _TITLE_SHARE)


def _clip(text: str, count_tokens: CountTokens, limit: int) -> str:
    words = text.split()
    while len(words) > 1 and count_tokens([" ".join(words)])[0] > limit:
        words = words[: max(1, len(words) * 3 // 4)]
    clipped = " ".join(words)
    while len(clipped) > 1 and count_tokens([clipped])[0] > limit:
        clipped = clipped[: len(clipped) * 3 // 4]
    return text if clipped == " ".join(text.split()) else f"{clipped}…"


class Chunker:
    """``chunk_blocks`` for blocks that come one by one: ``add`` gives chunks that are ready, ``finish`` the others."""

    def __init__(
        self,
        *,
        count_tokens: CountTokens,
        max_tokens: int,
        title: str = "",
        target: int = TARGET_TOKENS,
        limit: int = MAX_TOKENS,
    ) -> None:
        self._count_tokens = count_tokens
        self._target, self._most = target, limit
        self._max_tokens = max_tokens
        self._path_share = max_tokens // _PATH_SHARE
        self._title = title
        self._splitter = Splitter(count_tokens)
        self._offset = 0
        self._headings: list[tuple[int, str]] = []
        self._path: tuple[str, ...] = ()
        self._limit = self._text_limit(())
        # The headings since the last text, with their levels.
        self._bare: list[tuple[int, Unit]] = []
        self._units: list[Unit] = []
        self._chars = 0
        self._held: ChunkDraft | None = None
        self._space_after_held = ""
        self._ordinal = 0

    def add(self, block: Block) -> Iterator[ChunkDraft]:
        unit = Unit(
            start=self._offset,
            text=block.text,
            kind=block.kind,
            page=block.page,
            table_header=block.header or "",
            headed=block.kind is BlockKind.TABLE and block.header is None,
            caption=block.caption,
            name=block.heading if block.kind is BlockKind.CODE else "",
        )
        self._offset += len(block.text)
        if block.kind is BlockKind.HEADING:
            yield from self._pack(final=True)
            self._open(unit, block)
        elif block.text.strip():
            self._settle_headings()
            if self._units:
                last = self._units[-1]
                last.with_next = _belong_together(last, unit) or leads_in(last.text, last.kind, unit.kind)
            self._units.append(unit)
            self._chars += len(block.text)
            if self._chars > _WINDOW_CHARS:
                yield from self._pack(final=False)
        elif self._units or self._bare:
            # Neighbours stay neighbours: a chunk is one slice.
            (self._units[-1] if self._units else self._bare[-1][1]).text += block.text

    def finish(self) -> Iterator[ChunkDraft]:
        yield from self._pack(final=True)
        if self._bare:
            yield from self._close_with_headings([unit for _level, unit in self._bare])
        if self._held is not None:
            yield self._held
            self._held = None

    def _open(self, unit: Unit, block: Block) -> None:
        unit.heading = True
        self._bare.append((block.level, unit))
        while self._headings and self._headings[-1][0] >= block.level:
            self._headings.pop()
        if block.heading:  # without one it only ends what stood on its level
            heading = _clip(block.heading, self._count_tokens, self._path_share)
            self._headings.append((block.level, heading))
        self._path = self._fitting_path()
        self._limit = self._text_limit(self._path)

    def _settle_headings(self) -> None:
        """A text has come: headings above it are in its path; others, which have no text, go in front of it."""
        bare, self._bare = self._bare, []
        while len(bare) > 1 and bare[0][0] < min(level for level, _unit in bare[1:]):
            bare.pop(0)
        if len(bare) > 1:
            # One slice: the text's own heading stands between them and the text.
            self._units.extend(unit for _level, unit in bare)

    def _pack(self, *, final: bool) -> Iterator[ChunkDraft]:
        if not self._units:
            return
        units, self._units = self._units, []
        fresh = [unit for unit in units if not unit.weight]
        self._splitter.weigh(fresh)
        units = self._splitter.split(self._beside_captions(units), self._room(units))
        groups = pack(units, target=min(self._target, self._limit), limit=self._limit)
        if not final:
            # The last groups may still grow or be evened out.
            self._units = [unit for group in groups[-2:] for unit in group]
            groups = groups[:-2]
        self._chars = sum(len(unit.text) for unit in self._units)
        yield from self._drafts(groups)

    def _room(self, units: Sequence[Unit]) -> int:
        """What one unit may weigh: less where headings have to share its chunk, unless they would leave it little."""
        headings = sum(unit.weight for unit in units[: leading_headings(units)])
        return self._limit - headings if headings * 2 <= self._limit else self._limit

    def _beside_captions(self, units: Sequence[Unit]) -> list[Unit]:
        """The units, with tables cut that would not leave their captions room."""
        fitting: list[Unit] = []
        for i, unit in enumerate(units):
            beside = [*units[max(0, i - 1) : i], *units[i + 1 : i + 2]]
            taken = sum(other.weight for other in beside if unit.caption and _belong_together(other, unit))
            cut = unit.weight + taken > self._limit and 0 < 2 * taken <= self._limit
            fitting.extend(self._splitter.split([unit], self._limit - taken) if cut else [unit])
        return fitting

    def _drafts(self, groups: Sequence[Group]) -> Iterator[ChunkDraft]:
        pending = deque(self._counted(groups))
        while pending:
            group, text, path, (plain, context) = pending.popleft()
            if context > self._max_tokens and (smaller := self._smaller(group)):
                # Rare: tokens at a seam, or what a table's rows have for their context.
                pending.extendleft(reversed(self._counted(smaller)))
                continue
            yield from self._hold(self._draft(group, text, path, plain))
            self._space_after_held = _space_after(group)

    def _counted(self, groups: Sequence[Group]) -> list[tuple[Group, str, tuple[str, ...], tuple[int, int]]]:
        """Each group with its text, its path, and the tokens of the text without and with its context."""
        texts = [_text(group) for group in groups]
        paths = [self._group_path(group) for group in groups]
        contexts = [contextual_text(self._title, path, text) for path, text in zip(paths, texts, strict=True)]
        counts = self._count_tokens([*texts, *contexts])
        pairs = zip(counts[: len(texts)], counts[len(texts) :], strict=True)
        return list(zip(groups, texts, paths, pairs, strict=True))

    def _smaller(self, group: Group) -> list[Group]:
        """What to try in place of a group that does not fit with its context; nothing if it cannot be cut."""
        first = group[0]
        if _names(group):
            for unit in group:
                unit.name = ""
            return [group]
        if caption := _caption_elsewhere(group):
            for unit in group:
                unit.caption = _shorter(caption) if unit.caption == caption else unit.caption
            return [group]
        if first.table_header:
            first.table_header = ""
            return [group]
        if (two := halves(group)) is not None:
            return list(two)
        headings, last = group[:-1], group[-1]
        if len(last.text.strip()) < 2:
            return []
        head, *rest = self._splitter.split([last], max(1, last.weight // 2))
        return [[*headings, head], *([unit] for unit in rest)] if rest else []

    def _draft(self, group: Group, text: str, path: tuple[str, ...], tokens: int) -> ChunkDraft:
        first = group[0]
        # Counted over the whole group: its first unit may be white space alone.
        joined = "".join(unit.text for unit in group)
        start = first.start + len(joined) - len(joined.lstrip())
        draft = ChunkDraft(
            ordinal=self._ordinal,
            text=text,
            span=Span(start=start, end=start + len(text)),
            page=first.page,
            heading_path=path,
            token_count=tokens,
        )
        self._ordinal += 1
        return draft

    def _hold(self, draft: ChunkDraft) -> Iterator[ChunkDraft]:
        """Keep the last chunk back: headings at the end of the source may have to join it."""
        if self._held is not None:
            yield self._held
        self._held = draft

    def _close_with_headings(self, headings: list[Unit]) -> Iterator[ChunkDraft]:
        held = self._held
        if held is not None:
            text = held.text + self._space_after_held + "".join(unit.text for unit in headings)
            text = text.rstrip()
            plain, context = self._count_tokens([text, contextual_text(self._title, held.heading_path, text)])
            if context <= self._max_tokens and held.span.end + len(self._space_after_held) == headings[0].start:
                span = Span(start=held.span.start, end=held.span.start + len(text))
                self._held = replace(held, text=text, span=span, token_count=plain)
                return
        self._splitter.weigh(headings)
        groups = pack(self._splitter.split(headings, self._limit), target=self._limit, limit=self._limit)
        yield from self._drafts(groups)

    def _group_path(self, group: Group) -> tuple[str, ...]:
        header = " ".join(group[0].table_header.split())
        told = (_names(group), _caption_elsewhere(group), header if len(header) <= _TABLE_HEADER_CHARS else "")
        return (*self._path, *filter(None, told))

    def _fitting_path(self) -> tuple[str, ...]:
        # Of headings nested thousands deep only so many can fit: each has a token.
        path = [heading for _, heading in self._headings[-max(1, self._path_share) :]]
        counts = list(self._count_tokens(path))
        start = 0
        while start < len(path) - 1 and sum(counts[start:]) > self._path_share:
            start += 1
        return tuple(path[start:])

    def _text_limit(self, path: tuple[str, ...]) -> int:
        context = self._count_tokens([contextual_text(self._title, path, "")])[0]
        return max(1, min(self._most, self._max_tokens - context))


def _belong_together(first: Unit, second: Unit) -> bool:
    """Whether two neighbours are a table and its caption."""
    if {first.kind, second.kind} != {BlockKind.CAPTION, BlockKind.TABLE}:
        return False
    caption, table = (first, second) if first.kind is BlockKind.CAPTION else (second, first)
    return bool(table.caption) and says_caption(caption.text, table.caption)


def _caption_elsewhere(group: Group) -> str:
    """The caption of a table in the group, if the group does not hold it."""
    held = "\n".join(unit.text for unit in group if unit.kind is BlockKind.CAPTION)
    return next((unit.caption for unit in group if unit.caption and not says_caption(held, unit.caption)), "")


def _names(group: Group) -> str:
    """What the code of a group defines, if that is little enough for a heading."""
    names = dict.fromkeys(unit.name for unit in group if unit.name)
    joined = ", ".join(names)
    return joined if len(names) <= _MAX_NAMES and len(joined) <= _NAMES_CHARS else ""


def _shorter(caption: str) -> str:
    words = caption.split()
    return f"{' '.join(words[: len(words) // 2])}…" if len(words) > _MIN_CAPTION_WORDS else ""


def _text(group: Group) -> str:
    return "".join(unit.text for unit in group).strip()


def _space_after(group: Group) -> str:
    text = "".join(unit.text for unit in group)
    return text[len(text.rstrip()) :]
