"""What the service says of itself."""

from __future__ import annotations

from typing import Literal

from api.schemas import Response


class HealthResponse(Response, frozen=True, kw_only=True):
    """The process is alive and answers."""

    status: Literal["alive"]
    version: str


class Check(Response, frozen=True, kw_only=True):
    """One thing a query depends on."""

    name: str
    ok: bool
    detail: str


class Generator(Response, frozen=True, kw_only=True):
    """The language model as it is really loaded: ``gpu_layers`` were offloaded, 0 on a CPU.

    ``reuse`` says which model state can be reused, ``passage_reuse`` how passages are placed.
    """

    model: str
    sha256: str
    context_tokens: int
    threads: int
    gpu_layers: int
    backend: str
    reuse: str
    passage_reuse: str


class ReadyResponse(Response, frozen=True, kw_only=True):
    """Whether a query would be answered now, and if not, what is missing."""

    ready: bool
    checks: tuple[Check, ...]
    generator: Generator | None


class IndexResponse(Response, frozen=True, kw_only=True):
    """Where to go from the root."""

    name: str
    version: str
    openapi: str
    health: str
    ready: str
