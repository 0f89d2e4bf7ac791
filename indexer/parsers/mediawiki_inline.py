"""What the markup of MediaWiki within lines says: links, pictures, templates, weight and tags."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

from indexer.parsers.blocks import one_line

_BRACKET = re.compile(r"\{\{|\}\}|\[\[|\]\]")
_CLOSES: Final = {"}}": "{{", "]]": "[["}
_EXTERNAL = re.compile(r"\[((?:https?:|ftp:|mailto:)?//[^\s\[\]<>]{1,1000})(?:[ \t]+([^\[\]\n]{1,1000}))?\]")
_WEIGHT = re.compile(r"'{2,5}")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]{0,500}>", re.IGNORECASE)
_PICTURES: Final = frozenset(
    "file image media datei bild fichier archivo imagen ficheiro bestand immagine plik fil файл ファイル 文件".split()
)
_ASIDE: Final = frozenset(
    "category kategorie catégorie categoría categoria categorie kategoria kategori категория".split()
)
_PICTURE_OPTION = re.compile(
    r"^(?:thumb(?:nail)?|mini|frame(?:d|less)?|border|left|right|center|none|upright|rechts|links|gauche|droite|vignette"
    r"|\d*x?\d+px|\w+=.*)$",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(r"^[a-z]{2,3}(?:-[a-z]{2,8})?$")
_CITES = re.compile(r"^(?:cite|citation|literatur|internetquelle|ouvrage|lien web|cita)\b", re.IGNORECASE)
_NOT_CITED = re.compile(
    r"^(?:url|archive|access|abruf|ref$|name-list|df$|mode$|.*-?(?:link|url|status)$)", re.IGNORECASE
)
_POINTS_TO: Final = frozenset("main|see also|further|see|hauptartikel|siehe auch|article détaillé".split("|"))
_FIELD = re.compile(r"^\s*([^=\n{}\[\]<>]{1,80}?)\s*=(.*)$", re.DOTALL)


def plain(text: str) -> str:
    """The text without its markup but that of lines. Takes time in proportion to the text."""
    text = _bracketed(text)
    text = _EXTERNAL.sub(lambda link: link[2] or link[1], text)
    text = _WEIGHT.sub("", _BREAK.sub(" ", text))
    return unescape(_TAG.sub("", text))


def _bracketed(text: str) -> str:
    """The text with its templates and links, from the inside out, as what they say."""
    open_at: list[tuple[str, list[str]]] = [("", [])]
    at = 0
    for found in _BRACKET.finditer(text):
        open_at[-1][1].append(text[at : found.start()])
        at = found.end()
        sign = found[0]
        if sign not in _CLOSES:
            open_at.append((sign, []))
        elif open_at[-1][0] == _CLOSES[sign]:
            inner = "".join(open_at.pop()[1])
            open_at[-1][1].append(_template(inner) if sign == "}}" else _link(inner))
        else:
            open_at[-1][1].append(sign)
    return "".join(sign + "".join(parts) for sign, parts in open_at) + text[at:]


def _link(inner: str) -> str:
    target, *more = inner.split("|")
    space, colon, _name = target.partition(":")
    kind = space.strip().lower()
    if colon and kind in _PICTURES:
        caption = more[-1].strip() if more and not _PICTURE_OPTION.match(more[-1].strip()) else ""
        return f"\n\n{caption}\n\n" if caption else ""
    if colon and (kind in _ASIDE or (_LANGUAGE.match(kind) and not more)):
        return ""
    return more[-1] if more and more[-1].strip() else target.strip().lstrip(":#")


def _template(inner: str) -> str:
    name, *parts = inner.split("|")
    name = one_line(name)
    if name.startswith(("#", "DISPLAYTITLE", "DEFAULTSORT", "{")):
        return ""
    named = [(found[1], one_line(found[2])) for part in parts if (found := _FIELD.match(part))]
    texts = [part.strip() for part in parts if not _FIELD.match(part) and part.strip()]
    if _CITES.match(name):
        return ", ".join(value for key, value in named if value and not _NOT_CITED.match(key))
    if "\n" in inner:
        fields = [f"{key}: {value}" for key, value in named if value]
        return "\n\n" + "\n".join([*fields, *texts]) + "\n\n"
    if name.lower() == "lang" and len(texts) > 1:
        return texts[-1]
    if name.lower() in {"convert", "val", "cvt"}:
        return " ".join(texts[:2])
    shown = ", ".join(texts) if name.lower() in _POINTS_TO else " ".join(texts)
    return f"{name}: {shown}" if shown and name.lower() in _POINTS_TO else shown
