"""Broken encodings are put right where that is certain, and nothing else is touched."""

import pytest

from indexer.formats import MARKDOWN
from indexer.parsers.blocks import Block, BlockKind, Member, Notice, Title, says_caption, short_caption
from indexer.parsers.repair import repaired, repaired_text
from indexer.parsing.isolation import IsolatedParsers


def misread(text: str, encoding: str) -> str:
    """Its UTF-8 in another encoding; bytes that mean nothing there are control characters, as programs have it."""
    return "".join(bytes([byte]).decode(encoding, errors="ignore") or chr(byte) for byte in text.encode())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "don’t",
        "“a quoted word”",
        "Ångström, São Paulo, Größe",
        "1986–1990",
        "it costs 5 €",
        "Привет, мир",
        "こんにちは",
    ],
)
def test_text_that_was_read_in_the_wrong_encoding_is_put_right(text, encoding):
    broken = misread(text, encoding)
    assert repaired_text(f"a\n{broken}\nb — c") == f"a\n{text}\nb — c"
    assert repaired_text(misread(broken, "latin-1")) == text  # twice
    assert repaired_text(text) == text


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("donâ€™t — it’ll", "donâ€™t — it’ll"),  # the right form beside it: which of them is meant?
        ("Iâ€™ll go — soon", "I’ll go — soon"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚ world", "привет world"),
        ("Yes, we\x92re in", "Yes, we’re in"),
        ("\x93Yes\x94, he said", "“Yes”, he said"),
        ("voilÃ\xa0 le travail", "voilà le travail"),
        ("c\ufffdmm\ufffd\ufffdt\ufffd\ufffd", "c\ufffdmm\ufffd\ufffdt\ufffd\ufffd"),  # they are lost
    ],
)
def test_lines_of_several_encodings(broken, text):
    assert repaired_text(broken) == text


@pytest.mark.parametrize(
    "text",
    [
        "\x84 Yes \x84 No",  # bullets of a symbol font
        "It shows 'Ã©' on every page.",
        "Programs write `â€™` then.",
        "Where UTF-8 is read as Latin-1, donâ€™t is what comes out.",
        "An é becomes Ã©.",
        "The interface buries 1,200 Å² (Å² as in Table 2), 5.2 Å³/atom; V (Å³) | 1234.5",
        "3.2 Å±0.1",
        "Pipes of Ø¾ and Ø½",
        "O FILME “AMANHÃ”",
        "DAS LIED „AMANHÃ“",
        "A CANÇÃO «AMANHÃ»",
        "L’été à Noël : « déjà vu », 20 °C, ½ £, São Tomé, ÄÖÜ ß, naïve Ærø",
        "Ελλάδα, Россия, 日本語, العربية, עברית, ไทย, tiếng Việt, Łódź, İstanbul",
        "x ≤ y² ± ¼ · µm → ∞ … ‰ † ‡ § ¶ ® © ™ ¬ ¦ ¿¡",
        "AÃ B Â C",
        "",
    ],
)
def test_text_that_is_right_or_uncertain_stays(text):
    assert repaired_text(text) == text


def test_what_is_put_right_is_told_and_code_stays():
    broken = "donâ€™t\n\n"
    member = Member(name="donâ€™t", content=[])
    found = list(
        repaired(
            iter(
                [
                    Title(text="Donâ€™t"),
                    Block(text=broken, kind=BlockKind.HEADING, level=1, heading="donâ€™t"),
                    Block(text=broken, kind=BlockKind.CODE),
                    None,
                    Block(text="é | 1\n", kind=BlockKind.TABLE, header="GrÃ¶ÃŸe | n", page=3),
                    Block(text="right é\n"),
                    member,
                ]
            )
        )
    )
    assert found == [
        Title(text="Don’t"),
        Block(text="don’t\n\n", kind=BlockKind.HEADING, level=1, heading="don’t"),
        Block(text=broken, kind=BlockKind.CODE),
        None,
        Block(text="é | 1\n", kind=BlockKind.TABLE, header="Größe | n", page=3),
        Block(text="right é\n"),
        member,
        Notice(message="One block of text had a broken encoding (such as â€™ for an apostrophe), which was repaired."),
    ]


def test_a_caption_is_put_right_where_it_stands_and_on_its_table():
    shown = "Tabelle 1: GrÃ¶ÃŸe der Seen"
    blocks = [
        Block(text=f"{shown}\n", kind=BlockKind.CAPTION),
        Block(text="a | 1\n", kind=BlockKind.TABLE, header="GrÃ¶ÃŸe | n", caption=short_caption(shown)),
        Block(text="é | 1\n", kind=BlockKind.TABLE, caption=short_caption(shown)),
        Block(text="é | 1\n", kind=BlockKind.TABLE, caption=short_caption(f"{shown} {'und der Meere ' * 20}")),
    ]
    caption, *tables, notice = repaired(iter(blocks))
    assert notice.message.startswith("One block of text had")
    assert (caption.text, tables[0].header) == ("Tabelle 1: Größe der Seen\n", "Größe | n")
    assert [says_caption(caption.text, table.caption) for table in tables] == [True, True, False]
    assert tables[2].caption.startswith("Tabelle 1: Größe der Seen und der Meere")


def test_every_file_goes_through_it(tmp_path):
    raw = "# A\n\nIt doesnâ€™t.\n\n    donâ€™t\n".encode()
    file = tmp_path / "a.md"
    file.write_bytes(raw)
    with IsolatedParsers(timeout_s=60, memory_bytes=1 << 31) as parsers, file.open("rb") as opened:
        pieces = list(parsers.parse(opened, media_type=MARKDOWN, encoding="utf-8", size=len(raw)))
    assert "".join(block.text for each in pieces for block in each.blocks) == "# A\n\nIt doesn’t.\n\n    donâ€™t\n"
    assert next(notice for each in pieces for notice in each.notices).startswith("One block of text had")
