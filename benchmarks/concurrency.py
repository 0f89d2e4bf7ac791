"""Eight users at once: with prompts of their own, then with instructions they share; beside both servers.

Every round has new text, so nothing is cached but what the users of the round share. Tokens per second are all
generated tokens by the time until the last user is served. Drafts are off; every answer has the same length.

    python -m benchmarks.concurrency [MODEL] [--scenario distinct|shared|both] [--json FILE]
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks import ours, peers
from benchmarks.options import Options, Size
from benchmarks.report import Report, turns
from benchmarks.vocabulary import Vocabulary
from benchmarks.workloads import Writer, prefixed_prompt
from rag.model_types import Caller

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from benchmarks.completion import Completion
    from rag.inference.generator import LlamaGenerator
    from rag.model_types import Prompt

_TASK = "\n\nContinue these notes in the same manner."
_QUESTION_TOKENS = 24
_SHORT_ANSWER = 8  # where only the first token counts
_TEMPLATE_TOKENS = 64  # room for the chat template and for a sentence that runs over


async def main() -> None:
    parser = Options("concurrency", __doc__)
    peers.add_arguments(parser, llama_cpp_server=True)
    parser.add_argument("--scenario", choices=("distinct", "shared", "both"), default="both")
    parser.add_argument(
        "--tuned",
        action="store_true",
        help="llama_cpp.server with flash attention and without keeping every token's logits, not as shipped",
    )
    parser.size("--users", Size(full=8, quick=3), "users at the same time")
    parser.size("--prompt-tokens", Size(full=400, quick=48), "tokens of a prompt, or of the shared instructions")
    parser.size("--answer-tokens", Size(full=64, quick=8), "tokens of an answer to a prompt of one's own")
    parser.size("--distinct-rounds", Size(full=1, quick=1), "rounds with prompts of one's own")
    parser.size("--shared-rounds", Size(full=2, quick=1), "rounds with shared instructions")
    options = parser.read()
    report = Report("concurrency", options)
    vocabulary = Vocabulary(options.model.path)
    if options.scenario != "shared":
        await _distinct(report, options, vocabulary)
    if options.scenario != "distinct":
        await _shared(report, options, vocabulary)
    report.finish()


def _cells(options: argparse.Namespace) -> tuple[int, int]:
    """Tokens of one user at most, and of all users, rounded as both engines round."""
    one = options.prompt_tokens + _QUESTION_TOKENS + options.answer_tokens + 2 * _TEMPLATE_TOKENS
    one = -(-one // 256) * 256
    return one, options.users * one


def _llama_server_flags(options: argparse.Namespace) -> list[str]:
    """A slot a user with cells of its own (its attention then reads only those), and batches of 512: as fast in sum
    as its default of 2048 and much earlier with the median first token, because a batch ends before tokens leave.
    """
    _, all_users = _cells(options)
    return ["-np", str(options.users), "-c", str(all_users), "--no-kv-unified", "-b", "512", "-ub", "512"]


def _load(options: argparse.Namespace) -> LlamaGenerator:
    one, all_users = _cells(options)
    return ours.load(options, context_tokens=one, kv_tokens=all_users, max_running=options.users, speculation=False)


async def _distinct(report: Report, options: argparse.Namespace, vocabulary: Vocabulary) -> None:
    one, _ = _cells(options)
    shipped = ["--n_ctx", str(one)]
    tuned = ["--logits_all", "False", "--flash_attn", "True"] if options.tuned else []
    with ExitStack() as stack:
        generator = _load(options)
        stack.callback(generator.close)
        llama_server = stack.enter_context(peers.llama_server(options, *_llama_server_flags(options)))
        slow = stack.enter_context(peers.llama_cpp_server(options, vocabulary, *shipped, *tuned))
        report.side("plumbline distinct", speculation=False, backend=generator.info.backend)
        report.side("llama_server distinct", flags=_llama_server_flags(options))
        report.side("llama_cpp_server distinct", flags=shipped + tuned, interrupt_requests=False)
        servers: dict[str, peers.Peer] = {"llama_server": llama_server, "llama_cpp_server": slow}
        for number in range(-1, options.distinct_rounds):
            prompts = _distinct_prompts(options, vocabulary, number)
            length = options.answer_tokens if number >= 0 else 2
            for side in turns(("plumbline", *servers), max(number, 0)):
                answers, seconds = await _all_at_once(vocabulary, generator, servers.get(side), prompts, length)
                if number >= 0:
                    report.add(f"{side} distinct", **_row(answers, seconds))
        await llama_server.close()
        await slow.close()
    own = report.median("plumbline distinct", "tokens_per_s")
    for peer_name, target in (("llama_cpp_server", 3.0), ("llama_server", 1.0)):
        ratio = own / report.median(f"{peer_name} distinct", "tokens_per_s")
        report.figure(f"{options.users} users, prompts of their own: tokens/s / {peer_name}", ratio, at_least=target)


async def _shared(report: Report, options: argparse.Namespace, vocabulary: Vocabulary) -> None:
    with ExitStack() as stack:
        generator = _load(options)
        stack.callback(generator.close)
        llama_server = stack.enter_context(peers.llama_server(options, *_llama_server_flags(options)))
        report.side("plumbline shared", speculation=False, backend=generator.info.backend)
        report.side("llama_server shared", flags=_llama_server_flags(options))
        for number in range(-1, options.shared_rounds):
            prompts = _shared_prompts(options, vocabulary, number)
            for side in turns(("plumbline", "llama_server"), max(number, 0)):
                peer = llama_server if side == "llama_server" else None
                answers, seconds = await _all_at_once(vocabulary, generator, peer, prompts, _SHORT_ANSWER)
                if number >= 0:
                    report.add(f"{side} shared", **_row(answers, seconds))
        await llama_server.close()
    ratio = report.median("llama_server shared", "first_token_s") / report.median("plumbline shared", "first_token_s")
    what = f"{options.users} users, {options.prompt_tokens} tokens shared, cold"
    report.figure(f"{what}: median first token, llama_server / ours", ratio, at_least=2.5)


def _distinct_prompts(options: argparse.Namespace, vocabulary: Vocabulary, number: int) -> list[Prompt]:
    writer = Writer(vocabulary.count, f"{options.seed} distinct {number}")
    size = options.prompt_tokens if number >= 0 else 8  # round -1 pages everything in
    # Instructions of their own too: nothing but the first control tokens is common.
    return [prefixed_prompt(writer.text(8), writer.text(size) + _TASK) for _ in range(options.users)]


def _shared_prompts(options: argparse.Namespace, vocabulary: Vocabulary, number: int) -> list[Prompt]:
    writer = Writer(vocabulary.count, f"{options.seed} shared {number}")
    prefix = writer.text(options.prompt_tokens if number >= 0 else 8)
    return [prefixed_prompt(prefix, writer.text(_QUESTION_TOKENS) + _TASK) for _ in range(options.users)]


async def _all_at_once(
    vocabulary: Vocabulary,
    generator: LlamaGenerator,
    peer: peers.Peer | None,
    prompts: Sequence[Prompt],
    length: int,
) -> tuple[list[Completion], float]:
    """Every user's answer, and the seconds until the last of them was complete."""
    encoded = [[int(token) for token in generator.encode(prompt).tokens] for prompt in prompts]
    began = time.perf_counter()
    if peer is None:
        asked: list[Any] = [
            ours.complete(generator, prompt, length, banned=vocabulary.ends, caller=Caller(key=f"user {number}"))
            for number, prompt in enumerate(prompts)
        ]
    else:
        asked = [peer.complete(tokens, length) for tokens in encoded]
    answers = await asyncio.gather(*asked)
    return answers, time.perf_counter() - began


def _row(answers: Sequence[Completion], seconds: float) -> dict[str, float]:
    tokens = sum(answer.tokens for answer in answers)
    prompt_tokens = sum(answer.prompt_tokens for answer in answers)
    return {
        "tokens_per_s": tokens / seconds,
        "first_token_s": statistics.median(answer.first_token_s for answer in answers),
        "last_first_token_s": max(answer.first_token_s for answer in answers),
        "seconds": seconds,
        "prompt_tokens": prompt_tokens,
        "cached_share": sum(answer.cached_tokens or 0 for answer in answers) / prompt_tokens,
    }


if __name__ == "__main__":
    asyncio.run(main())
