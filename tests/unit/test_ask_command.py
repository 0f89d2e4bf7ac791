"""``rag ask``: what is asked of the library, and the line of figures below an answer."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from rag.commands import ask
from rag.config import Settings
from rag.model_types import Caller
from rag.types import Comparison
from tests.unit.api_library import REFUSING, UNASKED, ScriptedLibrary


@pytest.fixture
def library():
    return ScriptedLibrary()


@pytest.fixture
def run(monkeypatch, library):
    monkeypatch.setattr(ask, "open_library", lambda settings: nullcontext(library))
    monkeypatch.setattr(ask, "load_settings", lambda: Settings(_env_file=None, request_timeout_s=50))

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
