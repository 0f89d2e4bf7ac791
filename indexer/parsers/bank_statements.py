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

_TAG = re.compile(r"<(/?)([A-Za-z][\w.]{0,40})>([^<]*(?:<(?![/!?A-Za-z])[^<]*)*)")
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
    "Quantity": "Q", "Price": "I", "Address": "A",
}  # fmt: skip
# Of records that are no transactions.
_CATEGORY: Final = {"Name": "N", "Description": "D", "Budget": "B", "Tax schedule": "R"}
_NAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "Account": {"Name": "N", "Description": "D", "Type": "T", "Balance": "$B", "As of": "/", "Limit": "L"},
    "Cat": _CATEGORY, "Class": _CATEGORY, "Tag": _CATEGORY,
    "Security": {"Name": "N", "Symbol": "S", "Type": "T", "Goal": "G"},
    "Prices": {"Security": "0", "Price": "1", "Date": "2"},  # by place: each is a line between commas
}  # fmt: skip
_FIELD = re.compile(r'((?:"(?:[^"]|"")*+"?+|[^",]++)*+)(?:,|$)')


def parse_ofx(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield for each account what is said of it, then a table of its transactions."""
    with TextReader(file, encoding) as reader:
        for block in _ofx_blocks(reader.read()):
            yield from bounded(block)
        yield from reader.notices()


def _ofx_blocks(text: str) -> Iterator[Block]:
    facts: list[str] = []
    rows: list[dict[str, str]] = []
    stated = inside = False
    for closes, written, content in _TAG.findall(text):
        tag, value = written.upper(), one_line(unescape(content))
        if tag == _TRANSACTION:
            inside = not closes
            rows.extend([{}] if inside else [])
        elif tag.endswith(_STATEMENT):
            if stated:
                yield from _account(facts, rows)
                facts, rows = [], []
            stated, inside = not closes, False
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
    yield from _statement(_COLUMNS, rows)


def parse_qif(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield a table of the records below each line that says of what kind they are."""
    with TextReader(file, encoding) as reader:
        columns: Mapping[str, str] = _QIF
        records: list[dict[str, str]] = [{}]
        for line in map(one_line, reader.lines()):
            sign, value = line[:1], line[1:].strip()
            if sign == "^":
                records.append({})
            elif line and columns is _NAMED["Prices"] and sign != "!":
                records.append(_price(line))
            elif sign == "!":
                yield from _statement(columns, records)
                records = [{}]
                kind = value.partition(":")[2] or value
                columns = _NAMED.get(kind, _QIF)
                if kind:
                    yield from bounded(Block(text=f"{kind}\n\n", kind=BlockKind.HEADING, level=2, heading=kind))
            elif value:
                # Parts of a sum: category, memo, amount.
                field, between = ("M", " ") if columns is _QIF and sign in "SE$" else (sign, ", ")
                said = records[-1].get(field)
                if said is None or field in "MA":
                    records[-1][field] = value if said is None else f"{said}{between}{value}"
        yield from _statement(columns, records)
        yield from reader.notices()


def _price(line: str) -> dict[str, str]:
    fields = [field.strip() for field in _FIELD.findall(line)]
    values = [field.removeprefix('"').removesuffix('"').replace('""', '"').strip() for field in fields]
    security, price, *date = [*values, "", ""]
    return {"0": security, "1": price, "2": ", ".join(filter(None, date))}


def _statement(columns: Mapping[str, Sequence[str]], records: Sequence[Mapping[str, str]]) -> Iterator[Block]:
    """Records as rows under the names of those columns that hold something: the first of its tags that is there."""
    filled = {name: tags for name, tags in columns.items() if any(record.keys() & set(tags) for record in records)}
    rows = [
        [next((record[tag] for tag in tags if tag in record), "") for tags in filled.values()] for record in records
    ]
    if filled:
        yield from table_blocks([list(filled), *rows], header_rows=1)


def _dated(value: str) -> str:
    found = _DATE.match(value)
    return f"{found[1]}-{found[2]}-{found[3]}" if found is not None else value
