"""JSON Schema in the dialect that the grammar converter honours; a keyword it would pass over is refused by name.

llama-cpp-python's converter acts on the first keyword it knows and ignores the rest in silence, escapes literals
wrongly and mixes up rules of like names. So a schema is rewritten first: every subschema holds one thing the converter
does honour, references get names of their own, and what cannot be kept to is an error before anything runs.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn
from urllib.parse import unquote

from rag.errors import InvalidRequest, UnsupportedSampling

Schema = dict[str, Any]

_MAX_BYTES = 65_536
_MAX_LENGTH = 1_000  # of strings and arrays, where bounded; llama.cpp takes no more than about 2,000 repetitions
_MAX_SIZE = 4_000  # subschemas, enum values and length bounds together; each becomes a rule of the grammar
_MAX_CHOICES = 256  # of one enum, or properties of one object: all are followed at once while a name is spelled
_MAX_BRANCHES = 64  # ways to read one text that nested alternatives may leave open together
_ANNOTATIONS = frozenset(
    "$schema $id $comment $defs definitions title description default examples deprecated readOnly writeOnly".split()
)
_KEYWORDS: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "format"}),
    "integer": frozenset({"minimum", "maximum"}),
    "number": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
_FORMATS = ("date", "time", "date-time", "uuid")
_ANYTHING: Schema = {"anyOf": [{"type": t} for t in _KEYWORDS if t != "integer"]}


def _type_of(value: object) -> str:
    """The JSON type of a value that ``json.loads`` gave; "number" for every number."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "number"


def _refuse(keyword: str, at: str, why: str = "cannot be kept to while generating") -> NoReturn:
    raise UnsupportedSampling(
        f"`{keyword}` at {at} of the JSON schema {why}.",
        hint="Leave it out and check the result afterwards, or say it with type, properties, items, enum or anyOf.",
    )


def _require_alone(rest: Schema, keyword: str, at: str) -> None:
    for other in rest:
        if other != keyword:
            _refuse(other, at, f"cannot be combined with `{keyword}`")


def _invalid(what: str) -> NoReturn:
    raise InvalidRequest(f"The JSON schema is not valid: {what}.")


class Dialect:
    """A schema, rewritten. ``definitions`` maps names to subschemas that refer to each other by ``{"$ref": name}``;
    ``start`` is the name of the whole. No name occurs anywhere in the schema's text. ``recursive``: one of them leads
    back to itself.
    """

    def __init__(self, text: str) -> None:
        """Read and rewrite ``text``.

        Raises:
            InvalidRequest: it is no JSON, no schema, or too large; the message says where.
            UnsupportedSampling: it asks for something that the grammar cannot enforce; the message names it.
        """
        if len(text.encode("utf-8", errors="replace")) > _MAX_BYTES:
            raise InvalidRequest(f"The JSON schema is larger than {_MAX_BYTES} bytes.", hint="Shorten it.")
        self.definitions: dict[str, Schema] = {}
        self._names: dict[str, str] = {}
        self._open: set[str] = set()
        self.recursive = False
        self._unions: list[list[Schema]] = []
        self._known_kinds: dict[str, frozenset[str]] = {}
        self._size = 0
        try:
            self._root = json.loads(text, parse_constant=lambda name: _invalid(f"{name} is not a JSON value"))
            normal = json.dumps(self._root, ensure_ascii=False, allow_nan=False)
            normal.encode()
            self._prefix = "shared"
            while self._prefix in normal:
                self._prefix += "d"
            self.start = self._define("#", "#")
            self._check_unions()
        except RecursionError:
            _invalid("it is nested too deeply")
        except UnicodeEncodeError:
            _invalid("it contains half of a character (a lone surrogate)")
        except ValueError as error:
            _invalid(f"it is not JSON: {error}")

    def _define(self, pointer: str, at: str) -> str:
        name = self._names.get(pointer)
        if name is None:
            name = self._names[pointer] = f"{self._prefix}-{len(self._names)}"
            self._open.add(name)
            self.definitions[name] = self._node(self._resolve(pointer, at), pointer)
            self._open.remove(name)
        self.recursive |= name in self._open
        return name

    def _resolve(self, pointer: str, at: str) -> object:
        """What a JSON pointer (RFC 6901) within this schema points to."""
        if pointer != "#" and not pointer.startswith("#/"):
            _refuse("$ref", at, f"leads to {pointer!r}; only references within the schema (#/...) are followed")
        target = self._root
        for part in unquote(pointer).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
                target = target[int(key)]
            else:
                _invalid(f"`$ref` at {at} points to {pointer!r}, which is not there")
        return target

    def _count(self, more: int) -> None:
        self._size += more
        if self._size > _MAX_SIZE:
            raise InvalidRequest(
                f"The JSON schema is too large: over {_MAX_SIZE} subschemas, enum values and length bounds together.",
                hint="Leave length bounds out or split the request.",
            )

    def _node(self, schema: object, at: str) -> Schema:
        self._count(1)
        if schema is True:
            return _ANYTHING
        if schema is False:
            _refuse("false", at, "allows no value")
        if not isinstance(schema, dict):
            _invalid(f"{at} is neither an object nor a truth value")
        rest = {k: v for k, v in schema.items() if k not in _ANNOTATIONS and not k.startswith("x-")}
        for keyword, rewrite in (("$ref", self._reference), ("anyOf", self._any_of), ("allOf", self._all_of)):
            if keyword in rest:
                _require_alone(rest, keyword, at)
                return rewrite(rest[keyword], at)
        if "enum" in rest or "const" in rest:
            return self._enum(rest, at)
        return self._typed(rest, at)

    def _reference(self, pointer: object, at: str) -> Schema:
        if not isinstance(pointer, str):
            _invalid(f"`$ref` at {at} is not a text")
        return {"$ref": self._define(pointer, at)}

    def _any_of(self, alternatives: object, at: str) -> Schema:
        if not isinstance(alternatives, list) or not alternatives:
            _invalid(f"`anyOf` at {at} is not a list of schemas")
        return self._union([self._node(schema, f"{at}/anyOf/{i}") for i, schema in enumerate(alternatives)])

    def _all_of(self, schemas: object, at: str) -> Schema:
        if not isinstance(schemas, list) or len(schemas) != 1:
            _refuse("allOf", at, "can hold one schema only")
        return self._node(schemas[0], f"{at}/allOf/0")

    def _union(self, alternatives: list[Schema]) -> Schema:
        if len(alternatives) == 1:
            return alternatives[0]
        self._unions.append(alternatives)
        return {"anyOf": alternatives}

    def _enum(self, rest: Schema, at: str) -> Schema:
        values = [rest["const"]] if "const" in rest else rest["enum"]
        for other in rest:
            if other not in ("const", "type") and ("const" in rest or other != "enum"):
                _refuse(other, at, "cannot be combined with `enum` or `const`")
        if not isinstance(values, list) or not values:
            _invalid(f"`enum` at {at} is not a list of values")
        if len(values) > _MAX_CHOICES:
            _refuse("enum", at, f"has more than {_MAX_CHOICES} values")
        types = _types(rest["type"], at) if "type" in rest else ()
        for value in values:
            if types and not any(_fits(value, t) for t in types):
                _invalid(f"the value {json.dumps(value)} at {at} is not of type {', '.join(types)}")
        self._count(len(values))
        return {"enum": values}

    def _typed(self, rest: Schema, at: str) -> Schema:
        rest = dict(rest)
        if not rest:
            return _ANYTHING
        if "type" in rest:
            types = _types(rest.pop("type"), at)
        else:
            types = [t for t, known in _KEYWORDS.items() if known & rest.keys()][:1]
        for keyword in rest:
            if not any(keyword in _KEYWORDS[t] for t in types):
                _refuse(keyword, at)
        rewrite = {"object": self._object, "array": self._array, "string": self._string, "integer": self._integer}
        own = {t: {k: v for k, v in rest.items() if k in _KEYWORDS[t]} for t in types}
        return self._union([rewrite[t](own[t], at) if t in rewrite else {"type": t} for t in types])

    def _object(self, rest: Schema, at: str) -> Schema:
        properties, required = rest.get("properties", {}), rest.get("required", [])
        additional = rest.get("additionalProperties", True)
        if not isinstance(properties, dict):
            _invalid(f"`properties` at {at} is not an object")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            _invalid(f"`required` at {at} is not a list of names")
        for name in required:
            if name not in properties:
                _refuse("required", at, f"names {name!r}, which is not among the `properties`")
        if len(properties) > _MAX_CHOICES:
            _refuse("properties", at, f"has more than {_MAX_CHOICES} names")
        if not properties:
            if additional is True:
                return {"type": "object"}
            if additional is not False:
                additional = self._node(additional, f"{at}/additionalProperties")
            return {"type": "object", "additionalProperties": additional}
        if not isinstance(additional, bool):
            # The converter would let an additional name repeat a declared one, with a value of the wrong kind.
            _refuse("additionalProperties", at, "can be a schema only where there are no `properties`")
        nodes = {name: self._node(schema, f"{at}/properties/{name}") for name, schema in properties.items()}
        return {"type": "object", "properties": nodes, "required": required}

    def _array(self, rest: Schema, at: str) -> Schema:
        low, high = self._bounds(rest, "minItems", "maxItems", at)
        if "prefixItems" in rest:
            items = rest["prefixItems"]
            if not isinstance(items, list) or not items:
                _invalid(f"`prefixItems` at {at} is not a list of schemas")
            if len(items) < low or (high is not None and len(items) > high):
                _refuse("prefixItems", at, "must be as many as `minItems` and `maxItems` allow")
            nodes = [self._node(schema, f"{at}/prefixItems/{i}") for i, schema in enumerate(items)]
            return {"type": "array", "prefixItems": nodes}
        if isinstance(rest.get("items"), list):
            _refuse("items", at, "cannot be a list; use `prefixItems`")
        node: Schema = {"type": "array", "items": self._node(rest.get("items", True), f"{at}/items"), "minItems": low}
        return node if high is None else {**node, "maxItems": high}

    def _string(self, rest: Schema, at: str) -> Schema:
        if "format" in rest:
            _require_alone(rest, "format", at)
            if rest["format"] not in _FORMATS:
                _refuse("format", at, f"is {rest['format']!r}; the known ones are {', '.join(_FORMATS)}")
            return {"type": "string", "format": rest["format"]}
        low, high = self._bounds(rest, "minLength", "maxLength", at)
        node: Schema = {"type": "string", "minLength": low}
        return node if high is None else {**node, "maxLength": high}

    def _integer(self, rest: Schema, at: str) -> Schema:
        if not rest:
            return {"type": "integer"}
        low, high = _whole(rest.get("minimum")), _whole(rest.get("maximum"))
        if low is None or high is None or not 0 <= high - low < _MAX_CHOICES:
            _refuse(next(iter(rest)), at, f"needs both a minimum and a maximum, fewer than {_MAX_CHOICES} apart")
        self._count(high - low)
        return {"enum": list(range(low, high + 1))}

    def _bounds(self, rest: Schema, least: str, most: str, at: str) -> tuple[int, int | None]:
        low, high = _whole(rest.get(least, 0)), _whole(rest.get(most))
        for keyword, value in ((least, low), (most, high)):
            if (value is None and keyword in rest) or (value is not None and value < 0):
                _invalid(f"`{keyword}` at {at} is not a whole number of at least 0")
            if value is not None and value > _MAX_LENGTH:
                _refuse(keyword, at, f"is {value}, above {_MAX_LENGTH}")
        low = low or 0
        if high is not None and high < low:
            _invalid(f"`{least}` at {at} is above `{most}`")
        self._count(low if high is None else high)
        return low, high

    def _check_unions(self) -> None:
        """Keep in bounds how many readings of one text the grammar has to follow at once: they multiply by nesting."""
        for name in self.definitions:
            self._kinds({"$ref": name})
        branches = 1
        for alternatives in self._unions:
            kinds = [kind for node in alternatives for kind in self._kinds(node)]
            branches *= len(alternatives) if len(kinds) > len(set(kinds)) else 1
        if branches > (1 if self.recursive else _MAX_BRANCHES):
            raise UnsupportedSampling(
                "The JSON schema has too many alternatives of the same type in `anyOf`"
                + (" for one that refers to itself." if self.recursive else f" ({branches} in all)."),
                hint="Use `enum` for a choice of values; give the alternatives different types.",
            )

    def _kinds(self, node: Schema) -> frozenset[str]:
        """The JSON types a value may have; each begins with characters of its own."""
        if "$ref" in node:
            name = node["$ref"]
            if name in self._open:
                _invalid("a `$ref` leads to itself with nothing in between")
            if name not in self._known_kinds:
                self._open.add(name)
                self._known_kinds[name] = self._kinds(self.definitions[name])
                self._open.remove(name)
            return self._known_kinds[name]
        if "anyOf" in node:
            return frozenset().union(*map(self._kinds, node["anyOf"]))
        if "enum" in node:
            return frozenset(map(_type_of, node["enum"]))
        return frozenset({"number" if node["type"] == "integer" else node["type"]})


def _whole(value: object) -> int | None:
    """A JSON number without a fraction (1.0 is one); None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _fits(value: object, name: str) -> bool:
    return _whole(value) is not None if name == "integer" else _type_of(value) == name


def _types(value: object, at: str) -> list[str]:
    types: list[Any] = value if isinstance(value, list) else [value]
    if not types or any(not isinstance(t, str) or t not in _KEYWORDS for t in types) or len(set(types)) < len(types):
        _invalid(f"`type` at {at} is not one or several of {', '.join(_KEYWORDS)}")
    return types
