#!/usr/bin/env python3
"""Write tests/golden/schedules.json: the learning rates of transformers' get_scheduler.

    scripts/make-schedules.py [OUT]           default: tests/golden/schedules.json

A row holds the SHA-256 of all rates (float64, little endian) of runs of every number of steps in
TOTALS, one run after the other. The warm-up is transformers' own, by
TrainingArguments.get_warmup_steps(), except that a ratio of less than one step gives no warm-up:
there lorac differs on purpose.
"""

import hashlib
import json
import struct

import command_line

OUT = command_line.output(__doc__, "tests/golden/schedules.json")

import torch
import transformers

TOTALS = [*range(1, 70), 99, 100, 101, 333, 334, 999, 1000, 1001, 1667]
TYPES = ["cosine", "linear", "constant", "constant_with_warmup"]
RATIOS = [0.0, 0.001, 0.03, 0.05, 0.07, 0.1, 1 / 3, 0.5, 1.0]
STEPS = [0, 1, 3, 40]
PEAK = 2e-4


def rates(kind, warmup, total):
    """get_last_lr() before each step."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=PEAK)
    schedule = transformers.get_scheduler(kind, optimizer, warmup, total)
    out = []
    for _ in range(total):
        out.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return out


def warmup_of(ratio, total):
    """What a ratio of `total` steps comes to."""
    if ratio >= 1:  # transformers 5 would read it as a number of steps
        return total
    arguments = transformers.TrainingArguments("unused", warmup_steps=ratio, use_cpu=True)
    return 0 if total * ratio < 1 else arguments.get_warmup_steps(total)


def row(kind, ratio, steps):
    """One configuration over all lengths."""
    digest = hashlib.sha256()
    for total in TOTALS:
        warmup = warmup_of(ratio, total) if steps is None else steps
        for rate in rates(kind, warmup, total):
            digest.update(struct.pack("<d", rate))
    return {"type": kind, "ratio": ratio, "steps": steps, "sha256": digest.hexdigest()}


def main():
    """Every type with every warm-up."""
    cases = [(ratio, None) for ratio in RATIOS] + [(0.5, steps) for steps in STEPS]
    rows = [row(kind, ratio, steps) for kind in TYPES for ratio, steps in cases]
    golden = {
        "transformers": transformers.__version__,
        "peak": PEAK,
        "totals": TOTALS,
        "rows": rows,
    }
    lines = ",\n  ".join(json.dumps(r) for r in rows)
    golden["rows"] = []
    OUT.write_text(json.dumps(golden)[:-3] + "[\n  " + lines + "\n]}\n")


if __name__ == "__main__":
    main()
