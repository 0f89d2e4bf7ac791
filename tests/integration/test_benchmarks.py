"""What the benchmarks reckon with; that they run is tested in tests/e2e."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.completion import Completion
from benchmarks.document_files import is_text, sampled, taken
from benchmarks.embedding import searched
from benchmarks.peers import running
from benchmarks.report import turns
from benchmarks.workloads import Writer
from rag.evaluation.dataset import load_dataset


def words(text: str) -> int:
    return len(text.split())


def test_writers_of_different_seeds_share_nothing_but_their_manner() -> None:
    first, again, other = (Writer(words, seed).text(400) for seed in ("a", "a", "b"))
    assert first == again
    assert 400 <= words(first) < 440
    assert not set(first.split(". ")) & set(other.split(". "))


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


def test_a_sample_of_files_goes_round_the_formats(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "a.csv").write_text("a,b")
    (tmp_path / "b.rst").write_text("too large" * 10)
    drawn = [sampled(tmp_path, tmp_path / f".{n}", limit=4, largest=20, seed=seed) for n, seed in enumerate((1, 1, 2))]
    assert [path.suffix for path in drawn[0]] == [".csv", ".txt", ".txt", ".txt"]
    assert [path.name for path in drawn[0]] == [path.name for path in drawn[1]] != [path.name for path in drawn[2]]
    csv = sampled(tmp_path, tmp_path / ".3", limit=4, largest=20, seed=1, formats={".csv", ".pdf"})
    assert [path.name for path in csv] == ["0000-a.csv"]


def test_a_passage_past_the_embedder_is_cut_and_a_binary_file_is_no_text(embedder_path: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.doc", "c.pdf")]
    passages = [("a.txt", "rain " * 300), ("a.txt", "snow"), ("b.doc", "Word\x00\x01\x02\x03 text")]
    stored = taken(files, passages, embedder_path, 256)
    assert stored.lost == ("b.doc", "c.pdf")
    assert (stored.passages, stored.cut, stored.unread) == (3, 1, 302 - 256)
    assert is_text("Größe,\t5 µm\n")
    assert not is_text(" -- \n")


def test_a_part_of_a_corpus_begins_with_what_answers(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("".join(f'{{"_id": "{n}", "title": "", "text": "t"}}\n' for n in range(5)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "a", "text": "q"}\n{"_id": "b", "text": "q"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\na\t3\t1\nb\t4\t1\n")
    dataset = load_dataset(tmp_path)
    assert [entry.id for entry in searched(dataset, dataset.queries[:1], 2)] == ["3", "0"]
    assert searched(dataset, dataset.queries, 0) == dataset.corpus
