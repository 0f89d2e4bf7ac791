"""Whether a model answers well enough from stitched passages: the recorded outcome of ``rag eval gate``.

Stitching is an approximation, and how much it costs depends on the model. So it is on only for a model (known by its
file's sha256) whose record says that its answers keep their quality. Records are small JSON files beside the models;
the model catalog may bring some along, which count where a model has no record of its own.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rag import __version__
from rag.errors import DataDirectoryUnwritable
from rag.plurals import plural
from rag.times import now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.config import Settings
    from rag.model_types import PassageReuse

# Bump when the fields change, and when passages are stitched differently: older records then say nothing any more.
GATE_FORMAT = 1
# Fewer questions are too few to tell a loss of 3% from chance even roughly.
MIN_QUESTIONS = 40
MIN_RATIO = 0.97

_FOLDER = ".gates"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFigures:
    """What is compared, as ``rag eval answers`` defines it (0..1); None where there was nothing to take a mean of."""

    f1: float | None = None
    citation_precision: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRecord:
    """One model's answers with exact and with stitched passages, on the same ``questions`` questions of a data set.

    A ratio is stitched / exact, None where that says nothing (a figure is missing, or exact is 0). ``passed`` means
    that both ratios reach ``min_ratio``. ``date`` is an RFC 3339 time in UTC; ``versions`` and ``settings`` are those
    the answers were made with.
    """

    format: int
    model: str
    sha256: str
    dataset: str
    dataset_sha256: str
    questions: int
    exact: GateFigures
    stitched: GateFigures
    min_ratio: float
    passed: bool
    date: str
    f1_ratio: float | None = None
    citation_precision_ratio: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str | int | float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        model: str,
        sha256: str,
        dataset: str,
        dataset_sha256: str,
        questions: int,
        exact: GateFigures,
        stitched: GateFigures,
        settings: Mapping[str, str | int | float],
    ) -> GateRecord:
        """Judge two measurements that were just taken."""
        f1 = _ratio(stitched.f1, exact.f1)
        precision = _ratio(stitched.citation_precision, exact.citation_precision)
        return cls(
            format=GATE_FORMAT,
            model=model,
            sha256=sha256,
            dataset=dataset,
            dataset_sha256=dataset_sha256,
            questions=questions,
            exact=exact,
            stitched=stitched,
            f1_ratio=f1,
            citation_precision_ratio=precision,
            min_ratio=MIN_RATIO,
            passed=all(ratio is not None and ratio >= MIN_RATIO for ratio in (f1, precision)),
            date=now(),
            versions={"plumbline": __version__, "llama-cpp-python": version("llama-cpp-python")},
            settings=dict(settings),
        )

    @property
    def summary(self) -> str:
        """The figures in half a line."""
        return (
            f"F1 {_shown(self.stitched.f1)} of {_shown(self.exact.f1)}, citation precision "
            f"{_shown(self.stitched.citation_precision)} of {_shown(self.exact.citation_precision)} "
            f"on {plural(self.questions, 'question')} of {self.dataset}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFinding:
    """What is known of a model. ``problem`` says which record could not be used, and why; empty without one."""

    record: GateRecord | None
    problem: str = ""


class GateStore:
    """The records below a models directory, one file a model."""

    def __init__(self, models_dir: Path) -> None:
        self._folder = models_dir.expanduser().absolute() / _FOLDER

    def path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.gate.json"

    def find(self, sha256: str, *, shipped: Mapping[str, object] | None = None) -> GateFinding:
        """The model's own record, or else the one the catalog brings. A record that cannot be used is passed over."""
        found = self._read(sha256)
        if found.record is not None or shipped is None:
            return found
        other = _checked(shipped, sha256, "The catalog's gate record")
        return GateFinding(record=other.record, problem=" ".join(filter(None, (found.problem, other.problem))))

    def require_writable(self) -> None:
        """Find out before an hour of questions is asked.

        Raises:
            DataDirectoryUnwritable: no record can be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, record: GateRecord) -> Path:
        """Store a record in place of the model's last one; readers see the old or the new, never a torn one.

        Raises:
            DataDirectoryUnwritable: it cannot be written.
        """
        path = self.path(record.sha256)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(msgspec.json.format(msgspec.json.encode(record), indent=1))
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(name).chmod(0o644)  # another user's service may read the models directory
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._unwritable(error) from error
        return path

    def _read(self, sha256: str) -> GateFinding:
        path = self.path(sha256)
        try:
            content = msgspec.json.decode(path.read_bytes())
        except FileNotFoundError:
            return GateFinding(record=None)
        except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
            return GateFinding(record=None, problem=f"{path} is ignored: {error}.")
        return _checked(content, sha256, str(path))

    def _unwritable(self, error: OSError) -> DataDirectoryUnwritable:
        return DataDirectoryUnwritable(
            f"The gate record cannot be written to {self._folder}: {error.strerror}.",
            hint="Make the models directory (RAG_MODELS_DIR) writable.",
        )


def effective_reuse(
    settings: Settings, record: GateRecord | None, *, kind_allows: bool, problem: str = ""
) -> tuple[PassageReuse, str]:
    """How passages are placed, and why, in words for ``rag doctor``.

    A setting of ``stitched`` is followed only where the gate was passed. ``kind_allows`` says whether the model's
    state can be stitched at all; ``problem`` is ``GateFinding.problem``.
    """
    if settings.passage_reuse == "exact":
        return "exact", "exact, as RAG_PASSAGE_REUSE says"
    if not kind_allows:
        return "exact", "exact: the state of this kind of model cannot be stitched"
    measured = record.settings.get("recomputed_passages", 0) if record is not None else 0
    if record is not None and record.passed:
        if settings.recomputed_passages >= int(str(measured)):
            return "stitched", f"stitched: gate passed, {record.summary}"
        return "exact", (
            f"exact: the gate was passed with RAG_RECOMPUTED_PASSAGES={measured}, "
            f"but it is {settings.recomputed_passages} now"
        )
    why = "RAG_PASSAGE_REUSE=stitched is not followed: " if settings.passage_reuse == "stitched" else ""
    if record is not None:
        return "exact", f"exact: {why}gate failed, {record.summary}"
    ignored = f" ({problem})" if problem else ""
    return "exact", f"exact: {why}no quality gate is recorded for this model{ignored}; run: rag eval gate DIR"


def _checked(content: object, sha256: str, place: str) -> GateFinding:
    """The record that ``content`` (as decoded from JSON or TOML) is of this model, or what is wrong with it."""
    form = content.get("format") if isinstance(content, dict) else None
    if form != GATE_FORMAT:
        return GateFinding(
            record=None, problem=f"{place} is ignored: its format is {form!r}, this version reads {GATE_FORMAT}."
        )
    try:
        record = msgspec.convert(content, GateRecord)
    except msgspec.ValidationError as error:
        return GateFinding(record=None, problem=f"{place} is ignored: {error}.")
    if record.sha256 != sha256:
        return GateFinding(record=None, problem=f"{place} is ignored: it is of another model file.")
    return GateFinding(record=record)


def _ratio(stitched: float | None, exact: float | None) -> float | None:
    # Nothing can be lost where nothing was there: such questions say nothing about stitching.
    return stitched / exact if stitched is not None and exact else None


def _shown(figure: float | None) -> str:
    return "none" if figure is None else f"{figure:.3f}"
