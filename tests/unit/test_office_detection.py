from pathlib import PurePath

import pytest

from indexer.detection.office import DOC, DOCX, EPUB, ODP, ODS, ODT, PPT, PPTX, RTF, XLS, XLSX, office_type
from indexer.parsers.registry import PARSERS
from rag.errors import SourceEncrypted
from tests.unit.office_files import compound, doc, docx, epub, odf, paragraph, ppt, pptx, xlsx, zipped


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (docx(paragraph("x")), DOCX),
        (pptx([""]), PPTX),
        (xlsx({"S": {}}), XLSX),
        (odf("text", ""), ODT),
        (odf("presentation", ""), ODP),
        (odf("spreadsheet", ""), ODS),
        (epub({"a": ""}), EPUB),
        (doc("x\r"), DOC),
        (ppt([("T", [])]), PPT),
        (compound({"Workbook": b""}), XLS),
        (rb"{\rtf1 x}", RTF),
        (b"<?xml version='1.0'?><Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'/>", XLS),
    ],
)
def test_contents_decide_whatever_the_name_says(content, media_type):
    for name in ("a.txt", "a", "a.zip", "a.doc"):
        assert office_type(PurePath(name), content) == media_type
    assert media_type in PARSERS


def test_the_name_decides_where_the_first_bytes_do_not_tell():
    archive = zipped({"media/large.png": "x"})
    assert office_type(PurePath("a.docx"), archive) == DOCX
    assert office_type(PurePath("a.zip"), archive) is None
    assert office_type(PurePath("a.doc"), archive) is None
    container = compound({"Unknown": b""})
    assert office_type(PurePath("a.ppt"), container) == PPT
    assert office_type(PurePath("a.msg"), container) is None


def test_a_folder_named_like_an_office_part_makes_no_document():
    assert office_type(PurePath("a.zip"), zipped({"word/notes.txt": "x", "readme.md": "y"})) is None
    assert office_type(PurePath("a.zip"), zipped({"mimetype": "application/vnd.oasis.opendocument.graphics"})) is None


def test_a_package_within_a_compound_file_is_behind_a_password():
    for name, streams in [("a.docx", {"Other": b""}), ("a", {"EncryptedPackage": b""})]:
        with pytest.raises(SourceEncrypted, match="password"):
            office_type(PurePath(name), compound(streams))
