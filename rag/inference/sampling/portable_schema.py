"""JSON schemas for other programs' converters, which pass over what they do not know as the one in process does."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from rag.inference.sampling.json_schema import Dialect

if TYPE_CHECKING:
    from rag.inference.sampling.json_schema import Schema

_POINTER = "#/$defs/"


@functools.lru_cache(maxsize=32)
def portable_schema(text: str) -> Schema:
    """``text`` rewritten as one JSON schema that says everything outright, for another program's converter: a type in
    every subschema, which additional properties and how many items there may be. It is shared: leave it as it is.

    llama-server ignores keywords it does not know, and vLLM's default backend those of subschemas without a type
    (vllm-project/vllm#57550) and most of ``allOf`` (#56556). Every value that fits the result fits ``text``.

    Raises:
        InvalidRequest, UnsupportedSampling: as ``Dialect``.
    """
    dialect = Dialect(text)
    definitions = {name: _explicit(node) for name, node in dialect.definitions.items()}
    if len(definitions) == 1 and not dialect.recursive:
        return definitions[dialect.start]
    return {"$ref": _POINTER + dialect.start, "$defs": definitions}


def _explicit(node: Schema) -> Schema:
    if "$ref" in node:
        return {"$ref": _POINTER + node["$ref"]}
    if "anyOf" in node:
        return {"anyOf": [_explicit(alternative) for alternative in node["anyOf"]]}
    if "properties" in node:
        properties = {name: _explicit(each) for name, each in node["properties"].items()}
        return {**node, "properties": properties, "additionalProperties": False}
    if node.get("type") == "object":
        additional = node.get("additionalProperties", True)
        return {**node, "additionalProperties": additional if isinstance(additional, bool) else _explicit(additional)}
    if "prefixItems" in node:
        count = len(node["prefixItems"])
        items = [_explicit(each) for each in node["prefixItems"]]
        return {**node, "prefixItems": items, "minItems": count, "maxItems": count}
    return {**node, "items": _explicit(node["items"])} if "items" in node else node
