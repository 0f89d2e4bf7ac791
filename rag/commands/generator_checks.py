"""What ``rag doctor`` says of the generator: what it reuses, how it places passages and why, and its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.commands.pull_display import human_bytes
from rag.errors import RagError
from rag.followers import followers
from rag.readiness import Check
from rag.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rag.factory import Library
    from rag.protocols import Generator


def generator_checks(library: Library) -> list[Check]:
    """A line each; of a generator that is not loaded, what the settings and the files say."""
    generator, settings = library.loaded_generator, library.settings
    checks = []
    if generator is not None and generator.info.reuse:
        checks.append(Check(name="model state", ok=True, detail=generator.info.reuse))
    checks.append(_check("passages", lambda: library.generator_source.passage_placement(generator)[1]))
    checks.append(_check("deletions", lambda: _followers(library.generator_source.snapshot_directory)))
    if library.generator_source.remote_address is not None:
        return checks
    checks += [
        Check(name="speculation", ok=True, detail="on" if settings.speculation else "off"),
        _check("key-value cache", lambda: _bounds(library, generator)),
        Check(name="threads", ok=True, detail=_threads(settings.threads)),
    ]
    if settings.lora_adapters:
        checks.append(_adapters(settings.lora_adapters))
    return checks


def _check(name: str, say: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=say())
    except (RagError, OSError) as error:
        return Check(name=name, ok=False, detail=str(error))


def _bounds(library: Library, generator: Generator | None) -> str:
    settings = library.settings
    cells = generator.stats().kv_cells if generator is not None else settings.kv_tokens or 2 * settings.context_tokens
    stored = _size(library.generator_source.snapshot_directory)
    return (
        f"{cells} cells, then up to {human_bytes(settings.kv_ram_bytes)} of memory and "
        f"{human_bytes(settings.kv_disk_bytes)} of disk, where {human_bytes(stored)} lie"
    )


def _followers(directory: Path) -> str:
    pids = sorted(str(follower.pid) for follower in followers(directory / "followers"))
    return f"followed by every process with a model: {', '.join(pids)}" if pids else "no process has a model loaded"


def _size(directory: Path) -> int:
    """Bytes of all files below; 0 without the directory. A file that a running engine removes meanwhile is left out."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _threads(wanted: int) -> str:
    available = available_threads()
    may = f"affinity and quota allow {available}"
    return f"{wanted} by RAG_THREADS; {may}" if wanted else f"{available}: {may}"


def _adapters(adapters: Mapping[str, Path]) -> Check:
    missing = [f"{name} ({path})" for name, path in adapters.items() if not path.expanduser().is_file()]
    if missing:
        return Check(name="adapters", ok=False, detail=f"RAG_LORA_ADAPTERS: no such file: {', '.join(missing)}")
    return Check(name="adapters", ok=True, detail=", ".join(adapters))
