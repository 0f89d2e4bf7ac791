"""Number formats of Excel: what cells show beside their numbers."""

import pytest

from indexer.parsers.office.number_formats import parse_format


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("0%", "12.68%"),
        ("[Red]0.000%", "12.679%"),
        ("+0.0%;-0.0%", "12.68%"),
        ('0"%"', "0.12679%"),
        ('#,##0 "€"', "0.12679 €"),
        ("[$€-407] #,##0.00", "€ 0.13"),
        ("#,##0.00\\ [$€-1]", "0.13 €"),
        ('_("$"* #,##0.00_);_("$"* \\(#,##0.00\\)', "$0.13"),
        ("[$CHF-807] #,##0.00", "CHF 0.13"),
    ],
)
def test_percentages_and_currencies(code, shown):
    assert parse_format(code).shown(0.12679) == shown


@pytest.mark.parametrize(
    ("code", "value", "shown"), [("00000", 1011, "01011"), ("[$-407]00000", 7.0, "00007"), ("00", 1234, "1234")]
)
def test_zeros_in_front_of_postal_codes(code, value, shown):
    assert parse_format(code).shown(value) == shown


def test_a_sign_of_minus_comes_first():
    assert parse_format("$#,##0.00").shown(-7) == "-$7.00"


@pytest.mark.parametrize(
    "code",
    [
        "",
        "General",
        "@",
        "0.00",
        "0",
        "000-00-0000",
        "dd.mm.yyyy",
        "[h]:mm",
        "mm:ss.0",
        "# ?/?",
        "0E+0",
        '0,,"M"',
        "[>=1]0%;0.0",
        '0" kg"',
    ],
)
def test_what_shows_no_sign_or_another_number_is_none(code):
    assert parse_format(code) is None
