"""What things look like, and how people change it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union

from relens import _relens
from relens._arguments import count_of, described, path_of, refused, words_of

#: One text or several.
Texts = Union[str, Sequence[str], None]


class Knowledge:
    """The knowledge base that enhancers describe entities from.

    Args:
        path: a database (``.db``); the one that searches use (``evd.db`` in relens's own directory) if none is named.

    The bundled knowledge base is copied there at the first edit. Every edit is a revision, which can be taken back.
    Several processes may edit one base: they wait for each other.

    >>> import tempfile
    >>> from relens import Knowledge
    >>> knowledge = Knowledge(tempfile.mkdtemp() + "/mine.db")
    >>> revision = knowledge.add("shandong ship", is_a="aircraft carrier", has="ski-jump bow")
    >>> knowledge.get("shandong ship")["senses"][0]["descriptions"][0]["text"]
    'an aircraft carrier'
    >>> knowledge.undo()["action"]
    'undo'
    >>> "shandong ship" in knowledge
    False
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._native = _relens.Knowledge(None if path is None else path_of("path", path))

    @property
    def path(self) -> Path:
        """The database."""
        return Path(self._native.path)

    def get(self, name: str) -> dict[str, Any] | None:
        """The entity of this name or alias: ``{"entity", "visual", "frequency", "aliases", "senses"}``, or None."""
        entity: dict[str, Any] | None = self._native.get(_name(name))
        return entity

    def find(self, text: str) -> list[tuple[str, str]]:
        """The entities that a text names, left to right: the words as they stand there, and the entity's name."""
        return self._native.find(_name(text, "text"))

    def add(
        self,
        name: str,
        *,
        is_a: Texts = None,
        has: Texts = None,
        sense: str | None = None,
        aliases: Texts = None,
    ) -> dict[str, Any] | None:
        """Adds an entity, or descriptions and aliases to one that is there.

        Args:
            name: its name.
            is_a: what it is: other entities, whose descriptions it shares, or phrases.
            has: descriptions that read naturally after "which has".
            sense: the sense that they belong to, such as ``"animal"`` for a bat; the first if none is named.
            aliases: other names for it.

        Returns:
            The revision ``{"id", "at", "action", "changed", "entity"}``, or None if nothing changed.

        Raises:
            ValueError: if the entity cannot be taken; the message names the field.
        """
        revision: dict[str, Any] | None = self._native.add(
            _name(name), words_of("is_a", is_a), words_of("has", has), sense, words_of("aliases", aliases)
        )
        return revision

    def edit(
        self,
        name: str,
        *,
        is_a: Texts = None,
        has: Texts = None,
        sense: str | None = None,
        aliases: Texts = None,
        drop: Texts = None,
        drop_aliases: Texts = None,
        rename: str | None = None,
    ) -> dict[str, Any] | None:
        """Changes an entity: descriptions that are given replace those of the sense.

        Args:
            name: its name or an alias.
            is_a: as for :meth:`add`.
            has: as for :meth:`add`.
            sense: as for :meth:`add`.
            aliases: other names to be added.
            drop: descriptions to take away.
            drop_aliases: aliases to take away.
            rename: a new name.

        Returns:
            The revision, or None if nothing changed.

        Raises:
            ValueError: for an entity that there is not, or what cannot be taken.
        """
        revision: dict[str, Any] | None = self._native.edit(
            _name(name),
            words_of("is_a", is_a),
            words_of("has", has),
            sense,
            words_of("aliases", aliases),
            words_of("drop", drop),
            words_of("drop_aliases", drop_aliases),
            rename,
        )
        return revision

    def remove(self, name: str) -> dict[str, Any] | None:
        """Removes an entity by its name; the revision that did it."""
        revision: dict[str, Any] | None = self._native.remove(_name(name))
        return revision

    def history(self, entity: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """The latest revisions first, of one entity or of all."""
        name = None if entity is None else _name(entity, "entity")
        revisions: list[dict[str, Any]] = self._native.history(name, count_of("limit", limit))
        return revisions

    def undo(self, revision: int | None = None) -> dict[str, Any]:
        """Takes back a revision, or the latest; the undo can be taken back in its turn.

        Raises:
            RelensError: if there is nothing to take back.
        """
        number = None if revision is None else count_of("revision", revision)
        undone: dict[str, Any] = self._native.undo(number)
        return undone

    def import_files(self, paths: Any, replace: bool = False) -> dict[str, Any]:
        """Takes in entities from files in one revision, or nothing.

        Args:
            paths: one path or many, in any format of ``relens kb import``.
            replace: whether they become the whole knowledge base.

        Returns:
            ``{"added", "changed", "removed", "unchanged", "revision"}``.
        """
        several = paths if isinstance(paths, (list, tuple)) else [paths]
        if not several:
            raise refused("paths", "at least one path", described(paths))
        found = [path_of("paths", path) for path in several]
        summary: dict[str, Any] = self._native.import_files(found, bool(replace))
        return summary

    def export(self, path: str | os.PathLike[str]) -> None:
        """Writes all entities as JSON Lines, sorted by name; the file is there when it is whole."""
        self._native.export(path_of("path", path))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(name.strip()) and self.get(name) is not None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._native.entities())

    def __len__(self) -> int:
        return len(self._native.entities())

    def __repr__(self) -> str:
        return f"Knowledge({str(self.path)!r})"


def _name(value: object, name: str = "name") -> str:
    if not isinstance(value, str) or not value.strip():
        raise refused(name, "a text", described(value))
    return value
