import subprocess
import sys

HEAVY = ("torch", "faiss", "llama_cpp", "sentence_transformers", "transformers", "openai", "pypdfium2")


def test_importing_the_packages_loads_nothing_heavy() -> None:
    code = f"import sys, rag, indexer, api, rag.cli, indexer.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
