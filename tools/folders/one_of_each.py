"""Makes a folder with one of each kind of file that people have, and checks that `relens index` accounts for all of them.

    python3 tools/folders/one_of_each.py make DIR            # DIR must not exist
    python3 tools/folders/one_of_each.py check DIR RELENS    # RELENS: the program, in an empty RELENS_HOME

Needs nothing but Python; the photographs are those of `gallery/`. `check` indexes, counts again by itself, moves a
folder, unplugs one and plugs it in again, and ends with status 1 if a file is not accounted for.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GALLERY = REPOSITORY / "gallery"
PHONE = REPOSITORY / "crates" / "relens" / "tests" / "fixtures" / "heif"


def png(path, color, width=64, height=48):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(color) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if len(color) == 3 else 6, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(data)


def bmp(path, color):
    width, height = 32, 24
    pixels = bytes(color[::-1]) * width * height
    header = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    path.write_bytes(header + pixels)


def ppm(path, color):
    path.write_bytes(b"P6\n32 24\n255\n" + bytes(color) * 32 * 24)


def tga(path, color):
    path.write_bytes(struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 32, 24, 24, 0) + bytes(color) * 32 * 24)


def entry(tag, kind, count, value):
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


def tiff(path, color):
    """One strip of RGB."""
    pixels = bytes(color) * 32 * 24
    entries = [
        entry(256, 3, 1, struct.pack("<H", 32)), entry(257, 3, 1, struct.pack("<H", 24)),
        entry(258, 3, 3, struct.pack("<I", 8 + 2 + 9 * 12 + 4)), entry(259, 3, 1, struct.pack("<H", 1)),
        entry(262, 3, 1, struct.pack("<H", 2)), entry(273, 4, 1, struct.pack("<I", 8 + 2 + 9 * 12 + 4 + 6)),
        entry(277, 3, 1, struct.pack("<H", 3)), entry(278, 3, 1, struct.pack("<H", 24)),
        entry(279, 4, 1, struct.pack("<I", len(pixels))),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<HHH", 8, 8, 8) + pixels)


def exif(taken, camera, latitude, longitude):
    """A TIFF block with a date, a camera and a place."""
    def degrees(value):
        return struct.pack("<6I", int(abs(value)), 1, int(abs(value) % 1 * 60), 1, 0, 1)

    main_at, blob = 8, b""
    sizes = {"main": 2 + 3 * 12 + 4, "exif": 2 + 1 * 12 + 4, "gps": 2 + 4 * 12 + 4}
    exif_at = main_at + sizes["main"]
    gps_at = exif_at + sizes["exif"]
    blob_at = gps_at + sizes["gps"]

    def long_value(data):
        nonlocal blob
        at = blob_at + len(blob)
        blob += data + b"\0" * (len(data) % 2)
        return struct.pack("<I", at)

    def directory(entries):
        return struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)

    name = camera.encode() + b"\0"
    main = directory([
        entry(272, 2, len(name), long_value(name)), entry(34665, 4, 1, struct.pack("<I", exif_at)),
        entry(34853, 4, 1, struct.pack("<I", gps_at)),
    ])
    date = taken.encode() + b"\0"
    shot = directory([entry(36867, 2, len(date), long_value(date))])
    gps = directory([
        entry(1, 2, 2, b"N\0" if latitude >= 0 else b"S\0"), entry(2, 5, 3, long_value(degrees(latitude))),
        entry(3, 2, 2, b"E\0" if longitude >= 0 else b"W\0"), entry(4, 5, 3, long_value(degrees(longitude))),
    ])
    return b"II*\0" + struct.pack("<I", main_at) + main + shot + gps + blob


def jpeg(path, source, block=None):
    data = source.read_bytes()
    if block:
        body = b"Exif\0\0" + block
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    path.write_bytes(data)


def raw(path, source):
    """A TIFF whose one directory points to a JPEG, as negatives hold their previews."""
    preview = source.read_bytes()
    entries = [
        entry(254, 4, 1, struct.pack("<I", 1)), entry(259, 3, 1, struct.pack("<H", 6)),
        entry(513, 4, 1, struct.pack("<I", 8 + 2 + 4 * 12 + 4)), entry(514, 4, 1, struct.pack("<I", len(preview))),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + preview)


def make(root):
    photographs = sorted(GALLERY.glob("*.jpg"))
    root.mkdir(parents=True)
    formats, dates, odd, drive = root / "formats", root / "dates", root / "odd", root / "drive"
    for folder in (formats, dates, odd, drive, root / ".thumbnails", root / "clip.frames"):
        folder.mkdir()
    jpeg(formats / "photograph.JPG", photographs[0])
    jpeg(formats / "stereo.mpo", photographs[1])
    png(formats / "drawing.png", (200, 30, 30))
    png(formats / "transparent.png", (200, 30, 30, 0))
    bmp(formats / "old.bmp", (30, 200, 30))
    ppm(formats / "plain.ppm", (30, 30, 200))
    tga(formats / "game.tga", (90, 30, 200))
    tiff(formats / "scan.tiff", (90, 130, 20))
    raw(formats / "negative.dng", photographs[2])
    (formats / "without-preview.nef").write_bytes(b"II*\0" + struct.pack("<IHI", 8, 0, 0))
    for name in ("vector.svg", "layers.psd", "wavelets.jp2", "new.jxl"):
        (formats / name).write_bytes(b"not read")
    for name in ("upright.heic", "upright.avif"):
        (formats / name).write_bytes((PHONE / name).read_bytes())
    (formats / "clip.mp4").write_bytes(b"not a video")
    jpeg(dates / "summer.jpg", photographs[3], exif("2023:07:14 12:30:00", "Pixel 7", 48.86, 2.29))
    jpeg(dates / "year-zero.jpg", photographs[4], exif("0000:00:00 00:00:00", "Odd", 48.86, 2.29))
    jpeg(dates / "future.jpg", photographs[5], exif("9999:12:31 23:59:59", "Odd", 200.0, 400.0))
    (dates / "summer.txt").write_text("the tower on a <b>bright</b> day\n")
    (dates / "summer.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>'
        '<rdf:li xml:lang="x-default">a tower</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    jpeg(odd / "twice.jpg", photographs[0])
    (odd / "truncated.jpg").write_bytes(photographs[6].read_bytes()[:2000])
    (odd / "empty.png").write_bytes(b"")
    (odd / "no-picture.jpg").write_text("a text\n")
    (odd / "notes.docx").write_bytes(b"no picture")
    (odd / "link.jpg").symlink_to(formats / "photograph.JPG")
    (odd / "loop").symlink_to(root)
    os.mkfifo(odd / "pipe.jpg")
    (root / ".hidden.jpg").write_bytes(photographs[7].read_bytes())
    png(root / ".thumbnails" / "small.png", (1, 2, 3))
    for number in range(3):
        png(root / "clip.frames" / f"{number}.png", (80 * number, 20, 20))
    for number, photograph in enumerate(photographs[8:12]):
        jpeg(drive / f"{number}.jpg", photograph)


def count(root):
    """Entries that a scan meets: files, links and pipes; a hidden folder or one of frames is one."""
    found = 0
    for directory, folders, files in os.walk(root):
        for name in list(folders):
            whole = name.startswith(".") or name.endswith(".frames") or os.path.islink(os.path.join(directory, name))
            if whole:
                folders.remove(name)
                found += 1
        found += len(files)
    return found


def index(relens, root, home, *options):
    command = [relens, "--quiet", "index", str(root), "--json", *options]
    environment = {**os.environ, "RELENS_HOME": str(home)}
    return json.loads(subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout)


def accounted(report):
    became = ("added", "changed", "moved", "copied", "unchanged", "skipped", "links", "hidden", "others")
    return sum(report[name] for name in became) + sum(report["not_read"].values())


def check(root, relens):
    wrong = []

    def expect(what, found, expected):
        print(f"{what}: {found}" + ("" if found == expected else f", EXPECTED {expected}"))
        if found != expected:
            wrong.append(what)

    with tempfile.TemporaryDirectory() as home:
        first = index(relens, root, home)
        print(json.dumps(first))
        expect("files accounted for", accounted(first), count(root))
        again = index(relens, root, home)
        expect("second run, added", again["added"], 0)
        expect("second run, accounted for", accounted(again), count(root))
        (root / "drive").rename(root / "moved")
        moved = index(relens, root, home)
        expect("folder moved, pictures that moved", moved["moved"], 4)
        expect("folder moved, added", moved["added"], 0)
        (root / "moved").rename(root / "drive")
        index(relens, root, home)
        index(relens, root / "drive", home)
        with tempfile.TemporaryDirectory(dir=root.parent) as elsewhere:
            (root / "drive").rename(Path(elsewhere) / "drive")
            (root / "drive").mkdir()
            unplugged = index(relens, root / "drive", home)
            expect("unplugged, folders kept", len(unplugged["kept"]), 1)
            (root / "drive").rmdir()
            (Path(elsewhere) / "drive").rename(root / "drive")
        plugged = index(relens, root / "drive", home)
        expect("plugged in again, added", plugged["added"], 0)
        expect("plugged in again, unchanged", plugged["unchanged"], 4)
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(Path(sys.argv[2]).absolute())
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        sys.exit(check(Path(sys.argv[2]).absolute(), sys.argv[3]))
    else:
        sys.exit(__doc__)
