"""What makes two passages the same, and what keeps them apart."""

from __future__ import annotations

import pytest

from rag.retrieval.statements import finding_keys, holds, same, says, statements, whole_key

TEXT = (
    "The reactor was started in 2019 and reached 4.1 MW. It is cooled by water, and the water is cooled by the river. "
    "The operators do not expect a shutdown before the end of the year. Smith inspected the valves in May."
)


@pytest.mark.parametrize(
    "written",
    [
        TEXT.replace(" ", "\n", 3),
        TEXT.upper(),
        TEXT.replace(",", "").replace("do not", "do  not"),
        TEXT.replace("operators", "opera-\ntors"),
        TEXT.replace("river", "ri\u00adver"),
        TEXT.replace("reactor", "“reactor”"),
        f"Page 12 of 40\n{TEXT}\n- 13 -\n",
        "> " + TEXT.replace(". ", ".\n> "),
        TEXT.replace("water", "\uff57ater"),
        "* " + TEXT.replace(". ", ".\n* "),
        TEXT.replace("before the end", "before *the end*").replace("Smith", "![] Smith!"),
        f"● {TEXT} …… ©",
    ],
)
def test_how_it_is_written_makes_no_difference(written) -> None:
    assert same(statements(TEXT), statements(written))
    assert whole_key(statements(TEXT)) == whole_key(statements(written))


@pytest.mark.parametrize(
    ("said", "otherwise"),
    [
        ("2019", "2020"),
        ("4.1", "4.2"),
        ("4.1", "41"),
        ("4.1 MW", "-4.1 MW"),
        ("4.1 MW", "4.1 %"),
        ("4.1 MW", "(4.1) MW"),
        ("do not expect", "do expect"),
        ("Smith", "Schmidt"),
        ("before", "after"),
        ("started", "stopped"),
        ("water, and the water", "water, or the water"),
        ("It is cooled by water", "Is it cooled by water"),
        ("Smith inspected", "Nobody says that Smith inspected"),
    ],
)
def test_another_figure_name_or_word_makes_another_passage(said, otherwise) -> None:
    one, other = statements(TEXT), statements(TEXT.replace(said, otherwise))
    assert one != other
    assert not same(one, other)
    assert not holds(one, other)
    assert not holds(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Revenue in 2019 was 4.1 million.", "Revenue in 2020 was 5.2 million."),
        ("Is x safe? Yes. Is y safe? No.", "Is x safe? No. Is y safe? Yes."),
        ("if a < b: return", "if a > b: return"),
        ("if a == b: return", "if a != b: return"),
        ("It costs $5.", "It costs €5."),
        ("A dose of .5 mg.", "A dose of 5 mg."),
        ("net = total * tax", "net = total / tax"),
        ("return (a) & b", "return (a) | b"),
        ("if !done: return", "if done: return"),
        ("It is written in C#.", "It is written in C."),
        ("Vegan: ✓, gluten: ✗", "Vegan: ✗, gluten: ✓"),
        ("☑ The backup is made", "☐ The backup is made"),
        ("Delivery 👍", "Delivery 👎"),
        ("Mains ★★★☆☆", "Mains ★☆☆☆☆"),
        ("Die Leitung ist nicht sicher.", "Die Leitung ist sicher."),
        ("这条河不冷。", "这条河冷。"),
    ],
)
def test_short_passages_that_say_different_things(one, other) -> None:
    assert not holds(statements(one), statements(other))
    assert not holds(statements(other), statements(one))


@pytest.mark.parametrize("added", ["All rights reserved.", "Printed in Ulm."])
@pytest.mark.parametrize("order", [1, -1])
def test_a_passage_is_held_by_one_that_says_a_little_more(added, order) -> None:
    longer, shorter = statements("\n\n".join([TEXT, added][::order])), statements(TEXT)
    assert holds(longer, shorter)
    assert not holds(shorter, longer)
    assert set(finding_keys(longer)) & set(finding_keys(shorter))


def test_one_that_says_much_more_does_not_stand_for_it() -> None:
    assert not holds(statements(TEXT + " And there is more to it. " * 3), statements(TEXT))


def test_a_statement_in_the_middle_is_not_passed_over() -> None:
    first, _, rest = TEXT.partition(". ")
    assert not holds(statements(f"{first}. So they say. {rest}"), statements(TEXT))


def test_a_text_without_words_has_no_keys() -> None:
    for text in ("", "---- ***", "\n\n"):
        assert statements(text) == ""
        assert whole_key("") is None


def test_keys_fit_the_database_and_tell_wholes_from_parts() -> None:
    said = statements(TEXT)
    whole = whole_key(said)
    assert whole is not None
    assert 0 <= whole < 1 << 63
    assert len(finding_keys(said)) == 2
    assert all(-(1 << 63) <= key < 0 for key in finding_keys(said))


def test_short_statements_find_nothing() -> None:
    assert finding_keys(statements("Yes. No. Maybe.")) == []


def test_a_quote_is_found_by_its_words() -> None:
    assert says(statements(TEXT), "IT IS COOLED by water")
    assert not says(statements(TEXT), "is cooled by wat")
    assert not says(statements(TEXT), "reached 4.2 MW")
