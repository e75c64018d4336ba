"""The editions of the Amazon reviews, and what they call things.

McAuley et al., 2014: jmcauley.ucsd.edu/data/amazon; Ni et al., 2018: nijianmo.github.io/amazon; Hou et al., 2023:
amazon-reviews-2023.github.io. The first two call the same things by the same names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EDITIONS = ("2014", "2018", "2023")
AUTO = "auto"

FIELDS = {
    "2014": ("reviewerID", "asin", "overall", "unixReviewTime"),
    "2018": ("reviewerID", "asin", "overall", "unixReviewTime"),
    "2023": ("user_id", "parent_asin", "rating", "timestamp"),
}
"""What each edition calls user, item, rating and time."""


@dataclass(frozen=True)
class Reviews:
    """What a file of reviews is.

    Args:
        edition: one of `EDITIONS`.
        why: what told so.
        columns: what the cells of a line hold, of a file of ratings; None for records.
        header: the number of the line that names the cells; 0 if none does.
    """

    edition: str
    why: str
    columns: tuple[str, ...] | None = None
    header: int = 0


def refuse_other(path: Path, wanted: str, told: str, found: str) -> None:
    """Raises ValueError if a file was told to be of another edition than the user named."""
    if wanted not in (AUTO, told):
        raise ValueError(f"{path} is of the {told} edition, not of {wanted}: {found}; leave out --edition {wanted}")


def expected() -> str:
    """The fields that reviews must have, for a message."""
    return f"expected records with {', '.join(FIELDS['2018'])} (2014, 2018) or {', '.join(FIELDS['2023'])} (2023)"


def listed(names: Iterable[str]) -> str:
    """Names in a message."""
    return ", ".join(sorted(names)) or "nothing"
