"""Archives and mails that mean harm, or are torn: each is refused for its own reason and nothing else is harmed."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest

from indexer.members import MAX_DEPTH
from tests.integration.ingesting import ingesting
from tests.unit.mails import mail, tarred, zipped

GOOD = b"Lakes hold water."
FULL = Path("/dev/full")


@pytest.fixture
def library(tmp_path):
    with ingesting(tmp_path / "home", memory_bytes=1 << 29) as opened:
        yield opened


@pytest.fixture
def take(library, tmp_path):
    """Ingest one file and a good one after it; returns code and message by the end of the URI."""

    def run(name: str, content: bytes) -> dict[str, str]:
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / name).write_bytes(content)
        (folder / "zz-good.txt").write_bytes(GOOD)
        report = library.ingest(folder)
        results = {r.uri.partition("/docs/")[2]: r.failure.code if r.failure else "" for r in report.results}
        assert results.pop("zz-good.txt") == ""
        assert not (tmp_path / "evil.txt").exists()
        return results

    return run


def zip_with_sizes(count: int, declared: int) -> bytes:
    """A ZIP whose directory says of every file that it unpacks to so many bytes."""
    raw = bytearray(zipped({f"{n}.txt": b"x" for n in range(count)}))
    at = 0
    while (at := raw.find(b"PK\x01\x02", at)) >= 0:
        raw[at + 24 : at + 28] = struct.pack("<I", declared)
        at += 4
    return bytes(raw)


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(take, library):
    assert take("bomb.zip", zipped({"a.txt": GOOD, "zeros.txt": bytes(80 << 20)})) == {"bomb.zip": "source_too_large"}
    assert len(library.documents()) == 1


def test_a_zip_that_claims_terabytes_is_refused(take):
    assert take("claims.zip", zip_with_sizes(1000, 0xFFFF_FFF0)) == {"claims.zip": "source_too_large"}


def test_a_zip_that_claims_too_little_costs_the_member(take):
    raw = zipped({"a.txt": GOOD * 100, "b.txt": GOOD}).replace(struct.pack("<I", len(GOOD) * 100), struct.pack("<I", 5))
    assert take("lies.zip", raw) == {"lies.zip!/a.txt": "source_damaged", "lies.zip!/b.txt": "", "lies.zip": ""}


def test_a_gzip_bomb_is_refused_while_it_unpacks(take):
    content = gzip.compress(bytes(100 << 20))
    assert take("bomb.txt.gz", content) == {"bomb.txt.gz": "source_too_large"}


def test_a_tar_bomb_is_refused_before_its_first_member(take):
    content = tarred([("a.txt", GOOD, {}), ("zeros.txt", bytes(100 << 20), {})])
    assert take("bomb.tar.gz", content) == {"bomb.tar.gz": "source_too_large"}


def test_holes_of_files_in_a_tar_count_as_what_they_unpack_to(take):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for size in (-1 << 60, 1 << 28):
            entry = tarfile.TarInfo("a.txt")
            entry.size = len(GOOD)
            entry.pax_headers = {"GNU.sparse.map": f"0,{len(GOOD)}", "GNU.sparse.size": str(size)}
            archive.addfile(entry, io.BytesIO(GOOD))
    assert take("a.tar", held.getvalue()) == {"a.tar": "source_too_large"}


def test_a_tar_entry_that_claims_a_terabyte_is_refused_at_once(library, tmp_path):
    entry = tarfile.TarInfo("huge.txt")
    entry.size = 1 << 40
    raw = entry.tobuf() + GOOD.ljust(512, b"\0") + bytes(1024)
    for name, content in (("a.tar", raw), ("b.tar.gz", gzip.compress(raw))):
        (tmp_path / name).write_bytes(content)
        (failure,) = library.ingest(tmp_path / name).failed
        assert (failure.code, failure.message) == (
            "source_damaged",
            "The archive cannot be read to its end: it ends within an entry.",
        )


def test_entries_of_a_zip_that_share_their_bytes_count_each(take):
    """Many names in the directory of a ZIP for one packed text (Fifield, "A better zip bomb", 2019)."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = bytes(1 << 20)
    data = packed.compress(text) + packed.flush()
    sizes = (zlib.crc32(text), len(data), len(text), 1)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, 0) + b"a" + data
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 5000, 5000, len(entry) * 5000, len(local), 0)
    assert take("overlap.zip", local + entry * 5000 + end) == {"overlap.zip": "source_too_large"}


def test_too_many_members_are_refused_as_a_whole(take):
    content = zipped({f"{n}.txt": b"x" for n in range(10_001)}, method=zipfile.ZIP_STORED)
    assert take("many.zip", content) == {"many.zip": "source_too_large"}


def test_zips_in_zips_end_at_the_allowed_depth(take):
    content = zipped({"core.txt": GOOD})
    for _ in range(MAX_DEPTH + 3):
        content = zipped({"in.zip": content, "t.txt": GOOD})
    results = take("a.zip", content)
    deepest = "a.zip" + "!/in.zip" * MAX_DEPTH
    assert results[deepest] == "source_too_large"
    assert results["a.zip" + "!/in.zip" * (MAX_DEPTH - 1) + "!/t.txt"] == ""
    assert not any(uri.startswith(f"{deepest}!") for uri in results)


def test_what_nested_archives_hold_counts_together(tmp_path):
    inner = zipped({f"{n}.txt": f"Text {n}." for n in range(6)})
    (tmp_path / "a.zip").write_bytes(zipped({"1.zip": inner, "2.zip": inner, "3.zip": inner}))
    with ingesting(tmp_path / "home") as library:
        library.max_members = 12
        codes = {
            r.uri.partition("a.zip")[2]: r.failure.code for r in library.ingest(tmp_path / "a.zip").results if r.failure
        }
    assert codes["!/2.zip"] == "source_too_large"
    assert codes["!/3.zip"] == "source_too_large"


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "C:/evil.txt", "..\\evil.txt"])
def test_names_that_lead_out_are_refused(take, name):
    results = take("a.zip", zipped({"good.txt": GOOD, name: b"evil"}))
    assert results.pop("a.zip!/good.txt") == ""
    assert results.pop("a.zip") == ""
    assert list(results.values()) == ["source_unsafe"]


def test_links_and_devices_in_a_tar_are_not_followed(take):
    entries = [
        ("up", None, {"type": tarfile.SYMTYPE, "linkname": "../../etc/passwd"}),
        ("abs", None, {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("hard", None, {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("inside", None, {"type": tarfile.SYMTYPE, "linkname": "good.txt"}),
        ("null", None, {"type": tarfile.CHRTYPE}),
        ("pipe", None, {"type": tarfile.FIFOTYPE}),
        ("../evil.txt", b"evil", {}),
        ("good.txt", GOOD, {}),
    ]
    results = take("a.tar", tarred(entries, "w:"))
    unsafe = {uri for uri, code in results.items() if code == "source_unsafe"}
    assert unsafe == {"a.tar!/up", "a.tar!/abs", "a.tar!/hard", "a.tar!/../evil.txt"}
    assert results.keys() - unsafe == {"a.tar", "a.tar!/good.txt"}


def test_links_in_a_zip_are_not_followed(take):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, target in {"abs": "/etc/passwd", "a/up": "../../good.txt", "a/in": "../good.txt"}.items():
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, 0o120777 << 16
            archive.writestr(link, target)
        archive.writestr("good.txt", GOOD)
    unsafe = dict.fromkeys(("a.zip!/abs", "a.zip!/a/up"), "source_unsafe")
    assert take("a.zip", held.getvalue()) == {**unsafe, "a.zip!/good.txt": "", "a.zip": ""}


def test_names_that_are_no_utf8_are_readable_and_harm_no_other(take):
    raw = zipped({"grün.txt": GOOD, "good.txt": GOOD}).replace("ü".encode(), b"\xff\xfe")
    assert take("a.zip", raw) == {"a.zip!/gr%FF%FEn.txt": "", "a.zip!/good.txt": "", "a.zip": ""}


@pytest.mark.parametrize("checksum", [zlib.crc32("Отчёт.txt".encode("cp866")), 0])
def test_a_name_that_stands_in_utf8_beside_the_old_one_is_the_name(take, checksum):
    old = "Отчёт.txt".encode("cp866").decode("cp437")
    stated = b"\1" + struct.pack("<I", checksum) + "Отчёт.txt".encode()
    entry = zipfile.ZipInfo("x" * len(old))
    entry.extra = struct.pack("<HHH", 0xCAFE, 2, 0) + struct.pack("<HH", 0x7075, len(stated)) + stated
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(entry, GOOD)
    content = held.getvalue().replace(b"x" * len(old), old.encode("cp437"))
    assert take("a.zip", content) == {f"a.zip!/{'Отчёт.txt' if checksum else old}": "", "a.zip": ""}


@pytest.mark.parametrize("whole", [True, False])
def test_encrypted_zips(take, whole):
    raw = bytearray(zipped({"a.txt": GOOD, "b.txt": GOOD}))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := raw.find(mark, at + 1)) >= 0:
            raw[at + flags] |= 1
            if not whole:
                break
    if whole:
        assert take("a.zip", bytes(raw)) == {"a.zip": "source_encrypted"}
    else:
        assert take("a.zip", bytes(raw)) == {"a.zip!/a.txt": "source_encrypted", "a.zip!/b.txt": "", "a.zip": ""}


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.99])
def test_a_torn_tar_gz_is_refused_as_a_whole(take, keep):
    noise = b"".join(f"{n * 7919} words. ".encode() for n in range(20_000))
    content = tarred([("a.txt", noise, {}), ("b.txt", noise[::-1], {})])
    assert take("a.tar.gz", content[: int(len(content) * keep)]) == {"a.tar.gz": "source_damaged"}


FOUR = [(f"{name}.txt", f"Of {name}: {GOOD.decode()}".encode(), {}) for name in "abcd"]
BLOCK = 512


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


# Every member has two blocks: its header and its text.
TORN_TARS = {
    "a flipped byte in the second header": lambda raw: flipped(raw, 2 * BLOCK + 4),
    "cut within the third header": lambda raw: raw[: 4 * BLOCK + 100],
    "cut between members": lambda raw: raw[: 4 * BLOCK],
    "cut after the last member": lambda raw: raw[: 8 * BLOCK],
    "cut within a text": lambda raw: raw[: 3 * BLOCK + 5],
    "garbage for the fourth header": lambda raw: raw[: 6 * BLOCK] + b"garbage " * 64 + raw[7 * BLOCK :],
    "zeros for the second header": lambda raw: raw[: 2 * BLOCK] + bytes(BLOCK) + raw[3 * BLOCK :],
    "zeros for the second member": lambda raw: raw[: 2 * BLOCK] + bytes(BLOCK) + raw[4 * BLOCK :],
    "zeros for a header and half of the next": lambda raw: raw[: 2 * BLOCK] + bytes(1300) + raw[2 * BLOCK + 1300 :],
}


@pytest.mark.parametrize("packed", [bytes, lzma.compress])
@pytest.mark.parametrize("damage", TORN_TARS.values(), ids=TORN_TARS)
def test_a_tar_that_cannot_be_read_to_its_end_loses_nothing_that_was_stored(library, tmp_path, damage, packed):
    whole = tarred(FOUR, "w:")
    path = tmp_path / "x.tar"
    path.write_bytes(packed(whole))
    assert library.ingest(path).ingested == 5
    path.write_bytes(packed(damage(whole)))
    for _ in range(2):  # it does not count as whole
        report = library.ingest(path)
        assert [failure.code for failure in report.failed] == ["source_damaged"]
        assert (report.replaced, len(library.documents())) == (0, 5)
    path.write_bytes(packed(whole))
    assert (library.ingest(path).unchanged, len(library.documents())) == (5, 5)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", ["a.tar.gz", "a.txt.gz"])
def test_the_checksum_of_what_is_packed_is_looked_at(library, tmp_path, name, at):
    content = tarred(FOUR, "w:") if name == "a.tar.gz" else GOOD * 100
    packed = bytearray(gzip.compress(content, compresslevel=0))
    path = tmp_path / name
    path.write_bytes(packed)
    library.ingest(path)
    before = len(library.documents())
    packed[int(len(packed) * at)] ^= 1
    path.write_bytes(packed)
    (failure,) = library.ingest(path).failed
    assert (failure.uri, failure.code) == (str(path), "source_damaged")
    assert len(library.documents()) == before


def test_tars_end_in_many_ways(library, tmp_path):
    ending = tarred(FOUR, "w:")
    bare = ending[: 8 * BLOCK]
    ends = {
        "padded": ending,
        "two": bare + bytes(2 * BLOCK),
        "one": bare + bytes(BLOCK),
        "less than two": bare + bytes(BLOCK + 100),
        "signed": ending + b"d41d8cd98f00b204e9800998ecf8427e  a.tar\n",
        "appended": bare[: 4 * BLOCK] + bytes(2 * BLOCK) + bare[4 * BLOCK :] + bytes(2 * BLOCK),
        "named like something packed": tarred([("BZh91AY&SY.txt", GOOD, {}), *FOUR[1:]], "w:"),
        "packed apart": gzip.compress(bare[: 4 * BLOCK]) + gzip.compress(ending[4 * BLOCK :]),
    }
    for name, content in ends.items():
        (tmp_path / name).write_bytes(content)
        report = library.ingest(tmp_path / name)
        assert (name, report.ingested, report.failed) == (name, 5, [])


@pytest.mark.skipif(shutil.which("tar") is None, reason="has no tar")
@pytest.mark.parametrize("form", ["v7", "ustar", "pax", "gnu"])
def test_tars_that_tar_writes(library, tmp_path, form):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.txt", f"{'b' * 200}.txt", "grün.txt"):
        (folder / name).write_bytes(GOOD)
    names = ["a.txt", "grün.txt"] if form in {"v7", "ustar"} else ["."]
    command = ["tar", f"--format={form}", "-C", str(folder), "-cf", str(tmp_path / "x.tar"), *names]
    subprocess.run(command, check=True)
    report = library.ingest(tmp_path / "x.tar")
    assert (report.ingested, report.failed) == (3 if form in {"v7", "ustar"} else 4, [])


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_a_torn_zip_is_refused(take, keep):
    content = zipped({f"{n}.txt": GOOD * n for n in range(1, 20)})
    assert take("a.zip", content[: int(len(content) * keep)]) == {"a.zip": "source_damaged"}


@pytest.mark.parametrize("field", [28, 32], ids=["name", "comment"])
def test_a_length_in_the_directory_of_a_zip_that_skips_files_loses_none(library, tmp_path, field):
    content = bytearray(zipped({f"{n}.txt": f"Text {n}." for n in range(6)}))
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert library.ingest(path).ingested == 7
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content[second + field + 1] ^= 1  # 256 more bytes
    path.write_bytes(content)
    (failure,) = library.ingest(path).failed
    assert (failure.code, len(library.documents())) == ("source_damaged", 7)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_a_broken_member_costs_itself(take, method):
    raw = bytearray(zipped({"a.txt": GOOD * 50, "b.txt": GOOD}, method=method))
    raw[44:60] = b"\xff" * 16
    assert take("a.zip", bytes(raw)) == {"a.zip!/a.txt": "source_damaged", "a.zip!/b.txt": "", "a.zip": ""}


def test_a_mail_of_a_thousand_nested_parts(take):
    raw = b"Subject: deep\n"
    for n in range(1000):
        raw += b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n)
    assert take("a.eml", raw + b"Content-Type: text/plain\n\ncore\n") == {"a.eml": "source_damaged"}


def test_mails_in_mails_end_at_the_allowed_depth(take):
    message = mail("core")
    for n in range(MAX_DEPTH + 2):
        outer = mail(f"level {n}")
        outer.add_attachment(message)
        message = outer
    results = take("a.eml", message.as_bytes())
    assert sorted(set(results.values())) == ["", "source_too_large"]
    assert len(results) == MAX_DEPTH + 1


def test_a_member_that_crashes_its_parser_costs_itself(tmp_path):
    from indexer.parsers.registry import PARSERS
    from tests.faults import hostile_parsers

    (tmp_path / "a.zip").write_bytes(zipped({"1.md": b"# M", "2.txt": GOOD, "3.md": b"# M"}))
    registry = {**PARSERS, "text/markdown": f"{hostile_parsers.HERE}:segfaults"}
    with ingesting(tmp_path / "home", parsers=registry) as library:
        report = library.ingest(tmp_path / "a.zip")
    codes = [r.failure.code if r.failure else "" for r in report.results]
    assert codes == ["parser_crashed", "", "parser_crashed", ""]


@pytest.fixture
def no_room(monkeypatch):
    """Files whose numbers are in this set, counted from 0 as they are made, are on a full disk."""
    numbers, made = set(), []
    make = tempfile.TemporaryFile

    def on_a_disk(**where):
        if not where:
            return make()
        made.append(where)
        return FULL.open("r+b") if len(made) - 1 in numbers else make(**where)

    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_disk)
    return numbers


@pytest.mark.skipif(not FULL.exists(), reason="has no device that is always full")
@pytest.mark.parametrize("large", [3 << 20, 30], ids=["while it is written", "when it is done"])
def test_a_member_without_room_costs_itself(library, tmp_path, no_room, large):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.zip").write_bytes(
        zipped({"1.txt": GOOD, "2.txt": b"Rivers run. " * (large // 12), "3.txt": GOOD}, method=zipfile.ZIP_STORED)
    )
    (folder / "b.txt").write_bytes(GOOD)
    no_room.add(1)
    report = library.ingest(folder)
    (failed,) = report.failed
    assert (failed.uri, failed.code) == (f"{folder}/a.zip!/2.txt", "disk_full")
    assert "no room" in failed.message
    assert "Free some space" in failed.hint
    assert (report.ingested, len(library.documents())) == (4, 4)
    no_room.clear()
    report = library.ingest(folder)
    assert (report.ingested, report.unchanged, report.failed) == (1, 3, [])


def test_deep_json_and_xml_bombs_are_refused(take):
    few = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    names = list(zip("abcdefgh", "bcdefghi", strict=True))
    entities = "".join(f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in names)
    billion = f'<!DOCTYPE x [<!ENTITY a "ha">{entities}]><svg><text>&i;</text></svg>'.encode()
    outside = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
    content = zipped(
        {
            "deep.json": b"[" * 100_000,
            "deep.xml": b"<a>" * 100_000,
            "laughs.xml": few,
            "billion.svg": billion,
            "outside.xml": outside,
            "good.txt": GOOD,
        }
    )
    assert take("a.zip", content) == {
        "a.zip!/deep.json": "source_damaged",
        "a.zip!/deep.xml": "source_damaged",
        "a.zip!/laughs.xml": "source_unsafe",
        "a.zip!/billion.svg": "source_unsafe",
        "a.zip!/outside.xml": "source_unsafe",
        "a.zip!/good.txt": "",
        "a.zip": "",
    }
