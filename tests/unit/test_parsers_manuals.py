"""Manuals of programs: POD and Texinfo."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from indexer.detection.media_types import detect
from indexer.formats import POD
from indexer.sources import scan_file
from tests.unit.parsing import parsed

PUMP = """#!perl -w
use Pump;

=encoding utf8

=head1 NAME

Pump - moves
I<water>

=head1 SYNOPSIS

  use Pump;

  Pump->new;
That is all.

=head2 Some B<options>X<options>

=over 4

=item -v

=item B<-o> I<file>

Write C<< $a->{b} >> to L<the file|Lake/"Shore">.

See L<Lake>, L<Lake/Shore>, L</"Some options"> and L<https://example.org/a|b>.

=item *

a point

=item 1.

  code

=back

=begin html

<p>no</p>

=begin comment

=end html

=begin :note

kept

=end :note

=for man no

=for text yes

=cut

1;
"""


def test_pod_is_headings_items_and_code():
    assert detect(Path("Pump.pod"), scan_file(io.BytesIO(PUMP.encode()[9:]))).media_type == POD
    result = parsed(POD, PUMP)
    assert result.titles == ["Pump - moves water"]
    assert result.kinds() == [
        ("code", "#!perl -w\nuse Pump;"),
        ("heading", "NAME"),
        ("paragraph", "Pump - moves water"),
        ("heading", "SYNOPSIS"),
        ("code", "use Pump;\n\n  Pump->new;\nThat is all."),
        ("heading", "Some options"),
        ("list", "-v"),
        ("list", "-o file: Write $a->{b} to the file."),
        ("paragraph", "See Lake, “Shore” in Lake, “Some options” and https://example.org/a."),
        ("list", "* a point"),
        ("list", "1."),
        ("code", "code"),
        ("paragraph", "kept"),
        ("paragraph", "yes"),
        ("code", "1;"),
    ]
    assert [block.level for block in result.blocks if block.kind == "heading"] == [1, 1, 2]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("a E<lt>b E<gt> E<sol>E<verbar> E<eacute> E<0x201E> E<233> E<0351> E<nothing>", "a <b > /| é „ é é nothing"),
        ("C<a->b> B<I<c> d> S<e f>Z<>g C<<< h >> i >>> B<< C<j> >>", "a-b> c d e fg h >> i j"),
        ("if A < B and C> D, 1 >> 2 E<> L<> F<", "if A < B and C> D, 1 >> 2 F<"),
        ("L<perlfunc/sprintf> L<a b/c d> L<<< x|E<lt> >>> L<Foo::Bar> L<mailto:a@b.org>",
         "“sprintf” in perlfunc “c d” in a b x Foo::Bar mailto:a@b.org"),
        ("=begin comment\n\nno end", "no end"),
        ("=item\n\na\n\n=item Note:\n\nb\n=item c\n=head9 d\n\n=foo e", "* a\n\nNote: b\n\nc\n\nd\n\ne"),
        ("=head1 " + "ab " * 100, "ab " * 99 + "ab"),
        ("=head1 NAME\n\n  a\n=head1 NAME\n\n" + "b " * 150, "NAME\n\n  a\n\nNAME\n\n" + "b " * 149 + "b"),
    ],
)  # fmt: skip
def test_what_pod_writes_in_other_ways_is_shown(page, said):
    assert parsed(POD, f"=pod\n\n{page}\n").text.strip("\n") == said


@pytest.mark.timeout(20)
@pytest.mark.parametrize("media_type", [POD])
@pytest.mark.parametrize(
    "page",
    [
        "=pod\n\n" + "B<" * 100_000 + "a" + ">" * 100_000,
        "=pod\n\n" + "B<< " * 60_000 + " >>" * 60_000,
        "=pod\n\n" + " >>" * 100_000 + " " * 200_000 + ">",
        "=pod\n\nL<" + "/" * 200_000 + ">",
        "=begin a\n" * 100_000,
        "=item a\n\n" * 60_000,
        "=pod\n\n" + " a\n\n" * 100_000,
    ],
)
def test_what_is_never_closed_in_manuals_costs_no_time(media_type, page):
    parsed(media_type, page)
