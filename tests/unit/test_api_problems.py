"""Every error as problem details, and what a browser must not be able to do."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from api import problems
from api.security import HostCheck, host_name, is_loopback
from rag import errors
from rag.config import Settings
from rag.errors import RagError, UnknownCollection
from rag.factory import open_library
from tests.unit.api_library import ANSWERED, Hang, ScriptedLibrary
from tests.unit.test_api_routes import events_of, serving

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - only passed on, never bound
ASK = {"question": "What?"}


def all_errors():
    return [value for name in errors.__all__ if issubclass(value := getattr(errors, name), RagError)]


def assert_problem(response, status, code):
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:plumbline:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert re.fullmatch(r"[0-9a-f]{32}", body["trace_id"])
    assert response.headers["x-trace-id"] == body["trace_id"]
    return body


async def test_every_library_error_becomes_a_problem():
    library = ScriptedLibrary()
    async with serving(library) as client:
        for error in all_errors():
            library.pipeline.script = (error("What happened.", hint="What to do."),)
            response = await client.post("/v1/query", json=ASK)
            body = assert_problem(response, problems.status_of(error), error.code)
            assert body["detail"] == "What happened."
            assert body["hint"] == "What to do."


def test_statuses_follow_the_kind_of_error():
    expected = {
        errors.EmptyQuestion: 422,
        errors.QuestionTooLong: 422,
        errors.InvalidSettings: 500,
        errors.UnknownCollection: 404,
        errors.EmbedderChanged: 409,
        errors.SourceDamaged: 422,
        errors.SourceTooLarge: 413,
        errors.ModelCorrupt: 503,
        errors.DatabaseBusy: 503,
        errors.DatabaseDamaged: 500,
        errors.DataDirectoryUnwritable: 507,
        errors.DiskFull: 507,
        errors.GenerationFailed: 500,
        errors.Overloaded: 429,
        errors.DeadlineExceeded: 504,
        errors.RemoteUnavailable: 502,
        errors.UnknownAdapter: 404,
        errors.UnsupportedSampling: 422,
    }
    assert {error: problems.status_of(error) for error in expected} == expected


def test_the_documentation_lists_every_code_with_its_status():
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert {code: int(status) for code, status in rows} == problems.problem_codes()


@pytest.mark.parametrize(
    ("path", "body", "code", "pointer"),
    [
        ("/v1/query", '{"question": 5}', "invalid_request", "/question"),
        ("/v1/query", "{}", "invalid_request", ""),
        ("/v1/query", "[]", "invalid_request", ""),
        ("/v1/query", "null", "invalid_request", ""),
        ("/v1/query", "[" * 100_000, "invalid_request", ""),
        ("/v1/query", '{"question": ' + "[" * 100_000, "invalid_request", "/question"),
        ("/v1/query", '{"question": "What?", "top_k": 5}', "invalid_request", "/top_k"),
        ("/v1/search", '{"query": "What?", "a/~b.c": 5}', "invalid_request", "/a~1~0b.c"),
        ("/v1/query", '{"question": "What?", "k": 0}', "invalid_request", "/k"),
        ("/v1/query", '{"question": "What?", "k": 101}', "invalid_request", "/k"),
        ("/v1/query", '{"question": "What?", "k": "5"}', "invalid_request", "/k"),
        ("/v1/query", '{"question": "What?", "k": 1.5}', "invalid_request", "/k"),
        ("/v1/query", '{"question": "What?", "stream": "true"}', "invalid_request", "/stream"),
        ("/v1/query", '{"question": "What?", "collection": ""}', "invalid_request", "/collection"),
        ("/v1/query", '{"question": "What?", "timeout_s": 0}', "invalid_request", "/timeout_s"),
        ("/v1/query", '{"question": "What?", "timeout_s": "5"}', "invalid_request", "/timeout_s"),
        ("/v1/query", '{"question": "What?", "priority": "urgent"}', "invalid_request", "/priority"),
        ("/v1/query", '{"question": "What?", "deterministic": 1}', "invalid_request", "/deterministic"),
        ("/v1/query", '{"question": "What?", "adapter": ""}', "invalid_request", "/adapter"),
        ("/v1/search", '{"question": "What?"}', "invalid_request", "/question"),
        ("/v1/search", '{"query": "What?", "filters": {}}', "invalid_request", "/filters/operator"),
        (
            "/v1/search",
            '{"query": "What?", "filters": {"operator": "OR", "conditions": [{"operator": "~"}]}}',
            "invalid_request",
            "/filters/conditions/0/operator",
        ),
        ("/v1/search", '{"query": "What?", "filters": ' + '{"operator": ' * 2000, "invalid_request", ""),
        ("/v1/query", '{"question": ""}', "empty_question", None),
        ("/v1/query", '{"question": " \\n\\u3000 "}', "empty_question", None),
        ("/v1/search", '{"query": " "}', "empty_question", None),
        ("/v1/query", '{"question": "' + "x" * 20_001 + '"}', "question_too_long", None),
    ],
)
async def test_requests_that_do_not_fit(path, body, code, pointer):
    library = ScriptedLibrary()
    async with serving(library) as client:
        response = await client.post(path, content=body, headers={"content-type": "application/json"})
    problem = assert_problem(response, 422, code)
    if pointer is not None:
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert library.pipeline.asked == []


async def test_a_field_that_is_not_known_is_told_with_those_that_are():
    async with serving(ScriptedLibrary()) as client:
        problem = (await client.post("/v1/search", json={"query": "What?", "filter": {}})).json()
    assert "unknown field `filter`" in problem["detail"]
    assert problem["hint"] == "Those that are known: query, collection, k, filters, as_of."


@pytest.mark.parametrize("body", ["", "{", '{"question": "What?"', b'{"question": "\xff"}', "question=What"])
async def test_what_is_not_json(body):
    async with serving(ScriptedLibrary()) as client:
        response = await client.post("/v1/query", content=body, headers={"content-type": "application/json"})
    assert_problem(response, 400, "malformed_json")
    assert "JSON object" in response.json()["hint"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_bodies_a_web_page_could_send_are_refused(media_type):
    library = ScriptedLibrary()
    async with serving(library) as client:
        response = await client.post("/v1/query", content='{"question": "?"}', headers={"content-type": media_type})
    assert_problem(response, 415, "unsupported_media_type")
    assert library.pipeline.asked == []


async def test_json_may_name_its_charset():
    async with serving(ScriptedLibrary()) as client:
        response = await client.post(
            "/v1/query", content='{"question": "?"}', headers={"content-type": "Application/JSON; charset=utf-8"}
        )
    assert response.status_code == 200


async def test_bodies_are_bounded():
    async with serving(ScriptedLibrary()) as client:
        response = await client.post("/v1/query", json={"question": "x" * (1 << 20)})
    assert_problem(response, 413, "body_too_large")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=many", "after=-1", "after=99999999999999999999", "collection="]
)
async def test_parameters_that_do_not_fit(query):
    async with serving(ScriptedLibrary()) as client:
        response = await client.get(f"/v1/documents?{query}")
    problem = assert_problem(response, 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [query.partition("=")[0]]
    assert f"schema: {query.partition('=')[0]}: " in problem["detail"]


async def test_a_parameter_that_is_missing_is_named():
    async with serving(ScriptedLibrary()) as client:
        problem = assert_problem(await client.delete("/v1/collections"), 422, "invalid_request")
    assert problem["errors"] == [{"pointer": "collection", "detail": "it is missing"}]
    assert "collection: it is missing" in problem["detail"]


async def test_compressed_bodies_are_refused_as_such():
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    async with serving(ScriptedLibrary()) as client:
        problem = assert_problem(
            await client.post("/v1/query", content=b"x", headers=headers), 415, "unsupported_media_type"
        )
    assert "gzip" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "unknown"),
    [
        ("GET", "/v1/documents?colection=manual&limit=3", ["colection"]),
        ("GET", "/v1/collections?collection=manual", ["collection"]),
        ("DELETE", "/v1/documents/7?purg=true&document_id=8", ["document_id", "purg"]),
        ("GET", "/v1/changes?from=7d", ["from"]),
    ],
)
async def test_parameters_that_are_not_known_are_refused(method, path, unknown):
    async with serving(ScriptedLibrary()) as client:
        response = await client.request(method, path)
        for harmless in ("/health?probe=1", "/?utm_source=x"):
            assert (await client.get(harmless)).status_code == 200
        assert (await client.options(path)).status_code < 300
    problem = assert_problem(response, 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == unknown
    assert ("limit" in problem["hint"]) == ("documents?" in path or "changes" in path)


async def test_unknown_collections():
    async with serving(ScriptedLibrary()) as client:
        for body in ({}, {"stream": True}):
            response = await client.post("/v1/query", json={**ASK, **body, "collection": "nowhere"})
            assert_problem(response, 404, "unknown_collection")
        assert_problem(
            await client.post("/v1/search", json={"query": "x", "collection": "nowhere"}), 404, "unknown_collection"
        )
        assert_problem(await client.get("/v1/documents?collection=nowhere"), 404, "unknown_collection")


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/documents/abc", "/v1/documents/1.5", "/schema/nowhere"])
async def test_unknown_paths(path):
    async with serving(ScriptedLibrary()) as client:
        assert_problem(await client.get(path), 404, "route_not_found")


async def test_unknown_methods_name_the_known_ones():
    async with serving(ScriptedLibrary()) as client:
        response = await client.get("/v1/query")
    assert_problem(response, 405, "method_not_allowed")
    assert "POST" in response.headers["allow"]


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/schema", "/v1/collections", "/v1/jobs", "/nowhere"])
async def test_head_is_answered_as_get_without_a_body(path):
    async with serving(ScriptedLibrary()) as client:
        asked, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (asked.status_code, b"")
    assert head.headers["content-type"] == asked.headers["content-type"]


async def test_methods_that_are_known_are_named_with_head():
    async with serving(ScriptedLibrary()) as client:
        for response in (await client.options("/v1/collections"), await client.put("/v1/collections")):
            assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
        response = await client.head("/v1/query")
        assert (response.status_code, set(response.headers["allow"].split(", "))) == (405, {"POST", "OPTIONS"})


@pytest.mark.parametrize("stream", [False, True])
async def test_unexpected_errors_say_nothing_about_the_inside_but_are_logged(stream, capsys):
    async with serving(ScriptedLibrary(ZeroDivisionError("secret path /home/someone"))) as client:
        response = await client.post("/v1/query", json={**ASK, "stream": stream})
    body = assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    logged = capsys.readouterr()
    assert body["trace_id"] in logged.out + logged.err
    assert "ZeroDivisionError" in logged.out + logged.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.GenerationFailed("The model stopped."), "generation_failed"), (ZeroDivisionError("x"), "internal_error")],
)
async def test_errors_after_the_first_event_are_events(error, code):
    async with serving(ScriptedLibrary(*ANSWERED[:2], error)) as client:
        response = await client.post("/v1/query", json={**ASK, "stream": True})
    events = list(events_of(response.text))
    assert response.status_code == 200
    assert [name for name, _ in events] == ["passages", "delta", "error"]
    assert events[-1][1]["code"] == code
    assert events[-1][1]["trace_id"] == response.headers["x-trace-id"]


async def test_queries_beyond_the_bound_are_turned_away_until_one_ends():
    library = ScriptedLibrary(Hang())
    async with serving(library, max_running=1, max_queued=1) as client:
        running = [asyncio.create_task(client.post("/v1/query", json=ASK)) for _ in range(2)]
        for _ in running:
            await library.pipeline.arrivals.get()
        response = await client.post("/v1/search", json={"query": "x"})
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        library.pipeline.script = ANSWERED
        after = await client.post("/v1/search", json={"query": "x"})
    assert assert_problem(response, 429, "overloaded")["queue_position"] == 2
    assert int(response.headers["retry-after"]) >= 1
    assert after.status_code == 200


async def test_a_full_generator_says_when_to_come_back_and_the_place_in_line():
    full = errors.Overloaded("64 requests are waiting.", retry_after_s=17, queue_position=65)
    async with serving(ScriptedLibrary(full)) as client:
        for stream in (False, True):
            response = await client.post("/v1/query", json={**ASK, "stream": stream})
            assert assert_problem(response, 429, "overloaded")["queue_position"] == 65
            assert response.headers["retry-after"] == "17"
    async with serving(ScriptedLibrary(ANSWERED[0], full)) as client:
        response = await client.post("/v1/query", json={**ASK, "stream": True})
    name, data = list(events_of(response.text))[-1]
    assert (name, data["code"], data["status"], data["queue_position"]) == ("error", "overloaded", 429, 65)


@pytest.mark.parametrize("settings", [{}, {"lora_adapters": {"legal": "legal.gguf"}}])
async def test_an_unknown_adapter_is_told_before_any_work(settings):
    library = ScriptedLibrary()
    async with serving(library, **settings) as client:
        response = await client.post("/v1/query", json={**ASK, "adapter": "medical", "stream": True})
    problem = assert_problem(response, 404, "unknown_adapter")
    assert ("legal" in problem["hint"]) == bool(settings)
    assert library.pipeline.asked == []


async def test_only_a_remote_server_knows_its_adapters():
    library = ScriptedLibrary()
    async with serving(library, generator_url="http://127.0.0.1:9/v1") as client:
        assert (await client.post("/v1/query", json={**ASK, "adapter": "medical"})).status_code == 200
    assert library.pipeline.options[0]["adapter"] == "medical"


async def test_failed_queries_give_their_place_back():
    async with serving(ScriptedLibrary(errors.GenerationFailed("no")), max_running=1, max_queued=0) as client:
        for stream in (False, True, False, True):
            response = await client.post("/v1/query", json={**ASK, "stream": stream})
            assert response.json()["code"] == "generation_failed"


@pytest.mark.parametrize("path", ["/health", "/", "/nowhere", "/schema"])
async def test_security_headers_are_on_every_response(path):
    async with serving(ScriptedLibrary()) as client:
        headers = (await client.get(path, headers={"origin": "http://evil.example"})).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]
    assert "server" not in headers


async def test_preflight_requests_get_no_permission():
    async with serving(ScriptedLibrary()) as client:
        response = await client.options(
            "/v1/query", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
        )
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.x"])
async def test_foreign_host_names_are_refused_on_loopback(host):
    async with serving(ScriptedLibrary()) as client:
        for path in ("/v1/collections", "/health", "/schema"):
            assert_problem(await client.get(path, headers={"host": host}), 421, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "localhost."])
async def test_loopback_names_are_served(host):
    async with serving(ScriptedLibrary()) as client:
        assert (await client.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({"host": EVERYWHERE}, "docs.example", 200),
        ({"host": EVERYWHERE, "allowed_hosts": ("docs.example",)}, "docs.example:80", 200),
        ({"host": EVERYWHERE, "allowed_hosts": ("docs.example",)}, "localhost", 200),
        ({"host": EVERYWHERE, "allowed_hosts": ("docs.example",)}, "evil.example", 421),
        ({"host": "127.0.0.1", "allowed_hosts": ("docs.example",)}, "docs.example", 200),
        ({"host": "::1"}, "evil.example", 421),
    ],
)
async def test_allowed_hosts(settings, host, status):
    async with serving(ScriptedLibrary(), **settings) as client:
        assert (await client.get("/health", headers={"host": host})).status_code == status


def test_loopback_addresses():
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LocalHost"]))
    assert not any(map(is_loopback, [EVERYWHERE, "::", "10.0.0.1", "example.org", ""]))
    assert host_name(" [::1]:80 ") == "[::1]"
    assert HostCheck(bound_host=EVERYWHERE)._names == frozenset()


@pytest.mark.parametrize(
    ("traceparent", "taken"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", True),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("\u00fc", False),
    ],
)
async def test_a_trace_that_the_caller_began_goes_on(traceparent, taken):
    async with serving(ScriptedLibrary()) as client:
        response = await client.get("/nowhere", headers={"traceparent": traceparent.encode("latin-1")})
    body = assert_problem(response, 404, "route_not_found")
    assert (body["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736") == taken


async def test_a_refused_host_is_logged_with_its_status(capsys):
    async with serving(ScriptedLibrary()) as client:
        response = await client.get("/v1/collections", headers={"host": "evil.example"})
    assert_problem(response, 421, "host_not_allowed")
    logged = capsys.readouterr()
    assert "status=421" in logged.out + logged.err


def test_the_documented_example_is_what_the_service_says(tmp_path):
    example = json.loads(re.findall(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)[0])
    with open_library(Settings(home=tmp_path, _env_file=None)) as library, pytest.raises(UnknownCollection) as caught:
        library.store.collection("reports")
    error = caught.value
    assert (example["code"], example["detail"], example["hint"]) == (
        error.code,
        error.message,
        problems.for_clients(error.hint),
    )
    assert (example["status"], example["title"]) == (problems.status_of(type(error)), problems.title_of(error.code))
