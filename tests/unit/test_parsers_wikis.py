"""AsciiDoc, MediaWiki, Textile and manual pages."""

import io
from pathlib import Path

import pytest

from indexer.detection.media_types import detect
from indexer.formats import ASCIIDOC, MANUAL_PAGE, MEDIAWIKI, TEXTILE, XML
from indexer.sources import scan_file
from tests.unit.parsing import parsed

GUIDE = """\
= Plumbing Guide: {product}
Ann Miller <ann@example.org>
v2.1, 2024-03-01
:product: HydroMax
:version: 4.2
:toc:
:icons: font

[.lead]
The {product} {version} pump moves water. See <<install,how to install>> or https://example.org/docs[the manual].

// a comment
[[install]]
== Installation ==

.Prerequisites
* Java 17footnote:[LTS only.]
** JDK, not JRE
* A database
+
[source,shell]
.Check it
----
java -version # <1>

psql --version
----
<1> Must be 17.

[NOTE]
====
Do not run as root.

Ever.
====

WARNING: Water is wet.

.Pump models
[cols="1,2a,1",options="header"]
|===
|Model |Description |Flow

|HM-1
|Small pump
for gardens
|10 l/min

|HM-2 2+|Discontinued
.2+|HM-3 |Big \\| huge |50
|Bigger |80
|===

[%header,format=csv]
,===
Part,Price
Seal,3.50
"Bolt, long",0.20
,===

Configuration
-------------

hostname:: The name of the host.
port:: Where it listens, kbd:[Ctrl+C] stops, menu:File[Save].

ifdef::env-github[]
GitHub only text.
endif::[]

image::pump.png[Cross-section of the pump,300]

include::common/legal.adoc[]

 literal text
   indented

////
hidden block
////

[quote,Kim]
____
Water finds its way.
____

[source,ruby]
puts "hi"

|===
|a |b
|c |d
|===
"""


def test_asciidoc_structure_is_found_and_attributes_and_macros_are_their_text():
    result = parsed(ASCIIDOC, GUIDE)
    assert [(b.level, b.heading) for b in result.blocks if b.kind == "heading"] == [
        (1, "Plumbing Guide: HydroMax"),
        (2, "Installation"),
        (2, "Configuration"),
    ]
    assert result.of("code") == [
        "java -version # <1>\n\npsql --version",
        "literal text\n   indented",
        'puts "hi"',
    ]
    assert result.of("list") == [
        "* Java 17 (LTS only.)\n** JDK, not JRE\n* A database",
        "<1> Must be 17.",
        "hostname:: The name of the host.\nport:: Where it listens, Ctrl+C stops, File > Save.",
    ]
    assert result.of("paragraph") == [
        "Ann Miller <ann@example.org>\nv2.1, 2024-03-01",
        "The HydroMax 4.2 pump moves water. See how to install or the manual.",
        "Prerequisites",
        "Check it",
        "NOTE: Do not run as root.",
        "Ever.",
        "WARNING: Water is wet.",
        "GitHub only text.",
        "Kim: Water finds its way.",
    ]
    assert result.of("caption") == ["Pump models", "Cross-section of the pump"]
    assert result.notices == ["It includes other files (common/legal.adoc), which are not part of its text here."]


def test_tables_of_asciidoc_are_rows_with_their_header_and_caption():
    tables = [block for block in parsed(ASCIIDOC, GUIDE).blocks if block.kind == "table"]
    assert [table.text.strip() for table in tables] == [
        (
            "Model | Description | Flow\nHM-1 | Small pump for gardens | 10 l/min\nHM-2 | Discontinued | Discontinued\n"
            "HM-3 | Big | huge | 50\nHM-3 | Bigger | 80"
        ),
        "Part | Price\nSeal | 3.50\nBolt, long | 0.20",
        "a | b\nc | d",
    ]
    assert [table.caption for table in tables] == ["Pump models", "", ""]
    long = "".join(f"|HM-{n} |{'a pump ' * 20} |{n}\n" for n in range(200))
    blocks = [b for b in parsed(ASCIIDOC, f"|===\n|Model |What |Flow\n\n{long}|===\n").blocks if b.kind == "table"]
    assert len(blocks) > 1
    assert {block.header for block in blocks[1:]} == {"Model | What | Flow"}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("|===\n|===\n\nend\n", [("paragraph", "end")]),
        ("|===\ninclude::rows.adoc[]\n|===\nend\n", [("paragraph", "end")]),
        ("|===\none {a}\n\ntwo\n:a: b\n", [("paragraph", "one b"), ("paragraph", "two :a: b")]),
        ("|===\nfirst |b\n|c\n|===\n", [("paragraph", "first"), ("table", "b\nc")]),
        ("|===\nabove\n\n|a |b\n|1 |2\n|===\n", [("paragraph", "above"), ("table", "a | b\n1 | 2")]),
        (',===\nPart,Note\nSeal,"open\nBolt,0.2\n,===\n', [("table", 'Part | Note\nSeal | "open\nBolt | 0.2')]),
    ],
)
def test_tables_of_asciidoc_that_are_damaged_lose_no_text(page, expected):
    result = parsed(ASCIIDOC, page)
    assert result.kinds() == expected
    assert bool(result.notices) == ("include::" in page)


def test_a_mark_that_is_never_closed_in_a_long_table_of_asciidoc_costs_nothing():
    result = parsed(ASCIIDOC, f',===\nPart,"{"long " * 500_000}\nSeal,3.50\n,===\n')
    assert result.text.count("long") == 500_000
    assert "Seal | 3.50" in result.text


@pytest.mark.parametrize("bar", ["99.99*|", "99.99+|", "99*|"])
def test_copies_in_tables_of_asciidoc_are_no_more_than_a_table_has(bar):
    text = parsed(ASCIIDOC, "|===\n" + f"{bar}5\n" * 4000 + "|===\n").text
    assert 4000 <= text.count("5") < 1_000_000


@pytest.mark.parametrize("kind", ["ifdef", "ifndef"])
def test_lines_of_asciidoc_that_stand_under_a_condition_are_shown_in_code_and_tables_too(kind):
    page = (
        f"{kind}::a[In text.]\n\n----\none\n{kind}::a[two [2\\]]\nifeval::[{{a}} == 1]\nthree\nendif::[]\n"
        f"{kind}::a[ifdef::b[ifndef::c[four]]] \n{kind}::a[ifdef::b[]]\n----\n\n"
        f"|===\n|a |b\n{kind}::a[|c |d]\n{kind}::a[{kind}::b[include::e.adoc[]]]\n|===\n"
    )
    result = parsed(ASCIIDOC, page)
    assert result.kinds() == [
        ("paragraph", "In text."),
        ("code", "one\ntwo [2\\]\nthree\nfour"),
        ("table", "a | b\nc | d"),
    ]
    assert result.notices == ["It includes other files (e.adoc), which are not part of its text here."]


@pytest.mark.timeout(10)
def test_conditions_of_asciidoc_within_one_another_on_one_line_cost_no_more_than_others():
    assert parsed(ASCIIDOC, "ifdef::a[" * 200_000 + "In [text]." + "] " * 200_000 + "\n").text == "In [text].\n\n"
    assert parsed(ASCIIDOC, "ifdef::a[ifndef::b[]]\n\nOn.\n").text == "On.\n\n"


def test_lines_of_asciidoc_that_begin_with_a_bracket_are_text_unless_they_say_how_a_block_looks():
    page = (
        "[1] Knuth, The Art [vol. 1]\n\n[2024-05-01]\n\n[ ] open\n[x] done [late]\n\n[.lead]\nA\n\n[#id%opt]\nB\n\n"
        "[]\n[\"quote\", 'Kim']\nC\n\n[{style}]\n[[id]]\n[horizontal,labelwidth=10]\nD\n"
    )
    text = "[1] Knuth, The Art [vol. 1]|[2024-05-01]|[ ] open\n[x] done [late]|A|B|Kim: C|D"
    assert parsed(ASCIIDOC, page).kinds() == [("paragraph", each) for each in text.split("|")]


def test_quotations_of_asciidoc_say_whose_they_are():
    page = (
        ":who: Kim\n\n[quote#id.big,{who},'Water, 2nd ed.',role=x]\n____\nIt runs.\n\nDown.\n____\n\nNo.\n\n"
        "[verse, Ann]\nIt runs\n\n[quote]\nIt.\n\n[quote,role=x]\nRuns.\n"
    )
    texts = ["Kim, Water, 2nd ed.: It runs.", "Down.", "No.", "Ann: It runs", "It.", "Runs."]
    assert parsed(ASCIIDOC, page).kinds() == [("paragraph", text) for text in texts]


def test_links_of_asciidoc_without_a_label_are_their_address_and_sizes_are_no_captions():
    page = (
        "See link:https://example.org/a[], mailto:kim@example.org[Kim] and https://b.org[].\n\n"
        "image::a.png[width=20]\n\nvideo::b[]\n"
    )
    assert parsed(ASCIIDOC, page).kinds() == [("paragraph", "See https://example.org/a, Kim and https://b.org.")]


def test_asciidoc_of_before_has_underlined_titles_and_borders_are_none():
    page = "The Pump\n========\n\nText.\n\nParts\n-----\n\n====\nNote\n====\n\n----\ncode\n----\n\nend\n"
    assert parsed(ASCIIDOC, page).kinds() == [
        ("heading", "The Pump"),
        ("paragraph", "Text."),
        ("heading", "Parts"),
        ("paragraph", "Note"),
        ("code", "code"),
        ("paragraph", "end"),
    ]


PIER = """\
<!-- hidden -->{{Short description|A pier}}
{{Infobox bridge
| name = Old Pier
| length = {{convert|120|m|ft}}
| crosses = [[Inn (river)|Inn]]
| image =
}}
[[File:Pier.jpg|thumb|200px|The pier in '''winter''' with [[ice]].]]
The '''Old Pier''' is a [[pier]] on the [[Inn (river)|Inn]].<ref name="low">{{cite book
|last=Low |title=Piers of the Inn |year=1990 |url=http://x.org}}</ref> It was ''mended'' twice.<ref>So the
plaque.</ref><ref name="low" />

== History ==
{{main|History of the pier}}
It cost 5 &euro; per pile. See [https://example.org/x the site] and [http://bare.org].
* Built in 1880
** by [[Kim]]
# first
: indented

=== Code ===
<syntaxhighlight lang="python">
def f():
    return [[1]] # {{x}}

</syntaxhighlight>
Use <code>x = 1</code> or <nowiki>[[raw]]</nowiki>.

 preformatted
   text

{| class="wikitable" style="x"
|+ Depths
|-
! Year !! Depth
! scope="col" | Who
|-
| 1990 || 4 m || rowspan="2" | [[Low|Mr Low]]
|-
| 1991 || 5 m
|-
| colspan="2" | unknown
|
* nobody
|}

After the table.
== References ==
<references/>
[[Category:Piers]]
[[de:Pier]]
__NOTOC__
"""


def test_mediawiki_is_text_with_its_structure():
    result = parsed(MEDIAWIKI, PIER)
    assert result.kinds() == [
        ("paragraph", "A pier"),
        ("paragraph", "name: Old Pier\nlength: 120 m\ncrosses: Inn"),
        ("paragraph", "The pier in winter with ice."),
        ("paragraph", "The Old Pier is a pier on the Inn.[1] It was mended twice.[2][1]"),
        ("paragraph", "[1] Low, Piers of the Inn, 1990"),
        ("paragraph", "[2] So the plaque."),
        ("heading", "History"),
        ("paragraph", "main: History of the pier\nIt cost 5 € per pile. See the site and http://bare.org."),
        ("list", "* Built in 1880\n** by Kim\n# first\n: indented"),
        ("heading", "Code"),
        ("code", "def f():\n    return [[1]] # {{x}}"),
        ("paragraph", "Use x = 1 or [[raw]]."),
        ("code", "preformatted\n   text"),
        ("caption", "Depths"),
        ("table", "Year | Depth | Who\n1990 | 4 m | Mr Low\n1991 | 5 m | Mr Low\nunknown | unknown | * nobody"),
        ("paragraph", "After the table."),
        ("heading", "References"),
    ]
    assert [block.level for block in result.blocks if block.kind == "heading"] == [2, 3, 2]
    assert [block.caption for block in result.blocks if block.kind == "table"] == ["Depths"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{quote|1=To be|2=Kim}} end", "To be Kim end"),
        ("{{quote|2=Kim|1=To be}}", "To be Kim"),
        ("{{quote|text=To be|author=Kim|class=x|date=May 2020}}", "To be (author: Kim)"),
        ("It {{Infobox river|name=Inn|length=517 km|bg_color=red|wrap=yes}}", "It name: Inn; length: 517 km"),
        ("{{cite book|Piers of the Inn|last=Low}}", "Piers of the Inn, Low"),
        ("{{convert|10|to|20|km|mi|abbr=on}}", "10 to 20 km"),
        ("{{main|1=Pier|2=Inn}}", "main: Pier, Inn"),
        ("[[File:a.jpg|thumb|The pier|alt=A pier]]", "The pier"),
        ("See [[War: a history]] and [[RFC:2119]].", "See War: a history and RFC:2119."),
        ("ping <host name> <b>now</b><br />a<td>b</td> 1 <2> 3", "ping <host name> now a b  1 <2> 3"),
        ("a <p-value> of the <i-th> <s-expr> <br-x><b\n>c</b><hr/>", "a <p-value> of the <i-th> <s-expr> <br-x>c"),
        ("{{#if:{{{a|}}}|then [[b|c]]|else}} end", "then c else end"),
        ("{{#ifeq:a|b|then|else}} {{#ifexist:Inn|{{main|Inn}}}} {{#ifexpr:1 > 0|x = 1}}", "then else main: Inn x = 1"),
        ("{{#iferror:{{#expr:1/0}}|wrong|right}}", "wrong right"),
        ("{{#switch:{{{a}}}|b|c=first|d=second|#default=third}}", "first second third"),
        ("{{#switch:a|b=first|c|other}} {{#switch:a|b=|b=}}", "first other"),
        ("{{#if:a|\n* one\n* two\n|{{x|three}}\n}}", "* one\n* two\n\nthree"),
        ("a {{#if:b|* one\n* two}} c", "a\n\n* one\n* two\n\n c"),
        ("{{#tag:div|in it|class=x}} {{#invoke:a|b}}{{#expr:1 + 1}}", "in it"),
        ("a {{{1|b}}} {{{x}}}c {{{1|[[d|e]]|f}}} {{{y|}}}.", "a b c e ."),
        ("{{#if:{{{a|b}}}|{{{c|d}}}}} {{quote|{{{e|f}}}}} {{{g|{{{h|i}}}}}}", "d f i"),
        ("{{{{{a|quote}}}|b}} {{{{quote}}|c}} {{{{d|e}}}} {a {b}} {{{f", "b c {e} {a {b}} {{{f"),
        ("{{{a|\n* b\n* c\n}}}", "* b\n* c"),
        ("icon \ue0005\ue001 &#xe000;0&#xe001; \ufdd07\ufdd1", "icon \ue0005\ue001 \ue0000\ue001 7"),
        ("a<nowiki>\ue000</nowiki>&#xfdd0;0&#xfdd1;", "a\ue0000"),
        ("{|\n| a\n|} b [[c]]\n|} d", "a\n\nb c\n|} d"),
        ("{|\n| a\n{|\n| b\n|} c\n| d\n|}\ne", "a | b c | d\n\ne"),
        ("{|\nabove\n|+ Depths\n|-\nbetween\n| a || b\nc\n| d\n|}", "above\nbetween\n\nDepths\n\na | b c | d"),
    ],
)
def test_what_a_reader_of_a_wiki_sees_is_kept(template, text):
    assert parsed(MEDIAWIKI, template).text.strip() == text


def test_spans_of_a_wiki_that_claim_more_than_there_is_are_no_spans_in_the_end():
    rows = "|-\n| rowspan=9999 colspan=99 | 5\n| 7\n" * 4000
    text = parsed(MEDIAWIKI, f"{{|\n{rows}|}}").text
    assert text.count("7") >= 4000
    assert 4000 <= text.count("5") < 1_000_000


def test_notes_of_a_wiki_with_one_name_in_two_groups_are_two():
    page = 'a<ref name=x group=g>One.</ref> b<ref name="x">Two.</ref> c<ref group="g" name=\'x\'/> d<ref name=x />'
    assert parsed(MEDIAWIKI, page).text == "a[1] b[2] c[1] d[2]\n\n[1] One.\n\n[2] Two.\n\n"


def test_pages_of_a_wiki_that_was_exported_are_text():
    page = (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><page><title>Pier</title><revision>'
        "<text xml:space='preserve'>It is '''old'''.&lt;ref&gt;So they say.&lt;/ref&gt;\n== Depth ==\nSee [[Inn|it]]."
        "</text></revision></page></mediawiki>"
    )
    assert parsed(XML, page).kinds() == [
        ("heading", "Pier"),
        ("paragraph", "It is old.[1]"),
        ("paragraph", "[1] So they say."),
        ("heading", "Depth"),
        ("paragraph", "See it."),
    ]


def test_textile_structure_is_found():
    page = """\
h1. The Pier

h2(#history){color:red}. History[2]

The *old* pier is "a pier":https://example.org/p on the Inn[1]. Use @make all@ and {{toc}}.
!>/images/pier.png(The pier in winter)!

* Built in 1880
** by Kim
# first

|_. Year |_. Depth |_. Who |
| 1990 | 4 m |/2. Mr Low |
| 1991 | 5 m |
|\\2. unknown | nobody |

bc.. def f():
    return 1

def g():
    return 2

p. After the code.

bq. Water finds its way.

<pre><code class="ruby">
puts "hi"

puts "ho"
</code></pre>

###. a comment

fn1. Measured in May.

fn2. See the plaque.
"""
    result = parsed(TEXTILE, page)
    assert result.kinds() == [
        ("heading", "The Pier"),
        ("heading", "History[2]"),
        ("paragraph", "[2] See the plaque."),
        ("paragraph", "The *old* pier is a pier on the Inn[1]. Use make all and .\nThe pier in winter"),
        ("paragraph", "[1] Measured in May."),
        ("list", "* Built in 1880\n** by Kim\n# first"),
        ("table", "Year | Depth | Who\n1990 | 4 m | Mr Low\n1991 | 5 m | Mr Low\nunknown | unknown | nobody"),
        ("code", "def f():\n    return 1"),
        ("code", "def g():\n    return 2"),
        ("paragraph", "After the code."),
        ("paragraph", "Water finds its way."),
        ("code", 'puts "hi"\n\nputs "ho"'),
    ]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<pre>a</pre> rest\nh1. no\n", [("code", "a"), ("paragraph", "rest\nh1. no")]),
        ("<PRE>a\n\nb</PRE>\nh1. Pier\n", [("code", "a\n\nb"), ("heading", "Pier")]),
        ("<notextile>\n*a* <b>b</b>\n\nc\n</notextile>below\n", [("paragraph", "*a* b\n\nc"), ("paragraph", "below")]),
        ("Use @<host>@ and <code>a < b</code> <b>now</b>.\n", [("paragraph", "Use <host> and a < b now.")]),
        (
            'Use @{{x}}@, @!a.png!@, @%{b}c%@ and <code>"a":b</code>.\n',
            [("paragraph", 'Use {{x}}, !a.png!, %{b}c% and "a":b.')],
        ),
        ('"See @<a>@":http://b.org and !c.png(@d@)!\n', [("paragraph", "See <a> and d")]),
        ("|@a@|\ufdd00\ufdd1|\n", [("table", "a | 0")]),
        ("clear. Water.\n", [("paragraph", "Water.")]),
        ("Known pumps. |a|b|\n", [("paragraph", "Known pumps. |a|b|")]),
        ("{color:red}. |a|b|\n|c|d|\n", [("table", "a | b\nc | d")]),
    ],
)
def test_textile_loses_no_text(page, expected):
    assert parsed(TEXTILE, page).kinds() == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("{{toc}} {{>toc}} a {{include(Other page)}} {{thumbnail(a.png, size=30)}}b\n", [("paragraph", "a  b")]),
        (
            "a {{ user }} {{collapse(More) within the line}} {{b c}}\n",
            [("paragraph", "a {{ user }} More within the line {{b c}}")],
        ),
        (
            "Above.\n{{collapse(Details (all), Hide)\nh2. Depth\n\n* four\n* five\n}}\nBelow.\n",
            [
                ("paragraph", "Above."),
                ("paragraph", "Details (all), Hide"),
                ("heading", "Depth"),
                ("list", "* four\n* five"),
                ("paragraph", "Below."),
            ],
        ),
        ("{{collapse\nIn it.\n\n}}\n}}\n", [("paragraph", "In it.")]),
        ("{{note(1)\nIn it.", [("paragraph", "In it.")]),
        ("<pre>\n{{collapse(a)\nb\n}}\n</pre>\n", [("code", "{{collapse(a)\nb\n}}")]),
    ],
)
def test_macros_of_textile_are_what_stands_in_them(page, expected):
    assert parsed(TEXTILE, page).kinds() == expected


def test_pages_that_textile_includes_are_told():
    page = (
        "See {{include(Pumps)}} and @{{include(no)}}@.\n\n{{collapse(More)\n|a|{{include(docs:Lake shore)}}|\n}}\n\n"
        "<pre>{{include(no)}}</pre>\n\nbc. {{include(no)}}\n\n<notextile>{{include(no)}}</notextile>\n"
    )
    result = parsed(TEXTILE, page)
    assert result.notices == ["It includes other files (Pumps, docs:Lake shore), which are not part of its text here."]


MAN = r'''
.\" A comment.
.de Vb
.ft CW
..
.TH PUMP 1 "06 May 2024"
.SH NAME
pump \- moves \(lqwater\(rq
.SH SYNOPSIS
.B pump
[\fB\-v\fR] [\fB\-o\fR \fIfile\fR]
.SS "Some options"
.TP
.BR \-v ", " \-\-verbose
Say \f[B]more\f[R].
.TP 4
.B \-o \fIfile\fR

Write it.
.IP \(bu 2
a point
.ie n .IP """key"" (string)" 4
.el .IP "``key'' (string)" 4
The key.
.PP
\-\-raw
.RS 4
As it \s-1IS\s0.
.RE
.nf
pump \-v
  .5 \e
.fi
.so man1/more.1
.SH SEE ALSO
.BR lake (5)
'''


def test_manual_pages_are_sections_and_options_with_what_they_do():
    assert detect(Path("pump.1"), scan_file(io.BytesIO(MAN.encode()))).media_type == MANUAL_PAGE
    result = parsed(MANUAL_PAGE, MAN)
    assert result.titles == ["pump(1)"]
    assert result.kinds() == [
        ("heading", "NAME"),
        ("paragraph", "pump - moves “water”"),
        ("heading", "SYNOPSIS"),
        ("paragraph", "pump [-v] [-o file]"),
        ("heading", "Some options"),
        ("list", "-v, --verbose: Say more."),
        ("list", "-o file: Write it."),
        ("list", "• a point"),
        ("list", '"key" (string): The key.'),
        ("list", "--raw: As it IS."),
        ("code", "pump -v\n  .5 \\"),
        ("heading", "SEE ALSO"),
        ("paragraph", "lake(5)"),
    ]
    assert [block.level for block in result.blocks if block.kind == "heading"] == [1, 1, 2, 1]
    assert result.notices == ["It includes other files (man1/more.1), which are not part of its text here."]


def test_manual_pages_of_bsd_are_read_too():
    page = (
        ".Dd May 6, 2024\n.Dt PUMP 8\n.Os\n.Sh NAME\n.Nm pump\n.Nd moves water\n.Sh SYNOPSIS\n.Nm\n.Op Fl v\n"
        ".Op Fl o Ar file\n.Sh DESCRIPTION\nThe\n.Nm\nmoves it, see\n.Xr lake 5 .\n.Bl -tag\n.It Fl v\nSay more.\n.El\n"
    )
    result = parsed(MANUAL_PAGE, page)
    assert result.titles == ["pump(8)"]
    assert result.kinds()[1:] == [
        ("paragraph", "pump moves water"),
        ("heading", "SYNOPSIS"),
        ("paragraph", "pump [-v] [-o file]"),
        ("heading", "DESCRIPTION"),
        ("paragraph", "The pump moves it, see lake(5)."),
        ("list", "-v: Say more."),
    ]


def test_tables_of_manual_pages_have_cells_of_many_lines_and_any_sign_between_them():
    page = (
        ".TH A 1\n.SH B\n.TS\nallbox tab(;);\nlb lb\nl l.\nName;What it does\n_\nopen;T{\nOpens it,\n.BR close (2)\n"
        "apart.\nT};x\nT{\nshut\nT};T{\nShuts.\nT}\n.T&\nc s.\nAlone\n.TE\n.PP\nAfter.\n"
    )
    assert parsed(MANUAL_PAGE, page).kinds()[1:] == [
        ("table", "Name | What it does\nopen | Opens it, close(2) apart. | x\nshut | Shuts.\nAlone"),
        ("paragraph", "After."),
    ]
    assert parsed(MANUAL_PAGE, ".TS\nl.\na\tT{\nnever closed").text.strip() == "a | never closed"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (r"a\[u0000]b \[u1F600] \[uD800] \[u0065_0301]", "ab 😀 \ufffd é"),
        (r"\(sl\(at \('e\(*a \(Eu\[char233] \N'233' \s0x", "/@ éα €é é x"),
        (r".BR \-n\ \fIname\fR ,", "-n name,"),
        (".ds xL Lake \\(em\n.ds xL other\nThe \\*(xL here", "The Lake — here"),
        (".Vb 1\n\\&  a b\n.in +4n\n.B c\n.Ve", "  a b\nc"),
        (".de1 URL\n.  ad l\n.  .\n.am XX YY\nno\n..\n.YY\n.URL http://a.b c", "http://a.b c"),
        (".ie \\n(.g .ds - x\n.el .ds - y\na\\*-b", "axb"),
        (".Op Fl v\n.OP \\-x file\n.Dl pump Ar file", "[-v] [-x file]\n\npump file"),
        (".Bd\n.It Fl a Ar file\nx\n.Ed", "-a file\nx"),
        (".nf\n.IP \\-a 4\nx\n.in +4n\n.SS", "-a\nx"),
        ('.nf\na\n.\\" b\n\'\\" c\n.\\# d\n.5 e\n.fi', "a\n.5 e"),
        (".TS\nl l.\na\tb\n.\\\" c\n'\\\" d\n'a'\t.5\n.TE", "a | b\n'a' | .5"),
        (".ig >>\nno\n..\n.>>\na\n.de XX ENDIT\nno\n.ENDIT\nb", "a b"),
    ],
)
def test_what_manual_pages_write_in_other_ways_is_shown(page, said):
    assert parsed(MANUAL_PAGE, page).text.strip("\n") == said


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('.de Quoted\n.B \\\\$1\n(\\\\$2)\n..\n.Quoted "a b" c', "a b (c)"),
        (".de bP\n.ie n  .IP \\(bu 4\n.el    .IP \\(bu 2\n..\n.bP\na point", "• a point"),
        (".de NS\n.nf\n..\n.de NE\n.fi\n..\n.NS\na\n  b\n.NE\nc", "a\n  b\n\nc"),
        (".de Vb\n\\fB\\\\$1\\fP \\\\$2\n..\n.Vb a b", "a b"),
        ('.de X\n.ie \\\\n(.$-1 \\\n.  RI "\\\\$1" ( \\\\$2 )\n.el \\\n.  RI <\\\\$*>\n..\n.X a b\n.X c', "a(b) <c>"),
        ('.de X\n.ie !"\\\\$2"" a\n.el b\n..\n.X 1 2\n.X 1', "a b"),
        (".de X\na\n.am X\nb\n..\n.X", "a b"),
        (".de X\na\n..\n.am X\nb\n..\n.X", "a b"),
        (".if t no\n.if n yes\n.ie t \\{\\\nno\n.if n \\{ no\n.\\}\n.\\}\n.el \\{\\\nto\n.\\}\nit", "yes to it"),
        (".nr x 1\n.nr x +1\n.if \\nx=2 a\n.if \\nx<2 b\n.if !\\ny c\n.if !rx d\n.if dX e", "a c"),
        (".ie \\n(.l>99 a\n.el b", "a b"),
        (".ds : \\k:\\z.\\h'|\\n:u'\n.if \\n(.H>23 .if \\n(.V>19 \\\n\\{\\\n.ds : e\n.\\}\nra\\*:k\\kx", "raek"),
        (".if t \\{\nno\n.SH a\nb", "a\n\nb"),
        ("in\\\nside \\\\\nit", "inside \\ it"),
        (".tr %.#\\(em\na%b #", "a.b —"),
        ('.PS\nbox "no"\n.PE\na', "a"),
        (".TP\n.B a\n.TQ\n.B b\nc", "a, b: c"),
        (".de X\na\n.B b\nc", "a b c"),
        (".de X ZZ\na\n..\n.SH b\n.de Y\nno\n..\nc\n.Y", "a\n\nb\n\nc no"),
        (".ig\na\n.SH b\nc", "a\n\nb\n\nc"),
        (".cc !\n!B a\n.B b\n!de X\n!I \\\\$1\n!.\n!X c\n!cc\n.B d\n!e", "a .B b c d !e"),
        (".c2 !\n!B a\n'B b\n.B c\n.c2\n'B d", "a 'B b c d"),
        (".cc !\n!if t \\{\n.B no\n!\\}\n!nf\n.B a\n!fi", ".B a"),
        (
            ".de X\n.while \\\\n(.$ \\{\\\n.B <\\\\$1>\n.shift\n.\\}\n(\\\\n(.$)\n..\n.X a b c\n.X",
            "<a> <b> <c> (0) (0)",
        ),
        (".de X\n.while \\\\n[.$]>1 .Y \\\\$*\n..\n.de Y\n..\n.X a", ""),
        (".de X\n.shift 2\n\\\\$1 \\\\$*\n..\n.X a b c d\ne\n.shift", "c c d e"),
        (".de X\n.shift " + "9" * 5000 + "\na\\\\$1\n..\n.X b", "a"),
        (".nr i 0 1\n.while \\n+i<4 \\{\na\n.nr j +1\n.\\}\n.if \\nj=3 b", "a a a b"),
        (".nr i 3\n.while \\ni \\{ a\\ni\n.nr i \\ni-1\n.if \\ni=1 .break\n.\\}\nb", "a a b"),
        (".while \\n(xx>0 no\na\n.while \\n(.l b\n.break\nc", "a b c"),
        ("a\\h'+03'b\\h'2n'c\\h'-04'd\\h'0'e\\h'|1i'f", "a b cdef"),
    ],
)
def test_manual_pages_may_define_macros_of_their_own(page, said):
    assert parsed(MANUAL_PAGE, page).text.strip("\n") == said


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            ".Nm cat ,\n.Fl a b , c\n.Op Fl o Ns Ar x ;\n.Nm\n.Fl Fl all\n.Ar",
            "cat, -a -b, -c [-ox]; cat --all file ...",
        ),
        ('.Fn f "int a" "char *b" ,\n.Fn g .\n.Fn ( h )\n.Xr lake 5 ,', "f(int a, char *b), g(). (h()) lake(5),"),
        ('.Fo f\n.Fa "int a"\n.Fa "int b"\n.Fc ;', "f(int a, int b);"),
        (".Dq a Pq b ,\n.Sq c\n.Aq d\n.Do e Dc f\n.Po g , h Pc", "“a (b)”, ‘c’ <d> “e” f (g, h)"),
        (".Ox 7\n.An -nosplit\n.An Ann Aq Mt a@b.c\n.Pf ( Ar x )\n.Ic let Ap s", "OpenBSD 7 Ann <a@b.c> (x) let's"),
        (".Bl -tag\n.It Xo\n.Fl a\n.Ar b\n.Xc\nc\n.It Fl d Xo\n.Op e Xc\nf\n.El", "-a b: c\n\n-d [e]: f"),
        (".Bl -enum\n.It\na\n.Bl -bullet\n.It\nb\n.El\n.It\nc\n.El\n.It d", "1. a\n\n• b\n\n2. c\n\nd"),
        (".Bl -column\n.It a Ta b\n.El", "a | b"),
        (".Rs\n.%A A. Low\n.%T Piers\n.Re", "A. Low, Piers,"),
        (".Bd -filled\na\nb\n.Ed\nc", "a b\n\nc"),
        (".Sh SYNOPSIS\n.In a.h\n.Ft int\n.Fn f a", "SYNOPSIS\n\n#include <a.h>\n\nint f(a)"),
        (".Dq \\*[Lt]\\*(Ba", "“<|”"),
        (".Oo\n.Fl a\n.Oc Ns\n.Ar b\n.Ns c\nd\\c\ne", "[-a]bc de"),
        (".UR http://a.b\n.UE\nc\\c\n.br\nd", "http://a.b c d"),
        (".TP\na\n" + ".TQ\na\n" * 400, "a" + ", a" * 333 + ": a" + " a" * 66),
        (".SS " + "ab " * 100, "ab " * 99 + "ab"),
        (".UR http://a.b\nsee\n.UE .", "http://a.b see."),
        (".IP 1. 4\na\n.nf\n.tr %.\n%b\n.fi", "1. a\n\n.b"),
        (".Dq \\&Do not\n.Sq \\&So\n.Em \\&At\n.Li \\&No x", "“Do not” ‘So’ At No x"),
        (".Em a \\&.\n.Em b \\.\n.Ql \\&;\n.Nm \\-c\n.Nm", "a . b. ‘;’ -c -c"),
        (".Bl -tag\n.It \\&Op \\&Xo\na\n.El\n.Fo \\&Fn\n.Fa \\-a\n.Fc \\.", "Op Xo: a\n\nFn(-a)."),
        ('.Em "No" change\n.Dq "Fl" , "Op" Fl "At" .\n.Em "No"', "No change “Fl, Op -At”. No"),
        ('.Bl -tag\n.It "Xo" Fl a\nb\n.El\n.Bd -literal\n.Em "Oo"\n.Ed\n.Em "Oo"\nc', "Xo -a: b\n\nOo\n\nOo c"),
        ("a\n.Sm off\n.Ar b , c Fl d\n.Op Fl e Ar f\ng h\n.Sm on\n.Ar i j\nk", "a b,c-d[-ef]g h i j k"),
        (".Sm off\n.Ar b c\n.Sm\n.Ar d e\n.Sm\n.Ar f g", "bc d e fg"),
    ],
)
def test_lines_of_mdoc_are_read_with_the_macros_within_them(page, said):
    assert parsed(MANUAL_PAGE, page).text.strip("\n") == said


def test_points_and_numbers_of_lists_in_manual_pages_may_be_moved_into_the_margin():
    point = ".sp\n.RS 4\n.ie n \\{\\\n\\h'-04'{0}\\c\n.\\}\n.el \\{\\\n.sp -1\n.IP {1} 2.3\n.\\}\n{2}\n.RE\n"
    points = [("\\(bu\\h'+03'", "\\(bu", "Adds\nall"), (" 1.\\h'+01'", '" 1."', "If"), ("12.\\h'+01'", "12.", "Then")]
    page = "Above\n" + "".join(point.replace("{0}", a).replace("{1}", b).replace("{2}", c) for a, b, c in points)
    assert parsed(MANUAL_PAGE, page).kinds() == [
        ("paragraph", "Above"),
        ("list", "• Adds all"),
        ("list", "1. If"),
        ("list", "12. Then"),
    ]


def test_sentences_that_mdoc_has_for_exit_codes_are_written_out():
    text = parsed(MANUAL_PAGE, ".Nm a\n.Ex -std\n.Rv -std f g").text
    assert "The a utility exits 0 on success, and >0 if an error occurs." in text
    assert "The f(), g() functions return the value 0 if successful; otherwise the value -1 is returned" in text


@pytest.mark.parametrize(
    "loop", [".while 1 \\{\na\n.\\}\n", ".while 1 \\{\n", ".while 1 .while 1 a\n", ".de X\na\n" * 9_000]
)
def test_loops_and_definitions_without_an_end_come_to_one(loop):
    assert len(parsed(MANUAL_PAGE, f"{loop}.SH b\n").text) < 400_000


def test_macros_that_call_themselves_come_to_an_end():
    assert len(parsed(MANUAL_PAGE, ".de X\na \\\\$1\n.X \\\\$1 \\\\$1\n.X\n..\n.X b\n").text) < 1_000_000


@pytest.mark.parametrize(
    ("above", "line", "begins"),
    [
        (f".ds x {'long ' * 16}", "\\*x", "long long "),
        (f'.Nm "{"long " * 16}"', ".Nm", "long long "),
        (".Nm a", ".Ex -std", "a The a utility exits 0 on"),
    ],
)
def test_what_manual_pages_name_stands_for_no_more_text_than_the_page_has(above, line, begins):
    page = f"{above}\n" + f"{line}\n" * 100_000
    text = parsed(MANUAL_PAGE, page).text
    assert text.startswith(begins)
    assert len(text) < 3.5 * len(page)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("media_type", [ASCIIDOC, MANUAL_PAGE, MEDIAWIKI, TEXTILE])
@pytest.mark.parametrize(
    "page",
    [
        "= " + "a " * 100_000,
        "== a" + " " * 100_000 + "b",
        "{{" * 50_000 + "[[" * 50_000,
        "<ref>" * 40_000,
        "<pre>" * 40_000,
        "[" * 100_000,
        "|===\n" + "|a " * 50_000,
        "{|\n" * 20_000 + "| a || b\n" * 20_000,
        ":a: {b}{b}{b}\n:b: {a}{a}{a}\n" * 5_000 + "{a}" * 20_000,
        "((" * 50_000,
        '"' * 100_000,
        "!" * 100_000,
        "|" + "\\2" * 50_000 + "|",
        "." * 100_000 + " a",
        "link:" * 40_000,
        "h1" + "(" * 100_000 + ". a",
        "''" * 100_000,
        "&lt;" * 50_000,
        ".TH a 1\n.SH a\n" + "\\f[" * 50_000,
        ".SH a\n" + ".B " + '"' * 100_000,
        ".nf\n" * 50_000,
        ".a" + " " * 200_000 + "b",
        "image::a[" + "a" * 200_000 + "=b]",
        "image:a[" * 100_000,
        "{{a|" + " " * 100_000 + "}}",
        "{{a|b" * 200_000 + "}}" * 200_000,
        "{{{a|b" * 200_000 + "}}}" * 200_000,
        "{" * 300_000 + "a|b" + "}" * 300_000,
        "<ref>a</ref>" * 200_000,
    ],
)
def test_what_is_never_closed_costs_no_time(media_type, page):
    parsed(media_type, page)
