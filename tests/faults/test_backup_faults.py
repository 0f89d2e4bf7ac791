"""Backups that are damaged, cut off, killed, or made while somebody writes: refused, or whole."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import zipfile
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from rag.errors import BackupDamaged, DatabaseDamaged, DatabaseOutdated, DiskFull
from rag.job_types import JobState
from rag.stores.archives import archive, backup
from rag.stores.documents import SqlDocumentStore
from rag.stores.jobs.queue import JobQueue
from rag.stores.sqlite.database import Database
from rag.stores.verification.documents import verify_documents
from rag.stores.verification.findings import verify_database
from rag.stores.verification.index_files import verify_index
from tests.contracts.store_builders import settings_in
from tests.faults.backups import (
    back_up_and_die,
    backed_up,
    filled,
    holding,
    no_report,
    restore_and_die,
    restored,
    states,
    upload,
)
from tests.faults.killed_writer import write_until_killed
from tests.faults.test_killed_writers import sha256_of, wait_for_lines

if TYPE_CHECKING:
    from pathlib import Path

NEITHER = 150  # more steps than a backup or a restore has


def contents(home: Path) -> dict[str, tuple[int, str]]:
    """Every file with its content, and when it was written."""
    return {
        str(path.relative_to(home)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """``home`` with 20 chunks, ``other`` with 30, and their archives ``home.zip`` and ``other.zip``."""
    folder = tmp_path_factory.mktemp("made")
    filled(folder / "home", "home", 20)
    filled(folder / "other", "other", 30)
    backed_up(folder / "home", folder / "home.zip")
    backed_up(folder / "other", folder / "other.zip", compress=True)
    return folder


@pytest.mark.parametrize("name", ["home.zip", "other.zip"])
def test_a_changed_byte_anywhere_is_refused(made, tmp_path, name):
    whole = (made / name).read_bytes()
    before = contents(made / "home")
    chance = random.Random(7)  # noqa: S311  # for a test
    places = {0, 1, len(whole) - 1, *range(len(whole) - 150, len(whole), 7), *range(0, len(whole), len(whole) // 150)}
    damaged = tmp_path / "damaged.zip"
    for place in sorted(places):
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        damaged.write_bytes(data)
        with pytest.raises(BackupDamaged, match=r"Nothing was changed"):
            restored(made / "home", damaged, force=True)
        with pytest.raises(BackupDamaged):
            restored(tmp_path / "new", damaged)
    assert contents(made / "home") == before
    assert not (tmp_path / "new").exists()


def test_an_archive_that_is_cut_off_or_longer_is_refused(made, tmp_path):
    whole = (made / "home.zip").read_bytes()
    damaged = tmp_path / "damaged.zip"
    for size in (0, 1, 50, 87, 88, *range(100, len(whole), len(whole) // 40), len(whole) - 1):
        damaged.write_bytes(whole[:size])
        with pytest.raises(BackupDamaged):
            restored(tmp_path / "new", damaged)
    for more in (b"\0", b"x" * 1000, whole):
        damaged.write_bytes(whole + more)
        with pytest.raises(BackupDamaged):
            restored(tmp_path / "new", damaged)
    assert not (tmp_path / "new").exists()


def forged(made: Path, target: Path, *, manifest=None, members=None) -> Path:
    """An archive with a good seal around something else than a backup has."""
    with zipfile.ZipFile(made / "home.zip") as source:
        kept = {name: source.read(name) for name in source.namelist()} | (members or {})
    read = json.loads(kept.pop("manifest.json"))
    with archive.writing(target, compress=False) as writer:
        for name, content in kept.items():
            writer._archive.writestr(name, content)
        writer._archive.writestr("manifest.json", json.dumps(read | (manifest(read) if manifest else {})))
    return target


def member(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    "manifest",
    [
        lambda read: {"members": [*read["members"], member("../../outside", b"x")]},
        lambda read: {"members": [*read["members"], member("indexes/1/../../outside", b"x")]},
        lambda read: {"members": [*read["members"], member("/outside", b"x")]},
        lambda read: {"members": [*read["members"], member("indexes/1/x/not-there", b"x")]},
        lambda read: {"members": [*read["members"], read["members"][0]]},
        lambda read: {"members": []},
        lambda read: {"members": [{**item, "size": item["size"] - 1} for item in read["members"]]},
        lambda read: {"members": [{**item, "sha256": "0" * 64} for item in read["members"]]},
        lambda read: {"members": "none"},
        lambda read: {"format_version": "new"},
        lambda read: {"revision": "0001"},
    ],
)
def test_an_archive_that_lies_is_refused(made, tmp_path, manifest):
    target = forged(made, tmp_path / "forged.zip", manifest=manifest, members={"../../outside": b"x"})
    home = tmp_path / "deep" / "er" / "new"
    with pytest.raises(BackupDamaged):
        restored(home, target)
    assert not list(tmp_path.rglob("outside"))
    assert not (home / "plumbline.db").exists()
    assert not list(home.glob("*.restoring"))


def test_a_broken_database_in_an_archive_is_refused(made, tmp_path):
    with zipfile.ZipFile(made / "home.zip") as source:
        database = bytearray(source.read("plumbline.db"))
    for page in range(1, len(database) // 4096):
        database[page * 4096 : page * 4096 + 8] = b"\xa5" * 8
    wrong = bytes(database)

    def manifest(read):
        return {
            "members": [
                member("plumbline.db", wrong) if item["name"] == "plumbline.db" else item for item in read["members"]
            ]
        }

    target = forged(made, tmp_path / "forged.zip", manifest=manifest, members={"plumbline.db": wrong})
    shutil.copytree(made / "home", tmp_path / "home")
    before = contents(tmp_path / "home")
    with pytest.raises(DatabaseDamaged):
        restored(tmp_path / "home", target, force=True)
    assert contents(tmp_path / "home") == before


def full_after(monkeypatch, owner: object, name: str, calls: int) -> None:
    """Let a function find the disk full, but for the first ``calls`` calls."""
    original, left = getattr(owner, name), calls

    def limited(*arguments, **options):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, limited)


@pytest.mark.parametrize("calls", range(4))
@pytest.mark.parametrize("what", ["write", "fsync"])
def test_a_full_disk_leaves_no_half_a_backup(made, tmp_path, monkeypatch, what, calls):
    owner = {"write": (zipfile._ZipWriteFile, "write"), "fsync": (os, "fsync")}[what]
    target = tmp_path / "backup.zip"
    target.write_text("the backup before")
    with monkeypatch.context() as full:
        full_after(full, *owner, calls if what == "write" else calls // 4)
        with pytest.raises(DiskFull, match="Free some space"):
            backed_up(made / "home", target, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["backup.zip"]
    assert target.read_text() == "the backup before"
    backed_up(made / "home", target, force=True)


@pytest.mark.parametrize("calls", range(7))
def test_a_full_disk_stops_a_restore_before_anything_changes(made, tmp_path, monkeypatch, calls):
    shutil.copytree(made / "home", tmp_path / "home")
    before = contents(tmp_path / "home")
    with monkeypatch.context() as full:
        full_after(full, os, "fsync", calls)
        with pytest.raises(DiskFull, match="Free some space"):
            restored(tmp_path / "home", made / "other.zip", force=True)
    after = contents(tmp_path / "home")
    assert {name: after.get(name) for name in before} == before
    assert not any("restoring" in name for name in after)


def test_room_is_asked_for_first(made, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(DiskFull, match="1000 free"):
        restored(tmp_path / "new", made / "home.zip")


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")  # the modules are loaded once, not for each process
    context.set_forkserver_preload(["tests.faults.backups", "tests.faults.killed_writer"])
    return context


def lived(processes, target, *arguments) -> bool:
    """Run a process to its end; whether it was not killed."""
    process = processes.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


@pytest.mark.timeout(300)
def test_a_backup_that_is_killed_leaves_nothing_under_its_name(made, tmp_path, processes):
    before = holding(made / "home")
    for step in range(NEITHER):
        folder = tmp_path / str(step)
        folder.mkdir()
        if lived(processes, back_up_and_die, made / "home", folder / "backup.zip", step):
            break
        if (folder / "backup.zip").exists():  # killed after the rename: it is whole
            restored(folder / "new", folder / "backup.zip")
            assert holding(folder / "new") == before
    assert 5 < step < NEITHER - 1
    assert holding(made / "home") == before
    assert [path.name for path in folder.iterdir()] == ["backup.zip"]


@pytest.mark.timeout(300)
def test_a_restore_that_is_killed_leaves_the_old_or_the_new(made, tmp_path, processes):
    old, new = holding(made / "home"), holding(made / "other")
    seen = []
    for step in range(NEITHER):
        home = tmp_path / str(step)
        shutil.copytree(made / "home", home)
        if lived(processes, restore_and_die, home, made / "other.zip", step):
            break
        seen.append(holding(home))
        assert seen[-1] in (old, new)
        assert seen[-1] == old or states(home) == [], "what was made with the old database is not used with the new"
        restored(home, made / "other.zip", force=True)  # nobody has to clean up first
        assert holding(home) == new
        assert not list(home.glob("*.restoring"))
        assert len(list((home / "blobs").iterdir())) <= 2, "the old one is removed, or left for the next worker"
    assert 10 < step < NEITHER - 1
    assert holding(home) == new
    assert seen == sorted(seen, key=lambda held: held == new), "there is one moment at which the new one takes over"


@pytest.mark.timeout(300)
def test_a_restore_into_an_empty_place_that_is_killed_leaves_nothing_or_all(made, tmp_path, processes):
    new = holding(made / "other")
    for step in range(NEITHER):
        home = tmp_path / str(step)
        home.mkdir()
        if lived(processes, restore_and_die, home, made / "other.zip", step):
            break
        if (home / "plumbline.db").exists():
            assert holding(home) == new
        else:
            with pytest.raises(DatabaseOutdated):  # there is none; and none was lost
                Database.open(settings_in(home), migrate=False)
            restored(home, made / "other.zip")
            assert holding(home) == new
    assert 5 < step < NEITHER - 1
    assert holding(home) == new


def test_an_upload_that_is_taken_in_during_the_backup_is_in_it(made, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(made / "home", home)
    database = Database.open(settings_in(home))
    begun = threading.Event()

    def taken_in(path, *arguments, **options):
        """A worker ends a job that the backup has seen, as soon as that looks for its upload; then all others."""
        queue = JobQueue(database)
        job = queue.claim("worker")
        if job is not None and not begun.is_set():
            begun.set()
            for each in job.request.uploads:
                (home / "blobs" / each.blob).unlink()
            queue.finish(job.id, "worker", JobState.SUCCEEDED)
            upload(database, home, "a later one")
        return add(path, *arguments, **options)

    add = type(home).hardlink_to
    monkeypatch.setattr(type(home), "hardlink_to", taken_in)
    manifest = backed_up(home, tmp_path / "b.zip")
    database.close()
    restored(tmp_path / "new", tmp_path / "b.zip")
    assert begun.is_set()
    assert len([each for each in manifest.members if each.name.startswith("blobs/")]) == 1
    assert holding(tmp_path / "new")[0] == ["/home", "a later one"]


def test_an_upload_that_is_removed_while_it_is_backed_up_is_in_it(made, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(made / "home", home)
    generations = backup._add_generations

    def removed_meanwhile(*arguments):
        shutil.rmtree(home / "blobs")
        return generations(*arguments)

    monkeypatch.setattr(backup, "_add_generations", removed_meanwhile)
    backed_up(home, tmp_path / "b.zip")
    restored(tmp_path / "new", tmp_path / "b.zip")
    assert holding(tmp_path / "new") == holding(made / "home")
    assert [path.name for path in home.iterdir() if path.name.startswith(".unfinished")] == []


def test_an_upload_that_is_missing_stops_no_backup(made, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(made / "home", home)
    shutil.rmtree(home / "blobs")
    members = backed_up(home, tmp_path / "b.zip").members
    assert not any(each.name.startswith("blobs/") for each in members)


def changes(log: Path) -> tuple[dict[str, int], dict[str, list[str | None]]]:
    """For each uri, how many changes were acknowledged, and the hash it had after each change; None when deleted."""
    acknowledged: dict[str, int] = defaultdict(int)
    after: dict[str, list[str | None]] = defaultdict(lambda: [None])
    pending = None
    for written in log.read_text().splitlines():
        line = json.loads(written)
        assert "failed" not in line, line
        if "intent" in line:
            pending = line.get("uri")
            if pending is not None:
                after[pending].append(sha256_of(line["version"]) if "version" in line else None)
        elif pending is not None:
            acknowledged[pending] = len(after[pending]) - 1
            pending = None
    return acknowledged, after


@pytest.mark.timeout(300)
def test_a_backup_beside_a_writer_is_one_moment_of_it(tmp_path, processes):
    log = tmp_path / "log"
    writer = processes.Process(target=write_until_killed, args=(str(tmp_path / "home"), str(log), 5))
    writer.start()
    taken = []
    try:
        wait_for_lines(log, writer, 1)
        for number in range(12):
            began, _ = changes(log)
            backed_up(tmp_path / "home", tmp_path / f"{number}.zip", compress=number % 2 == 1)
            taken.append(began)
            assert writer.is_alive()
    finally:
        writer.kill()
        writer.join()
    _, after = changes(log)
    assert sum(map(len, after.values())) > len(after)  # something was written meanwhile
    for number, began in enumerate(taken):
        home = tmp_path / f"home-{number}"
        restored(home, tmp_path / f"{number}.zip")
        database = Database.open(settings_in(home))
        store = SqlDocumentStore(database)
        (collection,) = store.collections()
        problems = [*verify_database(database), *verify_documents(database, collection, lambda _: None)]
        held = {document.uri: document.sha256 for document in store.documents(collection)}
        damaged = {finding.message for finding in verify_index(database, home / "indexes", collection)}
        database.close()
        assert problems == []
        for uri, versions in after.items():
            assert held.get(uri) in versions[began[uri] :], (number, uri)
        with archive.reading(tmp_path / f"{number}.zip", no_report) as opened:
            assert len(damaged) <= len(opened.manifest.left_out)  # what is there is right
