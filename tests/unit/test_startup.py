import signal
import subprocess
import sys
from functools import partial

import rich_click as click
from click.testing import CliRunner

from rag.commands.errors import ErrorHandlingGroup

HEAVY = ("torch", "faiss", "llama_cpp", "sentence_transformers", "transformers", "openai", "pypdfium2")


def test_importing_the_packages_loads_nothing_heavy() -> None:
    code = f"import sys, rag, indexer, api, rag.cli, indexer.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ctrl_c_while_a_program_is_imported_ends_it_without_a_word(tmp_path):
    (tmp_path / "interrupted.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
        "main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    begin = "import signal; signal.signal(signal.SIGINT, {}); from rag.entry import begin; begin('interrupted')"
    called = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=False)
    done = called([sys.executable, "-c", begin.format("signal.default_int_handler")])
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    done = called([sys.executable, "-c", begin.format("signal.SIG_IGN")])  # as in the background of a script
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_where_a_program_begins_nothing_is_imported_that_takes_time():
    code = "import sys, rag.entry; print([m for m in ('click', 'rich', 'pydantic', 'asyncio') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_ctrl_c_ends_a_command_with_130_and_without_a_word():
    def interrupted():
        raise KeyboardInterrupt

    group = ErrorHandlingGroup("program", commands=[click.Command("wait", callback=interrupted)])
    result = CliRunner().invoke(group, ["wait"])
    assert (result.exit_code, result.output) == (130, "")


def test_a_folder_is_taken_in_without_what_reads_the_web():
    code = "import sys, indexer.commands.ingest; print([m for m in ('httpx2', 'protego') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_program_ends_without_looking_for_cycles_in_all_that_it_imported():
    """With torch that took a second. What is registered first comes last, so this prints before."""
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 10_000))\n"
        "from indexer.cli import main\n"
        "sys.argv = ['indexer', '--version']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
