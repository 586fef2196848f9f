"""Arguments in the one form that the native module takes, and errors that name what was wrong with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Floats: TypeAlias = NDArray[np.float32]
Path: TypeAlias = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
ImageLike: TypeAlias = Union[Path, "Image", NDArray[np.uint8]]


def refused(name: str, expected: str, found: str) -> ValueError:
    """The error for an argument."""
    return ValueError(f"{name}: expected {expected}, found {found}")


def described(value: object) -> str:
    """A value in few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and the shape {value.shape}"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "…")
    if isinstance(value, (list, tuple)) and not value:
        return "an empty list"
    return f"a {type(value).__name__}"


def texts_of(name: str, value: object) -> tuple[list[str], bool]:
    """Texts as a list, and whether there is one that stood alone."""
    if isinstance(value, str):
        value, single = [value], True
    else:
        single = False
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO" and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, (bytes, bytearray)):
        raise refused(name, "a text or a list of texts", described(value))
    if not value:
        raise refused(name, "at least one text", described(list(value)))
    for position, text in enumerate(value):
        where = name if single else f"{name}[{position}]"
        if not isinstance(text, str):
            raise refused(where, "a text", described(text))
        if not text.strip():
            raise refused(where, "a text with something in it", described(text))
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise refused(where, "a text in Unicode", "one with lone surrogates in it") from None
    return [str(text) for text in value], single


def pictures_of(name: str, value: object) -> tuple[list[Any], bool]:
    """Pictures as a list of paths and arrays that are not copied yet, and whether one stood alone."""
    if isinstance(value, np.ndarray):
        if value.ndim == 4:
            value = list(value)
        elif value.ndim == 3:
            return [value], True
        else:
            raise refused(name, "uint8 pixels of the shape (height, width, 3)", described(value))
    if _is_path(value) or _is_pil(value):
        return [value], True
    if not isinstance(value, Sequence):
        raise refused(name, "a picture or a list of pictures", described(value))
    if not value:
        raise refused(name, "at least one picture", described(list(value)))
    return list(value), False


def picture_of(name: str, value: object) -> str | NDArray[np.uint8]:
    """One picture as the native module takes it: a path, or contiguous uint8 pixels, [height, width, 3]."""
    if _is_path(value):
        path = os.fsdecode(value)  # type: ignore[arg-type]
        if "\0" in path:
            raise refused(name, "a path", "one with a zero byte in it")
        return path
    if _is_pil(value):
        return _pixels(value)
    if isinstance(value, np.ndarray):
        fits = value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3 and value.size > 0
        if not fits:
            raise refused(name, "uint8 pixels of the shape (height, width, 3)", described(value))
        return np.ascontiguousarray(value)
    raise refused(name, "a path, a PIL image or an array of pixels", described(value))


def _is_path(value: object) -> bool:
    return isinstance(value, (str, bytes, os.PathLike))


def _is_pil(value: object) -> bool:
    # Without an import: who has an image has Pillow.
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__)


def _pixels(image: Any) -> NDArray[np.uint8]:
    """Upright and in RGB, transparent pixels on white: as a file of it is read."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def vectors_of(name: str, value: object) -> tuple[Floats, bool]:
    """Vectors as a contiguous float32 matrix, not copied if they are that, and whether one stood alone."""
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            raise refused(name, "vectors of one length", described(value)) from None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim not in (1, 2):
        raise refused(name, "a float32 array of one or two dimensions", described(value))
    single = value.ndim == 1
    if value.size == 0:
        raise refused(name, "at least one vector", described(value))
    return np.ascontiguousarray(np.atleast_2d(value), dtype=np.float32), single


def numbers_of(name: str, value: object) -> Floats:
    """Numbers as a contiguous float32 array of one dimension, not copied if they are that."""
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            raise refused(name, "numbers", described(value)) from None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim != 1:
        raise refused(name, "numbers of one dimension", described(value))
    return np.ascontiguousarray(value, dtype=np.float32)


def count_of(name: str, value: object, least: int = 1) -> int:
    """A whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise refused(name, f"a whole number of at least {least}", described(value))
    return int(value)


def path_of(name: str, value: object) -> str:
    """A path."""
    if not _is_path(value):
        raise refused(name, "a path", described(value))
    path = os.fsdecode(value)  # type: ignore[arg-type]
    if not path or "\0" in path:
        raise refused(name, "a path", described(path))
    return path


def words_of(name: str, value: object) -> list[str]:
    """A text or texts, none among them: keyword arguments of an edit."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
        raise refused(name, "a text or a list of texts", described(value))
    return list(value)
