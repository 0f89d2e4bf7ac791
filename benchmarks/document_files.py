"""Which files of a folder are documents, a few of them spread over the formats, and what became of each in a store."""

from __future__ import annotations

import hashlib
import random
import shutil
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from rag.evaluation.dataset import Dataset

# What all of the compared programs say they read, or read as the text it is.
COMMON = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".html", ".htm", ".md", ".txt", ".csv"})
# What people keep text in beside those; no pictures, sound, archives, programs or mainframe records.
DOCUMENTS = COMMON | {
    *(".doc", ".ppt", ".xls", ".rtf", ".odt", ".odp", ".ods", ".epub", ".eml", ".msg", ".ipynb"),
    *(".json", ".xml", ".tsv", ".tex", ".rst", ".org", ".vtt", ".srt"),
}
PLAIN = frozenset({".md", ".txt"})
_NOISE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a store holds of the files. Tokens are the embedder's; ``unread`` ones lie past its longest passage."""

    lost: tuple[str, ...]
    passages: int
    cut: int
    tokens: int
    unread: int


def sampled(
    root: Path, into: Path, *, limit: int, largest: int, seed: int, formats: Container[str] = DOCUMENTS
) -> list[Path]:
    """Copy ``limit`` documents, of each of the formats in turn; the copies' names tell them apart without folders.

    Files that are empty, larger than ``largest`` bytes, hidden, or the same as another by content stay out.
    """
    by_format: dict[str, list[Path]] = defaultdict(list)
    seen: set[bytes] = set()
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if hidden or path.suffix.lower() not in formats or not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest not in seen and 0 < path.stat().st_size <= largest:
            seen.add(digest)
            by_format[path.suffix.lower()].append(path)
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    for paths in by_format.values():
        chance.shuffle(paths)
    in_turn = zip_longest(*(by_format[suffix] for suffix in sorted(by_format)))
    chosen = [path for several in in_turn for path in several if path is not None][:limit]
    into.mkdir(parents=True)
    return [shutil.copyfile(path, into / f"{number:04}-{path.name}") for number, path in enumerate(chosen)]


def written(dataset: Dataset, into: Path, *, limit: int, seed: int) -> list[Path]:
    """Write ``limit`` documents of an evaluation folder as Markdown files."""
    documents = sorted(dataset.corpus, key=lambda document: document.id)
    random.Random(seed).shuffle(documents)  # noqa: S311 - nothing secret
    into.mkdir(parents=True)
    files = []
    for number, document in enumerate(documents[:limit]):
        files.append(into / f"{number:04}.md")
        files[-1].write_text(f"# {document.title}\n\n{document.text}\n", encoding="utf-8")
    return files


def taken(files: Iterable[Path], passages: Iterable[tuple[str, str]], embedder: Path, max_tokens: int) -> Taken:
    """Compare the files with (name of file, text of passage) pairs. A file is lost if none of its text is there."""
    tokenizer = Tokenizer.from_file(str(embedder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts: dict[str, list[str]] = defaultdict(list)
    for name, text in passages:
        texts[name].append(text)
    every = [text for several in texts.values() for text in several]
    counts = [len(encoding.ids) for encoding in tokenizer.encode_batch(every)]
    return Taken(
        lost=tuple(path.name for path in files if not is_text("".join(texts[path.name]))),
        passages=len(every),
        cut=sum(count > max_tokens for count in counts),
        tokens=sum(counts),
        unread=sum(max(0, count - max_tokens) for count in counts),
    )


def is_text(text: str) -> bool:
    """Whether there is a letter or digit, and no more control characters than a binary file read as text would have."""
    if not any(character.isalnum() for character in text):
        return False
    odd = sum(unicodedata.category(c) in {"Cc", "Co", "Cn"} or c == "\ufffd" for c in text if c not in "\t\n\r\f")
    return odd <= _NOISE * len(text)
