import subprocess
import sys

HEAVY = ("torch", "faiss", "llama_cpp", "sentence_transformers", "transformers", "openai", "pypdfium2")


def test_importing_the_packages_loads_nothing_heavy() -> None:
    code = f"import sys, rag, indexer, api, rag.cli, indexer.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
