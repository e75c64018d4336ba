"""How much of an encoder learns: ``frozen``, ``top:K`` or ``full``."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """A tuning policy.

    Attributes:
        kind: ``frozen``, ``top`` or ``full``.
        n_stages: how many of the last stages learn; 0 unless ``kind`` is ``top``.
    """

    kind: str
    n_stages: int = 0

    @classmethod
    def parse(cls, text: str) -> Tuning:
        """The policy that ``text`` names.

        Args:
            text: ``frozen``, ``full`` or ``top:K`` with K >= 1.

        Raises:
            ValueError: ``text`` is none of these.
        """
        text = str(text).strip()
        if text in ("frozen", "full"):
            return cls(text)
        match = re.fullmatch(r"top:(\d+)", text)
        if match and int(match.group(1)) > 0:
            return cls("top", int(match.group(1)))
        raise ValueError(f"tune is {text!r}; expected frozen, full, or top:K with K >= 1, such as top:1")

    def cut(self, n_stages: int) -> int:
        """The number of leading stages that stay frozen, of ``n_stages`` that lie between stem and tail.

        Returns:
            -1 when nothing is frozen; ``n_stages`` + 1 when everything is, the tail included.

        Raises:
            ValueError: more stages are asked for than there are.
        """
        if self.kind == "full":
            return -1
        if self.kind == "frozen":
            return n_stages + 1
        if self.n_stages > n_stages:
            raise ValueError(f"tune is top:{self.n_stages}, but the encoder has {n_stages} stages; use full")
        return n_stages - self.n_stages

    def __str__(self) -> str:
        return f"top:{self.n_stages}" if self.kind == "top" else self.kind
