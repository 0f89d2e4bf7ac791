"""A byte that flips in any file of an index of inverted lists: the same passages are found, and it is told."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from indexer.cli import main
from rag.factory import open_library
from rag.stores.index import bases
from tests.contracts.store_builders import drafts, fingerprint, settings_in, source, unit_vectors
from tests.faults.flipped_bytes import flip, positions

FILES = ("ids.npy", "index.faiss", "manifest.json", "search.json", "vectors.f16")
DIMENSION = 32
QUERIES = unit_vectors(5, seed=9, dimension=DIMENSION)
QUICK = 3  # places in each file


@pytest.fixture(scope="module")
def small_lists():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bases, "FLAT_UP_TO", 100)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory, small_lists):
    """A data directory with one index, and what is found with it whole."""
    home = tmp_path_factory.mktemp("lists") / "home"
    texts = [f"passage {number}. " for number in range(640)]
    with open_library(settings_in(home)) as library:
        collection = library.store.ensure_collection("c", fingerprint(dimension=DIMENSION))
        with library.store.stage(collection, source("/a", "".join(texts))) as version:
            version.add_text(0, "".join(texts))
            version.add_chunks(drafts(texts), unit_vectors(len(texts), seed=1, dimension=DIMENSION))
            version.activate()
        library.vectors.flush(collection, force=True)
        assert library.store.status(collection).generation.kind == "ivf"
    return home, found_in(home)


def found_in(home):
    with open_library(settings_in(home)) as library:
        collection = library.store.collection("c")
        return [library.vectors.search(collection, query, 10) for query in QUERIES]


def verify(*arguments):
    result = CliRunner().invoke(main, ["verify", "--json", *arguments], catch_exceptions=False)
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some", "many"])
def test_a_flipped_byte_changes_no_answer_and_is_told(written, tmp_path, monkeypatch, name, quick):
    whole, expected = written
    home = tmp_path / "home"
    monkeypatch.setenv("RAG_HOME", str(home))
    (file,) = whole.glob(f"indexes/*/*/{name}")
    assert {each.name for each in file.parent.iterdir()} == set(FILES)
    chance = random.Random(name)  # noqa: S311  # for a test
    places = list(positions(file, chance, each=2))
    for place in chance.sample(places, QUICK) if quick else places:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(whole, home)
        flip(home / file.relative_to(whole), place, chance.randrange(1, 256))
        (finding,) = verify()["findings"]
        assert (finding["area"], finding["repairable"]) == ("index", True), place
        assert file.parent.name in finding["message"]
        with capture_logs() as logs:
            found = found_in(home)
        assert found == expected, place
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["index generation damaged"]
        with capture_logs() as logs:
            assert found_in(home) == expected
        assert logs == [], "from the one that was written in its place"


def test_a_flipped_byte_below_an_open_index_is_told_by_verify(written, tmp_path, monkeypatch):
    """Vectors are read from the file by each search; what a program has open is compared when it is verified."""
    whole, expected = written
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    monkeypatch.setenv("RAG_HOME", str(home))
    (file,) = home.glob("indexes/*/*/vectors.f16")
    with open_library(settings_in(home)) as library:
        collection = library.store.collection("c")
        assert library.vectors.search(collection, QUERIES[0], 10) == expected[0]
        flip(file, file.stat().st_size // 2, 0x40)
        assert verify()["ok"] is False
        assert verify("--repair")["ok"] is True
        assert [library.vectors.search(collection, query, 10) for query in QUERIES] == expected
