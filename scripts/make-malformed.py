#!/usr/bin/env python3
"""Write malformed (and unusual but valid) files of every kind, run lorac on each, report as TAP.

    scripts/make-malformed.py check [KIND...]      $LORAC (build/lorac) on every case
    scripts/make-malformed.py seeds DIR            the same files as seeds for the fuzz targets

A case that must be refused ends with its exit code and one line on stderr (of a configuration: one
for each fault, and their number) that names the file and holds the table's text, within TIME, with
at most 64 MB + twice the files' size of memory, and leaves no files. One that must be accepted ends
with 0. Tables: malformed_models.py, malformed_texts.py.
"""

import json
import os
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import malformed as m
import malformed_models
import malformed_texts
from command_line import Failure, Parser, flat, nearest, quoted, split

LORAC = os.environ.get("LORAC", "build/lorac")
TIME = 20  # seconds; a sanitizer on a busy machine is slow
MEMORY = 64 << 20
SMALL = 64 << 10  # bytes of a seed: larger ones only slow a fuzzer down


def write(at: Path, files: dict[str, object]) -> int:
    """Write a case's files and return their bytes."""
    size = 0
    for name, file in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, m.Link):
            path.symlink_to(file.target)
        elif isinstance(file, m.Fifo):
            os.mkfifo(path)
        else:
            path.write_bytes(file)
            size += len(file)
    return size


RUN = """model: {{path: {base}/model}}
data: {{train: {base}/batch.jsonl, format: tokens}}
adapter: {{r: 1, target_modules: [q_proj]}}
train: {{max_steps: 2, batch_size: 1, save_steps: 1}}
output: {{dir: {base}/run}}
"""


def write_base(base: Path) -> None:
    """A valid model with its tokenizer, data, and what the cases' arguments name."""
    good = b'{"instruction": "say he", "output": "he"}\n'
    write(
        base,
        {
            "model/config.json": m.config(),
            "model/model.safetensors": m.st_model(),
            "model/tokenizer.json": m.text(m.hf_tokenizer()),
            "batch.jsonl": malformed_texts.batch(),
            "data.jsonl": good,
            "run.yaml": RUN.format(base=base).encode(),
        },
    )


@dataclass
class Outcome:
    status: int  # negative: the signal that ended it
    said: bytes
    memory: int


def run(args: list[str], errors: Path) -> tuple[int, int]:
    """Run lorac without its stdout; returns its status and the kernel's count of its memory."""
    with errors.open("wb") as err, open(os.devnull, "r+b") as null:
        files = [(os.POSIX_SPAWN_DUP2, null.fileno(), 0), (os.POSIX_SPAWN_DUP2, null.fileno(), 1)]
        files.append((os.POSIX_SPAWN_DUP2, err.fileno(), 2))
        pid = os.posix_spawn(LORAC, [LORAC, *args], os.environ, file_actions=files)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(TIME)
    _, status, usage = os.wait4(pid, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10


class Runner:
    """A process that runs lorac for this one. It is made while this one is small: the kernel counts
    the memory of the process that a program was started from as that program's."""

    def __init__(self, scratch: Path) -> None:
        self.errors = scratch / "stderr"
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        if os.fork() == 0:
            os.close(self.orders)
            with os.fdopen(orders) as lines:
                for line in lines:
                    status, memory = run(json.loads(line), self.errors)
                    os.write(answers, struct.pack("<qq", status, memory))
            os._exit(0)
        os.close(orders)

    def __call__(self, args: list[str]) -> Outcome:
        os.write(self.orders, json.dumps(args).encode() + b"\n")
        status, memory = struct.unpack("<qq", os.read(self.answers, 16))
        return Outcome(status, self.errors.read_bytes(), memory)


def faults(kind: m.Kind, case: m.Case, got: Outcome, limit: int) -> Iterator[str]:
    lines = got.said.splitlines()
    if got.status < 0:
        yield f"ended by {signal.Signals(-got.status).name} (or took longer than {TIME} s)"
    elif got.status != case.code:
        yield f"exit code {got.status}, wanted {case.code}"
    if case.code == m.ACCEPTED:
        return
    said = got.said.decode(errors="replace")
    about = case.about or kind.about
    if len(lines) != case.lines or not all(line.startswith(b"lorac: ") for line in lines):
        yield f"{len(lines)} lines, wanted {case.lines}"
    if about not in said or case.says not in said:
        yield f"wanted {about!r} and {case.says!r} in the line"
    if any(b < 32 and b != 10 for b in got.said):
        yield "control characters in the line"
    if malformed_texts.SECRET.decode()[4:] in said:
        yield "shows what a record says"
    if limit and got.memory > limit:
        yield f"{got.memory >> 20} MB of memory, wanted at most {limit >> 20}"


def loose_faults(got: Outcome, limit: int) -> Iterator[str]:
    """The result of a command that may accept what another refuses."""
    if got.status not in (m.ACCEPTED, m.REFUSED, m.USAGE):
        yield f"exit code {got.status}"
    elif got.status and (got.said.count(b"\n") != 1 or not got.said.startswith(b"lorac")):
        yield "more or less than one line"
    if limit and got.memory > limit:
        yield f"{got.memory >> 20} MB of memory, wanted at most {limit >> 20}"


def is_sanitized() -> bool:
    """A sanitizer's memory is not the program's."""
    return b"__asan_init" in Path(LORAC).read_bytes()


class Checker:
    def __init__(self, scratch: Path) -> None:
        self.scratch, self.base = scratch, scratch / "base"
        self.run = Runner(scratch)
        self.bounded = not is_sanitized()
        self.count = self.failed = 0
        write_base(self.base)

    def check(self, kind: m.Kind, case: m.Case) -> None:
        self.count += 1
        at, out = self.scratch / "case" / str(self.count), self.scratch / "out"
        at.mkdir(parents=True)
        files = {k: self.placed(v, out) for k, v in case.files.items()}
        size = write(at, files)
        args = [self.name_places(a, at, out) for a in case.args or kind.args]
        limit = MEMORY + 2 * size if self.bounded else 0
        before = sorted(p.name for p in at.iterdir())
        got = self.run(args)
        wrong = list(faults(kind, case, got, limit))
        left = [p.name for p in out.rglob("*") if p.is_file() and p.name != ".lock"]
        if case.code != m.ACCEPTED and left:
            wrong.append(f"left {', '.join(left)} behind")
        if sorted(p.name for p in at.iterdir()) != before:
            wrong.append("left files beside the input")
        if kind.also:
            other = self.run([self.name_places(a, at, out) for a in kind.also])
            wrong += [f"{kind.also[0]}: {w}" for w in loose_faults(other, limit)]
            got.said += other.said if wrong else b""
        self.report(f"{kind.name}: {case.name}", wrong, got)
        shutil.rmtree(at)
        shutil.rmtree(out, ignore_errors=True)

    def name_places(self, arg: str, at: Path, out: Path) -> str:
        names = {"{}": str(at), "{base}": str(self.base), "{out}": str(out)}
        for name, value in names.items():
            arg = arg.replace(name, value)
        return arg

    def placed(self, file: object, out: Path) -> object:
        """Fill in the paths of a configuration that only this run knows."""
        if not isinstance(file, bytes) or b"BASE/" not in file:
            return file
        base = str(self.base).encode()
        return file.replace(b"BASE/", base + b"/").replace(b"OUT/", str(out).encode() + b"/")

    def report(self, name: str, wrong: list[str], got: Outcome) -> None:
        print(f"{'not ok' if wrong else 'ok'} {self.count} - {name}", flush=True)
        if wrong:
            self.failed += 1
            print(f"# {'; '.join(wrong)}\n# {got.said[:600]!r}", flush=True)

    def checkpoint(self) -> Path:
        """One that lorac wrote."""
        got = self.run(["train", str(self.base / "run.yaml")])
        made = self.base / "run" / "step-000001.h5"
        if not made.exists():
            raise SystemExit(f"no checkpoint to damage: {got.said.decode()}")
        return made

    def prepared(self) -> Path:
        """A prepared data set that lorac wrote."""
        cache = self.base / "cache"
        got = self.run(["data", "prepare", str(self.base / "run.yaml"), f"data.cache_dir={cache}"])
        made = list(cache.glob("*.h5"))
        if len(made) != 1:
            raise SystemExit(f"no prepared data set: {got.said.decode()}")
        return made[0]


def tables() -> list[m.Kind]:
    return [make() for make in malformed_models.KINDS + malformed_texts.KINDS]


def kinds(made: Path) -> list[m.Kind]:
    return [*tables(), malformed_texts.checkpoint(made)]


def check(wanted: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="lorac-malformed-") as scratch:
        checker = Checker(Path(scratch))
        for kind in kinds(checker.checkpoint()):
            for case in kind.cases:
                if not wanted or kind.name in wanted:
                    checker.check(kind, case)
        print(f"1..{checker.count}")
        return 1 if checker.failed else 0


def seeds(to: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="lorac-seeds-") as scratch:
        checker = Checker(Path(scratch))
        whole = to / "prepared" / "prepared-000"
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(checker.prepared().read_bytes())
        for kind in kinds(checker.checkpoint()):
            for i, case in enumerate(kind.cases):
                for target, names in kind.fuzz.items():
                    parts = [case.files.get(name, b"") for name in names]
                    if any(not isinstance(p, bytes) for p in parts):
                        continue
                    seed = b"\0".join(parts).rstrip(b"\0") if len(parts) > 1 else parts[0]
                    if len(seed) <= SMALL:
                        path = to / target / f"{kind.name}-{i:03}"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(seed)
    return 0


def wanted_kinds(parser: Parser, lists: list[list[str]]) -> list[str]:
    """Their names take a while to make, so they are looked at after everything else."""
    wanted = flat(lists)
    names = [*(kind.name for kind in tables()), "checkpoint"] if wanted else []
    for name in wanted:
        if name not in names:
            some = ", ".join(names)
            parser.error(f"found {quoted(name)}, wanted some of {some}{nearest(name, names)}")
    return wanted


def main() -> int:
    parser = Parser(__doc__)
    of = parser.add_subparsers(dest="task", required=True, metavar="check|seeds")
    checked = of.add_parser("check", about="run lorac on every case, or on those of some kinds")
    checked.add_argument("kinds", nargs="*", type=split, metavar="KIND")
    made = of.add_parser("seeds", about="write the files as seeds for the fuzz targets")
    made.add_argument("to", type=Path, metavar="DIR")
    options = parser.parse_args()
    wanted = wanted_kinds(parser, options.kinds) if options.task == "check" else []
    if not Path(LORAC).is_file():
        raise Failure(f"{LORAC}: not there; run make first")
    return check(wanted) if options.task == "check" else seeds(options.to)


if __name__ == "__main__":
    sys.exit(main())
