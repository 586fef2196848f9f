"""Golden fixtures for relens-models' image_preprocessing: what Pillow and open_clip make of the same pictures.

    python3 tools/reference/image_preprocessing.py crates/relens-models/tests/fixtures gallery

writes image_resize.safetensors, image_preprocess.safetensors, image_decode.safetensors (beside each encoded picture
what Pillow decodes: upright, RGB, transparent pictures on white) and, from the gallery's photographs, image_gallery.safetensors (of every fifth
one, some rows as decoded, and the whole resized to 64 x 64).
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import open_clip.transform
import PIL
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from texture import texture

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def versions() -> dict[str, str]:
    return {"pillow": PIL.__version__, "open_clip": open_clip.__version__, "torch": torch.__version__}


def resized() -> dict[str, torch.Tensor]:
    tensors = {}
    for source in [(97, 61), (40, 30), (300, 200)]:
        picture = Image.fromarray(texture(*source))
        for target in [(32, 32), (54, 42), (97, 20)]:
            for name, filter in FILTERS.items():
                key = f"{name}.{source[0]}x{source[1]}.{target[0]}x{target[1]}"
                tensors[key] = torch.tensor(np.array(picture.resize(target, filter)))
    region = Image.fromarray(texture(97, 61)).resize((31, 29), Image.BICUBIC, box=(10.5, 7.25, 70.75, 50.0))
    tensors["region"] = torch.tensor(np.array(region))
    return tensors


def preprocessed() -> dict[str, torch.Tensor]:
    tensors = {}
    for source in [(97, 61), (61, 97), (9, 200), (24, 24)]:
        picture = Image.fromarray(texture(*source))
        for mode in ["squash", "shortest", "longest"]:
            for size in [20, (12, 20)]:
                config = open_clip.transform.PreprocessCfg(
                    size=size, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2), resize_mode=mode, fill_color=9
                )
                values = open_clip.transform.image_transform_v2(config, is_train=False)(picture)
                name = f"{mode}.{source[0]}x{source[1]}.{values.shape[1]}x{values.shape[2]}"
                tensors[name] = values.permute(1, 2, 0).contiguous()
    return tensors


def png(pixels: np.ndarray, color_type: int) -> bytes:
    """A 16-bit PNG, which Pillow reads but does not write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded() -> dict[str, bytes]:
    color = Image.fromarray(texture(45, 35))
    alpha = color.copy()
    alpha.putalpha(Image.fromarray(texture(45, 35, seed=2)[..., 0]))
    palette = color.quantize(64)
    files = {}

    def add(name: str, picture: Image.Image, format: str, **options) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, format, **options)
        files[name] = buffer.getvalue()

    add("jpeg_420", color, "JPEG", quality=90, subsampling=2)
    add("jpeg_422", color, "JPEG", quality=90, subsampling=1)
    add("jpeg_444", color, "JPEG", quality=90, subsampling=0)
    add("jpeg_progressive", color, "JPEG", quality=90, progressive=True)
    add("jpeg_grey", color.convert("L"), "JPEG", quality=90)
    add("jpeg_cmyk", color.convert("CMYK"), "JPEG", quality=95)
    small = Image.fromarray(texture(24, 16))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        add(f"jpeg_orientation_{orientation}", small, "JPEG", quality=95, subsampling=0, exif=exif)
    add("png_rgb", color, "PNG")
    add("png_rgba", alpha, "PNG")
    add("png_grey", color.convert("L"), "PNG")
    add("png_grey_alpha", alpha.convert("LA"), "PNG")
    add("png_palette", palette, "PNG")
    add("png_palette_transparent", palette, "PNG", transparency=3)
    add("png_bits", color.convert("1"), "PNG")
    wide = texture(20, 10).astype(np.uint16) * 257 - 100 * (texture(20, 10) > 0)
    files["png_rgb_16"] = png(wide, 2)
    files["png_rgba_16"] = png(np.concatenate([wide, wide[..., :1]], axis=-1), 6)
    frames = [palette, Image.fromarray(texture(45, 35, seed=3)).quantize(64)]
    add("gif_animated", frames[0], "GIF", save_all=True, append_images=frames[1:])
    add("gif_transparent", palette, "GIF", transparency=3)
    add("webp_lossy", color, "WEBP", quality=90)
    add("webp_lossless", color, "WEBP", lossless=True)
    add("webp_alpha", alpha, "WEBP", lossless=True, exact=True)
    add("bmp", color, "BMP")
    add("tiff", color, "TIFF", compression="tiff_lzw")
    add("tiff_cmyk", color.convert("CMYK"), "TIFF")
    add("ppm", color, "PPM")
    return files


def on_white(picture: Image.Image) -> Image.Image:
    """RGB, with what is transparent laid on white: `channel * alpha + white * (1 - alpha)`, rounded."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    pixels = np.asarray(picture.convert("RGBA")).astype(np.float64)
    channels, alpha = pixels[..., :3], pixels[..., 3:] / 255
    return Image.fromarray(np.rint(channels * alpha + 255 * (1 - alpha)).astype(np.uint8))


def decoded() -> dict[str, torch.Tensor]:
    tensors = {}
    for name, data in encoded().items():
        picture = on_white(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        tensors[f"bytes.{name}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        tensors[f"rgb.{name}"] = torch.tensor(np.array(picture))
    return tensors


def photographs(folder: Path) -> dict[str, torch.Tensor]:
    tensors = {}
    for path in sorted(folder.glob("*.jpg"))[::5]:
        picture = Image.open(path).convert("RGB")
        tensors[f"rows.{path.stem}"] = torch.tensor(np.array(picture)[::64].copy())
        tensors[f"small.{path.stem}"] = torch.tensor(np.array(picture.resize((64, 64), Image.BICUBIC)))
    return tensors


def main() -> None:
    folder = Path(sys.argv[1])
    save_file(resized(), folder / "image_resize.safetensors", versions())
    save_file(preprocessed(), folder / "image_preprocess.safetensors", versions())
    save_file(decoded(), folder / "image_decode.safetensors", versions())
    save_file(photographs(Path(sys.argv[2])), folder / "image_gallery.safetensors", versions())


if __name__ == "__main__":
    main()
