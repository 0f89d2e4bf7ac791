"""Build the PDF documents of the example corpus from their Markdown sources.

Every ``sources/*.md`` becomes ``corpus/<same stem>.pdf``. The output is
deterministic: the same sources and library versions give the same bytes.

Needs ``reportlab`` and ``markdown-it-py``. Usage::

    python examples/make_pdfs.py
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    Flowable,
    ListFlowable,
    ListItem,
    Paragraph,
    Preformatted,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
CORPUS = HERE / "corpus"

AUTHOR = "Plumbline contributors"
MARGIN = 22 * mm
FRAME_PADDING = 6  # ReportLab's own, on each side
TEXT_WIDTH = A4[0] - 2 * (MARGIN + FRAME_PADDING)

BODY = ParagraphStyle("Body", fontName="Helvetica", fontSize=10.5, leading=14.5, spaceAfter=7)
CELL = ParagraphStyle("Cell", parent=BODY, fontSize=9, leading=11.5, spaceAfter=0)
HEAD_CELL = ParagraphStyle("HeadCell", parent=CELL, fontName="Helvetica-Bold")
CODE = ParagraphStyle(
    "Code",
    parent=BODY,
    fontName="Courier",
    fontSize=9,
    leading=11.5,
    leftIndent=5 * mm,
)
HEADINGS = {
    level: ParagraphStyle(
        f"Heading{level}",
        parent=BODY,
        fontName="Helvetica-Bold",
        fontSize=size,
        leading=size * 1.25,
        spaceBefore=before,
        spaceAfter=after,
        keepWithNext=1,
    )
    for level, size, before, after in ((1, 22, 0, 12), (2, 15, 12, 6), (3, 12.5, 8, 4))
}
TABLE_STYLE = TableStyle(
    [
        ("GRID", (0, 0), (-1, -1), 0.5, colors.grey),
        ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
)


class Document(SimpleDocTemplate):
    """An A4 document that ends every page with its number."""

    def afterPage(self) -> None:  # noqa: N802 - the name is ReportLab's
        """Draw the page number, last, so that extracted text ends with it."""
        self.canv.setFont("Helvetica", 8.5)
        number = f"Page {self.canv.getPageNumber()}"
        self.canv.drawCentredString(A4[0] / 2, 12 * mm, number)


def inline(node: SyntaxTreeNode) -> str:
    """Return the markup that ReportLab paragraphs use for an inline node."""
    inner = "".join(inline(child) for child in node.children)
    match node.type:
        case "text":
            markup = escape(node.content)
        case "code_inline":
            markup = f'<font face="Courier">{escape(node.content)}</font>'
        case "softbreak":
            markup = " "
        case "hardbreak":
            markup = "<br/>"
        case "inline":
            markup = inner
        case "strong":
            markup = f"<b>{inner}</b>"
        case "em":
            markup = f"<i>{inner}</i>"
        case "link":
            markup = f"<a href={quoteattr(str(node.attrs['href']))}>{inner}</a>"
        case other:
            message = f"unsupported inline Markdown: {other}"
            raise ValueError(message)
    return markup


def paragraph(node: SyntaxTreeNode, style: ParagraphStyle) -> Paragraph:
    """Return the inline content of a block node as one paragraph."""
    return Paragraph("".join(inline(child) for child in node.children), style)


def bullets(node: SyntaxTreeNode) -> ListFlowable:
    """Return a bullet list or a numbered list."""
    items = [ListItem([flow for child in item.children for flow in block(child)]) for item in node.children]
    if node.type == "ordered_list":
        return ListFlowable(
            items,
            bulletType="1",
            bulletFormat="%s.",
            bulletFontSize=BODY.fontSize,
            leftIndent=18,
        )
    return ListFlowable(items, bulletType="bullet", start="\u2022", leftIndent=14)


def table(node: SyntaxTreeNode) -> list[Flowable]:
    """Return a ruled table whose columns are as wide as their text asks for."""
    rows = [row for section in node.children for row in section.children]
    cells = [
        [paragraph(cell, HEAD_CELL if cell.type == "th" else CELL) for cell in row]
        for row in (tuple(row.children) for row in rows)
    ]
    weights = [min(max(12, *(len(cell.text) for cell in column)), 48) for column in zip(*cells, strict=True)]
    unit = TEXT_WIDTH / sum(weights)
    flow = Table(
        cells,
        colWidths=[weight * unit for weight in weights],
        repeatRows=1,
        style=TABLE_STYLE,
    )
    return [Spacer(0, 2), flow, Spacer(0, 9)]


def block(node: SyntaxTreeNode) -> list[Flowable]:
    """Return the flowables of one block node."""
    if node.type == "heading":
        level = int(node.tag[1:])
        return [paragraph(node, HEADINGS[min(level, max(HEADINGS))])]
    if node.type == "paragraph":
        return [paragraph(node, BODY)]
    if node.type in {"bullet_list", "ordered_list"}:
        return [bullets(node), Spacer(0, 4)]
    if node.type == "table":
        return table(node)
    if node.type in {"fence", "code_block"}:
        return [Preformatted(node.content.rstrip("\n"), CODE)]
    message = f"unsupported Markdown block: {node.type}"
    raise ValueError(message)


def title_of(tree: SyntaxTreeNode) -> str:
    """Return the text of the document's first heading."""
    for node in tree.children:
        if node.type == "heading":
            return node.children[0].content
    message = "the document has no heading to take its title from"
    raise ValueError(message)


def build(source: Path, target: Path) -> None:
    """Write the PDF of one Markdown source."""
    text = source.read_text(encoding="utf-8")
    # The standard PDF fonts hold these characters only; others would print as
    # black boxes, so fail here instead.
    text.encode("cp1252")
    parser = MarkdownIt("commonmark").enable("table")
    tree = SyntaxTreeNode(parser.parse(text))
    document = Document(
        str(target),
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=title_of(tree),
        author=AUTHOR,
        subject="Plumbline example corpus",
        creator="examples/make_pdfs.py",
        lang="en-US",
        invariant=1,
    )
    story = [flow for node in tree.children for flow in block(node)]
    document.build(story)


def main() -> None:
    """Build the PDF of every source."""
    CORPUS.mkdir(exist_ok=True)
    for source in sorted(SOURCES.glob("*.md")):
        target = CORPUS / f"{source.stem}.pdf"
        build(source, target)
        print(f"{target.relative_to(HERE)}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
