#!/usr/bin/env python3
"""Draws the README's picture: a terminal in which relens indexes the gallery and searches it.

    pip install -r tools/readme/requirements.txt
    python3 tools/readme/record_terminal.py target/release/relens docs/images/terminal.svg

Every command of COMMANDS is run by the given binary, in a terminal of its own, with the repository as its working
directory and an empty RELENS_HOME. What it prints is drawn as it is, but for one thing: the temporary directory that the
library was made in is shown as the one that a user would have. The picture plays once, then stands still; where
animations are not played, it shows the end from the start.
"""

import os
import pty
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = [
    "relens index gallery",
    'relens search "people making musik on a stage" -k 3',
    'relens search "a brook in the woodland" -k 3',
    'relens rewrite "pooch snarling at a laddie"',
]

COLUMNS = 80
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 8.43, 21, 14
MARGIN, TITLE_BAR = 22, 38
# One dark window for light and dark pages: its border sets it off from either.
BACKGROUND, TITLE, BORDER = "#16191f", "#22262e", "#4b5261"
TEXT, BRIGHT, DIM, PROMPT = "#c9d1d9", "#ffffff", "#828b98", "#7ee787"
SECONDS_A_CHARACTER, SECONDS_BEFORE_OUTPUT, SECONDS_AFTER_OUTPUT = 0.016, 0.2, 0.5


def run_in_terminal(arguments, environment):
    """All bytes that a command writes to a terminal of 80 columns."""
    terminal, command_side = pty.openpty()
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=command_side, stderr=command_side, cwd=REPOSITORY, env=environment
    )
    os.close(command_side)
    written = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # Linux says so when the command has closed its side
            break
        if not block:
            break
        written += block
    os.close(terminal)
    if process.wait() != 0:
        sys.exit(f"{shlex.join(arguments)} failed:\n{written.decode(errors='replace')}")
    return written


def lines_of(written):
    """What a terminal shows of these bytes: lines of (first column, text, is bold, is dim)."""
    # pyte knows no dim text; blue, which relens never uses, stands for it.
    written = written.replace(b"\x1b[2m", b"\x1b[34m")
    screen = pyte.Screen(COLUMNS, 60)
    pyte.ByteStream(screen).feed(written)
    lines = []
    for row in range(screen.cursor.y + 1):
        runs = []
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            style = (cell.bold, cell.fg == "blue")
            if runs and runs[-1][2:] == style:
                runs[-1] = (runs[-1][0], runs[-1][1] + cell.data, *style)
            else:
                runs.append((column, cell.data, *style))
        lines.append([run for run in runs if run[1].strip()])
    while lines and not lines[-1]:
        lines.pop()
    return lines


def record(binary):
    """(command, lines of its output) for every command."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RELENS_")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "RELENS_DATA": str(REPOSITORY)}
    shown_home = b"/home/me/.local/share/relens"
    with tempfile.TemporaryDirectory() as home:
        environment["RELENS_HOME"] = home
        recorded = []
        for command in COMMANDS:
            written = run_in_terminal([binary, *shlex.split(command)[1:]], environment)
            recorded.append((command, lines_of(written.replace(home.encode(), shown_home))))
    return recorded


def text_element(column, y, text, colour, is_bold):
    """One run of text, stretched to the width that it has in a terminal, whatever the font."""
    stripped = text.strip()
    x = MARGIN + (column + len(text) - len(text.lstrip())) * CELL_WIDTH
    weight = ' font-weight="bold"' if is_bold else ""
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{colour}"{weight} textLength="{len(stripped) * CELL_WIDTH:.1f}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(stripped)}</text>'
    )


def draw(recorded):
    """The recording as an SVG document."""
    width = round(2 * MARGIN + COLUMNS * CELL_WIDTH)
    body, seconds, y = [], 0.4, TITLE_BAR + 32
    for command, lines in recorded:
        typing = len(command) * SECONDS_A_CHARACTER
        body.append(text_element(0, y, "$", PROMPT, True))
        body.append(text_element(2, y, command, BRIGHT, False))
        # A cover over the command that draws back to the right, a character at a time.
        body.append(
            f'<rect class="cover" x="{MARGIN + 2 * CELL_WIDTH:.1f}" y="{y - 16}" '
            f'width="{len(command) * CELL_WIDTH:.1f}" height="{LINE_HEIGHT}" '
            f'style="animation-duration:{typing:.2f}s;animation-delay:{seconds:.2f}s;'
            f'animation-timing-function:steps({len(command)})"/>'
        )
        seconds += typing + SECONDS_BEFORE_OUTPUT
        body.append(f'<g class="output" style="animation-delay:{seconds:.2f}s">')
        for line in lines:
            y += LINE_HEIGHT
            for column, text, is_bold, is_dim in line:
                body.append(text_element(column, y, text, DIM if is_dim else BRIGHT if is_bold else TEXT, is_bold))
        body.append("</g>")
        y += round(LINE_HEIGHT * 1.6)
        seconds += SECONDS_AFTER_OUTPUT
    height = y - LINE_HEIGHT + 8
    spoken = " ".join(command for command, _ in recorded)
    dots = "".join(
        f'<circle cx="{24 + 20 * place}" cy="{TITLE_BAR / 2}" r="6" fill="{colour}"/>'
        for place, colour in enumerate(["#ff5f57", "#febc2e", "#28c840"])
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>A terminal in which relens indexes a folder of forty pictures and searches it</title>
<desc>{escape(spoken)}</desc>
<style>
text {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; font-size: {FONT_SIZE}px; white-space: pre; }}
.cover {{ fill: {BACKGROUND}; fill-opacity: 0; transform-box: fill-box; transform-origin: right; animation-name: type; animation-fill-mode: backwards; }}
.output {{ animation: show 0.01s backwards; }}
@keyframes type {{ from {{ fill-opacity: 1; transform: scaleX(1); }} to {{ fill-opacity: 1; transform: scaleX(0); }} }}
@keyframes show {{ from {{ opacity: 0; }} to {{ opacity: 1; }} }}
@media (prefers-reduced-motion: reduce) {{ .cover, .output {{ animation: none; }} }}
</style>
<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="{BACKGROUND}" stroke="{BORDER}"/>
<path d="M1 {TITLE_BAR}V11a10 10 0 0 1 10-10H{width - 11}a10 10 0 0 1 10 10V{TITLE_BAR}z" fill="{TITLE}"/>
{dots}
{chr(10).join(body)}
</svg>
"""


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    binary, picture = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    picture.write_text(draw(record(str(binary))), encoding="utf-8")


if __name__ == "__main__":
    main()
