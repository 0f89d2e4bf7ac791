"""``rag eval`` on a small folder with the real embedder, store and language model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from rag.cli import main
from rag.embedding.bi_encoder import BiEncoder
from rag.evaluation import corpus as evaluation_corpus

TOPICS = {
    "tides": "Tides rise and fall because the moon pulls the oceans towards itself.",
    "bread": "Bread rises because yeast turns sugar into carbon dioxide.",
    "rust": "Iron rusts when it meets oxygen and water.",
    "bees": "Bees dance in figures of eight to show where flowers are.",
    "glass": "Glass is made by melting sand with soda and lime at 1500 degrees.",
}
QUESTIONS = {
    "tides": "What makes the oceans rise and fall?",
    "bread": "Why does bread rise?",
    "rust": "When does iron rust?",
    "bees": "How do bees show where flowers are?",
}
UNANSWERABLE = "How tall is the tower of Pisa?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five documents, one of them longer than the embedder reads and one without words; four questions and one more."""
    long = TOPICS["glass"] + " It cools slowly." * 200
    texts = {**TOPICS, "glass": long, "blank": " "}
    directory = tmp_path / "made"
    directory.mkdir()
    files = {
        "corpus.jsonl": [{"_id": k, "title": k.title() if k != "blank" else "", "text": v} for k, v in texts.items()],
        "queries.jsonl": [{"_id": f"q-{k}", "text": v} for k, v in {**QUESTIONS, "none": UNANSWERABLE}.items()],
        "answers.jsonl": [
            *({"_id": f"q-{k}", "answers": [TOPICS[k]], "answerable": True} for k in QUESTIONS),
            {"_id": "q-none", "answers": [], "answerable": False},
        ],
    }
    for name, rows in files.items():
        (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    judgments = "".join(f"q-{k}\t{k}\t1\n" for k in QUESTIONS)
    (directory / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgments}")
    return directory


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder_path: Path) -> None:
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAG_DATABASE_URL", f"sqlite:///{tmp_path / 'own.db'}")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["eval", *map(str, arguments)])


def report(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_retrieval_is_measured_on_every_leg(folder: Path, tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.jsonl"
    found = report("retrieval", folder, "--output", rows_file)
    for leg in ("dense", "lexical", "hybrid"):
        assert found[leg]["ndcg@10"] == 1.0
        assert found[leg]["queries"] == 4
    for name in ("ndcg@10", "recall@10", "recall@100", "mrr@10", "queries"):
        assert found[name] == found["hybrid"][name]
    assert (found["corpus"], found["truncated_passages"], found["empty_entries"]) == (6, 1, 1)
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert len(rows) == 3 * 4
    assert next(r for r in rows if r["_id"] == "q-bees" and r["leg"] == "dense")["ranking"][0] == "bees"


def test_the_users_own_data_are_not_touched(folder: Path, tmp_path: Path) -> None:
    report("retrieval", folder)
    assert not (tmp_path / "own.db").exists()
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["eval"]


def test_a_second_run_embeds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = report("retrieval", folder)

    def embed_passages(self: BiEncoder, texts: list[str]) -> None:
        raise AssertionError(f"{len(texts)} passages were embedded again")

    monkeypatch.setattr(BiEncoder, "embed_passages", embed_passages)
    assert report("retrieval", folder) == first


def test_an_interrupted_load_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_corpus, "_SLICE", 2)
    embedded: list[str] = []
    embed = BiEncoder.embed_passages

    def stop_at_the_second_slice(self: BiEncoder, texts: list[str]) -> object:
        if embedded:
            raise KeyboardInterrupt
        embedded.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(BiEncoder, "embed_passages", stop_at_the_second_slice)
    assert run("retrieval", folder, "--json").exit_code != 0

    def record(self: BiEncoder, texts: list[str]) -> object:
        embedded.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(BiEncoder, "embed_passages", record)
    assert report("retrieval", folder)["ndcg@10"] == 1.0
    assert len(embedded) == len(set(embedded)) == len(TOPICS)


def test_two_evaluations_do_not_load_one_corpus_at_once(folder: Path, tmp_path: Path) -> None:
    report("retrieval", folder)
    (store,) = (tmp_path / "home" / "eval").iterdir()
    with FileLock(store / "load.lock"):
        result = run("retrieval", folder)
    assert result.exit_code == 1
    assert "ingest_in_progress" in result.stderr


def test_a_limit_takes_the_first_judged_queries(folder: Path) -> None:
    assert report("retrieval", folder, "--limit", 2)["queries"] == 2


def test_the_table_for_people_names_every_leg(folder: Path) -> None:
    shown = run("retrieval", folder).stdout
    assert all(word in shown for word in ("dense", "lexical", "hybrid", "4 queries over 6 documents"))


def test_a_wrong_folder_is_an_error_with_a_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq-bees\tnowhere\t1\n")
    monkeypatch.setattr("sys.argv", ["rag", "--json"])
    result = run("retrieval", folder, "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "invalid_request"
    assert "qrels.tsv:2" in error["message"]


def test_a_folder_without_judgments_has_nothing_to_measure(folder: Path) -> None:
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n")
    result = run("retrieval", folder)
    assert result.exit_code == 1
    assert "nothing to measure" in result.stderr


@pytest.mark.usefixtures("smollm_path")
def test_answers_are_measured_through_the_whole_pipeline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_GENERATOR", "smollm2-135m-instruct")
    monkeypatch.setenv("RAG_CONTEXT_TOKENS", "1024")
    monkeypatch.setenv("RAG_MAX_ANSWER_TOKENS", "24")
    monkeypatch.setenv("RAG_TOP_K", "2")
    monkeypatch.setenv("RAG_MIN_ANSWERABILITY", "0")
    monkeypatch.setenv("RAG_MIN_DENSE_SCORE", "0.3")
    rows_file = tmp_path / "rows.jsonl"
    found = report("answers", folder, "--output", rows_file)
    assert found["questions"] == found["answered"] + found["refused"] + found["failed"] == 5
    assert found["failed"] == 0
    # The tower is nowhere near: retrieval alone refuses it. The small model may fail the rest in its own ways.
    assert found["refusal_recall"] == 1.0
    assert found["best_dense_auc"] == 1.0
    assert found["reference_recall"] >= found["em"]
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert [row["_id"] for row in rows] == [*(f"q-{k}" for k in QUESTIONS), "q-none"]
    assert rows[-1]["refusal"] == "no_relevant_passage"
    assert all(row["confidence"] is not None for row in rows[:-1])
    assert sum(row["status"] == "answered" for row in rows) == found["answered"]


def test_a_folder_that_may_not_be_read_is_an_error_with_a_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(folder) and access(path, mode))
    (folder / "queries.jsonl").unlink()
    result = run("retrieval", folder)
    assert result.exit_code == 1
    assert "error[invalid_request]" in result.stderr
