"""What the HTTP API reads: JSON, where unknown fields are errors, and forms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar.datastructures import UploadFile
from msgspec import Meta

from rag.types import DEFAULT_COLLECTION

MAX_QUESTION_CHARACTERS = 20_000
MAX_K = 100

CollectionName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        extra_json_schema={"description": "Collection to search.", "examples": ["default"]},
    ),
]
PassageCount = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_K,
        extra_json_schema={"description": "Passages to retrieve; the server's setting if left out.", "examples": [6]},
    ),
]


def _question(description: str) -> Meta:
    # The bounds are for readers of the schema; api.requests checks them, with codes of their own.
    return Meta(
        extra_json_schema={
            "description": description,
            "examples": ["What does a KV cache store?"],
            "extra": {"min_length": 1, "max_length": MAX_QUESTION_CHARACTERS, "pattern": r"\S"},
        },
    )


_stream = Meta(
    extra_json_schema={"description": "Answer as server-sent events. If left out, the Accept header decides."}
)
Timeout = Annotated[
    float,
    Meta(
        gt=0,
        extra_json_schema={
            "description": "Seconds after which the request is given up; the server's setting may be shorter.",
            "examples": [30.0],
        },
    ),
]
_priority = Meta(
    extra_json_schema={"description": "`batch` waits while somebody's `interactive` request waits for the model."}
)
_deterministic = Meta(
    extra_json_schema={
        "description": "Write the answer so that asking again gives the same to the last bit, whatever else is running."
    }
)
AdapterName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        extra_json_schema={"description": "LoRA adapter to write the answer with, by its name in the settings."},
    ),
]


Filters = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "description": "Search only what this filter lets through: comparisons (`field`, `operator`, `value`) "
            "joined by `AND`, `OR` and `NOT` (`operator`, `conditions`).",
            "examples": [{"field": "media_type", "operator": "==", "value": "application/pdf"}],
        }
    ),
]


AsOf = Annotated[
    datetime,
    Meta(
        tz=True,
        extra_json_schema={
            "description": "Ask what the documents said at this time (RFC 3339) instead of what they say now.",
            "examples": ["2026-01-31T12:00:00Z"],
        },
    ),
]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of request bodies."""


class QueryRequest(Request, frozen=True, kw_only=True):
    """A question to answer from a collection's documents."""

    question: Annotated[str, _question("The question, in the documents' language. Must not be blank.")]
    collection: CollectionName = "default"
    k: PassageCount | None = None
    filters: Filters | None = None
    as_of: AsOf | None = None
    stream: Annotated[bool | None, _stream] = None
    timeout_s: Timeout | None = None
    priority: Annotated[Literal["interactive", "batch"], _priority] = "interactive"
    deterministic: Annotated[bool, _deterministic] = False
    adapter: AdapterName | None = None


class SearchRequest(Request, frozen=True, kw_only=True):
    """A query to find passages for, without asking the language model."""

    query: Annotated[str, _question("The words to search for. Must not be blank.")]
    collection: CollectionName = "default"
    k: PassageCount | None = None
    filters: Filters | None = None
    as_of: AsOf | None = None


class RenameRequest(Request, frozen=True, kw_only=True):
    """What a collection is called from now on."""

    name: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"examples": ["handbook"]})]


@dataclass(kw_only=True)
class UploadForm:
    """``file`` may be given several times; then there is no ``uri``. ``metadata`` is a JSON object."""

    file: list[UploadFile]
    collection: str = DEFAULT_COLLECTION
    uri: str | None = None
    metadata: str | None = None
