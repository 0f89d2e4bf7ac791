"""Fixtures of the whole suite: logs as at the start, new databases in little time, two small real models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from rag.catalog import Catalog
from rag.config import Settings, load_settings
from rag.errors import ModelError
from rag.stores.sqlite import schema
from tests.new_databases import Upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def logging_as_at_the_start() -> Iterator[None]:
    """A command that configures the process's logs must not decide what later tests see."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def new_databases() -> Iterator[None]:
    """Of this process; programs that a test starts run all migrations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "upgrade", Upgrade())
        yield


def _present(settings: Settings, name: str) -> Path:
    catalog = Catalog.load(settings)
    try:
        return catalog.path(name)
    except ModelError:
        return catalog.pull(name).path


@pytest.fixture(scope="session")
def models_dir() -> Path:
    return load_settings().models_dir


@pytest.fixture(scope="session")
def embedder_path(models_dir: Path) -> Path:
    """The folder of all-MiniLM-L6-v2."""
    return _present(Settings(models_dir=models_dir), "all-minilm-l6-v2")


@pytest.fixture(scope="session")
def smollm_path(models_dir: Path) -> Path:
    """The GGUF file of SmolLM2 135M Instruct."""
    return _present(Settings(models_dir=models_dir), "smollm2-135m-instruct")
