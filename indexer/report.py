"""What an ingestion did, source by source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from rag.errors import SourceError, SourceLeftOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rag.errors import RagError
    from rag.quality_types import Quality

_TOLD_EVERY: Final = 1000
_PLURALS: Final = {
    "link out of the folder": "links out of the folder",
    "data directory of Plumbline": "data directories of Plumbline",
}

_Source = TypeVar("_Source")


class Outcome(StrEnum):
    INGESTED = "ingested"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    LEFT_OUT = "left_out"  # by a rule, found beside what was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailure:
    """Why a source could not be taken in. Its previous version, if it had one, goes on serving.

    ``kind`` is what it is counted as, of one that is left out. ``passes``: as in ``SourceError``.
    """

    uri: str
    code: str
    message: str
    hint: str
    kind: str = ""
    passes: bool = False

    @classmethod
    def of(cls, uri: str, error: RagError) -> SourceFailure:
        kind = error.kind if isinstance(error, SourceLeftOut) else ""
        passes = isinstance(error, SourceError) and error.passes
        return cls(uri=uri, code=error.code, message=error.message, hint=error.hint, kind=kind, passes=passes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """One source. ``chunks`` were written now; ``notices`` tell what a person should know of a source that was read.

    ``members`` are documents in it that are unchanged as it is, and have no result of their own. ``seconds`` were spent
    on it and on what it holds, the waiting for others not counted.
    ``quality`` is of what was written now, as it stood among the collection's other documents at that time.
    """

    uri: str
    outcome: Outcome
    document_id: int | None = None
    chunks: int = 0
    seconds: float = 0.0
    failure: SourceFailure | None = None
    notices: tuple[str, ...] = ()
    quality: Quality | None = None
    members: int = 0


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """A whole run. ``skipped`` sources are left as they were because the run was stopped."""

    results: list[SourceResult] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0

    def count(self, outcome: Outcome) -> int:
        return Counter(result.outcome for result in self.results)[outcome]

    @property
    def files(self) -> int:
        """Those that were looked at, and what is in them."""
        return len(self.results) - self.count(Outcome.LEFT_OUT) + sum(result.members for result in self.results)

    @property
    def ingested(self) -> int:
        return self.count(Outcome.INGESTED)

    @property
    def replaced(self) -> int:
        return self.count(Outcome.REPLACED)

    @property
    def unchanged(self) -> int:
        return self.count(Outcome.UNCHANGED) + sum(result.members for result in self.results)

    @property
    def failed(self) -> list[SourceFailure]:
        return [each.failure for each in self.results if each.failure is not None and each.outcome is Outcome.FAILED]

    @property
    def left_out(self) -> dict[str, int]:
        """Sources that rules leave out, by what they are; no failures."""
        left_out = (each.failure for each in self.results if each.outcome is Outcome.LEFT_OUT)
        return dict(Counter(failure.kind for failure in left_out if failure is not None))

    @property
    def chunks(self) -> int:
        return sum(result.chunks for result in self.results)

    @property
    def duplicates(self) -> int:
        return sum(result.quality.duplicates for result in self.results if result.quality is not None)

    @property
    def near_duplicates(self) -> int:
        return sum(result.quality.near_duplicates for result in self.results if result.quality is not None)

    @property
    def flaws(self) -> dict[str, int]:
        """Chunks that searches leave out, by the reason."""
        counts: Counter[str] = Counter()
        for result in self.results:
            counts.update({} if result.quality is None else result.quality.flaws)
        return dict(counts)


def left_out_told(kinds: Mapping[str, int]) -> str:
    """In words; empty if there is nothing to tell."""
    told = (
        f"{count} {kind}" if count == 1 else f"{count} {_PLURALS.get(kind, f'{kind}s')}"
        for kind, count in kinds.items()
    )
    return f"{sum(kinds.values())} left out: {', '.join(told)}" if kinds else ""


class Recorder:
    """Enters results into a report as they come, and tells the watcher."""

    def __init__(self, report: IngestReport, watcher: Watcher, sources: int) -> None:
        self._report = report
        self._watcher = watcher
        self._known = sources
        self._places: dict[str, int] = {}
        watcher.found(sources)

    def begin(self, uri: str, *, member: bool = False) -> None:
        if member:
            self._known += 1
            self._watcher.found(self._known)
        self._watcher.started(uri)

    def finish(self, result: SourceResult) -> None:
        """A container that had to be read twice brings its members twice: what was done the first time counts."""
        place = self._places.setdefault(result.uri, len(self._report.results))
        if place == len(self._report.results):
            self._report.results.append(result)
        elif result.outcome is Outcome.UNCHANGED:
            return
        else:
            self._report.results[place] = result
        self._watcher.finished(result)


def counted(sources: Iterable[_Source], watcher: Watcher) -> Iterator[_Source]:
    """The same, and the watcher hears now and then how many have come."""
    for count, source in enumerate(sources, 1):
        if not count % _TOLD_EVERY:
            watcher.looking(count)
        yield source


class Watcher:
    """Hears of an ingestion as it goes; this one ignores everything. ``stop`` is asked before each source and later."""

    def looking(self, sources: int) -> None:
        """So many sources are found so far, and more are looked for."""

    def found(self, sources: int) -> None:
        """So many sources are known of; containers hold further ones, which show when they are opened."""

    def started(self, uri: str) -> None:
        """A source is being read."""

    def embedded(self, chunks: int) -> None:
        """So many more chunks are embedded."""

    def finished(self, result: SourceResult) -> None:
        """A source is done with."""

    def stop(self) -> bool:
        """Whether to leave what is not being embedded for another time."""
        return False
