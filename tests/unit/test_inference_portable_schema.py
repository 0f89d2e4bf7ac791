"""What is sent to other programs as a JSON schema: nothing in it may be left to how they read it."""

from __future__ import annotations

import json

import pytest

from rag.errors import UnsupportedSampling
from rag.inference.sampling.portable_schema import portable_schema


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"maxLength": 3}, {"type": "string", "minLength": 0, "maxLength": 3}),
        ({"type": "object"}, {"type": "object", "additionalProperties": True}),
        ({"additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        (
            {"additionalProperties": {"minLength": 1}},
            {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
        ),
        (
            {"prefixItems": [{"type": "null"}, {"minLength": 1}], "items": {"type": "null"}},
            {
                "type": "array",
                "prefixItems": [{"type": "null"}, {"type": "string", "minLength": 1}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            {"items": {"properties": {"a": {"type": "null"}}}, "minItems": 1},
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"a": {"type": "null"}},
                    "required": [],
                    "additionalProperties": False,
                },
                "minItems": 1,
            },
        ),
        ({"type": ["null", "boolean"]}, {"anyOf": [{"type": "null"}, {"type": "boolean"}]}),
        ({"type": "integer", "minimum": 1, "maximum": 3}, {"enum": [1, 2, 3]}),
        ({"const": {"$ref": "#", "items": [1]}}, {"enum": [{"$ref": "#", "items": [1]}]}),
        ({"allOf": [{"format": "date"}]}, {"type": "string", "format": "date"}),
    ],
)
def test_what_a_schema_leaves_unsaid_is_said(schema: object, sent: object) -> None:
    assert portable_schema(json.dumps(schema)) == sent


def test_true_becomes_every_type_with_its_openness() -> None:
    alternatives = portable_schema("true")["anyOf"]
    assert {"type": "object", "additionalProperties": True} in alternatives
    assert {each["type"] for each in alternatives} == {"object", "array", "string", "number", "boolean", "null"}


def test_references_lead_to_definitions_whatever_they_were_called() -> None:
    schema = {"items": {"$ref": "#/$defs/a~1b%20c"}, "$defs": {"a/b c": {"type": "null"}}}
    assert portable_schema(json.dumps(schema)) == {
        "$ref": "#/$defs/shared-0",
        "$defs": {
            "shared-0": {"type": "array", "items": {"$ref": "#/$defs/shared-1"}, "minItems": 0},
            "shared-1": {"type": "null"},
        },
    }


def test_a_keyword_that_servers_pass_over_is_refused() -> None:
    with pytest.raises(UnsupportedSampling, match="`not` at #/items"):
        portable_schema(json.dumps({"items": {"type": "string", "not": {}}}))
