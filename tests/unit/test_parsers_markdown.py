import io
from collections import UserList

import pytest
from markdown_it import MarkdownIt

from indexer.parsers.blocks import Block, BlockKind, Title
from indexer.parsers.markdown.furniture import is_contents
from indexer.parsers.markdown.parser import parse_markdown

DOCUMENT = """\
# The *title* with `code`

A paragraph
over two lines.

Setext heading
--------------

- item one

  with a second paragraph
- item two

| a | b |
|---|---|
| 1 | 2 |

```python
# not a heading

x = 1
```

> A quotation.

1. first
2. second

[link]: http://example.com
"""


def parse(text: str):
    return list(parse_markdown(io.BytesIO(text.encode()), "utf-8"))


def test_structure_is_found_and_text_is_verbatim():
    blocks = parse(DOCUMENT)
    assert "".join(block.text for block in blocks) == DOCUMENT
    assert [block.kind.value for block in blocks] == [
        "heading", "paragraph", "heading", "list", "table", "code", "paragraph", "list",
    ]  # fmt: skip
    assert [(b.level, b.heading) for b in blocks if b.kind is BlockKind.HEADING] == [
        (1, "The title with code"),
        (2, "Setext heading"),
    ]


def test_a_heading_in_html_is_one_if_it_is_all_that_a_block_says():
    titled = '<div align="center">\n<h1>\n  <img src="logo.svg">\n  Nuts &amp; <em>bolts</em>\n</h1>\n</div>\n'
    text = f"{titled}\n<h2>Use</h2>\n\nRun it.\n\n<h2>Note</h2>\nof something else\n"
    blocks = parse(text)
    assert "".join(block.text for block in blocks) == text
    assert [(b.level, b.heading) for b in blocks if b.kind is BlockKind.HEADING] == [(1, "Nuts & bolts"), (2, "Use")]


def test_a_table_in_html_is_one():
    rows = "".join(f"<tr><td>lake {n}</td><td>{n} m &amp; more</td></tr>" for n in range(40))
    rest = "More.\n\n<table>\n\n<tr><td>a</td></tr>\n"
    text = f"Depths.\n\n<table><tr><th>name</th><th>depth</th></tr>{rows}</table>\n\n{rest}"
    before, table, *after = parse(text)
    assert (before.text, table.kind) == ("Depths.\n\n", BlockKind.TABLE)
    assert table.text.startswith("name | depth\nlake 0 | 0 m & more\nlake 1 | 1 m & more\n")
    assert "".join(block.text for block in after) == rest
    deep = f"{'<table><tr><td>' * 5000}x{'</td></tr></table>' * 5000}\n"
    assert "".join(block.text for block in parse(deep)) == deep


def test_a_table_in_html_begins_no_section():
    table = "<table><tr><td><h1>Small</h1><p>a</p></td><td><h3>Big</h3><p>b</p></td></tr></table>"
    blocks = [item for item in parse(f"# Title\n\n## Usage\n\n{table}\n\nParagraph\n") if isinstance(item, Block)]
    assert [(b.level, b.heading) for b in blocks if b.level or b.heading] == [(1, "Title"), (2, "Usage")]
    assert [word for word in ("Small", "Big", "Paragraph") if word not in "".join(b.text for b in blocks)] == []
    (title,) = parse("<table><tr><td><h1>Small</h1></td></tr></table>\n")
    assert (title.level, title.heading) == (1, "Small")


@pytest.mark.parametrize(
    "lost",
    [
        "<nav>words</nav>",
        "<footer>words</footer>",
        "<p hidden>words</p>",
        "<button>words</button>",
        "<select><option>words</option></select>",
        "<textarea>words</textarea>",
        '<div role="search">words</div>',
        '<ul class="menu"><li>words</li></ul>',
    ],
)
def test_a_table_in_html_is_as_it_was_where_words_would_be_lost(lost):
    text = f"<table>\n<tr><td>It is <b>lo</b>ng &amp; more of it</td><td>{lost}</td></tr>\n</table>\n"
    assert [(block.kind, block.text) for block in parse(text)] == [(BlockKind.PARAGRAPH, text)]
    kept = parse(text.replace(lost, "<!-- <b>no</b> --><i title='a > b'></i> 10<sup>2</sup>"))
    assert "".join(block.text for block in kept).split() == "It is long & more of it 10^2".split()


@pytest.mark.parametrize("lost", ["<nav>a</nav>", "<button>5</button>", '<i class="c" hidden>b</i>', "<OPTION>1"])
def test_no_words_of_a_table_in_html_are_lost_where_its_cells_are_repeated(lost):
    rows = "<tr><td rowspan=2>a b</td><td>c</td></tr><tr><td>d</td></tr>"
    text = f"<table><tr><th>e</th><th>f{lost}</th></tr>{rows}</table>\n"
    assert [block.text for block in parse(text)] == [text]
    assert [block.kind for block in parse(text.replace(lost, ""))] == [BlockKind.TABLE]


def test_a_table_in_html_is_one_with_scripts_and_with_formulas_that_are_written_twice():
    formula = (
        "<math><semantics><mrow><mi>x</mi><mo>=</mo><mn>1</mn></mrow>"
        '<annotation encoding="application/x-tex">x = 1 \\alpha</annotation>'
        '<annotation-xml encoding="MathML-Content"><ci>beta</ci></annotation-xml></semantics></math>'
    )
    script = "<SCRIPT>if (a < b) { sort('<button hidden>') }</SCRIPT ><style>td { color: red }</style>"
    text = f"<table>\n<tr><th>Rule</th><th>Of</th></tr>\n<tr><td>{formula}</td><td>{script}lakes</td></tr>\n</table>\n"
    assert [(block.kind, block.text) for block in parse(text)] == [(BlockKind.TABLE, "Rule | Of\nx=1 | lakes\n\n")]
    torn = text.replace("</SCRIPT ><style>", "")
    assert [(block.kind, block.text) for block in parse(torn)] == [(BlockKind.PARAGRAPH, torn)]


@pytest.mark.timeout(20)
def test_scripts_in_html_that_never_end_cost_no_time():
    text = f"<table>{'<script>a<annotation>b' * 20_000}</table>\n"
    assert "".join(block.text for block in parse(text)) == text


def test_identifiers_of_headings_are_no_part_of_them():
    text = "# Use {#use .unnumbered}\n\n## {braces} {-}\n\n### Set {a, b}\n\nNotes[^1]\n===\n"
    assert [block.heading for block in parse(text)] == ["Use", "{braces}", "Set {a, b}", "Notes"]


def test_a_code_block_is_whole_even_with_headings_and_blank_lines_inside():
    code = next(block for block in parse(DOCUMENT) if block.kind is BlockKind.CODE)
    assert code.text.strip().startswith("```python\n# not a heading")
    assert code.text.strip().endswith("```")


@pytest.mark.parametrize(
    ("text", "title", "said"),
    [
        (
            '---\ntitle: "Of rivers"\ntags:\n  - a1\nlayout: post\ntoc: true\ndraft: false\nalias: []\n---\n',
            "Of rivers",
            "tags:\n  - a1",
        ),
        ('+++\ntitle = "Of rivers"\n# how old\ndate = 2024-03-01\n+++\n', "Of rivers", "date = 2024-03-01"),
        ("---\nname: Inn\nphone: 12\n---\n", None, "name: Inn\nphone: 12"),
    ],
)
def test_front_matter_gives_the_title_and_what_it_says_of_the_page(text, title, said):
    found = parse(f"{text}\n# Water\n\nIt runs.\n")
    assert [item.text for item in found if isinstance(item, Title)] == [title] * bool(title)
    blocks = [item for item in found if isinstance(item, Block)]
    assert [block.heading or block.text.strip() for block in blocks] == ["Water", said, "It runs."]
    assert [block.text for block in parse(text) if isinstance(block, Block)] == [f"{said}\n\n"]


def test_a_rule_at_the_start_is_no_front_matter():
    blocks = parse("---\n\nText between.\n\nMore.\n")
    assert "Text between." in "".join(block.text for block in blocks)


def test_comments_are_left_out():
    blocks = parse("Before.\n\n<!-- nobody\nreads this -->\n\nAfter.\n")
    assert [block.text.strip() for block in blocks] == ["Before.", "After."]


def test_a_long_file_is_read_in_segments_and_keeps_its_structure():
    section = "## Section\n\n" + "Some words in a sentence. " * 400 + "\n\n```\n## no heading\n```\n\n"
    text = "# Book\n\n" + section * 120  # 1.3 million characters
    blocks = [block for block in parse(text) if isinstance(block, Block)]
    assert "".join(block.text for block in blocks) == text
    assert sum(block.kind is BlockKind.HEADING for block in blocks) == 121
    assert sum(block.kind is BlockKind.CODE for block in blocks) == 120


def test_a_fence_that_never_ends_does_not_hold_the_whole_file():
    text = "```\n" + ("a line of code, " * 8 + "\n") * 12_000
    blocks = parse(text)
    assert "".join(block.text for block in blocks) == text


@pytest.mark.parametrize("mark", ["[[_TOC_]]", "[TOC]"])
def test_the_place_of_a_table_of_contents_is_left_out(mark):
    assert [block.text for block in parse(f"# Runbook\n\n{mark}\n\ntext [TOC]\n")][1:] == ["text [TOC]\n"]


def test_badges_and_lists_of_own_contents_are_left_out():
    badge = "[![CI](https://github.com/a/b/workflows/ci/badge.svg)](https://x) ![v](https://img.shields.io/v)\n\n"
    text = (
        f"# Lib\n\n{badge}## Table of Contents\n\n- [Use](#use)\n  1. [`run` it](#run)\n\n## Use\n\n![scout](a.png)\n\n"
        "- [a](#a)\n- [b](#b), further on\n\n- [x](https://x)\n\n## Contents\n\nA [link](#a).\n\n## Contents\n"
    )
    kept = text.replace(badge, "").replace("## Table of Contents\n\n- [Use](#use)\n  1. [`run` it](#run)\n\n", "")
    assert "".join(block.text for block in parse(text)) == kept


def test_tags_that_fold_and_lay_out_are_left_out():
    text = (
        "<details>\n<summary>See <b>logs</b></summary>\n\nInner.\n\n</details>\n\n"
        "<details><summary>One</summary>\nTwo\n</details>\n\n<div align=center>\n\n**x** <br> y\n\n</div>\n\n"
        "<img src='x' alt='a lock'>\n\n<!-- a --><!-- b --> c\n"
    )
    found = [item.text for item in parse_markdown(io.BytesIO(text.encode()), "utf-8") if isinstance(item, Block)]
    assert found == [
        "See <b>logs</b>\n\n",
        "Inner.\n\n",
        "One\nTwo\n\n",
        "**x** <br> y\n\n",
        "<img src='x' alt='a lock'>\n\n",
        "<!-- a --><!-- b --> c\n",
    ]


def test_many_comments_before_a_word_are_read_at_once():
    text = "<!-- a -->" * 400 + " c\n"
    (found,) = parse_markdown(io.BytesIO(text.encode()), "utf-8")
    assert isinstance(found, Block)
    assert found.text == text


NOTES = """\
# Ponds

They are small.[^size] Some hold fish.[^a-b]

| Pond | Depth[^d] |
|---|---|
| Mill | 2 |

Table: By depth

## Care[^a-b]

```
x[^code]
```

[^size]: Below five hectares.
[^a-b]: Mostly roach. Their number[^nested]
changes.

    - over the year

[^nested]: By a third.
[^d]: In May.
[^unused]: Nobody asks.

[^code]: In code alone.

The end.
"""


def test_footnotes_stand_behind_what_refers_to_them():
    found = [block for block in parse(NOTES) if isinstance(block, Block)]
    assert [(block.heading or block.text.strip()) for block in found] == [
        "Ponds",
        "They are small.[^size] Some hold fish.[^a-b]",
        "[^size]: Below five hectares.",
        "[^a-b]: Mostly roach. Their number[^nested]\nchanges.\n\n    - over the year",
        "[^nested]: By a third.",
        "| Pond | Depth[^d] |\n|---|---|\n| Mill | 2 |",
        "Table: By depth",
        "[^d]: In May.",
        "Care",
        "```\nx[^code]\n```",
        "[^unused]: Nobody asks.",
        "The end.",
        "[^code]: In code alone.",
    ]
    assert [block.caption for block in found if block.kind is BlockKind.TABLE] == ["Table: By depth"]


def test_what_only_looks_like_a_footnote_stays_where_it_is():
    text = "A[^1] and B[^2].\n\n```\n[^1]: code\n```\n\n> [^2]: quoted\n\n[^1]: first one\n[^1]: again one\n# Next\n"
    assert [block.text for block in parse(text)] == [
        "A[^1] and B[^2].\n\n",
        "[^1]: first one\n\n",
        "```\n[^1]: code\n```\n\n",
        "> [^2]: quoted\n\n",
        "[^1]: again one\n",
        "# Next\n",
    ]


DRAWN = """\
  Right     Left
-------     ------
     12     12
    123     123

Table: Simple.

-------     ------
      1     one
-------     ------

-------------------------------
 Centered   Right Left
  Header   Aligned Aligned
---------- ------ -------------
   First     12.0 An example
                  of two lines.

  Second      5.0 Another.
-------------------------------

+---------+--------+
| Fruit   | Price  |
|         | (EUR)  |
+=========+========+
| Bananas | 1.34   |
+---------+--------+

A heading
---------

--- ---

```
a   b
--  --
1   2
```
"""


def test_drawn_tables_are_tables_with_their_headers():
    found = [block for block in parse(DRAWN) if isinstance(block, Block)]
    tables = [(block.text.split()[0], block.header, block.caption) for block in found if block.kind is BlockKind.TABLE]
    assert tables == [
        ("Right", None, "Table: Simple."),
        ("-------", "", ""),
        ("-------------------------------", "Centered Header | Right Aligned | Left Aligned", ""),
        ("+---------+--------+", "Fruit | Price (EUR)", ""),
    ]
    assert [block.heading for block in found if block.heading] == ["A heading"]
    assert "".join(block.text for block in found) == DRAWN


def test_rules_without_an_end_cost_no_time():
    text = "\n\n".join(f"{'-' * (number % 900 + 2)} {'-' * (number // 900 + 2)}\na    b" for number in range(3000))
    assert "".join(block.text for block in parse(text) if isinstance(block, Block)) == text


@pytest.mark.timeout(20)
def test_headings_in_html_that_never_end_cost_no_time():
    text = "<h1>a" * 60_000
    assert "".join(block.text for block in parse(text) if isinstance(block, Block)) == text


def test_a_drawn_grid_with_an_empty_header_is_a_table_without_one():
    found = [block for block in parse("+---+---+\n+===+===+\n| a | b |\n+---+---+\n") if isinstance(block, Block)]
    assert [(block.kind, block.header) for block in found] == [(BlockKind.TABLE, "")]


def test_a_list_is_looked_through_no_further_than_it_goes():
    class Seen(UserList):
        count = 0

        def __getitem__(self, place):
            found = super().__getitem__(place)
            self.count += len(found) if isinstance(place, slice) else 1
            return found

    tokens = Seen(MarkdownIt().parse("- [a](#a)\n- [b](#b)\n\nText.\n\n" * 100))
    starts = [i for i, token in enumerate(list(tokens)) if token.type == "bullet_list_open"]
    assert [is_contents(tokens, at) for at in starts] == [True] * 100
    assert tokens.count <= 2 * len(tokens)
