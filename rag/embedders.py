"""The embedder of each collection: the one that made its vectors, found by the identity that is stored with them.

So a process that has collections of two embedders serves both, and goes on when one of them is embedded anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from rag.errors import EmbedderChanged, NotFound, RagError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.protocols import Embedder
    from rag.types import Collection

# Besides the configured one: each is some 100 MB once it has embedded something.
_HELD: Final = 2


class CollectionEmbedders:
    """Opens embedders by name when a collection needs them. Safe to share between threads."""

    def __init__(self, *, configured: Callable[[], Embedder], open_named: Callable[[str], Embedder]) -> None:
        self._configured = configured
        self._open_named = open_named
        self._opened: OrderedDict[str, Embedder] = OrderedDict()  # by identity, the last used at the end
        self._lock = threading.Lock()

    def of(self, collection: Collection) -> Embedder:
        """The embedder whose vectors the collection holds.

        Raises:
            EmbedderChanged: the catalog does not have it, has another version of it, or it cannot be loaded.
        """
        wanted = (collection.fingerprint.embedder, collection.fingerprint.dimension)
        with self._lock:
            held = self._opened.get(wanted[0]) or self._open(collection)
            if (held.identity, held.dimension) != wanted:
                raise _unavailable(collection, f"the catalog has {held.identity}")
            if held is not self._configured_or_none():
                self._opened[wanted[0]] = held
                self._opened.move_to_end(wanted[0])
                while len(self._opened) > _HELD:
                    self._opened.popitem(last=False)
            return held

    def _open(self, collection: Collection) -> Embedder:
        identity = collection.fingerprint.embedder
        configured = self._configured_or_none()
        if configured is not None and configured.identity == identity:
            return configured
        try:
            return self._open_named(identity.partition("@")[0])
        except NotFound as error:
            raise _unavailable(collection, "the catalog does not have it") from error
        except RagError as error:
            raise _unavailable(collection, error.message, hint=error.hint) from error

    def _configured_or_none(self) -> Embedder | None:
        """The configured one, if it can be had: collections of other embedders do without it."""
        try:
            return self._configured()
        except RagError:
            return None


def _unavailable(collection: Collection, why: str, *, hint: str = "") -> EmbedderChanged:
    way = hint or "Put that model back (`rag models list` shows the catalog)"
    return EmbedderChanged(
        f"The collection {collection.name!r} was embedded with {collection.fingerprint.embedder}, which cannot be "
        f"used: {why.rstrip('.')}.",
        hint=f"{way.rstrip('.')}, or embed it anew with the configured embedder: "
        f"indexer reembed --collection {collection.name}",
    )
