"""What several modules start: a small real model, and ``indexer`` over their ``home``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.programs import indexer
from tests.integration.scene import Scene
from tests.integration.solo import Solo, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from rag.inference.generator import LlamaGenerator


@pytest.fixture(scope="session")  # it keeps nothing from one use to the next
def solo(smollm_path: Path) -> Iterator[Solo]:
    solo = Solo(smollm_path)
    yield solo
    solo.free()


@pytest.fixture(scope="module")
def generator(smollm_path: Path) -> Iterator[LlamaGenerator]:
    generator = load(smollm_path)
    yield generator
    generator.close()


@pytest.fixture
def make(smollm_path: Path) -> Iterator[Callable[..., LlamaGenerator]]:
    made: list[LlamaGenerator] = []

    def build(**options: object) -> LlamaGenerator:
        made.append(load(smollm_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for generator in made:
        generator.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    return indexer(monkeypatch)
