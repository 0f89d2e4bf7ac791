"""What the markup of MediaWiki within lines says: links, pictures, templates, weight and tags."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

from indexer.parsers.blocks import one_line

_BRACKET = re.compile(r"\{{2,}|\}{2,}|\[\[|\]\]")
_PARAMETER: Final = 3  # braces around one; two are around a template
_EXTERNAL = re.compile(r"\[((?:https?:|ftp:|mailto:)?//[^\s\[\]<>]{1,1000})(?:[ \t]++([^\[\]\n]{1,1000}))?\]")
_WEIGHT = re.compile(r"'{2,5}")
# Words before and after them are apart; at a line's beginning a space would make code of it.
_BREAK = re.compile(
    r"(?<=\S)</?(?:br|hr|p|div|center|blockquote|poem|table|caption|tr|td|th|[dou]l|li|d[dt])(?=[\s/>])[^<>]{0,500}>",
    re.IGNORECASE,
)
# Others are text.
_TAG = re.compile(
    r"</?(?:abbr|b|bd[io]|big|blockquote|br|caption|center|chem|cite|code|dat[ae]|d[dlt]|del|dfn|div|em|fig(?:ure|caption)"
    r"|font|gallery|h[1-6r]|i|imagemap|includeonly|ins|inputbox|kbd|li|math|mark|no(?:include|wiki)|[ou]l|onlyinclude|p"
    r"|poem|pre|q|r[bpt]|ruby|ref|references|s|samp|score|section|small|source|span|strike|strong|style|su[bp]"
    r"|syntaxhighlight|table|tbody|t[dhrt]|templatestyles|time|timeline|translate|tvar|u|var|wbr)(?=[\s/>])[^<>]{0,500}>",
    re.IGNORECASE,
)
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
_NOT_NAMED = re.compile(r"[\n{}\[\]<>]")
_MAX_NAME_CHARS: Final = 80
# What a template within a line is to look like, where its page is kept, and when somebody checked it.
_LOOKS = re.compile(
    r"^(?:abbr|adj|align|archive.*|background.*|bg.*|border|bot|cat.*|class|clear|colou?r|dat[ae]|disp(?:lay)?|fixed.*|float"
    r"|font.*|format|group|height|id|image_?size|italic.*|lang(?:uage)?|link|lk|margin|mode|nocat|noicon|padding|pos"
    r"|position|ref|rowspan|colspan|scope|sfn|sigfig|size|sort.*|style|url|valign|width|wrap|.*[-_]?(?:date|link|url|status"
    r"|style|class|color|size|width))$",
    re.IGNORECASE,
)
_SWITCHES: Final = frozenset("yes no y n on off true false auto none left right center 0 1".split())
_SAID_ITSELF: Final = frozenset("text quote content contents body title caption label".split())
_BETWEEN_VALUES: Final = frozenset("to and by x × - – or +".split())
# Which of their parts functions show; the first one, the condition, stands in their name.
_BRANCHES: Final = {
    **dict.fromkeys(("#if", "#ifexist", "#ifexpr", "#iferror"), (0, 2)),
    "#ifeq": (1, 3),
    "#tag": (0, 1),
}
# MediaWiki has a limit like it; what is open beyond it, further out, is taken for text.
_MAX_DEPTH: Final = 100


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
        if sign[0] in "{[":
            open_at.append((sign, []))
            if len(open_at) > _MAX_DEPTH:
                outer, parts = open_at.pop(1)
                open_at[0][1].extend([outer, *parts])
        elif sign == "]]" and open_at[-1][0] == "[[":
            inner = "".join(open_at.pop()[1])
            open_at[-1][1].append(_link(inner))
        else:
            rest = sign if sign == "]]" else _closed(open_at, sign)
            open_at[-1][1].append(rest)
    return "".join(sign + "".join(parts) for sign, parts in open_at) + text[at:]


def _closed(open_at: list[tuple[str, list[str]]], sign: str) -> str:
    """Say what as many braces close, from the inside out, and return those that close nothing."""
    while len(sign) > 1 and open_at[-1][0].startswith("{"):
        opened, parts = open_at.pop()
        count = min(len(opened), len(sign), _PARAMETER)
        inner = "".join(parts)
        said = _default(inner) if count == _PARAMETER else _template(inner)
        sign, opened = sign[count:], opened[count:]
        if len(opened) > 1:
            open_at.append((opened, [said]))
        else:
            open_at[-1][1].extend([opened, said])
    return sign


def _default(inner: str) -> str:
    """What a parameter of a template says where none is given."""
    return "".join(inner.split("|")[1:2])


def _link(inner: str) -> str:
    target, *more = inner.split("|")
    space, colon, page = target.partition(":")
    kind = space.strip().lower()
    if colon and kind in _PICTURES:
        caption = next((part.strip() for part in reversed(more) if not _PICTURE_OPTION.match(part.strip())), "")
        return f"\n\n{caption}\n\n" if caption else ""
    in_language = _LANGUAGE.match(space) and not page.startswith(" ") and not more
    if colon and (kind in _ASIDE or in_language):
        return ""
    return more[-1] if more and more[-1].strip() else target.strip().lstrip(":#")


def _template(inner: str) -> str:
    name, *parts = inner.split("|")
    name = one_line(name)
    if name.startswith(("#", "DISPLAYTITLE", "DEFAULTSORT")):
        return _branches(name, parts)
    named, texts = _arguments(parts)
    if _CITES.match(name):
        return ", ".join([*texts, *(value for key, value in named if value and not _NOT_CITED.match(key))])
    if "\n" in inner:
        fields = [f"{key}: {value}" for key, value in named if value]
        return "\n\n" + "\n".join([*fields, *texts]) + "\n\n"
    if name.lower() == "lang":
        return " ".join(texts[-1:])
    if name.lower() in _POINTS_TO:
        return f"{name}: {', '.join(texts)}" if texts else ""
    if name.lower() in {"convert", "val", "cvt"}:
        named, texts = [], _measure(texts)
    said = [(key, value) for key, value in named if not _LOOKS.match(key) and value.lower() not in _SWITCHES]
    texts += [value for key, value in said if key.lower() in _SAID_ITSELF]
    fields = [f"{key}: {value}" for key, value in said if value and key.lower() not in _SAID_ITSELF]
    return " ".join(texts) + (f" ({'; '.join(fields)})" if texts and fields else "; ".join(fields))


def _branches(name: str, parts: list[str]) -> str:
    """What a function of the wiki may show; nothing of most.

    Which branch of a condition a page shows only a wiki can work out, so all of them are its text.
    """
    function = name.partition(":")[0].lower()
    if function == "#switch":
        last = [part for part in parts[-1:] if "=" not in part]
        parts = [part.partition("=")[2] for part in parts if "=" in part] + last
    else:
        start, end = _BRANCHES.get(function, (0, 0))
        parts = parts[start:end]
    texts = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    return "\n".join(["", *texts, ""]) if any("\n" in text for text in texts) else " ".join(texts)


def _measure(texts: list[str]) -> list[str]:
    """Values with their unit, without what they are to be converted to."""
    count = 2
    while texts[count : count + 1] and texts[count - 1] in _BETWEEN_VALUES:
        count += 2
    return texts[:count]


def _arguments(parts: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Arguments that have a name, and the texts of others; a number is the place of one of these."""
    named: list[tuple[str, str]] = []
    places: dict[int, str] = {}
    unnamed = 0
    for part in parts:
        key, sign, value = (each.strip() for each in part.partition("="))
        if not sign or not key or len(key) > _MAX_NAME_CHARS or _NOT_NAMED.search(key):
            unnamed += 1
            places[unnamed] = part.strip()
        elif key.isdecimal():
            places[int(key)] = value
        else:
            named.append((key, one_line(value)))
    return named, [places[place] for place in sorted(places) if places[place]]
