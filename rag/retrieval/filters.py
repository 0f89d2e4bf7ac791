"""Filters in the JSON shape that Haystack publishes (docs.haystack.deepset.ai, "Metadata Filtering"), read and checked.

    {"operator": "AND", "conditions": [
        {"field": "media_type", "operator": "==", "value": "application/pdf"},
        {"field": "page", "operator": "<=", "value": 3}]}

Logic is two-valued: a chunk that has no value for a field (no page, say) fails every comparison but ``!=`` and
``not in``, and ``NOT`` is their plain opposite. ``== null`` finds those without a value.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast, get_args

from rag.errors import InvalidRequest
from rag.types import Comparison, ComparisonOperator, Filter, Junction, JunctionOperator
from rag.unicode import is_storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.types import FilterValue, MetadataValue, Scalar

# What can be filtered by, and the type of its values.
FIELDS: Final[Mapping[str, type[str | int | datetime]]] = {
    "document_id": int,
    "uri": str,
    "title": str,
    "media_type": str,
    "sha256": str,
    "size": int,
    "updated_at": datetime,
    "page": int,
    "ordinal": int,
    "token_count": int,
}

# What users said of their documents is filtered by ``meta.`` and the key, as the published shape has it.
METADATA: Final = "meta."
METADATA_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

# A filter becomes one SQL statement; these keep it far below SQLite's own limits.
_MAX_DEPTH: Final = 16
_MAX_COMPARISONS: Final = 200
_MAX_VALUES: Final = 1000
_MAX_VALUES_IN_ALL: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1
_LARGEST_NUMBER: Final = 2**53  # larger whole numbers are not exact as floating point, which is how they are compared

_COMPARISONS: Final[tuple[str, ...]] = get_args(ComparisonOperator)
_JUNCTIONS: Final[tuple[str, ...]] = get_args(JunctionOperator)
_LISTS: Final = ("in", "not in")
_ORDERING: Final = (">", ">=", "<", "<=")


def parse_metadata(value: Mapping[str, object]) -> dict[str, MetadataValue]:
    """Metadata of a document: values by key.

    Raises:
        InvalidRequest: a key or a value cannot be filtered by.
    """
    read: dict[str, MetadataValue] = {}
    for key, each in value.items():
        if METADATA_KEY.fullmatch(key) is None:
            raise InvalidRequest(
                f"{_shown(key)} cannot be a key of metadata.",
                hint="Use up to 100 letters (a to z, A to Z), digits, '_', '.' and '-' (these two not in front).",
            )
        try:
            read[key] = _metadata_value(each, f"metadata.{key}")
        except FilterProblem as problem:
            raise InvalidRequest(
                f"The metadata cannot be used: {problem.where} {problem.what}.",
                hint="Write it as text (in JSON: in quotes)." if isinstance(each, int | float) else "",
            ) from problem
    return read


def parse(value: object) -> Filter:
    """A filter from decoded JSON.

    Raises:
        InvalidRequest: it is not of this shape, names an unknown field, or compares it with a value of another type;
            the message says where.
    """
    return _Reader().read(value, "filters", depth=1)


class FilterProblem(InvalidRequest):
    """``what`` is wrong at ``where`` in a filter: ``filters.conditions[1].value``."""

    def __init__(self, where: str, what: str, *, hint: str = "docs/api.md shows the shape of filters.") -> None:
        super().__init__(f"The filter cannot be used: {where} {what}.", hint=hint)
        self.where = where
        self.what = what


def too_deep(where: str = "filters") -> FilterProblem:
    """The error for more levels than a filter may have."""
    return FilterProblem(where, f"is nested deeper than {_MAX_DEPTH} levels")


class _Reader:
    def __init__(self) -> None:
        self._comparisons = 0
        self._values = 0

    def read(self, value: object, where: str, *, depth: int) -> Filter:
        if not isinstance(value, dict):
            raise FilterProblem(where, "must be an object with an operator")
        if depth > _MAX_DEPTH:
            raise too_deep(where)
        operator = value.get("operator")
        if operator in _JUNCTIONS:
            return self._junction(value, where, depth=depth)
        if operator in _COMPARISONS:
            return self._comparison(value, where)
        known = ", ".join((*_JUNCTIONS, *_COMPARISONS))
        raise FilterProblem(f"{where}.operator", f"is {_shown(operator)}, but must be one of {known}")

    def _junction(self, value: dict[str, object], where: str, *, depth: int) -> Junction:
        _require_keys(value, {"operator", "conditions"}, where)
        conditions = value["conditions"]
        if not isinstance(conditions, list) or not conditions:
            raise FilterProblem(f"{where}.conditions", "must be a list of at least one condition")
        return Junction(
            operator=cast("JunctionOperator", value["operator"]),
            conditions=tuple(
                self.read(condition, f"{where}.conditions[{number}]", depth=depth + 1)
                for number, condition in enumerate(conditions)
            ),
        )

    def _comparison(self, value: dict[str, object], where: str) -> Comparison:
        _require_keys(value, {"operator", "field", "value"}, where)
        self._comparisons += 1
        if self._comparisons > _MAX_COMPARISONS:
            raise FilterProblem(where, f"is one comparison more than the {_MAX_COMPARISONS} that are allowed")
        field, operator = value["field"], cast("ComparisonOperator", value["operator"])
        if not isinstance(field, str) or (field not in FIELDS and not _is_metadata(field)):
            known = f"one of {', '.join(FIELDS)}, or {METADATA} and a key of the metadata"
            raise FilterProblem(f"{where}.field", f"is {_shown(field)}, but must be {known}")
        compared = _value(field, operator, value["value"], where)
        self._values += len(compared) if isinstance(compared, tuple) else 1
        if self._values > _MAX_VALUES_IN_ALL:
            raise FilterProblem(f"{where}.value", f"brings the values in all lists to more than {_MAX_VALUES_IN_ALL}")
        return Comparison(field=field, operator=operator, value=compared)


def _value(field: str, operator: str, value: object, where: str) -> FilterValue:
    where = f"{where}.value"
    if operator in _LISTS:
        if not isinstance(value, list) or len(value) > _MAX_VALUES:
            raise FilterProblem(where, f"must be a list of at most {_MAX_VALUES} values for {operator!r}")
        return tuple(_scalar(field, each, f"{where}[{number}]") for number, each in enumerate(value))
    if operator in _ORDERING and (value is None or isinstance(value, bool)):
        raise FilterProblem(where, f"is {json.dumps(value)}, which {operator!r} cannot compare with")
    return _scalar(field, value, where)


def _is_metadata(field: str) -> bool:
    return field.startswith(METADATA) and METADATA_KEY.fullmatch(field.removeprefix(METADATA)) is not None


def _scalar(field: str, value: object, where: str) -> Scalar:
    if value is None:
        return None
    if _is_metadata(field):
        return _metadata_value(value, where)
    wanted = FIELDS[field]
    if wanted is datetime:
        return _time(value, where)
    # In Python a bool is an int; in JSON it is not a number.
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise FilterProblem(where, f"is {_shown(value)}, but {field} is {_NAMES[wanted]}")
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise FilterProblem(where, "is a number beyond 64 bits")
    if isinstance(value, str):
        _require_storable(value, where)
    return value


def _metadata_value(value: object, where: str) -> MetadataValue:
    if isinstance(value, str):
        _require_storable(value, where)
        return value
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or not abs(value) <= _LARGEST_NUMBER:
        raise FilterProblem(where, f"is {_shown(value)}, but must be a text, a number up to 2^53, true or false")
    return value


def _require_storable(value: str, where: str) -> None:
    if not is_storable(value):
        raise FilterProblem(
            where,
            f"is {_shown(value)}, which is not Unicode text",
            hint="It holds half of a surrogate pair: write the whole pair (\\ud83d\\ude00), or the character as UTF-8.",
        )


def _time(value: object, where: str) -> datetime:
    try:
        if not isinstance(value, str):
            raise TypeError
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise FilterProblem(
            where, f"is {_shown(value)}, but must be an ISO 8601 time like 2026-01-31T12:00:00Z"
        ) from error


_NAMES: Final = {str: "a text", int: "a whole number"}


def _require_keys(value: dict[str, object], keys: set[str], where: str) -> None:
    if missing := sorted(keys - value.keys()):
        raise FilterProblem(where, f"lacks {' and '.join(missing)}")
    if unknown := sorted(value.keys() - keys):
        raise FilterProblem(where, f"has {_shown(unknown[0])}, which means nothing there")


def _shown(value: object) -> str:
    """As JSON has it, for the person who wrote that."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (RecursionError, ValueError):
        return "nested too deep to be shown"
    text = text if is_storable(text) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
