"""RecBole's Config without what it does to a command line of its own."""

from __future__ import annotations

from typing import Any

from recbole.config import Config

from recbole_pixel.distributed import own_gpu


class CommandConfig(Config):
    """Settings whose values are typed already: RecBole would ``eval`` every string, and read ``sys.argv``.

    It has a module of its own because RecBole's trainer pickles the Config into its checkpoints.
    """

    def _convert_config_dict(self, config_dict: Any) -> Any:
        return config_dict

    def _init_device(self) -> None:
        given = self.external_config_dict
        own = own_gpu(_listed(given["gpu_id"]) if "gpu_id" in given else None)
        if own is not None:
            self.final_config_dict["gpu_id"] = own
        super()._init_device()

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}


def _listed(gpu_id: Any) -> str:
    """``gpu_id``, a number, several of them, a string of such or None, as RecBole names them to CUDA."""
    if gpu_id is None or isinstance(gpu_id, str):
        return gpu_id or ""
    return ",".join(map(str, gpu_id)) if isinstance(gpu_id, (list, tuple)) else str(gpu_id)
