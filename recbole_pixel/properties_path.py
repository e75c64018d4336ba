"""Where the YAML of `properties/` lies, in a wheel and in a checkout."""

from __future__ import annotations

from pathlib import Path


def properties_dir() -> Path:
    """The folder with `overall.yaml`, `model/` and `dataset/`: beside the installed package, else the checkout's.

    Raises:
        FileNotFoundError: neither place has it; the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    places = [package / "properties", package.parent / "properties"]
    for place in places:
        if (place / "overall.yaml").is_file():
            return place
    raise FileNotFoundError(
        f"no properties/overall.yaml in {' or '.join(str(place.parent) for place in places)}; "
        "the installation is incomplete: reinstall recbole-pixel, or install the checkout with `pip install -e .`"
    )
