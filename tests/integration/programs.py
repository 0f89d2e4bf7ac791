"""Programs called in the test's own process, and the models they find."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from indexer.cli import main
from rag.errors import UnknownModel
from rag.factory import Library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest
    from click.testing import Result

    from rag.embedding.fake import HashingEmbedder


def indexer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``indexer`` as a function of its arguments, which has to end with ``exit_code``."""

    def invoke(*arguments: str, exit_code: int = 0) -> Result:
        # The error report looks at the command line as the shell gave it.
        monkeypatch.setattr(sys, "argv", ["indexer", *arguments])
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


def lines(result: Result) -> list[dict[str, Any]]:
    """What a program printed with ``--json``: one object a line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def only_embedders(monkeypatch: pytest.MonkeyPatch, known: Mapping[str, HashingEmbedder]) -> None:
    """The catalog has these embedders and no other; the settings name ``hashing``."""

    def resolve(_self: Library, name: str) -> HashingEmbedder:
        if name not in known:
            raise UnknownModel(f"There is no model {name!r} in the catalog.")
        return known[name]

    monkeypatch.setattr(Library, "_open_embedder", resolve)
    monkeypatch.setenv("RAG_EMBEDDER", "hashing")
