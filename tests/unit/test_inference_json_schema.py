"""JSON schemas before they become a grammar: what is rewritten, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rag.errors import InvalidRequest, UnsupportedSampling
from rag.inference.sampling.json_schema import Dialect


def rewritten(schema: Any) -> dict[str, Any]:
    dialect = Dialect(json.dumps(schema))
    return dialect.definitions[dialect.start]


def chain(n: int, link: Any) -> dict[str, Any]:
    return {"$defs": {str(i): link(f"#/$defs/{i + 1}") for i in range(n)} | {str(n): {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"not": {}}, "not"),
        ({"if": {}, "then": {}}, "if"),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, "oneOf"),
        ({"allOf": [{"type": "null"}, {}]}, "allOf"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "contains": {}}, "contains"),
        ({"type": "array", "items": [{}]}, "items"),
        ({"type": "array", "items": False}, "false"),
        ({"type": "array", "prefixItems": [{}], "minItems": 2}, "prefixItems"),
        ({"type": "number", "multipleOf": 2}, "multipleOf"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "minimum"),
        ({"type": "integer", "minimum": 0}, "minimum"),
        ({"type": "integer", "minimum": 0, "maximum": 256}, "minimum"),
        ({"type": "integer", "exclusiveMinimum": 0}, "exclusiveMinimum"),
        ({"type": "string", "pattern": "^a+$"}, "pattern"),
        ({"type": "string", "format": "email"}, "format"),
        ({"type": "string", "format": "date", "maxLength": 3}, "maxLength"),
        ({"type": "string", "maxLength": 1001}, "maxLength"),
        ({"type": "string", "minItems": 1}, "minItems"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "required"),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, "additionalProperties"),
        ({"properties": {"a": {"type": "object", "minProperties": 1}}}, "minProperties"),
        ({"anyOf": [{"type": "null"}], "type": "object"}, "type"),
        ({"enum": [1], "minimum": 0}, "minimum"),
        ({"enum": list(range(257))}, "enum"),
        ({"$ref": "https://example.org/schema"}, r"\$ref"),
    ],
)
def test_what_cannot_be_kept_to_is_refused_by_its_keyword(schema: Any, keyword: str) -> None:
    with pytest.raises(UnsupportedSampling, match=f"`{keyword}` at #"):
        Dialect(json.dumps(schema))


def test_the_place_of_a_refused_keyword_is_named() -> None:
    schema = {"properties": {"a": {"items": {"$ref": "#/$defs/x"}}}, "$defs": {"x": {"not": {}}}}
    with pytest.raises(UnsupportedSampling, match="`not` at #/\\$defs/x"):
        Dialect(json.dumps(schema))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("3", "neither an object"),
        ('{"const": NaN}', "NaN"),
        ('{"const": 1e999}', "not JSON"),
        (r'{"const": "\ud800"}', "surrogate"),
        ('{"type": "text"}', "`type`"),
        ('{"type": {}}', "`type`"),
        ('{"type": ["null", "null"]}', "`type`"),
        ('{"anyOf": []}', "`anyOf`"),
        ('{"enum": []}', "`enum`"),
        ('{"type": "string", "enum": ["a", 1]}', "1"),
        ('{"$ref": "#/x"}', "not there"),
        ('{"$ref": 1}', "`\\$ref`"),
        ('{"$ref": "#"}', "leads to itself"),
        ('{"properties": []}', "`properties`"),
        ('{"type": "object", "required": "a"}', "`required`"),
        ('{"type": "string", "minLength": 3, "maxLength": 2}', "above"),
        ('{"type": "string", "maxLength": "2"}', "whole number"),
        ('{"type": "array", "minItems": -1}', "whole number"),
        ("[" * 60_000, "nested too deeply"),
        (" " * 65_537, "larger than 65536 bytes"),
        (json.dumps({"type": "array", "prefixItems": [{"type": "string", "maxLength": 1000}] * 5}), "too large"),
        (json.dumps({**chain(1500, lambda to: {"$ref": to}), "$ref": "#/$defs/0"}), "nested too deeply"),
    ],
)
def test_a_text_that_is_no_schema_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        Dialect(text)


def test_alternatives_that_cannot_be_told_apart_are_bounded() -> None:
    # Each level would double the readings that the grammar follows, and the paths its check for recursion walks.
    nested = chain(40, lambda to: {"anyOf": [{"$ref": to}, {"$ref": to}]})
    with pytest.raises(UnsupportedSampling, match="too many alternatives"):
        Dialect(json.dumps({**nested, "$ref": "#/$defs/0"}))
    lists = {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "array"}]}}
    with pytest.raises(UnsupportedSampling, match="refers to itself"):
        Dialect(json.dumps(lists))
    Dialect(json.dumps({"anyOf": [{"type": "object", "properties": {k: {}}} for k in "abc"]}))
    Dialect(json.dumps({"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}))


def test_annotations_are_left_out_and_anything_means_any_value() -> None:
    any_value = rewritten({"title": "T", "description": "d", "default": 1, "x-order": 2, "examples": []})
    assert {alternative["type"] for alternative in any_value["anyOf"]} == {
        "object", "array", "string", "number", "boolean", "null",
    }  # fmt: skip


def test_a_list_of_types_keeps_the_keywords_of_each() -> None:
    assert rewritten({"type": ["string", "null"], "maxLength": 5}) == {
        "anyOf": [{"type": "string", "minLength": 0, "maxLength": 5}, {"type": "null"}]
    }


def test_a_small_range_of_whole_numbers_becomes_a_choice() -> None:
    assert rewritten({"type": "integer", "minimum": -1, "maximum": 2.0}) == {"enum": [-1, 0, 1, 2]}


def test_references_get_names_that_occur_nowhere_else() -> None:
    schema = {
        "properties": {"shared-0": {"$ref": "#/$defs/a~1b%20c"}, "again": {"$ref": "#/$defs/a~1b%20c"}},
        "$defs": {"a/b c": {"const": "sharedd"}},
    }
    dialect = Dialect(json.dumps(schema))
    assert set(dialect.definitions) == {"shareddd-0", "shareddd-1"}
    properties = dialect.definitions[dialect.start]["properties"]
    assert properties["shared-0"] == properties["again"] == {"$ref": "shareddd-1"}
    assert dialect.definitions["shareddd-1"] == {"enum": ["sharedd"]}
