"""The findings about a site, and the report of them, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import printable
from .fixes import fix
from .symptoms import SYMPTOMS

#: ``sure``: the doctor saw the URL fail and the corrected URL work. ``likely``: the symptom is the usual cause of the
#: evidence. ``note``: worth knowing, but not a fault by itself.
Certainty = Literal["sure", "likely", "note"]

_SHOWN = 8  # lines of evidence for each finding in the text; JSON has all of them


@dataclass(slots=True)
class Finding:
    """A symptom of one mount, with its meaning (*what*), the evidence for it, and its fix."""

    symptom: str
    certainty: Certainty
    mount: str
    what: str
    evidence: list[str] = field(default_factory=list)
    fix: str = ""


@dataclass
class Report:
    """All findings about *target*, and the checks that were skipped.

    ``server`` is the ``Server`` header of the proxy, which decides the language of the fixes.
    """

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
    ) -> None:
        """Add a finding about the mount at *prefix*, or its *evidence* to the same finding if there is one.

        *fills* are the values for the fix besides the prefix; see `mountpoint.doctor.fixes`.
        """
        values = {"prefix": prefix, **(fills or {})}
        new = Finding(
            symptom,
            certainty,
            prefix or "/",
            SYMPTOMS[symptom].replace("<prefix>", prefix),
            [],
            fix(symptom, self.server, values),
        )
        finding = next((other for other in self.findings if dataclasses.replace(other, evidence=[]) == new), new)
        if finding is new:
            self.findings.append(new)
        finding.evidence += [line for line in evidence if line not in finding.evidence]

    def skip(self, what: str) -> None:
        """List the check *what* as not made, unless it is listed already."""
        if what not in self.not_looked_at:
            self.not_looked_at.append(what)

    def has(self, symptom: str, prefix: str) -> bool:
        """Whether the mount at *prefix* has *symptom*."""
        return any(found.symptom == symptom and found.mount == (prefix or "/") for found in self.findings)

    @property
    def exit_code(self) -> int:
        """1 if a finding is sure or likely, else 0."""
        return 1 if any(found.certainty != "note" for found in self.findings) else 0

    def as_json(self) -> str:
        """Return one JSON object: the fields of this report, and ``healthy``."""
        return json.dumps({**dataclasses.asdict(self), "healthy": not self.exit_code}, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return the findings, the surest first, then the skipped checks, then the counts."""
        order: list[Certainty] = ["sure", "likely", "note"]
        lines = [f"{self.target}: {', '.join(self.mounts)}"] if self.mounts else [self.target]
        for found in sorted(self.findings, key=lambda found: order.index(found.certainty)):
            lines += ["", *_as_lines(found)]
        if self.not_looked_at:
            lines += ["", "not looked at:", *(f"  {what}" for what in self.not_looked_at)]
        counts = [f"{sum(f.certainty == kind for f in self.findings)} {kind}" for kind in order]
        proxy = f" ({self.server})" if self.server else ""
        lines += ["", f"{self.requests} requests of at most {self.limit}{proxy}; {', '.join(counts)}"]
        return "\n".join(map(printable, lines))  # a hostile server could write to the terminal


def _as_lines(found: Finding) -> Iterator[str]:
    yield f"{found.certainty}: {found.mount}: {found.what} [{found.symptom}]"
    yield from (f"  {line}" for line in found.evidence[:_SHOWN])
    if len(found.evidence) > _SHOWN:
        yield f"  and {len(found.evidence) - _SHOWN} more"
    if found.certainty != "note":
        first, *others = found.fix.expandtabs(4).splitlines()
        yield f"  fix: {first}"
        yield from (f"       {line}" for line in others)
