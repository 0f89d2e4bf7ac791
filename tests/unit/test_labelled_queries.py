import json
from pathlib import Path

import pytest

from rag.errors import InvalidRequest, SourceNotFound
from rag.evaluation.labelled import read_labelled


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_each_way_to_say_what_is_relevant_is_read(tmp_path) -> None:
    file = written(
        tmp_path / "q.jsonl",
        {"query": "one", "uris": ["/a", "/a", "/b"]},
        "",
        {"query": "two", "chunk_ids": [4], "contains": ["Two  Years"]},
    )
    first, second = read_labelled(file)
    assert (first.text, first.uris, first.chunk_ids, first.contains) == ("one", {"/a": 1, "/b": 1}, (), ())
    assert (second.chunk_ids, second.contains, second.place) == ((4,), ("two years",), f"{file}:3")


def test_a_query_on_several_lines_counts_once_with_all_its_labels(tmp_path) -> None:
    file = written(
        tmp_path / "q.jsonl",
        {"query": "How long?", "uris": ["/a"], "contains": ["x"]},
        {"query": "another", "uris": ["/a"]},
        {"query": " how  LONG?", "uris": ["/b", "/a"], "chunk_ids": [4], "contains": ["X", "y"]},
    )
    first, second = read_labelled(file)
    assert (first.text, first.uris, first.place) == ("How long?", {"/a": 1, "/b": 1}, f"{file}:1")
    assert (first.chunk_ids, first.contains, second.text) == ((4,), ("x", "y"), "another")


def test_of_a_query_that_a_folder_has_twice_the_higher_grades_count(tmp_path) -> None:
    written(tmp_path / "queries.jsonl", {"_id": "1", "text": "one"}, {"_id": "2", "text": "One"})
    written(tmp_path / "qrels.tsv", "query-id\tcorpus-id\tscore", "1\t/a\t1", "2\t/a\t2", "2\t/b\t1")
    (query,) = read_labelled(tmp_path)
    assert query.uris == {"/a": 2, "/b": 1}


def test_a_folder_names_documents_by_uri_and_needs_no_corpus(tmp_path) -> None:
    written(tmp_path / "queries.jsonl", {"_id": "1", "text": "one"}, {"_id": "2", "text": "unjudged"})
    written(tmp_path / "qrels.tsv", "query-id\tcorpus-id\tscore", "1\t/a\t2", "1\t/b\t0")
    (query,) = read_labelled(tmp_path)
    assert (query.text, query.uris) == ("one", {"/a": 2})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"query": "one"}, "does not say what is relevant"),
        ({"query": " ", "uris": ["/a"]}, "matching regex"),
        ({"query": "one", "contains": [" "]}, "matching regex"),
        ({"query": "one", "uri": ["/a"]}, "unknown field `uri`"),
        ({"uris": ["/a"]}, "missing required field `query`"),
        ({"query": "one", "chunk_ids": [2**63]}, "Expected `int`"),
        ({"query": "one", "chunk_ids": [2**70]}, "Expected `int`"),
        ("{", "truncated"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path, line, why) -> None:
    file = written(tmp_path / "q.jsonl", {"query": "fine", "uris": ["/a"]}, line)
    with pytest.raises(InvalidRequest, match=f"q.jsonl:2 cannot be used: .*{why}"):
        read_labelled(file)


def test_a_folder_that_cannot_be_used_is_told_what_it_needs(tmp_path) -> None:
    with pytest.raises(InvalidRequest, match=r"queries\.jsonl cannot be read") as refused:
        read_labelled(tmp_path)
    assert "queries.jsonl {_id, text} and qrels.tsv" in refused.value.hint
    assert "corpus.jsonl" not in refused.value.hint


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(SourceNotFound, match=r"none.jsonl does not exist"):
        read_labelled(tmp_path / "none.jsonl")
