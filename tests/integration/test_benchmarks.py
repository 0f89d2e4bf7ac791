"""The benchmarks run and say what they promise; how fast anything is, they do not test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.completion import Completion
from benchmarks.peers import running
from benchmarks.report import turns
from benchmarks.workloads import Writer, library, repeated_share, retrieval_prompt, trace
from rag.model_types import SegmentKind

if TYPE_CHECKING:
    from benchmarks.workloads import Request

ROOT = Path(__file__).parents[2]


def words(text: str) -> int:
    return len(text.split())


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    source = library(None, words, seed=3, invented=200)
    return trace(source, requests=30, passages=8, repeat_share=0.4, seed=3)


def test_single_stream_measures_every_side(smollm_path: Path, tmp_path: Path) -> None:
    results = tmp_path / "results" / "single_stream.json"
    command = [sys.executable, "-m", "benchmarks.single_stream", str(smollm_path), "--quick", "--json", str(results)]
    sizes = ["--prompt-tokens", "24", "--answer-tokens", "6", "--streams", "3"]
    done = subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(results.read_text(encoding="utf-8"))
    assert set(report["rounds"]) == {"plumbline", "raw_loop", "llama_class", "streams"}
    sides = [report["rounds"][side][0] for side in ("plumbline", "raw_loop", "llama_class")]
    assert all(side["decode_tokens_per_s"] > 0 for side in sides)
    # What was read differs by no more than the control tokens that open every prompt.
    assert max(side["prompt_tokens"] for side in sides) - min(side["prompt_tokens"] for side in sides) <= 4
    assert {figure["name"]: figure["target"] for figure in report["figures"]}["decode speed / raw_loop"] == 0.97
    assert report["machine"]["cores"] >= 1
    assert str(smollm_path) not in results.read_text(encoding="utf-8"), "a report names the model, not where it lies"


def test_a_trace_repeats_the_share_it_was_asked_for(requests: list[Request]) -> None:
    assert repeated_share(requests) == pytest.approx(0.4, abs=0.01)
    before: set[int] = set()
    for request in requests:
        ids = {passage.chunk.id for passage in request.passages}
        assert len(ids) == 8
        assert len(ids & before) == request.seen
        before |= ids


def test_what_repeats_in_a_trace_is_popular(requests: list[Request]) -> None:
    times: dict[int, int] = {}
    for request in requests:
        for passage in request.passages:
            times[passage.chunk.id] = times.get(passage.chunk.id, 0) + 1
    often = sorted(times.values(), reverse=True)
    assert often[0] >= 5
    assert often[len(often) // 2] == 1


def test_a_library_too_small_for_a_trace_is_refused() -> None:
    source = library(None, words, seed=0, invented=10)
    with pytest.raises(SystemExit, match="too few passages"):
        trace(source, requests=3, passages=8, repeat_share=0.4, seed=0)


def test_writers_of_different_seeds_share_nothing_but_their_manner() -> None:
    first, again, other = (Writer(words, seed).text(400) for seed in ("a", "a", "b"))
    assert first == again
    assert 400 <= words(first) < 440
    assert not set(first.split(". ")) & set(other.split(". "))


def test_retrieval_prompts_keep_the_ranking(requests: list[Request]) -> None:
    segments = retrieval_prompt(requests[1]).segments
    read = [segment.text for segment in segments if segment.kind is SegmentKind.PASSAGE]
    assert all(passage.chunk.text in text for passage, text in zip(requests[1].passages, read, strict=True))


def test_everybody_begins_a_round_as_often_as_the_others() -> None:
    sides = ("a", "b", "c")
    assert [turns(sides, number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert all(sorted(turns(sides, number)) == ["a", "b", "c"] for number in range(4))


def test_speeds_leave_out_what_was_cached_and_the_first_token() -> None:
    done = Completion(prompt_tokens=120, cached_tokens=20, tokens=11, first_token_s=2.0, total_s=4.0)
    assert done.prefill_tokens_per_s == 50
    assert done.decode_tokens_per_s == 5
    assert Completion(prompt_tokens=1, tokens=1, first_token_s=1.0, total_s=1.0).decode_tokens_per_s == 0


def test_a_peer_that_cannot_start_is_reported_in_its_own_words() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('there is no such model')"]
    with pytest.raises(SystemExit, match="there is no such model"), running(command, ready="/health"):
        pass
