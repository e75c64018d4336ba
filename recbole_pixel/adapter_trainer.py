"""The trainer of models that learn beside a large base: what they learnt is written as a folder, too."""

from __future__ import annotations

from pathlib import Path

from recbole_pixel.trainer import PixelTrainer


class AdapterTrainer(PixelTrainer):
    """As ``PixelTrainer``; beside every checkpoint lies a folder that a later stage can go on from."""

    def _write(self, epoch: int, path: str, verbose: bool) -> None:
        super()._write(epoch, path, verbose)
        folder = self.model.save_beside(Path(path))
        if verbose:
            self.logger.info(f"Saving what was learnt: {folder}")
