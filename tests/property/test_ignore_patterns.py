"""Lines of ignore files mean the same when their wildcards are not tried again."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from indexer.ignore_patterns import IgnorePattern

# No brackets that exclude: in pathspec, not in git, they match the slash after a name.
names = st.text(alphabet="ab*?", min_size=1, max_size=5) | st.sampled_from(["**", "[ab]", "*[ab]*b", r"\*a*"])
lines = st.tuples(st.sampled_from(["", "!", "/"]), st.lists(names, min_size=1, max_size=5), st.sampled_from(["", "/"]))
paths = st.lists(st.text(alphabet="ab*", min_size=1, max_size=5), min_size=1, max_size=6).map("/".join)


@settings(max_examples=600, deadline=None)
@given(st.lists(lines, min_size=1, max_size=3), paths, st.booleans())
@example([("", ["a", "**", "b", "**", "a*b"], "")], "a/a/b/b/ab/aab", False)
def test_a_line_means_what_it_means_to_pathspec(parts, path, directory):
    written = [f"{mark}{'/'.join(segments)}{end}" for mark, segments, end in parts]
    asked = f"{path}/" if directory else path
    ours = GitIgnoreSpec.from_lines(written, IgnorePattern, backend="simple")
    theirs = GitIgnoreSpec.from_lines(written, backend="simple")
    assert ours.check_file(asked).include == theirs.check_file(asked).include


@pytest.mark.timeout(10)  # in vain for centuries if every place of a wildcard is tried with every place of the others
@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("?*" * 100 + "b", "a" * 255),
        ("**/" + "a/**/" * 40 + "b", "a/" * 2000 + "c"),
        ("/a/**/" + "*a*a*/**/" * 20 + "b", "aaaa/" * 800 + "c"),
        ("*a*a*/" * 20 + "b", ("a" * 200 + "/") * 20 + "c"),
    ],
)
def test_no_line_takes_more_than_a_moment(line, path):
    spec = GitIgnoreSpec.from_lines([line], IgnorePattern, backend="simple")
    assert spec.check_file(path).include is None
