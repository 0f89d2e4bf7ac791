"""The package around Word, PowerPoint and Excel documents: parts, what they relate to, and the document's title.

Source: ECMA-376 part 2 (Open Packaging Conventions).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from indexer.parsers.blocks import one_line
from indexer.parsers.xml_parts import read_xml
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from indexer.parsers.zip_limits import LimitedZip

# Titles that programs and templates leave behind say nothing about the text.
_EMPTY_TITLE = re.compile(
    r"\.(?:docx?|pptx?|xlsx?|tex|dvi|indd|pdf|odt|rtf|md|html?)$|^(?:microsoft )?(?:word|powerpoint|excel)\b|^untitled"
    r"|^(?:document|presentation|slide|title|workbook|book|template)\s*\d*$",
    re.IGNORECASE,
)
_MAX_TITLE_CHARS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What a part points to: ``kind`` is the last step of the relation's type, ``target`` the name of a part."""

    kind: str
    target: str


def relations(archive: LimitedZip, part: str = "") -> Mapping[str, Relation]:
    """Relations of a part, or of the whole package, by their ids; those to places outside are left out."""
    folder = part.rpartition("/")[0]
    path = relations_path(part)
    if path not in archive:
        return {}
    found = {}
    for element in read_xml(archive, path):
        if element.get("TargetMode") == "External" or not element.get("Target"):
            continue
        target = posixpath.normpath(posixpath.join("/", folder, unquote(element.get("Target")))).lstrip("/")
        kind = (element.get("Type") or "").rpartition("/")[2]
        found[element.get("Id") or ""] = Relation(kind=kind, target=target)
    return found


def relations_path(part: str) -> str:
    """Name of the part with the relations of another."""
    folder, _, name = part.rpartition("/")
    return posixpath.join(folder, "_rels", f"{name}.rels")


def main_part(archive: LimitedZip) -> str:
    """Name of the part that the document begins with.

    Raises:
        SourceDamaged: there is none.
    """
    part = related(relations(archive), "officeDocument")
    if not part or part not in archive:
        raise SourceDamaged(
            "It has the container of an office document, but not the document.", hint="Get or export the file again."
        )
    return part


def related(found: Mapping[str, Relation], kind: str) -> str:
    """The part with which a relation of this kind exists; empty if there is none."""
    return next((relation.target for relation in found.values() if relation.kind == kind), "")


def package_title(archive: LimitedZip) -> str:
    """The title in the document's properties; empty where it says nothing."""
    part = related(relations(archive), "core-properties")
    if not part or part not in archive:
        return ""
    title = next((element for element in read_xml(archive, part) if element.tag.endswith("}title")), None)
    return telling_title("" if title is None else title.text or "")


def telling_title(title: str) -> str:
    """A title, or nothing where it names a file, a program or a template."""
    title = one_line(title)
    return "" if _EMPTY_TITLE.search(title) or len(title) < 3 else title[:_MAX_TITLE_CHARS]
