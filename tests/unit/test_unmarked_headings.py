import io
from collections.abc import Iterator

import pytest

from indexer.parsers.blocks import Block, BlockKind
from indexer.parsers.office.docx import parse_docx
from indexer.parsers.office.odf import parse_odt
from indexer.parsers.office.unmarked_headings import Line, unmarked_headings
from tests.unit.office_files import W, docx, odf, paragraph, styles, table

BODY = "This paragraph says something at length, and ends as sentences do."
NUMBERING = (
    f'<w:numbering {W}><w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/>'
    '<w:lvlText w:val="%1."/></w:lvl></w:abstractNum><w:abstractNum w:abstractNumId="2"><w:lvl w:ilvl="0">'
    '<w:numFmt w:val="bullet"/></w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="1"/></w:num>'
    '<w:num w:numId="2"><w:abstractNumId w:val="2"/></w:num></w:numbering>'
)


def as_line(place: int, line: str) -> Line:
    text = line.lstrip("+")
    size = 10 + 2 * (len(line) - len(text))
    return Line(place=place, text=text.lstrip("*"), size=size, bold=text.startswith("*"))


def levels(*lines: str | Line) -> dict[str, int]:
    """Headings of a document. Strings that begin with ``*`` are bold; each ``+`` in front makes them larger."""
    read = [line if isinstance(line, Line) else as_line(place, line) for place, line in enumerate(lines)]
    found: dict[int, int] = {}

    def search() -> Iterator[None]:
        found.update((yield from unmarked_headings(read)))

    assert all(sign is None for sign in search())
    return {line.text: found[line.place] for line in read if line.place in found}


def headings(body: str, **parts: str) -> list[tuple[int, str]]:
    content = docx(body, parts={f"{name}.xml": part for name, part in parts.items()})
    found = parse_docx(io.BytesIO(content), "utf-8")
    return [(b.level, b.heading) for b in found if isinstance(b, Block) and b.kind is BlockKind.HEADING]


def bold(text: str, properties: str = "", letters: str = "<w:b/>") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:rPr>{letters}</w:rPr><w:t>{text}</w:t></w:r></w:p>"


def test_sizes_give_the_levels():
    assert levels("++*Guide", BODY, "+*Use", BODY, "*Details", BODY, "*More", BODY, "+*Repair", BODY) == {
        "Guide": 1,
        "Use": 2,
        "Details": 3,
        "More": 3,
        "Repair": 2,
    }


def test_numbers_put_a_section_below_its_own():
    assert levels("*1. Scope", BODY, "*1.1 Goods", BODY, "*1.1.1 Ducks", BODY, "*2. Price", BODY) == {
        "1. Scope": 1,
        "1.1 Goods": 2,
        "1.1.1 Ducks": 3,
        "2. Price": 1,
    }


def test_a_heading_may_stand_right_above_a_lower_one():
    assert levels("+*Part", "*Section", BODY, "*Other", BODY, "+*Next", BODY) == {
        "Part": 1,
        "Section": 2,
        "Other": 2,
        "Next": 1,
    }


def test_little_text_is_below_its_own_heading_where_others_look_so():
    assert levels("*Experience", BODY, "*Education", BODY, "*Skills", "Python, SQL", "*Hobbies", "Ducks") == {
        "Experience": 1,
        "Education": 1,
        "Skills": 1,
        "Hobbies": 1,
    }
    assert levels("*Experience", BODY, "*Skills", "Python, SQL") == {"Experience": 1}


def test_lines_to_fill_in_are_no_text():
    assert levels("*Consent", BODY, "*Privacy", BODY, "*Signature", "_" * 50, "*Place", "." * 50) == {
        "Consent": 1,
        "Privacy": 1,
    }


def test_capitals_rank_above_small_letters_but_a_name_does_not():
    assert levels("*WARRANTY", BODY, "*Repair", BODY, "*PAYMENT", BODY, "*Terms", BODY) == {
        "WARRANTY": 1,
        "Repair": 2,
        "PAYMENT": 1,
        "Terms": 2,
    }
    assert levels("*Repair", BODY, "*OPENSSL", BODY, "*Terms", BODY) == {"Repair": 1, "OPENSSL": 1, "Terms": 1}


def test_the_number_of_a_part_may_stand_above_its_name():
    assert levels("*ARTICLE I", "*DEFINITIONS", BODY, "*ARTICLE II", "*PAYMENT", BODY, "*ARTICLE III", BODY) == {
        "ARTICLE I": 1,
        "DEFINITIONS": 2,
        "ARTICLE II": 1,
        "PAYMENT": 2,
        "ARTICLE III": 1,
    }
    assert levels("*§ 1 Mietsache", BODY, "*§ 2 Mietzins", BODY) == {"§ 1 Mietsache": 1, "§ 2 Mietzins": 1}


@pytest.mark.parametrize(
    "lines",
    [
        ("Sentences", BODY, "*All visitors report to reception.", BODY, "*Bring your badge!", BODY),
        ("Letter", BODY, "*Ann Smith", "*Head of Ducks", "*1 Lake Road", BODY),
        ("Form", BODY, "*Name", "Ann", "*Telephone", "555 1234", "*Town", "Lakeside"),
        ("Note", BODY, "*Mind the step", BODY, BODY),
        ("List", BODY, "*• Ducks", BODY, "*- Geese", BODY),
        ("Mail", BODY, "*ann@example.org", BODY, "*www.example.org", BODY),
        ("Fill in", BODY, "*Name ______", BODY, "*Date ______", BODY),
        ("Captions", BODY, "*Table 1: Ducks", BODY, "*Figure 2", BODY),
        ("Fragments", BODY, "*and geese", BODY, "*of the lake", BODY),
        ("Long", BODY, "*" + "word " * 30 + "end", BODY, "*" + "more " * 30 + "end", BODY),
        ("Most is bold", *[f"*{BODY}"] * 4, "*Ducks", BODY, "*Geese", BODY),
        ("Cover", BODY, "++*October 1, 2012", BODY, "++*May 2, 2013", BODY),
        ("Last", BODY, "*Ducks", "*Geese"),
        ("Emphasis below", BODY, "*Ducks", f"*{BODY}", BODY, "*Geese", f"*{BODY}", BODY, BODY, BODY),
    ],
)
def test_emphasis_is_no_heading(lines: tuple[str, ...]):
    assert levels(*lines) == {}


def test_marked_headings_are_enough():
    marked = [Line(place=90 + i, text=f"Chapter {i}", level=1) for i in range(2)]
    lines = ("*Ducks", BODY, "*Geese", BODY)
    assert levels(*lines, *marked) == {}
    assert levels(Line(place=90, text="Birds", level=1, is_title=True), *lines) == {"Ducks": 2, "Geese": 2}
    assert levels(*lines, marked[0]) == {"Ducks": 2, "Geese": 2}


def test_bold_paragraphs_of_word_are_headings():
    body = (
        bold("Ducks")
        + paragraph(BODY)
        + f"<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Note:</w:t></w:r><w:r><w:t> {BODY}</w:t></w:r></w:p>"
        + bold("Geese", letters='<w:b w:val="1"/>')
        + bold("Plain", letters='<w:b w:val="0"/>')
        + paragraph(BODY)
        + table([["Kind", "Count"], ["Duck", "2"]]).replace("<w:r>", "<w:r><w:rPr><w:b/></w:rPr>")
        + bold("Swans")
        + table([["Kind", "Count"], ["Swans of the northern lake and its shores", "2"]])
    )
    assert headings(body) == [(1, "Ducks"), (1, "Geese"), (1, "Swans")]


def test_letters_come_from_styles_too():
    shared = (
        f'<w:styles {W}><w:docDefaults><w:rPrDefault><w:rPr><w:sz w:val="22"/></w:rPr></w:rPrDefault></w:docDefaults>'
        '<w:style w:type="paragraph" w:styleId="Big"><w:name w:val="Big"/><w:rPr><w:sz w:val="32"/></w:rPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="Own"/><w:basedOn w:val="Big"/></w:style>'
        '<w:style w:type="paragraph" w:styleId="Sub"><w:name w:val="Subtitle"/><w:basedOn w:val="Big"/></w:style>'
        '<w:style w:type="character" w:styleId="Strong"><w:name w:val="Strong"/><w:rPr><w:b/></w:rPr></w:style>'
        "</w:styles>"
    )
    strong = '<w:rStyle w:val="Strong"/>'
    body = "".join(
        part + paragraph(BODY)
        for part in (
            paragraph("Birds", "Own"),
            bold("Ducks", letters=strong),
            paragraph("As seen from the shore", "Sub"),
            bold("Geese", letters=strong),
            paragraph("Fish", "Own"),
        )
    )
    assert headings(body, styles=shared) == [(1, "Birds"), (2, "Ducks"), (2, "Geese"), (1, "Fish")]


def test_numbered_items_of_word_are_headings_only_if_the_list_is_made_of_them():
    def item(number: int) -> str:
        return f'<w:numPr><w:ilvl w:val="0"/><w:numId w:val="{number}"/></w:numPr>'

    body = bold("Ducks", item(1)) + paragraph(BODY) + bold("Geese", item(1)) + paragraph(BODY)
    assert headings(body, numbering=NUMBERING) == [(1, "1. Ducks"), (1, "2. Geese")]
    assert headings(body + bold("plain", item(1), ""), numbering=NUMBERING) == []
    bullets = bold("Ducks", item(2)) + paragraph(BODY) + bold("Geese", item(2)) + paragraph(BODY)
    assert headings(bullets, numbering=NUMBERING) == []


def test_outline_levels_are_headings_with_or_without_a_style():
    shared = styles(H="heading 2").replace(
        "</w:styles>",
        '<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="Own"/><w:basedOn w:val="H"/></w:style>'
        '<w:style w:type="paragraph" w:styleId="Out"><w:name w:val="Out"/><w:pPr><w:outlineLvl w:val="2"/></w:pPr>'
        '</w:style><w:style w:type="paragraph" w:styleId="Body"><w:name w:val="No heading"/><w:basedOn w:val="H"/>'
        '<w:pPr><w:outlineLvl w:val="9"/></w:pPr></w:style></w:styles>',
    )
    body = (
        bold("Direct", '<w:outlineLvl w:val="0"/>', "")
        + paragraph("Based", "Own")
        + paragraph("Outlined", "Out")
        + paragraph("Body", "Body")
        + paragraph(BODY)
    )
    assert headings(body, styles=shared) == [(1, "Direct"), (2, "Based"), (3, "Outlined")]


def test_bold_paragraphs_of_opendocument_are_headings():
    looks = (
        '<style:default-style style:family="paragraph"><style:text-properties fo:font-size="12pt"/>'
        '</style:default-style><style:style style:name="Big" style:family="paragraph">'
        '<style:text-properties fo:font-size="150%"/></style:style>'
        '<style:style style:name="P1" style:family="paragraph" style:parent-style-name="Big"/>'
        '<style:style style:name="P2" style:family="paragraph"><style:text-properties fo:font-weight="bold"/>'
        '</style:style><style:style style:name="T1" style:family="text"><style:text-properties fo:font-weight="700"/>'
        "</style:style>"
    )
    after = f"<text:p>{BODY}</text:p>"
    body = (
        f'<text:p text:style-name="P1">Birds</text:p>{after}<text:p text:style-name="P2">Ducks</text:p>{after}'
        f'<text:p><text:span text:style-name="T1">Geese</text:span></text:p>{after}'
        f'<text:p><text:span text:style-name="T1">Note:</text:span> {BODY}</text:p>'
        '<text:list><text:list-item><text:p text:style-name="P2">Swans</text:p></text:list-item></text:list>' + after
    )
    found = parse_odt(io.BytesIO(odf("text", body, styles=looks)), "utf-8")
    shown = [(b.level, b.heading) for b in found if isinstance(b, Block) and b.kind is BlockKind.HEADING]
    assert shown == [(1, "Birds"), (2, "Ducks"), (2, "Geese")]
