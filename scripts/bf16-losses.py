#!/usr/bin/env python3
"""What bf16 arithmetic costs in loss: the same runs in f32 and in bf16, with several seeds.

    scripts/bf16-losses.py MODEL OUT --data FILE [OPTION...]

MODEL is a model, such as the one that scripts/get-smollm2 prints; OUT is a directory that keeps the
runs: a second call goes on where the first was ended. FILE holds records, of which a tenth is kept
for validation, the same for all seeds. Each run is one epoch in batches of 16, r 16 on all linear
layers. Prints a table in Markdown: the validation loss after the last step of each run, the
relative difference of each other arithmetic from the first, and its mean over the seeds. With
--most the exit code is 1 where a difference is larger.

For train.compute's promise: FILE is alpaca_en_demo.json of LLaMA-Factory (999 records), --most 0.3.
--compute f32,f32 trains everything twice, for a check of this script: all differences are 0.
"""

import json
import statistics
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from checks import lorac, require_compute, write_config
from command_line import Failure, Parser, list_of, quoted, split, there, whole

BATCH, R, LORA_ALPHA, VALIDATION = 16, 16, 32, 0.1


def kinds_of(text: str) -> list[str]:
    """Two or more kinds of arithmetic; unlike other lists, this one may name one twice."""
    kinds = [kind for word in split(text) for kind in list_of("f32", "bf16")(word)]
    if len(kinds) < 2:
        raise ArgumentTypeError(f"found {quoted(text)}, wanted two or more, such as f32,bf16")
    return kinds


def percent(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"found {quoted(text)}, wanted a number, in percent") from None


def arguments() -> object:
    p = Parser(__doc__)
    p.add_argument("model", type=there, metavar="MODEL")
    p.add_argument("out", type=Path, metavar="OUT")
    p.add_argument("--data", type=there, required=True, metavar="FILE")
    p.add_argument("--template", default="alpaca", help="default: %(default)s")
    p.add_argument(
        "--compute",
        type=kinds_of,
        default="f32,bf16",
        metavar="LIST",
        help="compared with its first; default: %(default)s",
    )
    p.add_argument(
        "--seeds", type=whole(1), default=3, metavar="N", help="how many; default: %(default)s"
    )
    p.add_argument("--steps", type=whole(1), metavar="N", help="instead of an epoch")
    p.add_argument("--most", type=percent, metavar="PERCENT", help="the largest difference")
    return p.parse_args()


def settings(args: object, compute: str, seed: int, run: Path) -> dict:
    train = {"batch_size": BATCH, "seed": seed, "num_epochs": 1}
    if args.steps:
        train["max_steps"] = args.steps
    if compute != "f32":
        train["compute"] = compute
    return {
        "model": {"path": str(args.model)},
        "data": {
            "train": str(args.data),
            "validation": VALIDATION,
            "split_seed": 0,
            "template": args.template,
        },
        "adapter": {"r": R, "lora_alpha": LORA_ALPHA},
        "train": train,
        "output": {"dir": str(run)},
    }


def last_loss(args: object, name: str, compute: str, seed: int) -> float:
    """Train, unless that is done; the validation loss after the last step."""
    run = args.out / f"{name}-seed-{seed}"
    wanted = settings(args, compute, seed, run)
    config = run.with_suffix(".yaml")
    before = config.read_text() if config.exists() else None
    write_config(config, wanted)
    if before not in (None, config.read_text()):
        config.write_text(before)
        raise Failure(f"{config}: holds runs of other settings; name another OUT")
    lorac("train", config, "--resume", "auto")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    if "eval_loss" not in lines[-1]:
        raise Failure(f"{run}/metrics.jsonl: found no validation loss after the last step")
    return lines[-1]["eval_loss"]


def main() -> int:
    args = arguments()
    require_compute(args.compute)
    args.out.mkdir(parents=True, exist_ok=True)
    twice = len(set(args.compute)) < len(args.compute)
    names = [f"{kind}-{i + 1}" if twice else kind for i, kind in enumerate(args.compute)]
    first, *others = names
    print(f"| seed | {' | '.join([first] + [f'{n} | difference' for n in others])} |")
    print("| --- " * (2 * len(others) + 2) + "|")
    differences: dict[str, list[float]] = {name: [] for name in others}
    for seed in range(args.seeds):
        cells = []
        losses = {
            name: last_loss(args, name, kind, seed)
            for name, kind in zip(names, args.compute, strict=True)
        }
        for name in others:
            differences[name].append(100 * (losses[name] / losses[first] - 1))
            cells.append(f"{losses[name]:.5f} | {differences[name][-1]:+.3f} %")
        print(f"| {seed} | {losses[first]:.5f} | {' | '.join(cells)} |", flush=True)
    means = {name: statistics.mean(of) for name, of in differences.items()}
    print(f"| mean | | {' | '.join(f'| {mean:+.3f} %' for mean in means.values())} |")
    largest = max(abs(x) for of in differences.values() for x in of)
    return args.most is not None and largest > args.most


if __name__ == "__main__":
    sys.exit(main())
