"""What was found, line by line, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

OK, ABSENT, DEGRADED, BROKEN = "ok", "absent", "degraded", "broken"
MARKS = {OK: "", ABSENT: "-", DEGRADED: "!", BROKEN: "X"}


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        topic: what it belongs to.
        name: of the thing.
        value: what was found.
        state: ``ok``; ``absent``, of what nothing needs; ``degraded``, things run slower or without something; or
            ``broken``, things do not run.
        remedy: what to do about it; empty where nothing is to be done.
    """

    topic: str
    name: str
    value: str
    state: str = OK
    remedy: str = ""


def is_usable(findings: Iterable[Finding]) -> bool:
    """Whether nothing is broken."""
    return all(finding.state != BROKEN for finding in findings)


def as_plain(findings: Iterable[Finding]) -> dict[str, Any]:
    """Findings by topic, as plain values."""
    listed = list(findings)
    topics: dict[str, list[dict[str, str]]] = {}
    for topic, *values in listed:
        topics.setdefault(topic, []).append(dict(zip(Finding._fields[1:], values, strict=True)))
    return {"usable": is_usable(listed), "topics": topics}


def as_text(findings: Iterable[Finding]) -> str:
    """Findings as lines under their topics, then what is to be done, the worst first."""
    listed = list(findings)
    width = max(len(finding.name) for finding in listed) + 2
    lines: list[str] = []
    topic = ""
    for finding in listed:
        if finding.topic != topic:
            topic = finding.topic
            lines += ["", topic]
        lines.append(f"  {MARKS[finding.state]:<2}{finding.name:<{width}}{finding.value}".rstrip())
    return "\n".join([*lines[1:], "", *_to_do(listed)])


def _to_do(findings: list[Finding]) -> list[str]:
    lines: list[str] = []
    for state, title in ((BROKEN, "Does not run"), (DEGRADED, "Runs, but")):
        found = [finding for finding in findings if finding.state == state]
        if found:
            lines += [f"{title}:", *(f"  {finding.name}: {finding.value}. {finding.remedy}" for finding in found)]
    usable = is_usable(findings)
    return [*lines, "Usable." if usable else "Not usable before what does not run is mended."]
