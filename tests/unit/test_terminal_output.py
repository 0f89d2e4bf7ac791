import errno
import io
import json
import logging
import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import rich_click as click
from click.testing import CliRunner

from indexer.cli import main as indexer
from indexer.commands import inventory
from indexer.commands.inventory import list_documents
from rag.cli import main as rag
from rag.commands.errors import ErrorHandlingGroup, on_one_line, printable
from rag.quality_types import Quality
from rag.telemetry import configure_logging, get_logger
from tests.unit.builders import make_passage


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("program", [rag, indexer])
def test_help_names_commands_as_they_are_called(program) -> None:
    context = click.Context(program)
    for name in program.list_commands(context):
        assert program.get_command(context, name).name == name


@pytest.mark.parametrize(("program", "given", "meant"), [(indexer, "delet", "delete"), (rag, "serch", "search")])
def test_a_command_that_is_misspelt_is_told_with_what_may_be_meant(program, given, meant) -> None:
    result = CliRunner().invoke(program, [given])
    assert result.exit_code == 2
    assert f"Did you mean {meant}?" in " ".join(result.stderr.split())
    assert "Did you mean" not in CliRunner().invoke(program, ["zzz"]).stderr


@pytest.mark.parametrize(("arguments", "expected"), [([], b"a ? b \xe4"), (["--json"], '"a › b ä"'.encode())])
def test_letters_that_the_terminal_lacks_end_no_command(monkeypatch, arguments, expected) -> None:
    """As in a locale of ISO 8859-1."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["rag", "say", *arguments])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="iso-8859-1", write_through=True))

    @click.command("say")
    @click.option("--json", "as_json", is_flag=True)
    def say(as_json: bool) -> None:
        sys.stdout.write(json.dumps("a › b ä", ensure_ascii=False) if as_json else "a › b ä")

    monkeypatch.setattr(rag, "get_command", lambda context, name: say)
    rag.main(sys.argv[1:], standalone_mode=False)
    assert written.getvalue() == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("wish", "colored"), [("1", False), ("", True)])
def test_who_wants_no_color_gets_none(monkeypatch, wish, colored) -> None:
    monkeypatch.setenv("NO_COLOR", wish)
    say = click.Command("say", callback=lambda: click.secho("red", fg="red"))
    said = CliRunner().invoke(ErrorHandlingGroup("program", commands=[say]), ["say"], color=True).stdout
    assert ("\x1b[" in said) == colored
    monkeypatch.setattr(sys, "stderr", Terminal())
    configure_logging(level=logging.WARNING)
    get_logger("x").warning("told")
    assert ("\x1b[" in sys.stderr.getvalue()) == colored


def test_output_for_which_the_disk_has_no_room_is_an_error_of_one_line() -> None:
    full = click.Command("list", callback=lambda: fail(OSError(errno.ENOSPC, "No space left on device")))
    result = CliRunner().invoke(ErrorHandlingGroup("program", commands=[full]), ["list"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error[disk_full]: The disk is full that the output is written to." in result.stderr
    other = click.Command("list", callback=lambda: fail(PermissionError("Not permitted")))
    result = CliRunner().invoke(ErrorHandlingGroup("program", commands=[other]), ["list"])
    assert isinstance(result.exception, PermissionError)


@pytest.mark.parametrize("program", [rag, indexer])
def test_help_that_finds_no_room_is_told_without_a_traceback(program, monkeypatch) -> None:
    monkeypatch.setattr(click.Context, "get_help", lambda _self: fail(OSError(errno.ENOSPC, "No space left on device")))
    result = CliRunner().invoke(program, ["--help"])
    assert result.exit_code == 1
    assert "error[disk_full]: " in result.stderr


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_shows_what_a_document_is_named_by_whole(monkeypatch, width) -> None:
    document = replace(make_passage("text").document, id=7, uri="/home/me/notes/2026/minutes/backups.md")
    store = SimpleNamespace(
        collection=lambda name: name,
        documents=lambda target, *, limit, after: [] if after else [document],
        qualities=lambda target, ids: [Quality()],
    )
    monkeypatch.setattr(inventory, "open_library", lambda settings: nullcontext(SimpleNamespace(store=store)))
    monkeypatch.setattr(inventory, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setenv("COLUMNS", str(width))
    shown = CliRunner().invoke(list_documents, []).stdout
    assert document.uri in "".join(line[-width:].split()[-1] for line in shown.splitlines()[1:])
    assert "…" not in shown


def test_documents_cannot_steer_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07 red \x1b[31m\x9b2J\ttab\nline ünïcode 量"
    shown = printable(hostile)
    assert not set(shown) & set("\x1b\x07\x9b")
    assert shown.endswith("\ttab\nline ünïcode 量")


def test_a_name_stays_on_its_line_in_its_order_and_can_be_written() -> None:
    shown = on_one_line("a\nb\tc\u2028d\u202ee\udcff")
    assert shown == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"
    assert printable("\udcff\n").encode() == "\ufffd\n".encode()
