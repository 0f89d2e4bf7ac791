"""The catalog itself: names to verified files on this machine. Only ``pull`` ever touches a network."""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rag.catalog.gguf import check_gguf
from rag.catalog.progress import no_progress
from rag.catalog.reading import read_catalog
from rag.catalog.verification import HashMemory, hash_file
from rag.errors import InvalidSettings, ModelCorrupt, ModelMissing, ModelUnloadable, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rag.catalog.entries import ModelEntry, ModelKind
    from rag.catalog.progress import PullProgress
    from rag.config import Settings

_SHIPPED = Path(__file__).with_name("catalog.toml")
USER_CATALOG = "models.toml"

ModelState = Literal["present", "missing", "corrupt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that is there and intact.

    ``path`` is the (first) file of a generator and the folder of an embedder or reranker. ``sha256`` is the file's, or
    of all files' hashes together where there are several: it changes when any of them does.
    """

    name: str
    path: Path
    sha256: str


class Catalog:
    """The models known by name, shipped ones and those of ``models.toml`` in the models directory."""

    def __init__(self, entries: Mapping[str, ModelEntry], *, models_dir: Path, pip_command: tuple[str, ...]) -> None:
        self._entries = dict(entries)
        self._models_dir = models_dir
        self._pip_command = pip_command
        self._memory = HashMemory(models_dir)

    @classmethod
    def load(cls, settings: Settings) -> Catalog:
        """Read the shipped catalog and the user's.

        Raises:
            InvalidSettings: ``models.toml`` cannot be used.
        """
        entries = read_catalog(_SHIPPED)
        models_dir = settings.models_dir.expanduser().absolute()
        user_catalog = models_dir / USER_CATALOG
        if user_catalog.exists():
            entries |= read_catalog(user_catalog)
        pip = shlex.split(settings.pip_command) if settings.pip_command else [sys.executable, "-m", "pip"]
        return cls(entries, models_dir=models_dir, pip_command=tuple(pip))

    @staticmethod
    def default_names(settings: Settings) -> list[str]:
        """Return the models the settings ask for; a remote generator needs no file here."""
        return [settings.embedder] if settings.generator_url else [settings.embedder, settings.generator]

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        return tuple(self._entries.values())

    def entry(self, name: str) -> ModelEntry:
        """Raises UnknownModel, naming the known ones."""
        if name in self._entries:
            return self._entries[name]
        close = difflib.get_close_matches(name, self._entries, n=1)
        raise UnknownModel(
            f"There is no model {name!r} in the catalog." + (f" Did you mean {close[0]}?" if close else ""),
            hint=f"Known: {', '.join(self._entries)}. Others can be added in {self._models_dir / USER_CATALOG}, "
            "and a language model may be given as the path of a .gguf file.",
        )

    def resolve(self, name_or_path: str, *, kind: ModelKind | None = None) -> ResolvedModel:
        """Return where a model is, after making sure of its content. Never touches a network.

        A file is hashed once and again only after its size or modification time changed. A path of a GGUF file that is
        not of the catalog is checked to be complete by its header.

        Raises:
            UnknownModel: neither a name of the catalog nor a path.
            ModelMissing: not all of its files are there.
            ModelCorrupt: a file has another size or content than the catalog says.
            ModelUnloadable: a file cannot be read.
            InvalidSettings: it is not of the ``kind`` asked for.
        """
        return self._check(name_or_path, kind, self._memory.digest)

    def require(self, name_or_path: str, *, kind: ModelKind) -> None:
        """Like ``resolve``, but quick and of a name whatever of it is on this machine."""
        if self._is_path(name_or_path):
            self._check(name_or_path, kind, lambda _: "")
        else:
            self._require_kind(self.entry(name_or_path), kind)

    def verify(self, name_or_path: str) -> ResolvedModel:
        """Like ``resolve``, but read and hash every byte again."""

        def digest(path: Path) -> str:
            self._memory.forget(path)
            taken = hash_file(path)
            self._memory.remember(path, taken)
            return taken

        return self._check(name_or_path, None, digest)

    def path(self, name_or_path: str) -> Path:
        """Return ``resolve(name_or_path).path``."""
        return self.resolve(name_or_path).path

    def state(self, name: str) -> ModelState:
        """Return whether a model of the catalog is usable. Raises UnknownModel."""
        try:
            self.resolve(name)
        except ModelMissing:
            return "missing"
        except (ModelCorrupt, ModelUnloadable):
            return "corrupt"
        return "present"

    def pull(self, name_or_path: str, progress: PullProgress = no_progress) -> ResolvedModel:
        """Fetch what is missing or corrupt of a model from its sources, then resolve it.

        Raises:
            UnknownModel, ModelSourcesFailed, DataDirectoryUnwritable: see ``Pull.run``; or as ``resolve`` for a path.
        """
        if not self._is_path(name_or_path):
            from rag.catalog.pull import Pull

            Pull(
                self.entry(name_or_path),
                models_dir=self._models_dir,
                pip_command=self._pip_command,
                memory=self._memory,
                progress=progress,
            ).run()
        return self.resolve(name_or_path)

    def _is_path(self, name_or_path: str) -> bool:
        return name_or_path not in self._entries and (name_or_path.endswith(".gguf") or os.sep in name_or_path)

    def _check(self, name_or_path: str, kind: ModelKind | None, digest: Callable[[Path], str]) -> ResolvedModel:
        try:
            if self._is_path(name_or_path):
                return _check_path(Path(name_or_path).expanduser(), kind, digest)
            return self._check_entry(self.entry(name_or_path), kind, digest)
        except OSError as error:
            raise ModelUnloadable(
                f"Model {name_or_path} cannot be read: {error}.", hint="Check the file's permissions and the disk."
            ) from error

    def _require_kind(self, entry: ModelEntry, kind: ModelKind | None) -> None:
        if kind not in (None, entry.kind):
            raise InvalidSettings(
                f"Model {entry.name} cannot be used as {kind}: it is of kind {entry.kind}.",
                hint=f"Known: {', '.join(other.name for other in self.entries if other.kind == kind) or 'none'}",
            )

    def _check_entry(self, entry: ModelEntry, kind: ModelKind | None, digest: Callable[[Path], str]) -> ResolvedModel:
        self._require_kind(entry, kind)
        home = self._models_dir / entry.name
        absent = [file.path for file in entry.files if not (home / file.path).is_file()]
        if absent:
            raise ModelMissing(
                f"Model {entry.name} is not in {self._models_dir}: {', '.join(absent)} missing.",
                hint=f"Run: rag models pull {entry.name}",
            )
        for file in entry.files:
            path = home / file.path
            size = path.stat().st_size
            if size != file.bytes:
                problem = f"it has {size} bytes where the catalog has {file.bytes}"
            elif digest(path) != file.sha256:
                problem = "its sha256 is not the catalog's"
            else:
                continue
            raise ModelCorrupt(f"{path} is damaged: {problem}.", hint=f"Run: rag models pull {entry.name}")
        return ResolvedModel(
            name=entry.name,
            path=home / entry.files[0].path if entry.kind == "generator" else home,
            sha256=_identity(entry),
        )


def _identity(entry: ModelEntry) -> str:
    if len(entry.files) == 1:
        return entry.files[0].sha256
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in entry.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check_path(path: Path, kind: ModelKind | None, digest: Callable[[Path], str]) -> ResolvedModel:
    if kind not in (None, "generator"):
        raise InvalidSettings(f"{path} cannot be used as {kind}: only a generator may be given as a path.")
    if not path.is_file():
        raise ModelMissing(f"There is no model file {path}.", hint="Give the path of a .gguf file, or a catalog name.")
    check_gguf(path)
    return ResolvedModel(name=path.stem, path=path.absolute(), sha256=digest(path))
