"""Comments in office documents as lines: who said it, on which day, and what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.parsers.blocks import one_line
from indexer.parsers.office.package import related, relations
from indexer.parsers.xml_parts import child, local_name, name_of, read_xml, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip


def comment_line(author: str, date: str, text: str) -> str:
    """``Comment by NAME, DAY: TEXT``; what is not known is left out. ``date`` as in ISO 8601."""
    by = f" by {one_line(author)}" if author.strip() else ""
    day = f", {date[:10]}" if by and date else ""
    return f"Comment{by}{day}: {one_line(text)}"


def annotation_line(annotation: _Element, text: str) -> str:
    """The same of a comment in OpenDocument."""
    author, date = child(annotation, "dc:creator"), child(annotation, "dc:date")
    return comment_line("" if author is None else author.text or "", "" if date is None else date.text or "", text)


def slide_comments(archive: LimitedZip, main: str, slide: str) -> Iterator[str]:
    """Comments on a slide with their replies, in PowerPoint's older form and in its newer one."""
    part = related(relations(archive, slide), "comments")
    if part not in archive:
        return
    authors: dict[str, str] = {}
    for kind in ("commentAuthors", "authors"):
        if (names := related(relations(archive, main), kind)) in archive:
            authors.update({author.get("id") or "": author.get("name") or "" for author in read_xml(archive, names)})
    for element in read_xml(archive, part).iter():
        if local_name(element) in {"cm", "reply"} and (text := _comment_text(element)):
            date = element.get("dt") or element.get("created") or ""
            yield comment_line(authors.get(element.get("authorId") or "", ""), date, text)


def sheet_comments(archive: LimitedZip, main: str, sheet: str) -> Iterator[str]:
    """Threads of comments on the cells of a sheet, then notes."""
    found = relations(archive, sheet)
    threads = dict(_threads(archive, related(found, "threadedComment"), main))
    for lines in threads.values():
        yield from lines
    for cell, line in _notes(archive, related(found, "comments")):
        # For older programs every thread is a note, too.
        if cell not in threads:
            yield line


def _threads(archive: LimitedZip, part: str, main: str) -> Iterator[tuple[str, list[str]]]:
    """Cells, and what was said of each."""
    if part not in archive:
        return
    people = related(relations(archive, main), "person")
    names = {}
    if people in archive:
        names = {person.get("id"): person.get("displayName") or "" for person in read_xml(archive, people)}
    said: dict[str, list[str]] = {}
    for element in read_xml(archive, part):
        if text := _comment_text(element):
            line = comment_line(names.get(element.get("personId"), ""), element.get("dT") or "", text)
            said.setdefault(element.get("ref") or "", []).append(line)
    yield from said.items()


def _notes(archive: LimitedZip, part: str) -> Iterator[tuple[str, str]]:
    if part not in archive:
        return
    root = read_xml(archive, part)
    listed, comments = child(root, "x:authors"), child(root, "x:commentList")
    authors = [] if listed is None else [author.text or "" for author in listed]
    for element in () if comments is None else comments:
        number = whole_number(element.get("authorId"), len(authors))
        author = authors[number] if number < len(authors) else ""
        text = "".join(t.text or "" for t in element.iter() if name_of(t.tag) == "x:t").strip()
        # Excel repeats the author's name as the first line.
        if text := text.removeprefix(f"{author}:").strip():
            yield element.get("ref") or "", comment_line(author, "", text)


def _comment_text(comment: _Element) -> str:
    """The comment's own text without its replies'."""
    parts = []
    for inner in comment:
        if local_name(inner) == "text":
            parts.append(inner.text or "")
        elif local_name(inner) == "txBody":
            parts.append(" ".join(t.text or "" for t in inner.iter() if name_of(t.tag) == "a:t"))
    return one_line(" ".join(parts))
