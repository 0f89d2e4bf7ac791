"""All benchmarks one after the other, each in a process of its own and with a JSON file of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_DATA, _LLAMA_SERVER, _LLAMA_CPP_SERVER = "--data", "--llama-server", "--llama-cpp-server-python"
# What a quick run measures is not worth keeping, and must not be mistaken for a result.
_RESULTS, _TRIED_OUT = Path("benchmarks/results"), Path("build/benchmarks")
# What each of them takes beside the model, --quick and --json.
_TAKES = {
    "single_stream": (),
    "concurrency": (_LLAMA_SERVER, _LLAMA_CPP_SERVER),
    "passages": (_LLAMA_SERVER, _DATA),
    "speculation": (_DATA,),
    "restart": (_DATA,),
    "memory": (_LLAMA_SERVER,),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="a catalog name or a .gguf file (default: the settings' generator)")
    parser.add_argument("--quick", action="store_true", help="small sizes and model, to see that everything runs")
    parser.add_argument("--results", type=Path, metavar="DIR", help=f"default {_RESULTS}, of a quick run {_TRIED_OUT}")
    parser.add_argument("--only", nargs="+", choices=tuple(_TAKES), default=tuple(_TAKES), metavar="NAME")
    for flag in (_DATA, _LLAMA_SERVER, _LLAMA_CPP_SERVER):
        parser.add_argument(flag, type=Path, metavar="PATH", help=f"for those that take it; see {flag} of each")
    options = parser.parse_args()
    given = {
        _DATA: options.data,
        _LLAMA_SERVER: options.llama_server,
        _LLAMA_CPP_SERVER: options.llama_cpp_server_python,
    }
    results = options.results or (_TRIED_OUT if options.quick else _RESULTS)
    failed = []
    for name in options.only:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        command += [options.model] if options.model else []
        command += ["--quick"] if options.quick else []
        for flag in _TAKES[name]:
            command += [flag, str(given[flag])] if given[flag] else []
        print(f"\n== {name}", flush=True)
        if subprocess.run([*command, "--json", results / f"{name}.json"], check=False).returncode:  # noqa: S603
            failed.append(name)
    if failed:
        raise SystemExit(f"did not run to the end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
