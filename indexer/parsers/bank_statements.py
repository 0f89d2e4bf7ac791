"""Statements of bank accounts as programs exchange them: each account, with its transactions as rows.

OFX 1 is SGML without end tags and OFX 2 is XML (financialdataexchange.org), QIF is lines that begin with a letter.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, Parsed, bounded, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.tables import table_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

_TAG = re.compile(r"<(/?)([A-Za-z][\w.]{0,40})>([^<\r\n]*)")
_DATE = re.compile(r"^(\d{4})(\d\d)(\d\d)(?:\d{6})?")
_TRANSACTION: Final = "STMTTRN"
_STATEMENT: Final = "STMTRS"  # of a credit card or of investments after two or three more letters
# What programs say to each other.
_SILENT: Final = frozenset(
    "CODE SEVERITY DTSERVER LANGUAGE TRNUID FID CLTCOOKIE DTPROFUP DTACCTUP SRVRTID SESSCOOKIE BALTYPE".split()
)
_NAMES: Final = {
    "ORG": "bank", "BANKID": "bank id", "BRANCHID": "branch", "ACCTID": "account", "ACCTTYPE": "kind of account",
    "CURDEF": "currency", "DTSTART": "from", "DTEND": "to", "BALAMT": "balance", "DTASOF": "as of",
}  # fmt: skip
_COLUMNS: Final = {
    "Date": ("DTPOSTED", "DTUSER"), "Type": ("TRNTYPE",), "Amount": ("TRNAMT",), "Payee": ("NAME", "PAYEE"),
    "Memo": ("MEMO",), "Check": ("CHECKNUM", "REFNUM"),
}  # fmt: skip
_QIF: Final = {
    "Date": "D", "Amount": "TU", "Payee": "P", "Memo": "M", "Category": "L", "Number": "N", "Security": "Y",
    "Quantity": "Q", "Price": "I",
}  # fmt: skip


def parse_ofx(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield for each account what is said of it, then a table of its transactions."""
    with TextReader(file, encoding) as reader:
        for block in _ofx_blocks(reader.read()):
            yield from bounded(block)
        yield from reader.notices()


def _ofx_blocks(text: str) -> Iterator[Block]:
    facts: list[str] = []
    rows: list[dict[str, str]] = []
    inside = False
    for closes, written, content in _TAG.findall(text):
        tag, value = written.upper(), one_line(unescape(content))
        if tag == _TRANSACTION:
            inside = not closes
            rows.extend([{}] if inside else [])
        elif tag.endswith(_STATEMENT) and rows and not closes:
            yield from _account(facts, rows)
            facts, rows = [], []
        elif closes or not value or tag in _SILENT or tag.startswith("INTU."):
            continue
        elif inside:
            rows[-1].setdefault(tag, _dated(value) if tag.startswith("DT") else value)
        else:
            shown = _dated(value) if tag.startswith("DT") else value
            facts.append(f"{_NAMES.get(tag, tag.lower())}: {shown}")
    yield from _account(facts, rows)


def _account(facts: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Iterator[Block]:
    if facts:
        yield Block(text="\n".join(facts) + "\n\n")
    written = [[next((row[tag] for tag in tags if tag in row), "") for tags in _COLUMNS.values()] for row in rows]
    yield from _statement(list(_COLUMNS), written)


def parse_qif(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield a table of the records below each line that says of what kind they are."""
    with TextReader(file, encoding) as reader:
        rows: list[list[str]] = []
        record: dict[str, str] = {}
        for line in reader.lines():
            sign, value = line[:1], one_line(line[1:])
            if sign == "^":
                rows.append([next((record[s] for s in signs if s in record), "") for signs in _QIF.values()])
                record = {}
            elif sign == "!":
                yield from _statement(list(_QIF), rows)
                rows = []
                kind = value.partition(":")[2] or value
                yield Block(text=f"{kind}\n\n", kind=BlockKind.HEADING, level=2, heading=kind)
            elif value and sign in "SE$":  # parts of a sum: category, memo, amount
                record["M"] = f"{record.get('M', '')} {value}".strip()
            elif value:
                record.setdefault(sign, value)
        yield from _statement(list(_QIF), rows)
        yield from reader.notices()


def _statement(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    """Rows under the names of those columns that hold something."""
    filled = [i for i in range(len(names)) if any(row[i] for row in rows)]
    if filled:
        kept = [[row[i] for i in filled] for row in rows]
        yield from table_blocks([[names[i] for i in filled], *kept], header_rows=1)


def _dated(value: str) -> str:
    found = _DATE.match(value)
    return f"{found[1]}-{found[2]}-{found[3]}" if found is not None else value
