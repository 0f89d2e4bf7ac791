import io
import zipfile

import pytest

from indexer.parsers.blocks import Block, Notice, Title
from indexer.parsers.epub import parse_epub
from indexer.parsers.office.rtf import parse_rtf
from rag.errors import SourceDamaged, SourceEncrypted
from tests.unit.office_files import epub, zipped


def parse(parser, content: bytes):
    return [item for item in parser(io.BytesIO(content), "utf-8") if item is not None]


def texts(parser, content: bytes) -> list[tuple[str, str]]:
    return [(item.kind.value, item.text) for item in parse(parser, content) if isinstance(item, Block)]


def test_chapters_come_in_reading_order_under_their_own_title():
    book = epub(
        {"b.xhtml": "<h1>Second</h1><p>B &amp; more</p>", "a%20x.xhtml": "<p>Untitled text</p>"},
        contents={"a%20x.xhtml#top": "Named in the contents"},
    )
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        parts = {name.replace("%20", " "): archive.read(name) for name in archive.namelist()}
    found = parse(parse_epub, zipped(parts))
    assert found[0] == Title(text="A book")
    assert [item.text for item in found[1:]] == [
        "Second\n\n",
        "B & more\n\n",
        "Named in the contents\n\n",
        "Untitled text\n\n",
    ]


def test_the_table_of_contents_may_be_a_page():
    page = (
        "<?xml version='1.0' encoding='utf-8'?><html xmlns:epub='http://www.idpf.org/2007/ops'><body>"
        "<nav epub:type='landmarks'><ol><li><a href='a.xhtml'>Start</a></li></ol></nav>"
        "<nav epub:type='toc'><ol><li><a href='a.xhtml'>The&nbsp;first <i>one</i></a></li></ol></nav></body></html>"
    )
    _title, *blocks = parse(parse_epub, epub({"a.xhtml": "<p>Text</p>"}, contents_page=page))
    assert [block.text for block in blocks] == ["The first one\n\n", "Text\n\n"]


def test_text_that_goes_on_from_the_page_before_is_not_under_the_chapter_that_begins_below_it():
    book = epub(
        {"a.xhtml": "<h2>One</h2><p>Begun</p>", "b.xhtml": "<p>and gone on.</p><h2 id='two'>Two</h2><p>New</p>"},
        contents={"a.xhtml": "One", "b.xhtml#two": "Two"},
    )
    blocks = [item for item in parse(parse_epub, book) if isinstance(item, Block)]
    assert [(block.text.strip(), block.level) for block in blocks] == [
        ("One", 2), ("Begun", 0), ("and gone on.", 0), ("Two", 2), ("New", 0),
    ]  # fmt: skip


def test_a_chapter_begins_with_its_page_where_no_text_is_before_it():
    page = "<!-- a > b --><style>p {}</style><div id='page'>\n<p id='two'>New</p></div>"
    book = epub({"a.xhtml": "<p>Old</p>", "b.xhtml": page}, contents={"a.xhtml": "One", "b.xhtml#two": "Two"})
    blocks = [item for item in parse(parse_epub, book) if isinstance(item, Block)]
    assert [block.text.strip() for block in blocks] == ["One", "Old", "Two", "New"]


@pytest.mark.parametrize("place", ["a.xhtml", "a.xhtml#motto"])
def test_a_chapter_that_begins_before_its_heading_is_not_below_itself(place):
    book = epub({"a.xhtml": "<p> &#160;<i id='motto'>A motto</i></p><h2>One</h2><p>Text</p>"}, contents={place: "One"})
    blocks = [item for item in parse(parse_epub, book) if isinstance(item, Block)]
    assert [(block.heading, block.level) for block in blocks if block.heading] == [("One", 1), ("One", 1)]


def test_a_missing_chapter_is_told_and_a_protected_book_refused():
    with zipfile.ZipFile(io.BytesIO(epub({"a.xhtml": "<p>a</p>", "b.xhtml": "<p>b</p>"}))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    del parts["in/b.xhtml"]
    assert isinstance(parse(parse_epub, zipped(parts))[-1], Notice)
    method = "<EncryptedData><EncryptionMethod Algorithm='{}'/></EncryptedData>"
    parts["META-INF/encryption.xml"] = f"<e>{method.format('http://www.idpf.org/2008/embedding')}</e>"
    assert parse(parse_epub, zipped(parts))
    parts["META-INF/encryption.xml"] = f"<e>{method.format('http://www.w3.org/2001/04/xmlenc#aes128-cbc')}</e>"
    with pytest.raises(SourceEncrypted):
        parse(parse_epub, zipped(parts))
    with pytest.raises(SourceDamaged):
        parse(parse_epub, zipped({"META-INF/container.xml": "<container/>"}))


def test_rich_text_has_paragraphs_lists_tables_and_any_script():
    content = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title Letter to a duck}}"
        rb"Gr\'fc\'dfe \u26085? \u-10179?\u-8704?\par \bullet\tab one\par \bullet\tab two\par"
        rb"\trowd Name\cell Age\cell\row Ann\cell 7\cell\row\pard The end.\par}"
    )
    assert parse(parse_rtf, content)[0] == Title(text="Letter to a duck")
    assert texts(parse_rtf, content) == [
        ("paragraph", "Grüße 日 😀\n\n"),
        ("list", "- one\n- two\n\n"),
        ("table", "Name | Age\nAnn | 7\n\n"),
        ("paragraph", "The end.\n\n"),
    ]


def test_bullets_of_fonts_of_signs_are_marks_of_a_list():
    item = rb"\pard\plain{\listtext\pard\plain\f3 \u-3913\'b7\tab}%b\par"
    assert texts(parse_rtf, rb"{\rtf1\ansi\ansicpg1252 " + item % b"one" + item % b"two" + b"}") == [
        ("list", "- one\n- two\n\n")
    ]


BELOW = rb"What stands below a heading is longer than that, and is not bold.\par "


def test_headings_of_rich_text_without_styles_are_told_by_their_letters():
    head = rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}{\stylesheet{\s1\b\fs40 heading 1;}}\pard\plain\fs24 "
    content = (
        head
        + (rb"{\b\fs36{\*\bkmkstart a}On d\'fccks}\par " + BELOW)
        + (rb"\b Food\b0\par " + BELOW + rb"{\b 1. Bread \u8212-\'20crumbs}\par " + BELOW + rb"1. not \b this\b0\par ")
        + (rb"\pard\intbl {\b Not here}\par x\cell\row\pard " + BELOW)
        + (rb"{\b Ponds\plain}\par " + BELOW + rb"}")
    )
    found = [item for item in parse(parse_rtf, content) if isinstance(item, Block) and item.heading]
    assert [(block.level, block.text) for block in found] == [
        (1, "On dücks\n\n"),
        (2, "Food\n\n"),
        (2, "1. Bread — crumbs\n\n"),
        (2, "Ponds\n\n"),
    ]


def test_headings_of_rich_text_with_levels_are_these():
    content = (
        rb"{\rtf1\ansi\pard\s1\outlinelevel0\b\fs36 Ducks\par\pard\plain " + BELOW + rb"{\b Not marked}\par " + BELOW
        + rb"\pard\s2\outlinelevel1 Food\par\pard\outlinelevel9 " + BELOW + rb"{\b Not marked}\par " + BELOW + rb"}"
    )  # fmt: skip
    found = [item for item in parse(parse_rtf, content) if isinstance(item, Block) and item.heading]
    assert [(block.level, block.heading) for block in found] == [(1, "Ducks"), (2, "Food")]


def test_deleted_and_hidden_words_of_rich_text_are_left_out():
    content = (
        rb"{\rtf1 Pay {\deleted\revauthdel1 five}\emdash {\b ten} euros\v  secret\v0  now.\par"
        rb"\trowd {\deleted Old}\cell B\cell\row C\cell{\v x}\cell\row\pard {\deleted All of it.}\par End.\par}"
    )
    assert texts(parse_rtf, content) == [
        ("paragraph", "Pay \u2014ten euros now.\n\n"),
        ("table", " | B\nC\n\n"),
        ("paragraph", "End.\n\n"),
    ]


def test_signs_in_the_place_of_marks_are_no_text():
    assert texts(parse_rtf, b"{\\rtf1 a\\u-560?" + b"1" * 5000 + b"\\u-559? b\\par}")[0][1].endswith("1 b\n\n")


def test_rich_text_with_counted_bytes_has_its_words():
    content = rb"{\rtf1 {\b before}\par{\pict\bin4 }{\b}after \u-560?\u-559?\par}"
    assert "".join(text for _kind, text in texts(parse_rtf, content)).startswith("before\n\nafter")


def test_pictures_of_rich_text_are_passed_over():
    picture = b"{\\pict\\pngblip " + b"89504e47\r\n" * 500_000 + b"}"
    assert texts(parse_rtf, b"{\\rtf1 before\\par" + picture + b" after\\par}") == [
        ("paragraph", "before\n\n"),
        ("paragraph", "after\n\n"),
    ]
