"""Draw docs/images/replay.svg: the terminal while these commands run on a temporary platform.

`nox -s picture` runs it. The commands are real; only the platform's start is left out of the picture.
"""

import io
import json
import os
import pty
import re
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

VALERIX = Path(sys.executable).with_name("valerix")
PICTURE = Path(__file__).parent / "images" / "replay.svg"
COLUMNS = 104
COMMANDS = (
    "order place ps5 --key demo-1",
    "order replay demo-1 --times 5 --concurrency 5",
    "order replay demo-1 --times 1 --mutate",
    "chaos on latency --delay 5s --ttl 60s --seed 42",
    "order place ps5 --key demo-2",
    "chaos off",
    "order watch {newest}",
    "order trace {newest}",
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="valerix-picture-") as directory:
        Path(directory).chmod(0o755)
        environ = os.environ | {
            "VALERIX_STATE_DIR": f"{directory}/state",
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
        }
        subprocess.run([VALERIX, "up", "--detach", "--quiet"], env=environ, check=True)  # nosec B603 # our own command
        try:
            screens = []
            for template in COMMANDS:
                command = template.format(newest=newest(environ) if "{newest}" in template else "")
                screens.append((command, seen(command, environ)))
        finally:
            subprocess.run([VALERIX, "down", "--quiet"], env=environ, check=True)  # nosec B603 # our own command
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command, screen in screens:
        if command.startswith("order watch"):  # waits for the worker; a live view cannot be drawn
            continue
        console.print(Text.assemble(("$ ", "bold green"), (f"valerix {command}", "bold")))
        console.print(Text.from_ansi(screen), end="\n\n")
    drawing = console.export_svg(title="valerix")
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL))


def newest(environ: dict[str, str]) -> str:
    """Return the id of the newest order."""
    listed = subprocess.run(  # nosec B603 # our own command
        [VALERIX, "order", "list", "-o", "json", "-q"], env=environ, check=True, capture_output=True
    )
    return str(json.loads(listed.stdout)[0]["order_id"])


def seen(command: str, environ: dict[str, str]) -> str:
    """Run one command on a new terminal and return its output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([VALERIX, *command.split()], env=environ, stdout=theirs, stderr=theirs)  # nosec B603 # our own command
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    process.wait()
    os.close(ours)
    return written.decode().replace("\r\n", "\n").rstrip("\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux raises it at the end
        return b""


if __name__ == "__main__":
    main()
