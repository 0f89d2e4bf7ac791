"""Every file of a folder through detection and the isolated parser: what becomes of it, how long it takes, how much
of its text arrives.

    python -m benchmarks.parsing --files DIR [--only SUFFIX ...] [--list] [--timeout S] [--json FILE]

A file is ``ingested`` (it gave text), a ``duplicate`` (the bytes of one before it), ``refused`` (with the code of its
error) or ``failed``: its parser crashed, ran out of memory or out of time. Its blocks are chunked, too, and every chunk
is compared with the slice of the source that it claims to be. What archives and mails hold is read as well and counted
by itself; a container is ``ingested`` if it has text or holds anything. PDF pages are counted for those files of which
no page needed text recognition.

Recall and precision compare words with an expected Markdown. It is looked for as docling lays its test data out
(``sources/NAME.EXT``, ``groundtruth/NAME.EXT.md`` or ``groundtruth/NAME.md``) and as markitdown does
(``expected_outputs/NAME.md``). Words are runs of letters and digits after NFKC and case folding, counted with
their repetitions; of the Markdown only what a reader sees counts: no comments, link targets, image references,
TeX commands or entities. Recall is the share of expected words that arrived, precision the share of words that were
expected; a format's figure is the mean over its files. Which files must contain which strings is listed in
``parsing_strings.json``.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import statistics
import time
import unicodedata
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import machine
from indexer.chunking.chunker import chunk_blocks
from indexer.detection.media_types import detect
from indexer.formats import CONTAINERS, PDF
from indexer.members import MAX_DEPTH, Budget, Handover, RefusedMember
from indexer.parsers.registry import PARSER_VERSION
from indexer.parsing.isolation import IsolatedParsers
from indexer.sources import Source, expand
from indexer.spooling import Spool
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import ParserCrashed, ParserOutOfMemory, ParserTimeout, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from indexer.members import MemberSource
    from indexer.parsers.blocks import Block
    from indexer.sources import OpenSource, SourcePath, SourceScan

_STRINGS = Path(__file__).with_name("parsing_strings.json")
# Those of the product's settings.
_MAX_MEMBERS = 10_000
_MAX_UNPACKED_BYTES = 4 << 30
_FAILURES = frozenset({ParserCrashed.code, ParserOutOfMemory.code, ParserTimeout.code})
_WORD = re.compile(r"\w+")
# In this order: a comment may hold anything, a link's text may hold an image.
_NOT_READ = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), " "),
    (re.compile(r"\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^>\n]*>"), " "),
    (re.compile(r"\\[a-zA-Z]+"), " "),
    (re.compile(r"\\([^a-zA-Z\d\s])"), r"\1"),
    (re.compile(r"(?<![^\W_])_+|_+(?![^\W_])"), " "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a file. ``recall`` and ``precision`` are shares; None where nothing is expected of it."""

    name: str
    suffix: str
    outcome: str
    seconds: float
    characters: int = 0
    chunks: int = 0
    not_verbatim: int = 0
    recall: float | None = None
    precision: float | None = None
    strings: int = 0
    strings_missing: tuple[str, ...] = ()
    message: str = ""
    pages: int = 0
    members: dict[str, int] = field(default_factory=dict)


def main() -> None:
    options = _options()
    settings = load_settings()
    root: Path = options.files
    results: list[Result] = []
    seen: dict[str, str] = {}
    expected_strings = json.loads(_STRINGS.read_text(encoding="utf-8"))["files"]
    with IsolatedParsers(timeout_s=options.timeout, memory_bytes=settings.parse_memory_bytes) as parsers:
        for source in expand([root]):
            name = source.path.relative_to(root).as_posix() if source.path.is_relative_to(root) else source.uri
            if options.only and source.path.suffix.lower() not in options.only:
                continue
            result = _measured(parsers, source, name, seen, expected_strings.get(name, []), settings.max_file_bytes)
            results.append(result)
            if options.list:
                print(_line(result), flush=True)
    rows = _rows(results)
    _print(rows, results)
    if options.json:
        facts = {"benchmark": "parsing", "parsers": PARSER_VERSION, "machine": machine(), "formats": rows}
        facts["files"] = [asdict(result) for result in results]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parsing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", metavar="SUFFIX", help="files with these endings only, such as .docx")
    parser.add_argument("--list", action="store_true", help="a line for each file")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="for one file (default 120)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def _measured(
    parsers: IsolatedParsers, source: SourcePath, name: str, seen: dict[str, str], strings: list[str], max_bytes: int
) -> Result:
    began = time.perf_counter()
    suffix = source.path.suffix.lower() or "(none)"
    try:
        if source.error is not None:
            raise source.error
        with Source(source.path, max_bytes=max_bytes) as opened:
            scan = opened.scan()
            if scan.sha256 in seen:
                seconds = time.perf_counter() - began
                return Result(name=name, suffix=suffix, outcome="duplicate", seconds=seconds, message=seen[scan.sha256])
            seen[scan.sha256] = name
            budget = Budget(members=_MAX_MEMBERS, total_bytes=_MAX_UNPACKED_BYTES, member_bytes=max_bytes)
            read = _read(parsers, opened, scan, budget)
    except SourceError as error:
        seconds = time.perf_counter() - began
        return Result(name=name, suffix=suffix, outcome=error.code, seconds=seconds, message=error.message)
    seconds = time.perf_counter() - began
    text = "".join(block.text for block in read.blocks)
    chunks, not_verbatim = _chunked(read.blocks, text)
    recall, precision = _compared(text, source.path)
    shown = " ".join(" ".join([text, *read.member_texts]).split())
    return Result(
        name=name,
        suffix=suffix,
        outcome="ingested" if text.strip() or read.members else "source_has_no_text",
        seconds=seconds,
        characters=len(text),
        chunks=chunks,
        not_verbatim=not_verbatim,
        recall=recall,
        precision=precision,
        strings=len(strings),
        strings_missing=tuple(string for string in strings if string not in shown),
        pages=read.pages,
        members=dict(read.members),
    )


@dataclass(slots=True, kw_only=True)
class _Read:
    """What a source says, and what became of its members and theirs, by outcome."""

    blocks: list[Block] = field(default_factory=list)
    member_texts: list[str] = field(default_factory=list)
    members: Counter[str] = field(default_factory=Counter)
    pages: int = 0


def _read(parsers: IsolatedParsers, source: OpenSource, scan: SourceScan, budget: Budget, depth: int = 0) -> _Read:
    detected = detect(source.path, scan)
    container = detected.media_type in CONTAINERS
    read = _Read()
    with closing(
        parsers.parse(
            source.file,
            media_type=detected.media_type,
            encoding=detected.encoding,
            size=scan.size,
            limits=budget.limits if container else None,
        )
    ) as found:
        handover = Handover(found, source.uri, budget, Spool())
        for pieces in handover.pieces():
            read.blocks.extend(pieces.blocks)
        if detected.media_type == PDF and not any("text recognition" in notice for notice in handover.notices):
            read.pages = max((block.page or 0 for block in read.blocks), default=0)
        for member in handover.members():
            if isinstance(member, RefusedMember):
                read.members[member.error.code] += 1
            elif depth < MAX_DEPTH:
                _read_member(parsers.nested(), member, read, budget, depth + 1)
    return read


def _read_member(parsers: IsolatedParsers, member: MemberSource, read: _Read, budget: Budget, depth: int) -> None:
    try:
        inner = _read(parsers, member, member.scan(), budget, depth)
    except SourceError as error:
        read.members[error.code] += 1
        return
    text = "".join(block.text for block in inner.blocks)
    read.members["ingested" if text.strip() or inner.members else "source_has_no_text"] += 1
    read.member_texts.extend([text, *inner.member_texts])
    read.members.update(inner.members)


def _chunked(blocks: Iterable[Block], text: str) -> tuple[int, int]:
    """Chunks of a source, and how many of them are not the slice that their span names."""
    embedder = HashingEmbedder(max_tokens=256)
    chunks = list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens))
    return len(chunks), sum(chunk.text != text[chunk.span.start : chunk.span.end] for chunk in chunks)


def _compared(text: str, path: Path) -> tuple[float | None, float | None]:
    expected = _expected(path)
    if expected is None:
        return None, None
    wanted, got = words(markdown_text(expected.read_text(encoding="utf-8"))), words(text)
    shared = (wanted & got).total()
    return (
        shared / wanted.total() if wanted else None,
        shared / got.total() if got else None,
    )


def _expected(path: Path) -> Path | None:
    candidates = []
    if path.parent.name == "sources":
        folder = path.parent.parent / "groundtruth"
        candidates = [folder / f"{path.name}.md", folder / f"{path.stem}.md"]
    elif path.parent.parent.name == "sources":
        candidates = [path.parent.parent.parent / "groundtruth" / f"{path.parent.name}_{path.name}.md"]
    elif path.suffix.lower() == ".pdf":
        candidates = [path.parent / "expected_outputs" / f"{path.stem}.md"]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def markdown_text(markdown: str) -> str:
    """What a reader sees of Markdown."""
    for pattern, replacement in _NOT_READ:
        markdown = pattern.sub(replacement, markdown)
    return html.unescape(markdown)


def words(text: str) -> Counter[str]:
    """Words with how often each occurs."""
    return Counter(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _rows(results: list[Result]) -> list[dict[str, Any]]:
    rows = []
    for suffix in sorted({result.suffix for result in results}):
        of_it = [result for result in results if result.suffix == suffix]
        recalls = [result.recall for result in of_it if result.recall is not None]
        precisions = [result.precision for result in of_it if result.precision is not None]
        outcomes = Counter(result.outcome for result in of_it)
        rows.append(
            {
                "format": suffix,
                "files": len(of_it),
                "ingested": outcomes.pop("ingested", 0),
                "duplicates": outcomes.pop("duplicate", 0),
                "failed": sum(outcomes.get(code, 0) for code in _FAILURES),
                "refused": {code: times for code, times in sorted(outcomes.items()) if code not in _FAILURES},
                "members": dict(sum((Counter(result.members) for result in of_it), Counter())),
                "seconds": sum(result.seconds for result in of_it),
                "compared": len(recalls),
                "recall": statistics.fmean(recalls) if recalls else None,
                "precision": statistics.fmean(precisions) if precisions else None,
                "strings": sum(result.strings for result in of_it),
                "strings_missing": sum(len(result.strings_missing) for result in of_it),
            }
        )
    return rows


def _print(rows: list[dict[str, Any]], results: list[Result]) -> None:
    print("format     files ingested dupl. failed compared recall precision strings  seconds  refused")
    for row in rows:
        shares = [f"{row[key]:.3f}" if row[key] is not None else "" for key in ("recall", "precision")]
        found = f"{row['strings'] - row['strings_missing']}/{row['strings']}" if row["strings"] else ""
        refused = ", ".join(f"{code} {times}" for code, times in row["refused"].items())
        print(
            f"{row['format']:10} {row['files']:5} {row['ingested']:8} {row['duplicates']:5} {row['failed']:6}"
            f" {row['compared'] or '':8} {shares[0]:>6} {shares[1]:>9} {found:>7} {row['seconds']:8.1f}  {refused}"
        )
    ingested = sum(row["ingested"] for row in rows)
    members: Counter[str] = sum((Counter(row["members"]) for row in rows), Counter())
    if members:
        print("within them: " + ", ".join(f"{outcome} {times}" for outcome, times in members.most_common()))
    digital = [result for result in results if result.pages]
    if digital:
        pages, seconds = sum(result.pages for result in digital), sum(result.seconds for result in digital)
        print(f"{len(digital)} PDF without text recognition, {pages} pages, {pages / seconds:.1f} pages/s")
    chunks, wrong = sum(r.chunks for r in results), sum(r.not_verbatim for r in results)
    print(f"\n{len(results)} files, {ingested} ingested, {sum(r.seconds for r in results):.1f} s")
    print(f"{chunks:,} chunks, {wrong} of them not verbatim")
    for result in results:
        if result.outcome in _FAILURES or result.strings_missing or not _FAILURES.isdisjoint(result.members):
            print(f"{result.name}: {result.outcome} {result.message} {', '.join(result.strings_missing)}".rstrip())


def _line(result: Result) -> str:
    shares = "" if result.recall is None else f" recall {result.recall:.3f}"
    shares += "" if result.precision is None else f" precision {result.precision:.3f}"
    return f"{result.outcome:20} {result.seconds:6.2f} s {result.name}{shares} {result.message}".rstrip()


if __name__ == "__main__":
    main()
