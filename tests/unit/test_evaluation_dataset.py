"""Evaluation folders: what is read, and that a wrong line is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag.errors import InvalidRequest, SourceNotFound
from rag.evaluation.dataset import load_dataset

CORPUS = [{"_id": "d1", "title": "One", "text": "first"}, {"_id": "d2", "title": "", "text": "second"}]
QUERIES = [{"_id": f"q{i}", "text": f"question {i}"} for i in range(6)]
QRELS = "query-id\tcorpus-id\tscore\nq3\td1\t2\nq3\td2\t0\nq1\td2\t1\nq0\td1\t-1\n"
ANSWERS = [{"_id": f"q{i}", "answers": ["yes"] if i < 4 else [], "answerable": i < 4} for i in range(6)]


def write(directory: Path, **files: object) -> Path:
    contents = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS, "answers.jsonl": ANSWERS}
    for name, content in {**contents, **{k.replace("_", "."): v for k, v in files.items()}}.items():
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (directory / name).write_text(text)
    return directory


def test_a_folder_is_read_in_file_order(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path))
    assert [(e.id, e.title, e.text) for e in dataset.corpus] == [("d1", "One", "first"), ("d2", "", "second")]
    assert dataset.qrels == {"q3": {"d1": 2}, "q1": {"d2": 1}}
    assert [q.id for q in dataset.judged_queries()] == ["q1", "q3"]
    assert [q.id for q in dataset.judged_queries(1)] == ["q1"]
    assert dataset.references["q5"].answerable is False


def test_the_corpus_hash_follows_the_corpus_alone(tmp_path: Path) -> None:
    before = load_dataset(write(tmp_path)).corpus_sha256
    assert load_dataset(write(tmp_path, queries_jsonl=[*QUERIES, {"_id": "q9", "text": "x"}])).corpus_sha256 == before
    assert load_dataset(write(tmp_path, corpus_jsonl=[*CORPUS, {"_id": "d3", "text": "x"}])).corpus_sha256 != before


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, ["q0", "q1", "q2", "q3", "q4", "q5"]),
        (1, ["q0"]),
        (2, ["q0", "q4"]),
        (3, ["q0", "q1", "q4"]),
        (5, ["q0", "q1", "q2", "q4", "q5"]),
        (6, ["q0", "q1", "q2", "q3", "q4", "q5"]),
        (99, ["q0", "q1", "q2", "q3", "q4", "q5"]),
    ],
)
def test_a_limit_mixes_answerable_and_unanswerable(tmp_path: Path, limit: int | None, expected: list[str]) -> None:
    dataset = load_dataset(write(tmp_path))
    assert [q.id for q in dataset.answer_queries(limit)] == expected


def test_one_kind_fills_up_for_the_other(tmp_path: Path) -> None:
    unanswerable = [{"_id": f"q{i}", "answers": [], "answerable": False} for i in range(5)]
    dataset = load_dataset(write(tmp_path, answers_jsonl=[*unanswerable, ANSWERS[0] | {"_id": "q5"}]))
    assert [q.id for q in dataset.answer_queries(4)] == ["q0", "q1", "q2", "q5"]


def test_numbers_are_answers_too(tmp_path: Path) -> None:
    rows = [{"_id": "q0", "answers": [12, 4.5, "six"], "answerable": True, "scale": "million"}]
    dataset = load_dataset(write(tmp_path, answers_jsonl=rows))
    assert dataset.references["q0"].answers == ("12", "4.5", "six")


def test_answers_are_needed_only_to_measure_answers(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "answers.jsonl").unlink()
    assert load_dataset(folder).references == {}
    with pytest.raises(InvalidRequest, match=r"answers\.jsonl cannot be read"):
        load_dataset(folder, need_answers=True)


def test_a_missing_folder_is_refused_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no folder") as caught:
        load_dataset(tmp_path / "absent")
    assert "queries.jsonl" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus_jsonl", '{"_id": "d1", "text": "a"}\n{"_id": "d2"\n', r"corpus\.jsonl:2 .*"),
        ("corpus_jsonl", '\n{"_id": "d1"}\n', r"corpus\.jsonl:2 .*missing required field `text`"),
        ("corpus_jsonl", '{"_id": 5, "text": "a"}\n', r"corpus\.jsonl:1 .*`str`"),
        ("corpus_jsonl", '{"_id": "d1", "text": "a"}\n' * 2, r"corpus\.jsonl:2 .*'d1' stands on an earlier line"),
        ("corpus_jsonl", "", r"corpus\.jsonl is empty"),
        ("qrels_tsv", "q1\td1\t1\n", r"qrels\.tsv:1 .*header"),
        ("qrels_tsv", "", r"qrels\.tsv:1 .*header"),
        ("qrels_tsv", QRELS + "q1\td1\n", r"qrels\.tsv:6 .*2 tab-separated fields"),
        ("qrels_tsv", QRELS + "q1\td1\t1.5\n", r"qrels\.tsv:6 .*'1\.5' is not a whole number"),
        ("qrels_tsv", QRELS + "q1\td9\t1\n", r"qrels\.tsv:6 .*'d9' is not in corpus"),
        ("qrels_tsv", QRELS + "q9\td1\t1\n", r"qrels\.tsv:6 .*'q9' is not in queries"),
        ("qrels_tsv", QRELS + "q3\td1\t1\n", r"qrels\.tsv:6 .*earlier line"),
        ("answers_jsonl", [{"_id": "q9", "answers": ["a"], "answerable": True}], r"answers\.jsonl:1 .*'q9' is not in"),
        ("answers_jsonl", [{"_id": "q1", "answers": [], "answerable": True}], r"answers\.jsonl:1 .*no answer"),
        ("answers_jsonl", [{"_id": "q1", "answers": [], "answerable": "no"}], r"answers\.jsonl:1 .*`bool`"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, name: str, content: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        load_dataset(write(tmp_path, **{name: content}))


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "\xff"}\n')
    with pytest.raises(InvalidRequest, match=r"queries\.jsonl:1 "):
        load_dataset(folder)
    write(folder)
    (folder / "qrels.tsv").write_bytes(QRELS.encode() + b"\xff\td1\t1\n")
    with pytest.raises(InvalidRequest, match=r"qrels\.tsv:6 "):
        load_dataset(folder)
