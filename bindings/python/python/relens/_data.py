"""Where the bundled models are: in ``share/relens`` of the place that this package is installed in."""

from __future__ import annotations

import os
import site
import sysconfig
from pathlib import Path

from relens import _relens


def _places() -> list[Path]:
    schemes = [sysconfig.get_path("data"), site.getuserbase()]
    return [Path(place, "share", "relens") for place in schemes if place]


def _register() -> None:
    for place in _places():
        if place.is_dir():
            _relens.add_data_directory(os.fspath(place))


def bundled_models() -> list[str]:
    """The names of the retrievers that come with relens, sorted."""
    return _relens.bundled_models()


def data_directory(name: str) -> Path:
    """The directory of a bundled model (``"relens-mini"``, ``"evd"``), or of the ``"gallery"`` of pictures.

    Raises:
        ModelError: if there is none of this name.
    """
    return Path(_relens.data_file(name))


_register()
