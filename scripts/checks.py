"""Shared by the interop scripts: running lorac, and reporting checks, one line for each.

A line begins with ✓, ✗ or - (skipped); scripts/interop counts them.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command_line import Failure

LORAC = os.environ.get("LORAC", "build/lorac")
GOLDEN = Path("tests/golden")


class LoracError(Failure):
    """lorac ended with another exit code than 0."""


def lorac(*arguments: object, stdin: str = "") -> str:
    """Run lorac and return its stdout."""
    command = [LORAC, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LoracError(f"lorac {arguments[0]}: exit {done.returncode}: {last}")
    return done.stdout


def has_command(name: str) -> bool:
    return any(line.split()[:1] == [name] for line in lorac("--help").splitlines())


def require_compute(kinds: list[str]) -> None:
    """End the script where train.compute is asked for and lorac does not have it yet."""
    if set(kinds) == {"f32"}:
        return
    if not re.search(r"^\| `compute`", lorac("help", "keys"), re.MULTILINE):
        raise Failure(
            f"{LORAC}: found no key train.compute, wanted it for bf16: build a lorac that has it"
        )


def evaluate(model: Path, data: Path, *options: object) -> dict:
    return json.loads(lorac("eval", "--model", model, "--data", data, "--json", *options))


def write_config(path: Path, sections: dict[str, dict]) -> None:
    """Two levels of YAML; a value is written as JSON, which YAML includes."""
    lines = []
    for section, values in sections.items():
        lines.append(f"{section}:")
        lines += [f"  {key}: {json.dumps(value)}" for key, value in values.items()]
    path.write_text("\n".join(lines) + "\n")


class Report:
    """Counts checks; finish() ends the script with 1 when one failed."""

    def __init__(self) -> None:
        self.failed = 0
        self.details: list[str] = []

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """A check passes when its block ends; near(), equal() and errors of lorac fail it."""
        self.details = []
        try:
            yield
        except (AssertionError, LoracError, OSError, ValueError, KeyError) as error:
            self.failed += 1
            text = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
            print(f"✗ {name}: {text}", flush=True)
        else:
            print(f"✓ {name}: {', '.join(self.details)}".rstrip(": "), flush=True)

    def near(self, what: str, got: float, want: float, relative: float) -> None:
        off = abs(got - want) / abs(want)
        self.details.append(f"{what} {got:.6f} off by {off:.0e}")
        if not off <= relative:
            raise AssertionError(f"{what} {got!r}, PyTorch {want!r}: off by {off:.1e} of itself")

    def equal(self, what: str, got: object, want: object) -> None:
        self.details.append(what)
        if got != want:
            raise AssertionError(f"{what}: {got!r}, wanted {want!r}")

    def skip(self, name: str, why: str) -> None:
        print(f"- {name}: skipped, {why}", flush=True)

    def finish(self) -> None:
        sys.exit(1 if self.failed else 0)
