"""deploy/Dockerfile as the tests read it: its instructions, in order, one string each.

Invariant: comments and continued lines are gone, so a check sees what a build would run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from tests.deploy.compose_file import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    rest: str


@dataclass(frozen=True, slots=True)
class Dockerfile:
    instructions: tuple[Instruction, ...]

    def all(self, word: str) -> list[str]:
        return [each.rest for each in self.instructions if each.word == word]

    def environment(self) -> dict[str, str]:
        """Of every stage, as NAME=value."""
        pairs = [pair.partition("=") for rest in self.all("ENV") for pair in shlex.split(rest)]
        return {name: value for name, _, value in pairs}


def read_dockerfile() -> Dockerfile:
    text = DOCKERFILE.read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = [line for line in re.sub(r"\\\n\s*", "", code).splitlines() if line]
    return Dockerfile(tuple(Instruction(*line.split(maxsplit=1)) for line in lines))
