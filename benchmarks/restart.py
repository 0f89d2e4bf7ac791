"""First-token time after a restart, with model state on disk and without.

Three processes a round: one answers over eight passages and closes properly; the next finds its state on disk and is
asked something new over the same passages; the last has an empty directory and reads everything. Each pages the
model in with an unrelated request first, so loading is not counted.

    python -m benchmarks.restart [MODEL] [--data DIR] [--passage-reuse exact|stitched] [--json FILE]
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import ours
from benchmarks.options import Options, Size
from benchmarks.report import Report, turns
from benchmarks.vocabulary import Vocabulary
from benchmarks.workloads import Request, add_data_argument, bare_prompt, library, retrieval_prompt

if TYPE_CHECKING:
    import argparse

_ANSWER_TOKENS = 4
_DISK_BYTES = 2 << 30


async def main() -> None:
    parser = Options("restart", __doc__)
    add_data_argument(parser)
    parser.add_argument("--passage-reuse", choices=("exact", "stitched"), default="exact")
    parser.add_argument("--state", type=Path, help="(of the processes it starts) where model state lies")
    parser.add_argument("--round", type=int, default=0, help="(of the processes it starts) which passages to ask over")
    parser.add_argument("--question", type=int, default=0, help="(of the processes it starts) which question to ask")
    parser.size("--passages", Size(full=8, quick=3), "passages of a request")
    parser.size("--rounds", Size(full=3, quick=1), "rounds")
    options = parser.read()
    if options.state is not None:
        print(json.dumps(await _answer(options)))
        return
    report = Report("restart", options)
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="plumbline-restart-") as directory:
            state, empty = Path(directory) / "state", Path(directory) / "empty"
            _process(options, state, number=number, question=0)
            stored = sum(file.stat().st_size for file in state.rglob("*") if file.is_file())
            for side in turns(("warm", "cold"), number):
                row = _process(options, state if side == "warm" else empty, number=number, question=1)
                report.add(side, **row, stored_mib=stored / 2**20 if side == "warm" else 0.0)
    ratio = report.median("cold", "first_token_s") / report.median("warm", "first_token_s")
    report.figure("after a restart: first token, cold / from disk", ratio, at_least=8.0)
    report.finish()


def _process(options: argparse.Namespace, state: Path, *, number: int, question: int) -> dict[str, float]:
    """One life of the engine, in a process of its own."""
    told: dict[str, Any] = {
        "threads": options.threads,
        "seed": options.seed,
        "passages": options.passages,
        "passage-reuse": options.passage_reuse,
        "state": state,
        "round": number,
        "question": question,
    }
    command = [sys.executable, "-m", "benchmarks.restart", str(options.model.path)]
    for name, value in told.items():
        command += [f"--{name}", str(value)]
    if options.data is not None:
        command += ["--data", str(options.data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - itself
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return row


async def _answer(options: argparse.Namespace) -> dict[str, float]:
    vocabulary = Vocabulary(options.model.path)
    source = library(options.data, vocabulary.count, seed=options.seed)
    first = options.round * options.passages
    request = Request(
        question=source.questions[2 * options.round + options.question],
        passages=source.passages[first : first + options.passages],
        seen=0,
    )
    generator = ours.load(
        options,
        context_tokens=4096,
        kv_tokens=8192,
        kv_disk_bytes=_DISK_BYTES,
        kv_ram_bytes=512 << 20,
        snapshot_directory=options.state,
        passage_reuse=options.passage_reuse,
    )
    try:
        await ours.complete(generator, bare_prompt("Say hello."), _ANSWER_TOKENS)
        done = asdict(await ours.complete(generator, retrieval_prompt(request), _ANSWER_TOKENS))
    finally:
        generator.close()
    return {key: done[key] for key in ("first_token_s", "prompt_tokens", "cached_tokens")}


if __name__ == "__main__":
    asyncio.run(main())
