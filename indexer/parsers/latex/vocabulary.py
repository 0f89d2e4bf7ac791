"""What LaTeX's macros and environments mean to a reader."""

from __future__ import annotations

import re
from typing import Final

LEVELS: Final = {
    "part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5, "subparagraph": 6,
}  # fmt: skip
# Macros whose arguments are not text.
SILENT: Final = frozenset(
    """label includegraphics vspace hspace vskip hskip usepackage documentclass documentstyle setcounter pagestyle
    thispagestyle newcommand renewcommand providecommand DeclareMathOperator newenvironment renewenvironment newtheorem
    setlength addtolength hline cline cmidrule toprule midrule bottomrule addlinespace index bibliography
    bibliographystyle definecolor hypersetup rowcolor cellcolor columncolor rule nocite graphicspath lstset phantom
    arrayrulecolor cdashline Xhline specialrule noalign
    newcolumntype captionsetup titleformat titlespacing affiliation ead cortext fntext tnotetext orcidID institute
    addcontentsline pdfbookmark hypertarget RequirePackage PassOptionsToPackage geometry theoremstyle setkeys
    keys_set addbibresource input@path numberwithin arraystretch hyphenation newlength newcounter""".split()
)
# So many first arguments are not text; the rest is.
SKIPPED_ARGUMENTS: Final = {
    "multicolumn": 2, "multirow": 2, "textcolor": 1, "colorbox": 1, "resizebox": 2, "scalebox": 1, "fontsize": 2,
    "raisebox": 1, "parbox": 1, "makebox": 0, "framebox": 0, "hyperref": 0, "rotatebox": 1, "color": 1,
    "fcolorbox": 2, "selectfont": 0,
    "foreignlanguage": 1, "selectlanguage": 1, "adjustbox": 1, "fancyhead": 1, "fancyfoot": 1, "newblock": 0,
}  # fmt: skip
# Cells of more than one column or row; the number is their first argument.
SPANS: Final = frozenset({"multicolumn", "multirow"})
# Macros that put in other files, and how many arguments name them.
INCLUDES: Final = {
    "input": 1, "include": 1, "subfile": 1, "import": 2, "subimport": 2, "lstinputlisting": 1, "verbatiminput": 1,
}  # fmt: skip
REFERENCES = re.compile(r"^(?:[A-Za-z]*cite[a-z]*|ref|eqref|autoref|[cC]ref|pageref|nameref)$")
LISTS: Final = frozenset(
    {"itemize", "enumerate", "description", "thebibliography", "list", "compactitem", "compactenum"}
)
TABLES: Final = {
    "tabular": 1,
    "tabularx": 2,
    "tabulary": 2,
    "tabular*": 2,
    "longtable": 1,
    "tabu": 1,
    "supertabular": 1,
    "array": 1,
}
# What holds a table and its caption.
FLOATS: Final = frozenset({"table", "subtable", "wraptable", "sidewaystable", "longtable"})
# Environments whose option is text: what a theorem is called, or what is proved.
THEOREMS: Final = frozenset(
    """theorem thm lemma lem proposition prop corollary cor definition defn def example ex remark rem conjecture claim
    fact note notation axiom assumption hypothesis observation problem question exercise solution property
    proof""".split()
)
# Environments with arguments that say how large they are.
BOXES: Final = frozenset(
    "minipage multicols wrapfigure wraptable subfigure subtable adjustbox tcolorbox CJK spacing".split()
)
