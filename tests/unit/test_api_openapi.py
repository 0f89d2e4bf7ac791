"""The published description of the API."""

from __future__ import annotations

import json

from docs.make_openapi import TARGET, openapi_document, render


def test_the_snapshot_is_current():
    assert TARGET.read_text(encoding="utf-8") == render(), "run: make docs"


def test_every_operation_is_named_described_and_answers_errors_with_problems():
    document = openapi_document()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert sorted(operation["operationId"] for operation in operations) == [
        "cancelJob",
        "deleteDocument",
        "dropCollection",
        "getDocument",
        "getJob",
        "health",
        "index",
        "listChanges",
        "listCollections",
        "listDocuments",
        "listJobFiles",
        "listJobs",
        "listVersions",
        "metrics",
        "query",
        "ready",
        "renameCollection",
        "search",
        "uploadDocuments",
    ]
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        for status, response in operation["responses"].items():
            if status >= "400" and operation["operationId"] != "ready":
                assert list(response["content"]) == ["application/problem+json"]
    assert all(schema.get("description") for schema in document["components"]["schemas"].values())


def test_requests_are_as_strict_as_the_service():
    shapes = openapi_document()["components"]["schemas"]
    for name, text in (("QueryRequest", "question"), ("SearchRequest", "query")):
        assert shapes[name]["additionalProperties"] is False
        assert shapes[name]["properties"][text]["maxLength"] == 20_000
        assert shapes[name]["properties"]["k"]["maximum"] == 100


def test_both_forms_of_an_answer_are_described_with_examples():
    content = openapi_document()["paths"]["/v1/query"]["post"]["responses"]["200"]["content"]
    assert sorted(content) == ["application/json", "text/event-stream"]
    assert content["application/json"]["example"]["status"] == "answered"
    assert "event: citation" in content["text/event-stream"]["example"]


def test_nothing_is_loaded_from_the_network():
    assert "http://" not in json.dumps(openapi_document())
    assert "https://" not in json.dumps(openapi_document())
