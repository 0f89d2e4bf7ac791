import json
import sys

import pytest

from benchmarks.parsing import main, markdown_text, words
from tests.unit.mails import mail
from tests.unit.office_files import docx, paragraph, table


def test_only_what_a_reader_sees_of_markdown_counts():
    shown = markdown_text(
        '# A **bold** [link](http://x.org "t")\n<!-- image -->\n![alt](a.png)\n'
        "a\\_b snake_case _em_ &amp; $\\frac{x}{2}$ <br>"
    )
    assert words(shown) == words("A bold link a_b snake_case em x 2")


def test_words_are_counted_with_their_repetitions_and_without_case():
    assert words("Ｗord word, Größe") == {"word": 2, "grösse": 1}


def test_a_folder_is_measured_format_by_format(tmp_path, monkeypatch, capsys):
    sources, expected = tmp_path / "x" / "sources", tmp_path / "x" / "groundtruth"
    sources.mkdir(parents=True)
    expected.mkdir()
    content = docx(paragraph("four words are here") + table([["Name", "Age"], ["Ann", "7"]]))
    (sources / "a.docx").write_bytes(content)
    (sources / "copy.docx").write_bytes(content)
    (sources / "torn.docx").write_bytes(content[:300])
    held = mail("Plans", "See what is attached.", notes_txt=b"dig here", blob_bin=bytes(range(256)) * 9)
    (sources / "m.eml").write_bytes(held.as_bytes())
    (expected / "a.docx.md").write_text("four words are here and more\n\n| Name | Age |\n| - | - |\n| Ann | 7 |\n")
    report = tmp_path / "report.json"
    monkeypatch.setattr(sys, "argv", ["parsing", "--files", str(tmp_path), "--list", "--json", str(report)])
    main()
    rows = {row["format"]: row for row in json.loads(report.read_text())["formats"]}
    found = rows[".docx"]
    assert (found["files"], found["ingested"], found["duplicates"], found["failed"]) == (3, 1, 1, 0)
    assert found["refused"] == {"source_damaged": 1}
    assert found["recall"] == pytest.approx(8 / 10)
    assert found["precision"] == 1
    assert rows[".eml"]["ingested"] == 1
    assert rows[".eml"]["members"] == {"ingested": 1, "source_binary": 1}
    printed = capsys.readouterr().out
    assert "0 of them not verbatim" in printed
    assert "within them: ingested 1, source_binary 1" in printed
