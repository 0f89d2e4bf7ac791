"""Terms of texts and queries in many languages and scripts."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from unicodedata import normalize

import pytest

from rag.stores.full_text.language import language_of
from rag.stores.full_text.query_terms import query_terms
from rag.stores.full_text.terms import _stem, terms, word_terms

ENDINGS = ("ization", "fulness", "ational", "iveness", "ously", "ing", "ed", "ies", "ement")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The organizations of Straße 7", "en", ["the", "organiz", "of", "strass", "7"]),
        ("Café naïve ÅNGSTRÖM", None, ["cafe", "naiv", "angstrom"]),
        ("Die Verträge wurden gekündigt", "de", ["die", "vertrag", "wurd", "gekundigt"]),
        ("E-4021 v1.2 foo_bar", None, ["e", "4021", "v1", "2", "foo", "bar"]),
        ("किताबें", "hi", ["किताब"]),
        ("機器學習 AI水", "zh", ["機器", "器學", "學習", "習", "ai", "水"]),
        ("カタカナー", "ja", ["カタ", "タカ", "カナ", "ナー", "ー"]),
        ("데이터", "ko", ["데이", "이터", "터"]),
        ("เรียน", None, ["เรี", "รีย", "ยน", "น"]),
        ("договоры", "en", ["договор"]),  # Russian words in an English text
        ("خانه‌ها", None, ["خان"]),  # a joiner between letters is not a word's end
        ("ﬁle ＡＢＣ", None, ["file", "abc"]),
        ("...  —", None, []),
    ],
)
def test_terms(text, language, expected):
    assert terms(text, language) == expected


def test_no_term_can_be_taken_apart_by_the_tokenizer():
    text = "".join(chr(number) for number in range(1, 0x3100)) + " a_b-c’d·e"
    found = terms(text, None)
    assert len(found) > 1000
    assert [term for term in found if any(each.isascii() and not each.isalnum() for each in term)] == []


@pytest.mark.parametrize(
    ("left_out", "written"),
    [
        ("uber", "über"),
        ("ecole", "école"),
        ("елка", "ёлка"),
        ("كِتَاب", "كتاب"),
        ("lodz", "Łódź"),
        ("tromso", "Tromsø"),
        ("coeur", "cœur"),
        ("Da Nang", "Đà Nẵng"),
    ],
)
def test_marks_may_be_left_out(left_out, written):
    assert terms(left_out, None) == terms(written, None)


@pytest.mark.parametrize("word", ["ığdır", "ırmakları", "istanbul", "iletişim", "kapı"])
def test_turkish_words_have_one_term_in_either_case(word):
    capitals = word.replace("i", "İ").upper()
    assert terms(word, "tr") == terms(word.replace("i", "İ", 1).capitalize(), "tr") == terms(capitals, "tr")
    assert terms(normalize("NFD", capitals), "tr") == terms(word, "tr")


@pytest.mark.parametrize(
    ("beginning", "word", "language"),
    [
        ("générat*", "générations", "fr"),
        ("économiq*", "économique", "fr"),
        ("Ernähru*", "Ernährung", "de"),
        ("Łód*", "Łódź", "pl"),
        ("cœur*", "coeurs", "fr"),
        ("runn*", "running", "en"),
        ("makin*", "making", "en"),
        ("usi*", "using", "en"),
        ("investigatio*", "investigations", "en"),
        ("rotationa*", "rotational", "en"),
        ("possibi*", "possibilities", "en"),
        ("measuremen*", "measurement", "en"),
    ],
)
def test_the_beginning_of_a_word_finds_it(beginning, word, language):
    (term,) = terms(word, language)
    looked_for = query_terms(beginning, [language, None])
    assert any(term.startswith(each.words[0]) if each.beginning else (term,) == each.words for each in looked_for)


def test_a_word_of_a_query_is_read_in_every_language_of_the_collection():
    assert word_terms("Verträgen", ["de", "en", None]) == [["vertrag"], ["vertragen"]]
    assert word_terms("2024", ["de", "en", None]) == [["2024"]]
    assert word_terms("...", ["en"]) == []


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ("cache", '"cach"'),
        ("the cache", '"cach"'),
        ("the", '"the"'),
        ("error E-4021", '"error" OR "e" OR "4021" OR "e 4021"'),
        ('"error codes" list', '"error code" OR "list"'),
        ("學習", '"學習"'),
        ("水", '"水" *'),
        ('"機器學習"', '"機器 器學 學習"'),
        ('"水"', '"水" *'),
        ('"機器學習 AI"', '"機器 器學 學習 習 ai"'),
        ("high-speed", '"high" OR "speed"'),
        ("कर्मचा*", '"कर्मचा" * OR "कर्मच" * OR "कर्म" OR "कर्मच"'),
        ("“error codes” list", '"error code" OR "list"'),
        ("„error codes“, «list of» »it all« 「機器學習」", '"error code" OR "list of" OR "it all" OR "機器 器學 學習"'),
        ("unfinished “phrase", '"unfinish" OR "phrase"'),
        ("what is (config*)?", '"config" * OR "conf" OR "confi"'),
        ('unfinished "phrase', '"unfinish" OR "phrase"'),
        ('"error config*"', '"error config" * OR "error conf" OR "error confi"'),
        ('"errors, config* "', '"error config" * OR "error conf" OR "error confi"'),
        ('"config*"', '"config" * OR "conf" OR "confi"'),
        ("⑴a*", '"(1)a" * OR "1 a" *'),
        ('"fast runn*"', '"fast runn" * OR "fast run"'),
        ('"機器學習*"', '"機器 器學 學習"'),
        ('"error con* list"', '"error con list"'),
        ("config*", '"config" * OR "conf" OR "confi"'),
        ('") OR * NEAR(', '"near"'),
        ("", None),
        ("?!", None),
    ],
)
def test_expressions(query, expression):
    assert (" OR ".join(term.expression for term in query_terms(query)) or None) == expression


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The contract may be terminated by either party with three months' notice.", "en"),
        ("Der Vertrag kann von jeder Partei mit einer Frist von drei Monaten gekündigt werden.", "de"),
        ("Le contrat peut être résilié par chacune des parties avec un préavis de trois mois.", "fr"),
        ("Договор может быть расторгнут любой стороной за три месяца.", "ru"),
        ("機器學習是人工智能的一個分支，其研究重點是讓電腦從資料中學習。", "zh"),
        ("契約は三か月前に通知することにより、いずれの当事者も解除することができます。", "ja"),
        ("이 계약은 당사자 일방이 3개월 전에 통지하여 해지할 수 있습니다.", "ko"),
        ("Umowa może zostać rozwiązana przez każdą ze stron z trzymiesięcznym wyprzedzeniem.", "pl"),
        ("Hợp đồng có thể bị chấm dứt bởi một trong hai bên với thông báo trước ba tháng.", "vi"),
        ("key1: string_value\nkey2: 1234\nkey3: list_value1, list_value2", None),
        ("4711", None),
        ("", None),
    ],
)
def test_the_language_of_a_text(text, language):
    assert language_of(text) == language


def test_threads_stem_at_the_same_time():
    parts = (("nat", "rel", "conf", "oper", "gener"), ("al", "an", "or", "en"), ("ab", "if", "ol", "is"), ENDINGS)
    words = ["".join(each) for each in product(*parts)]
    texts = [" ".join(words[start::8]) for start in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(3):
            _stem.cache_clear()
            with ThreadPoolExecutor(8) as threads:
                together = list(threads.map(lambda text: terms(text, "en"), texts))
            _stem.cache_clear()
            assert together == [terms(text, "en") for text in texts]
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("beginning", [0, 150, 600])
def test_the_language_of_a_text_with_a_beginning_in_another(beginning):
    english = "The committee met in the morning and read the report of the year before. " * 9
    german = "Der Ausschuss trat am Morgen zusammen und las den Bericht des vergangenen Jahres. " * 40
    assert language_of(english[:beginning] + german) == "de"
