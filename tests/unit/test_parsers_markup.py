"""reStructuredText, Org and LaTeX."""

import time

import pytest

from indexer.formats import LATEX, ORG, RST
from tests.unit.parsing import parsed

RST_PAGE = """\
=====
Water
=====

Rivers run *down*. See :ref:`lakes <l>`.

.. a comment
   over two lines

Speed of ``flow``
-----------------

It is measured like this::

    v = s / t

    print(v)

- slow
- fast

.. code-block:: python

   x = 1

.. toctree::

   other

=====  =====
name   depth
=====  =====
Inn    3 m
=====  =====

.. include:: more.rst

Deeper
~~~~~~

.. note:: Keep out.
"""


def test_rst_structure_is_found_and_text_is_verbatim():
    result = parsed(RST, RST_PAGE)
    headings = [(b.level, b.heading) for b in result.blocks if b.kind == "heading"]
    assert headings == [(1, "Water"), (2, "Speed of flow"), (3, "Deeper")]
    assert result.of("code") == ["v = s / t\n\n    print(v)", ".. code-block:: python\n\n   x = 1"]
    assert result.of("list") == ["- slow\n- fast"]
    assert "Inn    3 m" in result.of("table")[0]
    assert "comment" not in result.text
    assert "toctree" not in result.text
    assert result.notices == ["It includes other files (more.rst), which are not part of its text here."]
    assert all(block.text in RST_PAGE for block in result.blocks)


def test_text_of_rst_below_what_it_is_to_look_like_is_kept():
    page = "A\n\n.. class:: lead\n\n   Water runs down.\n\n.. container:: x\n\n   - slow\n"
    assert parsed(RST, page).kinds() == [("paragraph", "A"), ("paragraph", "Water runs down."), ("list", "- slow")]


def test_rst_files_that_it_includes_are_told_once():
    result = parsed(RST, "".join(f".. include:: {number}.txt\n" for number in range(1000)) + "\nText.\n")
    assert result.notices == [
        "It includes other files (0.txt, 1.txt, 2.txt, 3.txt, 4.txt and others), which are not part of its text here."
    ]


def test_rst_text_that_only_looks_like_a_title_is_text():
    result = parsed(RST, "One line\n  indented\n---\n\nA row of dashes:\n\n----\n\nend\n")
    assert result.of("heading") == []
    assert "indented" in result.text


def test_footnotes_of_rst_stand_behind_what_refers_to_them():
    page = (
        "Pier\n====\n\nIt is long [1]_ and old [#age]_, see [Low90]_.\n\nDepth\n-----\n\nFour metres.\n\n"
        ".. [1] Measured.\n.. [#age] Built in 1880 [2]_,\n   they say.\n.. [2] So the plaque.\n.. [Low90] Low.\n"
    )
    assert [name for _kind, name in parsed(RST, page).kinds()] == [
        "Pier",
        "It is long [1]_ and old [#age]_, see [Low90]_.",
        ".. [1] Measured.",
        ".. [#age] Built in 1880 [2]_,\n   they say.",
        ".. [2] So the plaque.",
        "Depth",
        "Four metres.",
        ".. [Low90] Low.",
    ]


def test_footnotes_and_targets_of_rst_without_names_go_by_their_order():
    page = (
        "It is long [#]_ and old [*]_, see `the plaque`__.\n\nIt is deep [#]_, see `the map`__ and [#top]_.\n\n"
        "__ https://example.org/plaque\n\n.. __: https://example.org/map\n\n"
        ".. [#top] Of the hill.\n.. [#] Measured [*]_.\n.. [#] Sounded.\n.. [*] They say.\n.. [*] In May.\n"
    )
    assert [name for _kind, name in parsed(RST, page).kinds()] == [
        "It is long [#]_ and old [*]_, see `the plaque`__.",
        ".. [#] Measured [*]_.",
        ".. [*] In May.",
        ".. [*] They say.",
        "__ https://example.org/plaque",
        "It is deep [#]_, see `the map`__ and [#top]_.",
        ".. [#] Sounded.",
        ".. __: https://example.org/map",
        ".. [#top] Of the hill.",
    ]


def test_footnotes_of_org_stand_behind_what_refers_to_them():
    page = (
        "* Pier\nIt is long[fn:1] and old[fn:age].\n* Depth\nFour metres.\n"
        "* Notes\n[fn:1] Measured.\n[fn:age] Built in 1880,\nthey say.\n"
    )
    assert [name for _kind, name in parsed(ORG, page).kinds()] == [
        "Pier",
        "It is long[fn:1] and old[fn:age].",
        "[fn:1] Measured.",
        "[fn:age] Built in 1880,\nthey say.",
        "Depth",
        "Four metres.",
    ]


ORG_PAGE = """\
#+TITLE: Water
#+AUTHOR: Nobody
* TODO [#A] Rivers :wet:
:PROPERTIES:
:ID: 1
:END:
Rivers run down.
# a comment
** [[https://example.org][Speed]]
| name | depth |
| Inn  | 3 m   |

#+BEGIN_SRC python
* not a heading
#+END_SRC
- slow
- fast
"""


def test_org_structure_is_found_and_drawers_are_left_out():
    result = parsed(ORG, ORG_PAGE)
    assert result.titles == ["Water"]
    assert [(b.level, b.heading) for b in result.blocks if b.kind == "heading"] == [(1, "Rivers"), (2, "Speed")]
    assert result.of("table") == ["| name | depth |\n| Inn  | 3 m   |"]
    assert result.of("code") == ["#+BEGIN_SRC python\n* not a heading\n#+END_SRC"]
    assert result.of("list") == ["- slow\n- fast"]
    assert "PROPERTIES" not in result.text
    assert "a comment" not in result.text
    assert all(block.text in ORG_PAGE for block in result.blocks)


def test_drawers_of_org_that_are_shown_are_text_and_none_reaches_beyond_a_heading():
    page = (
        "* A\n:NOTES:\nSeen in May.\n:END:\n:LOGBOOK:\n- hidden\n:END:\n:PROPERTIES:\nkept\n* B\n:END:\n"
        "DEADLINE: a word\nDEADLINE: <2024-05-01>\n"
    )
    assert parsed(ORG, page).kinds() == [
        ("heading", "A"),
        ("paragraph", "Seen in May."),
        ("paragraph", ":PROPERTIES:\nkept"),
        ("heading", "B"),
        ("paragraph", "DEADLINE: a word\nDEADLINE: <2024-05-01>"),
    ]


def test_files_that_org_includes_are_told():
    page = (
        '#+INCLUDE: "~/a b.org::#depth" :lines "1-5"\n# #+include: c.org\n'
        "#+begin_src org\n#+include: d.org\n#+end_src\n"
        "Text.\n  #+include: e.c src c\n:LOGBOOK:\n#+include: f.org\n:END:\n#+include:\n"
    )
    result = parsed(ORG, page)
    assert [kind for kind, _text in result.kinds()] == ["code", "paragraph"]
    assert result.notices == ["It includes other files (~/a b.org, e.c, ?), which are not part of its text here."]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "page",
    [
        "#+begin_src\n" * 50_000,
        "* " + ":b" * 50_000,
        "* a" + " " * 100_000 + "b",
        "#+a: b" + " " * 200_000 + "c",
    ],
)
def test_marks_of_org_that_never_end_cost_no_time(page):
    parsed(ORG, page)


LATEX_PAGE = r"""
\documentclass[12pt]{article}
\usepackage{graphicx} % for pictures
\newcommand{\river}{the Inn}
\newcommand{\twice}[2]{#1 #2}
\title{On Water\thanks{Paid for by nobody.}}
\author{A. Author \and B. Author}
\begin{document}
\maketitle
\begin{abstract}
Rivers run down.
\end{abstract}
\section[short]{Rivers and \emph{lakes}}\label{sec:r}
G\"unther na\"{\i}vely asked: how fast is \river{} (see~\cite{k1,k2})? % a comment
It is 50\% of $v = s/t$ --- ``fast''.

A new paragraph\footnote{With a note.} here.
\begin{equation}
E = mc^2
\end{equation}
\begin{itemize}
  \item slow
  \item[why] fast
  \begin{enumerate}
    \item inner
  \end{enumerate}
\end{itemize}
\begin{table}[h]
\caption{Depths}
\begin{tabular}{l|r}
\hline
name & depth \\ \hline
Inn & \multicolumn{1}{c}{3 m} \\
\end{tabular}
\end{table}
\begin{verbatim}
% not a comment \section{no}
\end{verbatim}
\input{chapter2}
\end{document}
after the end
"""


def test_files_that_latex_includes_are_told_by_their_names():
    result = parsed(
        LATEX, "Before \\input intro\nafter\\include{a/b}\n\\import{c/}{d}\\lstinputlisting[language=C]{e.c}\\input"
    )
    assert result.text == "Before after\n\n"
    assert result.notices == ["It includes other files (intro, a/b, c/d, e.c, ?), which are not part of its text here."]


def test_authors_within_the_text_are_kept():
    page = "\\begin{document}\n\\title{On Water}\n\\author{\\AND A. Author \\And B. Author}\nText.\n\\end{document}"
    assert parsed(LATEX, page).text == "On Water\n\nA. Author, B. Author\n\nText.\n\n"


def test_latex_becomes_text_with_its_structure():
    result = parsed(LATEX, LATEX_PAGE)
    assert result.titles == ["On Water"]
    assert result.of("paragraph")[:2] == ["A. Author, B. Author", "Paid for by nobody."]
    headings = [(b.level, b.heading) for b in result.blocks if b.kind == "heading"]
    assert headings[1:] == [(2, "Abstract"), (2, "Rivers and lakes")]
    paragraphs = result.of("paragraph")
    asked = "Günther naïvely asked: how fast is the Inn (see [k1,k2])? It is 50% of $v = s/t$ — “fast”."
    assert asked in paragraphs
    assert "A new paragraph (With a note.) here." in paragraphs
    assert r"\begin{equation} E = mc^2 \end{equation}" in paragraphs
    assert result.of("list") == ["- slow\n- why: fast\n  1. inner"]
    assert result.of("caption") == ["Depths"]
    assert result.of("table") == ["name | depth\nInn | 3 m"]
    assert result.of("code") == [r"% not a comment \section{no}"]
    assert "after the end" not in result.text
    assert result.notices == ["It includes other files (chapter2), which are not part of its text here."]


def test_latex_without_a_preamble_and_with_broken_braces_is_read():
    result = parsed(LATEX, r"\section{One} text { never closed \textbf{bold} } } $x and \begin{itemize} \item a")
    assert result.of("heading") == ["One"]
    assert "text never closed bold $x and" in result.text.replace("  ", " ")
    assert "- a" in result.text


def test_boxes_of_latex_leave_none_of_their_options():
    page = r"A \makebox[\textwidth][c]{wide} and \framebox[2cm][l]{framed} and \parbox[t][2cm]{3cm}{tall} box."
    assert parsed(LATEX, page).text == "A wide and framed and tall box.\n\n"


def test_what_theorems_of_latex_are_called_is_kept():
    page = r"\begin{theorem}[Gau\ss{} 1801] [0,1] is closed.\end{theorem}\begin{proof} [of {[2]}]Easy.\end{proof}"
    page += r"\begin{figure}[ht]Shown.\end{figure}"
    assert parsed(LATEX, page).text == "(Gauß 1801) [0,1] is closed.\n\n(of [2]) Easy.\n\nShown.\n\n"


def test_latex_that_nests_or_expands_without_end_ends():
    deep = "{" * 50_000 + "core" + "}" * 50_000
    assert "core" in parsed(LATEX, deep).text
    assert "core" in parsed(LATEX, "\\section{" * 500 + "core" + "}" * 500).text
    assert parsed(LATEX, r"\newcommand{\a}{\section{\a}} \a last").text == "last\n\n"
    doubling = "".join(
        rf"\newcommand{{\{b}}}{{\{a}\{a}}}" for a, b in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
    )
    assert len(parsed(LATEX, rf"\newcommand{{\a}}{{boom}}{doubling} text \p end").text) < 1 << 20


def test_latex_dollars_without_partners_cost_no_time():
    began = time.process_time()
    parsed(LATEX, "$ a \\begin{equation} " * 3000)
    # Two searches of bounded length each; a quadratic one would take minutes.
    assert time.process_time() - began < 60


UNCLOSED = [r"\( a ", r"\[ a ", r"\iffalse a ", r"\begin{verbatim} a ", r"\begin{align*} a ", r"\begin{axis} a "]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("opening", UNCLOSED)
def test_regions_of_latex_that_never_close_cost_no_time(opening):
    assert parsed(LATEX, opening * 50_000 + " last").text.endswith("last\n\n")


@pytest.mark.timeout(20)
def test_signs_around_code_of_latex_that_never_close_cost_no_time():
    signs = (chr(number) for number in range(0x4E00, 0x9000))
    assert parsed(LATEX, "".join(rf"\verb{sign}aaaaaaaa" for sign in signs)).text.endswith("aaa\n\n")


def test_regions_of_latex_end_at_the_next_mark_of_their_kind():
    page = r"\(a \) b \[ c \( d \] e \) f \iffalse g \fii \fi h \begin{comment} i \end{comment*} j \end{comment} k"
    assert parsed(LATEX, page).text == "\\(a \\) b\n\n\\[ c \\( d \\]\n\ne ) f h k\n\n"


def latex_table(rows: str) -> list[str]:
    found = parsed(LATEX, rf"\begin{{tabular}}{{lll}}{rows}\end{{tabular}}").of("table")
    return found[0].split("\n") if found else []


def test_a_line_end_within_a_cell_of_latex_ends_no_row():
    rows = (
        r"\shortstack{Data\\set} & \makecell[l]{mAP \\ (0.75)} & {\bf a\\[2pt]b} \\[1ex]"
        r"1 & \begin{tabular}[c]{@{}c@{}}\#\\ layers\end{tabular} & 3\\ { & } 4"
    )
    assert latex_table(rows) == ["Data set | mAP (0.75) | a b", "1 | # layers | 3", " | 4"]


def test_cells_of_latex_that_span_say_their_text_in_each_place():
    rows = (
        r"\multirow{2}{*}{Set} & \multicolumn{2}{c|}{\textbf{Score}} \\ \cline{2-3} & a & b \\ \hline"
        r"\multirow[t]{2}{2cm}{One} & 1 & \multirow{9}*{all} \\ \hline \multicolumn{1}{c}{} & 2 & \\ Two & 3 & \\"
        r"& 4 & own \\ \multirow{-2}{*}{End} & 5 & \\ \multirow{x}{*}{?} & 6 & \\ & & \\ & 7"
    )
    assert latex_table(rows) == [
        "Set | Score | Score", "Set | a | b", "One | 1 | all", "One | 2 | all", "Two | 3 | all", "End | 4 | own",
        "End | 5 | all", "? | 6 | all", " | 7",
    ]  # fmt: skip


def test_spans_of_latex_do_not_multiply_long_texts():
    assert len(parsed(LATEX, rf"\begin{{tabular}}{{l}}\multicolumn{{9999999}}{{c}}{{{'word ' * 99}}}").text) < 600
    assert latex_table(r"\multicolumn{9999999}{c}{a} \\ b")[0].count("a") == 64
    assert latex_table(r"\multirow{-9999999}{*}{a} & b \\ c & d") == ["a | b", "c | d"]


@pytest.mark.parametrize(
    "rule",
    [
        r"\cmidrule(lr){2-3}", r"\cmidrule[1pt](r{2pt}l){2-3}", r"\setlength\extrarowheight{2pt}",
        r"\vskip 2pt plus 1pt ", r"\setlength{\tabcolsep}{2pt}", r"\tabcolsep=2pt ", r"\arrayrulecolor{black}",
        r"\specialrule{1pt}{2pt}{2pt}", r"\noalign{\vskip 2pt}", r"\addlinespace[2pt]", r"\kern-.2em ", r"\Xhline{2pt}",
        r"\looseness=-1 ", r"\widowpenalty10000 ",
    ],
)  # fmt: skip
def test_measures_of_latex_are_no_text(rule):
    assert latex_table(rf"a & b & c \\ {rule} d & e & f") == ["a | b | c", "d | e | f"]
    assert parsed(LATEX, rf"before {rule}after").text.split() == ["before", "after"]


def test_a_macro_of_latex_that_ends_with_a_space_is_no_part_of_the_next_word():
    source = r"\def\seven{Seven~B\xspace}\begin{document}\seven reads. So does \seven, and \seven (big).\end{document}"
    assert parsed(LATEX, source).text.strip() == "Seven B reads. So does Seven B, and Seven B (big)."


def test_a_caption_of_latex_outside_a_float_is_one():
    assert parsed(LATEX, r"\captionof{table}{\small What it costs.}").kinds() == [("caption", "What it costs.")]


def test_words_after_a_skip_of_latex_are_text():
    assert parsed(LATEX, r"\bigskip 2 cm of snow, \noindent 3 more").text.split() == "2 cm of snow, 3 more".split()
