"""First-token time over retrieved passages that came up before: in another order, and in a trace of questions.

*warm*: eight passages that were all read before, in other orders, with a new question: stitched (also with the best one
read anew) beside exact reuse and llama-server (as it is, and with its own approximate reuse of shifted chunks).
*trace*: of the passages of a question 40% came up before: exact reuse beside llama-server. The passages are those that
the product's embedder finds for questions of an evaluation folder (*retrieved*), or drawn one by one, popular ones more
often (*independent*). Everybody has as many cells and as much memory for stored state, and gets the same tokens in the
order of the ranking; ours may reorder (``cached``).

    python -m benchmarks.passages [MODEL] [--data DIR] [--scenario warm|trace|both]
                                  [--trace retrieved|independent|both] [--json FILE]
"""

from __future__ import annotations

import asyncio
import random
import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import ours, peers
from benchmarks.options import Options, Size
from benchmarks.report import Report, turns
from benchmarks.traces import independent_trace, load_embedder, repeated_share, retrieved_trace
from benchmarks.vocabulary import Vocabulary
from benchmarks.workloads import Request, add_data_argument, library, retrieval_prompt

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.completion import Completion
    from benchmarks.workloads import Library
    from rag.inference.generator import LlamaGenerator

_ANSWER_TOKENS = 4
_SHIFTED_CHUNK = 64  # tokens: smaller than a passage, larger than a coincidence


async def main() -> None:
    parser = Options("passages", __doc__)
    peers.add_arguments(parser)
    add_data_argument(parser)
    parser.add_argument("--scenario", choices=("warm", "trace", "both"), default="both")
    parser.add_argument(
        "--trace",
        choices=("retrieved", "independent", "both"),
        help="passages that are retrieved for questions (with --data, and the default then) or drawn one by one",
    )
    parser.add_argument("--repeat-share", type=float, default=0.4, help="passages of the trace that came up before")
    parser.size("--passages", Size(full=8, quick=3), "passages of a request")
    parser.size("--warm-rounds", Size(full=3, quick=1), "orders measured after two that were read before")
    parser.size("--trace-requests", Size(full=9, quick=3), "questions of the trace; the first is not measured")
    parser.size("--kv-tokens", Size(full=8192, quick=4096), "cells of everybody's key-value cache")
    parser.size("--state-mib", Size(full=1024, quick=256), "memory of everybody for stored state beyond it")
    options = parser.read()
    options.trace = options.trace or ("retrieved" if options.data else "independent")
    if options.trace != "independent" and options.data is None:
        parser.error(f"--trace {options.trace} retrieves from an evaluation folder: name one with --data")
    report = Report("passages", options)
    vocabulary = Vocabulary(options.model.path)
    source = library(options.data, vocabulary.count, seed=options.seed)
    sizes = [vocabulary.count(passage.chunk.text) for passage in source.passages]
    report.side("library", source=source.source, passages=len(sizes), median_tokens=statistics.median(sizes))
    if options.scenario != "trace":
        await _warm(report, options, source)
    if options.scenario != "warm":
        for kind, requests in _traces(options, source).items():
            await _trace(report, options, kind, requests)
    report.finish()


def _load(options: argparse.Namespace, **engine: str | int) -> LlamaGenerator:
    return ours.load(
        options,
        context_tokens=options.kv_tokens // 2,
        kv_tokens=options.kv_tokens,
        kv_ram_bytes=options.state_mib << 20,
        **engine,
    )


def _llama_server_flags(options: argparse.Namespace, *more: str) -> list[str]:
    """One user: one slot, and as much memory for the prompts it had before, of which it takes the most alike."""
    return ["-np", "1", "-c", str(options.kv_tokens), "--cache-ram", str(options.state_mib), *more]


async def _warm(report: Report, options: argparse.Namespace, source: Library) -> None:
    chosen, chance = list(source.passages[: options.passages]), random.Random(options.seed)  # noqa: S311
    shifted = ["--cache-reuse", str(_SHIFTED_CHUNK)]
    with ExitStack() as stack:
        engines = {
            "stitched": _load(options, passage_reuse="stitched"),
            "stitched_recomputed": _load(options, passage_reuse="stitched", recomputed_passages=1),
            "exact": _load(options),
        }
        for engine in engines.values():
            stack.callback(engine.close)
        servers = {
            "llama_server": stack.enter_context(peers.llama_server(options, *_llama_server_flags(options))),
            "llama_server_shifted": stack.enter_context(
                peers.llama_server(options, *_llama_server_flags(options, *shifted))
            ),
        }
        report.side("stitched warm", passage_reuse=engines["stitched"].info.passage_reuse)
        report.side("stitched_recomputed warm", passage_reuse="stitched", recomputed_passages=1)
        report.side("exact warm", passage_reuse=engines["exact"].info.passage_reuse, passage_order="rank")
        report.side("llama_server warm", flags=_llama_server_flags(options))
        report.side("llama_server_shifted warm", flags=_llama_server_flags(options, *shifted))
        for number in range(-2, options.warm_rounds):
            order = list(chosen)
            chance.shuffle(order)
            request = Request(question=source.questions[number], passages=tuple(order), seen=len(order))
            for side in turns([*engines, *servers], max(number, 0)):
                done = await _ask(engines.get(side), servers.get(side), engines["exact"], request)
                if number >= 0:
                    report.add(f"{side} warm", **_row(done))
        for server in servers.values():
            await server.close()
    own = report.median("stitched warm", "first_token_s")
    for side, target in (("llama_server", 10.0), ("llama_server_shifted", None), ("exact", None)):
        ratio = report.median(f"{side} warm", "first_token_s") / own
        report.figure(f"warm passages: first token, {side} / stitched", ratio, at_least=target)
    best_anew = report.median("stitched_recomputed warm", "first_token_s")
    ratio = report.median("llama_server warm", "first_token_s") / best_anew
    report.figure("warm passages: first token, llama_server / stitched with the best passage read anew", ratio)


def _traces(options: argparse.Namespace, source: Library) -> dict[str, list[Request]]:
    """Those asked for, by the name of their kind."""
    wanted = {
        "requests": options.trace_requests,
        "passages": options.passages,
        "repeat_share": options.repeat_share,
        "seed": options.seed,
    }
    traces: dict[str, list[Request]] = {}
    if options.trace != "independent":
        traces["retrieved"] = retrieved_trace(source, load_embedder(), **wanted)
    if options.trace != "retrieved":
        traces["independent"] = independent_trace(source, **wanted)
    return traces


async def _trace(report: Report, options: argparse.Namespace, kind: str, requests: Sequence[Request]) -> None:
    name = f"trace of {kind} passages"
    with ExitStack() as stack:
        engine = _load(options, passage_order="cached")
        stack.callback(engine.close)
        server = stack.enter_context(peers.llama_server(options, *_llama_server_flags(options)))
        report.side(f"exact, {name}", passage_reuse=engine.info.passage_reuse, passage_order="cached")
        report.side(f"llama_server, {name}", flags=_llama_server_flags(options))
        report.side(name, requests=len(requests), repeated_share=round(repeated_share(requests), 3))
        for number, request in enumerate(requests):
            for side in turns(("exact", "llama_server"), number):
                own = side == "exact"
                done = await _ask(engine if own else None, None if own else server, engine, request)
                if number:
                    report.add(f"{side}, {name}", seen=request.seen, **_row(done))
        await server.close()
    pairs = [report.values(f"{side}, {name}", "first_token_s") for side in ("llama_server", "exact")]
    what = f"{name}: first token, llama_server / exact"
    report.figure(f"{what} (medians)", statistics.median(pairs[0]) / statistics.median(pairs[1]), at_least=1.3)
    report.figure(f"{what} (means)", statistics.mean(pairs[0]) / statistics.mean(pairs[1]))
    for side in ("exact", "llama_server"):
        cached, read = (sum(report.values(f"{side}, {name}", key)) for key in ("cached_tokens", "prompt_tokens"))
        report.figure(f"{name}: share of prompt tokens cached, {side}", cached / read)


async def _ask(
    engine: LlamaGenerator | None, server: peers.LlamaServer | None, encoder: LlamaGenerator, request: Request
) -> Completion:
    prompt = retrieval_prompt(request)
    if engine is not None:
        return await ours.complete(engine, prompt, _ANSWER_TOKENS)
    if server is None:
        raise ValueError("neither an engine nor a server to ask")
    return await server.complete([int(token) for token in encoder.encode(prompt).tokens], _ANSWER_TOKENS)


def _row(done: Completion) -> dict[str, float]:
    return {
        "first_token_s": done.first_token_s,
        "prompt_tokens": done.prompt_tokens,
        "cached_tokens": done.cached_tokens or 0,
    }


if __name__ == "__main__":
    asyncio.run(main())
