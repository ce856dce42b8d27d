#!/usr/bin/env python3
"""How far gradients in bf16 arithmetic are from float64: lorac's, and PyTorch's beside them.

    scripts/bf16-gradients.py [--compute LIST] [MODEL...]

MODEL is a directory of tests/golden, by default each of them. For every tensor of the adapter it
prints the relative error |g - g64| / |g64| of the gradient over the golden's batch, g64 being the
golden's (float64, stored as float32), as a table in Markdown, and below it the median and the
largest of the model. The columns:

  lorac f32, lorac bf16   with train.compute; --compute names those that run (default: both)
  PyTorch f32             transformers and PEFT as they are
  PyTorch bf16            the base in bf16, the adapter in float32: PEFT's default
  PyTorch autocast        the base in float32 under autocast to bf16: what TRL's SFTTrainer does

lorac's gradient is read from the checkpoint of one step, in which AdamW's first moment (beta1 = 0,
no clipping) is the gradient itself. It needs h5dump (hdf5-tools).
"""

import command_line
from checks import GOLDEN, LORAC, lorac, require_compute, write_config

KINDS = ("f32", "bf16")
MODELS = ("gqa-tied", "mha-untied", "llama3-rope", "linear-rope")


def parse_arguments() -> object:
    parser = command_line.Parser(__doc__)
    known = command_line.list_of(*MODELS)
    parser.add_argument("models", nargs="*", type=known, metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument(
        "--compute",
        type=command_line.list_of(*KINDS),
        default=list(KINDS),
        metavar="LIST",
        help=f"of lorac: {', '.join(KINDS)}",
    )
    options = parser.parse_args()
    options.models = command_line.flat(options.models) or MODELS
    return options


OPTIONS = parse_arguments()

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import peft
import reference as ref
import torch
from safetensors.torch import load_file

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def in_order(names: list[str]) -> list[str]:
    """Names of an adapter's tensors in the order of a checkpoint's flat arrays: by layers; in each
    all A, then all B (adapter_layout() in src/model/lora.c)."""

    def place(name: str) -> tuple[int, str, int]:
        parts = name.split(".")
        return int(parts[4]), parts[-2], MODULES.index(parts[-3])

    return sorted(names, key=place)


def lorac_gradient(case: Path, compute: str, shapes: dict[str, torch.Size]) -> dict:
    with tempfile.TemporaryDirectory() as work:
        run = Path(work) / "run"
        train = {
            "max_steps": 1,
            "batch_size": 8,
            "adam_beta1": 0,
            "max_grad_norm": 0,
            "shuffle": False,
        }
        if compute != "f32":
            train["compute"] = compute
        adapter = json.loads((case / "adapter/adapter_config.json").read_text())
        write_config(
            Path(work) / "run.yaml",
            {
                "model": {"path": str(case / "model")},
                "data": {"train": str(case / "batch.jsonl"), "format": "tokens"},
                "adapter": {
                    "r": adapter["r"],
                    "lora_alpha": adapter["lora_alpha"],
                    "target_modules": adapter["target_modules"],
                    "init_from": str(case / "adapter"),
                },
                "train": train,
                "output": {"dir": str(run)},
            },
        )
        lorac("train", Path(work) / "run.yaml")
        raw = Path(work) / "raw"
        dump = ["h5dump", "-d", "/optimizer/m", "-b", "LE", "-o", raw, run / "step-000001.h5"]
        subprocess.run(dump, check=True, stdout=subprocess.DEVNULL)
        flat = torch.from_numpy(np.fromfile(raw, dtype="<f4").astype(np.float64))
    sizes = [shapes[name].numel() for name in in_order(list(shapes))]
    if sum(sizes) != len(flat):
        raise command_line.Failure(f"{case}: found {len(flat)} values, wanted {sum(sizes)}")
    parts = flat.split(sizes)
    return {n: p.reshape(shapes[n]) for n, p in zip(in_order(list(shapes)), parts, strict=True)}


def torch_gradient(case: Path, dtype: torch.dtype, autocast: bool) -> dict:
    base = ref.load_model(case / "model", dtype)
    model = peft.PeftModel.from_pretrained(base, case / "adapter", is_trainable=True).eval()
    around = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
    with around:
        ref.backward(model, ref.read_tokens(case / "batch.jsonl"))
    return {name: p.grad.double() for name, p in ref.adapter_parameters(model).items()}


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want.double()).norm() / want.double().norm()).item()


def row(name: str, values: list[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:.1e}' for value in values)} |"


def compare(case: Path) -> None:
    want = load_file(case / "gradients.safetensors")
    shapes = {name: tensor.shape for name, tensor in want.items()}
    found = {f"lorac {kind}": lorac_gradient(case, kind, shapes) for kind in OPTIONS.compute}
    found |= {
        "PyTorch f32": torch_gradient(case, torch.float32, False),
        "PyTorch bf16": torch_gradient(case, torch.bfloat16, False),
        "PyTorch autocast": torch_gradient(case, torch.float32, True),
    }
    errors = {side: {n: error(of[n], t) for n, t in want.items()} for side, of in found.items()}
    print(f"\n| {case.name} | {' | '.join(found)} |\n{'| --- ' * (len(found) + 1)}|")
    for name in in_order(list(want)):
        parts = name.split(".")
        print(row(f"{parts[4]} {parts[-3]} {parts[-2][-1]}", [e[name] for e in errors.values()]))
    print(row("median", [statistics.median(e.values()) for e in errors.values()]))
    print(row("largest", [max(e.values()) for e in errors.values()]), flush=True)


def main() -> None:
    if not shutil.which("h5dump"):
        raise command_line.Failure("h5dump is not installed (Debian: apt-get install hdf5-tools)")
    if not os.access(LORAC, os.X_OK):
        raise command_line.Failure(f"{LORAC}: not there; run make first")
    require_compute(OPTIONS.compute)
    torch.set_num_threads(2)
    for name in OPTIONS.models:
        compare(GOLDEN / name)


if __name__ == "__main__":
    main()
