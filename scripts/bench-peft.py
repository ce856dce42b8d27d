#!/usr/bin/env python3
"""Time the same work in lorac and in PyTorch + transformers + PEFT, on this machine, in turn.

    scripts/bench-peft [OPTION...] [SECTION...]

Sections:
  step     whole optimiser steps: SmolLM2-135M's shape at 4 x 512, TinyLlama-1.1B's at 1 x 512
  epoch    an epoch over instructions in Alpaca's form on SmolLM2-135M, batch 16
  system   the same with a system prompt of 500 tokens in front of every record
  7b       two and four layers of Llama 2 7B's shape, 1 x 512 tokens, and what all 32 would take

Ways to run PyTorch (--variants):
  installed      as pip installs it
  tuned          threads bound to cores, an allocator that keeps its memory, fused AdamW, no mask,
                 batches of like length
  compiled       tuned, with torch.compile; steps only
  bf16           tuned, weights and arithmetic in bf16
  bf16-compiled  both; steps only
  trl            TRL 1.16's SFTTrainer with its defaults and use_cpu=True; epochs only

lorac runs with every --compute that is named; "x f32" and "x bf16" are the times of a row by those
of lorac in the same round, of which the median is taken. Lists take commas or spaces.

Both sides get the same weights, the same token ids and labels, rank, targets and batches. Every
measurement is a process of its own; they take turns, round by round. An epoch is measured on a
sample of its steps and scaled up by the tokens that each side runs through the model: padded ones
for PyTorch, the given ones for lorac.

The last column says how many cores other programs kept busy at the same time. Above about a tenth
the figure is disturbed.

LORAC names the binary, LORAC_VENV the virtual environment, which is made where it is missing.
"""

import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from checks import LORAC, require_compute, write_config
from command_line import Failure, Parser, flat, list_of, new_file, there, whole

R, ALPHA = 16, 32
RATE = 2e-4

# What is cleared for PyTorch as pip installs it.
CLEARED = ("OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "THP_")
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")


def plain_environment(threads: int) -> dict[str, str]:
    """threads: for all sides; 0: what each takes by itself."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(CLEARED)}
    return env | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


def allocator() -> dict[str, str]:
    """An allocator that keeps its memory: tcmalloc where it is installed (Debian:
    libtcmalloc-minimal4), else glibc's with options that make it do so."""
    for directory in LIBRARIES:
        library = Path(directory) / "libtcmalloc_minimal.so.4"
        if library.exists():
            return {"LD_PRELOAD": str(library)}
    tunables = {"mmap_max": 0, "trim_threshold": 1 << 36, "top_pad": 1 << 28, "hugetlb": 1}
    return {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{k}={v}" for k, v in tunables.items())}


def tuned_settings(threads: int) -> dict[str, str]:
    """Threads bound to cores, huge pages, and the allocator."""
    cores = threads or len(os.sched_getaffinity(0))
    pool = {"OMP_NUM_THREADS": str(cores), "OMP_PROC_BIND": "true"}
    return pool | {"THP_MEM_ALLOC_ENABLE": "1"} | allocator()


def tuned_environment(threads: int) -> dict[str, str]:
    return plain_environment(threads) | tuned_settings(threads)


@dataclass
class Variant:
    """A way to run PyTorch: its environment, what it adds to a job, and which work it can do."""

    name: str
    environment: Callable[[int], dict[str, str]]
    job: dict = field(default_factory=dict)
    grouped: bool = False  # batches of like length
    kinds: tuple[str, ...] = ("step", "epoch")
    why_not: str = ""  # of the other kind


TUNED = {"fused": True, "mask": False}
BF16 = {"dtype": "bfloat16"}
ONLY_STEPS = {
    "kinds": ("step",),
    "why_not": "each batch of an epoch has another length, for which it would compile again",
}
VARIANTS = {
    "installed": Variant("PyTorch as installed", plain_environment),
    "tuned": Variant("PyTorch tuned", tuned_environment, TUNED, grouped=True),
    "compiled": Variant(
        "PyTorch tuned, compiled", tuned_environment, TUNED | {"compile": True}, **ONLY_STEPS
    ),
    "bf16": Variant("PyTorch tuned, bf16", tuned_environment, TUNED | BF16, grouped=True),
    "bf16-compiled": Variant(
        "PyTorch bf16, compiled", tuned_environment, TUNED | BF16 | {"compile": True}, **ONLY_STEPS
    ),
    "trl": Variant(
        "TRL's SFTTrainer",
        plain_environment,
        {"kind": "trl"},
        kinds=("epoch",),
        why_not="it trains records, not rows of random tokens",
    ),
}
# What is measured where --variants is not given.
DEFAULT_VARIANTS = {
    "step": ["installed", "tuned", "bf16"],
    "epoch": ["installed", "tuned"],
    "system": ["tuned"],
    "7b": ["tuned", "bf16"],
}
OURS = {"f32": "lorac", "bf16": "lorac, bf16"}
RATIOS = {"f32": "times_lorac", "bf16": "times_lorac_bf16"}


def compile_obstacle() -> str:
    """What torch.compile lacks; empty: nothing."""
    compiler = os.environ.get("CXX") or "g++"
    if not shutil.which(compiler):
        return f"torch.compile needs a C++ compiler, and there is no {compiler} (or set CXX)"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return f"torch.compile needs {header} (Debian: apt-get install python3-dev)"
    return ""


def variants_for(section: str, chosen: list[str] | None) -> list[Variant]:
    """The variants that the section measures; says which it leaves out, and why."""
    kind = "epoch" if section in ("epoch", "system") else "step"
    out = []
    for name in chosen or DEFAULT_VARIANTS[section]:
        variant = VARIANTS[name]
        obstacle = compile_obstacle() if variant.job.get("compile") else ""
        if kind not in variant.kinds or obstacle:
            print(f"- {name}: left out of {section}: {obstacle or variant.why_not}", flush=True)
        else:
            out.append(variant)
    return out


@dataclass
class Finished:
    code: int
    out: str
    last: str  # line of stderr
    peak_bytes: int
    others: float  # cores that other programs had meanwhile
    cores: float  # that it had itself, on average


def busy_s() -> float:
    """CPU time of the whole machine since its start, without waiting."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def finish(command: list[str], stdin: str = "", env: dict[str, str] | None = None) -> Finished:
    """Run a command and learn its peak resident memory, and how much others disturbed it."""
    start, before = time.monotonic(), busy_s()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=err, env=env, text=True
        )
        with process.stdin as pipe:
            pipe.write(stdin)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        last = ([line.strip() for line in err if line.strip()] or ["no message"])[-1]
        own, elapsed = usage.ru_utime + usage.ru_stime, time.monotonic() - start
        others = max(0.0, (busy_s() - before - own) / elapsed)
        peak = usage.ru_maxrss * 1024
        return Finished(process.returncode, out.read(), last, peak, others, own / elapsed)


@dataclass
class Side:
    """What one side measured in a job, without the times of the first step, which warms up."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    peak_bytes: int = 0
    others: float = 0.0
    cpu_seconds: list[float] = field(default_factory=list)
    validation_loss: float | None = None
    samples: list[float] = field(default_factory=list)  # of what its row tells: a step, an epoch
    failed: str | None = None


class Bench:
    """Runs measurements, keeps rows for the table and the JSON."""

    def __init__(self, options: object, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.rows: list[dict] = []
        self.facts: dict = machine() | {"versions": {}}
        self.runs = 0

    def limits(self) -> None:
        """The speed of sgemm in this run, to compare the steps with."""
        parts = ("--parts", "products", "--tokens", "512", "--rounds", "1", "--json")
        done = finish([*self.options.prefix, LORAC, "bench", *parts])
        if done.code:
            raise SystemExit(f"bench-peft: lorac bench: {done.last}")
        known = json.loads(done.out)
        sgemm = statistics.median(p["sgemm_gflops"] for p in known["products"])
        self.facts |= {"fma_gflops": known["fma_gflops"], "sgemm_gflops": sgemm}
        print(
            f"multiply-adds {known['fma_gflops']:.0f}, sgemm {sgemm:.0f} GFLOP/s, products of 512 "
            "tokens",
            flush=True,
        )

    def torch(self, variant: Variant, job: dict) -> Side:
        job = {"r": R, "lora_alpha": ALPHA, "learning_rate": RATE} | job | variant.job
        job["scratch"] = str(self.scratch / "trainer")
        env = variant.environment(self.options.threads)
        env["TORCHINDUCTOR_CACHE_DIR"] = str(self.scratch / "compiled")
        command = [*self.options.prefix, sys.executable, "scripts/bench-peft-torch.py"]
        done = finish(command, json.dumps(job), env)
        if done.code:
            killed = " (out of memory?)" if done.code in (-9, 137) else ""
            return Side(failed=f"exit {done.code}{killed}: {done.last[:160]}")
        result = json.loads(done.out.splitlines()[-1])
        self.facts["torch_threads"] = result["torch_threads"]
        self.facts["versions"] |= result["versions"]
        if "settings" in result:
            self.facts[f"{job['kind']}_settings"] = result["settings"]
        side = Side(
            seconds=result["seconds"],
            losses=result.get("losses", []),
            peak_bytes=done.peak_bytes,
            others=done.others,
            cpu_seconds=result["cpu_seconds"],
            validation_loss=result.get("validation_loss"),
        )
        return self.tell(variant.name, side)

    def lorac(
        self, compute: str, model: Path, data: Path, batch: int, steps: int, **more: object
    ) -> Side:
        """lorac train over the records in file order; its first step warms up, too."""
        self.runs += 1
        run = self.scratch / f"run-{self.runs}"
        config = run.with_suffix(".yaml")
        train = {
            "max_steps": steps + 1,
            "batch_size": batch,
            "learning_rate": RATE,
            "lr_scheduler_type": "constant",
            "shuffle": False,
            "save_steps": 1000000,
            "eval_steps": steps + 1,
            "eval_on_start": False,  # the loss that is compared is the one after the last step
        }
        if compute != "f32":
            train["compute"] = compute
        write_config(
            config,
            {
                "model": {"path": str(model)},
                "data": {"train": str(data), "format": "tokens"} | more,
                "adapter": {"r": R, "lora_alpha": ALPHA},
                "train": train,
                "output": {"dir": str(run)},
            },
        )
        env = plain_environment(self.options.threads)
        done = finish([*self.options.prefix, LORAC, "train", str(config)], env=env)
        if done.code:
            return Side(failed=f"exit {done.code}: {done.last[:160]}")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        log = [line for line in lines if "loss" in line]
        side = Side(
            seconds=[line["tokens"] / line["tokens_per_s"] for line in log[1:]],
            losses=[line["loss"] for line in log],
            tokens=[line["tokens"] for line in log[1:]],
            peak_bytes=done.peak_bytes,
            others=done.others,
            validation_loss=next((x["eval_loss"] for x in lines if "eval_loss" in x), None),
        )
        side.cpu_seconds = [s * done.cores for s in side.seconds]
        return self.tell(OURS[compute], side)

    def tell(self, name: str, side: Side) -> Side:
        """Print a measurement on stderr as soon as it is there."""
        told = side.failed or " ".join(f"{s:.2f}" for s in side.seconds) + " s"
        cpu = " ".join(f"{s:.2f}" for s in side.cpu_seconds)
        told += f" ({cpu} s of CPU); peak {side.peak_bytes * 1e-9:.2f} GB"
        print(f"  {name}: {told}; others {side.others:.2f} cores", file=sys.stderr, flush=True)
        return side

    def add(self, case: str, variant: str, **values: object) -> None:
        row = {"case": case, "variant": variant} | {
            k: v for k, v in values.items() if v is not None
        }
        self.rows.append(row)
        print(format_row(row), flush=True)


# ---- the table -----------------------------------------------------------------------------------

COLUMNS = (
    ("seconds", "s", "{:.2f}"),
    ("cpu_seconds", "CPU s", "{:.2f}"),
    ("tokens_per_s", "tokens/s", "{:.1f}"),
    ("peak_bytes", "GB", "{:.2f}"),
    ("loss", "loss", "{:.4f}"),
    ("times_lorac", "x f32", "{:.2f}"),
    ("times_lorac_bf16", "x bf16", "{:.2f}"),
    ("cpu_times_lorac", "x by CPU", "{:.2f}"),
    ("others", "others", "{:.2f}"),
)


def format_row(row: dict) -> str:
    if "failed" in row:
        return f"{row['case']:<28} {row['variant']:<24} {row['failed']}"
    cells = []
    for key, _, form in COLUMNS:
        value = row.get(key)
        if key == "peak_bytes" and value:
            value *= 1e-9
        cells.append(f"{form.format(value) if value is not None else '-':>9}")
    return f"{row['case']:<28} {row['variant']:<24} {' '.join(cells)}"


def print_head(what: str) -> None:
    titles = " ".join(f"{title:>9}" for _, title, _ in COLUMNS)
    print(f"\n{what}\n{'':<28} {'':<24} {titles}", flush=True)


def machine() -> dict:
    """The CPU, and whether it multiplies bf16."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    known = {k.strip(): v.strip() for k, _, v in (x.partition(":") for x in first.splitlines())}
    name = known.get("model name") or platform.machine()
    if "cpu family" in known:
        name += f" (family {known['cpu family']} model {known.get('model')})"
    flags = known.get("flags", known.get("Features", "")).split()
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)),
        "bf16": [flag for flag in ("avx512_bf16", "amx_bf16", "bf16") if flag in flags],
    }


def tell_machine(facts: dict) -> None:
    bf16 = ", ".join(facts["bf16"]) or "no bf16 instructions (PyTorch emulates them, and is slow)"
    print(f"{facts['cpu']}, {facts['cores']} cores, {bf16}", flush=True)


# ---- the rows of a case --------------------------------------------------------------------------


def ratio(runs: list[Side], ours: list[Side]) -> float | None:
    """The median over the rounds of a side's time by ours."""
    pairs = [
        statistics.median(run.samples) / statistics.median(mine.samples)
        for run, mine in zip(runs, ours, strict=False)
        if run.samples and mine.samples
    ]
    return statistics.median(pairs) if pairs else None


def add_rows(bench: Bench, case: str, tokens: int, sides: dict[str, list[Side]]) -> dict:
    """A row for each side: medians over all rounds. Returns the median seconds of each."""
    ours = {c: sides[OURS[c]] for c in bench.options.compute}
    first = next(iter(ours.values()))
    medians = {}
    for name, runs in sides.items():
        failed = next((run.failed for run in runs if run.failed), None)
        if failed:
            bench.add(case, name, failed=failed)
            continue
        s = medians[name] = statistics.median(x for run in runs for x in run.samples)
        cpu = cpu_of(runs)
        bench.add(
            case,
            name,
            seconds=s,
            tokens_per_s=tokens / s,
            peak_bytes=max(run.peak_bytes for run in runs),
            others=statistics.mean(run.others for run in runs),
            loss=runs[0].validation_loss or (runs[0].losses or [None])[-1],
            cpu_seconds=cpu,
            cpu_times_lorac=cpu / cpu_of(first) if cpu and cpu_of(first) else None,
            all_seconds=[run.seconds for run in runs],
            losses=runs[0].losses or None,
            **{RATIOS[c]: ratio(runs, mine) for c, mine in ours.items()},
        )
    return medians


def cpu_of(runs: list[Side]) -> float | None:
    """The CPU time of a step; an epoch's is not told."""
    steps = [x for run in runs if run.samples == run.seconds for x in run.cpu_seconds]
    return statistics.median(steps) if steps else None


def take_turns(bench: Bench, rounds: int, turns: dict[str, Callable[[], Side]]) -> dict:
    """Every side once in each round; one that failed is not run again."""
    sides: dict[str, list[Side]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            if not any(side.failed for side in sides[name]):
                sides[name].append(turn())
    return sides


# ---- whole steps ---------------------------------------------------------------------------------


def synthetic(shape: str, layers: int) -> Path:
    """The model that `lorac bench` makes once and keeps."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "lorac" / "bench" / f"{shape}-{layers}-layers"
    if not (path / "config.json").exists():
        options = ("--shape", shape, "--layers", str(layers), "--length", "2", "--steps", "1")
        done = finish([LORAC, "bench", *options, "--parts", "steps"])
        if done.code:
            raise SystemExit(f"bench-peft: lorac bench: {done.last}")
    return path


def whole_steps(
    bench: Bench, shape: str, layers: int, rows: int, variants: list[Variant], steps: int
) -> dict[str, float]:
    """Rounds in which every side takes its turn. Returns the median seconds of each."""
    from bench_peft_data import random_rows

    length, model = 512, synthetic(shape, layers)
    data = bench.scratch / f"{shape}-{rows}.jsonl"
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    random_rows(data, vocabulary, rows, length)
    job = {"kind": "step", "model": str(model), "data": str(data), "steps": steps}

    def timed(side: Side) -> Side:
        side.samples = side.seconds
        return side

    turns = {
        OURS[c]: lambda c=c: timed(bench.lorac(c, model, data, rows, steps))
        for c in bench.options.compute
    }
    turns |= {v.name: lambda v=v: timed(bench.torch(v, job)) for v in variants}
    sides = take_turns(bench, bench.options.rounds, turns)
    return add_rows(bench, f"{shape} {rows} x {length}, {layers} layers", rows * length, sides)


def section_step(bench: Bench) -> None:
    print_head("whole steps: s per step; loss after the last one")
    variants = variants_for("step", bench.options.variants)
    for shape, layers, rows in (("135m", 30, 4), ("1.1b", 22, 1)):
        if shape in bench.options.shapes:
            whole_steps(bench, shape, layers, rows, variants, bench.options.steps)


def section_7b(bench: Bench) -> None:
    print_head("layers of Llama 2 7B's shape: s per step")
    few, more, every = 2, 4, 32
    variants = variants_for("7b", bench.options.variants)
    two = whole_steps(bench, "7b", few, 1, variants, 1)
    four = whole_steps(bench, "7b", more, 1, variants, 1)
    for name in four:
        if name in two:
            s = two[name] + (four[name] - two[name]) / (more - few) * (every - few)
            bench.add("7b, 32 layers, extrapolated", name, seconds=s, tokens_per_s=512 / s)
    print("PyTorch in float32 would need 27 GB for the 32 layers' weights alone.")


# ---- epochs --------------------------------------------------------------------------------------


def epoch(bench: Bench, data: object, variants: list[Variant], n: int) -> None:
    """data: Instructions of bench_peft_data.py; n: timed steps."""
    work = Path(tempfile.mkdtemp(dir=bench.scratch))
    gguf = Path(os.environ["LORAC_SMOLLM2_GGUF"])
    batch, micro = data.batch, data.micro
    in_turn = data.sample(data.steps(grouped=False), n)
    data.write(work, in_turn)
    validation = str(work / "validation.jsonl")

    def ours(compute: str) -> Side:
        side = bench.lorac(compute, gguf, work / "sample.jsonl", batch, n, validation=validation)
        if not side.failed:
            side.samples = [sum(side.seconds) / sum(side.tokens) * data.tokens]
        return side

    def theirs(v: Variant) -> Side:
        every = data.steps(v.grouped)
        steps = data.sample(every, n) if v.grouped else in_turn
        job = {
            "kind": "epoch",
            "model": str(gguf),
            "data": str(work / "all.jsonl"),
            "validation": validation,
            "order": [micro for step in steps for micro in step],
            "accumulate": batch // micro,
        }
        side = bench.torch(v, job)
        if not side.failed:
            # A short last batch of the epoch is counted at the mean padding of the others.
            timed = sum(data.padded(micro) for step in steps[1:] for micro in step)
            rate = sum(side.seconds[1:]) / timed
            side.samples = [rate * data.padding(every) * data.tokens]
        return side

    turns = {OURS[c]: lambda c=c: ours(c) for c in bench.options.compute}
    turns |= {v.name: lambda v=v: theirs(v) for v in variants}
    sides = take_turns(bench, bench.options.epoch_rounds, turns)
    add_rows(bench, f"{len(data.train)} records, {data.tokens} tokens", data.tokens, sides)


def read_records(path: Path) -> list[dict]:
    try:
        records = json.loads(path.read_text())
    except ValueError as error:
        raise Failure(f"{path}: found no JSON, wanted an array of records: {error}") from error
    wanted = ("instruction", "output")
    if not isinstance(records, list) or not all(
        isinstance(r, dict) and all(isinstance(r.get(k), str) for k in wanted) for r in records
    ):
        raise Failure(f"{path}: wanted a JSON array of objects with {' and '.join(wanted)}")
    return records


def load_instructions(bench: Bench, system: bool) -> object | None:
    from bench_peft_data import Instructions

    path = bench.options.data
    if not path.exists() or not os.environ.get("LORAC_SMOLLM2_GGUF"):
        print(f"skipped: {path} or SmolLM2 is not here")
        return None
    return Instructions(read_records(path), Path(os.environ["LORAC_SMOLLM2_GGUF"]), system)


def section_epoch(bench: Bench) -> None:
    n = bench.options.sample
    print_head(f"one epoch, from {n} of its steps: s; validation loss after {n + 1} steps")
    if data := load_instructions(bench, system=False):
        epoch(bench, data, variants_for("epoch", bench.options.variants), n)


def section_system(bench: Bench) -> None:
    n = max(1, bench.options.sample // 2)
    print_head(f"the same with a system prompt in front of every record, from {n} of its steps")
    if data := load_instructions(bench, system=True):
        epoch(bench, data, variants_for("system", bench.options.variants), n)


# ---- the whole -----------------------------------------------------------------------------------

SECTIONS = {
    "step": section_step,
    "epoch": section_epoch,
    "system": section_system,
    "7b": section_7b,
}


def parse_arguments() -> object:
    parser = Parser(__doc__)
    parser.add_argument(
        "sections",
        nargs="*",
        type=list_of(*SECTIONS),
        metavar="SECTION",
        help="default: all of them",
    )
    parser.add_argument(
        "--variants",
        type=list_of(*VARIANTS),
        metavar="LIST",
        help="default: "
        + "; ".join(f"{section}: {','.join(of)}" for section, of in DEFAULT_VARIANTS.items()),
    )
    parser.add_argument(
        "--compute",
        type=list_of(*OURS),
        metavar="LIST",
        default=["f32"],
        help="of lorac: f32 (the default), bf16 or both",
    )
    parser.add_argument(
        "--shapes",
        type=list_of("135m", "1.1b"),
        metavar="LIST",
        default=["135m", "1.1b"],
        help="of the section step: 135m, 1.1b; default: both",
    )
    number = {"metavar": "N", "type": whole(1)}
    parser.add_argument("--rounds", **number, default=2, help="turns of each side (step, 7b)")
    parser.add_argument(
        "--epoch-rounds", **number, default=1, help="turns of each side (epoch, system)"
    )
    parser.add_argument(
        "--steps", **number, default=2, help="timed steps of a turn, after one more"
    )
    parser.add_argument("--sample", **number, default=4, help="timed steps of an epoch")
    parser.add_argument(
        "--threads",
        type=whole(0),
        default=0,
        metavar="N",
        help="of every side; with 1, CPU times compare on a machine that others use, too",
    )
    parser.add_argument("--no-limits", action="store_true", help="do not measure sgemm first")
    parser.add_argument(
        "--data",
        type=there,
        metavar="FILE",
        default=Path("../shared/data/llama-factory-demo/alpaca_en_demo.json"),
        help="JSON array of {instruction, input, output}",
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="everything measured")
    parser.add_argument(
        "--prefix", type=str.split, default=[], help="a command put before each measured one"
    )
    options = parser.parse_args()
    options.sections = flat(options.sections) or list(SECTIONS)
    return options


def enter_environment(options: object) -> None:
    """Go on in the Python of scripts/setup-venv, which installs what is missing."""
    trl = "trl" in (options.variants or []) and {"epoch", "system"} & set(options.sections)
    needed = ["torch", "transformers", "peft", *(["trl"] if trl else [])]
    if all(importlib.util.find_spec(name) for name in needed):
        return
    setup = ["scripts/setup-venv", *(["--with", "trl"] if trl else [])]
    done = subprocess.run(setup, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    python = f"{done.stdout.strip()}/bin/python"
    os.execv(python, [python, *sys.argv])


def find_smollm2() -> None:
    done = subprocess.run("scripts/get-smollm2", stdout=subprocess.PIPE, text=True, check=False)
    if not done.returncode:
        os.environ["LORAC_SMOLLM2_GGUF"] = done.stdout.strip()


def main() -> None:
    options = parse_arguments()
    if not os.access(LORAC, os.X_OK):
        raise Failure(f"{LORAC}: not there; run make first")
    require_compute(options.compute)
    enter_environment(options)
    if {"epoch", "system"} & set(options.sections):
        find_smollm2()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options, Path(scratch))
        facts = bench.facts
        tell_machine(facts)
        if not options.no_limits:
            bench.limits()
        started = time.monotonic()
        for name in options.sections:
            SECTIONS[name](bench)
        facts["lorac"] = finish([LORAC, "--version"]).out.splitlines()[0]
        print(
            f"\n{facts['lorac']}; PyTorch side: {facts['versions']}, "
            f"{facts.get('torch_threads')} threads"
        )
        print(f"tuned: {json.dumps(tuned_settings(options.threads))}")
        if "trl_settings" in facts:
            print(f"TRL's own settings: {json.dumps(facts['trl_settings'])}")
        print(f"took {time.monotonic() - started:.0f} s")
    if options.json:
        everything = {"facts": facts, "tuned": tuned_settings(options.threads), "rows": bench.rows}
        options.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
