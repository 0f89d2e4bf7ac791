"""What every benchmark is told on its command line: the model, the threads, how much to run, and where to write it."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.catalog import Catalog
from rag.config import load_settings
from rag.errors import RagError
from rag.telemetry import configure_logging
from rag.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.catalog import ModelKind

_QUICK_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A number that is smaller in a ``--quick`` run."""

    full: int
    quick: int


class Options(argparse.ArgumentParser):
    """A parser that has the common arguments already. ``model`` comes out as a resolved model with its sha256."""

    def __init__(self, name: str, description: str | None, *, kind: ModelKind = "generator") -> None:
        super().__init__(
            prog=f"python -m benchmarks.{name}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._sizes: dict[str, Size] = {}
        self._kind = kind
        what = "a catalog name or a .gguf file" if kind == "generator" else "a catalog name"
        self.add_argument("model", nargs="?", help=f"{what} (default: the settings' {kind})")
        self.add_argument("--threads", type=int, default=0, help="threads of every side (default: all cores)")
        self.add_argument("--seed", type=int, default=0, help="of everything drawn by chance")
        self.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
        self.add_argument("--quick", action="store_true", help=f"{_QUICK_MODEL} and small sizes, to see that it runs")

    def size(self, flag: str, size: Size, meaning: str) -> None:
        """Add a whole number that a ``--quick`` run makes smaller."""
        self._sizes[flag.removeprefix("--").replace("-", "_")] = size
        self.add_argument(flag, type=int, metavar="N", help=f"{meaning} (default {size.full}, quick {size.quick})")

    def read(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse, and fill in what depends on other options. Exits with usage where the model cannot be used."""
        configure_logging(level=logging.INFO)
        options = self.parse_args(arguments)
        for name, size in self._sizes.items():
            if getattr(options, name) is None:
                setattr(options, name, size.quick if options.quick else size.full)
        options.threads = options.threads or available_threads()
        settings = load_settings()
        default = settings.embedder if self._kind == "embedder" else settings.generator
        small = options.quick and self._kind == "generator"
        try:
            wanted = options.model or (_QUICK_MODEL if small else default)
            options.model = Catalog.load(settings).resolve(wanted, kind=self._kind)
        except RagError as error:
            self.error(f"{error} {error.hint or ''}")
        return options


def stated(options: argparse.Namespace) -> dict[str, Any]:
    """The options as they belong into a report: what was measured, not where files lie."""
    left_out = {"model", "json", "threads", "llama_server", "llama_cpp_server_python"}
    return {
        name: value.name if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in left_out
    }
