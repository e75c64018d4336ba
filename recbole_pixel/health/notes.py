"""What was noticed of a run: each thing once, in the log and in the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import getLogger
from typing import Any, NamedTuple

WARNING, HINT = "warning", "hint"


class Note(NamedTuple):
    """Something that was noticed.

    Attributes:
        kind: what, in a word that programs can compare.
        level: ``warning``, or ``hint`` where nothing is wrong but more could be had.
        epoch: in which, from 0.
        step: of the optimiser, from 0; None where it is not about a step.
        message: what was found, what it means and what to do.
    """

    kind: str
    level: str
    epoch: int
    step: int | None
    message: str


class Notes:
    """The notes of a run, one of each kind.

    Args:
        speaks: whether to write them into the log; one rank of several does.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.speaks, self.found, self.epoch = speaks, dict[str, Note](), 0

    def tell(self, kind: str, message: str, step: int | None = None, level: str = WARNING) -> None:
        """Notes something, unless something of its kind was noted before."""
        if kind in self.found:
            return
        self.found[kind] = Note(kind, level, self.epoch, step, message)
        if self.speaks:
            log = getLogger().warning if level == WARNING else getLogger().info
            log(f"{message} [{kind}]")

    def withdraw(self, kind: str) -> None:
        """Takes back what no longer holds."""
        if self.found.pop(kind, None) is not None and self.speaks:
            getLogger().info(f"[{kind}] no longer holds")

    def __contains__(self, kind: object) -> bool:
        return kind in self.found

    def plain(self) -> list[dict[str, Any]]:
        """All notes as plain values, in the order in which they were made."""
        return [note._asdict() for note in self.found.values()]

    def take(self, notes: Iterable[Mapping[str, Any]]) -> None:
        """Takes notes as :meth:`plain` gave them: they were told, and are not told again."""
        self.found = {note["kind"]: Note(**note) for note in notes}
