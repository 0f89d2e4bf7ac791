"""What pages of Markdown have for finding one's way and for show: tables of their own contents, badges."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

_BADGE = re.compile(r"shields\.io|badge|://(?:travis-ci\.|codecov\.io|coveralls\.io|ci\.appveyor\.com)", re.IGNORECASE)
_CONTENTS: Final = frozenset(
    "contents|table of contents|toc|on this page|inhalt|inhaltsverzeichnis|sommaire|table des matières|índice|indice|"
    "contenido|conteúdo|inhoud|innehåll|spis treści|содержание|оглавление|目录|目錄|目次|목차".split("|")
)
_MIN_ENTRIES: Final = 2


def is_contents_title(heading: str) -> bool:
    """Whether a heading says that a table of contents follows."""
    return heading.strip(" :*_#").casefold() in _CONTENTS


def is_contents(tokens: Sequence[Token], index: int) -> bool:
    """Whether the list that begins here holds nothing but links to places of its own page."""
    if not tokens[index].type.endswith("_list_open"):
        return False
    links = 0
    for token in map(tokens.__getitem__, range(index, len(tokens))):
        if token.type == "inline":
            if not _is_own_link(token):
                return False
            links += 1
        elif token.level == 0 and token.nesting < 0:
            break
        elif token.type in {"fence", "code_block", "html_block"}:
            return False
    return links >= _MIN_ENTRIES


def is_badges(inline: Token) -> bool:
    """Whether a paragraph holds nothing but pictures that tell the state of a project."""
    children = inline.children or ()
    pictures = [child for child in children if child.type == "image"]
    others = [child for child in children if child.type not in {"image", "link_open", "link_close", "softbreak"}]
    shown = all(child.type in {"text", "hardbreak"} and not child.content.strip() for child in others)
    return bool(pictures) and shown and all(_BADGE.search(str(picture.attrGet("src"))) for picture in pictures)


def _is_own_link(inline: Token) -> bool:
    depth = 0
    found = False
    for child in inline.children or ():
        if child.type == "link_open":
            if not str(child.attrGet("href")).startswith("#"):
                return False
            found = True
        depth += child.nesting if child.type in {"link_open", "link_close"} else 0
        if not depth and child.type != "link_close" and child.content.strip():
            return False
    return found
