"""Comments in office documents as lines: who said it, on which day, and what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.parsers.blocks import one_line
from indexer.parsers.office_package import related, relations
from indexer.parsers.xml_parts import child, name_of, read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

    from indexer.parsers.zip_limits import LimitedZip


def comment_line(author: str, date: str, text: str) -> str:
    """``Comment by NAME, DAY: TEXT``; what is not known is left out. ``date`` as in ISO 8601."""
    by = f" by {one_line(author)}" if author.strip() else ""
    day = f", {date[:10]}" if by and date else ""
    return f"Comment{by}{day}: {one_line(text)}"


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
        if _local(element) in {"cm", "reply"} and (text := _comment_text(element)):
            date = element.get("dt") or element.get("created") or ""
            yield comment_line(authors.get(element.get("authorId") or "", ""), date, text)


def sheet_comments(archive: LimitedZip, main: str, sheet: str) -> Iterator[str]:
    """Notes and threads of comments on the cells of a sheet."""
    found = relations(archive, sheet)
    threads = set()
    if (part := related(found, "threadedComment")) in archive:
        people = related(relations(archive, main), "person")
        names = (
            {p.get("id") or "": p.get("displayName") or "" for p in read_xml(archive, people)}
            if people in archive
            else {}
        )
        for element in read_xml(archive, part):
            text = "".join(inner.text or "" for inner in element if _local(inner) == "text")
            if text.strip():
                threads.add(element.get("ref"))
                person = names.get(element.get("personId") or "", "")
                yield comment_line(person, element.get("dT") or "", text)
    if (part := related(found, "comments")) not in archive:
        return
    root = read_xml(archive, part)
    listed = child(root, "x:authors")
    authors = [] if listed is None else [author.text or "" for author in listed]
    comments = child(root, "x:commentList")
    for element in () if comments is None else comments:
        # For older programs every thread is a note, too.
        number = element.get("authorId") or ""
        if element.get("ref") not in threads:
            author = authors[int(number)] if number.isdigit() and int(number) < len(authors) else ""
            text = "".join(t.text or "" for t in element.iter() if name_of(t.tag) == "x:t").strip()
            # Excel repeats the author's name as the first line.
            text = text.removeprefix(f"{author}:").strip()
            if text:
                yield comment_line(author, "", text)


def _comment_text(comment: _Element) -> str:
    """The comment's own text without its replies'."""
    parts = []
    for inner in comment:
        if _local(inner) == "text":
            parts.append(inner.text or "")
        elif _local(inner) == "txBody":
            parts.append(" ".join(t.text or "" for t in inner.iter() if name_of(t.tag) == "a:t"))
    return one_line(" ".join(parts))


def _local(element: _Element) -> str:
    return str(element.tag).rpartition("}")[2]
