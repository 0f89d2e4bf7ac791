"""``rag ask`` and ``rag search``: questions from the terminal."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, TextIO

import msgspec
import rich_click as click
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from rag.commands.errors import EXIT_FAILED, on_one_line, printable, report, usage
from rag.commands.json_output import json_lines_option, json_option
from rag.commands.times import time_from
from rag.config import load_settings
from rag.errors import EmptyQuestion, InvalidRequest, RagError
from rag.factory import open_library
from rag.generators import require_adapter
from rag.model_types import Caller
from rag.pipeline import final_answer
from rag.plurals import plural
from rag.retrieval.filters import parse, too_deep
from rag.types import DEFAULT_COLLECTION, MOST_SOURCES, Answer, DeltaEvent, DoneEvent, PassagesEvent, RefusedEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection
    from datetime import datetime

    from rich.console import RenderableType

    from rag.types import AnswerEvent, Citation, Filter, OtherSource, Passage

    _Events = AsyncGenerator[AnswerEvent, None]
    _Stream = Callable[[str], _Events]

_ALSO_SHOWN = 3


def filter_from(value: str | None) -> Filter | None:
    """The filter that an option gives as JSON. Raises InvalidRequest."""
    if value is None:
        return None
    try:
        read = json.loads(value)
    except RecursionError as error:
        raise too_deep() from error
    except ValueError as error:
        raise InvalidRequest(
            f"The filter is not JSON: {error}.",
            hint="""Put it in single quotes: --filter '{"field": "page", "operator": "<=", "value": 3}'""",
        ) from error
    return parse(read)


_collection = click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True, help="Where to look.")
_k = click.option("-k", type=click.IntRange(1, 100), default=None, help="Passages to retrieve.")
_filter = click.option(
    "--filter",
    "where",
    metavar="JSON",
    callback=usage(filter_from),
    help="Search only what this filter lets through; docs/api.md shows its shape.",
)
_as_of = click.option(
    "--as-of",
    metavar="TIME",
    callback=usage(time_from),
    help="Ask what the documents said then: 2026-01-31T12:00:00Z, or how long ago: 90m, 12h, 7d, 2w.",
)
_deterministic = click.option(
    "--deterministic", is_flag=True, help="Write answers that are the same to the last bit when asked again."
)
_adapter = click.option("--adapter", metavar="NAME", default=None, help="LoRA adapter of RAG_LORA_ADAPTERS to use.")


@click.command()
@click.argument("words", nargs=-1, metavar="[QUESTION]")
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8-sig"),
    help="Read questions from a file, one a line; '-' is standard input.",
)
@_collection
@_k
@_filter
@_as_of
@_deterministic
@_adapter
@json_lines_option
@click.pass_context
def ask(
    ctx: click.Context,
    words: tuple[str, ...],
    file: TextIO | None,
    collection: str,
    k: int | None,
    where: Filter | None,
    as_of: datetime | None,
    deterministic: bool,  # noqa: FBT001 - click passes flags by name
    adapter: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Answer QUESTION from your documents, with citations, or refuse with a reason.

    With --json, one JSON object is printed for each question.
    """
    if bool(words) == (file is not None):
        raise click.UsageError("Give either a QUESTION or --file.")
    questions = [" ".join(words)] if words else _questions(file)  # it may be given without quotation marks
    settings = load_settings()
    require_adapter(settings, adapter)
    with open_library(settings) as library:
        stream = partial(
            library.pipeline.stream,
            collection=collection,
            k=k,
            where=where,
            as_of=as_of,
            caller=Caller(timeout_s=settings.request_timeout_s),
            deterministic=deterministic,
            adapter=adapter,
        )
        failed = asyncio.run(_ask(stream, questions, as_json=as_json, titled=file is not None))
    if failed:
        ctx.exit(EXIT_FAILED)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="QUERY")
@_collection
@_k
@_filter
@_as_of
@json_option
def search(
    words: tuple[str, ...],
    collection: str,
    k: int | None,
    where: Filter | None,
    as_of: datetime | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Find the passages that fit QUERY best; no language model is used."""
    with open_library(load_settings()) as library:
        query = " ".join(words)
        result = asyncio.run(library.pipeline.search(query, collection=collection, k=k, where=where, as_of=as_of))
    if result.refusal is not None:
        click.echo(f"Nothing found ({result.refusal.code}): {result.refusal.reason}", err=True)
    if as_json:
        from api.presentation import search_result

        click.echo(msgspec.json.encode(search_result(result)).decode())
        return
    console = Console()
    for rank, passage in enumerate(result.passages, 1):
        scores = passage.scores
        parts = [f"{name} {value:.2f}" for name, value in (("dense", scores.dense), ("bm25", scores.lexical)) if value]
        console.print(f"[bold]{rank}.[/] {_place(passage)}  [dim]{' · '.join(parts)}[/]")
        said = Text(_shortened(passage.chunk.text, 240))
        console.print(Padding(Group(said, *_also_in(passage.also_in)), (0, 0, 1, 3)))
    timings = result.timings
    console.print(f"[dim]{plural(len(result.passages), 'passage')} in {timings.total_ms / 1000:.2f} s[/]")


def _questions(file: TextIO | None) -> list[str]:
    try:
        questions = [line.strip() for line in file or () if line.strip()]
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The file of questions is not UTF-8 text: {error}.", hint="Save it as UTF-8.") from error
    if not questions:
        raise EmptyQuestion("The file holds no question.", hint="Write one question a line.")
    return questions


async def _ask(stream: _Stream, questions: list[str], *, as_json: bool, titled: bool) -> int:
    """Ask one question after the other; returns how many failed. One that fails does not keep the others back."""
    failed = 0
    for question in questions:
        if titled and not as_json:
            click.echo()
            Console(highlight=False).print(f"[bold green]›[/] [bold]{escape(printable(question))}[/]\n")
        try:
            await _ask_one(stream(question), as_json=as_json)
        except RagError as error:
            report(error, as_json=as_json)
            failed += 1
    return failed


async def _ask_one(events: _Events, *, as_json: bool) -> None:
    if not as_json:
        await _show(events)
        return
    from api.presentation import answer as presented

    click.echo(msgspec.json.encode(presented(await final_answer(events))).decode())


async def _show(events: _Events) -> None:
    """Print sentences as they are verified, each with its citation numbers, then the sources."""
    console = Console(soft_wrap=False, highlight=False)
    status = console.status("Searching …", spinner="dots") if console.is_interactive else None
    if status:
        status.start()
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, PassagesEvent) and status:
                    status.update(f"Reading {plural(len(event.passages), 'passage')} …")
                elif isinstance(event, DeltaEvent) and status:
                    status.update(f"Answering … {_shortened(event.text.strip(), 60)}")
                elif isinstance(event, DoneEvent | RefusedEvent):
                    if status:
                        status.stop()
                    console.print(_answered(event.answer) if event.answer.refusal is None else _refused(event.answer))
    finally:
        if status:
            status.stop()


def _answered(answer: Answer) -> Group:
    text = Text()
    at = 0
    for sentence in answer.sentences:
        text.append(printable(answer.text[at : sentence.span.end]))
        text.append(" " + "".join(f"[{number}]" for number in sentence.citations), style="bold cyan")
        at = sentence.span.end
    lines: list[RenderableType] = [text, Text()]
    quotes: dict[int, list[Citation]] = {}
    for citation in answer.citations:
        quotes.setdefault(citation.number, []).append(citation)
    for number, citations in sorted(quotes.items()):
        lines.append(Text.from_markup(f"[bold cyan]\\[{number}][/] {_place(citations[0].passage)}"))
        said = dict.fromkeys(c.quote for c in citations)
        lines += [Text(f"    “{_shortened(quote, 400)}”", style="italic") for quote in said]
        sources = {source.chunk.id: source for citation in citations for source in citation.also_in}
        lines += [Padding(line, (0, 0, 0, 4)) for line in _also_in(sources.values())]
    if answer.dropped_sentences:
        count = plural(len(answer.dropped_sentences), "generated sentence")
        lines.append(Text(f"{count} left out, which no passage supports.", style="yellow"))
    return Group(*lines, _footer(answer))


def _refused(answer: Answer) -> Group:
    refusal = answer.refusal
    assert refusal is not None  # noqa: S101 - the caller's branch
    lines = [Text.from_markup(f"[bold yellow]No answer[/] ({refusal.code}): {escape(refusal.reason)}")]
    if refusal.confidence is not None and refusal.threshold is not None:
        lines.append(Text(f"confidence {refusal.confidence:.2f}, needed {refusal.threshold:.2f}", style="dim"))
    if answer.passages:
        lines.append(Text("Closest passages:", style="dim"))
        lines += [Text.from_markup(f"[dim]  • {_place(p)}[/]") for p in answer.passages[:3]]
    return Group(*lines, _footer(answer))


def _footer(answer: Answer) -> Text:
    timings, usage = answer.timings, answer.usage
    parts = [f"{timings.total_ms / 1000:.1f} s"]
    if timings.ttft_ms is not None:
        parts.append(f"first token {timings.ttft_ms / 1000:.1f} s")
    if timings.tokens_per_s:
        parts.append(f"{timings.tokens_per_s:.1f} tokens/s")
    if usage.prompt_tokens:
        prefilled = usage.prompt_tokens - usage.cached_tokens
        parts.append(f"{usage.prompt_tokens} prompt tokens ({usage.cached_tokens} cached, {prefilled} prefilled)")
    return Text("\n" + " · ".join(parts), style="dim")


def _also_in(sources: Collection[OtherSource]) -> list[Text]:
    lines = [Text.from_markup(f"[dim]also in {_place(source)}[/]") for source in list(sources)[:_ALSO_SHOWN]]
    more = len(sources) - len(lines)
    at_least = "at least " if len(sources) >= MOST_SOURCES else ""  # others are not looked for
    return [*lines, Text(f"and in {at_least}{more} more", style="dim")] if more > 0 else lines


def _place(passage: Passage | OtherSource) -> str:
    """Where a passage stands, as markup: title, page, headings, and the file's name or the whole URL."""
    chunk = passage.chunk
    headings = [h for h in chunk.heading_path if h != passage.document.title]
    parts = [f"[bold]{escape(on_one_line(passage.document.title))}[/]"]
    if chunk.page is not None:
        parts.append(f"p. {chunk.page}")
    if headings:
        parts.append(escape(printable(" › ".join(headings))))
    uri = passage.document.uri
    name = uri if uri.startswith(("http://", "https://")) else uri.rsplit("/", 1)[-1]
    return ", ".join(parts) + f" [dim]({escape(on_one_line(name))})[/]"


def _shortened(text: str, limit: int) -> str:
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
