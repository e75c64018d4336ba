"""Pages from templates: everything in them is escaped, and nothing is outside of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Templates of this folder: ``page.html`` is the frame, ``cards.html`` has macros for items."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["score"] = lambda value: f"{value:.3f}"
    return made


def rendered(template: str, **values: Any) -> str:
    """A page, as HTML."""
    return environment().get_template(template).render(**values)
