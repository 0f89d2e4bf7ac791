import io

import pytest

from indexer.parsers.blocks import Block, BlockKind, Notice, Title
from indexer.parsers.pdf import parse_pdf
from rag.errors import SourceDamaged, SourceEncrypted, SourceHasNoText
from tests.unit.pdf_pages import make_image_pdf, make_pdf


def parse(content: bytes):
    return list(parse_pdf(io.BytesIO(content), "utf-8"))


def blocks_of(content: bytes):
    return [item for item in parse(content) if isinstance(item, Block)]


def body(page: int) -> list[str]:
    return ["", f"Paragraph {page} begins on this line", "and ends on the next one.", "", "A second paragraph, alone."]


def test_headings_paragraphs_and_pages():
    content = make_pdf(
        [[("The Title", 20), *body(1), "", ("A Section", 14), *body(7)], [("Another", 14), *body(2)]], title="Of rivers"
    )
    assert Title(text="Of rivers") in parse(content)
    blocks = blocks_of(content)
    assert [(b.level, b.heading, b.page) for b in blocks if b.kind is BlockKind.HEADING] == [
        (1, "The Title", 1),
        (2, "A Section", 1),
        (2, "Another", 2),
    ]
    texts = [block.text for block in blocks]
    assert "Paragraph 1 begins on this line and ends on the next one.\n\n" in texts
    assert "A second paragraph, alone.\n\n" in texts


def test_running_headers_footers_and_page_numbers_are_left_out():
    content = make_pdf([body(i) for i in range(1, 6)], header="The Handbook, page {page}", footer="{page}")
    text = "".join(block.text for block in blocks_of(content))
    assert "Handbook" not in text
    assert [line for line in text.split("\n") if line.strip().isdigit()] == []
    assert text.count("A second paragraph") == 5


def test_a_number_in_the_text_is_no_page_number():
    content = make_pdf([["The answer was", "42", "in all cases."]])
    assert "42" in blocks_of(content)[0].text


def test_tables_become_rows_of_cells():
    rows = ["Model\tLayers\tSize", "Small\t12\t110 million", "Large\t24\t340 million"]
    (table,) = [b for b in blocks_of(make_pdf([["Some text before it.", "", *rows]])) if b.kind is BlockKind.TABLE]
    assert table.text == "Model | Layers | Size\nSmall | 12 | 110 million\nLarge | 24 | 340 million\n\n"


def test_words_cut_at_the_end_of_a_line_are_whole_again():
    text = blocks_of(make_pdf([["This line ends inside of a hyphen-", "ated word and goes on."]]))[0].text
    assert "hyphenated word" in text or "hyphen-ated word" in text
    assert "- ated" not in text


def test_list_items_keep_their_lines():
    (block,) = blocks_of(make_pdf([["• one thing", "• another thing", "• a third"]]))
    assert block.kind is BlockKind.LIST
    assert block.text == "• one thing\n• another thing\n• a third\n\n"


def test_a_password_is_an_error_of_its_own():
    with pytest.raises(SourceEncrypted, match="password"):
        parse(make_pdf([["secret"]], encrypted=True))


def test_damage_is_an_error_of_its_own():
    good = make_pdf([["text"]])
    for damaged in (b"%PDF-1.7\nnothing more", good[:200], b"%PDF-" + bytes(1000)):
        with pytest.raises(SourceDamaged):
            parse(damaged)


def test_images_alone_are_no_text():
    with pytest.raises(SourceHasNoText, match="OCR") as caught:
        parse(make_image_pdf())
    assert caught.value.code == "source_has_no_text"


def test_pages_without_text_are_told():
    items = parse(make_pdf([["text"], [], ["text"], [], [], ["text"]]))
    assert [item.message for item in items if isinstance(item, Notice)] == ["3 of 6 pages hold no text: 2, 4-5"]


def test_long_documents_give_signs_of_life():
    assert parse(make_pdf([body(i) for i in range(30)])).count(None) >= 30
