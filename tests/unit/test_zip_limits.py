import io
import struct
import zipfile

import pytest

from indexer.parsers import zip_limits
from indexer.parsers.xml_parts import name_of, read_xml, top_elements, whole_number
from indexer.parsers.zip_limits import LimitedZip
from rag.errors import SourceDamaged, SourceEncrypted, SourceTooLarge
from tests.unit.office_files import zipped


def opened(parts) -> LimitedZip:
    return LimitedZip(io.BytesIO(zipped(parts)))


def test_members_are_read_by_name():
    with opened({"a.txt": "words", "b/": ""}) as archive:
        assert archive.read("a.txt") == b"words"
        assert archive.size("a.txt") == 5
        assert archive.names == ["a.txt", "b/"]
        assert "c" not in archive
        with pytest.raises(SourceDamaged, match="missing"):
            archive.read("c")


def test_a_bomb_is_refused_before_anything_is_expanded(monkeypatch):
    with pytest.raises(SourceTooLarge, match="grows from"):
        opened({"a": bytes(1 << 24)})
    with pytest.raises(SourceTooLarge, match="grows from"):
        opened({f"a/[{n}].piece": bytes(1 << 22) for n in range(4)})
    monkeypatch.setattr(zip_limits, "MAX_ENTRIES", 3)
    with pytest.raises(SourceTooLarge, match="4 files"):
        opened(dict.fromkeys("abcd", ""))
    monkeypatch.setattr(zip_limits, "MAX_EXPANDED_BYTES", 10)
    with pytest.raises(SourceTooLarge, match="12 bytes"):
        opened({"a": "sixsix", "b": "sixsix"})


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "c:\\a", "a\\..\\b"])
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(SourceDamaged, match="points out"):
        opened({name: "x"})


def test_links_and_encrypted_members_are_refused():
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceDamaged, match="points out"):
        LimitedZip(buffer)
    content = bytearray(zipped({"a": "text"}))
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + 8, 1)
    with pytest.raises(SourceEncrypted):
        LimitedZip(io.BytesIO(content))


def test_damage_within_a_member_is_told():
    content = bytearray(zipped({"a": "words and words" * 50}))
    content[40] ^= 0xFF
    with pytest.raises(SourceDamaged, match="cannot be expanded"):
        LimitedZip(io.BytesIO(content)).read("a")
    with pytest.raises(SourceDamaged, match="directory"):
        LimitedZip(io.BytesIO(bytes(content[:60])))


ENTITIES = '<!DOCTYPE a [<!ENTITY b "{}">]><a>&b;</a>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(encoding):
    text = ENTITIES.format("text")
    part = f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
    for read in (read_xml, lambda archive, name: list(top_elements(archive, name, frozenset({"a"})))):
        with pytest.raises(SourceDamaged, match="entities"):
            read(opened({"x": part}), "x")


def test_elements_without_end_are_refused():
    deep = "<a>" * 300 + "</a>" * 300
    with pytest.raises(SourceDamaged, match="cannot be read as XML"):
        read_xml(opened({"x": deep}), "x")
    with pytest.raises(SourceDamaged, match="cannot be read as XML"):
        list(top_elements(opened({"x": deep}), "x", frozenset({"b"})))


def test_elements_come_one_at_a_time_from_nested_containers_only():
    xml = "<r><box><p>1</p><box><p>2</p></box></box><p><box><p>inside</p></box></p><q/></r>"
    found = [
        (name_of(element.tag), "".join(element.itertext()))
        for element in top_elements(opened({"x": xml}), "x", frozenset({"r", "box"}))
    ]
    assert found == [("p", "1"), ("p", "2"), ("p", "inside"), ("q", "")]


def test_numbers_are_whole_and_of_a_size_that_documents_have():
    assert [whole_number(text, 7) for text in ("12", "", None, "-1", "²", "٣", "1.5", "9" * 5000)] == [12, *[7] * 7]
