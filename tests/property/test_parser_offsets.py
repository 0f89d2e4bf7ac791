"""Whatever a file holds: its chunks are slices of its text, in order, and nothing of a verbatim format is invented."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import suppress

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from indexer import formats
from indexer.parsers.registry import PARSERS, load_parser
from rag.embedding.fake import HashingEmbedder
from rag.errors import SourceError
from tests.property.verbatim import require_verbatim
from tests.unit.parsing import LIMITS, Result, parsed

EMBEDDER = HashingEmbedder()
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=30)
# Pieces that mean something in one of the formats, so that made texts meet their rules.
MARKS = st.sampled_from(
    ["\n", "\n\n", "=====\n", "-----\n", "* ", "** ", ".. note:: ", ".. code-block:: c\n\n   x\n", "::\n\n   y\n", "- ",
     "| a | b |\n", "#+BEGIN_SRC\n", "#+END_SRC\n", ":A:\n:END:\n", "\\section{", "}", "{", "\\begin{itemize}\\item ",
     "\\end{itemize}", "$", "%", "\\begin{tabular}{ll} a & b \\\\", "\\end{tabular}", "\\newcommand{\\x}{\\x}", "\\x",
     "def f():\n    ", "class A:\n", "}\n", "/* ", "*/", '"', "'", ",", "\t", ";", "1\n00:00:01,000 --> 00:00:02,000\n",
     "<p>", "</p>", "<a b='c'>", "&amp;", "&x;", "WEBVTT\n\n", "Subject: x\n", "+---+\n", "#+CAPTION: c\n",
     ".. table:: c\n\n", ".. figure:: c\n", "   == ==\n   a  b\n   == ==\n", "\\caption{", "\\begin{table}",
     "\\end{table}", "\\begin{longtable}{l}", "<table>", "</table>", "<row><c>a</c><c>b</c></row>", "<fig>", "</fig>",
     "CREATE TABLE t (", "INSERT INTO t ", "BEGIN\n", "END;\n", "GO\n", "$$", "COPY t FROM STDIN;\n", "\\.\n",
     "DELIMITER $$\n", "a: b\n", "define a\n", "endef\n", "FROM a AS b\n", "RUN <<EOF\n", "EOF\n", "\\\n", "--", "# ",
     "<label>l</label>", "<title>t</title>", "<caption>c</caption>", "=head1 ", "=item ", "=begin a\n\n", "=end a\n\n",
     "B<", "C<< ", " >>", ">", "@chapter ", "@item ", "@table @b\n", "@end table\n", "@example\n", "@end example\n",
     "@multitable\n", " @tab ", "@end multitable\n", "@deffn A b\n", "@b{", "@xref{", "@c ", "@macro x{a}\n",
     "\\a\\", "@end macro\n", "@x{"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(WORDS, MARKS), max_size=40).map("".join)
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS, st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(WORDS, inner, max_size=6)),
    max_leaves=40,
)
LANGUAGES = "python c rust shell php sql make dockerfile".split()
CODE_TYPES = [*(f"text/x-{language}" for language in LANGUAGES), formats.CODE]


def check(media_type: str, source: str) -> str:
    """Parse and chunk; returns the text. A refusal is an answer too."""
    try:
        result = parsed(media_type, source.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="replace"))
    except SourceError:
        return ""
    require_verbatim(result.blocks, EMBEDDER)
    return result.text


@SLOW
@given(st.sampled_from(CODE_TYPES), TEXTS)
@example("text/x-python", "def f():\n    pass\n\n\nclass A:\n    def g(self): pass\n")
def test_code_is_kept_to_the_last_character(media_type, source):
    assert check(media_type, source) == source.lstrip("\ufeff")


@SLOW
@given(
    st.sampled_from(
        [formats.RST, formats.ORG, formats.LATEX, formats.POD, formats.TEXINFO, formats.SRT, formats.VTT, formats.ASS]
    ),
    TEXTS,
)
def test_markup_of_any_kind_gives_slices(media_type, source):
    check(media_type, source)


# What means something in text, Markdown and HTML pages, and in mails.
PAGE_MARKS = st.sampled_from(
    ["\n", "\n\n", "# ", "## a\n", "===\n", "---\n", "- ", "1. ", "```\n", "| a | b |\n", "|---|---|\n", "> ", "<!-- ",
     "-->", "![a](b.png)", "    ", "<p>", "</p>", "<table>", "<tr>", "<td>a</td>", "<th>b</th>", "</table>", "<figure>",
     "</figure>", "<caption>c</caption>", "<figcaption>f</figcaption>", "<ul><li>", "</ul>", "<pre>", "</pre>", "<h1>",
     "</h1>", "<h2>t</h2>", "<br>", "&nbsp;", "<sup>2</sup>", "Subject: x\n", "From a@b Mon\nSubject: x\n\n",
     "Content-Type: text/html\n\n", "Content-Type: multipart/mixed; boundary=q\n\n", "--q\n", "\x0c", "\u2028",
     "TITLE\n\n", "1.2 Title\n\n", "Table: c\n\n", "Table 1. c\n\n", "Fig. 1: c\n\n"]
)  # fmt: skip
PAGES = st.lists(st.one_of(WORDS, PAGE_MARKS), max_size=40).map("".join)


@SLOW
@given(st.sampled_from([formats.TEXT, formats.MARKDOWN, formats.HTML]), PAGES)
def test_pages_of_any_kind_give_slices(media_type, source):
    check(media_type, source)


@SLOW
@given(PAGES)
def test_plain_text_is_kept_to_the_last_character(source):
    assert check(formats.TEXT, source) == source


@SLOW
@given(st.sampled_from([formats.MAIL, formats.MAILBOX]), PAGES, st.sampled_from(["latin-1", "utf-8"]))
def test_mails_of_any_kind_give_slices(media_type, source, encoding):
    raw = io.BytesIO(source.encode())
    with suppress(SourceError):
        require_verbatim(Result(list(load_parser(PARSERS[media_type])(raw, encoding, LIMITS))).blocks, EMBEDDER)


@SLOW
@given(st.sampled_from([formats.RST, formats.ORG]), TEXTS)
def test_verbatim_markup_has_no_line_that_its_source_has_not(media_type, source):
    lines = set(source.splitlines())
    assert all(line in lines for line in check(media_type, source).splitlines())


@SLOW
@given(JSON_VALUES)
def test_json_of_any_shape_gives_slices(value):
    text = check(formats.JSON, json.dumps(value))
    check(formats.JSON_LINES, f"{json.dumps(value)}\n{json.dumps([value])}\n")
    check(formats.NOTEBOOK, json.dumps({"cells": [{"cell_type": "code", "source": value, "outputs": [value]}, value]}))
    if isinstance(value, dict):
        assert all(" ".join(key.split()) in " ".join(text.split()) for key, each in value.items() if each is True)


@SLOW
@given(st.lists(st.lists(WORDS, min_size=2, max_size=4), min_size=2, max_size=12), st.sampled_from(",;\t|"))
def test_every_cell_of_a_table_is_in_its_text(rows, delimiter):
    held = io.StringIO()
    csv.writer(held, delimiter=delimiter).writerows([[f"c{n}" for n in range(4)], *rows])
    for media_type in (formats.CSV, *([formats.TSV] if delimiter == "\t" else [])):
        text = without_separators(check(media_type, held.getvalue()))
        assert all(without_separators(cell) in text for row in rows for cell in row[:4])


def without_separators(text: str) -> str:
    """What another separator in a cell makes of the rows is not for this test to say."""
    return " ".join(re.sub(r"[,;\t|]", " ", text).split())


@SLOW
@given(st.sampled_from([formats.CSV, formats.TSV]), TEXTS)
@example(formats.CSV, 'a,b\n1,"2\n3,4\n')
@example(formats.CSV, 'sep=;\n"\n')
def test_text_that_is_hardly_a_table_gives_slices_and_loses_no_word(media_type, source):
    text = check(media_type, source).split()
    words = [word for line in source.split("\n") for word in line.split() if word.isalnum() and word.isascii()]
    assert all(any(word in found for found in text) for word in words)


@SLOW
@given(TEXTS)
def test_xml_of_any_kind_gives_slices_or_a_reason(source):
    check(formats.XML, source)
    check(formats.XML, f"<a>{source}</a>")


@SLOW
@given(st.sampled_from([formats.RST, formats.CSV, formats.LATEX, formats.VTT, "text/x-go"]), st.binary(max_size=300))
def test_bytes_of_any_kind_are_read_and_damage_is_told(media_type, raw):
    result = parsed(media_type, raw)
    assert bool(result.notices) >= ("\ufffd" in result.text and "\ufffd".encode() not in raw)
