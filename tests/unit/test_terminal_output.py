from rag.commands.errors import on_one_line, printable


def test_documents_cannot_steer_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07 red \x1b[31m\x9b2J\ttab\nline ünïcode 量"
    shown = printable(hostile)
    assert not set(shown) & set("\x1b\x07\x9b")
    assert shown.endswith("\ttab\nline ünïcode 量")


def test_a_name_stays_on_its_line_in_its_order_and_can_be_written() -> None:
    shown = on_one_line("a\nb\tc\u2028d\u202ee\udcff")
    assert shown == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"
    assert printable("\udcff\n").encode() == "\ufffd\n".encode()
