"""The programs as people run them, with real models and every connection beyond this machine forbidden."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)

PATIENCE_S = 180
# What `rag` and `indexer` are, in a process where any name look-up or connection beyond loopback ends it.
OFFLINE = """
import socket, sys
def forbidden(*address, **_):
    sys.stderr.write(f"NETWORK {address}\\n"); sys.stderr.flush()
    import os; os._exit(99)
socket.getaddrinfo = forbidden
socket.socket.connect = lambda self, address: forbidden(address)
socket.socket.connect_ex = lambda self, address: forbidden(address)
from importlib import import_module
import_module(sys.argv.pop(1)).main(prog_name="program")
"""
LORA = (
    "# Adapters\n\n## LoRA\n\nLoRA reduces the number of trainable parameters of GPT-3 by 10,000 times.\n\n"
    "## Energy\n\nTraining GPT-3 consumed 1,287 MWh of electricity.\n"
)


class Terminal:
    def __init__(self, home: Path, models: Path) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAG_", "PIP_"))},
            "RAG_HOME": str(home),
            "RAG_MODELS_DIR": str(models),
            "RAG_GENERATOR": "smollm2-135m-instruct",
            "RAG_MIN_ANSWERABILITY": "0",  # a model of this size cannot judge; what is tested here is the way
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }

    def run(self, program: str, *arguments: object, status: int = 0, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, "-c", OFFLINE, f"{program}.cli", *map(str, arguments)],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def json(self, program: str, *arguments: object, status: int = 0, **environment: str) -> list[dict]:
        done = self.run(program, *arguments, "--json", status=status, **environment)
        assert done.stderr == ""
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory, models_dir, embedder_path, smollm_path) -> Terminal:
    home, documents = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("documents")
    (documents / "adapters.md").write_text(LORA, encoding="utf-8")
    terminal = Terminal(home, models_dir)
    terminal.run("indexer", "ingest", documents)
    return terminal


def test_an_answer_is_cited_or_refused_with_a_reason(terminal) -> None:
    (answer,) = terminal.json("rag", "ask", "By how much does LoRA reduce the trainable parameters of GPT-3?")
    assert answer["passages"]
    if answer["status"] == "answered":
        assert all(sentence["citations"] for sentence in answer["sentences"])
        for citation in answer["citations"]:
            assert citation["quote"] in LORA
    else:
        assert answer["refusal"]["reason"]


def test_the_answer_for_people_names_document_heading_and_quote(terminal) -> None:
    shown = terminal.run("rag", "ask", "How much does LoRA reduce the number of trainable parameters?").stdout
    assert "Adapters" in shown
    assert "LoRA" in shown
    assert "tokens/s" in shown or "No answer" in shown


def test_a_question_far_from_the_documents_is_refused_without_the_model(terminal) -> None:
    (answer,) = terminal.json("rag", "ask", "Which bus goes to the harbor on Sundays?")
    assert (answer["status"], answer["refusal"]["code"]) == ("refused", "no_relevant_passage")
    assert answer["usage"]["prompt_tokens"] == 0


def test_search_ranks_the_right_section_first(terminal) -> None:
    (found,) = terminal.json("rag", "search", "electricity used for training", "-k", 2)
    assert "1,287 MWh" in found["passages"][0]["text"]
    assert found["passages"][0]["heading_path"][-1] == "Energy"


def test_questions_from_a_file_are_independent(terminal, tmp_path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text(f"Which bus goes to the harbor?\n\n{'x' * 20001}\nWho sells bread here?\n", encoding="utf-8")
    first, second, third = terminal.json("rag", "ask", "--file", questions, status=1)
    assert (first["status"], third["status"]) == ("refused", "refused")
    assert second["error"]["code"] == "question_too_long"


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["ask", "  "], 1, "empty_question"),
        (["ask", "why?", "-c", "nowhere"], 1, "unknown_collection"),
        (["search", "why?", "-c", "nowhere"], 1, "unknown_collection"),
        (["models", "path", "no-such-model"], 1, "unknown_model"),
    ],
)
def test_errors_have_codes_and_hints(terminal, arguments, status, code) -> None:
    (body,) = terminal.json("rag", *arguments, status=status)
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    assert f"error[{code}]" in terminal.run("rag", *arguments, status=status).stderr


def test_usage_errors_exit_with_2(terminal) -> None:
    terminal.run("rag", "ask", status=2)
    terminal.run("rag", "search", "x", "-k", 0, status=2)


def test_the_doctor_finds_everything_working_and_names_what_is_not(terminal, tmp_path) -> None:
    (report,) = terminal.json("rag", "doctor")
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"], report
    assert "smollm2-135m-instruct: CPU" in checks["generator"]["detail"]
    assert re.match(r"can change .+ have .*network", checks["parsers"]["detail"])
    quick = terminal.run("rag", "doctor", "--quick").stdout
    assert "not loaded yet" in quick
    assert "fail" not in quick
    (report,) = terminal.json("rag", "doctor", status=1, RAG_MODELS_DIR=str(tmp_path))
    assert not report["ok"]
    assert any("rag models pull" in check["detail"] for check in report["checks"] if not check["ok"])


def test_models_can_be_verified_without_any_source(terminal) -> None:
    terminal.run("rag", "models", "verify", "all-minilm-l6-v2", "smollm2-135m-instruct")
    terminal.run("rag", "models", "pull", "all-minilm-l6-v2", "smollm2-135m-instruct")


def test_a_second_ingest_embeds_nothing(terminal) -> None:
    (source,) = terminal.json("indexer", "list")[:1]
    uri = (source.get("documents") or [source])[0]["uri"]
    summary = terminal.json("indexer", "ingest", uri)[-1]
    assert (summary["unchanged"], summary["chunks"]) == (1, 0)
