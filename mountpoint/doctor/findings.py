"""What was found, and the report of it, for people and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .fixes import fix
from .symptoms import SYMPTOMS

#: ``sure``: the address that fails was seen to fail, and the corrected one to work. ``likely``: what is seen has this
#: for its usual reason. ``note``: worth knowing, and no fault by itself.
Certainty = Literal["sure", "likely", "note"]

_SHOWN = 8  # pieces of evidence in the text; JSON has them all


@dataclass(slots=True)
class Finding:
    """A symptom at one mount, with the evidence for it, and what mends it."""

    symptom: str
    certainty: Certainty
    mount: str
    what: str
    evidence: list[str] = field(default_factory=list)
    fix: str = ""


@dataclass
class Report:
    """All that was found, and what was not looked at."""

    target: str
    findings: list[Finding] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    server: str = ""
    requests: int = 0
    limit: int = 0

    def add(
        self,
        symptom: str,
        certainty: Certainty,
        prefix: str,
        evidence: Iterable[str],
        fills: Mapping[str, str] | None = None,
    ) -> Finding:
        """Add a finding about the mount at *prefix*; evidence for one that is there already goes to it."""
        values = {"prefix": prefix, **(fills or {})}
        found = Finding(
            symptom,
            certainty,
            prefix or "/",
            SYMPTOMS[symptom].replace("<prefix>", prefix),
            [],
            fix(symptom, self.server, values),
        )
        for other in self.findings:
            if dataclasses.replace(other, evidence=[]) == found:
                found = other
                break
        else:
            self.findings.append(found)
        found.evidence += [line for line in evidence if line not in found.evidence]
        return found

    def skip(self, what: str) -> None:
        """Say that *what* was not looked at, once."""
        if what not in self.not_looked_at:
            self.not_looked_at.append(what)

    def has(self, symptom: str, prefix: str) -> bool:
        """Whether the mount at *prefix* has *symptom*."""
        return any(found.symptom == symptom and found.mount == (prefix or "/") for found in self.findings)

    @property
    def exit_code(self) -> int:
        """1 with findings that are sure or likely, else 0."""
        return 1 if any(found.certainty != "note" for found in self.findings) else 0

    def as_json(self) -> str:
        """Return one JSON object with ``findings`` and ``not_looked_at``."""
        return json.dumps({**dataclasses.asdict(self), "healthy": not self.exit_code}, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return the findings, the surest first, then what was not looked at, then the sum."""
        order: list[Certainty] = ["sure", "likely", "note"]
        lines = [f"{self.target}: {', '.join(self.mounts)}"] if self.mounts else [self.target]
        for found in sorted(self.findings, key=lambda found: order.index(found.certainty)):
            lines += ["", *_as_lines(found)]
        if self.not_looked_at:
            lines += ["", "not looked at:", *(f"  {what}" for what in self.not_looked_at)]
        counts = [f"{sum(f.certainty == kind for f in self.findings)} {kind}" for kind in order]
        proxy = f" ({self.server})" if self.server else ""
        lines += ["", f"{self.requests} requests of at most {self.limit}{proxy}; {', '.join(counts)}"]
        return "\n".join(_plain(line) for line in lines)


def _as_lines(found: Finding) -> Iterator[str]:
    yield f"{found.certainty}: {found.mount}: {found.what} [{found.symptom}]"
    yield from (f"  {line}" for line in found.evidence[:_SHOWN])
    if len(found.evidence) > _SHOWN:
        yield f"  and {len(found.evidence) - _SHOWN} more"
    if found.certainty != "note":
        first, *others = found.fix.expandtabs(4).splitlines()
        yield f"  fix: {first}"
        yield from (f"       {line}" for line in others)


def _plain(line: str) -> str:
    """Return *line* with what a server may have put into it, and a terminal would obey, escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
