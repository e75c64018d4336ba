"""The package list, which setup.cfg cannot say: found packages, plus `properties/` from the top of the repository."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["recbole_pixel", "recbole_pixel.*"]), "recbole_pixel.properties"],
    package_dir={"recbole_pixel.properties": "properties"},
)
