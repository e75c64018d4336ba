"""How much of an encoder learns: ``frozen``, ``top:K``, ``full`` or ``lora:R``."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """A tuning policy.

    Attributes:
        kind: ``frozen``, ``top``, ``full`` or ``lora``.
        n_stages: how many of the last stages learn; 0 unless ``kind`` is ``top``.
        rank: of the adapters; 0 unless ``kind`` is ``lora``.
    """

    kind: str
    n_stages: int = 0
    rank: int = 0

    @classmethod
    def parse(cls, text: str) -> Tuning:
        """The policy that ``text`` names.

        Args:
            text: ``frozen``, ``full``, ``top:K`` with K >= 1, or ``lora:R`` with R >= 1.

        Raises:
            ValueError: ``text`` is none of these.
        """
        text = str(text).strip()
        if text in ("frozen", "full"):
            return cls(text)
        match = re.fullmatch(r"(top|lora):(\d+)", text)
        if match and int(match[2]) > 0:
            number = int(match[2])
            return cls("top", n_stages=number) if match[1] == "top" else cls("lora", rank=number)
        raise ValueError(
            f"tune is {text!r}; expected frozen, full, or top:K with K >= 1, such as top:1; or lora:R, such as lora:8"
        )

    @property
    def has_trunk(self) -> bool:
        """Whether a first part of the encoder is frozen whole, so that its output can be kept."""
        return self.kind in ("frozen", "top")

    def cut(self, n_stages: int) -> int:
        """The number of leading stages that stay frozen, of ``n_stages`` that lie between stem and tail.

        Returns:
            -1 when no stage is frozen whole; ``n_stages`` + 1 when everything is, the tail included.

        Raises:
            ValueError: more stages are asked for than there are.
        """
        if not self.has_trunk:
            return -1
        if self.kind == "frozen":
            return n_stages + 1
        if self.n_stages > n_stages:
            raise ValueError(f"tune is top:{self.n_stages}, but the encoder has {n_stages} stages; use full")
        return n_stages - self.n_stages

    def __str__(self) -> str:
        number = self.n_stages or self.rank
        return f"{self.kind}:{number}" if number else self.kind
