#!/usr/bin/env python3
"""Training files of other trainers, as their packages on PyPI hold them, translated by lorac.

Called by scripts/interop. The samples are fetched with pip; a package that cannot be fetched, or
has no sample, is skipped. mlx-lm's package has no sample file: its defaults (lora.py), which have
every key, are the sample. TRL's is the LoRA command line in the docstring of its script, whose
arguments `trl sft --config` reads. Checked of each:

  lorac plan THEIRS.yaml      every key is answered with a key or with a reason, exit code 2
  lorac convert               the numbers are those that PyYAML reads in the original
  lorac plan OURS.yaml        passes on the tiny model and records of this repository

  scripts/interop-trainers.py
"""

import ast
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import command_line

command_line.no_words(__doc__)

import yaml
from checks import LORAC, Report, lorac

MODEL = Path("checkpoints/tiny-base")
RECORDS = Path("datasets/support-desk.jsonl")


@dataclass
class Numbers:
    """What must not change: rank, alpha, rate, batch, and the epochs or the steps."""

    rank: float
    alpha: float
    rate: float
    batch: float
    length: tuple[str, float]


# ---- the samples ---------------------------------------------------------------------------------


def fetch(package: str, into: Path, sdist: bool) -> Path | None:
    """The file of a package, or None when pip cannot get it."""
    kind = ["--no-binary", ":all:"] if sdist else ["--only-binary", ":all:"]
    into.mkdir()
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *kind]
    command += ["-d", into, package]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    return next(iter(into.iterdir()), None)


def members(archive: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the files in an archive whose names match."""
    wanted = re.compile(pattern)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            for name in sorted(z.namelist()):
                if wanted.search(name):
                    yield name, z.read(name).decode()
        return
    with tarfile.open(archive) as t:
        for member in sorted(t.getmembers(), key=lambda m: m.name):
            if member.isfile() and wanted.search(member.name):
                yield member.name, t.extractfile(member).read().decode()


def files_of(pattern: str) -> Callable[[Path], Iterator[tuple[str, str]]]:
    return lambda archive: members(archive, pattern)


def mlx_defaults(archive: Path) -> Iterator[tuple[str, str]]:
    """The dictionary CONFIG_DEFAULTS as a file, with training switched on."""
    for name, text in members(archive, r"^mlx_lm/lora\.py$"):
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "CONFIG_DEFAULTS":
                values = ast.literal_eval(node.value) | {"train": True}
                yield f"{name}: CONFIG_DEFAULTS", yaml.safe_dump(values, sort_keys=False)


def trl_command(archive: Path) -> Iterator[tuple[str, str]]:
    """The arguments of the command with --use_peft in the script's docstring."""
    for name, text in members(archive, r"^trl/scripts/sft\.py$"):
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            words = shlex.split(block.replace("\\\n", " "))
            values: dict[str, object] = {}
            for i, word in enumerate(words):
                if word.startswith("--"):
                    given = i + 1 < len(words) and not words[i + 1].startswith("--")
                    values[word[2:]] = yaml.safe_load(words[i + 1]) if given else True
            if "use_peft" in values:
                yield f"{name}: its docstring", yaml.safe_dump(values, sort_keys=False)


# ---- their numbers -------------------------------------------------------------------------------


def axolotl(c: dict) -> Numbers:
    batch = c["micro_batch_size"] * c["gradient_accumulation_steps"]
    rate = float(c["learning_rate"])
    return Numbers(c["lora_r"], c["lora_alpha"], rate, batch, ("num_epochs", c["num_epochs"]))


def llamafactory(c: dict) -> Numbers:
    batch = c["per_device_train_batch_size"] * c["gradient_accumulation_steps"]
    alpha = c.get("lora_alpha", 2 * c["lora_rank"])
    length = ("num_epochs", c["num_train_epochs"])
    return Numbers(c["lora_rank"], alpha, float(c["learning_rate"]), batch, length)


def torchtune(c: dict) -> Numbers:
    batch = c["batch_size"] * c["gradient_accumulation_steps"]
    rank, alpha = c["model"]["lora_rank"], c["model"]["lora_alpha"]
    return Numbers(rank, alpha, float(c["optimizer"]["lr"]), batch, ("num_epochs", c["epochs"]))


def mlx_lm(c: dict) -> Numbers:
    lora = c["lora_parameters"]
    batch = c["batch_size"] * c["grad_accumulation_steps"]
    length = ("max_steps", c["iters"] // c["grad_accumulation_steps"])
    alpha = lora["scale"] * lora["rank"]
    return Numbers(lora["rank"], alpha, float(c["learning_rate"]), batch, length)


def trl(c: dict) -> Numbers:
    batch = c["per_device_train_batch_size"] * c["gradient_accumulation_steps"]
    length = ("num_epochs", c["num_train_epochs"])
    return Numbers(c["lora_r"], c["lora_alpha"], float(c["learning_rate"]), batch, length)


@dataclass
class Package:
    name: str
    sdist: bool
    trainer: str
    samples: Callable[[Path], Iterator[tuple[str, str]]]
    numbers: Callable[[dict], Numbers]


PACKAGES = [
    Package(
        "axolotl",
        True,
        "axolotl",
        files_of(r"/examples/(llama-2/lora|llama-3/(lora-1b|lora-8b|instruct-lora-8b))\.yml$"),
        axolotl,
    ),
    Package(
        "llamafactory",
        True,
        "LLaMA-Factory",
        files_of(r"/examples/train_lora/[^/]*_lora_sft\.yaml$"),
        llamafactory,
    ),
    Package(
        "torchtune",
        False,
        "torchtune",
        files_of(r"^recipes/configs/(llama3_2/1B|llama2/7B)_lora(_single_device)?\.yaml$"),
        torchtune,
    ),
    Package("mlx-lm", False, "mlx-lm", mlx_defaults, mlx_lm),
    Package("trl", False, "TRL", trl_command, trl),
]

# ---- the checks ----------------------------------------------------------------------------------


def check_answers(report: Report, path: Path) -> None:
    """Every key of theirs is named in a line that says what to write, or why there is nothing."""
    known = lorac("help", "keys")
    done = subprocess.run([LORAC, "plan", path], capture_output=True, text=True, check=False)
    report.equal("exit code", done.returncode, 2)
    lines = done.stderr.splitlines()
    for key in yaml.safe_load(path.read_text()):
        if key == "early_stopping_patience" and f"`{key}`" not in known:
            continue
        named = re.compile(rf':\d+: (unknown \w+ "{re.escape(key)}[".]|{re.escape(key)}: )')
        own = [line for line in lines if named.search(line)]
        mute = [line for line in own if "help keys" in line]
        mute += [line for line in own if "did you mean" in line and "unknown section" not in line]
        report.equal(f"{key}: has an answer", (len(own) > 0, mute), (True, []))
    report.details = ["exit code", f"{len(lines)} lines"]


def check_numbers(report: Report, ours: dict, want: Numbers) -> None:
    train, adapter = ours["train"], ours["adapter"]
    key, length = want.length
    report.equal(f"r {want.rank}", adapter["r"], want.rank)
    report.equal(f"lora_alpha {want.alpha:g}", adapter["lora_alpha"], want.alpha)
    report.equal(f"learning_rate {want.rate:g}", train["learning_rate"], want.rate)
    report.equal(f"batch_size {want.batch}", train["batch_size"], want.batch)
    report.equal(f"{key} {length:g}", train[key], length)


def check_sample(report: Report, package: Package, name: str, text: str, folder: Path) -> None:
    theirs, ours = folder / "theirs.yaml", folder / "ours.yaml"
    theirs.write_text(text)
    ours.unlink(missing_ok=True)
    short = re.sub(r"^[^/]*-[0-9.]+/", "", name)
    with report.check(f"{package.name}: {short}: every key is answered"):
        check_answers(report, theirs)
    with report.check(f"{package.name}: {short}: the numbers"):
        lorac("convert", theirs, "-o", ours)
        written = ours.read_text()
        header = " ".join(written.replace("#", " ").split())
        report.equal("trainer", f"written for {package.trainer}." in header, True)
        check_numbers(report, yaml.safe_load(written), package.numbers(yaml.safe_load(text)))
    with report.check(f"{package.name}: {short}: the translation passes lorac plan"):
        overrides = [f"model.path={MODEL}", "model.tokenizer=null", f"data.train={RECORDS}"]
        overrides += ["data.format=auto", "data.columns=null", "data.template=vicuna_v1.1"]
        overrides += ["data.max_length=512", "data.validation=0.1", f"output.dir={folder / 'run'}"]
        steps = [line for line in lorac("plan", ours, *overrides).splitlines() if "steps" in line]
        report.details = [" ".join(steps[0].split())]


def main() -> None:
    report = Report()
    with tempfile.TemporaryDirectory() as made:
        for package in PACKAGES:
            folder = Path(made) / package.name
            archive = fetch(package.name, folder, package.sdist)
            samples = list(package.samples(archive)) if archive else []
            if not samples:
                why = "holds no sample" if archive else "cannot be fetched"
                report.skip(package.name, f"the package {why}")
            for name, text in samples:
                check_sample(report, package, name, text, Path(made))
    report.finish()


if __name__ == "__main__":
    main()
