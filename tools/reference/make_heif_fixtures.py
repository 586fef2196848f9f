"""Pictures as phones store them, red above and blue below: tests/fixtures/heif of the crate relens.

    python3 -m pip install pillow-heif
    python3 tools/reference/make_heif_fixtures.py crates/relens/tests/fixtures/heif
"""

import sys
from pathlib import Path

import pillow_heif
from PIL import Image

SIDE = 64


def halves(mode="RGB", upper=(220, 30, 30), lower=(30, 30, 220)):
    picture = Image.new(mode, (SIDE, SIDE), upper)
    picture.paste(lower, (0, SIDE // 2, SIDE, SIDE))
    return picture


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    pillow_heif.register_heif_opener()
    options = {"quality": 90}
    halves().save(directory / "upright.heic", **options)
    halves("RGBA", (220, 30, 30, 0), (30, 30, 220, 255)).save(directory / "transparent.heic", **options)
    deep = b"".join(
        bytes(byte for channel in halves().getpixel((x, y)) for byte in (channel * 257).to_bytes(2, "little"))
        for y in range(SIDE)
        for x in range(SIDE)
    )
    pillow_heif.encode("RGB;16", (SIDE, SIDE), deep, directory / "ten-bit.heic", save_nclx_profile=False, **options)
    if "AVIF" in Image.registered_extensions().values():
        halves().save(directory / "upright.avif", **options)


if __name__ == "__main__":
    main()
