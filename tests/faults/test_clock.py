"""The wall clock moves back by hours, or to 1970: nothing is lost or comes in another order."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from rag.embedding.fake import HashingEmbedder
from rag.errors import HistoryGone
from rag.factory import open_library
from rag.inference.kv.snapshot_files import file_bytes
from rag.inference.kv.snapshots import Snapshot, SnapshotStore, root_key, snapshot_key
from tests.contracts.store_builders import settings_in
from tests.faults.backups import restored
from tests.faults.stored_state import state_of

HERE = Path(__file__).parent
HOURS = -5 * 3600
LATER = 400 * 86400
TO_1970 = 3600 - int(time.time())

# A program's life: documents in, replaced and out, an index file, a backup; then it says what time it thinks it is.
LIFE = """
import json, sys, time
from pathlib import Path
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.factory import open_library
from tests.contracts.store_builders import drafts, fingerprint, source
from tests.faults.backups import backed_up
home, number = Path(sys.argv[1]), int(sys.argv[2])
embedder = HashingEmbedder(name="hashing", dimension=16)
with open_library(Settings(home=home, _env_file=None)) as library:
    store = library.store
    collection = store.ensure_collection("c", fingerprint(embedder=embedder.identity, dimension=16))
    def ingest(uri, text):
        with store.stage(collection, source(uri, text)) as version:
            version.add_text(0, text)
            version.add_chunks(drafts([text]), embedder.embed_passages([text]))
            version.activate()
    for name in ("always", f"kept-{number}", f"gone-{number}"):
        ingest(f"/{name}", f"water{number} {name} ")
    library.vectors.flush(collection, force=True)
    store.delete(collection, [store.document_by_uri(collection, f"/gone-{number}").id])
    ingest(f"/always", f"later{number} always ")
    library.vectors.flush(collection, force=number % 2 == 0)
    seq = store.collection("c").seq
backed_up(home, home.with_name(f"{number}.zip"))
print(json.dumps({"seq": seq, "now": time.time()}))
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the clock is moved by a library compiled for Linux, and there is no C compiler")
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    source = HERE / "shifted_clock.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


def live(clock, home, number, shift):
    environment = {**os.environ, "LD_PRELOAD": str(clock), "CLOCK_SHIFT_S": str(shift)}
    process = subprocess.run(
        [sys.executable, "-c", LIFE, home, str(number)],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("shifts", [(LATER, TO_1970), pytest.param((0, HOURS, LATER, TO_1970), marks=pytest.mark.slow)])
def test_programs_whose_clock_moves_back(clock, tmp_path, shifts):
    home = tmp_path / "home"
    seqs = []
    for number, shift in enumerate(shifts):
        told = live(clock, home, number, shift)
        assert abs(told["now"] - time.time() - shift) < 120, "the clock was moved"
        seqs.append(told["seq"])
        state = state_of(home)
        assert {uri for _, uri in state} == {"/always", *(f"/kept-{each}" for each in range(number + 1))}
        assert state["c", "/always"][1] == (f"later{number} always ",)
        restored(tmp_path / f"restored-{number}", tmp_path / f"{number}.zip")
        assert state_of(tmp_path / f"restored-{number}") == state
    assert seqs == sorted(set(seqs))


def test_a_question_about_a_time_at_which_the_clock_was_ahead_is_refused(clock, tmp_path):
    home = tmp_path / "home"
    live(clock, home, 0, 0)
    with open_library(settings_in(home)) as library:
        right, before = datetime.now(UTC), [f"/{name}" for name in ("always", "kept-0")]
        live(clock, home, 1, LATER)
        live(clock, home, 2, 0)
        collection = library.store.collection("c")
        query = HashingEmbedder(name="hashing", dimension=16).embed_query("water")

        def found(as_of):
            hits = library.vectors.search(collection, query, 100, as_of=as_of)
            chunks = library.store.hydrate(collection, [hit.chunk_id for hit in hits], as_of=as_of)
            return sorted(document.uri for _, document in chunks)

        begun = [change for _, change in library.history.changes(collection)]
        last = max(datetime.fromisoformat(change.at) for change in begun if datetime.fromisoformat(change.at) < right)
        assert found(last) == before
        for moment in (right, datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)):
            with pytest.raises(HistoryGone, match="clock was ahead"):
                found(moment)
        assert found(None) == [*before, "/kept-1", "/kept-2"]
        assert found(datetime.fromisoformat(begun[-1].at)) == found(None)


def test_stored_model_state_is_kept_in_the_order_of_use(tmp_path, monkeypatch):
    """Least recently used first out, though what was used last was used at an earlier time by the clock."""

    def snapshot(number):
        ids = np.arange(number, number + 3, dtype=np.int32)
        parent = root_key("model")
        return Snapshot(key=snapshot_key(parent, ids), parent=parent, start=0, tokens=ids)

    now = [time.time_ns()]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    size = 1000
    room = 2 * file_bytes(snapshot(0), size)

    def opened():
        return SnapshotStore(ram_bytes=room, disk_bytes=room, directory=tmp_path / "kv", identity="model")

    for number in range(4):
        store = opened()
        assert store.put(snapshot(number), np.full(size, number, np.uint8))
        store.close()
        now[0] -= 5 * 3600 * 10**9 if number != 2 else now[0] - 10**9
    store = opened()
    assert [store.get(snapshot(number).key) is not None for number in range(4)] == [False, False, True, True]
    store.close()
