"""``GET /metrics``."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.api_library import ANSWERED, REFUSING, UNASKED, Hang, ScriptedLibrary
from tests.unit.test_api_routes import serving

ASK = {"question": "What?"}


async def figures(client):
    """Every sample by name and labels, as ``name{label=value}``."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(f"{{{label}={value}}}" for label, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_the_generators_figures():
    async with serving(ScriptedLibrary()) as client:
        found = await figures(client)
    expected = {
        "plumbline_requests{state=running}": 5,
        "plumbline_requests{state=queued}": 4,
        "plumbline_generator_requests_total": 7,
        "plumbline_generator_requests_unfinished_total{reason=rejected}": 1,
        "plumbline_generator_requests_unfinished_total{reason=failed}": 2,
        "plumbline_generator_requests_unfinished_total{reason=cancelled}": 3,
        "plumbline_tokens_total{kind=cached}": 100,
        "plumbline_tokens_total{kind=prefilled}": 200,
        "plumbline_tokens_total{kind=decoded}": 300,
        "plumbline_tokens_total{kind=drafted}": 40,
        "plumbline_tokens_total{kind=accepted}": 30,
        "plumbline_kv_cells": 4096,
        "plumbline_kv_cells_used": 1000,
        "plumbline_kv_bytes{tier=ram}": 1 << 20,
        "plumbline_kv_bytes{tier=disk}": 1 << 21,
        "plumbline_steps_total": 60,
        "plumbline_step_seconds_total": 12.5,
        "plumbline_python_seconds_total": 0.5,
    }
    assert {name: found.get(name) for name in expected} == expected


async def test_of_a_generator_that_is_not_loaded_nothing_is_said():
    library = ScriptedLibrary(loading=True)
    async with serving(library) as client:
        before = await figures(client)
        library.loaded.set()
        after = await figures(client)
    new = set(after) - set(before)
    assert "plumbline_kv_cells" in new
    assert "plumbline_requests{state=running}" in new
    assert "plumbline_queries" in before


@pytest.mark.parametrize("stream", [False, True])
async def test_answers_are_timed_by_stage(stream):
    library = ScriptedLibrary()
    async with serving(library) as client:
        await client.post("/v1/query", json={**ASK, "stream": stream})
        for script in (REFUSING, UNASKED):
            library.pipeline.script = script
            await client.post("/v1/query", json={**ASK, "stream": stream})
        found = await figures(client)
    # For one refusal the model read a prompt and wrote nothing, for the other it was not asked.
    expected = {"queue": (2, 0.03 + 0.02), "prefill": (2, 0.4 + 1.5), "first_token": (1, 0.7), "decode": (1, 3)}
    for name, (count, seconds) in expected.items():
        assert found[f"plumbline_answer_{name}_seconds_count"] == count
        assert found[f"plumbline_answer_{name}_seconds_sum"] == pytest.approx(seconds)
    assert found["plumbline_answer_seconds_sum{status=answered}"] == pytest.approx(6)
    assert found["plumbline_answer_seconds_sum{status=refused}"] == pytest.approx(2 + 0.01)


async def test_responses_are_counted_by_route_and_status():
    async with serving(ScriptedLibrary()) as client:
        await client.get("/v1/documents/1")
        await client.get("/v1/documents/2")
        await client.get("/nowhere/1")
        await client.get("/nowhere/2")
        await client.get("/health", headers={"host": "evil.example"})
        await client.post("/v1/query", json=ASK)
        found = await figures(client)
    counted = {name: value for name, value in found.items() if name.startswith("plumbline_http_requests_total")}
    assert counted == {
        "plumbline_http_requests_total{route=/v1/documents/{document_id}}{status=404}": 2,
        "plumbline_http_requests_total{route=none}{status=404}": 2,
        "plumbline_http_requests_total{route=/health}{status=421}": 1,
        "plumbline_http_requests_total{route=/v1/query}{status=200}": 1,
    }


async def test_admission_is_reported():
    library = ScriptedLibrary(Hang())
    async with serving(library, max_running=1, max_queued=0) as client:
        running = asyncio.create_task(client.post("/v1/query", json=ASK))
        await library.pipeline.arrivals.get()
        await client.post("/v1/query", json=ASK)
        found = await figures(client)
        running.cancel()
        await asyncio.wait({running})
    assert found["plumbline_queries"] == found["plumbline_queries_limit"] == 1
    assert found["plumbline_queries_rejected_total"] == 1


async def test_two_applications_share_nothing():
    async with serving(ScriptedLibrary(*ANSWERED)) as first, serving(ScriptedLibrary()) as second:
        await first.post("/v1/query", json=ASK)
        assert "plumbline_http_requests_total{route=/v1/query}{status=200}" not in await figures(second)
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("plumbline")]


async def test_foreign_host_names_see_nothing():
    async with serving(ScriptedLibrary()) as client:
        response = await client.get("/metrics", headers={"host": "evil.example"})
    assert (response.status_code, response.json()["code"]) == (421, "host_not_allowed")


async def test_openmetrics_where_it_is_preferred():
    async with serving(ScriptedLibrary()) as client:
        response = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
