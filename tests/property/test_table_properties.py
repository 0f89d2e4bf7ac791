"""However ragged a table is: its rows are grouped without failing, and every cell arrives."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import formats
from indexer.detection.office import ODS, ODT, XLS, XLSX
from indexer.parsers.office.sheet_rows import sheet_blocks
from rag.embedding.fake import HashingEmbedder
from tests.property.verbatim import require_verbatim
from tests.unit.office_files import odf, xlsx
from tests.unit.parsing import Result, parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = list[list[str]]

# What rows are told apart by: words, numbers, years, dates and labels. Few of each, so that some are said twice.
_FORMS = ("Word{}", "Word{}", "{}.5", "20{:02}", "2024-01-{:02}", "Label{}:", "a longer text number {} in a cell")
_cells = st.builds(lambda form, number: form.format(number), st.sampled_from(_FORMS), st.integers(10, 28))
_row = st.lists(st.just("") | _cells, max_size=6)
# A row of one cell is what merged cells make of a title or of the name of a group.
_rows = st.lists(_row | _row | st.lists(_cells, min_size=1, max_size=1), min_size=1, max_size=18)


def _sheet(rows: Rows) -> Result:
    return Result(list(sheet_blocks(rows, page=1)))


def _csv(rows: Rows) -> Result:
    held = io.StringIO()
    csv.writer(held, delimiter=";").writerows(rows)
    return parsed(formats.CSV, held.getvalue())


def _xlsx(rows: Rows) -> Result:
    cells = {f"{chr(65 + c)}{r}": cell for r, row in enumerate(rows, 1) for c, cell in enumerate(row) if cell}
    # Cells below a merged one are not shown.
    return parsed(XLSX, xlsx({"S": cells}, merged="" if any(row[1:] for row in rows[2:3]) else "A3:F3"))


def _xml(rows: Rows) -> Result:
    cells = ([f'<Cell><Data ss:Type="String">{cell}</Data></Cell>' for cell in row] for row in rows)
    body = "".join(f"<Row>{''.join(row)}</Row>" for row in cells)
    name = "urn:schemas-microsoft-com:office:spreadsheet"
    book = f'<Workbook xmlns="{name}" xmlns:ss="{name}"><Worksheet ss:Name="S"><Table>{body}</Table></Worksheet>'
    return parsed(XLS, f"{book}</Workbook>")


def _open_document(rows: Rows) -> str:
    cells = ([f"<table:table-cell><text:p>{escape(cell)}</text:p></table:table-cell>" for cell in row] for row in rows)
    body = "".join("<table:table-row>" + "".join(row) + "</table:table-row>" for row in cells)
    return f"<table:table>{body}</table:table>"


def _ods(rows: Rows) -> Result:
    return parsed(ODS, odf("spreadsheet", _open_document(rows)))


def _odt(rows: Rows) -> Result:
    return parsed(ODT, odf("text", _open_document(rows)))


@pytest.mark.parametrize("read", [_sheet, _csv, _xlsx, _xml, _ods, _odt])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=_rows)
def test_ragged_rows_are_grouped_and_keep_every_cell(read: Callable[[Rows], Result], rows: Rows) -> None:
    found = read(rows)
    require_verbatim(found.blocks, HashingEmbedder(max_tokens=128))
    for cell, count in Counter(cell.rstrip(":") for row in rows for cell in row if cell).items():
        assert len(re.findall(rf"(?<![\w.-]){re.escape(cell)}(?![\w.-])", found.text)) >= count
