"""What looking at a run costs: less than a hundredth of its training steps.

A run is fitted twice over; the seconds that its thread spends in what ``health`` does in steps are counted beside those
of the epochs around them. Seconds are the thread's own: other jobs on the machine do not count. The twin of ids has the
shortest steps, so that it is the worst case; the other one trains an encoder's last stage.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from side_by_side import claim, common_options, machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

CASES: dict[str, dict[str, Any]] = {
    "ids": {"item_tower": "id"},
    "pictures": {"item_tower": "image", "encoder": "resnet18", "encoder_weights": "random", "tune": "top:1"},
}
LOOKS = ("saw_loss", "before_update", "after_update", "read")


def share_of_steps(settings: dict[str, Any], dataset: str) -> tuple[float, float, int]:
    """Seconds of looking, seconds of all steps, and how many steps there were."""
    from recbole_pixel.health.monitor import Health
    from recbole_pixel.quick_start import run
    from recbole_pixel.trainer import PixelTrainer

    spent = {"looks": 0.0, "steps": 0.0}
    counts: list[int] = []

    def timed(owner: Any, name: str, place: str) -> None:
        function = getattr(owner, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[place] += time.thread_time() - began
                if place == "steps":
                    counts.append(args[0].health.n_updates)

        setattr(owner, name, measured)

    kept = [(Health, name, vars(Health)[name]) for name in LOOKS]
    kept.append((PixelTrainer, "_train_rest", vars(PixelTrainer)["_train_rest"]))
    for name in LOOKS:
        timed(Health, name, "looks")
    timed(PixelTrainer, "_train_rest", "steps")
    try:
        run("PixelSASRec", dataset, settings=settings, saved=False)
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
    return spent["looks"], spent["steps"], counts[-1]


def main() -> None:
    """Prints a claim for each case."""
    options = common_options(__doc__, 1).parse_args()
    from worlds import colour_world

    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        n_epochs = 3 if options.quick else 6
        name = colour_world(folder, n_users=200 if options.quick else 1000, n_items=200, length=40)
        for case, own in CASES.items():
            settings = {
                **own, "data_path": str(folder), "checkpoint_dir": str(folder / "saved"), "epochs": n_epochs,
                "image_size": 64, "train_batch_size": 64, "show_progress": False, "state": "ERROR", "eval_step": 2,
                "precision": "float32",
            }  # fmt: skip
            looks, steps, n_steps = share_of_steps(settings, name)
            claim(
                f"health, {case}", 0.01 * steps / looks, 1.0, share=looks / steps, ms_per_step=1000 * steps / n_steps,
                us_of_looks=1e6 * looks / n_steps, steps=n_steps, **machine(),
            )  # fmt: skip


if __name__ == "__main__":
    main()
