"""``indexer export`` and ``indexer import``."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import random
import re
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from indexer.cli import main
from indexer.importing import read_header
from indexer.parquet import read_parquet
from indexer.records import RecordReader, read_json_lines
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import InvalidRequest
from rag.factory import Library, open_library
from rag.stores.exchange import ExportEnd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.scene import Scene

QUESTIONS = ("Which water stands?", "How fast is a river in the plain?", "Jack and the beans")


@pytest.fixture
def tmp_path(scene: Scene) -> Path:
    return scene.cleared()


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def use(tmp_path, monkeypatch, embedder):
    """Make a data directory the one that commands use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: embedder)

    def choose(name: str) -> None:
        monkeypatch.setenv("RAG_HOME", str(tmp_path / name))

    choose("home")
    return choose


@pytest.fixture
def run(use, monkeypatch):
    def invoke(*arguments: object, exit_code: int = 0) -> dict:
        given = [*map(str, arguments), "--json"]
        monkeypatch.setattr(sys, "argv", ["indexer", *given])
        result = CliRunner().invoke(main, given, catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        last = json.loads(result.stdout.splitlines()[-1])
        return last.get("error", last)

    return invoke


@pytest.fixture
def exported(run, tmp_path, scene) -> Path:
    """A collection of two documents, one of them long, as an export."""

    def make() -> None:
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / "a.md").write_text("# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n")
        lakes = "".join(f"Water stands in lake {n}, says Jöns. " for n in range(2500))
        (folder / "b.txt").write_text(f"LAKES\n\n{lakes}")
        run("ingest", folder, "-c", "water", "--meta", "year=2024", "--meta", "deep=true")
        told = run("export", tmp_path / "water.jsonl", "-c", "water")
        assert (told["documents"], told["bytes"]) == (2, (tmp_path / "water.jsonl").stat().st_size)

    scene.set_up(make)
    return tmp_path / "water.jsonl"


def lines(path: Path) -> list[dict]:
    """The records, without their checksums."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "crc32"} for record in records]


def rewritten(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def found(collection: str) -> list[tuple[str, str, float, float | None]]:
    """What searches find, without what differs from one store to another: ids and times."""
    with open_library(load_settings()) as library:
        results = [
            asyncio.run(library.pipeline.search(question, collection=collection)).passages for question in QUESTIONS
        ]
    return [
        (p.document.uri, p.chunk.text, pytest.approx(p.scores.fused, abs=1e-3), p.scores.lexical)
        for passages in results
        for p in passages
    ]


def held(collection: str) -> list[tuple]:
    """All that is kept of documents and chunks, without ids and times."""
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        chunks = [item.chunk_id for item in library.store.embedding_inputs(target)]
        return [
            (
                *((d.uri, d.title, d.media_type, d.sha256, d.size, dict(d.metadata))),
                *((c.ordinal, c.text, c.span, c.page, c.heading_path, c.token_count)),
                library.store.source_text(d.id, c.span),
            )
            for c, d in library.store.hydrate(target, chunks)
        ]


def test_an_export_is_readable_by_anybody(exported):
    header, first, *rest = lines(exported)
    assert (header["type"], header["collection"], header["documents"]) == ("export", "water", 2)
    assert (first["type"], first["title"], first["metadata"]) == ("document", "Rivers", {"year": 2024, "deep": True})
    texts = {record["uri"]: "" for record in rest if record["type"] == "text"}
    for record in rest:
        if record["type"] == "text":
            texts[record["uri"]] += record["text"]
    chunks = [record for record in rest if record["type"] == "chunk"]
    assert all(texts[chunk["uri"]][chunk["start"] : chunk["end"]] == chunk["text"] for chunk in chunks)
    vectors = np.array([np.frombuffer(base64.b64decode(chunk["vector"]), "<f2") for chunk in chunks])
    assert vectors.shape == (len(chunks), header["dimension"])
    assert np.linalg.norm(vectors.astype(np.float32), axis=1) == pytest.approx(1, abs=1e-3)
    assert chunks[1]["heading_path"] == ["Rivers", "Speed"]
    assert rest[-1] == {"type": "end", "documents": 2, "chunks": len(chunks)}


def test_what_is_imported_is_what_was_exported(run, use, exported, embedder):
    before, kept = found("water"), held("water")
    use("other")
    embedded = embedder.texts_embedded
    told = run("import", exported)
    assert (told["collection"], told["imported"], told["embedded"]) == ("water", 2, 0)
    assert embedder.texts_embedded == embedded, "stored vectors are used"
    assert held("water") == kept
    assert found("water") == before
    assert run("verify")["findings"] == []
    again = exported.with_name("again.jsonl")
    run("export", again, "-c", "water")
    changing = ("created", "updated_at")
    assert [{k: v for k, v in record.items() if k not in changing} for record in lines(again)] == [
        {k: v for k, v in record.items() if k not in changing} for record in lines(exported)
    ]


def test_a_second_import_changes_nothing(run, exported):
    told = run("import", exported)
    assert (told["imported"], told["replaced"], told["unchanged"], told["chunks"]) == (0, 0, 2, 0)


def test_a_file_that_has_not_changed_is_not_ingested_after_an_import(run, use, exported, tmp_path):
    use("other")
    run("import", exported)
    assert run("ingest", tmp_path / "docs", "-c", "water")["unchanged"] == 2


def test_documents_that_differ_are_replaced(run, exported, tmp_path):
    (tmp_path / "docs" / "a.md").write_text("# Rivers\n\nWater runs up.\n")
    run("ingest", tmp_path / "docs", "-c", "water")
    told = run("import", exported)
    assert (told["replaced"], told["unchanged"]) == (1, 1)
    assert any("runs down" in row[7] for row in held("water"))
    assert not any("runs up" in row[7] for row in held("water"))


@pytest.mark.parametrize(
    ("before", "field", "after"),
    [
        ({"public": 1}, "metadata", {"public": True}),
        ({"public": 1}, "metadata", {"public": 1.0}),
        ({}, "title", "Streams"),
    ],
)
def test_what_filters_or_readers_tell_apart_is_replaced(run, exported, before, field, after):
    records = [{**each, "metadata": before} if each["type"] == "document" else each for each in lines(exported)]
    assert run("import", rewritten(exported, records))["replaced"] == 2
    records = [{**each, field: after} if each["type"] == "document" else each for each in records]
    told = run("import", rewritten(exported, records))
    assert (told["replaced"], told["unchanged"]) == (2, 0)
    told = run("import", exported)
    assert (told["replaced"], told["unchanged"]) == (0, 2)
    with open_library(load_settings()) as library:
        documents = library.store.documents(library.store.collection("water"))
    assert [repr(getattr(document, field)) for document in documents] == [repr(after)] * 2


def test_into_a_collection_of_another_name(run, exported):
    run("import", exported, "-c", "copy")
    assert held("copy") == held("water")


def test_another_embedder_embeds_anew(run, use, exported, monkeypatch):
    kept = held("water")
    use("other")
    other = HashingEmbedder(name="other", dimension=32)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: other)
    told = run("import", exported)
    assert told["embedded"] == told["chunks"] == len(kept)
    assert held("water") == kept
    assert found("water")


def test_an_embedder_that_makes_no_vectors_is_told_and_not_the_file(run, use, exported, monkeypatch):
    use("other")
    broken = HashingEmbedder(name="broken")
    monkeypatch.setattr(broken, "embed_passages", lambda texts: np.zeros((len(texts), 64), np.float32))
    monkeypatch.setattr(Library, "_load_embedder", lambda self: broken)
    error = run("import", exported, exit_code=1)
    assert (error["code"], "broken@64 cannot be used" in error["message"]) == ("model_error", True)
    assert run("status")["collections"] == []


def test_a_collection_of_a_third_embedder_refuses(run, use, exported, monkeypatch, tmp_path):
    use("other")
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder(name="second"))
    run("ingest", tmp_path / "docs" / "a.md", "-c", "water")
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder(name="third"))
    told = run("import", exported, exit_code=1)
    assert (told["code"], "indexer reembed" in told["hint"]) == ("embedder_changed", True)


def change(kind: str, number: int = 0, **values):
    """A damage: other values in the ``number``-th record of a kind."""

    def damage(records: list[dict]) -> list[dict]:
        [record for record in records if record["type"] == kind][number].update(values)
        return records

    return damage


def documents(records: list[dict]) -> list[dict]:
    return [record for record in records if record["type"] == "document"]


def stored(*first: float) -> str:
    """A vector as it is written, of zeros but for the first numbers."""
    return base64.b64encode(np.array([*first, *[0.0] * (64 - len(first))], "<f2").tobytes()).decode()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda records: records[:-1], "not complete"),
        (lambda records: records[:3], "not complete"),
        (lambda records: [], "line 1.*not complete"),
        (lambda records: records[1:], "not the beginning"),
        (lambda records: [*records, records[-1]], "follows the end"),
        (lambda records: [r for r in records if r["type"] != "text"], "outside the source text"),
        (lambda records: [r for r in records if r["type"] != "chunk"], "has no chunks"),
        (lambda records: [*records[:3], *records[4:]], "missing or repeated"),
        (lambda records: [*records[:1], *records[4:]], "not the end"),
        (lambda records: [*records[:2], *records[1:]], "has no chunks"),
        (change("text", text="x" * 10), "outside the source text"),
        (change("text", start=1), "missing or repeated"),
        (change("text", uri="/other"), "another document"),
        (change("chunk", uri="/other"), "another document"),
        (change("chunk", text="Something else."), "not what the source text says"),
        (change("chunk", end=10**6), "outside the source text"),
        (change("chunk", start=-1), "no record"),
        (change("chunk", page=0), "no record"),
        (change("chunk", token_count=2**63), "no record"),
        (change("chunk", vector="AAAA"), "dimension"),
        (change("chunk", vector="not base64!"), "no record"),
        (change("chunk", vector=stored()), "zero or not finite"),
        (change("chunk", vector=stored(np.nan)), "zero or not finite"),
        (change("chunk", vector=stored(1.0, -np.inf)), "zero or not finite"),
        (change("document", outline=["AAAA"]), "outline of .* is not that of its text"),
        (
            lambda records: change("document", 1, outline=documents(records)[0]["outline"])(records),
            "outline of .*b.txt",
        ),
        (change("document", metadata={"a b": 1}), "key of metadata"),
        (change("document", metadata={"a": None}), "no record"),
        (change("end", chunks=1), "not the end"),
        (change("document", type="other"), "no record"),
    ],
)
def test_what_is_no_export_is_refused_with_its_place(run, use, exported, damage, told):
    use("other")
    error = run("import", rewritten(exported, damage(lines(exported))), exit_code=1)
    assert error["code"] == "invalid_request"
    assert f"{exported}, line " in error["message"]
    assert re.search(told, error["message"])
    kept = run("status")["collections"]
    assert [state["documents"] > 0 for state in kept] == [True] * len(kept), "no collection without documents"
    assert ("has been taken in" in error["hint"]) is bool(kept)


def test_an_export_of_an_older_program(run, use, exported):
    records = lines(exported)
    for record in documents(records):
        del record["outline"], record["counted_by"]
    use("other")
    assert run("import", rewritten(exported, records))["imported"] == 2


def test_bytes_that_are_no_text(run, use, exported):
    use("other")
    exported.write_bytes(b"\xff\xfe\x00garbage\n")
    assert run("import", exported, exit_code=1)["code"] == "invalid_request"


def test_what_stands_before_the_damage_is_kept_and_the_rest_comes_with_the_next_run(run, use, exported):
    whole = exported.read_text()
    kept = held("water")
    use("other")
    exported.write_text(whole[: len(whole) // 2])
    assert "has been taken in" in run("import", exported, exit_code=1)["hint"]
    assert {row[0].rpartition("/")[2] for row in held("water")} == {"a.md"}
    exported.write_text(whole)
    told = run("import", exported)
    assert (told["imported"], told["unchanged"]) == (1, 1)
    assert held("water") == kept


def test_a_newer_programs_export_is_refused(run, use, exported):
    use("other")
    rewritten(exported, change("export", format_version=2)(lines(exported)))
    assert run("import", exported, exit_code=1)["code"] == "database_too_new"


def test_files_that_cannot_be(run, exported, tmp_path):
    assert run("export", exported, "-c", "water", exit_code=1)["code"] == "conflict"
    run("export", exported, "-c", "water", "--force")
    assert run("export", tmp_path / "no" / "x", "-c", "water", exit_code=1)["code"] == "storage_error"
    assert run("import", tmp_path / "nothing", exit_code=1)["code"] == "source_not_found"
    assert run("export", tmp_path / "x", "-c", "unknown", exit_code=1)["code"] == "unknown_collection"
    assert not list(tmp_path.glob(".*")), "nothing is left behind"
    os.mkfifo(tmp_path / "pipe")
    told = run("export", tmp_path / "pipe", "-c", "water", "--force", exit_code=1)
    assert (told["code"], "no file" in told["message"]) == ("invalid_request", True)
    assert (tmp_path / "pipe").is_fifo()


@pytest.fixture
def table(run, exported) -> Path:
    """The same as a Parquet table."""
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    target = exported.with_suffix(".parquet")
    told = run("export", target, "-c", "water")
    assert (told["documents"], target.read_bytes()[:4]) == (2, b"PAR1")
    return target


def test_a_parquet_table_holds_the_same(run, use, exported, table, embedder):
    before, kept = found("water"), held("water")
    use("other")
    embedded = embedder.texts_embedded
    assert run("import", table)["imported"] == 2
    assert embedder.texts_embedded == embedded
    assert (held("water"), found("water")) == (kept, before)
    again = exported.with_name("again")
    run("export", again, "-c", "water", "--format", "jsonl")
    chunks = [[record for record in lines(path) if record["type"] == "chunk"] for path in (exported, again)]
    assert chunks[0] == chunks[1], "vectors included, to the last bit"


def test_a_parquet_table_is_read_by_column(table):
    from pyarrow import compute, parquet

    read = parquet.read_table(table, columns=["type", "uri", "text", "vector"])
    chunks = read.filter(compute.equal(read["type"], "chunk"))
    assert set(read["type"].to_pylist()) == {"export", "document", "text", "chunk", "end"}
    assert {len(vector) for vector in chunks["vector"].to_pylist()} == {64}


@pytest.mark.parametrize("damage", ["cut off", "changed", "rows missing", "columns missing"])
def test_a_damaged_parquet_table_is_refused(run, use, table, damage):
    from pyarrow import parquet

    use("other")
    whole, read = table.read_bytes(), parquet.read_table(table)
    if damage == "cut off":
        table.write_bytes(whole[: len(whole) // 2])
    elif damage == "changed":
        table.write_bytes(whole[: len(whole) - 200] + bytes(100) + whole[-100:])
    elif damage == "rows missing":
        parquet.write_table(read.slice(0, read.num_rows - 1), table)
    else:
        parquet.write_table(read.drop_columns(["ordinal"]), table)
    assert run("import", table, exit_code=1)["code"] == "invalid_request"


@pytest.mark.parametrize("name", [b"counted_by", b"members_failed", b"dense_weight"])
def test_an_optional_column_that_a_flipped_bit_renames_is_missed(run, use, table, name):
    use("other")
    whole = table.read_bytes()
    place = whole.index(name, len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"))  # in the schema
    table.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    told = run("import", table, exit_code=1)
    assert (told["code"], "columns" in told["message"]) == ("invalid_request", True)


def test_a_table_that_another_program_wrote_without_arrows_schema_is_read(run, use, table):
    from pyarrow import parquet

    use("other")
    read = parquet.read_table(table)
    parquet.write_table(read.append_column("note", [["mine"] * read.num_rows]), table, store_schema=False)
    assert run("import", table)["imported"] > 0


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_flipped_bit_changes_nothing_that_is_taken_in(exported, table, form):
    path, read = {"jsonl": (exported, of_lines), "parquet": (table, read_parquet)}[form]
    whole, chance = path.read_bytes(), random.Random(7)  # noqa: S311  # for a test
    records = everything(read(path))
    refused = 0
    for _ in range(300):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            assert everything(read(path)) == records, (place, bit)
        except InvalidRequest:
            refused += 1
    assert refused > 200  # the others change what tells of the writer alone


def of_lines(path: Path) -> RecordReader:
    return read_json_lines(path, io.BytesIO(path.read_bytes()))


def everything(reader: RecordReader) -> list:
    records = [read_header(reader)]
    while not isinstance(records[-1], ExportEnd):
        records.append(next(reader))
    reader.close()
    return records


def test_without_pyarrow_the_extra_is_named(run, use, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = run("export", tmp_path / "x", "-c", "water", "--format", "parquet", exit_code=1)
    assert (told["code"], "plumbline[parquet]" in told["hint"]) == ("invalid_request", True)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and so on")
    assert "plumbline[parquet]" in run("import", tmp_path / "x.parquet", exit_code=1)["hint"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_tuned_weight_travels_with_the_embeddings_it_was_tuned_for(run, use, exported, tmp_path, form, monkeypatch):
    with open_library(load_settings()) as library:
        library.store.set_dense_weight(library.store.collection("water"), 0.7)
    file = tmp_path / f"tuned.{form}"
    run("export", file, "-c", "water")

    def weight() -> float | None:
        with open_library(load_settings()) as library:
            return library.store.collection("water").dense_weight

    use("second")
    run("import", file)
    assert weight() == 0.7
    with open_library(load_settings()) as library:
        library.store.set_dense_weight(library.store.collection("water"), 0.3)
    run("import", file)
    assert weight() == 0.3, "a collection that is there keeps its own"
    use("third")
    other = HashingEmbedder(name="another")
    monkeypatch.setattr(Library, "_load_embedder", lambda self: other)
    run("import", file)
    assert weight() is None, "tuned for another embedder"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_size_of_chunks_travels_with_the_collection(run, use, exported, tmp_path, form):
    run("reembed", "-c", "water", "--chunk-tokens", 60)
    file = tmp_path / f"small.{form}"
    run("export", file, "-c", "water")
    use("second")
    run("import", file)
    with open_library(load_settings()) as library:
        assert library.store.collection("water").fingerprint.chunker.endswith("@60")
    assert run("ingest", tmp_path / "docs", "-c", "water")["unchanged"] == 2


def test_chunks_of_no_size_are_refused(run, use, exported):
    header, *rest = lines(exported)
    rewritten(exported, [header | {"chunker": "any@5"}, *rest])
    use("second")
    assert "chunks of 5 tokens" in run("import", exported, exit_code=1)["message"]


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (
            "DELETE FROM embeddings WHERE chunk_id = (SELECT max(id) FROM chunks)",
            "1 stored passage without an embedding",
        ),
        ("DELETE FROM chunks WHERE id = (SELECT max(id) FROM chunks)", "The list of passages of"),
    ],
)
def test_what_lacks_a_passage_is_not_exported(run, exported, tmp_path, lost, told):
    with closing(sqlite3.connect(tmp_path / "home" / "plumbline.db")) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        assert connection.execute(lost).rowcount == 1
    error = run("export", tmp_path / "again.jsonl", "-c", "water", exit_code=1)
    assert error["code"] == "database_damaged"
    assert told in error["message"]
    assert not (tmp_path / "again.jsonl").exists(), "an export that an import would take for all there is"
