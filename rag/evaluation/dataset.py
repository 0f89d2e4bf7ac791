"""Evaluation folders: a corpus, queries, relevance judgments and reference answers, read strictly.

A folder that is wrong anywhere is refused with the file and line, because a figure measured on half a folder looks
just like one measured on a whole one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rag.errors import InvalidRequest, SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

_LAYOUT = (
    "An evaluation folder holds corpus.jsonl {_id, title, text}, queries.jsonl {_id, text}, qrels.tsv "
    "(query-id, corpus-id, score) and, for answers, answers.jsonl {_id, answers, answerable, gold_sentences?}."
)
_QRELS_HEADER = ("query-id", "corpus-id", "score")


class _CorpusLine(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    text: str
    title: str = ""


class _QueryLine(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    text: str


class _AnswerLine(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    answers: list[str | int | float]
    answerable: bool
    gold_sentences: list[str] = []


Line = TypeVar("Line", _CorpusLine, _QueryLine, _AnswerLine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One document of an evaluation corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question or search query."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a right answer looks like: alternatives of which one is enough, or none if it cannot be answered.

    ``gold_sentences`` stand verbatim in the judged documents and hold the answer, where the folder names them.
    """

    answers: tuple[str, ...]
    answerable: bool
    gold_sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A whole evaluation folder. ``qrels`` maps query id to relevant corpus ids (grade > 0) with their grades."""

    name: str
    corpus: tuple[Entry, ...]
    queries: tuple[Query, ...]
    qrels: dict[str, dict[str, int]]
    references: dict[str, Reference]
    corpus_sha256: str

    @property
    def sha256(self) -> str:
        """Of all that is read of the folder: equal where corpus, questions, judgments and references are."""
        content = msgspec.json.encode((self.corpus_sha256, self.queries, self.qrels, self.references), order="sorted")
        return hashlib.sha256(content).hexdigest()

    def judged_queries(self, limit: int | None = None) -> list[Query]:
        """Queries with at least one relevant document, in file order; the first ``limit`` of them."""
        return [query for query in self.queries if self.qrels.get(query.id)][:limit]

    def answer_queries(self, limit: int | None = None) -> list[Query]:
        """Queries with a reference, in file order.

        With ``limit``, half are the first answerable and half the first unanswerable ones (the answerable get the odd
        one); where one kind runs out, the other fills up.
        """
        queries = [query for query in self.queries if query.id in self.references]
        if limit is None:
            return queries
        kinds = {kind: [q for q in queries if self.references[q.id].answerable is kind] for kind in (True, False)}
        unanswerable = min(len(kinds[False]), max(limit // 2, limit - len(kinds[True])))
        chosen = {q.id for q in (*kinds[True][: limit - unanswerable], *kinds[False][:unanswerable])}
        return [query for query in queries if query.id in chosen]


def load_dataset(directory: Path, *, need_answers: bool = False) -> Dataset:
    """Read an evaluation folder; ``answers.jsonl`` may be missing unless ``need_answers``.

    Raises:
        SourceNotFound: there is no such folder.
        InvalidRequest: naming the file and line that cannot be used, and why.
    """
    if not directory.is_dir():
        raise SourceNotFound(f"There is no folder {directory}.", hint=_LAYOUT)
    corpus_file, answers_file = directory / "corpus.jsonl", directory / "answers.jsonl"
    corpus = _by_id(corpus_file, _CorpusLine)
    queries = _by_id(directory / "queries.jsonl", _QueryLine)
    answers = _by_id(answers_file, _AnswerLine) if need_answers or answers_file.exists() else {}
    for place, line in answers.values():
        if line.id not in queries:
            raise _refused(place, f"the query {line.id!r} is not in queries.jsonl")
        if line.answerable and not line.answers:
            raise _refused(place, "it is answerable, but there is no answer")
    return Dataset(
        name=directory.resolve().name,
        corpus=tuple(Entry(id=line.id, title=line.title, text=line.text) for _, line in corpus.values()),
        queries=tuple(Query(id=line.id, text=line.text) for _, line in queries.values()),
        qrels=_qrels(directory / "qrels.tsv", queries.keys(), corpus.keys()),
        references={line.id: _reference(line) for _, line in answers.values()},
        corpus_sha256=hashlib.sha256(corpus_file.read_bytes()).hexdigest(),
    )


def load_judged_queries(directory: Path) -> tuple[list[Query], dict[str, dict[str, int]]]:
    """Queries and judgments of a folder, whatever its judgments name; ``corpus.jsonl`` need not be there.

    Raises:
        InvalidRequest: naming the file and line that cannot be used, and why.
    """
    queries = _by_id(directory / "queries.jsonl", _QueryLine)
    qrels = _qrels(directory / "qrels.tsv", queries.keys(), None)
    return [Query(id=line.id, text=line.text) for _, line in queries.values() if line.id in qrels], qrels


def _reference(line: _AnswerLine) -> Reference:
    return Reference(
        answers=tuple(map(str, line.answers)),
        answerable=line.answerable,
        gold_sentences=tuple(line.gold_sentences),
    )


def _by_id(path: Path, kind: type[Line]) -> dict[str, tuple[str, Line]]:
    """The lines of a JSONL file by ``_id``, each with its place; an empty file is refused."""
    decoder = msgspec.json.Decoder(kind)
    lines: dict[str, tuple[str, Line]] = {}
    for place, raw in _lines(path):
        try:
            line: Line = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _refused(place, str(error)) from error
        if line.id in lines:
            raise _refused(place, f"the _id {line.id!r} stands on an earlier line too")
        lines[line.id] = (place, line)
    if not lines:
        raise InvalidRequest(f"{path} is empty.", hint=_LAYOUT)
    return lines


def _qrels(path: Path, queries: Container[str], corpus: Container[str] | None) -> dict[str, dict[str, int]]:
    """Relevant documents and their grades by query; judgments of 0 or less say "not relevant" and are left out."""
    lines = _lines(path)
    place, header = next(lines, (f"{path}:1", b""))
    if tuple(header.decode(errors="replace").split()) != _QRELS_HEADER:
        raise _refused(place, f"the first line must be the header {' '.join(_QRELS_HEADER)}")
    seen: set[tuple[str, str]] = set()
    qrels: dict[str, dict[str, int]] = {}
    for place, raw in lines:
        query, document, grade = _judgment(place, raw)
        if query not in queries:
            raise _refused(place, f"the query {query!r} is not in queries.jsonl")
        if corpus is not None and document not in corpus:
            raise _refused(place, f"the document {document!r} is not in corpus.jsonl")
        if (query, document) in seen:
            raise _refused(place, "the same pair is judged on an earlier line too")
        seen.add((query, document))
        if grade > 0:
            qrels.setdefault(query, {})[document] = grade
    return qrels


def _judgment(place: str, raw: bytes) -> tuple[str, str, int]:
    try:
        fields = raw.decode().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise _refused(place, str(error)) from error
    if len(fields) != len(_QRELS_HEADER):
        raise _refused(place, f"it has {len(fields)} tab-separated fields instead of 3")
    query, document, grade = fields
    try:
        return query, document, int(grade)
    except ValueError as error:
        raise _refused(place, f"the score {grade!r} is not a whole number") from error


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Lines that are not blank, each with ``file:line``."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield f"{path}:{number}", raw
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.", hint=_LAYOUT) from error


def _refused(place: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{place} cannot be used: {why}.", hint=_LAYOUT)
