"""A parser that hangs, crashes, floods or eats memory costs its file; the next file finds a working process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from indexer.parsers.registry import PARSERS
from indexer.parsing.isolation import IsolatedParsers
from rag.errors import ParserCrashed, ParserOutOfMemory, ParserTimeout, SourceDamaged, SourceTooLarge
from tests.faults import hostile_parsers
from tests.integration.ingesting import ingesting
from tests.unit.pdf_pages import make_pdf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMORY = 512 << 20
NAMES = [name for name in vars(hostile_parsers) if not name.startswith("_")]


@pytest.fixture
def parsers() -> Iterator[IsolatedParsers]:
    registry = {name: f"{hostile_parsers.HERE}:{name}" for name in NAMES}
    with IsolatedParsers(timeout_s=20, memory_bytes=MEMORY, parsers=registry) as running:
        yield running


@pytest.fixture
def parse(parsers: IsolatedParsers, tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("the text")

    def run(name: str) -> list:
        with path.open("rb") as file, closing(parsers.parse(file, media_type=name, encoding="utf-8", size=8)) as pieces:
            return list(pieces)

    return run


def process_of(pieces: list) -> str:
    return pieces[0].notices[0]


def test_the_process_is_kept_for_the_next_file(parse):
    assert process_of(parse("well_behaved")) == process_of(parse("well_behaved"))


@pytest.mark.skipif(sys.platform != "linux", reason="sessions are weighed on Linux only")
def test_it_gives_way_to_other_programs_and_to_other_sessions(parse):
    niceness, *session = [notice for pieces in parse("tells_its_priority") for notice in pieces.notices]
    assert int(niceness) >= 10
    assert all(told.endswith(f" nice {niceness}") for told in map(str.strip, session))


@pytest.mark.parametrize(
    ("name", "error", "cause"),
    [
        ("segfaults", ParserCrashed, "SIGSEGV"),
        ("raises", ParserCrashed, "met something it did not expect"),
        ("exits", ParserCrashed, "exit status 3"),
        ("aborts", ParserCrashed, "SIGABRT"),
        ("recurses", ParserCrashed, "Recursion"),
        ("speaks_nonsense", ParserCrashed, "no reply"),
        ("announces_a_huge_reply", ParserCrashed, "no reply"),
        ("takes_all_memory", ParserOutOfMemory, "512 MiB"),
        ("is_killed", ParserCrashed, r"killed on this file when it had \d+ MiB"),
        ("is_killed_with_much_memory", ParserOutOfMemory, "512 MiB"),
        ("floods", SourceTooLarge, "characters"),
    ],
)
def test_a_failure_costs_the_file_and_names_its_cause(parse, name, error, cause):
    with pytest.raises(error, match=cause):
        parse(name)
    assert [block.text for pieces in parse("well_behaved") for block in pieces.blocks] == ["the text"]


ABORTING = """
import sys, tempfile
from indexer.parsing.isolation import IsolatedParsers
from rag.errors import SourceError
from tests.faults import hostile_parsers
name, once_held = sys.argv[1], int(sys.argv[2])
del (held := bytearray(once_held))[:]
with IsolatedParsers(timeout_s=20, memory_bytes=512 << 20, parsers={name: f"{hostile_parsers.HERE}:{name}"}) as parsers:
    with tempfile.TemporaryFile() as file:
        try:
            list(parsers.parse(file, media_type=name, encoding="utf-8", size=8))
        except SourceError as error:
            print(error.code, error.message)
"""


@pytest.mark.parametrize(
    ("name", "once_held", "error", "cause"),
    [
        ("aborts_for_want_of_memory", 0, ParserOutOfMemory, "512 MiB"),
        ("aborts", 0, ParserCrashed, "SIGABRT"),
        ("aborts_for_want_of_memory", 900 << 20, ParserOutOfMemory, "512 MiB"),
        ("aborts", 900 << 20, ParserCrashed, "SIGABRT"),  # what the program itself has held is not the parser's
    ],
)
def test_an_abort_is_for_want_of_memory_if_the_parser_held_much(name, once_held, error, cause):
    command = [sys.executable, "-c", ABORTING, name, str(once_held)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert result.stdout.startswith(f"{error.code} ")
    assert cause in result.stdout


def test_a_parser_that_hangs_is_stopped(tmp_path):
    registry = {name: f"{hostile_parsers.HERE}:{name}" for name in NAMES}
    file = tmp_path / "file"
    file.write_text("text")
    with IsolatedParsers(timeout_s=2, memory_bytes=MEMORY, parsers=registry) as parsers:
        with file.open("rb") as opened, pytest.raises(ParserTimeout, match="2 s"):
            list(parsers.parse(opened, media_type="hangs", encoding="utf-8", size=4))
        # Six times half a second: longer than the limit in all, never silent for as long.
        with file.open("rb") as opened:
            pieces = list(parsers.parse(opened, media_type="is_slow_but_alive", encoding="utf-8", size=4))
            assert sum(len(piece.blocks) for piece in pieces) == 6
        with file.open("rb") as opened:
            pieces = list(parsers.parse(opened, media_type="works_silently", encoding="utf-8", size=4))
            assert pieces[-1].blocks[0].text == "done"


def test_limits_of_time_may_be_infinite(tmp_path):
    (tmp_path / "a.txt").write_text("the text")
    with ingesting(tmp_path / "home", timeout_s=float("inf")) as library:
        assert library.ingest(tmp_path / "a.txt").ingested == 1


def test_a_parser_that_goes_on_and_on_is_stopped(tmp_path):
    registry = {name: f"{hostile_parsers.HERE}:{name}" for name in NAMES}
    (tmp_path / "file").write_text("text")
    with (
        IsolatedParsers(timeout_s=20, longest_s=1.2, memory_bytes=MEMORY, parsers=registry) as parsers,
        (tmp_path / "file").open("rb") as opened,
    ):
        with pytest.raises(ParserTimeout, match=r"not done after 1\.2 s") as caught:
            list(parsers.parse(opened, media_type="is_slow_but_alive", encoding="utf-8", size=4))
        assert "RAG_PARSE_LONGEST_S" in caught.value.hint


def test_a_parser_reaches_no_network_and_no_secrets(parse, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    ((pieces),) = parse("wants_out")
    assert pieces.blocks[0].text == "nothing"


@pytest.fixture(scope="module")
def confined() -> tuple[bool, bool]:
    program = "from indexer.parsing.confinement import confine; print(*map(int, confine()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    files, network = told.stdout.split()
    return files == "1", network == "1"


def test_a_parser_that_is_taken_over_changes_no_file_and_connects_nowhere(parsers, tmp_path, confined):
    (tmp_path / "precious").write_text("of value")
    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "file").open("w+b") as file:
        file.write(f"{tmp_path}\n{server.getsockname()[1]}".encode())
        file.flush()
        (pieces,) = parsers.parse(file, media_type="breaks_out", encoding="utf-8", size=8)
    reached = set(pieces.blocks[0].text.split(","))
    files = {"makes", "writes", "truncates", "deletes", "renames", "links", "makes a folder"}
    if not confined[0]:
        pytest.skip("this kernel has no Landlock")
    assert not reached & files
    assert (tmp_path / "precious").read_text() == "of value"
    if not confined[1]:
        pytest.skip("this kernel has no means to keep a process from its network")
    assert not reached & {"connects", "sends"}


CONTAINED = """
import socket
from indexer.parsing import confinement
confinement._has_left_network = lambda libc: False
assert confinement.confine()[1], "it has a network"
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            socket.socket(family, kind).close()
        except PermissionError:
            continue
        print(family, kind)
socket.socketpair()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="system calls are filtered on Linux only")
def test_a_container_that_refuses_a_namespace_leaves_no_network_all_the_same():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told = subprocess.run(
        [sys.executable, "-c", CONTAINED], capture_output=True, text=True, env=environment, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_leaving_a_file_in_the_middle_ends_the_process(parsers, parse, tmp_path):
    before = process_of(parse("well_behaved"))
    with (tmp_path / "file").open("rb") as file:
        pieces = parsers.parse(file, media_type="floods", encoding="utf-8", size=8)
        next(pieces)
        pieces.close()
    assert process_of(parse("well_behaved")) != before


def test_the_parent_does_not_outgrow_a_flood_it_reads_slowly(parsers, tmp_path):
    (tmp_path / "file").write_text("x")
    with (tmp_path / "file").open("rb") as file:
        pieces = parsers.parse(file, media_type="floods", encoding="utf-8", size=1)
        next(pieces)
        (child,) = psutil.Process(parsers._child._process.pid).children()
        child_before = child.memory_info().rss
        for _ in range(20):
            next(pieces)
        assert child.memory_info().rss - child_before < 20 << 20
        pieces.close()


@pytest.mark.parametrize("what", ["notices", "titles", "captions", "headings", "empty"])
def test_whatever_a_parser_yields_aplenty_is_cut_off(parse, monkeypatch, what):
    monkeypatch.setattr("indexer.parsing.isolation._MAX_TEXT_CHARS", 1 << 20)
    with pytest.raises(SourceTooLarge, match="characters of text"):
        parse(f"{what}_aplenty")


def test_of_many_notices_a_few_are_told(tmp_path):
    (tmp_path / "a.md").write_text("Lakes hold water.")
    registry = {**PARSERS, "text/markdown": f"{hostile_parsers.HERE}:notices_much"}
    with ingesting(tmp_path / "home", parsers=registry) as library:
        (result,) = library.ingest(tmp_path / "a.md").results
    assert result.notices[-1] == "There is more to say of it: 976 notices left out."
    assert len(result.notices) == 25
    assert max(map(len, result.notices)) <= 501


def test_no_process_is_left_behind(parse, parsers):
    before = set(psutil.Process().children(recursive=True))  # the fork server of other tests
    parse("well_behaved")
    ours = set(psutil.Process().children(recursive=True)) - before
    assert len(ours) == 2
    parsers.close()
    assert psutil.wait_procs(ours, timeout=5)[1] == []


def test_a_child_ends_when_the_one_that_waits_for_it_is_killed(parse, parsers, tmp_path):
    with (tmp_path / "file").open("rb") as file:
        pieces = parsers.parse(file, media_type="hangs", encoding="utf-8", size=8)
        next(pieces)
        waiting = psutil.Process(parsers._child._process.pid)
        (child,) = waiting.children()
        waiting.kill()
        with pytest.raises(ParserCrashed, match="was killed on this file:"):
            next(pieces)
    assert psutil.wait_procs([child], timeout=5)[1] == []
    assert [block.text for pieces in parse("well_behaved") for block in pieces.blocks] == ["the text"]


@pytest.mark.parametrize("name", ["hangs", "hangs_in_c"])
def test_a_child_ends_when_its_parent_is_killed(tmp_path, name):
    (tmp_path / "file").write_text("x")
    program = f"""
import os, signal, sys, psutil
from indexer.parsing.isolation import IsolatedParsers
parsers = IsolatedParsers(timeout_s=60, memory_bytes={MEMORY}, parsers={{"{name}": "{hostile_parsers.HERE}:{name}"}})
pieces = parsers.parse(open({str(tmp_path / "file")!r}, "rb"), media_type="{name}", encoding="utf-8", size=1)
next(pieces)
waiting = parsers._child._process.pid
print(waiting, *(child.pid for child in psutil.Process(waiting).children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    children = [int(pid) for pid in done.stdout.split()]
    assert len(children) == 2
    running = []
    for child in children:
        with suppress(psutil.NoSuchProcess):  # it has ended already
            running.append(psutil.Process(child))
    assert psutil.wait_procs(running, timeout=30)[1] == []


def test_real_parsers_report_damage_and_memory_through_the_process(tmp_path):
    damaged = tmp_path / "damaged.pdf"
    damaged.write_bytes(make_pdf([["text"]])[:300])
    page = tmp_path / "page.html"
    page.write_text("<p>some text</p>" * 1_500_000)
    with IsolatedParsers(timeout_s=60, memory_bytes=1 << 28) as parsers:
        with damaged.open("rb") as file, pytest.raises(SourceDamaged):
            list(parsers.parse(file, media_type="application/pdf", encoding="utf-8", size=300))
        with page.open("rb") as file, pytest.raises(ParserOutOfMemory, match="256 MiB") as caught:
            list(parsers.parse(file, media_type="text/html", encoding="utf-8", size=page.stat().st_size))
        assert "RAG_PARSE_MEMORY_BYTES" in caught.value.hint
