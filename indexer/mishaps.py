"""Mistakes of the program that show on one source: they cost this source and are told, and the run goes on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rag.errors import SourceCrashed
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

# What mistakes raise. What the machine, the store or a model does wrong would be wrong for all sources.
_MISTAKES: Final = (ArithmeticError, AttributeError, LookupError, NameError, RecursionError, TypeError, ValueError)
# Libraries in Rust have each a class of this name, which is no Exception.
_PANIC: Final = "PanicException"

_log = get_logger("indexer")


def is_mishap(error: BaseException) -> bool:
    """Whether it is a mistake of the program, which another source need not meet."""
    return isinstance(error, _MISTAKES) or type(error).__name__ == _PANIC


@contextmanager
def mishaps_told(uri: str) -> Iterator[None]:
    """What is done for one source. Raises SourceCrashed where a mistake of the program ended it."""
    try:
        yield
    except BaseException as error:
        if not is_mishap(error):
            raise
        kind = type(error).__name__
        _log.exception("source crashed", uri=uri)
        raise SourceCrashed(
            f"{uri} met a mistake in Plumbline or a library of it ({kind}: {str(error)[:300]}).",
            hint="The log says where; please report it. Other files are not affected.",
        ) from error
