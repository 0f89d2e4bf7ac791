"""The languages of programs whose names leave it open: scripts, files of build tools, headers of C and C++."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.formats import CODE, SUFFIX_TYPES

if TYPE_CHECKING:
    from pathlib import PurePath

# Programs told by the whole name, or by the part before a suffix that says nothing (``Dockerfile.dev``).
_NAMED: Final = {
    **dict.fromkeys("jenkinsfile justfile".split(), CODE),
    **dict.fromkeys("makefile gnumakefile".split(), "text/x-make"),
    **dict.fromkeys("dockerfile containerfile".split(), "text/x-dockerfile"),
    **dict.fromkeys("rakefile gemfile vagrantfile".split(), "text/x-ruby"),
}
# What a script without such a name asks to be run by, in its first line; others run ``CODE``.
_INTERPRETERS: Final = {
    interpreter: f"text/x-{language}"
    for language, interpreters in {
        "shell": "sh bash dash ash ksh zsh",
        "python": "python pypy",
        "javascript": "node nodejs",
        "typescript": "deno ts-node bun",
        "ruby": "ruby",
        "php": "php",
        "make": "make gmake",
    }.items()
    for interpreter in interpreters.split()
}
# Like those of ``detection``, these try nothing twice.
_SCRIPT = re.compile(
    rb"#![ \t]*+/(?:[^\s/]++/)++(?:env[ \t]++(?:(?:-\S++|\w++=\S*+)[ \t]++)*+)?([A-Za-z-]++)[\d.]*+(?=\s|\Z)"
)
_CPP = re.compile(  # what C has no words for
    rb"^[ \t]*+(?:template[ \t]*+<|namespace\b|class[ \t]++\w|using[ \t]++\w|(?:public|private|protected)[ \t]*+:)",
    re.MULTILINE,
)


def program_type(path: PurePath, start: bytes) -> str | None:
    """The media type of a program that begins with ``start``, where its suffix does not tell; None if it is none."""
    suffix = path.suffix.lower()
    if suffix == ".h":
        return "text/x-cpp" if _CPP.search(start) else None
    if suffix in SUFFIX_TYPES:
        return None
    if (named := _NAMED.get(path.stem.lower())) is not None:
        return named
    script = _SCRIPT.match(start)
    return _INTERPRETERS.get(script[1].decode("ascii").lower(), CODE) if script is not None else None
