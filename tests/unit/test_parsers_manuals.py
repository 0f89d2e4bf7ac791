"""Manuals of programs: POD and Texinfo."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest

from indexer.detection.media_types import detect
from indexer.formats import POD, TEXINFO
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
        ("a\n=cut\nb\n\n=pod\nc\n=over\nd\n=back\n e\n=begin x\n\nno\n\n=end x\nf", "a\n\nb\n\nc\n\nd\n\n e\n\nf"),
        ("=head1 " + "ab " * 100, "ab " * 99 + "ab"),
        ("=head1 NAME\n\n  a\n=head1 NAME\n\n" + "b " * 150, "NAME\n\n  a\n\nNAME\n\n" + "b " * 149 + "b"),
    ],
)  # fmt: skip
def test_what_pod_writes_in_other_ways_is_shown(page, said):
    assert parsed(POD, f"=pod\n\n{page}\n").text.strip("\n") == said


LAKES = r"""\input texinfo   @c -*-texinfo-*-
@setfilename lakes.info
@settitle Lakes of @value{WHERE} 2.0
@set WHERE the Alps
@include version.texi
@macro name{first, second}
@b{\second\} of \first\
@end macro
@copying
Free to copy, @copyright{} 2024.
@end copying

@titlepage
@title Lakes
@author Ann Low
@end titlepage
@ifnottex
@node Top, First
@top Lakes
@insertcopying
@end ifnottex
@menu
* First::   no
@end menu

@node First
@chapter The @emph{first} lake @c no
@cindex lake, first

It holds 3@dots{} m@sup{3} (
@pxref{Depths, , All depths,lakes, Lakes of Europe}), mail@@a.org@footnote{Or call.}.
@noindent
@xref{Depths}. @name{the shore, Kim}: @value{WHERE}. @c no

@quotation Note
Cold.
@end quotation

@itemize @bullet
@item
one

more
@item two
@end itemize
@enumerate 3
@item three
@enumerate a
@item a letter
@end enumerate
@item four
@end enumerate

@table @option
@item -v
@itemx --verbose
@findex verbose
Say more.
@item -q

Say less.
@end table

@section Calls

@deftypefn {Library Function} int open (char *@var{name})
@deftypefnx Macro int OPEN
Opens.

And waits.
@end deftypefn
@defun close name
Closes.
@end defun

@example
@group
a = @{1@};   @comment no

b @result{} 2
@end group
@end example
@verbatim
@code{x}
@end verbatim
@display
one
  two
@end display

@multitable @columnfractions .5 .5
@headitem Name @tab Depth
@item Inn
@tab 4 m
@item Lake
(all) @tab 10@tie{}m @tab x
@end multitable

@float Figure,fig:a
@image{a,,,The @b{pier}}
@caption{A pier.}
@end float
@tex
no
@end tex
@ignore
no
@end ignore
@bye
no
"""


def test_texinfo_is_sections_lists_definitions_tables_and_code():
    assert detect(Path("lakes.texi"), scan_file(io.BytesIO(LAKES.encode()))).media_type == TEXINFO
    result = parsed(TEXINFO, LAKES)
    assert result.titles == ["Lakes of the Alps 2.0"]
    assert result.kinds() == [
        ("paragraph", "Free to copy, © 2024."),
        ("paragraph", "Lakes"),
        ("paragraph", "Ann Low"),
        ("heading", "Lakes"),
        ("heading", "The first lake"),
        (
            "paragraph",
            (
                "It holds 3... m^3 ( see All depths in Lakes of Europe), mail@a.org (Or call.). See Depths. "
                "Kim of the shore: the Alps."
            ),
        ),
        ("list", "Note: Cold."),
        ("list", "• one"),
        ("paragraph", "more"),
        ("list", "• two"),
        ("list", "3. three"),
        ("list", "a. a letter"),
        ("list", "4. four"),
        ("list", "-v, --verbose: Say more."),
        ("list", "-q: Say less."),
        ("heading", "Calls"),
        ("list", "int open (char *name) [Library Function], int OPEN [Macro]: Opens."),
        ("paragraph", "And waits."),
        ("list", "close name [Function]: Closes."),
        ("code", "a = {1};   \n\nb ⇒ 2"),
        ("code", "@code{x}"),
        ("paragraph", "one\n  two"),
        ("table", "Name | Depth\nInn | 4 m\nLake (all) | 10 m | x"),
        ("paragraph", "The pier"),
        ("caption", "A pier."),
    ]
    assert [block.level for block in result.blocks if block.kind == "heading"] == [1, 1, 2]
    assert result.notices == ["It includes other files (version.texi), which are not part of its text here."]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (r"@'e @`{a} @,{c} @ringaccent{a} @v{s} @dotless{i} @o{} @U{201E} @U{x}@aa{}", "é à ç å š ı ø „ å"),
        (r"@@c @{ @} @verb{|@x{|}@: a@-b@*c @. @TeX{} @LaTeX{}@comma{} @quotedblleft{}x@quotedblright{}",
         "@c { } @x{ ab c . TeX LaTeX, “x”"),
        ("@url{http://a.b, the page} @uref{http://a.b} @email{a@@b.c, Ann} @acronym{NASA, space}",
         "the page http://a.b Ann NASA (space)"),
        ("@ref{A, , , m, Manual} @inforef{B,,m} @xref{C, D, E}", "A in Manual See B in m See E"),
        ("@math{x^{2}} @sub{i} @inlineraw{html, no} @inlinefmt{info, yes} @anchor{no}@sortas{no}", "x^{2} i yes"),
        ("@foo{kept} @code{a @b{c}} } @code{open", "kept a c open"),
        ("@ignore\nno end\n@item\n@end example", "no end"),
        ("@c no\n@comment no\na\n@c no\nb @c no", "a b"),
        ("@macro pair{a, b}\n\\a\\-\\b\\\n@end macro\n@pair{1, 2} @pair{@@} @pair", "1-2 @- -"),
        ("@chapter " + "ab " * 100, "ab " * 99 + "ab"),
        ("@defvr {User Option} x-y\n@end defvr\n@defcv Option w z\n@end defcv", "x-y [User Option]\n\nw z [Option]"),
        ("@enumerate\n@item a\n@item b\n@end enumerate\n@item c", "1. a\n\n2. b\n\nc"),
        ("@enumerate 10\n@item a\n@item b\n@end enumerate", "10. a\n\n11. b"),
        ("@enumerate Y\n@item a\n@item b\n@item c\n@end enumerate", "Y. a\n\nZ. b\n\n3. c"),
        ("@enumerate a\n" + "@item b\n" * 80, "\n\n".join(
            f"{chr(96 + number) if number < 27 else number}. b" for number in range(1, 81))),
        ("@table @code\n@item a\n@itemx b\n@itemx c\nd\n@end table", "a, b, c: d"),
        ("@example\na\n@ifset x\nb\n@end ifset\n@exdent c", "a\n\nb\n\nc"),
        ("@defindex op\n@opindex no\na ``b'' @code{``c''}\n@opindex no\n@example\n``d''\n@end example",
         "a “b” ``c''\n\n``d''"),
        ("@set x a@@b\n@value{x} @value{none}!", "a@b !"),
        ("@deftypefn {} {@var{y} =} f @\n (@var{x}) @c no\n@deftypefnx {} {} g @@\nz\n@deffn\n@deffn {a b} c@",
         "y = f (x), g @: z\n\nc [a b]"),
        ("@multitable {a} {b}\n@item 1 @tab a @tab\n@itemize\n@item b\n@end itemize\n@item 2 @tab c\n@end multitable",
         "1 | a | b\n2 | c"),
        ("a @seealso{b, c}", "a b, c"),
        ("@multitable {a} {b}\n@item 1 @tab 2", "1 2"),
    ],
)  # fmt: skip
def test_what_texinfo_writes_in_other_ways_is_shown(page, said):
    assert parsed(TEXINFO, f"{page}\n").text.strip("\n") == said


@pytest.mark.parametrize("body", ["@x{}@x{}", "@y{}@y{}", "a" * 5000])
def test_macros_of_texinfo_that_call_themselves_come_to_an_end(body):
    page = f"@macro x\n{body}\n@end macro\n@macro y\n@x{{}}\n@end macro\n" + "@x{} @y{}\n" * 2000
    assert len(parsed(TEXINFO, page).text) < 500_000


def test_what_macros_of_texinfo_put_in_is_limited_before_it_is_made():
    page = "@macro x{a}\n" + "\\a\\" * 2000 + "\n@end macro\n@x{" + "b" * 20_000 + "}\n"
    tracemalloc.start()
    try:
        assert len(parsed(TEXINFO, page).text) < 200_000
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("media_type", [POD, TEXINFO])
@pytest.mark.parametrize(
    "page",
    [
        "=pod\n\n" + "B<" * 100_000 + "a" + ">" * 100_000,
        "=pod\n\n" + "B<< " * 60_000 + " >>" * 60_000,
        "=pod\n\n" + " >>" * 100_000 + " " * 200_000 + ">",
        "=pod\n\nL<" + "/" * 200_000 + ">",
        "=begin a\n" * 100_000,
        "=item a\n\n" * 60_000,
        "@b{" * 100_000 + "a" + "}" * 100_000,
        "@verb{|a" * 50_000,
        "@c@" * 100_000,
        "@" * 200_000 + "c",
        "@ignore\n" * 100_000,
        "@example\n@end ignore\n" * 50_000,
        "@itemize\n@item a\n" * 50_000,
        "@end item\n@multitable\n" * 50_000,
        "@xref{" + "," * 200_000 + "}",
        "@deffn {" * 50_000,
        "=pod\n\n" + " a\n\n" * 100_000,
        "@multitable {a}\n@item\n" + "b\n" * 300_000 + "@end multitable",
        "@table @code\n@item a\n" + "@itemx b\n" * 200_000,
        "@deffn a b@\n" + "c@\n" * 300_000,
        "@enumerate a\n" + "@item\n" * 200_000,
    ],
)
def test_what_is_never_closed_in_manuals_costs_no_time(media_type, page):
    parsed(media_type, page)
