"""``rag ask``: what is asked of the library, and the line of figures below an answer."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from indexer.cli import main as indexer_main
from rag.cli import main as rag_main
from rag.commands import ask
from rag.commands.ask import filter_from
from rag.config import Settings
from rag.errors import InvalidRequest, UnknownAdapter
from rag.model_types import Caller
from rag.types import MOST_SOURCES, Comparison, OtherSource, Refusal, RefusalCode, SearchResult, Timings
from tests.unit.api_library import ANSWERED, REFUSING, UNASKED, ScriptedLibrary
from tests.unit.builders import make_passage


@pytest.fixture
def library():
    return ScriptedLibrary()


@pytest.fixture
def run(monkeypatch, library):
    monkeypatch.setattr(ask, "open_library", lambda settings: nullcontext(library))
    settings = Settings(_env_file=None, request_timeout_s=50, lora_adapters={"legal": "legal.gguf"})
    monkeypatch.setattr(ask, "load_settings", lambda: settings)

    def run(*arguments):
        result = CliRunner().invoke(ask.ask, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_line_below_an_answer_says_what_was_cached_and_when_the_first_token_came(run):
    figures = " ".join(run("What?").split())
    assert "first token 0.7 s" in figures
    assert "90 prompt tokens (10 cached, 80 prefilled)" in figures


def test_a_refusal_without_the_model_claims_no_tokens(run, library):
    library.pipeline.script = UNASKED
    assert "tokens" not in run("What?")


def test_a_refusal_by_the_model_says_what_was_read_for_it(run, library):
    library.pipeline.script = REFUSING
    assert "80 prompt tokens (0 cached, 80 prefilled)" in " ".join(run("What?").split())


def test_json_carries_the_whole_usage_and_the_times(run):
    answer = json.loads(run("What?", "--json"))
    assert answer["usage"] == {
        "prompt_tokens": 90,
        "cached_tokens": 10,
        "prefilled_tokens": 80,
        "completion_tokens": 8,
        "drafted_tokens": 6,
        "accepted_tokens": 5,
        "kv_cells": 98,
        "passage_reuse": "stitched",
    }
    assert (answer["timings"]["queue_ms"], answer["timings"]["ttft_ms"]) == (30, 700)


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_options_reach_the_pipeline(run, library, extra):
    where = '{"field": "page", "operator": "<=", "value": 3}'
    run(
        "What?",
        "-k",
        "3",
        "--filter",
        where,
        "--as-of",
        "2026-01-31T12:00:00Z",
        "--deterministic",
        "--adapter",
        "legal",
        *extra,
    )
    run("What?", *extra)
    assert library.pipeline.asked == [("What?", "default", 3), ("What?", "default", None)]
    caller = Caller(timeout_s=50)
    assert library.pipeline.options == [
        {
            "where": Comparison(field="page", operator="<=", value=3),
            "as_of": datetime(2026, 1, 31, 12, tzinfo=UTC),
            "caller": caller,
            "deterministic": True,
            "adapter": "legal",
        },
        {"where": None, "as_of": None, "caller": caller, "deterministic": False, "adapter": None},
    ]


def test_an_adapter_that_is_not_there_is_told_before_anything_is_asked(run, library):
    run("What?")  # known to fail only for its adapter
    result = CliRunner().invoke(ask.ask, ["What?", "--adapter", "nope"])
    assert isinstance(result.exception, UnknownAdapter)
    assert "legal" in result.exception.hint
    assert len(library.pipeline.asked) == 1


def test_other_sources_are_named_with_the_passage_and_with_the_citation(run, library, monkeypatch):
    copies = [make_passage("As before.", id=90 + number, title=f"Copy {number}") for number in range(5)]
    also_in = tuple(OtherSource(chunk=each.chunk, document=each.document) for each in copies)
    found, *between, done = ANSWERED
    citations = tuple(replace(each, also_in=also_in) for each in done.answer.citations)
    passages = tuple(replace(each, also_in=also_in[:2]) for each in found.passages)
    answered = replace(done, answer=replace(done.answer, citations=citations))
    library.pipeline.script = (replace(found, passages=passages), *between, answered)
    said = " ".join(run("What?").split())
    assert "also in Copy 0 (Copy 0.md) also in Copy 1 (Copy 1.md) also in Copy 2 (Copy 2.md) and in 2 more" in said
    assert [each["title"] for each in json.loads(run("What?", "--json"))["citations"][0]["also_in"]][-1] == "Copy 4"
    shown = " ".join(CliRunner().invoke(ask.search, ["What?"]).stdout.split())
    assert "also in Copy 1 (Copy 1.md)" in shown
    assert "more" not in shown
    most = tuple(replace(also_in[0], chunk=replace(also_in[0].chunk, id=number)) for number in range(MOST_SOURCES))
    passages = tuple(replace(each, also_in=most) for each in found.passages)
    library.pipeline.script = (replace(found, passages=passages), *between, answered)
    shown = " ".join(CliRunner().invoke(ask.search, ["What?"]).stdout.split())
    assert "and in at least 17 more" in shown, "others are not counted"


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_search_that_finds_nothing_says_why_beside_the_result(run, library, monkeypatch, extra):
    async def search(*_words, **_options):
        refusal = Refusal(code=RefusalCode.EMPTY_COLLECTION, reason="Nothing is there yet.")
        return SearchResult(passages=(), timings=Timings(), refusal=refusal)

    monkeypatch.setattr(library.pipeline, "search", search, raising=False)
    result = CliRunner().invoke(ask.search, ["What?", *extra])
    assert result.stderr == "Nothing found (empty_collection): Nothing is there yet.\n"
    if extra:
        assert json.loads(result.stdout).keys() == {"passages", "timings", "trace_id"}


def test_a_question_may_be_given_without_quotation_marks(run, library):
    run("What", "is", "it?", "-k", "3")
    CliRunner().invoke(ask.search, ["What", "is", "it?"], catch_exceptions=False)
    assert library.pipeline.asked == [("What is it?", "default", 3), ("What is it?", "default", None)]


def test_a_file_of_questions_may_begin_with_a_byte_order_mark(run, library, tmp_path):
    (tmp_path / "questions.txt").write_bytes("\ufeffWie heißt es?\n".encode())
    assert "› Wie heißt es?" in run("--file", str(tmp_path / "questions.txt"))


@pytest.mark.parametrize("levels", [17, 100_000])
def test_a_filter_that_is_nested_too_deep_is_told_as_that(levels):
    with pytest.raises(InvalidRequest, match="is nested deeper than 16 levels"):
        filter_from('{"operator": "NOT", "conditions": [' * levels + "]}" * levels)


@pytest.mark.parametrize("program", [rag_main, indexer_main])
@pytest.mark.parametrize("as_json", [True, False])
def test_values_of_options_that_nothing_could_make_right_are_wrong_usage(monkeypatch, program, as_json):
    arguments = {
        rag_main: [
            ["search", "What?", "--filter", "{"],
            ["search", "What?", "--filter", "{}"],
            ["ask", "What?", "--filter", "[]"],
            ["ask", "What?", "--as-of", "yesterday"],
            ["ask"],
            ["search", "What?", "-k", "many"],
            ["search", "What?", "--top-k", "3"],
            ["backup", ""],
            ["backup", "-"],
            ["restore", ""],
            ["restore", "-"],
            ["tune", "--queries", ""],
            ["eval", "retrieval", ""],
        ],
        indexer_main: [
            ["jobs", "none"],
            ["prune", "--older"],
            ["retain", "-1"],
            ["changes", "--since", "yesterday"],
            ["changes", "--until", ""],
            ["list", "-c", "\udcff"],
            ["ingest", "a.txt", "--meta", "year"],
            ["sync", ".", "--meta", "a b=1"],
            ["sync", ""],
            ["export", ""],
            ["export", "-"],
            ["import", ""],
            ["import", "-"],
            ["ingest", "a.txt", "-"],
        ],
    }
    for each in arguments[program]:
        given = [*each, "--json"] if as_json else each
        monkeypatch.setattr(sys, "argv", ["program", *given])
        result = CliRunner().invoke(program, given)
        assert result.exit_code == 2, result.output
        if as_json:
            assert json.loads(result.stdout)["error"]["code"] == "invalid_request"
        else:
            assert result.stderr
