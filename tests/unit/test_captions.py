"""Captions: blocks of their own, known to the tables that they belong to, whatever the format."""

import io

import pytest

from indexer import formats
from indexer.chunking.chunker import MAX_TOKENS, chunk_blocks
from indexer.detection.office import DOCX, EPUB, ODT, PPTX, RTF
from indexer.parsers.blocks import Block, BlockKind, Notice, short_caption
from indexer.parsers.captions import beside_tables, is_caption
from indexer.parsers.pdf.parser import parse_pdf
from indexer.parsers.registry import PARSERS, load_parser
from rag.embedding.fake import HashingEmbedder
from tests.unit.office_files import CHART, docx, epub, odf, paragraph, pptx, shape, styles, table
from tests.unit.parsing import LIMITS, Result
from tests.unit.pdf_pages import make_pdf

ROWS = [["name", "depth"], ["Inn", "3"]]
HTML_TABLE = "<tr><th>name</th><th>depth</th></tr><tr><td>Inn</td><td>3</td></tr>"
PAGE = (
    "<p>Before.</p><figure><img src='a.png'><figcaption><p>A duck.</p></figcaption></figure><p>Between.</p>"
    f"<figure><table>{HTML_TABLE}</table><figcaption><b>Table 1</b>: Depths</figcaption></figure>"
    f"<table><caption>Lakes</caption>{HTML_TABLE}</table>"
)
ODF_TABLE = "<table:table>" + "".join(
    "<table:table-row>"
    + "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in row)
    + "</table:table-row>"
    for row in ROWS
) + "</table:table>"  # fmt: skip
ODF_STYLES = '<style:style style:name="P1" style:parent-style-name="Table"/>'
SOURCES = {
    formats.HTML: (f"<html><body>{PAGE}</body></html>", ["A duck.", "Table 1: Depths", "Lakes"],
                   ["Table 1: Depths", "Lakes"]),
    EPUB: (epub({"a.xhtml": PAGE}), ["A duck.", "Table 1: Depths", "Lakes"], ["Table 1: Depths", "Lakes"]),
    formats.MAIL: (f"Subject: x\nContent-Type: text/html\n\n<html><body>{PAGE}</body></html>",
                   ["A duck.", "Table 1: Depths", "Lakes"], ["Table 1: Depths", "Lakes"]),
    formats.LATEX: (
        (r"Before. \begin{figure}\includegraphics{a}\caption{A \emph{duck}.}\end{figure} Between."
        r"\begin{table}\begin{tabular}{ll} name & depth \\ Inn & 3 \end{tabular}\caption[s]{Depths}\end{table}"
        r"\begin{longtable}{ll}\caption{Long}\\ name & depth \\ \endhead\caption{Long, on}\\ Inn & 3 \end{longtable}"
        r"\begin{tabular}{ll} name & depth \\ Inn & 3 \end{tabular}"),
        ["A duck.", "Depths", "Long"], ["Depths", "Long", ""]),
    formats.ORG: (
        ("Before.\n#+CAPTION[short]: Depths\n#+NAME: t\n| name | depth |\n| Inn | 3 |\n\n"
        "#+CAPTION: A duck\n[[a.png]]\n\n| name | depth |\n| Inn | 3 |\n"),
        ["#+CAPTION[short]: Depths", "#+CAPTION: A duck"], ["Depths", ""]),
    formats.RST: (
        ("Before.\n\n.. list-table:: Depths\n   :header-rows: 1\n\n   * - name\n     - depth\n\n"
        ".. figure:: a.png\n   :alt: duck\n\n   A duck.\n\n.. list-table::\n\n   * - name\n     - depth\n"),
        [".. list-table:: Depths\n   :header-rows: 1", ".. figure:: a.png\n   :alt: duck\n\n   A duck."],
        ["Depths", ""]),
    formats.MARKDOWN: (
        ("Before.\n\n![A duck](a.png)\n\n| name | depth |\n|---|---|\n| Inn | 3 |\n\n: Depths\n\nTable 2 shows more.\n"
        "\n| name | depth |\n|---|---|\n| Inn | 3 |\n\n**Table 2.** Lakes\n\nA [link](a) and ![a picture](b.png).\n"),
        ["![A duck](a.png)", ": Depths", "**Table 2.** Lakes"], ["Depths", "**Table 2.** Lakes"]),
    formats.XML: (
        ("<?xml version='1.0'?><a><sec><title>S</title><p>Before <fig><label>Fig. 1</label><caption><title>Duck."
        "</title><p>It swims.</p></caption></fig> after.</p>"
        "<table-wrap><label>Table 1</label><caption><p>Depths</p></caption>"
        f"<table>{HTML_TABLE}</table></table-wrap></sec><fig><label>Fig. 2</label></fig><table><title>Lakes</title>"
        f"{HTML_TABLE.replace('tr>', 'row>')}</table><table>{HTML_TABLE}</table></a>"),
        ["Fig. 1 Duck. It swims.", "Table 1 Depths", "Fig. 2", "Lakes"], ["Table 1 Depths", "Lakes", ""]),
    DOCX: (
        docx(
            paragraph("Table 1: Depths", "C") + table(ROWS) + paragraph("Figure 1: A duck", "D") + table(ROWS)
            + paragraph("Table 2: Lakes", "C") + paragraph("Lakes", "C") + table(ROWS) + paragraph("Text"),
            parts={"styles.xml": styles(C="caption", D="Image Caption")},
        ),
        ["Table 1: Depths", "Figure 1: A duck", "Table 2: Lakes", "Lakes"],
        ["Table 1: Depths", "Table 2: Lakes", "Lakes"]),
    ODT: (
        odf("text", "<text:p>Before.</text:p><text:p text:style-name='Illustration'>Figure 1: A duck</text:p>"
            f"{ODF_TABLE}<text:p text:style-name='P1'>Table 1: Depths</text:p>", styles=ODF_STYLES),
        ["Figure 1: A duck", "Table 1: Depths"], ["Table 1: Depths"]),
    PPTX: (
        pptx(["<p:graphicFrame><c:chart r:id='x0'/></p:graphicFrame>"],
             parts={1: {"charts/chart1.xml": ("chart", CHART)}}),
        ["Ducks by year"], ["Ducks by year"]),
}  # fmt: skip


def result(media_type: str, source: str | bytes) -> Result:
    raw = source.encode() if isinstance(source, str) else source
    limits = [LIMITS] if media_type in formats.CONTAINERS else []
    return Result(list(load_parser(PARSERS[media_type])(io.BytesIO(raw), "utf-8", *limits)))


@pytest.mark.parametrize("media_type", SOURCES)
def test_captions_are_blocks_of_their_own_and_tables_know_theirs(media_type):
    source, captions, tables = SOURCES[media_type]
    found = result(media_type, source)
    assert found.of("caption") == captions
    assert [block.caption for block in found.blocks if block.kind is BlockKind.TABLE] == tables
    assert not any("Depths" in block.text for block in found.blocks if block.kind is BlockKind.PARAGRAPH)
    assert not {*captions} & {*found.of("heading")}


PPTX_CELL = "<a:tc><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>"
PPTX_ROWS = "".join("<a:tr>" + "".join(map(PPTX_CELL.format, row)) + "</a:tr>" for row in ROWS)
PPTX_TABLE = f"<p:graphicFrame><a:graphic><a:tbl>{PPTX_ROWS}</a:tbl></a:graphic></p:graphicFrame>"
RTF_TABLE = rb"\trowd name\cell depth\cell\row Inn\cell 3\cell\row\pard "


@pytest.mark.parametrize(
    ("media_type", "source"),
    [
        (DOCX, docx(paragraph("Table 1: Depths") + table(ROWS) + paragraph("Table 1 shows them."))),
        (ODT, odf("text", f"<text:p>Table 1: Depths</text:p>{ODF_TABLE}<text:p>Table 1 shows them.</text:p>")),
        (PPTX, pptx([shape("Table 1: Depths") + PPTX_TABLE + shape("Table 1 shows them.")])),
        (RTF, rb"{\rtf1\ansi Table 1: Depths\par" + RTF_TABLE + rb"Table 1 shows them.\par}"),
    ],
)
def test_numbered_paragraphs_without_a_style_are_captions_too(media_type, source):
    found = result(media_type, source)
    assert found.of("caption") == ["Table 1: Depths"]
    assert [block.caption for block in found.blocks if block.kind is BlockKind.TABLE] == ["Table 1: Depths"]


def test_a_page_of_a_pdf_has_captions_where_they_are_numbered_and_stand_alone():
    rows = ["Lake\tDepth", "Inn\t3", "Isar\t4"]
    content = make_pdf(
        [["Table 1: Depths of lakes", "", *rows, "", "Figure 2 shows them, and more.", "", "Fig. 2. Duck"]]
    )
    found = Result(list(parse_pdf(io.BytesIO(content), "utf-8")))
    assert found.of("caption") == ["Table 1: Depths of lakes", "Fig. 2. Duck"]
    assert [block.caption for block in found.blocks if block.kind is BlockKind.TABLE] == ["Table 1: Depths of lakes"]


@pytest.mark.parametrize("text", ["Table 1: x", "Fig. 3.2 Ducks", "Tabelle 4", "Figure A1 – y", "**Table 2.** z"])
def test_numbered_titles_are_captions(text):
    assert is_caption(text)


@pytest.mark.parametrize("text", ["Table 1 shows x", "Figures are 3", "Tables: x", "Table of 3", "Figure 2, which"])
def test_sentences_about_a_table_are_no_captions(text):
    assert not is_caption(text)


def rows(text: str = "a | b\n", **said: object) -> Block:
    return Block(text=text, kind=BlockKind.TABLE, **said)


def caption(text: str) -> Block:
    return Block(text=f"{text}\n\n", kind=BlockKind.CAPTION)


def told(*found: object) -> list[str]:
    return [item.caption for item in beside_tables(found) if isinstance(item, Block) and item.kind is BlockKind.TABLE]


def test_pieces_of_a_table_have_its_caption_and_the_next_table_has_not():
    pieces = [rows(), rows(header="x | y"), None, rows(header="x | y")]
    assert told(caption("Depths"), *pieces, rows()) == ["Depths"] * 3 + [""]
    assert told(*pieces, caption("Table 1: Depths")) == ["Table 1: Depths"] * 3
    assert told(rows(), *pieces, caption("Table 1: Depths")) == ["", *["Table 1: Depths"] * 3]


def test_a_caption_belongs_to_one_side():
    assert told(rows(), caption("Table 1"), rows(), caption("Table 2")) == ["Table 1", "Table 2"]
    assert told(caption("Table 1"), rows(), caption("Table 2"), rows()) == ["Table 1", "Table 2"]
    assert told(caption("Figure 1"), rows(), caption("Lakes")) == [""]
    assert told(caption("Lakes"), Block(text="x\n\n"), rows()) == [""]
    assert told(caption("Lakes"), rows(caption="Own"), rows()) == ["Own", ""]


def test_everything_passes_in_its_order():
    found = [rows(), Block(text="x\n\n"), caption("Table 1"), rows(), Notice(message="n"), rows(header="")]
    assert [item.text for item in beside_tables(found) if isinstance(item, Block)] == [
        item.text for item in found if isinstance(item, Block)
    ]


def test_what_goes_along_of_a_long_caption_is_its_beginning():
    assert short_caption(" A\n duck ") == "A duck"
    assert short_caption("duck " * 50) == f"{'duck ' * 31}duck…"
    assert short_caption("x" * 200) == f"{'x' * 160}…"


def chunks(*blocks: Block, max_tokens: int = 256, title: str = "Book"):
    embedder = HashingEmbedder(max_tokens=max_tokens)
    return list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=max_tokens, title=title))


def sentences(count: int) -> Block:
    return Block(text=" ".join("One two three four five six seven eight nine." for _ in range(count)) + "\n\n")


def long_table(count: int, **said: object) -> Block:
    return rows("".join(["name | depth\n", *(f"lake {n} | {n} m at most\n" for n in range(count))]) + "\n", **said)


def test_a_table_that_fits_stays_with_its_caption_on_either_side():
    whole = long_table(15, caption="Depths of lakes")
    for blocks in ([caption("Depths of lakes"), whole], [whole, caption("Depths of lakes")]):
        first, second, last = chunks(sentences(12), *blocks, sentences(12))
        assert "Depths of lakes" in second.text
        assert "lake 14 | 14 m" in second.text
        assert second.text.startswith(("Depths", "name"))
        assert not second.heading_path
        assert (first.text[-5:], last.text[:3]) == ("nine.", "One")


def test_a_table_that_leaves_its_caption_no_room_is_cut_for_it():
    whole = long_table((MAX_TOKENS - 6) // 7, caption="Depths of all the lakes that anybody has measured")
    first, second = chunks(caption("Depths of all the lakes that anybody has measured"), whole)
    assert first.text.startswith("Depths of all the lakes that anybody has measured\n\nname | depth\nlake 0")
    assert second.heading_path == ("Depths of all the lakes that anybody has measured", "name | depth")


def test_every_group_of_rows_has_the_caption_of_its_table_in_its_context_or_its_text():
    whole = long_table(100, caption="Depths")
    above = chunks(sentences(17), caption("Depths"), whole, sentences(3))
    assert len(above) > 4
    # A caption and a header would have found room there; without a row they are no table.
    assert above[0].text.endswith("nine.")
    assert above[1].text.startswith("Depths\n\nname | depth\nlake 0")
    assert {item.heading_path for item in above[2:]} == {("Depths", "name | depth")}
    below = chunks(whole, caption("Depths"))
    assert below[0].heading_path == ("Depths",)
    assert {item.heading_path for item in below[1:-1]} == {("Depths", "name | depth")}
    assert below[-1].text.endswith(" most\n\nDepths")
    assert below[-1].heading_path == ("name | depth",)


def test_a_long_caption_is_shortened_before_it_takes_the_room_of_rows():
    said = " ".join(f"word{n}" for n in range(20))
    found = chunks(caption(said), long_table(100, caption=short_caption(said)), max_tokens=64, title="A book " * 8)
    contexts = {item.heading_path for item in found[2:]}
    assert contexts
    assert all("name | depth" in path or len(path) < 2 for path in contexts)
    assert all(said.startswith(path[0].removesuffix("…")) for path in contexts if len(path) == 2)


def test_a_figure_caption_is_no_context_of_a_table():
    found = chunks(caption("A duck"), long_table(100))
    assert {item.heading_path for item in found[1:]} == {("name | depth",)}
