#!/usr/bin/env python3
"""Time the same work in lorac and in PyTorch + transformers + PEFT; scripts/bench-peft calls this.

Sections:
  step     whole optimiser steps: SmolLM2-135M's shape at 4 x 512, TinyLlama-1.1B's at 1 x 512
  epoch    an epoch over instructions in Alpaca's form on SmolLM2-135M, batch 16
  system   the same with a system prompt of 500 tokens in front of every record
  7b       two and four layers of Llama 2 7B's shape, 1 x 512 tokens, and what all 32 would take

Both sides get the same weights, the same token ids and labels, rank, targets and batches. Every
measurement is a process of its own; they take turns, round by round. PyTorch runs as pip installs
it, and tuned (TUNED below). An epoch is measured on a sample of its steps and scaled up by the
tokens that each side runs through the model: padded ones for PyTorch, the given ones for lorac.

The last column says how many cores other programs kept busy at the same time. Above about a tenth
the figure is disturbed.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import reference as ref
import transformers
from checks import LORAC, write_config
from transformers.trainer_pt_utils import get_length_grouped_indices

R, ALPHA = 16, 32
RATE = 2e-4
BATCH = 16  # examples in an optimiser step of an epoch
MICRO = 8  # of them at once in PyTorch: the Trainer's default, and what fits into memory
VALIDATION = 24
SYSTEM_TOKENS = 500
SYSTEM_TEXT = Path("datasets/README.md")
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n",
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
)

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
    """A way to run PyTorch: its environment, and what it adds to a job."""

    name: str
    environment: Callable[[int], dict[str, str]]
    job: dict = field(default_factory=dict)
    grouped: bool = False  # batches of like length


INSTALLED = Variant("PyTorch as installed", plain_environment)
TUNED = Variant("PyTorch tuned", tuned_environment, {"fused": True, "mask": False}, grouped=True)
BF16 = Variant("PyTorch tuned, bf16", tuned_environment, TUNED.job | {"dtype": "bfloat16"})
COMPILED = Variant("PyTorch tuned, compiled", tuned_environment, TUNED.job | {"compile": True})
VARIANTS = {"installed": INSTALLED, "tuned": TUNED, "bf16": BF16, "compiled": COMPILED}


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
    failed: str | None = None


class Bench:
    """Runs measurements, keeps rows for the table and the JSON."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.rows: list[dict] = []
        self.facts: dict = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0))}
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
            f"{self.facts['cpu']}, {self.facts['cores']} cores; multiply-adds "
            f"{known['fma_gflops']:.0f}, sgemm {sgemm:.0f} GFLOP/s, products of 512 tokens",
            flush=True,
        )

    def torch(self, variant: Variant, job: dict) -> Side:
        job = {"r": R, "lora_alpha": ALPHA, "learning_rate": RATE} | job | variant.job
        job["scratch"] = str(self.scratch / "trainer")
        command = [*self.options.prefix, sys.executable, "scripts/bench-peft-torch.py"]
        done = finish(command, json.dumps(job), variant.environment(self.options.threads))
        if done.code:
            killed = " (out of memory?)" if done.code in (-9, 137) else ""
            return Side(failed=f"exit {done.code}{killed}: {done.last[:160]}")
        result = json.loads(done.out.splitlines()[-1])
        self.facts |= {key: result[key] for key in ("versions", "torch_threads")}
        side = Side(
            seconds=result["seconds"],
            losses=result.get("losses", []),
            peak_bytes=done.peak_bytes,
            others=done.others,
            cpu_seconds=result["cpu_seconds"],
            validation_loss=result.get("validation_loss"),
        )
        return self.tell(variant.name, side)

    def lorac(self, model: Path, data: Path, batch: int, steps: int, **more: object) -> Side:
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
        }
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
        return self.tell("lorac", side)

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
    ("times_lorac", "x lorac", "{:.2f}"),
    ("cpu_times_lorac", "by CPU", "{:.2f}"),
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


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


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


def random_rows(path: Path, vocabulary: int, rows: int, length: int) -> None:
    """Every token but the first of each row is a target; nothing is shared."""
    rng = random.Random(1)
    ids = [[rng.randrange(vocabulary) for _ in range(length)] for _ in range(rows)]
    ref.write_tokens(path, [ref.Example(row, list(row)) for row in ids])


def whole_steps(
    bench: Bench, shape: str, layers: int, rows: int, variants: list[Variant], steps: int
) -> dict[str, float]:
    """Rounds in which every side takes its turn. Returns the median seconds of each."""
    length, model = 512, synthetic(shape, layers)
    data = bench.scratch / f"{shape}-{rows}.jsonl"
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    random_rows(data, vocabulary, rows, length)
    case = f"{shape} {rows} x {length}, {layers} layers"
    names = ["lorac", *(v.name for v in variants)]
    sides: dict[str, list[Side]] = {name: [] for name in names}
    job = {"kind": "step", "model": str(model), "data": str(data), "steps": steps}
    for _ in range(bench.options.rounds):
        sides["lorac"].append(bench.lorac(model, data, rows, steps))
        for v in variants:
            if not (sides[v.name] and sides[v.name][-1].failed):
                sides[v.name].append(bench.torch(v, job))
    ours = sides["lorac"]
    medians = {}
    for name, runs in sides.items():
        failed = next((run.failed for run in runs if run.failed), None)
        if failed:
            bench.add(case, name, failed=failed)
            continue
        s = statistics.median(x for run in runs for x in run.seconds)
        ratios = [
            statistics.median(run.seconds) / statistics.median(mine.seconds)
            for run, mine in zip(runs, ours, strict=True)
            if mine.seconds
        ]
        cpu = statistics.median(x for run in runs for x in run.cpu_seconds)
        cpu_ours = statistics.median(x for run in ours for x in run.cpu_seconds)
        medians[name] = s
        bench.add(
            case,
            name,
            seconds=s,
            tokens_per_s=rows * length / s,
            peak_bytes=max(run.peak_bytes for run in runs),
            others=statistics.mean(run.others for run in runs),
            loss=runs[0].losses[-1],
            times_lorac=statistics.median(ratios),
            cpu_seconds=cpu,
            cpu_times_lorac=cpu / cpu_ours,
            all_seconds=[run.seconds for run in runs],
            losses=runs[0].losses,
        )
    return medians


def section_step(bench: Bench) -> None:
    print_head("whole steps: s per step; loss after the last one")
    variants = [VARIANTS[name] for name in bench.options.variants.split()]
    for shape, layers, rows in (("135m", 30, 4), ("1.1b", 22, 1)):
        if shape in bench.options.shapes:
            whole_steps(bench, shape, layers, rows, variants, bench.options.steps)


def section_7b(bench: Bench) -> None:
    print_head("layers of Llama 2 7B's shape: s per step")
    few, more, every = 2, 4, 32
    variants = [VARIANTS[name] for name in bench.options.variants.split() if name != "installed"]
    two = whole_steps(bench, "7b", few, 1, variants, 1)
    four = whole_steps(bench, "7b", more, 1, variants, 1)
    for name in four:
        if name in two:
            s = two[name] + (four[name] - two[name]) / (more - few) * (every - few)
            bench.add("7b, 32 layers, extrapolated", name, seconds=s, tokens_per_s=512 / s)
    print("PyTorch in float32 would need 27 GB for the 32 layers' weights alone.")


# ---- epochs --------------------------------------------------------------------------------------


class Instructions:
    """Records in Alpaca's form as token ids, a part of them kept aside for validation."""

    def __init__(self, records: list[dict], gguf: Path, system: bool) -> None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        before = ""
        if system:
            text = tokenizer(SYSTEM_TEXT.read_text())
            before = tokenizer.decode(text["input_ids"][: SYSTEM_TOKENS - 1]) + "\n\n"
        examples = []
        for r in records:
            prompt = before + ALPACA[bool(r.get("input"))].format(**r)
            encoded = tokenizer(prompt + r["output"], return_offsets_mapping=True)
            ids, spans = encoded["input_ids"], encoded["offset_mapping"]
            labels = [
                token if end > len(prompt) else ref.IGNORE
                for token, (_, end) in zip(ids, spans, strict=True)
            ]
            end = tokenizer.eos_token_id
            examples.append(ref.Example([*ids, end], [*labels, end]))
        random.Random(0).shuffle(examples)
        self.validation, self.train = examples[:VALIDATION], examples[VALIDATION:]
        self.lengths = [len(e.ids) for e in self.train]
        self.tokens = sum(self.lengths)

    def padded(self, micro: list[int]) -> int:
        return max(self.lengths[i] for i in micro) * len(micro)

    def steps(self, grouped: bool) -> list[list[list[int]]]:
        """An epoch's optimiser steps as lists of micro-batches; a short last one is left out."""
        order = list(range(len(self.train)))
        if grouped:
            order = get_length_grouped_indices(self.lengths, BATCH)
        batches = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
        return [[b[i : i + MICRO] for i in range(0, BATCH, MICRO)] for b in batches]

    def sample(self, steps: list[list[list[int]]], n: int) -> list[list[list[int]]]:
        """n steps evenly spread over the sizes, and before them one of medium size to warm up."""
        by_size = sorted(steps, key=lambda s: sum(map(self.padded, s)))
        picked = [by_size[(2 * i + 1) * len(by_size) // (2 * n)] for i in range(n)]
        random.Random(1).shuffle(picked)
        return [by_size[len(by_size) // 2 + 1], *picked]


def epoch(bench: Bench, case: str, data: Instructions, variants: list[Variant], n: int) -> None:
    work = Path(tempfile.mkdtemp(dir=bench.scratch))
    gguf = Path(os.environ["LORAC_SMOLLM2_GGUF"])
    ref.write_tokens(work / "all.jsonl", data.train)
    ref.write_tokens(work / "validation.jsonl", data.validation)
    in_turn = data.sample(data.steps(grouped=False), n)
    ref.write_tokens(
        work / "sample.jsonl", [data.train[i] for step in in_turn for m in step for i in m]
    )
    ours = bench.lorac(
        gguf, work / "sample.jsonl", BATCH, n, validation=str(work / "validation.jsonl")
    )
    if ours.failed:
        bench.add(case, "lorac", failed=ours.failed)
        return
    lorac_s = sum(ours.seconds) / sum(ours.tokens) * data.tokens
    bench.add(
        case,
        "lorac",
        seconds=lorac_s,
        tokens_per_s=data.tokens / lorac_s,
        peak_bytes=ours.peak_bytes,
        others=ours.others,
        loss=ours.validation_loss,
        times_lorac=1.0,
        step_seconds=ours.seconds,
    )
    for v in variants:
        every = data.steps(v.grouped)
        steps = data.sample(every, n) if v.grouped else in_turn
        job = {
            "kind": "epoch",
            "model": str(gguf),
            "data": str(work / "all.jsonl"),
            "validation": str(work / "validation.jsonl"),
            "order": [micro for step in steps for micro in step],
            "accumulate": BATCH // MICRO,
        }
        side = bench.torch(v, job)
        if side.failed:
            bench.add(case, v.name, failed=side.failed)
            continue
        timed = sum(data.padded(micro) for step in steps[1:] for micro in step)
        # A short last batch of the epoch is counted at the mean padding of the others.
        padding = sum(data.padded(m) for s in every for m in s) / sum(
            data.lengths[i] for s in every for m in s for i in m
        )
        s = sum(side.seconds[1:]) / timed * padding * data.tokens
        bench.add(
            case,
            v.name,
            seconds=s,
            tokens_per_s=data.tokens / s,
            peak_bytes=side.peak_bytes,
            others=side.others,
            loss=side.validation_loss,
            times_lorac=s / lorac_s,
            padding=padding,
            step_seconds=side.seconds,
        )


def load_instructions(bench: Bench, system: bool) -> Instructions | None:
    path = Path(bench.options.data)
    if not path.exists() or not os.environ.get("LORAC_SMOLLM2_GGUF"):
        print(f"skipped: {path} or SmolLM2 is not here")
        return None
    records = json.loads(path.read_text())
    return Instructions(records, Path(os.environ["LORAC_SMOLLM2_GGUF"]), system)


def section_epoch(bench: Bench) -> None:
    n = bench.options.sample
    print_head(f"one epoch, from {n} of its steps: s; validation loss after {n + 1} steps")
    if data := load_instructions(bench, system=False):
        case = f"{len(data.train)} records, {data.tokens} tokens"
        epoch(bench, case, data, [INSTALLED, TUNED], n)


def section_system(bench: Bench) -> None:
    n = max(1, bench.options.sample // 2)
    print_head(f"the same with a system prompt of {SYSTEM_TOKENS} tokens, from {n} of its steps")
    if data := load_instructions(bench, system=True):
        case = f"{len(data.train)} records, {data.tokens} tokens"
        epoch(bench, case, data, [TUNED], n)


# ---- the whole -----------------------------------------------------------------------------------

SECTIONS = {
    "step": section_step,
    "epoch": section_epoch,
    "system": section_system,
    "7b": section_7b,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="default: all of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything measured, as JSON")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side (step, 7b)")
    parser.add_argument(
        "--steps", type=int, default=2, help="timed steps of a turn, after one more"
    )
    parser.add_argument("--sample", type=int, default=4, help="timed steps of an epoch")
    parser.add_argument("--shapes", default="135m 1.1b", help="of the section step")
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help="of every side; with 1, CPU times compare on a machine that others use, too",
    )
    parser.add_argument("--no-limits", action="store_true", help="do not measure sgemm first")
    parser.add_argument(
        "--variants",
        default="installed tuned bf16",
        help="of PyTorch in step and 7b; also: compiled",
    )
    parser.add_argument(
        "--data",
        default="../shared/data/llama-factory-demo/alpaca_en_demo.json",
        help="JSON array of {instruction, input, output}",
    )
    parser.add_argument(
        "--prefix", type=str.split, default=[], help="a command put before each measured one"
    )
    a = parser.parse_args()
    a.sections = a.sections or list(SECTIONS)
    for name in a.sections:
        if name not in SECTIONS:
            parser.error(f"{name}: wanted one of {', '.join(SECTIONS)}")
    return a


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options, Path(scratch))
        if not options.no_limits:
            bench.limits()
        started = time.monotonic()
        for name in options.sections:
            SECTIONS[name](bench)
        facts = bench.facts
        facts["lorac"] = finish([LORAC, "--version"]).out.splitlines()[0]
        print(
            f"\n{facts['lorac']}; PyTorch side: {facts.get('versions')}, "
            f"{facts.get('torch_threads')} threads"
        )
        print(f"tuned: {json.dumps(tuned_settings(options.threads))}")
        print(f"took {time.monotonic() - started:.0f} s")
    if options.json:
        whole = {"facts": bench.facts, "tuned": tuned_settings(options.threads), "rows": bench.rows}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
