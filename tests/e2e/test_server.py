"""``rag serve`` as people run it: real models, real documents, a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx2 as httpx
import pytest

pytestmark = pytest.mark.timeout(400)

PATIENCE_S = 180
PROGRAMS = Path(sys.executable).parent
CACHE = "# KV cache\n\nThe KV cache stores the keys and values of all past tokens, so that none is computed twice.\n"
TOWN = "The capital of Plumbland is Bobville. It has 1200 inhabitants.\n"


class Server:
    """A running ``rag serve`` and what it has said on standard error."""

    def __init__(self, environment, *arguments):
        self.process = subprocess.Popen(
            [PROGRAMS / "rag", "serve", *arguments], env=environment, stderr=subprocess.PIPE, text=True
        )
        self.said = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._listening.wait(PATIENCE_S)
        assert self.process.poll() is None or self.url, self.said
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line)
            if "listening on" in line:
                self._listening.set()
        self._listening.set()

    @property
    def url(self):
        lines = [line for line in self.said if "listening on" in line]
        assert lines, self.said
        return lines[0].split()[-1]

    def stop(self, with_signal=signal.SIGTERM):
        """Returns the exit status."""
        self.process.send_signal(with_signal)
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        self.process.stderr.close()
        self.client.close()
        return status


@pytest.fixture(scope="module")
def environment(tmp_path_factory, models_dir, embedder_path, smollm_path):
    home = tmp_path_factory.mktemp("home")
    documents = tmp_path_factory.mktemp("documents")
    (documents / "cache.md").write_text(CACHE, encoding="utf-8")
    (documents / "town.txt").write_text(TOWN, encoding="utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAG_")},
        "RAG_HOME": str(home),
        "RAG_MODELS_DIR": str(models_dir),
        "RAG_GENERATOR": "smollm2-135m-instruct",
        "RAG_MIN_ANSWERABILITY": "0",  # a model of this size cannot judge; what is tested here is the way
        "RAG_MAX_RUNNING": "1",
        "RAG_MAX_QUEUED": "0",
    }
    subprocess.run([PROGRAMS / "indexer", "ingest", documents], env=environment, check=True, capture_output=True)
    return environment


@pytest.fixture(scope="module")
def server(environment):
    server = Server(environment, "--port", "0")
    assert server.client.post("/v1/search", json={"query": "wait for the models"}).status_code == 200
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def client(server):
    return server.client


def events_of(text):
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            yield fields["event"], json.loads(fields["data"])


def test_it_is_alive_and_ready_and_says_what_is_loaded(client):
    assert client.get("/health").json()["status"] == "alive"
    ready = client.get("/ready")
    assert ready.status_code == 200, ready.text
    assert {check["name"] for check in ready.json()["checks"]} >= {"database", "embedder", "generator"}
    generator = ready.json()["generator"]
    assert generator["model"] == "smollm2-135m-instruct"
    assert len(generator["sha256"]) == 64
    assert generator["context_tokens"] > 0
    assert generator["gpu_layers"] >= 0


def test_a_question_is_answered_with_quotes_from_the_document(client):
    response = client.post("/v1/query", json={"question": "What is the capital of Plumbland?"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["status"] == "answered"
    assert "Bobville" in answer["text"]
    assert answer["trace_id"] == response.headers["x-trace-id"]
    for citation in answer["citations"]:
        span = citation["quote_span"]
        source = TOWN if citation["uri"].endswith("town.txt") else CACHE
        assert source[span["start"] : span["end"]] == citation["quote"]


def test_the_stream_ends_with_the_same_answer(client):
    question = {"question": "What is the capital of Plumbland?"}
    whole = client.post("/v1/query", json=question).json()
    events = list(events_of(client.post("/v1/query", json={**question, "stream": True}).text))
    names = [name for name, _ in events]
    assert names[0] == "passages"
    assert names[-1] == "done"
    assert "".join(data["text"] for name, data in events if name == "delta") == whole["text"]
    assert [data for name, data in events if name == "citation"] == whole["citations"]
    assert events[-1][1]["citations"] == whole["citations"]


def test_hanging_up_frees_the_only_place(client):
    with client.stream("POST", "/v1/query", json={"question": "Explain the KV cache.", "stream": True}) as response:
        assert next(response.iter_lines()) == "event: passages"
    status = 429
    while status == 429:
        status = client.post("/v1/query", json={"question": "What is the capital of Plumbland?"}).status_code
    assert status == 200


def test_documents_and_collections(client):
    assert [collection["name"] for collection in client.get("/v1/collections").json()["collections"]] == ["default"]
    first = client.get("/v1/documents", params={"limit": 1}).json()
    second = client.get("/v1/documents", params={"limit": 1, "after": first["next"]}).json()
    assert second["next"] is None
    found = first["documents"] + second["documents"]
    assert sorted(Path(document["uri"]).name for document in found) == ["cache.md", "town.txt"]
    details = client.get(f"/v1/documents/{found[0]['id']}").json()
    assert details.pop("quality") == {"duplicates": 0, "near_duplicates": 0, "boilerplate": 0, "flaws": {}}
    assert details == found[0]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"question": "What?", "collection": "nowhere"}, 404, "unknown_collection"),
        ({"question": "  "}, 422, "empty_question"),
        ({"question": "What is the capital of Plumbland? " * 500}, 422, "question_too_long"),  # for the model's context
    ],
)
def test_questions_that_cannot_be_answered_as_asked(client, body, status, code):
    for stream in (False, True):
        response = client.post("/v1/query", json={**body, "stream": stream})
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_taken_port_is_an_error_before_anything_is_loaded(server, environment):
    port = server.url.rpartition(":")[2]
    second = subprocess.run(
        [PROGRAMS / "rag", "serve", "--port", port],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 1
    assert "port_in_use" in second.stderr
    assert "--port" in second.stderr
    assert "Loading" not in second.stderr


def test_sigterm_is_a_clean_exit(server):
    assert server.stop() == 0
    assert not any("Traceback" in line for line in server.said)


def test_ctrl_c_while_models_load_is_a_clean_exit(environment):
    server = Server(environment, "--port", "0")
    assert server.client.get("/health").status_code == 200
    assert server.stop(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in server.said)


def test_a_host_that_cannot_be_bound(environment):
    done = subprocess.run(
        [PROGRAMS / "rag", "serve", "--host", "192.0.2.1", "--port", "0"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "invalid_settings" in done.stderr
