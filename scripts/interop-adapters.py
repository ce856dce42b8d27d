#!/usr/bin/env python3
"""Adapters between lorac and PEFT, on the models of tests/golden. Called by scripts/interop.

It checks PEFT's adapter in lorac, the same training in both, lorac's adapter in PEFT, and the
merged model in transformers; then every way to describe a plain LoRA that PEFT reads.
"""

import json
import shutil
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import command_line

command_line.no_words(__doc__)

import peft
import reference as ref
import torch
from checks import GOLDEN, Report, evaluate, lorac, write_config
from safetensors.torch import load_file, save_file

CASES = ("gqa-tied", "mha-untied", "llama3-rope", "linear-rope")
# Twenty steps of float32 in two orders of summation: the goldens' drift after eight is below 5e-6.
LOSS = 1e-4
GRAD_NORM = 1e-3
RECIPE = ref.Recipe(
    max_steps=20,
    batch_size=3,
    learning_rate=2e-3,
    warmup_steps=2,
    weight_decay=0.01,
    max_grad_norm=0.5,
)


def train_both(report: Report, case: Path, run: Path, examples: list[ref.Example]) -> None:
    """The steps of a run from PEFT's adapter, in file order."""
    model = ref.load_adapter(ref.load_model(case / "model"), case / "adapter", trainable=True)
    wanted = ref.train(model, examples, RECIPE)
    start = json.loads((case / "adapter/adapter_config.json").read_text())
    config = run.with_suffix(".yaml")
    write_config(
        config,
        {
            "model": {"path": str(case / "model")},
            "data": {"train": str(case / "batch.jsonl"), "format": "tokens"},
            "adapter": {
                **{key: start[key] for key in ("r", "lora_alpha", "target_modules")},
                "init_from": str(case / "adapter"),
            },
            "train": asdict(RECIPE) | {"lr_scheduler_type": "cosine", "shuffle": False},
            "output": {"dir": str(run)},
        },
    )
    lorac("train", config)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    report.equal("steps", len(steps), len(wanted))
    for got, want in zip(steps, wanted, strict=True):
        report.details.clear()
        name = f"step {want['step']}"
        report.near(f"{name}: loss", got["loss"], want["loss"], LOSS)
        report.near(f"{name}: grad_norm", got["grad_norm"], want["grad_norm"], GRAD_NORM)
        if want["learning_rate"]:
            report.near(f"{name}: rate", got["learning_rate"], want["learning_rate"], 1e-5)


def check_case(report: Report, case: Path, work: Path) -> None:
    data, run, name = case / "batch.jsonl", work / case.name, case.name
    examples = ref.read_tokens(data)
    tokens = ("--format", "tokens")

    with report.check(f"{name}: the base model's loss"):
        got = evaluate(case / "model", data, *tokens)
        want = ref.mean_loss(ref.load_model(case / "model"), examples)
        report.near("loss", got["loss"], want, LOSS)
        report.equal("targets", got["targets"], sum(e.targets() for e in examples))

    with report.check(f"{name}: an adapter of PEFT in lorac"):
        got = evaluate(case / "model", data, "--adapter", case / "adapter", *tokens)
        model = ref.load_adapter(ref.load_model(case / "model"), case / "adapter")
        report.near("loss", got["loss"], ref.mean_loss(model, examples), LOSS)

    with report.check(f"{name}: {RECIPE.max_steps} training steps beside PEFT"):
        train_both(report, case, run, examples)

    adapter = run / "adapter"
    with report.check(f"{name}: an adapter of lorac in PEFT"):
        model = ref.load_adapter(ref.load_model(case / "model"), adapter)
        got = evaluate(case / "model", data, "--adapter", adapter, *tokens)
        report.near("loss", got["loss"], ref.mean_loss(model, examples), LOSS)

    with report.check(f"{name}: merged by lorac, loaded by transformers"):
        out = work / f"{name}-merged"
        lorac("merge", "--model", case / "model", "--adapter", adapter, "-o", out, "--dtype", "f32")
        got = ref.mean_loss(ref.load_model(out), examples)
        model = ref.load_adapter(ref.load_model(case / "model"), adapter)
        report.near("loss", got, ref.mean_loss(model, examples), LOSS)
        report.near("loss in lorac", evaluate(out, data, *tokens)["loss"], got, LOSS)


# Ways to describe a plain LoRA, as LoraConfig takes them.
FORMS: dict[str, dict] = {
    "a list of names": {"target_modules": ["q_proj", "down_proj"]},
    "ends of paths": {"target_modules": ["layers.1.self_attn.v_proj", "mlp.up_proj"]},
    "a regular expression": {"target_modules": r".*\.self_attn\.(q|v)_proj"},
    "a regular expression of one layer": {"target_modules": r"model\.layers\.1\..*_proj"},
    "all-linear": {"target_modules": "all-linear"},
    "layers_to_transform, a number": {"target_modules": ["q_proj"], "layers_to_transform": 1},
    "layers_to_transform, a list": {"target_modules": ["v_proj"], "layers_to_transform": [0]},
    "layers_pattern": {
        "target_modules": ["o_proj", "up_proj"],
        "layers_to_transform": [1],
        "layers_pattern": "layers",
    },
    "exclude_modules, a list": {
        "target_modules": "all-linear",
        "exclude_modules": ["down_proj", "layers.0.self_attn.q_proj"],
    },
    "exclude_modules, a regular expression": {
        "target_modules": ["q_proj", "k_proj", "v_proj"],
        "exclude_modules": r".*layers\.0\..*",
    },
    "fan_in_fan_out": {"target_modules": ["q_proj", "gate_proj"], "fan_in_fan_out": True},
    "rank_pattern and alpha_pattern": {
        "target_modules": ["q_proj", "v_proj", "up_proj"],
        "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6},
        "alpha_pattern": {"v_proj": 20, "nothing": 3},
    },
    "rsLoRA": {"target_modules": ["k_proj", "o_proj"], "use_rslora": True},
    "an unchanged head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "an unchanged embedding": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
}
# The names of tensors that were not saved by save_pretrained.
NAMES = {
    "an adapter's name": lambda n: n.replace(".weight", ".default.weight"),
    "no prefix": lambda n: n.removeprefix("base_model.model."),
    "torch.compile": lambda n: "_orig_mod." + n,
    "torch.compile inside": lambda n: n.replace("base_model.model.", "base_model.model._orig_mod."),
    "DDP": lambda n: "module." + n,
}


def make_adapter(case: Path, path: Path, form: dict, **save: object) -> None:
    """An adapter of PEFT's own whose effect cannot be overlooked."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=16, **form)
    model = peft.get_peft_model(ref.load_model(case / "model"), config)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".lora_B." in name:
                p.normal_(std=0.3)
    model.save_pretrained(path, **save)


def check_form(report: Report, case: Path, path: Path, wanted_from: Path) -> None:
    examples = ref.read_tokens(case / "batch.jsonl")
    want = ref.mean_loss(ref.load_adapter(ref.load_model(case / "model"), wanted_from), examples)
    base = ref.mean_loss(ref.load_model(case / "model"), examples)
    got = evaluate(case / "model", case / "batch.jsonl", "--adapter", path, "--format", "tokens")[
        "loss"
    ]
    report.equal("has an effect", abs(want - base) > 10 * LOSS, True)
    report.near("loss", got, want, LOSS / 10)


def edit(path: Path, **changes: object) -> None:
    config = json.loads((path / "adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps(config | changes))


def check_forms(report: Report, case: Path, work: Path) -> None:
    warnings.simplefilter("ignore")
    for number, (name, form) in enumerate(FORMS.items()):
        with report.check(f"{case.name}: {name}"):
            path = work / f"{case.name}-form-{number}"
            make_adapter(case, path, form)
            check_form(report, case, path, path)
    plain = work / f"{case.name}-plain"
    make_adapter(case, plain, {"target_modules": ["q_proj", "v_proj"]})
    with report.check(f"{case.name}: save_embedding_layers"):
        path = work / f"{case.name}-embedding"
        make_adapter(case, path, {"target_modules": ["q_proj"]}, save_embedding_layers=True)
        check_form(report, case, path, path)
    for name, changes in {
        "tensors that target_modules does not name": {"target_modules": ["v_proj"]},
        "modules that have no tensors": {"target_modules": ["q_proj", "v_proj", "o_proj"]},
        "a regular expression instead": {"target_modules": r".*layers\.1\..*(q|v)_proj"},
    }.items():
        with report.check(f"{case.name}: {name}"):
            path = work / f"{case.name}-edited"
            shutil.copytree(plain, path, dirs_exist_ok=True)
            edit(path, **changes)
            check_form(report, case, path, path)
    for name, rename in NAMES.items():
        with report.check(f"{case.name}: names of tensors, {name}"):
            path = work / f"{case.name}-names"
            shutil.copytree(plain, path, dirs_exist_ok=True)
            file = path / "adapter_model.safetensors"
            tensors = load_file(plain / file.name)
            save_file({rename(n): t for n, t in tensors.items()}, file)
            check_form(report, case, path, plain)


def main() -> None:
    torch.set_num_threads(2)
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        for name in CASES:
            check_case(report, GOLDEN / name, Path(work))
        for name in ("gqa-tied", "mha-untied"):
            check_forms(report, GOLDEN / name, Path(work))
    report.finish()


if __name__ == "__main__":
    main()
