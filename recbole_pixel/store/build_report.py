"""What a build of an image store did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        path: the finished store.
        n_written: pictures decoded and written in this run.
        n_skipped: pictures that were already there.
        bad: item token -> why its picture was left out.
        n_unread: those of the bad whose bytes could not be had (permissions, a failing disk): the next run
            tries them again.
        warnings: what the source itself left out, a line each.
        seconds: wall time.
        up_to_date: nothing was to be done.
    """

    path: Path
    n_written: int = 0
    n_skipped: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    n_unread: int = 0
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    up_to_date: bool = False

    def __str__(self) -> str:
        """The report as lines of text; names every bad picture."""
        if self.up_to_date:
            lines = [f"{self.path} is up to date: {self.n_skipped} pictures, nothing to do"]
        else:
            lines = [
                f"{self.path}: {self.n_written} pictures written, {self.n_skipped} already there, "
                f"{len(self.bad)} bad, in {self.seconds:.1f} s"
            ]
        lines += [f"warning: {line}" for line in self.warnings]
        lines += [f"bad picture of item {token!r}: {reason}" for token, reason in self.bad.items()]
        return "\n".join(lines)
