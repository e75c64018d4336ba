"""The errors of the store room; both are ValueErrors, so that the command line prints them as one line."""

from __future__ import annotations


class StoreError(ValueError):
    """A store on disk is unfinished, damaged, or not a store; the message says what to do."""


class PictureError(ValueError):
    """Bytes that should be a picture are not one that can be read; the message says why."""


class MissingPictureError(KeyError):
    """A store holds no picture of the token asked for."""

    def __str__(self) -> str:
        """The plain message: KeyError itself would print it in quotes."""
        return str(self.args[0]) if self.args else ""
