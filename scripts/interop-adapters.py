#!/usr/bin/env python3
"""Adapters between lorac and PEFT, on the models of tests/golden. Called by scripts/interop.

Each way once: PEFT's adapter in lorac, the same training in both, lorac's adapter in PEFT, the
merged model in transformers.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import reference as ref
import torch
from checks import GOLDEN, Report, evaluate, lorac, write_config

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


def main() -> None:
    torch.set_num_threads(2)
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        for name in CASES:
            check_case(report, GOLDEN / name, Path(work))
    report.finish()


if __name__ == "__main__":
    main()
