"""What is told of a sync: the plan before, what was done after; lines for people, or objects for ``--json``."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from indexer.report import Outcome, left_out_told
from rag.commands.errors import on_one_line
from rag.commands.json_output import print_json
from rag.errors import SourceLeftOut
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from indexer.folders.mirror import Missing, Move, Plan
    from indexer.syncing import SyncReport

# Of documents that stay though their files are gone so many are named; a dry run names all.
_NAMED: Final = 20
_TAKEN_IN: Final = frozenset({Outcome.INGESTED, Outcome.REPLACED})
_COLORS: Final = {"add": "green", "change": "yellow", "move": "cyan", "delete": "red", "error": "red"}


class SyncDisplay:
    """Names of files are shown relative to ``folder``; objects have whole addresses."""

    def __init__(self, folder: Path, collection: str, *, as_json: bool) -> None:
        self._folder = folder
        self._root = folder.resolve().as_posix().rstrip("/")
        self._collection = collection
        self._as_json = as_json

    def plan(self, plan: Plan, *, prune: bool, dry_run: bool) -> None:
        """The plan in one line, after every step of it if it is only to be shown."""
        if dry_run:
            for step in _steps(plan, prune=prune):
                self._step(step)
        counts = _plan_counts(plan)
        if self._as_json:
            head = {"type": "plan", "folder": self._root, "collection": self._collection, "prune": prune}
            _print(head | counts | {"left_out": _left_out(plan), "dry_run": dry_run})
            return
        if prune:
            counts = {("delete" if kind == "gone" else kind): count for kind, count in counts.items()}
        name = on_one_line(str(self._folder))
        done = _sentence(counts) or "it holds nothing, and nothing is known of it"
        if dry_run:
            click.echo(f"{name}: {done}; nothing was done")
        elif any(count for kind, count in counts.items() if kind not in _IDLE):
            click.echo(f"{name}: {done}", err=True)

    def taken_in(self, report: SyncReport) -> None:
        """What is new or changed, for who follows a folder; objects have told it file by file."""
        if self._as_json:
            return
        moved = {move.file.uri for move in report.moved}
        done = [each for each in report.ingested.results if each.outcome in _TAKEN_IN and each.uri not in moved]
        for each in done[:_NAMED]:
            self._line(each.outcome, each.uri, plural(each.chunks, "chunk"))
        if len(done) > _NAMED:
            click.echo(f"and {len(done) - _NAMED:,} more")

    def moved(self, moves: Iterable[Move]) -> None:
        for move in moves:
            if self._as_json:
                _print(_move_object(move))
            else:
                self._line("moved", move.source.uri, "read anew under its new name" if move.anew else "", move.file.uri)

    def deleted(self, missing: Iterable[Missing]) -> None:
        for each in missing:
            if self._as_json:
                _print(_missing_object("deleted", each))
            else:
                self._line("deleted", each.source.uri, each.reason)

    def stays(self, report: SyncReport) -> None:
        """Documents whose files were not found and that are still there, with what would delete them."""
        if self._as_json:
            for kind, missing in (("gone", report.kept), ("unsure", report.unsure)):
                for each in missing:
                    _print(_missing_object(kind, each))
            return
        self._some("gone", report.kept)
        if report.kept:
            name = str(self._folder)
            folder = f"./{name}" if name.startswith("-") else name  # which would be an option
            click.echo(
                f"{_documents(report.kept)} gone from the folder and can still be found. To delete what is gone: "
                f"indexer sync {_quoted(folder)} -c {_quoted(self._collection)} --prune"
            )
        self._some("unsure", report.unsure)
        if report.unsure:
            click.echo(
                f"{_documents(report.unsure)} not found in the folder, but nothing proves that files were deleted. "
                "They stay; `indexer delete` deletes documents by their paths, whatever became of the files."
            )

    def summary(self, report: SyncReport, seconds: float) -> None:
        counts = _report_counts(report)
        if self._as_json:
            rest = {
                "left_out": report.ingested.left_out,
                "chunks": report.ingested.chunks,
                "seconds": round(seconds, 3),
            }
            _print({"type": "summary", "folder": self._root, "collection": self._collection} | counts | rest)
            return
        chunks = f"; {plural(report.ingested.chunks, 'chunk')}" if report.ingested.chunks else ""
        left_out = f"; {told}" if (told := left_out_told(report.ingested.left_out)) else ""
        click.echo(f"{_sentence(counts) or 'nothing to do'}{chunks} in {seconds:.1f} s{left_out}")

    def shown(self, uri: str) -> str:
        """A name within the folder on one line, unable to steer a terminal."""
        inside = uri.removeprefix(f"{self._root}/") if uri.startswith(f"{self._root}/") else uri
        return on_one_line(inside)

    def _step(self, step: dict[str, Any]) -> None:
        if self._as_json:
            _print({"type": "step", **step})
        else:
            before, uri = step.get("from"), step["uri"]
            self._line(step["action"], before or uri, step["reason"], uri if before else "")

    def _line(self, action: str, uri: str, reason: str, to: str = "") -> None:
        name = f"{self.shown(uri)} -> {self.shown(to)}" if to else self.shown(uri)
        told = click.style(f"  ({on_one_line(reason)})", dim=True) if reason else ""
        what = click.style(f"{_WORDS_OF_STEPS.get(action, action):<9}", fg=_COLORS.get(action))
        click.echo(f"{what}{name}{told}")

    def _some(self, action: str, missing: Sequence[Missing]) -> None:
        for each in missing[:_NAMED]:
            self._line(action, each.source.uri, each.reason)
        if len(missing) > _NAMED:
            click.echo(f"{action:<9}and {len(missing) - _NAMED:,} more (--dry-run names all)")


def _steps(plan: Plan, *, prune: bool) -> Iterator[dict[str, Any]]:
    for file in plan.add:
        yield {"action": "add", "uri": file.uri, "reason": file.reason}
    for file in plan.change:
        yield {"action": "change", "uri": file.uri, "reason": file.reason}
    for move in plan.move:
        reason = "the same content"
        if move.anew:
            reason += f"; read anew, for its name {'says another format' if move.retyped else 'is its title'}"
        yield {"action": "move", "uri": move.file.uri, "from": move.source.uri, "reason": reason}
    for missing in plan.gone:
        action = "delete" if prune else "gone"
        yield {"action": action, "uri": missing.source.uri, "reason": missing.reason}
    for missing in plan.unsure:
        yield {"action": "unsure", "uri": missing.source.uri, "reason": missing.reason}
    for action, errors in (("error", plan.errors), ("left_out", plan.left_out)):
        for error in errors:
            reason = error.error.message if error.error else "it vanished meanwhile"
            yield {"action": action, "uri": error.uri, "reason": reason}


def _plan_counts(plan: Plan) -> dict[str, int]:
    return {
        "add": len(plan.add),
        "change": len(plan.change),
        "move": len(plan.move),
        "gone": len(plan.gone),
        "unsure": len(plan.unsure),
        "errors": len(plan.errors),
        "left_out": len(plan.left_out),
        "unchanged": plan.unchanged,
    }


def _left_out(plan: Plan) -> dict[str, int]:
    """By what they are, as in the summary."""
    errors = (source.error for source in plan.left_out)
    return dict(Counter(error.kind for error in errors if isinstance(error, SourceLeftOut)))


def _report_counts(report: SyncReport) -> dict[str, int]:
    ingested = report.ingested
    return {
        "ingested": ingested.ingested,
        "replaced": ingested.replaced,
        "moved": len(report.moved),
        "deleted": len(report.deleted),
        "gone": len(report.kept),
        "unsure": len(report.unsure),
        "failed": len(ingested.failed),
        "skipped": ingested.skipped,
        "unchanged": report.unchanged + ingested.unchanged,
    }


_WORDS_OF_STEPS: Final = {"left_out": "left out"}
_IDLE: Final = frozenset({"unchanged", "left_out"})
_WORDS: Final = {
    "add": "to add",
    "change": "changed",
    "delete": "to delete",
    "move": "moved",
    "errors": "not readable",
    "skipped": "not looked at",
    "left_out": "left out",
}


def _sentence(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {_WORDS.get(kind, kind)}" for kind, count in counts.items() if count)


def _missing_object(kind: str, missing: Missing) -> dict[str, Any]:
    source = missing.source
    return {"type": kind, "uri": source.uri, "document_id": source.document_id, "reason": missing.reason}


def _move_object(move: Move) -> dict[str, Any]:
    return {
        "type": "moved",
        "uri": move.file.uri,
        "from": move.source.uri,
        "document_id": move.source.document_id,
        "renamed": move.renamed,
        "retyped": move.retyped,
    }


def _documents(missing: Sequence[Missing]) -> str:
    return "1 document is" if len(missing) == 1 else f"{len(missing):,} documents are"


def _quoted(name: str) -> str:
    return shlex.quote(on_one_line(name))


def _print(line: dict[str, Any]) -> None:
    print_json(line)
