import pytest

from rag.generation.words import content_words, is_number


def test_function_words_and_inflection_do_not_count() -> None:
    assert set(content_words("The models were trained on the tokens")) == {"model", "train", "token"}
    assert content_words("a training model and its token") == ["train", "model", "token"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,287 MWh", "1287 MWh"),
        ("51.50 percent", "51.5 percent"),
        ("10\u202f000", "10000"),
        ("1,287,000.5", "1287000.5"),
        ("2.0", "2"),
    ],
)
def test_one_figure_in_two_spellings(one: str, other: str) -> None:
    assert content_words(one) == content_words(other)


@pytest.mark.parametrize(("one", "other"), [("12", "1.2"), ("1,28", "128"), ("46.7", "467")])
def test_different_figures_stay_different(one: str, other: str) -> None:
    assert content_words(one) != content_words(other)


def test_figures_inside_names_are_found() -> None:
    words = content_words("Mixtral 8x7B has 46.7B parameters")
    assert [w for w in words if is_number(w)] == ["8", "7", "46.7"]


@pytest.mark.parametrize(
    ("text", "figures"),
    [("46.7 12.9", ["46.7", "12.9"]), ("in 2023 100 cats", ["2023", "100"]), ("SmolLM2 1.7B", ["2", "1.7"])],
)
def test_neighbouring_figures_stay_apart(text: str, figures: list[str]) -> None:
    assert [word for word in content_words(text) if is_number(word)] == figures


def test_scripts_without_spaces_are_compared_by_pairs() -> None:
    assert set(content_words("量子计算")) & set(content_words("量子力学")) == {"量子"}
