"""Any model that sentence-transformers reads, on whatever it finds to compute with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class PaddedNetwork:
    """The network of a local folder, never of a hub: texts of a batch are filled up to the longest of them."""

    parallel: Final = False

    def __init__(self, path: Path) -> None:
        """Load it; takes seconds. Raises OSError, ValueError, KeyError or RuntimeError where it cannot."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        # Its bar writes to standard error even where that is no terminal; loading takes milliseconds.
        transformers_logging.disable_progress_bar()
        self._model = SentenceTransformer(str(path), local_files_only=True, trust_remote_code=False, device=None)

    def encode(self, texts: Sequence[str], _ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors of shape ``(len(texts), dimension)``."""
        vectors = self._model.encode(
            list(texts),
            batch_size=len(texts),
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)
