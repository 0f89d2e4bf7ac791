"""``indexer reembed``: another embedder for a collection that goes on serving."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import rich_click as click

from indexer.chunking.sizes import LEAST_AIM, MOST_AIM
from indexer.commands import erasing
from indexer.commands.interruption import Interruption
from indexer.commands.options import collection_option
from indexer.reembedding_target import Wanted, begin
from rag.commands.errors import EXIT_FAILED, on_one_line
from rag.commands.json_output import json_line, json_lines_option
from rag.config import load_settings
from rag.errors import Conflict
from rag.factory import open_library
from rag.plurals import plural

if TYPE_CHECKING:
    from indexer.reembedding import ReembedReport
    from rag.factory import Library
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.types import Collection

_NOTHING_TO_DROP = {"building": "no embeddings are being made", "previous": "no embeddings of before are kept"}
_ACTIONS = ("cancel", "rollback", "forget_previous", "status")


@click.command()
@collection_option
@click.option("--embedder", metavar="NAME", help="The model to embed with; RAG_EMBEDDER if left out.")
@click.option("--rechunk", is_flag=True, help="Cut the documents anew, too, as this release does it.")
@click.option(
    "--chunk-tokens",
    type=click.IntRange(LEAST_AIM, MOST_AIM),
    metavar="N",
    help="Cut them into passages of about N tokens, now and from now on; RAG_CHUNK_TOKENS is for new collections.",
)
@click.option("--force", is_flag=True, help="Swap even if recall or sample queries say that it is worse.")
@click.option("--cancel", is_flag=True, help="Drop what is being made, also while that runs.")
@click.option("--rollback", is_flag=True, help="Go back to what served before the last swap.")
@click.option("--forget-previous", is_flag=True, help="Free the space of what served before the last swap.")
@click.option("--status", is_flag=True, help="Tell what there is and how far it is.")
@json_lines_option
@click.pass_context
def reembed(
    ctx: click.Context,
    /,
    collection: str,
    embedder: str | None,
    rechunk: bool,  # noqa: FBT001
    chunk_tokens: int | None,
    force: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    **actions: bool,
) -> None:
    """Embed a collection anew while it serves, and swap when the new embeddings are complete and validated.

    Documents may be ingested and deleted meanwhile. A run that was stopped or killed goes on when the same command is
    given again. No source is read.

    Passages stay as they are, unless --rechunk or --chunk-tokens asks for others: then documents are cut anew from
    their stored text, while searches go on in the passages there are. The embedder stays the collection's own
    unless --embedder names another one. Documents of which too little was stored are counted and keep their
    passages; ingest them again.

    Before the swap the number of embeddings, the recall of their index and sample queries are checked; embeddings that
    are worse than those that serve are refused. Programs that are running go on with the new ones without a restart.

    With --json, one JSON object a line is printed for each batch, for the validation and for the whole run.
    """
    chosen = [name for name in _ACTIONS if actions[name]]
    rechunk = rechunk or chunk_tokens is not None
    if len(chosen) > 1 or (chosen and (embedder or rechunk)):
        raise click.UsageError(
            "--cancel, --rollback, --forget-previous and --status exclude each other, --embedder, --rechunk and "
            "--chunk-tokens."
        )
    settings = load_settings()
    if embedder:
        settings = settings.model_copy(update={"embedder": embedder})
    with open_library(settings, embeds_apart=True) as library:
        target = library.store.collection(collection)
        match chosen:
            case ["status"]:
                _show_status(library, target, as_json=as_json)
            case ["cancel"]:
                _drop(library, target, "building", as_json=as_json)
            case ["forget_previous"]:
                _drop(library, target, "previous", as_json=as_json)
            case ["rollback"]:
                ctx.exit(0 if _run(library, target, None, force=force, as_json=as_json) else EXIT_FAILED)
            case _:
                wanted = Wanted(own_embedder=rechunk and not embedder, rechunk=rechunk, chunk_tokens=chunk_tokens)
                ctx.exit(0 if _run(library, target, wanted, force=force, as_json=as_json) else EXIT_FAILED)


def _run(library: Library, collection: Collection, wanted: Wanted | None, *, force: bool, as_json: bool) -> bool:
    """Go over to what is wanted, or back; returns whether that serves now."""
    from indexer.commands.reembed_display import ReembedDisplay, tell_notes, tell_weight
    from indexer.reembedding import Reembedding
    from rag.stores.collections.holding import alone
    from rag.stores.collections.ingest_lock import ReembeddingLock
    from rag.stores.embeddings import embedding_sets

    with alone(library.database, library.settings.home, collection.id, collection.name, ReembeddingLock):
        embedding_sets.delete_dropped(library.database, collection)
        target = _previous(library, collection) if wanted is None else begin(library, collection, wanted)
        if target is None:
            _say(
                {"type": "summary", "collection": collection.name, "outcome": "unchanged"},
                _unchanged(collection, wanted),
                as_json=as_json,
            )
            return True
        fingerprint = replace(collection.fingerprint, embedder=target.embedder, dimension=target.dimension)
        made_with = replace(collection, fingerprint=fingerprint)
        interruption = Interruption("this batch")
        with (
            interruption,
            interruption.working(),
            ReembedDisplay(as_json=as_json, stop=interruption.requested) as display,
        ):
            run = Reembedding(
                library, collection, target, embedder=lambda: library.embedder_of(made_with), watcher=display
            )
            report = run.run(sampled=wanted is not None, force=force)
        _say(
            {
                "type": "summary",
                "collection": collection.name,
                "embedder": target.embedder,
                "outcome": report.outcome,
                "embedded": report.embedded,
                "reused": report.reused,
                "recut": report.recut,
                "without_outline": report.without_outline,
                "too_long": report.too_long,
                "validation": asdict(report.validation) if report.validation else None,
            },
            _sentence(collection, target, report),
            as_json=as_json,
        )
        if not as_json:
            tell_notes(report)
            if report.outcome == "swapped" and target.chunker is not None:
                tell_weight(library.store.collection(collection.name))
    if report.outcome == "swapped" and target.chunker is not None:
        # Nobody finds model state of the passages that served; it would only take space.
        erasing.tell(library.erase_deleted(), quiet=as_json)
    return report.outcome == "swapped"


def _unchanged(collection: Collection, wanted: Wanted | None) -> str:
    embedded = f"{collection.name}: embedded with {collection.fingerprint.embedder} already, and whole"
    if wanted is None or not wanted.rechunk:
        return embedded
    return f"{embedded}; cut by {collection.fingerprint.chunker}, as far as that can be done anew"


def _previous(library: Library, collection: Collection) -> EmbeddingSet:
    from rag.stores.embeddings import embedding_sets
    from rag.stores.tables import SetState

    with library.database.read() as connection:
        found = embedding_sets.find(connection, collection, SetState.PREVIOUS)
    if found is None:
        raise Conflict(
            f"The collection {collection.name!r} has no embeddings of before to go back to.",
            hint="They are kept from a swap until the next one, or until --forget-previous.",
        )
    return found


def _drop(library: Library, collection: Collection, state: str, *, as_json: bool) -> None:
    from rag.stores.embeddings import embedding_sets
    from rag.stores.tables import SetState

    dropped = embedding_sets.drop(library.database, collection, SetState(state))
    what = f"the embeddings by {dropped.embedder} were dropped" if dropped else _NOTHING_TO_DROP[state]
    body = {"collection": collection.name, "dropped": dropped.embedder if dropped else None}
    _say(body, f"{collection.name}: {what}", as_json=as_json)


def _show_status(library: Library, collection: Collection, *, as_json: bool) -> None:
    from rag.stores.embeddings import cuts, embedding_sets
    from rag.stores.tables import SetState

    found: list[dict[str, Any]] = []
    with library.database.read() as connection:
        for state in (SetState.LIVE, SetState.BUILDING, SetState.PREVIOUS):
            each = embedding_sets.find(connection, collection, state)
            if each is not None:
                done, total = embedding_sets.progress(connection, each)
                one: dict[str, Any] = {"state": str(state), "embedder": each.embedder, "done": done, "chunks": total}
                # That of the ones that serve goes with the collection, those of others with the set if it has any.
                one["chunker"] = collection.fingerprint.chunker if state is SetState.LIVE else each.chunker
                if cuts.cut_status(each) is not None:
                    one["uncut"] = connection.scalars(cuts.count_uncut(each)).one()
                found.append(one)
    lines = [_status_line(each) for each in found]
    _say({"collection": collection.name, "embeddings": found}, *lines, as_json=as_json)


def _status_line(each: dict[str, Any]) -> str:
    line = f"{each['state']:9} {each['embedder']}: {each['done']} of {plural(each['chunks'], 'chunk')}"
    if each["chunker"]:
        line += f", cut by {each['chunker']}"
    return f"{line}, {plural(each['uncut'], 'document')} to cut" if each.get("uncut") else line


def _sentence(collection: Collection, target: EmbeddingSet, report: ReembedReport) -> str:
    if report.outcome == "stopped":
        cut = f" and cutting {plural(report.recut, 'document')}" if report.recut else ""
        return (
            f"{collection.name}: stopped after embedding {plural(report.embedded, 'chunk')}{cut}, which stays; "
            f"searches use {collection.fingerprint.embedder} as before. Give the same command again to go on."
        )
    cut = f"; {plural(report.recut, 'document')} cut anew" if report.recut else ""
    return f"{collection.name}: serving embeddings by {target.embedder}{cut}; {_embedded(report)}"


def _embedded(report: ReembedReport) -> str:
    taken = f", {report.reused} taken as they were stored" if report.reused else ""
    return f"{plural(report.embedded - report.reused, 'chunk')} embedded now{taken}"


def _say(body: dict[str, Any], *lines: str, as_json: bool) -> None:
    click.echo(json_line(body) if as_json else "\n".join(map(on_one_line, lines)))
