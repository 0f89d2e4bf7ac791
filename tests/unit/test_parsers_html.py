import io

import pytest

from indexer.formats import HTML
from indexer.parsers.blocks import Block, BlockKind, Title
from indexer.parsers.html.parser import parse_html
from rag.errors import SourceDamaged
from tests.unit.parsing import parsed


def parse(page: str, encoding: str = "utf-8"):
    return list(parse_html(io.BytesIO(page.encode(encoding)), encoding))


def blocks_of(page: str):
    return [item for item in parse(page) if isinstance(item, Block)]


def text_of(page: str) -> str:
    return "".join(block.text for block in blocks_of(page))


PAGE = """
<html><head><title>Energy | Handbook</title><style>p {}</style></head><body>
<header><nav><a href="/">Home</a></nav></header>
<nav class="breadcrumb"><a>Chapters</a></nav>
<main><h1>Energy</h1>
<p>Models use <b>electricity</b> twice:&nbsp;in   training
and in service.</p>
<h2>Figures</h2>
<ul><li>one<ul><li>inner</li></ul></li><li><p>two</p></li></ul>
<ol start="3"><li>three</li></ol>
<table><caption>Costs</caption><thead><tr><th>Model</th><th>MWh</th></tr></thead>
<tbody><tr><td>GPT-3</td><td>1,287</td></tr><tr><td>BLOOM</td><td>433</td></tr></tbody></table>
<pre>def f():
    return  1
</pre>
<script>var leak = 1;</script>
<aside class="promo"><p>Subscribe now!</p></aside>
<aside><p>A note that belongs to the text.</p></aside>
<p hidden>unseen</p></main>
<footer>Imprint</footer></body></html>
"""


def test_the_text_of_a_page_without_its_furniture():
    assert text_of(PAGE) == (
        "Energy\n\nModels use electricity twice: in training and in service.\n\nFigures\n\n"
        "- one\n  - inner\n- two\n\n3. three\n\nCosts\n\nModel | MWh\nGPT-3 | 1,287\nBLOOM | 433\n\n"
        "def f():\n    return  1\n\nA note that belongs to the text.\n\n"
    )


def test_kinds_levels_and_title():
    assert parse(PAGE)[0] == Title(text="Energy")
    blocks = blocks_of(PAGE)
    assert [(b.level, b.heading) for b in blocks if b.kind is BlockKind.HEADING] == [(1, "Energy"), (2, "Figures")]
    assert [b.kind.value for b in blocks[3:]] == ["list", "list", "caption", "table", "code", "paragraph"]


def test_the_title_element_serves_where_there_is_no_single_heading():
    assert parse("<title>Page</title><h1>a</h1><h1>b</h1><p>x</p>")[0] == Title(text="Page")


def test_powers_of_ten_stay_powers_and_formulas_stay_readable():
    assert text_of("<p>3.1&times;10<sup>23</sup> operations, CO<sub>2</sub>, m<sup>-2</sup></p>").strip() == (
        "3.1×10^23 operations, CO2, m^-2"
    )
    assert "10^9 | x" in text_of(
        "<table><tr><td>10<sup>9</sup></td><td>x</td></tr><tr><td>b</td><td>c</td></tr></table>"
    )


def test_soft_hyphens_and_invisible_ends_are_left_out():
    (heading, text) = blocks_of("<h2>Donau\u00addampfer\u200b</h2><p>schiff&shy;fahrt</p>")
    assert heading.heading == "Donaudampfer"
    assert text.text == "schifffahrt\n\n"


def test_signs_that_link_to_a_heading_or_back_from_a_note_are_left_out():
    page = '<h2><a class="doc-anchor" href="#use">§</a>Use of §</h2><p>A note. <a href="#ref1">↩</a></p>'
    assert text_of(page) == "Use of §\n\nA note.\n\n"


def test_line_breaks_and_loose_text():
    assert text_of("loose<br>text<div>in <span>a</span> box</div>tail") == "loose\ntext\n\nin a box\n\ntail\n\n"


def test_a_layout_table_is_read_as_text():
    page = "<table><tr><td><h2>Part</h2><p>Left.</p></td><td><p>Right.</p></td></tr></table>"
    blocks = blocks_of(page)
    assert [block.kind.value for block in blocks] == ["heading", "paragraph", "paragraph"]


def test_a_command_in_a_cell_of_a_table_with_names_does_not_take_it_apart():
    rows = "<tr><th>Name</th><th>Start</th></tr><tr><td>web</td><td>run<pre>systemctl start\nnginx</pre></td></tr>"
    assert text_of(f"<table>{rows}</table>") == "Name | Start\nweb | run systemctl start nginx\n\n"
    listing = "\n".join(["print(1)"] * 40)
    assert listing in text_of(f"<table>{rows}<tr><td>x</td><td><pre>{listing}</pre></td></tr></table>")


def test_a_page_that_is_all_furniture_keeps_its_text():
    assert text_of("<nav><p>The only text there is.</p></nav>").strip() == "The only text there is."
    assert "All of it" in text_of(
        "<div class='menu'><p>All of it is in here, in a box with an odd name.</p></div><p>x</p>"
    )


def test_a_list_that_is_called_a_menu_is_left_out_unless_it_is_the_page():
    menu = "<ul role='menu'><li>First of many links</li><li>Second one</li></ul>"
    assert "Second one" in text_of(f"<h1>Map</h1>{menu}")
    assert "Second one" not in text_of(f"{menu}<p>{'The text of the page. ' * 20}</p>")


def test_a_choice_of_languages_is_left_out_of_the_main_text():
    def page(*links: str) -> str:
        items = "".join(f"<li><a href='/x' {link}</a></li>" for link in links)
        return text_of(f"<main><h1>Energy</h1><ul>{items}</ul><p>The text of the page.</p></main>")

    assert (
        page("hreflang=de>Deutsch", "hreflang=fr>Français", "hreflang=it>Italiano")
        == "Energy\n\nThe text of the page.\n\n"
    )
    assert "Deutsch" in page("hreflang=de>Deutsch", "hreflang=fr>Français")
    assert "Report" in page("hreflang=de>Deutsch", "hreflang=fr>Français", ">Report")


def test_a_picture_that_is_all_of_a_link_is_called_by_its_description():
    page = "<p><a href='x'><img alt='To the rivers'></a> or <a href='y'><img alt='a stream'>lakes</a><img alt='z'></p>"
    assert text_of(page).strip() == "To the rivers or lakes"


def test_a_nearly_empty_main_element_does_not_hide_the_text():
    assert "Long text" in text_of("<main></main><div>" + "Long text of the page. " * 20 + "</div>")


def test_broken_and_very_deep_pages_are_read():
    assert text_of("<p>open <b>bold <p>next</p></td></table>").split() == ["open", "bold", "next"]
    deep = "<div>" * 1500 + "bottom" + "</div>" * 1500
    assert "bottom" in text_of(deep)


def test_a_page_that_cannot_be_read_to_its_end_is_an_error():
    with pytest.raises(SourceDamaged, match=r"depth in document: \d+\. Save"):
        parse("<div>" * 5000 + "bottom" + "</div>" * 5000)


def test_other_encodings():
    assert "Größe" in "".join(b.text for b in parse("<p>Größe</p>", "utf-16") if isinstance(b, Block))
    assert "Größe" in "".join(b.text for b in parse("<p>Größe</p>", "cp1252") if isinstance(b, Block))
    # Known to Python alone, and longer than what is read at a time.
    page = "<p>" + "Größe und Maß. " * 20_000 + "</p>"
    assert "".join(b.text for b in parse(page, "cp852") if isinstance(b, Block)).count("Größe") == 20_000


def test_control_characters_neither_end_nor_break_the_page():
    page = "<p>before\x00\x0b\x01</p><nav>x</nav>\x02tail<p>a&#1;b</p><script>y</script>\x03<p>after</p>"
    words = text_of(page).split()
    assert words[-1] == "after"
    assert "x" not in words


def test_nothing_comes_of_nothing():
    assert blocks_of("<html><head><script>x</script></head><body></body></html>") == []
    assert blocks_of("<!-- only a comment -->") == []


def test_merged_cells_say_their_text_in_each_place():
    page = """<body><table>
    <tr><td colspan="3">Ducks by region</td></tr>
    <tr><th rowspan="2">Region</th><th colspan="2">Ducks</th></tr><tr><th>2022</th><th>2023</th></tr>
    <tr><td rowspan="2">North</td><td>1</td><td rowspan="99">2</td></tr><tr><td>3</td></tr>
    <tr><td>South</td><td>4</td></tr></table></body>"""
    assert text_of(page) == (
        "Ducks by region\n\nRegion | Ducks | Ducks\nRegion | 2022 | 2023\n"
        "North | 1 | 2\nNorth | 3 | 2\nSouth | 4 | 2\n\n"
    )


def test_rows_of_names_alone_are_the_header():
    rows = "".join(f"<tr><th>n{i}</th><td>{'word ' * 10}</td><td>2</td></tr>" for i in range(500))
    names = "<tr><th>Name</th><th>Remark</th><th>Rank</th></tr><tr><th>as given</th><th>ours</th><th>of ten</th></tr>"
    found = blocks_of(f"<body><table>{names}{rows}</table></body>")
    assert len(found) > 2
    assert {block.header for block in found} == {"Name as given | Remark ours | Rank of ten"}


def test_rows_that_begin_with_the_names_of_groups_are_no_header():
    rows = "".join(f"<tr><td>m{i}</td><td>{'word ' * 10}</td></tr>" for i in range(500))
    names = "<tr><th>Year</th><th>Month</th><th>Remark</th></tr><tr><th rowspan='501'>2025</th></tr>"
    found = blocks_of(f"<body><table>{names}{rows}</table></body>")
    assert found[-1].header == "Year | Month | Remark"


def test_a_span_without_end_is_bounded():
    page = "<body><table><tr><td colspan='999999999'>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table></body>"
    assert len(text_of(page)) < 1000


def test_every_chunk_of_a_long_table_knows_its_header():
    rows = "".join(f"<tr><td>n{i}</td><td>{'word ' * 10}</td></tr>" for i in range(1000))
    found = blocks_of(f"<body><table><thead><tr><th>Name</th><th>Remark</th></tr></thead>{rows}</table></body>")
    assert len(found) > 2
    assert [block.header for block in found] == [None, *["Name | Remark"] * (len(found) - 1)]


def test_the_terms_of_a_list_of_definitions_stand_above_them():
    page = "<dl><dt>Loppers<dd>For branches.<dt>Shears<dd>For hedges.<dd>And twigs.</dl>"
    assert text_of(page) == "Loppers\n  For branches.\nShears\n  For hedges.\n  And twigs.\n\n"
    assert text_of("<ul><li><dl><dt>a<dd>b</dl></li></ul>").startswith("- a\n")


def test_buttons_to_share_a_page_are_left_out():
    assert text_of("<p>text and text</p><div class='share-buttons'><a href=x>Tweet</a></div>") == "text and text\n\n"


@pytest.mark.timeout(10)
def test_a_cell_of_many_raised_numbers_costs_no_time():
    page = "<table><tr><td>x<td>y<tr><td>b<td>" + "a<sup>2</sup>" * 50_000 + "</table>"
    assert parsed(HTML, page).text.count("a^2") == 50_000
