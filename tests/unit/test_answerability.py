import pytest

from rag.generation.answerability import answer_confidence


def test_without_a_cosine_it_is_the_share_of_yes() -> None:
    assert answer_confidence(0.6, 0.2, None) == pytest.approx(0.75)


def test_a_close_passage_raises_it_and_a_far_one_lowers_it() -> None:
    far, neutral, close = (answer_confidence(0.3, 0.3, cosine) for cosine in (0.3, 0.5, 0.8))
    assert neutral == pytest.approx(0.5)
    assert far < neutral < close


@pytest.mark.parametrize(("yes", "no"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_extremes_stay_probabilities(yes: float, no: float) -> None:
    assert 0 <= answer_confidence(yes, no, 0.9) <= 1
