"""Settings to a generator: a local model with the reuse its quality gate allows, or a remote server."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rag.errors import InvalidSettings, UnknownAdapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rag.catalog import Catalog, ResolvedModel
    from rag.config import Settings
    from rag.inference.quality_gate import GateFinding
    from rag.model_types import PassageReuse
    from rag.protocols import Generator


def require_adapter(settings: Settings, name: str | None) -> None:
    """Check the name of an adapter before any work is done for it. What a remote server calls them is known there only.

    Raises:
        UnknownAdapter: the settings name none like it.
    """
    known = settings.lora_adapters
    if name is not None and not settings.generator_url and name not in known:
        there = f"those there are: {', '.join(sorted(known))}" if known else "none is configured"
        raise UnknownAdapter(f"There is no adapter '{name}'.", hint=f"RAG_LORA_ADAPTERS names adapters; {there}.")


class GeneratorSource:
    """Where the settings' generator comes from. Making one touches neither files nor a network.

    ``measured_reuse`` places passages that way whatever setting and gate say; it is for measuring the gate itself.
    """

    def __init__(
        self, settings: Settings, catalog: Callable[[], Catalog], *, measured_reuse: PassageReuse | None = None
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._measured_reuse = measured_reuse

    @property
    def remote_address(self) -> str | None:
        """The remote generator's address, without the credentials or the query it may hold; None for a local model.

        Raises:
            InvalidSettings: the setting is no URL.
        """
        url = self._settings.generator_url
        if not url:
            return None
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise InvalidSettings(
                f"RAG_GENERATOR_URL cannot be used: {error}.", hint="Give it like http://host:8080/v1"
            ) from error
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    @property
    def snapshot_directory(self) -> Path:
        """Where model state that outlives the process is kept."""
        return self._settings.home / "kv"

    def passage_placement(self, loaded: Generator | None = None) -> tuple[PassageReuse, str]:
        """How passages are placed in prompts, and why; whether the model's kind allows it is known once it is loaded.

        Raises:
            UnknownModel, ModelMissing, ModelCorrupt, ModelUnloadable: the generator's file cannot be used.
        """
        from rag.inference.quality_gate import effective_reuse

        if self.remote_address is not None:
            return "exact", "exact: the remote server reuses what it can by itself"
        if self._measured_reuse is not None:
            return self._measured_reuse, f"{self._measured_reuse}, as the quality gate's measurement asks"
        gate = self._gate
        placed = effective_reuse(self._settings, gate.record, kind_allows=True, problem=gate.problem)
        if loaded is not None and loaded.info.passage_reuse != placed[0]:
            return effective_reuse(self._settings, gate.record, kind_allows=False)
        return placed

    def check(self) -> None:
        """Whether the settings name something that can be a generator, before anything is loaded.

        Raises:
            UnknownModel, InvalidSettings: they do not.
            ModelMissing, ModelUnloadable: the file that they name is none.
        """
        if self.remote_address is None:
            self._catalog().require(self._settings.generator, kind="generator")

    def open(self) -> Generator:
        """Load the model, or connect to the server. Takes seconds.

        Raises:
            ModelError, UnknownModel: the local model cannot be used.
            RemoteUnavailable: the server cannot be reached.
            InvalidSettings: the settings contradict each other.
        """
        url = self._settings.generator_url
        return self._connect(url) if url else self._load()

    @property
    def _model(self) -> ResolvedModel:
        return self._catalog().resolve(self._settings.generator, kind="generator")

    @cached_property
    def _gate(self) -> GateFinding:
        """Read once: what is loaded stays as it was decided, whatever is recorded meanwhile."""
        from rag.inference.quality_gate import GateStore

        sha256 = self._model.sha256
        shipped = (entry.gate for entry in self._catalog().entries if entry.files[0].sha256 == sha256)
        return GateStore(self._settings.models_dir).find(sha256, shipped=next(shipped, None))

    def _load(self) -> Generator:
        from rag.inference.generator import LlamaGenerator
        from rag.inference.options import EngineOptions

        settings, model = self._settings, self._model
        reuse, _ = self.passage_placement()
        return LlamaGenerator.load(
            model.path,
            model_name=model.name,
            sha256=model.sha256,
            context_tokens=settings.context_tokens,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            options=EngineOptions(
                kv_tokens=settings.kv_tokens,
                max_running=settings.max_running,
                max_queued=settings.max_queued,
                speculation=settings.speculation,
                passage_reuse=reuse,
                passage_order=settings.passage_order,
                recomputed_passages=settings.recomputed_passages,
                kv_ram_bytes=settings.kv_ram_bytes,
                kv_disk_bytes=settings.kv_disk_bytes,
                snapshot_directory=self.snapshot_directory,
                adapters={name: path.expanduser() for name, path in settings.lora_adapters.items()},
            ),
        )

    def _connect(self, url: str) -> Generator:
        from rag.inference.remote.generator import RemoteGenerator

        settings = self._settings
        if settings.lora_adapters:
            raise InvalidSettings(
                "RAG_LORA_ADAPTERS cannot be used with RAG_GENERATOR_URL: the remote server loads its own adapters.",
                hint="Unset one of them.",
            )
        key = settings.generator_api_key
        return RemoteGenerator.connect(
            url,
            # The default names a file of the catalog, which says nothing about what the server calls its model.
            model=settings.generator if "generator" in settings.model_fields_set else None,
            api_key=key.get_secret_value() if key is not None else None,
            context_tokens=settings.context_tokens,
            timeout_s=settings.generator_timeout_s,
        )
