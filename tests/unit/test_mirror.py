"""The plan of a sync: what is new, changed, moved and gone, and what cannot be told to be gone."""

from __future__ import annotations

import gc
import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest

from indexer.folders.ignoring import IGNORE_FILE
from indexer.folders.mirror import Content, FoundFile, plan_mirror
from indexer.folders.walking import walk
from indexer.sources import SourcePath, expand, sources_of, uri_of
from rag.errors import SourceUnreadable
from rag.source_types import KnownSource


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def known_of(path, *, document_id=1, title="Title", **changes):
    status = path.stat()
    values = {
        "document_id": document_id,
        "uri": uri_of(path),
        "title": title,
        "media_type": "text/plain",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "current": True,
        "metadata": {},
        "stored_at": datetime.now(UTC),
    }
    return KnownSource(**{**values, **changes})


def write(root, name, text="text"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def look_into(path):
    media_type = "text/markdown" if path.suffix == ".md" else "text/plain"
    return Content(hashlib.sha256(path.read_bytes()).hexdigest(), media_type)


def planned(root, known, *, look_into=look_into):
    return plan_mirror(root, sources_of(walk(root)), known, look_into)


def gone_from(plan):
    return [each.source for each in plan.gone]


def test_new_changed_and_unchanged_files_are_told_apart(root):
    same, other, stale, new = (write(root, name, name) for name in ("same", "other", "stale", "new"))
    known = [
        known_of(same, document_id=1),
        known_of(other, document_id=2, size=99),
        known_of(stale, document_id=3, current=False),
    ]
    plan = planned(root, known)
    assert ([file.path for file in plan.add], plan.unchanged) == ([new], 1)
    assert {file.path for file in plan.change} == {other, stale}
    assert (plan.move, plan.gone, plan.unsure) == ([], [], [])


def test_a_file_with_a_new_name_and_the_same_content_has_moved(root):
    here, there = write(root, "a/report.txt"), root / "b" / "report.txt"
    source = known_of(here)
    there.parent.mkdir()
    here.rename(there)
    plan = planned(root, [source])
    (move,) = plan.move
    assert (move.source, move.file.path, move.renamed) == (source, there, False)
    assert (plan.add, plan.gone) == ([], [])


@pytest.mark.parametrize(("title", "renamed"), [("old", True), ("Annual report", False)])
def test_a_title_that_was_the_files_name_goes_with_it(root, title, renamed):
    path = write(root, "old.txt")
    source = known_of(path, title=title)
    path.rename(root / "new.txt")
    (move,) = planned(root, [source]).move
    assert move.renamed is renamed


@pytest.mark.parametrize(("name", "retyped"), [("a.md", True), ("b.log", False)])
def test_a_name_that_says_another_format_is_told(root, name, retyped):
    path = write(root, "a.txt")
    source = known_of(path)
    path.rename(root / name)
    (move,) = planned(root, [source]).move
    assert (move.renamed, move.retyped, move.anew) == (False, retyped, retyped)


def test_each_of_several_equal_files_is_used_once_and_names_decide(root):
    first, second = write(root, "a/x.txt"), write(root, "a/y.txt")
    known = [known_of(first, document_id=1), known_of(second, document_id=2)]
    (root / "b").mkdir()
    second.rename(root / "b" / "y.txt")
    first.rename(root / "b" / "z.txt")
    plan = planned(root, known)
    assert {move.source.document_id: move.file.path.name for move in plan.move} == {1: "z.txt", 2: "y.txt"}


def test_only_new_files_of_the_right_size_are_read(root):
    gone = write(root, "gone", "four")
    known = [known_of(gone)]
    gone.unlink()
    write(root, "same size", "size")
    write(root, "longer", "much longer")
    asked = []
    planned(root, known, look_into=lambda path: asked.append(path.name) or look_into(path))
    assert asked == ["same size"]


def test_a_file_that_cannot_be_read_is_no_move(root):
    gone = write(root, "gone", "four")
    known = [known_of(gone)]
    gone.unlink()
    new = write(root, "new", "four")
    plan = planned(root, known, look_into=lambda path: None)
    assert [file.path for file in plan.add] == [new]
    assert gone_from(plan) == known


def test_nothing_is_gone_from_a_folder_that_holds_nothing(root):
    path = write(root, "a")
    known = [known_of(path)]
    path.unlink()
    plan = planned(root, known)
    assert plan.gone == []
    assert "not mounted" in plan.unsure[0].reason


def test_nothing_is_gone_from_a_folder_that_cannot_be_read(root):
    write(root, "kept", "kept!")
    lost, beside = write(root, "closed/a"), write(root, "closed-too/a")
    known = [known_of(lost, document_id=1), known_of(beside, document_id=2)]
    lost.unlink()
    beside.unlink()
    closed = SourcePath(path=root / "closed", error=SourceUnreadable("closed"))
    plan = plan_mirror(root, [*expand([root / "kept"]), closed], known, look_into)
    assert [each.source.document_id for each in plan.gone] == [2]
    assert [(each.source.document_id, "could not be read" in each.reason) for each in plan.unsure] == [(1, True)]
    assert plan.errors == [closed]


def test_a_folder_whose_ignore_file_is_of_no_use_is_not_called_empty(root):
    known = [known_of(write(root, "a"))]
    write(root, IGNORE_FILE, "[")
    (missing,) = planned(root, known).unsure
    assert missing.reason == f"{root} could not be read"


def test_a_name_that_cannot_be_asked_for_proves_nothing(root):
    write(root, "kept", "kept!")
    loop = root / "loop"
    loop.symlink_to(loop)
    source = known_of(root / "kept", uri=str(loop), sha256="other")
    plan = planned(root, [source])
    assert plan.gone == []
    assert "could not be looked for" in plan.unsure[0].reason


def test_what_is_left_out_on_purpose_is_gone(root):
    write(root, "kept", "kept!")
    hidden = write(root, ".hidden")
    (gone,) = planned(root, [known_of(hidden)]).gone
    assert gone.reason == "hidden"


def test_a_file_that_vanishes_while_the_plan_is_made_is_an_error(root):
    write(root, "kept", "kept!")
    vanished = SourcePath(path=root / "vanished")
    plan = plan_mirror(root, [*expand([root]), vanished], [], look_into)
    assert plan.errors == [vanished]


@pytest.mark.parametrize("moves", [[("a", "x"), ("b", "a"), ("x", "b")], [("b", "a")]])
def test_names_that_files_of_one_size_and_time_exchange_are_told(root, moves):
    for name in ("a", "b", "c"):
        os.utime(write(root, name, f"this is {name}"), ns=(1, 1))
    known = [known_of(root / name, document_id=number) for number, name in enumerate("abc")]
    for before, after in moves:
        (root / before).rename(root / after)
    plan = planned(root, known)
    assert {file.path.name for file in plan.change} == {after for _before, after in moves} - {"x"}
    assert all(file.exchanged for file in plan.change)
    assert plan.unchanged == 1


def test_files_of_one_size_and_time_are_read_only_if_something_was_done_to_them(root):
    for name in ("a", "b"):
        os.utime(write(root, name, f"this is {name}"), ns=(1, 1))
    later = datetime.now(UTC) + timedelta(minutes=1)
    known = [known_of(root / name, document_id=number, stored_at=later) for number, name in enumerate("ab")]
    plan = planned(root, known, look_into=lambda path: pytest.fail(f"{path} was read"))
    assert plan.idle


def test_files_of_one_size_and_time_are_not_read_where_no_name_is_new(root):
    """As after ``chmod -R``, which would have all of a tree read at every look."""
    for name in ("a", "b"):
        os.utime(write(root, name, f"this is {name}"), ns=(1, 1))
    known = [known_of(root / name, document_id=number) for number, name in enumerate("ab")]
    for name in ("a", "b"):
        (root / name).chmod(0o600)
    os.utime(root, ns=(1, 1))
    plan = planned(root, known, look_into=lambda path: pytest.fail(f"{path} was read"))
    assert plan.idle


def test_times_alone_make_a_change(root):
    path = write(root, "a")
    source = known_of(path)
    os.utime(path, ns=(1, 1))
    assert [file.path for file in planned(root, [source]).change] == [path]


def test_a_copy_of_what_may_still_be_there_is_no_move(root):
    here, there = write(root, "a/x.txt"), write(root, "b/x.txt")
    source = known_of(here)
    (root / "a" / IGNORE_FILE).mkdir()
    plan = planned(root, [source])
    assert (plan.move, [file.path for file in plan.add]) == ([], [there])
    assert [missing.source for missing in plan.unsure] == [source]


def test_a_copy_of_what_lay_on_a_disk_that_may_not_be_mounted_is_no_move(root):
    here, there = write(root, "a/x.txt"), write(root, "b/x.txt")
    source = known_of(here, stored_at=datetime.now(UTC) + timedelta(hours=1))
    here.unlink()
    plan = planned(root, [source])
    assert (plan.move, [file.path for file in plan.add], len(plan.unsure)) == ([], [there], 1)


def test_many_files_of_one_content_that_moved_are_each_compared_once(root, monkeypatch):
    (root / "old").mkdir()
    known = [known_of(write(root, f"old/{number}"), document_id=number) for number in range(60)]
    (root / "old").rename(root / "new")
    compared = []
    same = FoundFile.__eq__
    monkeypatch.setattr(FoundFile, "__eq__", lambda self, other: compared.append(0) or same(self, other))
    plan = planned(root, known[::-1])
    assert {move.source.document_id: move.file.path.name for move in plan.move} == {
        number: str(number) for number in range(60)
    }
    assert len(compared) < 120


def test_of_one_content_those_of_the_same_name_go_first_and_each_file_is_used_once(root):
    known = [known_of(write(root, f"a/{name}"), document_id=number) for number, name in enumerate("wxyz")]
    (root / "b").mkdir()
    for name in "wxyz":
        (root / "a" / name).unlink()
    for name in "zvx":
        write(root, f"b/{name}")
    plan = planned(root, known)
    assert {move.source.document_id: move.file.path.name for move in plan.move} == {0: "v", 1: "x", 3: "z"}
    assert [source.document_id for source in gone_from(plan)] == [2]


def test_unchanged_files_are_let_go_of_one_by_one(root):
    known = [known_of(write(root, f"{number}"), document_id=number) for number in range(20)]

    def held():
        return sum(isinstance(each, FoundFile) for each in gc.get_objects())

    def found():
        yield from expand([root])
        most.append(held())

    most, before = [], held()
    assert plan_mirror(root, found(), known, look_into).unchanged == 20
    assert most[0] - before <= 1
