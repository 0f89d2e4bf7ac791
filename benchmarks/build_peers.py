"""Build what the benchmarks compare with, from the same release of llama-cpp-python that is installed here.

    python -m benchmarks.build_peers [--into build/peers] [--only llama-server|llama_cpp.server|llama-index|haystack]

*llama-server* is compiled from the llama.cpp tree inside llama-cpp-python's own source distribution, so both sides run
the same llama.cpp; it takes minutes. *llama_cpp.server* needs a few packages more, which go into
a virtual environment of their own that sees this one: nothing of llama.cpp is compiled again. *llama-index* and
*haystack*, for ``benchmarks.ingest_peers``, are built only when they are named; they share another such environment, so
all sides run the same torch and sentence-transformers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import BUILT, INGEST_PYTHON, LLAMA_SERVER, PYTHON
from rag.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "LLAMA_BUILD_UI": "OFF",  # the page and its download
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
}
_NO_AMX = "-mno-amx-int8"  # as the Makefile has it (docs/decisions/0033)
# With what their readers ask for when they meet a format, by name.
_FRAMEWORKS = {
    "llama-index": (
        "llama-index-core==0.14.25",
        "llama-index-readers-file==0.7.0",
        "llama-index-embeddings-huggingface==0.8.0",
        *("docx2txt==0.9", "python-pptx==1.0.2", "openpyxl==3.1.5", "xlrd==2.0.2"),
        *("EbookLib==0.20", "html2text==2025.4.15", "nbconvert==7.17.2"),
    ),
    "haystack": (
        "haystack-ai==3.4.1",
        "sentence-transformers-haystack==2.0.0",
        *("pypdf==6.21.4", "python-docx==1.2.0", "python-pptx==1.0.2", "openpyxl==3.1.5"),
        *("pandas==2.3.3", "tabulate==0.10.0", "markdown-it-py==4.3.0", "mdit-plain==1.0.1"),
        *("trafilatura==2.3.1", "lxml_html_clean==0.4.6"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.build_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--into", type=Path, default=BUILT, metavar="DIR")
    parser.add_argument("--only", choices=("llama-server", "llama_cpp.server", *_FRAMEWORKS))
    options = parser.parse_args()
    release = f"=={version('llama-cpp-python')}"
    into = options.into.absolute()
    if options.only in _FRAMEWORKS:
        python = into / INGEST_PYTHON
        if not python.exists():
            _make_environment(into / INGEST_PYTHON.parts[0])
        _run([str(python), "-m", "pip", "install", *_FRAMEWORKS[options.only]])
        print(python)
        return
    python = into / PYTHON
    if not python.exists():
        _make_environment(into / PYTHON.parts[0])
    if options.only != "llama-server":
        _run([str(python), "-m", "pip", "install", f"llama-cpp-python[server]{release}"])
        _run([str(python), "-c", "import llama_cpp.server.app"])
    if options.only != "llama_cpp.server":
        _build_llama_server(into, release, python)
    for made in (into / LLAMA_SERVER, python):
        print(made)


def _make_environment(directory: Path) -> None:
    """An environment that finds the packages of the present one after its own."""
    venv.create(directory, with_pip=True)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # sys.path, for this one may itself see packages of another.
    seen = "\n".join(path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"})
    (directory / "lib" / name / "site-packages" / "outer.pth").write_text(seen + "\n", encoding="utf-8")


def _build_llama_server(into: Path, release: str, python: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        _run([str(python), "-m", "pip", "install", "cmake"])
        cmake = str(python.with_name("cmake"))
    with tempfile.TemporaryDirectory(prefix="source-", dir=into) as directory:
        work = Path(directory)
        pip = [str(python), "-m", "pip"]
        only_source = ["--no-deps", "--no-binary", "llama-cpp-python"]
        _run([*pip, "download", *only_source, f"llama-cpp-python{release}", "--dest", str(work)])
        (archive,) = work.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(work, filter="data")
        source = work / archive.name.removesuffix(".tar.gz") / "vendor" / "llama.cpp"
        build = into / LLAMA_SERVER.parts[0]
        shutil.rmtree(build, ignore_errors=True)  # of another release, or of a build that was broken off
        flags = {**_FLAGS, **({"CMAKE_C_FLAGS": _NO_AMX, "CMAKE_CXX_FLAGS": _NO_AMX} if _knows_amx() else {})}
        _run([cmake, "-S", str(source), "-B", str(build), *(f"-D{name}={value}" for name, value in flags.items())])
        _run([cmake, "--build", str(build), "--target", "llama-server", "--parallel", str(available_threads())])


def _knows_amx() -> bool:
    compiler = os.environ.get("CC", "cc")
    asked = subprocess.run([compiler, _NO_AMX, "-x", "c", "-E", os.devnull], capture_output=True, check=False)  # noqa: S603 - the user's
    return asked.returncode == 0


def _run(command: Sequence[str]) -> None:
    print("$ " + " ".join(command), file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603 - built above
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: its own lines above say why")


if __name__ == "__main__":
    main()
