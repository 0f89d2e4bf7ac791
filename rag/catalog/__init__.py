"""The model catalog: which files a model consists of, where they come from, and whether they are intact."""

from rag.catalog.catalog import Catalog, ModelState, ResolvedModel
from rag.catalog.entries import ModelEntry, ModelKind

__all__ = ["Catalog", "ModelEntry", "ModelKind", "ModelState", "ResolvedModel"]
