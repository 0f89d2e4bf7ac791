"""A folder ingested by Plumbline, LlamaIndex and Haystack: seconds, and files lost on the way.

Every side is a whole process, from its start to a store on disk that a new process can search, with the same weights
and threads; the sides take turns. Peers run as their guides write it, with all readers they name. What each stored is
looked at afterwards, outside the time. A document is lost if its store has no text of it, for whatever reason; bytes of
a binary file read as text are none.

    python -m benchmarks.ingest_peers [EMBEDDER] --files DIR [--common] [--limit N] [--peer-python PATH] [--json FILE]

``llama_index_fitted`` and ``haystack_fitted`` make passages short enough for the embedder, which reads 256 tokens of
LlamaIndex's default of 1,024, and of Haystack's 200 words what comes to as many: they do the work that ours does.
``python -m benchmarks.build_peers --only llama-index`` and ``--only haystack`` install the peers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ingest_sides
from benchmarks.document_files import COMMON, DOCUMENTS, PLAIN, sampled, taken, written
from benchmarks.options import Options, Size
from benchmarks.peers import BUILT, INGEST_PYTHON
from benchmarks.report import Report, turns
from rag.embedding.bi_encoder import BiEncoder
from rag.evaluation.dataset import load_dataset

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

_OURS = "plumbline"
_FITTED = "_fitted"
_PEERS = ("llama_index", f"llama_index{_FITTED}", "haystack", f"haystack{_FITTED}")
_PACKAGES = {
    "llama_index": ("llama-index-core", "llama-index-readers-file", "llama-index-embeddings-huggingface"),
    "haystack": ("haystack-ai", "sentence-transformers-haystack"),
}
_FASTER = 2.0


def main() -> None:
    parser = Options("ingest_peers", __doc__, kind="embedder")
    parser.add_argument(
        "--files",
        type=Path,
        required=True,
        metavar="DIR",
        help="documents of all kinds, or an evaluation folder, whose texts become Markdown",
    )
    parser.add_argument("--common", action="store_true", help="only documents of formats that all sides say they read")
    parser.add_argument(
        "--peer-python", type=Path, metavar="PATH", help="a Python that has the peers, if not built here"
    )
    parser.add_argument("--only", nargs="+", choices=(_OURS, *_PEERS), default=(_OURS, *_PEERS), metavar="SIDE")
    parser.size("--limit", Size(full=60, quick=6), "files, spread over the formats")
    parser.size("--largest-kib", Size(full=200, quick=50), "no file that is larger, in KiB")
    parser.size("--rounds", Size(full=1, quick=1), "rounds")
    options = parser.read()
    options.only = list(options.only)
    options.peer_python = options.peer_python or BUILT / INGEST_PYTHON
    if set(options.only) & set(_PEERS) and not options.peer_python.exists():
        parser.error(
            "no peers here: run benchmarks.build_peers --only llama-index and --only haystack, or name a Python"
        )
    report = Report("ingest_peers", options)
    model = options.model
    options.max_tokens = BiEncoder(model.path, name=model.name, sha256=model.sha256, threads=options.threads).max_tokens
    with tempfile.TemporaryDirectory(prefix="plumbline-ingest-") as work:
        files = _files(options, Path(work) / "files")
        if not files:
            parser.error(f"{options.files} holds no document of at most {options.largest_kib} KiB")
        formats = Counter(path.suffix.lower() for path in files)
        report.side("files", files=len(files), mib=round(sum(f.stat().st_size for f in files) / 2**20, 2), **formats)
        lost: dict[str, int] = {}
        for number in range(options.rounds):
            for side in turns(options.only, number):
                lost[side] = _round(report, options, side, files, Path(work) / f"{side}-{number}")
    _figures(report, options.only, lost, mixed=not set(formats) <= PLAIN)
    report.finish()


def _files(options: argparse.Namespace, into: Path) -> list[Path]:
    if (options.files / "corpus.jsonl").is_file():
        return written(load_dataset(options.files), into, limit=options.limit, seed=options.seed)
    largest = options.largest_kib * 1024
    formats = COMMON if options.common else DOCUMENTS
    return sampled(options.files, into, limit=options.limit, largest=largest, seed=options.seed, formats=formats)


def _round(report: Report, options: argparse.Namespace, side: str, files: Sequence[Path], store: Path) -> int:
    folder, model = files[0].parent, options.model
    if side == _OURS:
        report.side(side, version=version("plumbline"))
        seconds = _ours(options, folder, store)
        passages: Iterable[tuple[str, str]] = _our_passages(options, store)
    else:
        report.side(side, **_versions(options.peer_python, side))
        seconds, failed = _peer(options, side, folder, store)
        if failed:
            report.side(side, ended_at_a_file=failed, measured="the run that goes on past such files")
        passages = _peer_passages(options, side, folder, store)
    stored = taken(files, passages, model.path, options.max_tokens)
    lost_common = [name for name in stored.lost if Path(name).suffix.lower() in COMMON]
    report.side(side, lost=list(stored.lost))
    report.add(
        side,
        seconds=seconds,
        files_taken=len(files) - len(stored.lost),
        files_lost=len(stored.lost),
        files_lost_of_common_formats=len(lost_common),
        passages=stored.passages,
        passages_longer_than_embedder=stored.cut,
        tokens=stored.tokens,
        tokens_embedded=stored.tokens - stored.unread,
        tokens_embedded_per_s=(stored.tokens - stored.unread) / seconds,
    )
    return len(stored.lost)


def _ours(options: argparse.Namespace, folder: Path, home: Path) -> float:
    seconds, code, errors = _timed([*_indexer(), "ingest", str(folder), "--json"], _our_settings(options, home))
    if code not in {0, 1}:  # 1: a file failed, which is counted
        raise SystemExit(f"indexer ingest ended with {code}: {errors}")
    return seconds


def _our_passages(options: argparse.Namespace, home: Path) -> Iterator[tuple[str, str]]:
    exported = home / "export.jsonl"
    _, code, errors = _timed([*_indexer(), "export", str(exported)], _our_settings(options, home))
    if code:
        raise SystemExit(f"indexer export ended with {code}: {errors}")
    with exported.open(encoding="utf-8") as lines:
        for entry in map(json.loads, lines):
            if entry["type"] == "chunk":
                # What came in a mail or an archive is of the file that was given.
                yield Path(entry["uri"].partition("!/")[0]).name, entry["text"]


def _indexer() -> list[str]:
    return [sys.executable, "-m", "indexer.cli"]


def _our_settings(options: argparse.Namespace, home: Path) -> dict[str, str]:
    return {"RAG_HOME": str(home), "RAG_EMBEDDER": options.model.name, "RAG_THREADS": str(options.threads)}


def _peer(options: argparse.Namespace, side: str, folder: Path, store: Path) -> tuple[float, str]:
    """Seconds, and what ended the run that took all files at once, if anything did."""
    command, settings = _peer_command(options, side, "ingest", folder, store), _peer_settings(options)
    seconds, code, failed = _timed(command, settings)
    if not code:
        return seconds, ""
    seconds, code, errors = _timed([*command, "--each"], settings)
    if code:
        raise SystemExit(f"{side} ended with {code}: {errors}")
    return seconds, failed.splitlines()[-1][:300] if failed else str(code)


def _peer_passages(options: argparse.Namespace, side: str, folder: Path, store: Path) -> list[tuple[str, str]]:
    command = _peer_command(options, side, "passages", folder, store)
    environment = os.environ | _peer_settings(options)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [(entry["file"], entry["text"]) for entry in entries]


def _peer_command(options: argparse.Namespace, side: str, step: str, folder: Path, store: Path) -> list[str]:
    library = side.removesuffix(_FITTED)
    # Not resolved: a link to the interpreter is what makes it that of a virtual environment.
    command = [str(options.peer_python.absolute()), ingest_sides.__file__, library, step, str(folder), str(store)]
    fitted = ["--fitted"] if side.endswith(_FITTED) else []
    return [*command, str(options.model.path), *fitted]


def _peer_settings(options: argparse.Namespace) -> dict[str, str]:
    no_network = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    return {"OMP_NUM_THREADS": str(options.threads), "PYTHONIOENCODING": "utf-8:backslashreplace", **no_network}


def _versions(python: Path, side: str) -> dict[str, str]:
    packages = _PACKAGES[side.removesuffix(_FITTED)]
    asked = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    command = [str(python.absolute()), "-c", asked, *packages, "sentence-transformers", "torch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{side} is not installed for {python}: {done.stderr.splitlines()[-1]}")
    return dict(zip(command[3:], done.stdout.split(), strict=True))


def _timed(command: list[str], settings: dict[str, str]) -> tuple[float, int, str]:
    """Seconds of a whole process, its exit status, and the end of what it said on standard error."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        began = time.perf_counter()
        environment = os.environ | settings
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, check=False)  # noqa: S603
        seconds = time.perf_counter() - began
        errors.seek(0)
        return seconds, done.returncode, errors.read()[-2000:].strip()


def _figures(report: Report, sides: Sequence[str], lost: dict[str, int], *, mixed: bool) -> None:
    if _OURS not in sides:
        return
    for peer in (side for side in sides if side != _OURS):
        seconds = report.median(peer, "seconds") / report.median(_OURS, "seconds")
        report.figure(f"seconds, {peer} / {_OURS}", seconds, at_least=_FASTER)
        speed = report.median(_OURS, "tokens_embedded_per_s") / report.median(peer, "tokens_embedded_per_s")
        if not mixed:  # else the peer may have embedded bytes and markup
            report.figure(f"tokens embedded in a second, {_OURS} / {peer}", speed)
        # Of text alone nobody should lose any, so there is nothing to be fewer than.
        report.figure(f"files lost, {peer} - {_OURS}", lost[peer] - lost[_OURS], at_least=1 if mixed else None)
    report.figure(f"files lost, {_OURS}", lost[_OURS])


if __name__ == "__main__":
    main()
