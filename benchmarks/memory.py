"""Resident memory after eight users at once, beside llama-server with the same context, users and load.

One after the other, each in a process of its own: pages that both would map count in full for each. Both mean the
high-water mark of what is resident; the model file's own pages are in it as far as they were touched.

    python -m benchmarks.memory [MODEL] [--json FILE]
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import ours, peers
from benchmarks.options import Options, Size
from benchmarks.report import Report
from benchmarks.vocabulary import Vocabulary
from benchmarks.workloads import Writer, bare_prompt
from rag.model_types import Caller

if TYPE_CHECKING:
    import argparse

_FIELDS = {"VmHWM": "peak_mib", "VmRSS": "resident_mib", "RssAnon": "anonymous_mib", "RssFile": "file_mib"}


async def main() -> None:
    parser = Options("memory", __doc__)
    peers.add_arguments(parser)
    parser.add_argument("--own-process", action="store_true", help="(of the process it starts) be the one measured")
    parser.size("--users", Size(full=8, quick=3), "users at the same time, and slots")
    parser.size("--kv-tokens", Size(full=8192, quick=2048), "cells of the key-value cache, all users together")
    parser.size("--prompt-tokens", Size(full=256, quick=32), "tokens of a user's prompt")
    parser.size("--answer-tokens", Size(full=32, quick=8), "tokens of an answer")
    parser.size("--state-mib", Size(full=0, quick=0), "memory for stored state beyond the cache, of both")
    options = parser.read()
    if options.own_process:
        print(json.dumps(await _ours(options, json.load(sys.stdin))))
        return
    report = Report("memory", options)
    vocabulary = Vocabulary(options.model.path)
    writer = Writer(vocabulary.count, options.seed)
    texts = [writer.text(options.prompt_tokens) for _ in range(options.users)]
    # The measured process gets its load from here: a tokenizer of the benchmark's own would count as the engine's.
    measured, encoded = _own_process(options, {"texts": texts, "banned": vocabulary.ends})
    report.side("plumbline", kv_tokens=options.kv_tokens, max_running=options.users)
    report.add("plumbline", **measured)
    flags = ["-np", str(options.users), "-c", str(options.kv_tokens), "--no-kv-unified"]
    flags += ["-b", "512", "-ub", "512", "--cache-ram", str(options.state_mib)]
    report.side("llama_server", flags=flags)
    with peers.llama_server(options, *flags) as server:
        await asyncio.gather(*(server.complete(tokens, options.answer_tokens) for tokens in encoded))
        report.add("llama_server", **resident(server.pid))
        await server.close()
    for key, target in (("peak_mib", 1.1), ("resident_mib", None), ("proportional_mib", None)):
        ratio = report.median("plumbline", key) / report.median("llama_server", key)
        report.figure(f"{key}, ours / llama_server", ratio, at_most=target)
    report.finish()


def resident(pid: int) -> dict[str, float]:
    """MiB of a process: peak and present resident set, its anonymous and file-backed parts, and its proportional
    share of what several processes map (Linux proc(5)).
    """
    fields: dict[str, float] = {}
    for name, wanted in (("status", _FIELDS), ("smaps_rollup", {"Pss": "proportional_mib"})):
        for line in Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8").splitlines():
            field, _, value = line.partition(":")
            if field in wanted:
                fields[wanted[field]] = int(value.split()[0]) / 1024
    return fields


def _own_process(options: argparse.Namespace, load: dict[str, Any]) -> tuple[dict[str, float], list[list[int]]]:
    """What the engine's process came to, and the prompts as it read them."""
    command = [sys.executable, "-m", "benchmarks.memory", str(options.model.path), "--own-process"]
    for name in ("threads", "users", "kv_tokens", "answer_tokens", "state_mib"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(  # noqa: S603 - itself
        command, input=json.dumps(load), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    measured, encoded = json.loads(done.stdout.splitlines()[-1])
    return measured, encoded


async def _ours(options: argparse.Namespace, load: dict[str, Any]) -> tuple[dict[str, float], list[list[int]]]:
    before = resident(os.getpid())["resident_mib"]
    generator = ours.load(
        options,
        context_tokens=options.kv_tokens // options.users,
        kv_tokens=options.kv_tokens,
        max_running=options.users,
        kv_ram_bytes=options.state_mib << 20,
    )
    prompts = [bare_prompt(text) for text in load["texts"]]
    users = [
        ours.complete(
            generator, prompt, options.answer_tokens, banned=load["banned"], caller=Caller(key=f"user {number}")
        )
        for number, prompt in enumerate(prompts)
    ]
    try:
        await asyncio.gather(*users)
        encoded = [[int(token) for token in generator.encode(prompt).tokens] for prompt in prompts]
        return {**resident(os.getpid()), "before_loading_mib": before}, encoded
    finally:
        generator.close()


if __name__ == "__main__":
    asyncio.run(main())
