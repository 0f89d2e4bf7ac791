"""Filters are read from JSON, and every mistake is said with its place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rag.errors import InvalidRequest
from rag.retrieval.filters import FIELDS, parse, parse_metadata
from rag.stores.filtering import _COLUMNS
from rag.types import Comparison, Junction

PDF = {"field": "media_type", "operator": "==", "value": "application/pdf"}


def test_comparisons_are_joined():
    early = {"field": "page", "operator": "in", "value": [1, None]}
    assert parse({"operator": "AND", "conditions": [PDF, {"operator": "NOT", "conditions": [early]}]}) == Junction(
        operator="AND",
        conditions=(
            Comparison(field="media_type", operator="==", value="application/pdf"),
            Junction(operator="NOT", conditions=(Comparison(field="page", operator="in", value=(1, None)),)),
        ),
    )


@pytest.mark.parametrize("written", ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00"])
def test_times_are_read_as_utc(written):
    found = parse({"field": "updated_at", "operator": ">=", "value": written})
    assert found == Comparison(field="updated_at", operator=">=", value=datetime(2026, 1, 31, 12, tzinfo=UTC))


def nested(depth):
    return PDF if depth == 0 else {"operator": "AND", "conditions": [nested(depth - 1)]}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "filters must be an object"),
        ({}, "filters.operator is null"),
        ({"operator": ["AND"]}, r'filters.operator is \["AND"\]'),
        ({"operator": "~", "field": "page", "value": 1}, 'filters.operator is "~"'),
        ({"operator": "AND", "conditions": []}, "filters.conditions must be a list of at least one"),
        ({"operator": "AND"}, "filters lacks conditions"),
        ({"operator": "==", "field": "page"}, "filters lacks value"),
        ({**PDF, "extra": 1}, 'filters has "extra"'),
        ({"operator": "OR", "conditions": [PDF, 7]}, r"filters.conditions\[1\] must be an object"),
        ({**PDF, "field": "colour"}, 'filters.field is "colour", but must be one of document_id'),
        ({**PDF, "field": []}, "filters.field is"),
        ({**PDF, "value": 7}, "filters.value is 7, but media_type is a text"),
        ({"field": "page", "operator": "==", "value": True}, "is true, but page is a whole number"),
        ({"field": "page", "operator": "==", "value": {"a": None}}, r'is {"a": null}, but page is a whole number'),
        ({"field": "page", "operator": "==", "value": 1.5}, "is 1.5, but page is a whole number"),
        ({"field": "page", "operator": "==", "value": 2**64}, "beyond 64 bits"),
        ({"field": "page", "operator": "<", "value": None}, "is null, which '<' cannot compare"),
        ({"field": "page", "operator": "in", "value": 3}, "must be a list"),
        ({"field": "page", "operator": "in", "value": [1, "x"]}, r'filters.value\[1\] is "x"'),
        ({"field": "page", "operator": "in", "value": list(range(1001))}, "at most 1000 values"),
        ({"field": "updated_at", "operator": "==", "value": "yesterday"}, "ISO 8601"),
        ({"field": "updated_at", "operator": "==", "value": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
        ({"field": "meta.", "operator": "==", "value": 1}, 'filters.field is "meta.", but must be one of document_id'),
        ({"field": "meta.a b", "operator": "==", "value": 1}, "or meta. and a key"),
        ({"field": "meta.a", "operator": "==", "value": [1]}, "must be a text, a number up to 2.53, true or false"),
        ({"field": "meta.a", "operator": "==", "value": 2**53 + 1}, "must be a text, a number"),
        ({"field": "meta.a", "operator": "==", "value": float("nan")}, "must be a text, a number"),
        ({"field": "meta.a", "operator": "<", "value": True}, "is true, which '<' cannot compare"),
        ({"field": "uri", "operator": "==", "value": "\ud800"}, r'filters.value is "\\ud800", which is not Unicode'),
        ({"field": "title", "operator": "in", "value": ["a", "\udcff"]}, r"filters.value\[1\] is .* not Unicode text"),
        ({"field": "meta.a", "operator": "<", "value": "\ud800"}, "not Unicode text"),
        (
            {"operator": "OR", "conditions": [{"field": "meta.a", "operator": "in", "value": [1] * 1000}] * 11},
            r"filters.conditions\[10\].value brings the values in all lists to more than 10000",
        ),
        (nested(20), "nested deeper"),
        ({"operator": "OR", "conditions": [PDF] * 201}, r"filters.conditions\[200\] is one comparison more"),
    ],
)
def test_what_cannot_be_used_is_refused(value, says):
    with pytest.raises(InvalidRequest, match=says):
        parse(value)


@pytest.mark.parametrize("value", ["x", 7, 7.5, True, None])
def test_metadata_is_compared_with_values_of_any_type(value):
    found = parse({"field": "meta.project-2.name", "operator": "==", "value": value})
    assert found == Comparison(field="meta.project-2.name", operator="==", value=value)


@pytest.mark.parametrize("metadata", [{"a b": 1}, {"": 1}, {"x" * 101: 1}, {"a": None}, {"a": [1]}, {"a": "\ud800"}])
def test_metadata_that_no_filter_could_find_is_refused(metadata):
    with pytest.raises(InvalidRequest):
        parse_metadata(metadata)


@pytest.mark.parametrize(
    ("metadata", "says", "hint"),
    [
        ({"n": 2**53 + 1}, "^The metadata cannot be used: metadata.n is 9007199254740993, but", "as text"),
        ({"n": [1]}, "^The metadata cannot be used: metadata.n is", "text, a number"),
        ({"ü": 1}, "cannot be a key", "a to z"),
    ],
)
def test_metadata_is_refused_as_such(metadata, says, hint):
    with pytest.raises(InvalidRequest, match=says) as refused:
        parse_metadata(metadata)
    assert hint in f"{refused.value}"


def test_every_field_has_a_column():
    assert _COLUMNS.keys() == FIELDS.keys()
