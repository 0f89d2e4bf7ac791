"""``rag eval`` on a small folder with the real embedder, store and language model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from rag.cli import main
from rag.commands import gate as gate_command
from rag.embedding.bi_encoder import BiEncoder
from rag.evaluation import corpus as evaluation_corpus
from rag.generators import GeneratorSource
from rag.inference.quality_gate import GateStore
from rag.inference.scripted import ScriptedGenerator
from rag.model_types import (
    ANYONE,
    GenerationChunk,
    PassageReuse,
    Priority,
    SegmentKind,
    TokenProbabilities,
    Usage,
)

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
    assert ": 1 query over 6 documents" in run("retrieval", folder, "--limit", 1).stdout


def test_all_ways_of_fusion_are_compared(folder: Path) -> None:
    found = report("fusion", folder, folder, "--limit", 3)
    assert [(each["dataset"], each["queries"]) for each in found["sets"]] == [("made", 3)] * 2
    for figures in found["sets"][0]["methods"].values():
        assert figures["equal"] == {"ndcg@10": 1.0, "ndcg@10_ci95": [1.0, 1.0]}
        assert set(figures["ndcg@10"]) == set(found["macro"]["convex"]["ndcg@10"])
    assert found["macro"]["rank 60"]["own_best"] == 1.0
    shown = run("fusion", folder, folder).stdout
    assert all(word in shown for word in ("convex", "rank 60", "4 queries", "mean of 2 sets"))


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
    monkeypatch.setenv("RAG_MAX_ANSWER_TOKENS", "16")
    monkeypatch.setenv("RAG_TOP_K", "1")
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


class Echo(ScriptedGenerator):
    """Answers with the passage that the question is about, or with something that no passage says."""

    def __init__(self, reuse: PassageReuse, *, right: bool, can_stitch: bool = True, stitches: bool = True) -> None:
        super().__init__()
        self._right = right
        self._placed: PassageReuse = reuse if can_stitch and stitches else "exact"
        self._info = replace(self._info, reuse="Prefixes only.", passage_reuse=reuse if can_stitch else "exact")

    async def next_token_probabilities(
        self, prompt, candidates, *, caller=ANYONE, adapter=None, deterministic=False
    ) -> TokenProbabilities:
        self.callers.append(caller)
        return TokenProbabilities(values=(0.9, 0.1), usage=Usage(prompt_tokens=96, cached_tokens=20))

    async def stream(self, prompt, params, *, caller=ANYONE):
        self.callers.append(caller)
        passages = [segment.text for segment in prompt.segments if segment.kind is SegmentKind.PASSAGE]
        yield GenerationChunk(text=passages[0].partition("\n")[2] if self._right else "Elephants juggle violins.")
        usage = Usage(prompt_tokens=100, cached_tokens=60, completion_tokens=9, passage_reuse=self._placed)
        yield GenerationChunk(text="", finish_reason="stop", usage=usage)


@dataclass
class Models:
    """What stands in for the loader. ``made`` are the generators in the order they were loaded."""

    made: list[tuple[PassageReuse, Echo]] = field(default_factory=list)
    right_when_stitched: bool = True
    can_stitch: bool = True
    stitches: bool = True
    disk_bytes: list[int] = field(default_factory=list)

    def open(self, source: GeneratorSource) -> Echo:
        assert all(generator.failure for _, generator in self.made), "two models in memory at once"
        reuse = source._measured_reuse or "exact"
        self.disk_bytes.append(source._settings.kv_disk_bytes)
        right = reuse == "exact" or self.right_when_stitched
        made = Echo(reuse, right=right, can_stitch=self.can_stitch, stitches=self.stitches)
        self.made.append((reuse, made))
        return made


@pytest.fixture
def models(tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    own = tmp_path / "models"
    own.mkdir()
    (own / "all-minilm-l6-v2").symlink_to(models_dir / "all-minilm-l6-v2", target_is_directory=True)
    monkeypatch.setenv("RAG_MODELS_DIR", str(own))
    monkeypatch.setenv("RAG_MIN_DENSE_SCORE", "0.3")
    models = Models()

    def open_source(source: GeneratorSource) -> Echo:
        return models.open(source)

    monkeypatch.setattr(GeneratorSource, "open", open_source)
    return models


@pytest.fixture
def few_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_command, "MIN_QUESTIONS", 5)


def test_answers_are_asked_as_a_batch_and_say_what_was_reused(folder: Path, models: Models) -> None:
    found = report("answers", folder)
    assert found["passage_reuse"] == "exact"
    assert (found["tokens_cached"], found["tokens_prefilled"], found["stitched_answers"]) == (20, 116, 0)
    ((_, generator),) = models.made
    assert {(caller.key, caller.priority) for caller in generator.callers} == {("evaluation", Priority.BATCH)}


@pytest.mark.usefixtures("few_suffice")
def test_the_gate_asks_twice_and_records_what_came_out(folder: Path, tmp_path: Path, models: Models) -> None:
    rows_file = tmp_path / "rows.jsonl"
    found = report("gate", folder, "--output", rows_file)
    assert sorted(reuse for reuse, _ in models.made) == ["exact", "stitched"]
    assert all(generator.failure for _, generator in models.made)
    assert found["passed"] is True
    assert found["not_recorded"] is None
    assert found["ratios"]["f1"] == found["ratios"]["citation_precision"] == 1.0
    assert found["exact"]["f1"] == found["stitched"]["f1"] > 0.5
    assert (found["exact"]["stitched_answers"], found["stitched"]["stitched_answers"]) == (0, 4)
    stored = GateStore(tmp_path / "models").find("0" * 64)
    assert stored.problem == ""
    record = stored.record
    assert record is not None
    assert found["recorded"] == str(GateStore(tmp_path / "models").path("0" * 64))
    assert (record.model, record.dataset, record.questions, record.passed) == ("scripted", "made", 5, True)
    assert record.settings["top_k"] == 6
    assert record.settings["min_dense_score"] == 0.3
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert {(row["run"], row["_id"]) for row in rows} == {
        (run, f"q-{name}") for run in ("exact", "stitched") for name in (*QUESTIONS, "none")
    }


@pytest.mark.usefixtures("few_suffice")
def test_a_gate_that_was_not_passed_is_recorded_too(folder: Path, tmp_path: Path, models: Models) -> None:
    models.right_when_stitched = False
    found = report("gate", folder)
    assert found["passed"] is False
    assert found["stitched"]["citation_precision"] is None
    record = GateStore(tmp_path / "models").find("0" * 64).record
    assert record is not None
    assert not record.passed
    assert record.stitched.f1 == 0


def test_too_few_questions_are_shown_but_not_recorded(folder: Path, tmp_path: Path, models: Models) -> None:
    found = report("gate", folder, "--limit", 4)
    assert found["questions"] == 4
    assert found["passed"] is None
    assert found["recorded"] is None
    assert "at least 40" in found["not_recorded"]
    assert found["exact"]["f1"] > 0.5
    assert GateStore(tmp_path / "models").find("0" * 64).record is None


@pytest.mark.usefixtures("few_suffice")
def test_a_run_in_which_nothing_was_stitched_proves_nothing(folder: Path, models: Models) -> None:
    models.stitches = False
    found = report("gate", folder)
    assert found["passed"] is None
    assert "stitched passages" in found["not_recorded"]


def test_a_model_that_cannot_be_stitched_is_told_before_anything_is_asked(folder: Path, models: Models) -> None:
    models.can_stitch = False
    result = run("gate", folder)
    assert result.exit_code == 1
    assert "cannot be stitched. Prefixes only." in result.stderr
    ((_, generator),) = models.made
    assert generator.callers == []


@pytest.mark.usefixtures("few_suffice")
def test_a_models_directory_that_cannot_be_written_is_told_before_anything_is_asked(
    folder: Path, tmp_path: Path, models: Models
) -> None:
    (tmp_path / "models" / ".gates").write_text("in the way")
    result = run("gate", folder)
    assert result.exit_code == 1
    assert "data_directory_unwritable" in result.stderr
    assert models.made == []


def test_a_remote_generator_has_no_gate(folder: Path, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_GENERATOR_URL", "http://127.0.0.1:1/v1")
    result = run("gate", folder)
    assert result.exit_code == 1
    assert "remote generator has no quality gate" in result.stderr
    assert models.made == []


@pytest.mark.usefixtures("few_suffice")
def test_the_gates_table_for_people_has_both_rows_and_the_verdict(folder: Path, models: Models) -> None:
    shown = run("gate", folder).stdout
    assert all(word in shown for word in ("exact", "stitched", "ratio", "citation_precision", "Gate passed"))
    models.right_when_stitched = False
    assert "Gate not passed" in run("gate", folder).stdout


def test_evaluation_leaves_no_model_state_on_disk(folder: Path, models: Models) -> None:
    report("answers", folder, "--limit", 2)
    assert models.disk_bytes == [0]
