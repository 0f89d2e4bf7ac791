"""CSV, JSON, XML, statements of accounts, subtitles and notebooks."""

import io
import json
import re
import tracemalloc
from pathlib import Path, PurePath

import pytest

from indexer.chunking.chunker import chunk_blocks
from indexer.detection.media_types import detect
from indexer.formats import (
    ASS,
    CSV,
    JSON,
    JSON_LINES,
    LOAD_FILE,
    NOTEBOOK,
    OFX,
    QIF,
    REFERENCES,
    SRT,
    TEXT,
    TIMED_TEXT,
    TSV,
    VTT,
    XML,
)
from indexer.parsers.blocks import Block, BlockKind
from indexer.parsers.json_data import parse_json
from indexer.parsers.separated.parser import parse_csv
from indexer.parsing.wire import Pieces
from indexer.sources import scan_file
from indexer.titles import title_of
from rag.embedding.fake import HashingEmbedder
from rag.errors import SourceDamaged, SourceUnsafe
from tests.unit.parsing import parsed


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_rows_are_a_table_under_the_names_of_its_columns(delimiter):
    rows = [["name", "depth, m"], ["Inn", "3"], ["Po", ""], ["Elbe", '2 "or" 3;|\t']]
    text = "\n".join(delimiter.join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row) for row in rows)
    (block,) = parsed(CSV, text).blocks
    assert (block.kind, block.header) == (BlockKind.TABLE, None)
    assert block.text == 'name | depth, m\nInn | 3\nPo\nElbe | 2 "or" 3;|\n\n'


def test_every_passage_of_a_long_table_in_text_knows_its_columns():
    blocks = parsed(CSV, "river,depth\n" + "".join(f"river {n},{n}\n" for n in range(3000))).blocks
    assert len(blocks) > 2
    assert [block.header for block in blocks] == [None, *["river | depth"] * (len(blocks) - 1)]
    embedder = HashingEmbedder()
    first, *others = chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens)
    assert first.heading_path == ()
    assert {chunk.heading_path for chunk in others} == {("river | depth",)}


@pytest.mark.parametrize(
    ("media_type", "source", "expected", "header"),
    [
        (TSV, "a\tb\n1\t2\t3\n4\n", "a | b\n1 | 2 | 3\n4\n\n", None),
        (TSV, "a,b\n1,2\n", "a | b\n1 | 2\n\n", None),  # named wrongly
        (CSV, "city\nBonn\nRome\n", "city\nBonn\nRome\n\n", None),
        (CSV, "to be, or not\nto be\nis asked\n", "to be, or not\nto be\nis asked\n\n", None),
        (CSV, "1,2\n3,4\n", "1 | 2\n3 | 4\n\n", ""),
        (CSV, "Ann,2024-03-01\nBen,2024-03-02\n", "Ann | 2024-03-01\nBen | 2024-03-02\n\n", ""),
        (CSV, "land,2019,2020\nDE,8.5,9\nFR,7,8\n", "land | 2019 | 2020\nDE | 8.5 | 9\nFR | 7 | 8\n\n", None),
        (CSV, "2019,5\n2020,6\n", "2019 | 5\n2020 | 6\n\n", ""),
        (CSV, "1,5;2,5\n3,5;4,5\n", "1,5 | 2,5\n3,5 | 4,5\n\n", ""),
        (CSV, "sep=;\na;b\nx,1;2\n", "a | b\nx,1 | 2\n\n", None),
        (CSV, 'a,b\n"two\n\nlines",2\n', "a | b\ntwo lines | 2\n\n", None),
        (CSV, 'a,b\n"x \\"y\\", z",2\n"q",3\n', 'a | b\nx "y", z | 2\nq | 3\n\n', None),
        (CSV, "a,b\n\n,\n1,\n", "a | b\n1\n\n", None),
        (CSV, "a,b\n", "a | b\n\n", None),
    ],
)
def test_tables_in_text_of_all_dialects(media_type, source, expected, header):
    (block,) = parsed(media_type, source).blocks
    assert (block.text, block.header) == (expected, header)


def test_a_table_in_text_may_have_titles_and_two_rows_of_names():
    assert parsed(CSV, "\n\n").text == ""
    result = parsed(CSV, "Cups,,\nsince 1990,,\nteam,won,\n,home,away\nInn,3,4\nPo,5,6\n")
    assert result.of("caption") == ["Cups\nsince 1990"]
    assert [block.header for block in result.blocks] == [None, "team | won home | won away"]


@pytest.mark.parametrize(("rows", "last", "read"), [(2, "z,9", "z | 9"), (12_000, 'z,"\nlast"', "z | last")])
def test_a_quotation_mark_that_never_closes_costs_no_row(rows, last, read):
    result = parsed(CSV, 'a,b\n1,"2\n' + f"x,{'y' * 90}\n" * rows + f"{last}\n")
    assert result.text == 'a | b\n1 | "2\n' + f"x | {'y' * 90}\n" * rows + f"{read}\n\n"
    assert result.notices == [
        "One row holds a quotation mark that is never closed; it was read as any other character."
    ]


def test_a_huge_table_in_text_is_never_held():
    file = io.BytesIO(b'"river\nInn",some words about it,12.5\n' * 40_000)
    tracemalloc.start()
    try:
        blocks = sum(1 for _ in parse_csv(file, "utf-8"))
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()
    assert blocks > 100


def test_shift_jis_rows_are_read():
    assert parsed(CSV, "名前,年齢\n佐藤,30\n", "cp932").text == "名前 | 年齢\n佐藤 | 30\n\n"


def test_broken_bytes_are_replaced_and_told():
    result = parsed(CSV, b"a,b\n\xff\xfe1,2\n\x00")
    assert result.text == "a | b\n\ufffd\ufffd1 | 2\n\n"
    assert result.notices == ["2 places could not be read as utf-8 and hold a replacement character."]


def test_small_json_is_one_block_and_large_json_has_sections():
    small = parsed(JSON, '{"id": 7, "name": "Inn", "tags": ["river", null, 3], "at": {"lat": 47.5}}')
    assert small.text == "name: Inn\nid: 7\ntags: river, 3\nat.lat: 47.5\n\n"
    rivers = [{"name": f"river {n}", "text": "It runs down. " * 10} for n in range(20)]
    large = parsed(JSON, json.dumps({"version": 1, "rivers": rivers}))
    assert large.of("heading") == ["rivers"]
    assert large.of("paragraph")[0] == "version: 1"
    assert len(large.blocks) == 22
    assert large.of("paragraph")[1].startswith("name: river 0\ntext: It runs")


def test_keys_of_json_are_no_titles():
    rivers = [{"name": f"river {n}", "text": "It runs down. " * 10} for n in range(20)]
    large = parsed(JSON, json.dumps({"rivers": rivers, "lakes": rivers}))
    assert large.of("heading") == ["rivers", "lakes"]
    assert title_of([Pieces(blocks=large.blocks)], PurePath("waters.json")) == "waters"


def test_json_lines_are_records_and_broken_ones_are_told():
    result = parsed(JSON_LINES, '{"a": 1}\n\n{"b": \n{"c": "x\\ud800y"}\n')
    assert result.of("paragraph") == ["a: 1", "c: x\ufffdy"]
    assert result.notices == ["1 of 3 lines left out, not being JSON."]
    with pytest.raises(SourceDamaged, match="None of its lines"):
        parsed(JSON_LINES, "no\nno\n")


def test_json_documents_one_after_the_other_are_read():
    assert parsed(JSON, '{"a": 1}\n{"b": 2}').of("paragraph") == ["a: 1", "b: 2"]
    with pytest.raises(SourceDamaged, match="not JSON"):
        parsed(JSON, "{broken")


@pytest.mark.timeout(30)  # in minutes only if each document costs as much as all that follow it
def test_a_hundred_thousand_json_documents_one_after_the_other_are_read_with_signs_of_life():
    source = "".join(json.dumps({"number": number, "river": "Inn"}) + " \n\n" for number in range(100_000))
    found = list(parse_json(io.BytesIO(source.encode()), "utf-8"))
    assert sum(isinstance(each, Block) for each in found) == 100_000
    assert all(each is None for each in found[:100_000])


@pytest.mark.parametrize("depth", [300, 100_000])
def test_deep_json_is_refused(depth):
    with pytest.raises(SourceDamaged, match="nests values"):
        parsed(JSON, '{"a":' * depth + "1" + "}" * depth)
    with pytest.raises(SourceDamaged, match="nests values"):
        parsed(JSON, "[" * depth + "]" * depth)


def test_blobs_in_json_are_left_out_and_told():
    result = parsed(JSON, json.dumps({"name": "picture", "data": "iVBORw0KGgo" * 1000}))
    assert result.text == "name: picture\n\n"
    assert len(result.notices) == 1


def test_a_blob_in_xml_is_left_out_and_told():
    result = parsed("application/xml", f"<record><name>picture</name><data>{'iVBORw0KGgo' * 1000}</data></record>")
    assert "iVBOR" not in result.text
    assert result.notices == ["1 value of encoded data (base64 or the like) left out."]


@pytest.mark.timeout(10)
def test_json_below_many_keys_costs_no_time_and_its_encoded_data_is_counted_once():
    data = [{"id": n, "name": "word " * 8} for n in range(10_000)]
    value = {"records": data, "picture": "iVBORw0KGgo" * 1000}
    for n in range(190):
        value = {f"k{n}": value}
    result = parsed(JSON, json.dumps(value))
    assert result.text.count("word word") == 4 * 10_000
    assert result.notices == ["1 value of encoded data (base64 or the like) left out."]


def test_a_huge_line_of_json_becomes_blocks_of_bounded_size():
    result = parsed(JSON, json.dumps({f"key{n}": {"value": n, "text": "words " * 30} for n in range(5000)}))
    assert max(len(block.text) for block in result.blocks) <= 16_384
    assert "key4999.value: 4999" in result.text


ARTICLE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE article [<!ENTITY firm "Acme &#38; Sons">]>
<article xmlns:x="urn:x"><!-- hidden -->
<front><article-title>On <i>Water</i></article-title></front>
<sec><title>Rivers</title><p>They run <b>down</b> to &firm;.</p>
<sec><title>Speed</title><p>10<sup>3</sup> m</p>
<table><tr><th>name</th><th>depth</th></tr><tr><td>Inn</td><td>3 m</td></tr></table></sec></sec>
<x:meta><year>2020</year><pages>7</pages></x:meta></article>"""


def test_xml_articles_have_headings_paragraphs_and_tables():
    result = parsed(XML, ARTICLE)
    assert result.titles == ["On Water"]
    headings = [(b.level, b.heading) for b in result.blocks if b.kind == "heading"]
    assert headings == [(1, "On Water"), (2, "Rivers"), (3, "Speed")]
    assert "They run down to Acme & Sons." in result.of("paragraph")
    assert result.of("table") == ["name | depth\nInn | 3 m"]
    assert "year: 2020\npages: 7" in result.of("paragraph")
    assert "hidden" not in result.text


def test_xml_text_around_what_stands_within_it_is_kept():
    reference = "<ref><claim-text>claim 1</claim-text></ref>"
    claim = f"<c><claim-text><b>2</b>. The method of {reference} wherein it is cold.</claim-text></c>"
    assert parsed(XML, claim).of("paragraph") == ["2. The method of claim 1 wherein it is cold."]
    note = ("A note of its own. " * 6).strip()
    apart = f"<c><p>Before <note><p>{note}</p></note> after <table><tr><td>x</td></tr></table>end</p></c>"
    assert parsed(XML, apart).of("paragraph") == ["Before", note, "after", "x", "end"]


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]><x>&c;</x>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>text &f;</x>'


@pytest.mark.parametrize("source", [LAUGHS, OUTSIDE])
def test_entities_that_grow_or_lead_outside_are_refused(source):
    with pytest.raises(SourceUnsafe, match="entity"):
        parsed(XML, source)


def test_xml_that_is_broken_is_read_as_far_as_it_goes():
    result = parsed(XML, "<a><b>one</b><b>two</a>")
    assert "one" in result.text
    assert "well-formed" in result.notices[0]
    with pytest.raises(SourceDamaged):
        parsed(XML, "no xml at all")


def test_xml_of_attributes_alone_tells_them_and_deep_xml_ends():
    assert parsed(XML, '<r><city name="Bonn" id="1"/></r>').text == "city: Bonn\n\n"
    assert "core" in parsed(XML, "<a>" * 200 + "core" + "</a>" * 200).text


def test_entries_of_feeds_without_titles_are_apart():
    feed = (
        "<rss><channel><title>News</title><item><title>Rain</title><guid>u:1</guid></item><item><guid>u:2</guid></item>"
        "<item><guid>u:3</guid><description>It snows.</description></item><item>words <b>alone</b></item></channel>"
        "</rss>"
    )
    found = [(block.kind.value, block.level, block.text) for block in parsed(XML, feed).blocks]
    assert found == [
        ("heading", 1, "News\n\n"),
        ("heading", 2, "Rain\n\n"),
        ("paragraph", 0, "guid: u:1\n\n"),
        ("heading", 2, ""),
        ("paragraph", 0, "guid: u:2\n\n"),
        ("heading", 2, ""),
        ("paragraph", 0, "guid: u:3\ndescription: It snows.\n\n"),
        ("paragraph", 0, "words alone\n\n"),
    ]


FEED = """<rss><channel><title>News</title><item><title>Rain</title>
<description>&lt;p&gt;It &lt;b&gt;rains&lt;/b&gt;.&lt;/p&gt;</description></item></channel></rss>"""


def test_markup_within_values_is_read_as_a_page():
    result = parsed(XML, FEED)
    assert result.of("heading") == ["News", "Rain"]
    assert result.of("paragraph") == ["It rains."]


def test_subtitles_begin_with_their_time_and_name_speakers():
    vtt = "WEBVTT - Talk\n\nNOTE hidden\n\n1\n00:00:01.000 --> 00:00:02.000\n<v Ann>Hello <i>you</i></v>\n\n"
    vtt += "00:03.000 --> 00:04.000 align:left\n<v Bob>Hi &amp; bye\n\n00:01:30.000 --> 00:01:31.000\nLater\n"
    result = parsed(VTT, vtt)
    assert result.titles == ["Talk"]
    assert result.of("paragraph") == ["[00:00:01] Ann: Hello you\nBob: Hi & bye", "[00:01:30] Later"]


def test_captions_that_roll_say_each_line_once():
    youtube = (
        "WEBVTT\nKind: captions\n\n00:00:00.160 --> 00:00:02.070 align:start\n \nso<00:00:00.400><c> today</c>\n\n"
        "00:00:02.070 --> 00:00:02.080 align:start\nso today\n \n\n"
        "00:00:02.080 --> 00:00:04.150 align:start\nso today\nat<00:00:02.240><c> the pond</c>\n\n"
        "00:00:04.150 --> 00:00:04.160 align:start\nat the pond\n \n"
    )
    assert parsed(VTT, youtube).text == "[00:00:00] so today at the pond\n\n"


def test_speakers_before_their_words_begin_lines():
    zoom = "WEBVTT\n\n"
    for number, said in enumerate(
        ["Ann Möller: Welcome.", "Ann Möller: We\nbegin.", "Bob: Good", "at 9: then", "Eve (HR): No"]
    ):
        zoom += f"{number}\n00:00:0{number}.000 --> 00:00:0{number}.900\n{said}\n\n"
    assert parsed(VTT, zoom).text == (
        "[00:00:00] Ann Möller: Welcome. We begin.\nBob: Good at 9: then\nEve (HR): No\n\n"
    )


def test_srt_and_ass_subtitles_are_read():
    srt = "1\r\n00:00:01,000 --> 00:00:02,000\r\n{\\an8}Hello\r\nthere\r\n\r\n"
    srt += "2\r\n00:00:02,500 --> 00:00:03,000\r\nHello\r\n"
    assert parsed(SRT, srt).text == "[00:00:01] Hello there Hello\n\n"
    ass = "[Script Info]\nTitle: x\n[Events]\nFormat: Layer, Start, End, Name, Text\n"
    ass += "Dialogue: 0,0:00:05.00,0:00:06.00,Ann,{\\b1}Hi\\Nyou, there\n"
    assert parsed(ASS, ass).text == "[00:00:05] Ann: Hi you, there\n\n"


def test_subtitles_of_youtube_and_without_fractions_are_read():
    sbv = "0:00:00.378,0:00:02.928\nHi![br]It rains.\n\n0:01:02.928,0:01:05.000\nBye\n"
    assert parsed(SRT, sbv).text == "[00:00:00] Hi! It rains.\n\n[00:01:02] Bye\n\n"
    assert parsed(SRT, "1\n00:00:01 --> 00:00:10\nHello\n").text == "[00:00:01] Hello\n\n"


def timed_text(body: str, *, head: str = "", attributes: str = "") -> str:
    names = 'xmlns:ttm="http://www.w3.org/ns/ttml#metadata" xmlns:ttp="http://www.w3.org/ns/ttml#parameter"'
    return f'<tt xmlns="http://www.w3.org/ns/ttml" {names} {attributes}><head>{head}</head><body>{body}</body></tt>'


def test_timed_text_says_its_captions_with_their_times_and_speakers():
    head = (
        '<metadata><ttm:title>Of rain</ttm:title><ttm:agent xml:id="a"><ttm:name>Ann</ttm:name></ttm:agent></metadata>'
    )
    body = (
        '<div><p begin="00:00:01.500" end="00:00:02" ttm:agent="a">It <span>rains</span>,<br/>\n and\n  pours.</p>'
        '<p begin="3s" end="4s" ttm:agent="b"><metadata><ttm:desc>not said</ttm:desc></metadata>Indeed.<!-- no --></p>'
        '</div><div begin="1m"><p><span begin="5s" end="6s">Later</span></p></div>'
    )
    result = parsed(TIMED_TEXT, timed_text(body, head=head))
    assert result.titles == ["Of rain"]
    assert result.of("paragraph") == ["[00:00:01] Ann: It rains, and pours. Indeed.", "[00:01:05] Later"]


@pytest.mark.parametrize(
    ("time", "clock"),
    [
        ("00:01:02:12", "00:01:02"),
        ("3725.9s", "01:02:05"),
        ("2h", "02:00:00"),
        ("61000ms", "00:01:01"),
        ("250f", "00:00:10"),
        ("1:05", "00:01:05"),
        ("620000000t", "00:01:02"),
        ("soon", "00:00:00"),
        (f"{'9' * 400}s", "00:00:00"),
    ],
)
def test_times_of_timed_text_are_of_clocks_offsets_frames_and_ticks(time, clock):
    rates = 'ttp:frameRate="25" ttp:tickRate="10000000"'
    page = timed_text(f'<div><p begin="{time}">x y</p></div>', attributes=rates)
    assert parsed(TIMED_TEXT, page).text == f"[{clock}] x y\n\n"


@pytest.mark.parametrize("time", ["1e999", "nan", "9" * 400])
def test_times_of_subtitles_beyond_measure_cost_no_text(time):
    page = f"[Events]\nFormat: Start, End, Text\nDialogue: {time},{time},Hello\n"
    assert parsed(ASS, page).text == "[00:00:00] Hello\n\n"


@pytest.mark.timeout(10)
def test_cues_of_many_lines_cost_no_time():
    cues = ("00:01.000 --> 00:02.000\n" + f"{word}\n" * 200_000 + "\n" for word in ("a", "b"))
    assert parsed(VTT, "WEBVTT\n\n" + "".join(cues)).text.count("b") == 200_000


def test_notebooks_keep_cells_and_cut_long_outputs():
    cells = [
        {"cell_type": "markdown", "source": ["# Rivers\n", "They run."]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31m1\x1b[0m\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "x" * 9000}},
                {"output_type": "display_data", "data": {"image/png": "iV", "text/plain": ["<Figure with 1 Axes>"]}},
                {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": ["long"]},
            ],
        },
        {"cell_type": "raw", "source": "raw text"},
    ]
    result = parsed(NOTEBOOK, json.dumps({"cells": cells, "nbformat": 4, "metadata": {"title": "Water"}}))
    assert result.titles == ["Water"]
    assert result.of("heading") == ["Rivers"]
    assert result.of("code")[:2] == ["print(1)", "1"]
    assert len(result.of("code")[2]) == 4000
    assert result.of("code")[3] == "ValueError: bad"
    assert result.of("paragraph") == ["They run.", "raw text"]
    assert "iVBOR" not in result.text
    assert result.notices == ["1 output of more than 4,000 characters cut off."]


def test_of_a_progress_bar_in_a_notebook_its_last_state_is_kept():
    stream = "10%|#  | 1/10\r 20%|## | 2/10\r\x1b[A100%|###| 10/10\r\ndone\r\n"
    cell = {"cell_type": "code", "source": "run()", "outputs": [{"output_type": "stream", "text": stream}]}
    assert parsed(NOTEBOOK, json.dumps({"cells": [cell]})).of("code") == ["run()", "100%|###| 10/10\ndone"]


@pytest.mark.parametrize("odd", [None, 7, 2.0, True, 10**9, "x", [], [1], {"a": 1}])
def test_odd_values_in_notebooks_cost_no_other_cell(odd):
    cells = [
        {"cell_type": "code", "source": "x = 1", "outputs": odd},
        {"cell_type": "code", "outputs": [{"output_type": odd, "text": "1"}]},
        {"cell_type": "code", "outputs": [{"output_type": "error", "ename": "E", "evalue": odd}, {"data": odd}]},
        {"cell_type": "heading", "level": odd, "source": "Pier"},
        {"cell_type": odd, "source": odd},
        {"cell_type": "markdown", "source": "Last."},
    ]
    sheets = [odd, {"cells": odd}, {"cells": cells}]
    assert parsed(NOTEBOOK, json.dumps({"worksheets": sheets})).text.strip().endswith("Last.")


@pytest.mark.parametrize("source", ["{", "[1]", '{"cells": 3}', "[" * 100_000])
def test_what_is_no_notebook_is_refused(source):
    with pytest.raises(SourceDamaged, match="not a notebook"):
        parsed(NOTEBOOK, source)


OUTLINE = """<?xml version="1.0"?><opml version="2.0">
<head><title>Reading</title><dateCreated>Monday</dateCreated></head><body>
<outline text="Locks of the south"><outline text="Gates of oak and how long they last" type="note"/>
<outline text="Sluices that were built before the year of the flood"/></outline></body></opml>"""


def test_attributes_of_elements_that_hold_others_are_read_where_attributes_are_the_text():
    found = parsed("application/xml", OUTLINE)
    assert found.titles == ["Reading"]
    assert found.of("heading") == ["Reading"]
    said = "outline: Locks of the south\noutline: Gates of oak and how long they last\noutline: Sluices that were built"
    assert said in found.text
    assert "datecreated: Monday" in found.text


def test_a_second_table_below_its_title_has_names_of_its_own():
    first = "Ships,,\n\nName,Flag,Tonnes\n" + "".join(f"A{i},NL,{i}\n" for i in range(60))
    source = first + "\nHarbours,,\nCity,People,\n" + "".join(f"B{i},{i},\n" for i in range(900))
    found = parsed("text/csv", source)
    tables = [block for block in found.blocks if block.kind is BlockKind.TABLE]
    assert found.of("caption") == ["Ships", "Harbours"]
    assert {block.caption for block in tables[1:]} == {"Harbours"}
    assert [block.header for block in tables] == [None, None, *["City | People"] * (len(tables) - 2)]


def test_rows_of_data_below_a_remark_go_on_with_the_table():
    rows = "".join(f"A{i},NL,{i}\n" for i in range(60))
    found = parsed("text/csv", f"Name,Flag,Tonnes\n{rows}\nof the last year:,,\n{rows}")
    tables = [block for block in found.blocks if block.kind is BlockKind.TABLE]
    assert [block.header for block in tables] == [None, "Name | Flag | Tonnes"]


@pytest.mark.parametrize("delimiter", ["^", "~", "¦"])
def test_rare_separators_are_known_where_all_rows_agree(delimiter):
    rows = [["id", "name"], *([str(i), f"Name, {i}" if i == 3 else f"Name {i}"] for i in range(9))]
    (block,) = parsed("text/csv", "".join(delimiter.join(row) + "\n" for row in rows)).blocks
    assert block.text.startswith("id | name\n0 | Name 0\n")
    (block,) = parsed("text/csv", "about ~5 ships\nmore of them\nten\n").blocks
    assert block.text.startswith("about ~5 ships\nmore")


def test_values_of_a_list_are_told_apart():
    steps = {"steps": ["Fry the onion.", "Add lentils, salt."], "days": ["2 May, noon", "3 May"], "tags": ["a", "b"]}
    told = "steps: Fry the onion. Add lentils, salt.\ndays: 2 May, noon; 3 May\ntags: a, b\n\n"
    assert parsed(JSON, json.dumps(steps)).text == told


@pytest.mark.parametrize("gap", ["", ";;;;\n"])
def test_values_above_a_wider_table_are_no_names_of_its_columns(gap):
    padding = ";;;" if gap else ""
    source = f"IBAN;DE89{padding}\nBalance;1.234,56{padding}\n{gap}Date;Payee;Purpose;Amount;Currency\n" + "".join(
        f"{day:02}.12.2023;Baker;Bread {day};-{day},55;EUR\n" for day in range(1, 29)
    )
    facts, table = parsed(CSV, source).blocks
    assert (facts.kind.value, facts.text) == ("paragraph", "IBAN: DE89\nBalance: 1.234,56\n\n")
    assert table.text.startswith("Date | Payee | Purpose | Amount | Currency\n01.12.2023 | Baker")
    assert table.header is None


def test_figures_of_drawings_maps_and_tracks_are_no_text():
    path = "M10 10 " + "C 1.5 2 -3 " * 60
    assert (
        parsed(XML, f'<svg width="9"><path d="{path}"/><text x="1">Bilge pump</text></svg>').text
        == "text: Bilge pump\n\n"
    )
    assert parsed(XML, f'<svg width="9"><path d="{path}"/></svg>').text == ""
    line = f"<Placemark><name>Ferry</name><coordinates>{'10.52,54.85,0 ' * 50}</coordinates></Placemark>"
    found = parsed(XML, f"<kml><name>Ways</name>{line}</kml>")
    assert found.text == "name: Ways\nname: Ferry\n\n"
    assert found.notices == ["1 row of figures (points, coordinates, drawn lines) left out."]
    track = "<trk><name>Hike</name><trkseg>" + "<trkpt lat='5'><ele>7</ele></trkpt>" * 9 + "</trkseg></trk>"
    assert parsed(XML, f"<gpx version='1.1'>{track}</gpx>").text == "name: Hike\n\n"


def test_numbers_of_sections_and_items_in_xml_stand_before_their_text():
    act = (
        "<act><section><num>1.</num><heading>Duties</heading><p>Close the steps.</p></section>"
        "<section><num>2.</num><subsection><num>(1)</num><content><p>Ships pay.</p></content>"
        "</subsection></section></act>"
    )
    assert parsed(XML, act).kinds() == [
        ("heading", "1. Duties"),
        ("paragraph", "Close the steps."),
        ("paragraph", "2. (1) Ships pay."),
    ]
    items = "<list><list-item><label>(a)</label><p>Deep.</p></list-item></list>"
    paper = f"<sec><label>3</label><title>Depth</title>{items}</sec>"
    assert parsed(XML, paper).kinds() == [("heading", "3 Depth"), ("paragraph", "(a) Deep.")]
    record = "<rows><row2><num>5</num><name>Inn</name></row2><row2><num>6</num><name>Po</name></row2></rows>"
    assert "num: 5\nname: Inn" in parsed(XML, record).text


OFX_PAGE = """\
OFXHEADER:100
DATA:OFXSGML
VERSION:102
ENCODING:USASCII
CHARSET:1252

<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS>
<DTSERVER>20240401120000[-5:EST]<LANGUAGE>ENG<FI><ORG>River Bank<FID>123</FI></SONRS></SIGNONMSGSRSV1>
<BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>EUR
<BANKACCTFROM><BANKID>50010517<ACCTID>0648489890<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20240301<DTEND>20240331
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20240302120000<TRNAMT>-12.50<FITID>1<NAME>Baker &amp; Sons<MEMO>Card 1234</STMTTRN>
<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>20240328<TRNAMT>2500.00<FITID>2<NAME>ACME Corp<MEMO>Salary March</STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>3120.22<DTASOF>20240331</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
"""


@pytest.mark.parametrize("closed", [False, True])
def test_transactions_of_statements_are_rows(closed):
    page = OFX_PAGE
    if closed:  # OFX 2 is XML
        body = page[page.index("<OFX>") :].replace("EUR\n", "EUR")
        page = '<?xml version="1.0"?><?OFX OFXHEADER="200"?>' + re.sub(r"<(\w+)>([^<\n]+)", r"<\1>\2</\1>", body)
    assert detected_type("a.ofx", page) == detected_type("download", page) == OFX
    second = "<CCSTMTRS><CURDEF>USD<ACCTID>99<STMTTRN><DTPOSTED>20240401<TRNAMT>-3</STMTTRN></CCSTMTRS>"
    result = parsed(OFX, page.replace("</OFX>", second))
    assert result.kinds() == [
        (
            "paragraph",
            (
                "bank: River Bank\ncurrency: EUR\nbank id: 50010517\naccount: 0648489890\nkind of account: CHECKING\n"
                "from: 2024-03-01\nto: 2024-03-31\nbalance: 3120.22\nas of: 2024-03-31"
            ),
        ),
        (
            "table",
            (
                "Date | Type | Amount | Payee | Memo\n2024-03-02 | DEBIT | -12.50 | Baker & Sons | Card 1234\n"
                "2024-03-28 | CREDIT | 2500.00 | ACME Corp | Salary March"
            ),
        ),
        ("paragraph", "currency: USD\naccount: 99"),
        ("table", "Date | Amount\n2024-04-01 | -3"),
    ]


def test_records_of_qif_are_rows():
    page = (
        "!Type:Bank\nD3/2/2024\nT-12.50\nPBaker\nLFood\n^\nD3/28/2024\nT2,500.00\nPACME\nSPay\n$2,000\nSBonus\n$500\n^\n"
        "!Type:Cash\nD1/1/2024\nT1\n^\n"
    )
    assert detected_type("a.qif", page) == QIF
    assert detected_type("a.txt", "!Type: what a word\n\nof text") == TEXT
    assert parsed(QIF, page).kinds() == [
        ("heading", "Bank"),
        (
            "table",
            (
                "Date | Amount | Payee | Memo | Category\n3/2/2024 | -12.50 | Baker |  | Food\n"
                "3/28/2024 | 2,500.00 | ACME | Pay 2,000 Bonus 500"
            ),
        ),
        ("heading", "Cash"),
        ("table", "Date | Amount\n1/1/2024 | 1"),
    ]


def test_statements_of_accounts_stay_apart_in_whatever_order_their_parts_come():
    page = (
        "<OFX><FI><ORG>Bank</FI><STMTRS><ACCTID>1<BALAMT>5</STMTRS><STMTRS><ACCTID>2<BANKTRANLIST><STMTTRN><TRNAMT>3"
        "<STMTRS>\n<ACCTID>\n3\n<BALAMT>7</STMTRS><STMTTRN><TRNAMT>4<MEMO>a < b</STMTTRN></OFX>"
    )
    assert parsed(OFX, page).kinds() == [
        ("paragraph", "bank: Bank\naccount: 1\nbalance: 5"),
        ("paragraph", "account: 2"),
        ("table", "Amount\n3"),
        ("paragraph", "account: 3\nbalance: 7"),
        ("table", "Amount | Memo\n4 | a < b"),
    ]


def test_records_of_qif_that_are_not_ended_are_rows_of_their_own():
    page = "!Type:Bank\nD3/2/2024\nT-1\n!Type:Cash\nD3/3/2024\nT5\n^\n D3/4/2024\nT6\nPZoe\nA1 Mill Road\nARome"
    assert parsed(QIF, page).kinds() == [
        ("heading", "Bank"),
        ("table", "Date | Amount\n3/2/2024 | -1"),
        ("heading", "Cash"),
        ("table", "Date | Amount | Payee | Address\n3/3/2024 | 5\n3/4/2024 | 6 | Zoe | 1 Mill Road, Rome"),
    ]
    accounts = (
        "!Account\nNSavings\nDFor the roof\nTBank\n$100\n/1/1/2024\n^\nNCard\nTCCard\nL2,000\nB-7\n^\n"
        "!Type:Cat\nNFood\nDWhat we eat\nE\nB90\n^\n!Type:Security\nNAcme\nSACM\nTStock\n^\n"
    )
    assert parsed(QIF, accounts).kinds() == [
        ("heading", "Account"),
        (
            "table",
            (
                "Name | Description | Type | Balance | As of | Limit\nSavings | For the roof | Bank | 100 | 1/1/2024\n"
                "Card |  | CCard | -7 |  | 2,000"
            ),
        ),
        ("heading", "Cat"),
        ("table", "Name | Description | Budget\nFood | What we eat | 90"),
        ("heading", "Security"),
        ("table", "Name | Symbol | Type\nAcme | ACM | Stock"),
    ]


def test_prices_of_qif_are_rows():
    page = (
        '!Type:Prices\n"IBM",105.5,"1/1\'97"\n^\n!Type:Prices\n"A ""B"", C",7 1/4, " 2/ 3/97"\n"ACM",9\n'
        'X,1,1/2/97,"more"\n^\n'
        "!Type:Cash\nT1\n^\n"
    )
    assert detected_type("a.qif", page) == QIF
    assert parsed(QIF, page).kinds() == [
        ("heading", "Prices"),
        ("table", "Security | Price | Date\nIBM | 105.5 | 1/1'97"),
        ("heading", "Prices"),
        ("table", 'Security | Price | Date\nA "B", C | 7 1/4 | 2/ 3/97\nACM | 9\nX | 1 | 1/2/97, more'),
        ("heading", "Cash"),
        ("table", "Amount\n1"),
    ]
    assert "5" in parsed(QIF, '!Type:Prices\n"IBM, 5\n').text


BIB = r"""
% my references
@string{jor = "Journal of " # {Rivers}}
@comment{not, this = one}
@article{low90,
  author  = {Low, Ann and M{\"u}ller, K\'{\i}m and others},
  title   = {{Piers} of the \emph{Inn}: "old" ones},
  journal = jor,
  year    = 1990,
  pages = "10--12",
  abstract = {We measure piers.
   They are long.},
}
@book(kim24, author="\O{}yvind Kim", title="Water", publisher={River \& Press}, year={2024})
"""


def test_references_are_records_in_words():
    assert detected_type("a.bib", BIB) == REFERENCES
    assert parsed(REFERENCES, BIB).of("paragraph") == [
        (
            'Title: Piers of the Inn: "old" ones\nAuthor: Low, Ann; Müller, Kím; others\nJournal: Journal of Rivers\n'
            "Year: 1990\nPages: 10–12\nAbstract: We measure piers. They are long.\nKey: low90"
        ),
        "Title: Water\nAuthor: Øyvind Kim\nPublisher: River & Press\nYear: 2024\nKey: kim24",
    ]


@pytest.mark.parametrize(
    "page",
    [
        (
            "TY  - JOUR\nAU  - Low, Ann\nAU  - Kim\nTI  - Piers\nPY  - 1990\nAB  - Long ones.\nER  - \n\nTY  - BOOK\n"
            "TI  - Water\nER  -\n"
        ),
        (
            "PMID- 1\nTI  - Piers\nAB  - Long\n      ones.\nFAU - Low, Ann\nAU  - Low A\nFAU - Kim\nDP  - 1990\n\n"
            "PMID- 2\nTI  - Water\n"
        ),
        "%0 Journal Article\n%A Low, Ann\n%A Kim\n%T Piers\n%D 1990\n%X Long ones.\n\n%0 Book\n%T Water\n",
    ],
)
def test_references_of_other_programs_are_the_same_records(page):
    assert parsed(REFERENCES, page).of("paragraph") == [
        "Title: Piers\nAuthor: Low, Ann; Kim\nYear: 1990\nAbstract: Long ones.",
        "Title: Water",
    ]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "PMID- 1\nTI  - Piers\nAB  - We found\nDNA-binding ones\n%5 of them.\n",
            "Title: Piers\nAbstract: We found DNA-binding ones %5 of them.",
        ),
        (
            "TY  - JOUR\nTI  - Piers\nSP  - 10\nEP  - 12\nAB  - We found\nRNA - and\nDNA-binding ones.\nER  - \n",
            "Title: Piers\nPages: 10–12\nAbstract: We found RNA - and DNA-binding ones.",
        ),
        ("TY - JOUR\nTI - Piers\nSP - 10-12\nEP - 12\nER -\n", "Title: Piers\nPages: 10-12"),
        (
            "TY  -JOUR\nTI  -Piers\nAU  -\tLow\nAB  - DNA\nAB -x\nER  -\n",
            "Title: Piers\nAuthor: Low\nAbstract: DNA AB -x",
        ),
        ("%0 Book\n%T Water\n%X Long\nAB  - ones.\n", "Title: Water\nAbstract: Long AB - ones."),
        (
            r"@misc{a, title={A--B~C}, url={http://a.b/~kim/x--y\_z\~{}}, doi = {10.1/a\_b--c}}",
            "Title: A–B C\nDOI: 10.1/a_b--c\nAddress: http://a.b/~kim/x--y_z~\nKey: a",
        ),
    ],
)
def test_references_keep_addresses_pages_and_lines_that_only_look_like_fields(page, said):
    assert parsed(REFERENCES, page).of("paragraph") == [said]


def test_a_text_with_the_name_of_references_is_kept_and_what_is_never_closed_costs_no_time():
    assert parsed(REFERENCES, "Just words.\n").text == "Just words.\n"
    for page in ("@a{b," + "c={" * 50_000, "@a{b,c=" + '"' * 50_000, "@a{" * 50_000, "@a{b,c=" + "d#" * 50_000):
        parsed(REFERENCES, page)


def test_strings_of_references_stand_for_no_more_text_than_there_is():
    page = f"@string{{a = {{{'long ' * 99}}}}}@misc{{b, note = a{'#a' * 100_000}}}"
    text = parsed(REFERENCES, page).text
    assert text.startswith("Note: long long ")
    assert len(text) < 2 * len(page)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_load_files_of_e_discovery_are_rows(encoding):
    rows = [("DOCID", "CUSTODIAN", "SUBJECT"), ("A1", "Miller, Ann", "Old pier®in May"), ("A2", "Kim", "Größe")]
    page = "".join("\x14".join(f"þ{field}þ" for field in row) + "\r\n" for row in rows)
    content = page.encode(encoding)
    found = detect(Path("load.dat"), scan_file(io.BytesIO(content)))
    assert found.media_type == LOAD_FILE
    assert parsed(LOAD_FILE, content, found.encoding).of("table") == [
        "DOCID | CUSTODIAN | SUBJECT\nA1 | Miller, Ann | Old pier in May\nA2 | Kim | Größe"
    ]


def detected_type(name: str, page: str) -> str:
    return detect(Path(name), scan_file(io.BytesIO(page.encode()))).media_type


STATEMENT = "".join(f'11/{day:02}/2023,"SHOP {day}",-{day}.50,"1,{day:03}.00"\n' for day in range(1, 29))
HEADER = "Date,Description,Amount,Running Bal."


@pytest.mark.parametrize("gap", ["", "\n"])
@pytest.mark.parametrize(
    ("above", "said"),
    [
        ('Description,,Summary\nTotal credits,,"5,000.00"\n', "Description: Summary\nTotal credits: 5,000.00"),
        ("Account,Checking\nBalance: $1,234.56\n", "Account: Checking\nBalance: $1,234.56"),
        ('"Account::","12-34"\n"Period:","May"\n', "Account: 12-34\nPeriod: May"),
        ("Account,Owner,Branch\n12-34,Ann,North\n", "Account | Owner | Branch\n12-34 | Ann | North"),
    ],
)
def test_what_stands_above_a_table_is_told_before_it(above, said, gap):
    for few in (2, 28):
        rows = "".join(STATEMENT.splitlines(keepends=True)[:few])
        first, *others = parsed(CSV, f"{above}{gap}{HEADER}\n{rows}").blocks
        assert first.text.replace(" |  | ", ": ") == f"{said}\n\n"
        assert [(other.header, other.text.partition("\n")[0]) for other in others] == [
            (None, "Date | Description | Amount | Running Bal.")
        ]


def test_lines_of_one_cell_above_few_rows_are_no_table():
    found = parsed(CSV, f"First Bank\nAccount: 12-34\nBeginning balance\nin USD\n{HEADER}\n1/2/2023,Baker,-2.50,9.00\n")
    assert found.of("caption") == ["First Bank\nAccount: 12-34\nBeginning balance\nin USD"]
    assert found.blocks[-1].text == "Date | Description | Amount | Running Bal.\n1/2/2023 | Baker | -2.50 | 9.00\n\n"


def test_semicolons_separate_where_tables_differ_and_all_amounts_have_commas():
    first = "".join(f'"{day}.5.2023";"Rewe";"-{day},50";\n' for day in range(1, 20))
    second = "".join(f'"{day}.5.2023";"Visa";"R{day}";"-{day},50";\n' for day in range(1, 20))
    source = (
        '"Giro";"30 Tage";\n"Stand";"1,00 EUR";\n\n"Tag";"Vorgang";"Umsatz";\n' + first + '\n"Alt";"2,00 EUR";\n'
        '\n"Karte";"30 Tage";\n\n"Tag";"Vorgang";"Referenz";"Umsatz";\n' + second
    )
    found = parsed(CSV, source)
    tables = [block.text.split("\n")[:2] for block in found.blocks if block.kind is BlockKind.TABLE]
    assert tables[-2:] == [
        ["Tag | Vorgang | Umsatz", "1.5.2023 | Rewe | -1,50"],
        ["Tag | Vorgang | Referenz | Umsatz", "1.5.2023 | Visa | R1 | -1,50"],
    ]
    assert "Alt: 2,00 EUR\n" in found.text


def test_names_of_groups_of_columns_stay_with_their_table():
    found = parsed(CSV, "Region,2023,,2024,\n,Q1,Q2,Q1,Q2\nNorth,1,2,3,4\nSouth,5,6,7,8\n")
    assert [block.kind for block in found.blocks] == [BlockKind.TABLE]


def test_rows_of_words_after_a_gap_go_on_with_the_table():
    rows = "".join(f"Ann{n},cook,Bonn\n" + "\n" * (n % 2) for n in range(120))
    (block,) = parsed(CSV, f"name,trade,town\n{rows}").blocks
    assert block.header is None
