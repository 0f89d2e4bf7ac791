"""The routes over a scripted library, in process."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx2 as httpx
import pytest
from litestar.connection import ASGIConnection

from api import service
from api.app import create_app
from api.callers import client_key
from rag.config import Settings
from rag.errors import ModelMissing
from rag.factory import open_library
from rag.model_types import Caller, Priority
from rag.types import Comparison
from tests.contracts.store_builders import fingerprint, ingest
from tests.unit.api_library import (
    ANSWER,
    PASSAGE,
    REFUSING,
    TEXT,
    ScriptedCheck,
    ScriptedLibrary,
    make_document,
)


@asynccontextmanager
async def serving(library, *, ready_wait_s=60.0, **settings):
    app = create_app(Settings(_env_file=None, **settings), library, ready_wait_s=ready_wait_s)
    transport = httpx.ASGITransport(app=app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def events_of(text):
    """Server-sent events as (name, data), by the format's own rules: blank lines end events, colons begin comments."""
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        yield fields["event"], json.loads(fields["data"])


async def test_query_answers_with_everything_a_reader_needs():
    library = ScriptedLibrary()
    async with serving(library) as client:
        response = await client.post("/v1/query", json={"question": "What?", "k": 3})
    assert response.status_code == 200
    assert library.pipeline.asked == [("What?", "default", 3)]
    body = response.json()
    assert body["status"] == "answered"
    assert body["text"] == TEXT
    assert body["refusal"] is None
    assert body["trace_id"] == ANSWER.trace_id
    assert body["usage"] == {
        "prompt_tokens": 90,
        "cached_tokens": 10,
        "prefilled_tokens": 80,
        "completion_tokens": 8,
        "drafted_tokens": 6,
        "accepted_tokens": 5,
        "kv_cells": 98,
        "passage_reuse": "stitched",
    }
    assert {name: body["timings"][name] for name in ("queue_ms", "prefill_ms", "decode_ms", "ttft_ms")} == {
        "queue_ms": 30,
        "prefill_ms": 400,
        "decode_ms": 3000,
        "ttft_ms": 700,
    }
    (citation,) = body["citations"]
    assert citation == {
        "number": 1,
        "document_id": 5,
        "chunk_id": 5,
        "uri": "/docs/Handbook.md",
        "title": "Handbook",
        "page": None,
        "heading_path": ["Inference", "KV cache"],
        "quote": "stores keys and values",
        "quote_span": {"start": 113, "end": 135},
        "answer_span": {"start": 0, "end": 26},
        "support": 0.9,
        "also_in": [],
    }
    (passage,) = body["passages"]
    assert passage["text"] == PASSAGE.chunk.text
    assert passage["span"] == {"start": 100, "end": 136}
    assert passage["scores"] == {"dense": 0.5, "lexical": None, "rerank": None, "fused": 0.5}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_query_says_for_whom_and_how_it_is_answered(stream, tmp_path):
    library = ScriptedLibrary()
    asked = {"timeout_s": 20, "priority": "batch", "deterministic": True, "adapter": "legal", "stream": stream}
    async with serving(library, lora_adapters={"legal": tmp_path}) as client:
        assert (await client.post("/v1/query", json={"question": "What?", **asked})).status_code == 200
        assert (await client.post("/v1/query", json={"question": "What?", "stream": stream})).status_code == 200
    first, second = library.pipeline.options
    assert (first["deterministic"], first["adapter"]) == (True, "legal")
    assert first["caller"].key == "127.0.0.1"  # the peer of httpx's in-process transport
    assert first["caller"].priority == Priority.BATCH
    assert 0 < first["caller"].timeout_s <= 20
    unasked = {"where": None, "as_of": None, "deterministic": False, "adapter": None}
    assert second == {"caller": Caller(key="127.0.0.1"), **unasked}


@pytest.mark.parametrize(("path", "question"), [("/v1/query", "question"), ("/v1/search", "query")])
async def test_a_filter_reaches_the_pipeline_and_a_wrong_one_is_refused(path, question):
    library = ScriptedLibrary()
    condition = {"field": "page", "operator": "<=", "value": 3}
    async with serving(library) as client:
        assert (await client.post(path, json={question: "What?", "filters": condition})).status_code == 200
        refused = await client.post(path, json={question: "What?", "filters": {**condition, "field": "colour"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert 'filters.field is "colour"' in refused.json()["detail"]
    (options,) = library.pipeline.options
    assert options["where"] == Comparison(field="page", operator="<=", value=3)


@pytest.mark.parametrize(("path", "question"), [("/v1/query", "question"), ("/v1/search", "query")])
async def test_a_moment_reaches_the_pipeline_and_one_without_a_zone_is_refused(path, question):
    library = ScriptedLibrary()
    async with serving(library) as client:
        asked = await client.post(path, json={question: "What?", "as_of": "2026-01-31T13:00:00+01:00"})
        refused = await client.post(path, json={question: "What?", "as_of": "2026-01-31T13:00:00"})
    assert (asked.status_code, refused.status_code) == (200, 422)
    assert refused.json()["errors"][0]["pointer"] == "/as_of"
    (options,) = library.pipeline.options
    assert options["as_of"] == datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_changes_and_versions_are_read_page_by_page(tmp_path):
    with open_library(Settings(home=tmp_path, _env_file=None)) as real:
        collection = real.store.ensure_collection("default", fingerprint())
        first = ingest(real.store, collection, "/a", ["one"])
        ingest(real.store, collection, "/a", ["two"], seed=1)
        ingest(real.store, collection, "/b", ["three"], seed=2)
        real.store.delete(collection, [first.id])
        library = ScriptedLibrary()
        library.store, library.history = real.store, real.history
        async with serving(library) as client:
            pages, after = [], {}
            while after is not None:
                body = (await client.get("/v1/changes", params={"limit": 3, **after})).json()
                pages.append([(change["kind"], change["uri"]) for change in body["changes"]])
                after = {"after": body["next"]} if body["next"] else None
            last = body["changes"][-1]
            later = (await client.get("/v1/changes", params={"since": last["at"]})).json()
            versions = (await client.get(f"/v1/documents/{first.id}/versions")).json()["versions"]
            refused = [
                await client.get("/v1/changes", params=params)
                for params in ({"after": "7"}, {"since": "2026-01-31T13:00:00"}, {"since": "2999-01-01T00:00:00Z"})
            ]
            gone = await client.get("/v1/changes", params={"since": "2001-01-01T00:00:00Z"})
            unknown = await client.get("/v1/documents/999/versions")
    assert pages == [[("added", "/a"), ("replaced", "/a"), ("added", "/b")], [("deleted", "/a")]]
    assert later["changes"] == []
    assert [version["until"] for version in versions] == [last["at"], versions[0]["since"]]
    assert [response.status_code for response in refused] == [422, 422, 422]
    assert (gone.status_code, unknown.json()["code"]) == (200, "unknown_document")


@pytest.mark.parametrize(("asked", "bound"), [({}, 8), ({"timeout_s": 100}, 8), ({"timeout_s": 5.5}, 5.5)])
async def test_the_services_own_limit_bounds_a_requests_time(asked, bound):
    library = ScriptedLibrary()
    async with serving(library, request_timeout_s=8) as client:
        await client.post("/v1/query", json={"question": "What?", **asked})
    assert bound / 2 < library.pipeline.options[0]["caller"].timeout_s <= bound


async def test_waiting_for_the_models_is_part_of_a_requests_time():
    library = ScriptedLibrary(loading=True)
    async with serving(library) as client:
        refused = await client.post("/v1/query", json={"question": "What?", "timeout_s": 0.01})
        waiting = asyncio.create_task(client.post("/v1/query", json={"question": "What?", "timeout_s": 100}))
        await client.post("/v1/query", json={"question": "What?", "timeout_s": 0.01})  # the other one waits meanwhile
        library.loaded.set()
        assert (await waiting).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert library.pipeline.options[0]["caller"].timeout_s < 100


def test_clients_are_told_apart_by_their_address():
    def connection(client):
        return ASGIConnection({"type": "http", "client": client})

    assert client_key(connection(("192.0.2.7", 50000))) == "192.0.2.7"
    assert client_key(connection(("", 0))) == client_key(connection(None)) == ""


async def test_refusal_is_a_200_with_a_reason():
    async with serving(ScriptedLibrary(*REFUSING)) as client:
        response = await client.post("/v1/query", json={"question": "What?"})
    assert response.status_code == 200
    assert response.json()["status"] == "refused"
    assert response.json()["refusal"] == {
        "code": "not_in_passages",
        "reason": "Not in the passages.",
        "confidence": 0.1,
        "threshold": 0.2,
    }


@pytest.mark.parametrize(
    ("body", "headers"),
    [({"stream": True}, {}), ({}, {"accept": "text/event-stream"}), ({"stream": True}, {"accept": "application/json"})],
)
async def test_stream_has_the_same_shapes_as_json(body, headers):
    async with serving(ScriptedLibrary()) as client:
        whole = (await client.post("/v1/query", json={"question": "What?"})).json()
        response = await client.post("/v1/query", json={"question": "What?", **body}, headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = list(events_of(response.text))
    assert [name for name, _ in events] == ["passages", "delta", "citation", "done"]
    assert events[0][1] == {"passages": whole["passages"], "trace_id": whole["trace_id"]}
    assert events[1][1] == {"text": TEXT}  # its line break survives the framing
    assert events[2][1] == whole["citations"][0]
    assert events[3][1] == whole


async def test_stream_false_outweighs_the_accept_header():
    async with serving(ScriptedLibrary()) as client:
        response = await client.post(
            "/v1/query", json={"question": "What?", "stream": False}, headers={"accept": "text/event-stream"}
        )
    assert response.headers["content-type"] == "application/json"


async def test_a_refused_stream_ends_with_refused():
    async with serving(ScriptedLibrary(*REFUSING)) as client:
        response = await client.post("/v1/query", json={"question": "What?", "stream": True})
    events = list(events_of(response.text))
    assert [name for name, _ in events] == ["passages", "refused"]
    assert events[-1][1]["refusal"]["code"] == "not_in_passages"


async def test_search_returns_passages():
    library = ScriptedLibrary()
    async with serving(library) as client:
        response = await client.post("/v1/search", json={"query": "cache", "k": 7})
    assert response.status_code == 200
    assert library.pipeline.asked == [("cache", "default", 7)]
    assert [passage["chunk_id"] for passage in response.json()["passages"]] == [5]


async def test_documents_are_paged_by_id():
    documents = [make_document(number) for number in (2, 3, 5, 8, 13)]
    async with serving(ScriptedLibrary(documents=documents)) as client:
        pages, after = [], 0
        while after is not None:
            page = (await client.get("/v1/documents", params={"limit": 2, "after": after})).json()
            pages.append([document["id"] for document in page["documents"]])
            after = page["next"]
    assert pages == [[2, 3], [5, 8], [13]]


async def test_a_full_last_page_has_no_next():
    async with serving(ScriptedLibrary(documents=[make_document(1), make_document(2)])) as client:
        page = (await client.get("/v1/documents", params={"limit": 2})).json()
    assert page["next"] is None


async def test_one_document():
    async with serving(ScriptedLibrary(documents=[make_document(2), make_document(3)])) as client:
        found = (await client.get("/v1/documents/3")).json()
        assert (found["title"], found["language"]) == ("Document 3", None)
        assert found["quality"] == {"duplicates": 3, "near_duplicates": 0, "boilerplate": 0, "flaws": {"encoded": 1}}
        for absent in (1, 4, 0, -1, 2**63, 10**30):
            response = await client.get(f"/v1/documents/{absent}")
            assert (response.status_code, response.json()["code"]) == (404, "unknown_document")


async def test_collections():
    async with serving(ScriptedLibrary()) as client:
        assert (await client.get("/v1/collections")).json() == {
            "collections": [
                {
                    "name": "default",
                    "seq": 4,
                    "fingerprint": {"parser": "p1", "chunker": "c1", "embedder": "e1", "dimension": 3},
                    "dense_weight": None,
                    "index": {"seq": 3, "count": 7, "size": 56, "kind": "flat", "recall_at_10": 1.0},
                }
            ]
        }


async def test_ready_reports_checks_and_the_loaded_generator():
    async with serving(ScriptedLibrary()) as client:
        await client.post("/v1/search", json={"query": "waits for the models"})
        response = await client.get("/ready")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "checks": [{"name": "database", "ok": True, "detail": "revision 1"}],
        "generator": {
            "model": "m",
            "sha256": "f" * 64,
            "context_tokens": 2048,
            "threads": 2,
            "gpu_layers": 0,
            "backend": "CPU",
            "reuse": "",
            "passage_reuse": "exact",
        },
    }


async def test_while_models_load_health_answers_ready_says_so_and_queries_wait():
    library = ScriptedLibrary(loading=True)
    async with serving(library, ready_wait_s=0.01) as client:
        assert (await client.get("/health")).json()["status"] == "alive"
        ready = await client.get("/ready")
        refused = await client.post("/v1/query", json={"question": "What?"})
        library.loaded.set()
        answered = await client.post("/v1/query", json={"question": "What?"})
        while answered.status_code == 503:
            answered = await client.post("/v1/query", json={"question": "What?"})
    assert ready.status_code == 503
    assert ready.headers["retry-after"] == "5"
    assert ready.json()["checks"][0]["name"] == "models"
    assert "still loading" in ready.json()["checks"][0]["detail"]
    assert refused.status_code == 503
    assert refused.json()["code"] == "not_ready"
    assert refused.headers["retry-after"] == "5"
    assert answered.status_code == 200


async def test_models_that_do_not_load_leave_the_service_up_and_explain():
    error = ModelMissing("The model m is not here.", hint="Run: rag models pull m")
    checks = (ScriptedCheck("generator", ok=False, detail="missing"),)
    async with serving(ScriptedLibrary(error, load_error=error, checks=checks)) as client:
        query = await client.post("/v1/query", json={"question": "What?"})
        ready = await client.get("/ready")
        health = await client.get("/health")
    assert (query.status_code, query.json()["code"]) == (503, "model_missing")
    assert query.json()["hint"] == "Run: rag models pull m"
    assert ready.status_code == 503
    assert ready.json()["generator"] is None
    assert any("rag models pull m" in check["detail"] for check in ready.json()["checks"])
    assert health.status_code == 200


async def test_models_that_load_at_the_second_attempt_are_reported():
    async with serving(ScriptedLibrary(load_error=ModelMissing("It was not here."))) as client:
        await client.post("/v1/query", json={"question": "What?"})
        ready = await client.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["generator"]["model"] == "m"


@pytest.mark.parametrize(("pause_s", "attempts", "status"), [(0, 2, 200), (1000, 1, 503)])
async def test_asking_whether_it_is_ready_tries_failed_models_again(monkeypatch, pause_s, attempts, status):
    monkeypatch.setattr(service, "_RETRY_WARM_UP_S", pause_s)
    library = ScriptedLibrary(checks=(ScriptedCheck("generator", ok=False, detail="missing"),))
    made = []

    def warm_up():
        made.append(len(made))
        if len(made) == 1:
            raise ModelMissing("It was not here.")
        library.checks = (ScriptedCheck("generator", ok=True, detail="loaded"),)

    library.warm_up = warm_up
    async with serving(library) as client:
        await client.post("/v1/search", json={"query": "waits for the models"})
        first = await client.get("/ready")
        await client.post("/v1/search", json={"query": "waits for the models"})
        second = await client.get("/ready")
    assert (first.status_code, second.status_code) == (503, status)
    assert "It was not here" in first.text
    assert len(made) == attempts


async def test_a_failed_check_means_not_ready():
    checks = (ScriptedCheck("collection default", ok=False, detail="embedder changed"),)
    async with serving(ScriptedLibrary(checks=checks)) as client:
        await client.post("/v1/search", json={"query": "waits for the models"})
        ready = await client.get("/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"] == [{"name": "collection default", "ok": False, "detail": "embedder changed"}]


async def test_a_given_library_stays_open():
    library = ScriptedLibrary()
    async with serving(library):
        pass
    assert not library.closed


async def test_root_leads_to_the_schema():
    async with serving(ScriptedLibrary()) as client:
        index = (await client.get("/")).json()
        schema = await client.get(index["openapi"])
        yaml = await client.get("/schema/openapi.yaml")
    assert schema.json()["openapi"].startswith("3.1")
    assert "operationId: query" in yaml.text
