"""Turn a terminal's colored output on standard input into a picture (SVG) for the README.

FORCE_COLOR=1 TTY_INTERACTIVE=0 COLUMNS=110 rag ask --file examples/questions.txt >demo.txt
python docs/make_picture.py docs/demo.svg <demo.txt
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

WIDTH = 112


def main(target: Path) -> None:
    """Draw what stands on standard input."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo", style="bold green"))
    console.print(Text.from_ansi(sys.stdin.read().rstrip()))
    picture = console.export_svg(title="Plumbline", theme=MONOKAI)
    # No fonts from elsewhere: a page that shows the picture makes no request because of it.
    target.write_text(re.sub(r"@font-face\s*{[^}]*}", "", picture), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
