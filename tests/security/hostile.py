"""Pickles that write a file when they are opened, and proof that they would."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch


class Payload:
    """Unpickled, it writes the file ``marker``."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


class Trap:
    """A folder of files that write ``marker`` when something opens them as pickles."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.marker = folder, folder / "marker"

    @property
    def has_sprung(self) -> bool:
        return self.marker.exists()

    def value(self) -> Payload:
        return Payload(self.marker)

    def pickled(self, name: str, protocol: int = 4) -> Path:
        """A plain pickle."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps({"config": self.value(), "state_dict": {}}, protocol))
        return path

    def archived(self, name: str) -> Path:
        """A zip archive as torch.save writes it, with the payload among its values."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": "recbole_pixel/1", "config": self.value(), "state_dict": {"w": torch.ones(2)}}, path)
        return path

    def legacy(self, name: str) -> Path:
        """The form that torch wrote before its zip archives: pickles one behind the other."""
        path = self.folder / name
        torch.save({"config": self.value(), "state_dict": {}}, path, _use_new_zipfile_serialization=False)
        return path

    def all_checkpoints(self) -> list[Path]:
        return [
            self.pickled("plain.pth"), self.pickled("zero.pth", 0), self.archived("zip.pth"), self.legacy("legacy.pth"),
        ]  # fmt: skip

    def array(self, name: str) -> Path:
        """An array of objects, one of which is the payload: numpy pickles these."""
        import numpy as np

        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.array([self.value()], dtype=object), allow_pickle=True)
        return path

    def in_memory(self) -> bytes:
        stream = io.BytesIO()
        pickle.dump(self.value(), stream)
        return stream.getvalue()
