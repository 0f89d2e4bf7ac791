"""Passages that nearly say what another document says, counted as documents come in, and what the counting costs."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, event

from rag.config import Settings
from rag.factory import open_library
from rag.retrieval.statements import finding_keys, statements
from rag.stores.verification.documents import verify_documents
from tests.integration.ingesting import Ingesting, ingesting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.quality_types import Quality

_MANUAL = {
    "Feed pump": "The feed pump raises the condensate from the hot well to the pressure of the boiler. It runs at 40 "
    "bar and 2,900 revolutions a minute. Its bearings are oiled by hand each Monday, before the first "
    "start, with the oil that hangs beside the door. Nobody may open the casing while the shaft turns, "
    "and the key to it stays with the foreman.",
    "Condenser": "The condenser is cooled by water from the river, which enters at the bottom and leaves at the top. "
    "In summer the river may be warmer than 24 degrees; then the second tower is switched on, and the "
    "load is taken back to 80 per cent. Leaves and fish are kept out by two screens, of which one is "
    "always in place while the other is cleaned.",
    "Boiler": "The boiler was built in 1961 and fitted with new tubes in 1994. It is inspected by the insurer "
    "every third year, and by the shift on every Friday. What is found is written into the red book, "
    "with the date, the name and the hour, and is read out on the following Monday. Repairs are begun "
    "only when the fire has been out for two days.",
}
_ADDED = ("See sheet 4.", "Ask the river guard.", "The book is kept.")


@pytest.fixture
def library(tmp_path) -> Iterator[Ingesting]:
    with ingesting(tmp_path / "home") as opened:
        yield opened


def _manual(title: str, *added: str) -> str:
    sections = zip(_MANUAL.items(), added or [""] * len(_MANUAL), strict=True)
    return f"# {title}\n\n" + "\n".join(f"## {name}\n\n{text} {more}\n" for (name, text), more in sections)


def _came(library: Ingesting, *paths: Path) -> dict[str, Quality]:
    return {Path(result.uri).stem: result.quality for result in library.ingest(*paths).results}


def _now(library: Ingesting) -> dict[str, Quality]:
    documents = library.documents()
    qualities = library.store.qualities(library.store.collection("default"), [each.id for each in documents])
    return {Path(document.uri).stem: quality for document, quality in zip(documents, qualities, strict=True)}


def _counts(qualities: dict[str, Quality]) -> dict[str, tuple[int, int]]:
    return {name: (each.duplicates, each.near_duplicates) for name, each in qualities.items()}


def test_an_updated_copy_and_a_quote_are_counted_and_a_shared_sentence_is_not(library, tmp_path) -> None:
    pump = _MANUAL["Feed pump"]
    texts = {
        "1-manual.md": _manual("Works manual"),
        "2-updated.md": _manual("Works manual, second edition", *_ADDED),
        # Line by line as a mail quotes, with a word before it.
        "3-quote.txt": "He wrote:\n\n" + pump.replace(". ", ".\n> ").join(("> ", "\n")),
        "4-half.txt": f"{pump[: len(pump) // 2]}. And so on, as everybody knows who ever stood beside it at night.\n",
        "5-sentence.txt": "Nobody may open the casing while the shaft turns, and the key to it stays with the foreman. "
        "That rule is older than the works, and came from the mill that stood here before, where two men were lost.\n",
        "6-copy.md": _manual("Works manual, a copy"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    counted = _counts(_came(library, *(tmp_path / name for name in texts)))
    assert {document.title: document.chunk_count for document in library.documents()}["Works manual"] == 3
    assert counted == {
        "1-manual": (0, 0),
        "2-updated": (0, 3),
        "3-quote": (0, 1),
        "4-half": (0, 0),
        "5-sentence": (0, 0),
        "6-copy": (3, 0),
    }
    assert _counts(_now(library)) == counted | {"1-manual": (3, 0)}
    library.store.delete(library.store.collection("default"), [library.documents()[each].id for each in (0, 5)])
    assert set(_counts(_now(library)).values()) == {(0, 0)}  # neither of the update and the quote holds the other


@pytest.mark.parametrize("damaged", [b"\xff", None])
def test_a_text_of_another_document_that_is_damaged_fails_none_that_comes_in(tmp_path, damaged) -> None:
    home = tmp_path / "home"
    with ingesting(home) as library:
        (tmp_path / "1-manual.md").write_text(_manual("Works manual"))
        library.ingest(tmp_path / "1-manual.md")
    with closing(sqlite3.connect(home / "plumbline.db")) as connection, connection:
        if damaged is None:  # as where a byte in the row's header flips
            connection.execute("PRAGMA writable_schema = ON")
            loose = "replace(sql, 'text TEXT NOT NULL', 'text TEXT')"
            connection.execute(f"UPDATE sqlite_schema SET sql = {loose} WHERE name = 'chunks'")  # noqa: S608  # a constant
            connection.commit()
            connection.execute("PRAGMA writable_schema = RESET")
            connection.execute("UPDATE chunks SET text = NULL WHERE id = 1")
        else:
            torn = "cast(replace(cast(text AS BLOB), cast('2' AS BLOB), ?) AS TEXT)"
            connection.execute(f"UPDATE chunks SET text = {torn} WHERE id = 1", (damaged,))  # noqa: S608  # a constant
    with ingesting(home) as library:
        for name, added in (("2-updated", _ADDED), ("3-other", ("This.", "And that.", "And more."))):
            (tmp_path / f"{name}.md").write_text(_manual("Works manual, another edition", *added))
            (result,) = library.ingest(tmp_path / f"{name}.md").results
            assert (result.chunks, result.quality.near_duplicates) == (3, 2)
    with open_library(Settings(home=home, _env_file=None)) as opened:
        found = [*verify_documents(opened.database, opened.store.collection("default"), lambda _: None)]
    assert {each.area for each in found} == {"documents"}


@contextmanager
def _statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_texts_are_read_only_where_some_may_be_alike_and_then_together(library, tmp_path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.md").write_text(f"# {number}\n\nBearing {number} of the turbine is greased each week.\n")
    library.ingest(tmp_path)
    with _statements() as alone:
        assert _counts(_now(library)) == {str(number): (0, 0) for number in range(30)}
    (tmp_path / "near").mkdir()
    for number in range(30):
        text = f"# {number}\n\nBearing {number} of the turbine is greased each week. Ok.\n"
        (tmp_path / "near" / f"{number}n.md").write_text(text)
    library.ingest(tmp_path / "near")
    with _statements() as compared:
        assert set(_counts(_now(library)).values()) == {(0, 1)}
    assert len(compared) == len(alone) + 1


def test_a_sentence_that_stands_everywhere_takes_no_longer_to_be_counted(library, tmp_path) -> None:
    notice = "All rights in this text are reserved by its authors, who may be asked."
    about = "is about the river that bears this number and about the town that lies on it"

    def work_of_counting(files: range) -> tuple[int, int]:
        """Of a text as long as the others, and of one that is like none in length."""
        for number in files:
            text = (
                f"Part {number} {about}. {notice}\n" if number else f"The first {about}, {about}, {about}. {notice}\n"
            )
            assert len(finding_keys(statements(text))) == 2  # the notice's is one of them
            (tmp_path / f"{number:04}.txt").write_text(text)
        library.ingest(*(tmp_path / f"{number:04}.txt" for number in files))
        store, collection = library.store, library.store.collection("default")
        by_name = {Path(document.uri).stem: document.id for document in library.documents()}
        with store._database.read() as connection:
            driver = connection.connection.driver_connection
        work = []
        for name in ("0001", "0000"):
            steps: list[int] = []
            driver.set_progress_handler(lambda steps=steps: steps.append(1), 10)  # every ten instructions
            [quality] = store.qualities(collection, [by_name[name]])
            driver.set_progress_handler(None, 0)
            assert quality.near_duplicates == 0
            work.append(len(steps))
        return work[0], work[1]

    few = work_of_counting(range(130))
    many = work_of_counting(range(130, 400))
    assert many[0] <= 1.2 * few[0]
    assert many[1] <= 1.2 * few[1]
