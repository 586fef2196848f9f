"""What conditions add to a search among 100,000 pictures: the processor's time of `relens search` with and without.

    python3 tools/folders/time_filters.py RELENS LIBRARY [ROUNDS]

RELENS is the program; LIBRARY, a directory that does not exist, gets 100,000 pictures whose files are missing: rows of the
gallery's library under other paths, dates, places and cameras. The searches take turns, and the processor's time is
compared, which other work on the computer disturbs less than the clock. Needs nothing but Python.
"""

import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = 100_000
GALLERY = Path(__file__).resolve().parents[2] / "gallery"
CONDITIONS = {
    "none": [],
    "half of the dates": ["--after", "2015"],
    "all of the dates": ["--after", "1990"],
    "one of 20 folders": ["--in", "album-7"],
    "all folders": ["--in", "albums"],
    "one of 4 cameras": ["--camera", "Pixel"],
    "near a place": ["--near", "48.86,2.29,50"],
    "several": ["--after", "2015", "--not-in", "album-7", "--camera", "Pixel", "--type", "picture"],
}


def make(relens, library, home):
    environment = {**os.environ, "RELENS_HOME": home}
    subprocess.run([relens, "--quiet", "index", str(GALLERY), "--library", library], check=True, env=environment, stdout=subprocess.DEVNULL)
    draw = random.Random(0)
    connection = sqlite3.connect(Path(library) / "relens.db")
    vectors = [row[0] for row in connection.execute("SELECT vector FROM vectors")]
    cameras = ["Pixel 7", "iPhone 13", "NIKON D90", None]
    first = connection.execute("SELECT max(id) FROM images").fetchone()[0] + 1
    for identity in range(first, PICTURES + 1):
        path = f"/pictures/albums/album-{identity % 20}/{identity}.jpg".encode()
        taken = draw.randrange(946_684_800, 1_893_456_000)
        place = (draw.uniform(-60, 70), draw.uniform(-180, 180)) if identity % 3 else (None, None)
        connection.execute(
            "INSERT INTO images (id, path, size, modified, width, height, taken, camera, latitude, longitude) "
            "VALUES (?, ?, 1, 1, 640, 480, ?, ?, ?, ?)",
            (identity, path, taken, cameras[identity % 4], *place),
        )
        connection.execute("INSERT INTO vectors VALUES (?, ?)", (identity, vectors[identity % len(vectors)]))
    connection.commit()


def search(relens, library, home, options):
    command = [relens, "--quiet", "search", "a dog", "--enhancer", "identity", "--missing", "--json", "-k", "1", "--library", library]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "RELENS_HOME": home}
    found = subprocess.run(command + options, check=True, env=environment, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    json.loads(found)
    return 1000 * (after.ru_utime - before.ru_utime)


def main():
    relens, library = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 15
    with tempfile.TemporaryDirectory() as home:
        if not Path(library).exists():
            make(relens, library, home)
        times = {name: [] for name in CONDITIONS}
        for _ in range(rounds):
            for name, options in CONDITIONS.items():
                times[name].append(search(relens, library, home, options))
    plain = statistics.median(times["none"])
    for name, taken in times.items():
        taken = statistics.median(taken)
        print(f"{name:20} {taken:7.1f} ms {taken - plain:+7.1f} ms")


if __name__ == "__main__":
    main()
