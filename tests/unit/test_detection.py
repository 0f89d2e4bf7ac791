import base64
import bz2
import codecs
import hashlib
import io
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from indexer import formats
from indexer.detection.media_types import Detected, detect
from indexer.formats import HTML, MARKDOWN, PDF, TEXT
from indexer.parsers.blocks import Block, Notice
from indexer.parsers.registry import PARSERS, load_parser
from indexer.sources import Source, scan_file
from rag.errors import SourceBinary, SourceEmpty, SourceUnsupported
from tests.unit.mails import old_tarred, tarred, zipped

LARGE_JSON = b'{"a": [' + b'{"name": "Inn, [a] river", "depth": -3.5e1}, ' * 3000 + b"{}]}"
NOTEBOOK = b'{"cells": [{"cell_type": "code", "source": ["x"]}], "metadata": {}, "nbformat": 4}'
LARGE_NOTEBOOK = (
    b'{"cells": ['
    + b'{"cell_type": "markdown", "source": ["# Words"]}, ' * 3000
    + b'{}], "nbformat": 4, "metadata": {}}'
)
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489") + bytes(40)


@pytest.fixture
def detected(tmp_path):
    def run(name: str, content: bytes) -> Detected:
        file = tmp_path / name
        file.write_bytes(content)
        with Source(file, max_bytes=1 << 30) as source:
            return detect(file, source.scan())

    return run


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.txt", b"plain words", TEXT),
        ("README", b"plain words", TEXT),
        ("a.md", b"# Title", MARKDOWN),
        ("a.MARKDOWN", b"text", MARKDOWN),
        ("a.html", b"<p>text</p>", HTML),
        ("page.txt", b"\n<!-- saved --><!DOCTYPE html><html><body>x</body></html>", HTML),
        ("page", b"<?xml version='1.0'?><html xmlns='x'><body>x</body></html>", HTML),
        ("notes.html", b"no tags in here at all", TEXT),
        ("readme.md", b"<h1 align='center'>Name</h1>\n\ntext", MARKDOWN),
        ("report.txt", b"%PDF-1.7\n...", PDF),
        ("mailed.pdf", b"\r\nheaders\r\n%PDF-1.4\n\x00\x01", PDF),
        ("mailed.pdf", b"headers\n%PDF-1.4\n1 0 obj\n", PDF),
        ("mailed", b"headers\r\n%PDF-1.4\n" + bytes(range(1, 200)), PDF),
        ("spaced", b"\xef\xbb\xbf\n %PDF-1.4\n1 0 obj\n", PDF),
        ("notes.md", b"# Files\n\nEvery file begins with %PDF-1.7, and", MARKDOWN),
        ("notes.txt", "Jede beginnt für uns mit %PDF-1.7 und".encode("cp1252"), TEXT),
        ("notes", b"Every file begins with %PDF-1.7", TEXT),
        ("notes.html", b"<p>Every file begins with %PDF-1.7</p>", HTML),
        ("papers.zip", zipped({"a.pdf": b"%PDF-1.4\n\x00\x01"}, method=zipfile.ZIP_STORED), formats.ZIP),
        ("old.tar", old_tarred("notes.txt", b"of 1979\n"), formats.TAR),
        ("papers.tar", tarred([("BZh9.pdf", b"%PDF-1.4\n\x00\x01", {})], "w:"), formats.TAR),
        ("wrote.md", b"BZhang wrote this", MARKDOWN),
        ("wrote", b"BZh9 is how they begin", TEXT),
        ("log.bz2", bz2.compress(b"words"), formats.TAR),
        ("empty.bz2", bz2.compress(b""), formats.TAR),
        ("models.md", b"GGUF is a format of models", MARKDOWN),
        ("print.txt", b"%!PS begins a page", TEXT),
        ("rich.md", b"{\\rtf is how they begin", MARKDOWN),
        ("talks.md", b"WEBVTT is a format of subtitles", MARKDOWN),
        ("data.xml", b"<?xml version='1.0'?><items><item/></items>", formats.XML),
        ("data.txt", b"<?xml version='1.0'?><items><item/></items>", formats.XML),
        ("map.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><title>Map</title></svg>", formats.XML),
        ("list.opml", b"<opml><body><outline text='A'/></body></opml>", formats.XML),
        ("a.rst", b"Title\n=====\n", formats.RST),
        ("a.adoc", b"= Title\n", formats.ASCIIDOC),
        ("a.Rmd", b"# Title\n", MARKDOWN),
        ("a.mdx", b"# Title\n", MARKDOWN),
        ("a.patch", b"From 1234 Mon Sep 17 00:00:00 2001\nFrom: a@b\nDate: x\nSubject: y\n\n---\n", formats.CODE),
        ("a.bbl", b"\\bibitem{a} A.", formats.LATEX),
        ("a.org", b"* Title\n", formats.ORG),
        ("a.tex", b"\\section{A}", formats.LATEX),
        ("a.csv", b"a,b\n1,2\n", formats.CSV),
        ("a.TSV", b"a\tb\n1\t2\n", formats.TSV),
        ("a.json", b"{}", formats.JSON),
        ("a.ndjson", b"{}\n{}\n", formats.JSON_LINES),
        ("a.ipynb", b"{}", formats.NOTEBOOK),
        ("settings", b' {"a": [1, 2]}\n', formats.JSON),
        ("a.boxnote", codecs.BOM_UTF8 + b'[{"a": 1}]', formats.JSON),
        ("sixteen", '{"a": 1}'.encode("utf-16"), formats.JSON),
        ("records", b'{"a": 1}\n{"a": 2}\n', formats.JSON_LINES),
        ("written", b'{\n"a": 1}\n{"a": 2}\n', formats.JSON),
        ("large", LARGE_JSON, formats.JSON),
        ("lines", b'{"a": "b"}\n' * 9000, formats.JSON_LINES),
        ("long", b'{"a": "' + b"words \xc3\xa9 " * 9000 + b'"}', formats.JSON),
        ("note", NOTEBOOK, formats.NOTEBOOK),
        ("note.json", NOTEBOOK, formats.NOTEBOOK),
        ("note.json.1", LARGE_NOTEBOOK, formats.NOTEBOOK),
        ("a.txt", b'{"a": 1}', TEXT),
        ("line.txt", b'{"a":[' + b'{"b":1},' * 200 + b"1]}", formats.JSON),
        ("line.log", b"<a>" + b"<b>1</b>" * 200 + b"</a>", formats.XML),
        ("tags.txt", b"<a> is a tag</a> " * 200, TEXT),
        ("card.txt", b"BEGIN:VCARD\r\nFN:Kim\r\n", formats.CONTACTS),
        ("invite", b"BEGIN:VCALENDAR\nVERSION:2.0\n", formats.CALENDAR),
        ("about.md", b"BEGIN:VCALENDAR begins a calendar\n", MARKDOWN),
        ("a.md", b'{"a": 1}', MARKDOWN),
        ("nothing", b"{}", TEXT),
        ("torn", b'{"a": 1', TEXT),
        ("list", b"[1] A book\n[2] Another", TEXT),
        ("more", b'{"a": 1} and words', TEXT),
        ("words", b"[" + b"words " * 20000 + b"]", TEXT),
        ("template", b"{ words; " + b"words " * 20000 + b"}", TEXT),
        ("deep", b"[" * 200000, TEXT),
        ("small", b"[" * 60000, TEXT),
        ("talk.txt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n", formats.VTT),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n", formats.SRT),
        ("a.py", b"import os\n", "text/x-python"),
        ("a.kt", b"fun a() = 1\n", formats.CODE),
        ("deploy", b"#!/bin/sh -e\nls\n", "text/x-shell"),
        ("deploy.in", b"#! /usr/bin/env -S LANG=C python3.11 -u\nimport os\n", "text/x-python"),
        ("cli", b"#!/usr/bin/env node\nmain()\n", "text/x-javascript"),
        ("convert", b"#!/usr/bin/perl -w\nuse strict;\n", formats.CODE),
        ("script.txt", b"#!/bin/sh\nls\n", TEXT),
        ("cry", b"#!/ that is how it began\n", TEXT),
        ("Makefile", b"all:\n\techo\n", "text/x-make"),
        ("rules", b"#!/usr/bin/make -f\n%:\n\tdh $@\n", "text/x-make"),
        ("Dockerfile.dev", b"FROM scratch\n", "text/x-dockerfile"),
        ("schema.sql", b"SELECT 1;\n", "text/x-sql"),
        ("dockerfile.md", b"# How to write one\n", MARKDOWN),
        ("a.h", b"/* A class of its own. */\nint f(void);\n", "text/x-c"),
        ("b.h", b"#pragma once\nnamespace b {\nclass B;\n}\n", "text/x-cpp"),
        ("schema.xsd", b"<?xml version='1.0'?><a/>", formats.CODE),
        ("a.eml", b"Subject: hi\n\ntext", formats.MAIL),
        ("saved", b"Received: by x;\n at noon\nFrom: a@b\r\nTo: c@d\nSubject: hi\n\ntext", formats.MAIL),
        (
            "Inbox",
            b"From - Mon May 4 10:00 2020\r\nReceived: x\r\nFrom: a@b\r\nTo: c@d\r\n\r\nhi",
            formats.MAILBOX,
        ),
        ("a.mbox", b"From a@b Mon May  4 10:00:00 2020\nSubject: hi\n\ntext", formats.MAILBOX),
        ("letter", b"From here we go\nSubject: a letter\n\ntext", TEXT),
        ("utf16.eml", "Subject: hi\nFrom: a@b\n\ntext".encode("utf-16"), formats.MAIL),
        ("notes.txt", b"From: here\nTo: there\nSubject: a list\nDate: no\n", TEXT),
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), formats.OUTLOOK),
        ("a.bin", b"PK\x05\x06" + bytes(18), formats.ZIP),
        ("a.tar.gz", b"\x1f\x8b\x08" + bytes(40), formats.TAR),
        ("a.tar", b"name" + bytes(253) + b"ustar\x0000" + bytes(248), formats.TAR),
        ("BM.txt", b"BM is how a bitmap begins, and so does this text. MZ, too.", TEXT),
    ],
)
def test_content_decides_and_the_name_breaks_ties(detected, name, content, media_type):
    assert detected(name, content).media_type == media_type


UMLAUTS = "Größe, Straße, Übung, ähnlich, schön; für die Prüfung der Häuser wären Bäume nötig. " * 20
JAPANESE = "これは日本語の文章です。検索の試験に使います。" * 20


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (UMLAUTS.encode(), UMLAUTS),
        (codecs.BOM_UTF8 + UMLAUTS.encode(), UMLAUTS),
        (UMLAUTS.encode("utf-16"), UMLAUTS),
        (UMLAUTS.encode("utf-32"), UMLAUTS),
        (UMLAUTS.encode("utf-16-le"), UMLAUTS),
        (UMLAUTS.encode("utf-16-be"), UMLAUTS),
        (UMLAUTS.encode("cp1252"), UMLAUTS),
        (JAPANESE.encode("iso2022_jp"), JAPANESE),
        (JAPANESE.encode("shift_jis"), JAPANESE),
    ],
)
def test_encodings_are_found(detected, content, text):
    encoding = detected("a.txt", content).encoding
    assert content.decode(encoding) == text


def test_a_page_may_declare_its_encoding(detected):
    content = b"<html><head><meta charset='koi8-r'></head><body>" + "привет, мир".encode("koi8-r")
    assert detected("a.html", content).encoding == "koi8-r"


def test_a_declaration_that_contradicts_valid_utf8_loses(detected):
    content = "<html><head><meta charset='iso-8859-1'></head><body>Größe".encode()
    assert detected("a.html", content).encoding == "utf-8"


def test_one_torn_byte_does_not_garble_a_utf8_file(detected):
    content = UMLAUTS.encode() + b"\xc3 end"
    assert detected("a.txt", content).encoding == "utf-8"


def test_lines_of_two_encodings_are_each_read_in_theirs(detected):
    first = "2026-12-01 INFO Öffnung der Schleuse für „Möwe“ – pünktlich\n"
    second = "2026-12-01 WARN Gerät über Temperatur, Lüfter prüfen\n"
    for lines in ([first] * 8 + [second] * 3, [first] + [second] * 8, [second] * 400 + [first] * 60):
        content = b"".join(line.encode("utf-8" if line is first else "cp1252") for line in lines)
        found = detected("a.log", content)
        assert content.decode(found.encoding) == "".join(lines)
        assert not found.doubtful
    content = f"{JAPANESE}\n".encode() * 3 + "eine Brücke über den Fluss".encode("cp1252")
    assert content.decode(detected("a.txt", content).encoding) == f"{JAPANESE}\n" * 3 + "eine Brücke über den Fluss"


def test_lines_of_more_encodings_are_read_as_the_one_of_most(detected):
    lines = [f"{JAPANESE}\n".encode()] * 5 + [f"{JAPANESE}\n".encode("shift_jis"), "Größe\n".encode("cp1252")]
    assert detected("a.log", b"".join(lines)).encoding == "utf-8"


def test_a_file_of_zeros_is_called_binary_and_no_exotic_format(detected):
    with pytest.raises(SourceBinary, match="binary data"):
        detected("torn.bin", bytes(50_000))


def test_an_empty_file_is_refused(detected):
    with pytest.raises(SourceEmpty):
        detected("a.txt", b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("picture.txt", PNG),
        ("noise.txt", b"".join(hashlib.sha256(bytes([i])).digest() for i in range(200))),
        ("program.md", b"\x7fELF\x02\x01\x01\x00" + bytes(200)),
        ("noise.bin", bytes(range(256)) * 20),
        ("nul.txt", b"text with\x00nul bytes\x00in it"),
        ("tail.txt", b"words " * 20_000 + b"\x00\x01" * 4000),
    ],
)
def test_binary_posing_as_text_is_refused(detected, name, content):
    with pytest.raises(SourceBinary):
        detected(name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("key.txt", base64.encodebytes(bytes(range(256)) * 60)),
        ("blob.log", (bytes(range(256)) * 60).hex().encode()),
        ("app.min.js", b"function a(b){return b+1};" * 400),
        ("one-line.py", b"x = [" + b"1, " * 5000 + b"]"),
    ],
)
def test_what_is_text_and_not_for_reading_is_refused(detected, name, content):
    with pytest.raises(SourceBinary, match=r"encoded data|minified"):
        detected(name, content)


def test_a_key_in_a_text_and_japanese_in_seven_bits_are_no_blobs(detected):
    assert (
        detected("a.txt", b"The key:\n\n" + b"QUJD" * 200 + b"\n\n" + b"and words about it. " * 100).media_type == TEXT
    )
    assert detected("b.txt", JAPANESE.encode("iso2022_jp")).media_type == TEXT


def test_lines_to_write_on_are_no_blobs(detected):
    question = b"1. What do leaves take up and give off?\n\n" + (b"_" * 75 + b"\n") * 6 + b"\n"
    assert detected("a.txt", question * 20).media_type == TEXT


def test_xml_may_declare_its_encoding(detected):
    content = "<?xml version='1.0' encoding='koi8-r'?><a>привет, мир</a>".encode("koi8-r")
    assert detected("a.xml", content).encoding == "koi8-r"


def test_known_formats_are_named_in_the_refusal(detected, tmp_path):
    with pytest.raises(SourceUnsupported, match="Photoshop") as caught:
        detected("picture.psd", b"8BPS\x00\x01" + bytes(100))
    assert "Markdown" in caught.value.hint


def test_stray_nul_bytes_in_a_long_text_are_forgiven(detected):
    assert detected("log.txt", b"a line of a log\n" * 1000 + b"\x00").media_type == TEXT


@pytest.mark.parametrize("name", ["service.log", "service", "rows.csv"])
def test_what_a_crash_left_in_a_text_is_left_out_and_told(name):
    line = b"2026-03-01 10:00:00,pump 4,Gr\xc3\xb6\xc3\x9fe\n"
    for content in (line * 40 + bytes(3000), bytes(200_000) + line * 40, line * 20 + bytes(4096) + line * 20):
        found = detect(Path(name), scan_file(io.BytesIO(content)))
        result = list(load_parser(PARSERS[found.media_type])(io.BytesIO(content), found.encoding))
        text = "".join(item.text for item in result if isinstance(item, Block))
        assert text.count("Größe") == 40
        assert "\x00" not in text
        told = f"{content.count(0):,} NUL bytes left out, as a crash leaves them where text was lost."
        assert [item.message for item in result if isinstance(item, Notice)] == [told]


@pytest.mark.parametrize("name", ["a.log", "a"])
def test_zeros_alone_and_programs_with_texts_between_zeros_are_no_texts(detected, name):
    for content in (
        bytes(5000),
        b"\x7fELF" + bytes(40) + b"words " * 400,
        b"\x01\x02\x03name" + bytes(99) + b"\x01\x03" * 40,
    ):
        with pytest.raises((SourceBinary, SourceUnsupported)):
            detected(name, content)


def test_any_name_is_accepted_for_a_message(detected):
    with pytest.raises(SourceBinary, match=str(Path("odd name.txt"))):
        detected("odd name.txt", PNG)


@pytest.mark.parametrize("name", ["a.pages", "a.numbers", "a.key"])
def test_documents_that_are_packed_like_archives_are_named(detected, name):
    with pytest.raises(SourceUnsupported, match="Apple"):
        detected(name, b"PK\x03\x04" + bytes(30) + b"Index/Document.iwa")
    assert detected("a.zip", b"PK\x03\x04" + bytes(30) + b"Index/Document.iwa").media_type == formats.ZIP


# Each would take minutes to centuries if what repeats were tried again; `re` hears of the signal that ends the test.
@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        b"<!-- a -->" * 6000,
        b"<!-- a -->\n" * 5000 + b"<!--",
        b"<?xml version='1.0'?>" + b"<!---->" * 9000,
        b" " * 65000 + b"<!-- a -->",
        (b"X" * 239 + b",") * 270,
        (b"X" * 119 + b"\r\n" + b"X" * 119 + b",") * 270,
        b"<html>\xe9" + b"<meta" * 40 + b"charset=" + b" " * 65000,
        b"Subject: x\n" + b" x\n" * 20000,
        b"#!" + b"/a" * 30000,
        b"#!/bin/env " + b"-a=b " * 13000,
        b"#!/bin/env " + b"a=b" * 20000,
        b" " * 65000 + b"class",
    ],
)
@pytest.mark.parametrize("name", ["page.html", "page.xml", "page", "page.py", "page.h"])
def test_no_content_takes_more_than_a_moment(detected, name, content):
    with suppress(SourceBinary):
        detected(name, content)


def test_a_page_may_begin_with_hundreds_of_comments(detected):
    assert detected("page", b"<?xml version='1.0'?>\n" + b"<!-- <p> -- > -->\n" * 500 + b"<html>").media_type == HTML


@pytest.mark.parametrize("run", [b"X" * 240, b"X" * 60 + b"\n" + b"X" * 180, (b"X" * 60 + b"\r\n") * 4])
def test_encoded_data_is_told_by_four_times_sixty_bytes(detected, run):
    with pytest.raises(SourceBinary):
        detected("a.txt", run)
    assert detected("a.txt", run.replace(b"X" * 60, b"X" * 59, 1)).media_type == TEXT


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.xml", "a.csv"])
def test_what_is_read_in_a_second_encoding_is_told_and_a_torn_page_too(name):
    first = "<p>Größe der Schleuse</p>\n".encode()
    second = "<p>Straße über den Fluss</p>\n".encode("cp1252")
    for content, told in (
        (b"<html><body>" + first * 3 + second + b"</body></html>", "It is UTF-8 but for 2 places, read as cp1252."),
        (
            b"<html><body>" + first * 30 + b"<p>torn \xc3 Gr\xc3\xb6\xc3\x9fe</p></body></html>",
            "One place could not be read as utf-8 and holds a replacement character.",
        ),
    ):
        found = detect(Path(name), scan_file(io.BytesIO(content)))
        result = list(load_parser(PARSERS[found.media_type])(io.BytesIO(content), found.encoding))
        assert [item.message for item in result if isinstance(item, Notice)] == [told]
        text = "".join(item.text for item in result if isinstance(item, Block))
        assert "Größe" in text
        assert ("Straße über den Fluss" in text) is (b"Stra" in content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mp3", b"ID3\x03\0\0\0\0\0\0" + bytes(range(256)) * 9, "an MP3 recording"),
        ("b.mp3", (b"\xff\xfb\x90\x64" + bytes(413)) * 9, "an MP3 recording"),
        ("a.wav", b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\1\0" + bytes(900), "a WAV recording"),
        ("a.m4a", b"\0\0\0\x20ftypM4A \0\0\2\0" + bytes(900), "an MPEG-4 recording"),
        ("b.m4a", b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(900), "an MPEG-4 recording"),
        ("a.mp4", b"\0\0\0\x20ftypisom\0\0\2\0" + bytes(900), "an MP4 video"),
        ("a.heic", b"\0\0\0\x18ftyphevc\0\0\0\0mif1heic" + bytes(900), "a sequence of HEIF images"),
        ("a.opus", b"OggS\0\2" + bytes(20) + b"\1\x13OpusHead" + bytes(900), "an Ogg recording"),
        ("a.mkv", b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\x82\x88matroska" + bytes(900), "a Matroska video"),
        ("a.exe", b"MZ\x90\0\3" + bytes(123) + b"PE\0\0" + bytes(range(256)), "a Windows program or library"),
        ("a.so", b"\x7fELF\2\1\1" + bytes(range(256)), "a program or library for Linux or the like"),
        ("a.pyc", b"\xa7\r\r\n" + bytes(range(256)), "a compiled Python module"),
        ("winmail.dat", b"\x78\x9f\x3e\x22" + bytes(range(256)), "Outlook's bundle of attachments (TNEF)"),
        ("a.cpio", b"070707" + b"0" * 70 + b"a.txt\0words", "a cpio archive"),
        ("new.cpio", b"070701" + b"0a" * 52 + b"a.txt\0words", "a cpio archive"),
        ("liba.a", b"!<arch>\n" + b"a.txt/".ljust(58) + b"`\nwords", "an archive of ar, such as a library"),
        ("a.parquet", b"PAR1" + bytes(range(256)), "a Parquet file"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(range(256)), "an HDF5 file"),
        ("a.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(99) + bytes(range(256)), "a file of MATLAB's data"),
        ("a", b"X\n\0\0\0\3" + bytes(range(256)), "a file of R's data"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(range(256)), "a DICOM image"),
        ("a.sas7bdat", bytes(12) + b"\xc2\xea\x81\x60\xb3\x14" + bytes(range(256)), "a data set of SAS"),
        ("a.iso", bytes(32_768) + b"\1CD001\1\0" + bytes(4000), "an image of a disc (ISO 9660)"),
    ],
)
def test_what_no_parser_reads_is_told_by_its_common_name(detected, name: str, content: bytes, said: str):
    with pytest.raises(SourceUnsupported, match=rf"is {re.escape(said)}, which no parser reads"):
        detected(name, content)


def test_what_to_do_with_attachments_in_a_bundle_is_told(detected):
    with pytest.raises(SourceUnsupported) as caught:
        detected("winmail.dat", b"\x78\x9f\x3e\x22" + bytes(range(256)))
    assert "`tnef`" in caught.value.hint
    assert ".msg" in caught.value.hint


def test_a_text_may_begin_like_a_recording(detected):
    assert detected("a.txt", b"ID3 tags are read by players.\n").media_type == TEXT


def test_one_letter_that_is_no_utf8_is_read_where_nothing_else_speaks_for_utf8(detected):
    assert detected("umsatz.csv", "Ursprünglicher Betrag;Datum\n12,50;1. Mai\n".encode("cp1252")).encoding == "cp1252"
    assert detected("umsatz.csv", "Größe, Ursprünglicher".encode() + b" Betr\xe4ge\n").encoding == "utf-8"
