#!/usr/bin/env python3
"""Photographs the README's page: what `relens serve` shows for a query over the gallery, in a real browser.

    pip install -r tools/readme/requirements.txt
    python3 tools/readme/screenshot_page.py target/release/relens docs/images/page.jpg [--query TEXT] [--dark] [--width 1280]

The binary indexes the gallery into a temporary library and serves it; Chromium (`chromium`, or what CHROMIUM names) opens
the page without a window, at the address that holds the query, and waits until the thumbnails are there.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
# The page's own clock runs fast while nothing is asked of the server, so that this is no waiting.
PATIENCE_MILLISECONDS = 15_000


def serve(relens, library, environment):
    """A server on a port that is free, and its address."""
    server = subprocess.Popen(
        [relens, "serve", "--library", library, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )
    for line in server.stdout:
        if found := re.search(r"http://[0-9.]+:[0-9]+", line):
            return server, found[0]
    sys.exit(f"{relens} serve ended with {server.wait()} before it said its address")


def photograph(browser, address, size, dark, path):
    command = [
        browser, "--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--force-device-scale-factor=1",
        f"--window-size={size[0]},{size[1]}", f"--virtual-time-budget={PATIENCE_MILLISECONDS}", f"--screenshot={path}",
    ]
    if dark:
        command.append("--blink-settings=preferredColorScheme=0")
    subprocess.run([*command, address], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=180)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("relens", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--query", default="a brook in the woodland")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=820)
    arguments = parser.parse_args()
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        sys.exit("expected chromium on the PATH, or its path in CHROMIUM; found neither")
    relens = str(arguments.relens.resolve())
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "RELENS_HOME": place}
        library, picture = f"{place}/library", f"{place}/page.png"
        index = [relens, "index", "gallery", "--library", library]
        subprocess.run(index, check=True, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL)
        server, address = serve(relens, library, environment)
        try:
            # The first search opens the model, which a picture of the second need not tell of.
            asked = json.dumps({"query": arguments.query}).encode()
            urlopen(Request(f"{address}/api/v1/search", asked, {"Content-Type": "application/json"}), timeout=120).read()
            page = f"{address}/?{urlencode({'q': arguments.query})}"
            photograph(browser, page, (arguments.width, arguments.height), arguments.dark, picture)
        finally:
            server.terminate()
            server.wait(timeout=30)
        Image.open(picture).convert("RGB").save(arguments.output, quality=88, optimize=True)
    print(f"{arguments.output}: {arguments.output.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
