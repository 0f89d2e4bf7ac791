from rag.commands.errors import printable


def test_documents_cannot_steer_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07 red \x1b[31m\x9b2J\ttab\nline ünïcode 量"
    shown = printable(hostile)
    assert not set(shown) & set("\x1b\x07\x9b")
    assert shown.endswith("\ttab\nline ünïcode 量")
