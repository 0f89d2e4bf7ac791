"""Lines of ignore files mean what they mean to git, and their wildcards are not tried again."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.folders.ignore_patterns import IgnoreLine, ignore_lines, verdict

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["a", "b", "ab", "a.md", "-]", "a\t", "b ", "0"]
PATHS = [*NAMES, *(f"{x}/{y}" for x in NAMES[:3] for y in NAMES)]
FILES = ["a.md", *(f"{path}/{name}" for path in PATHS if "." not in path for name in NAMES if "/" in path)]

parts = st.text(alphabet="ab*?", min_size=1, max_size=4) | st.sampled_from(
    ["**", "[ab]", "[!b]", "*.md", "a.md", r"\a*", "a**", "[z-a]", "[]-]*", r"[\]b]?", "[^[:alpha:]]"]
)
bodies = st.lists(parts, min_size=1, max_size=3).map("/".join)
endings = st.sampled_from(["", "/", " ", "\\ ", "\t"])
lines = st.tuples(st.sampled_from(["", "!", "/", "!/"]), bodies, endings).map("".join)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for path in FILES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def left_out(found: list[IgnoreLine], path: str) -> bool:
    names = path.split("/")
    places = range(1, len(names) + 1)
    return any(verdict(found, "/".join(names[:n]), directory=n < len(names)) for n in places)


@settings(max_examples=60, deadline=None)
@given(st.lists(lines, min_size=1, max_size=4))
@example(["*", "!*/", "!*.md"])
@example(["a/**", "!a/b/", "!a/b/a.md"])
@example(["b/", "!a/b"])
@example(["**/*/**/"])
@example(["!"])
@example(["a**/b", "[+-9]"])
def test_lines_mean_what_they_mean_to_git(tree, written):
    (tree / ".gitignore").write_text("\n".join(written) + "\n")
    command = ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin", "-z"]
    told = subprocess.run(command, cwd=tree, input="\0".join(FILES), text=True, capture_output=True, check=False).stdout
    found = ignore_lines(written)
    assert [path for path in FILES if left_out(found, path)] == told.split("\0")[:-1]


@pytest.mark.parametrize("line", ["a\\", "[a", "[]", "[[:ducks:]]"])
def test_what_names_nothing_to_git_is_told(line):
    with pytest.raises(ValueError, match=re.escape(repr(line))):
        ignore_lines([line])


@pytest.mark.timeout(10)  # in vain for centuries if every place of a wildcard is tried with every place of the others
@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("?*" * 100 + "b", "a" * 255),
        ("**/" + "a/**/" * 40 + "b", "a/" * 2000 + "c"),
        ("/a/**/" + "*a*a*/**/" * 20 + "b", "aaaa/" * 800 + "c"),
        ("*[ab]" * 40 + "c", "a" * 255),
        ("*a*a*/" * 20 + "b", ("a" * 200 + "/") * 20 + "c"),
    ],
)
def test_no_line_takes_more_than_a_moment(line, path):
    assert verdict(ignore_lines([line]), path, directory=False) is None
