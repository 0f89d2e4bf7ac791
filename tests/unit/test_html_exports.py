"""HTML as office programs save it."""

import pytest

from indexer.formats import HTML
from tests.unit.parsing import parsed


def mark(shown: str) -> str:
    return f"<span style='font-family:Symbol'><span>{shown}<span>&nbsp;&nbsp; </span></span></span>"


def item(shown: str, text: str, level: int) -> str:
    return (
        f"<p class=MsoListParagraphCxSpMiddle style='mso-list:l0 level{level} lfo1'><![if !supportLists]>{mark(shown)}"
        f"<![endif]>{text}</p>\n"
    )


def test_titles_captions_and_contents_of_word():
    page = (
        "<title>x</title><p class=MsoToc1><a href='#a'>1 Opening 3</a></p>kept<p class=MsoTitle>Minutes</p>"
        "<h1>Opening</h1><table><tr><td>Name</td><td>Vote</td></tr><tr><td>Ann</td><td>1</td></tr></table>"
        "<p class=MsoCaption>Table 1: V</p>"
    )
    assert parsed(HTML, page).kinds() == [
        ("paragraph", "kept"),
        ("heading", "Minutes"),
        ("heading", "Opening"),
        ("table", "Name | Vote\nAnn | 1"),
        ("caption", "Table 1: V"),
    ]


def test_paragraphs_that_word_and_outlook_make_lists_of():
    page = (
        "<p class=MsoNormal>Before</p>" + item("·", "one", 1) + item("o", "inner <b>bold</b>", 2) + item("·", "two", 1)
        + "<p class=MsoNormal>Between</p>" + item("3.", "third", 1) + item("4.", "fourth", 1) + "tail"
        + "<p class=MsoListParagraph>no mark</p><p class=MsoListParagraph>o mark within</p>"
    )  # fmt: skip
    assert parsed(HTML, page).kinds() == [
        ("paragraph", "Before"),
        ("list", "- one\n  - inner bold\n- two"),
        ("paragraph", "Between"),
        ("list", "3. third\n4. fourth"),
        ("paragraph", "tail"),
        ("paragraph", "no mark"),
        ("paragraph", "o mark within"),
    ]


def test_the_title_of_a_google_document_is_a_heading():
    page = "<p class='c1 title' id='h.x'><span>Plan</span></p><p class='title'>Other</p>"
    assert parsed(HTML, page).kinds() == [("heading", "Plan"), ("paragraph", "Other")]


@pytest.mark.parametrize(
    ("reference", "note"),
    [
        (
            "<a href='#_ftn1' name='_ftnref1'>[1]</a>",
            "<div id=ftn1><p><a href='#_ftnref1' name='_ftn1'>[1]</a> Note.</p></div>",
        ),
        (
            "<sup><a href='#ftnt1' id='ftnt_ref1'>[1]</a></sup>",
            "<div><p><a href='#ftnt_ref1' id='ftnt1'>[1]</a> Note.</p></div>",
        ),
        (
            "<a href='#fn1' id='fnref1' role='doc-noteref'><sup>1</sup></a>",
            "<section><ol><li id='fn1'><p>Note.<a href='#fnref1'>↩︎</a></p></li></ol></section>",
        ),
        (
            "<sup><a href='#user-content-fn-1' id='user-content-fnref-1'>1</a></sup>",
            "<ol><li id='user-content-fn-1'><p>Note. <a href='#user-content-fnref-1'>↩</a></p></li></ol>",
        ),
    ],
)
def test_notes_stand_behind_what_refers_to_them(reference, note):
    page = f"<h1>A</h1><p>Text{reference} goes on{reference}.</p><p>More.</p><h1>B</h1><p>End.</p><hr>{note}"
    found = parsed(HTML, page)
    texts = ["A", "Text[1] goes on[1].", "[1] Note.", "More.", "B", "End."]
    assert [text for _kind, text in found.kinds()] == texts


def test_notes_of_lists_and_tables_come_behind_the_item_and_the_table():
    link = "<a href='#fn{0}'>{0}</a>"
    page = (
        f"<ul><li>one {link.format(1)}</li><li>two</li></ul><table><tr><th>a</th>"
        f"<th>b {link.format(2)}</th></tr>"
        f"<tr><td>1</td><td>2 {link.format(3)}</td></tr></table>"
        "<p>End. <a href='#fn9'>9</a> <a href='#cite_note-1'>8</a></p>"
        + "".join(f"<p id=fn{n}>Note {n}.</p>" for n in (1, 2, 3))
        + "<p id=cite_note-1>Cited.</p>"
    )
    assert parsed(HTML, page).kinds() == [
        ("list", "- one [1]\n  [1] Note 1.\n- two"),
        ("table", "a | b [2]\n1 | 2 [3]"),
        ("paragraph", "[2] Note 2."),
        ("paragraph", "[3] Note 3."),
        ("paragraph", "End. 9 8"),
        ("paragraph", "Cited."),
    ]


def test_a_note_around_what_refers_to_it_stays_where_it_is():
    page = "<div id=fn1><p>Text <a href='#fn1'>1</a></p></div><p id=fn2>a <a href='#fn2'>2</a></p>"
    assert parsed(HTML, page).kinds() == [("paragraph", "Text 1"), ("paragraph", "a 2")]


def test_bookmarks_tell_their_addresses():
    page = """<!DOCTYPE NETSCAPE-Bookmark-file-1><TITLE>Bookmarks</TITLE><H1>Bookmarks</H1><DL><p>
    <DT><H3 ADD_DATE="16">Boat</H3><DL><p><DT><A HREF="https://svb.example/epoxy" ADD_DATE="16">Epoxy <b>resin</b></A>
    <DT><A HREF="javascript:void(0)" ADD_DATE="16">Mark it</A></DL><p></DL><p>"""
    found = parsed(HTML, page)
    assert found.of("heading") == ["Bookmarks", "Boat"]
    assert "Epoxy resin https://svb.example/epoxy" in found.text
    assert "javascript" not in found.text
