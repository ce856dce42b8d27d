#!/usr/bin/env python3
"""Which learning rate is best: short runs at each rate with several seeds, and what each learnt.

    scripts/learning-rates.py MODEL OUT --data NAME=TRAIN,HELD,STEPS [--data ...]

MODEL is a model with a chat template, OUT a directory that keeps the runs: a second call goes on
where the first was ended. A set of data is a file to learn, a file of held-out records, and the
steps of a run, in batches of 8. Prints a table in Markdown: the mean over the seeds and, after ±,
the standard deviation of the validation loss after the last step and of the held-out answers that
are exactly right.

The table of configs/README.md was made with SmolLM2-135M-Instruct (scripts/get-smollm2) and
    --data handbook=datasets/handbook.jsonl,datasets/handbook-questions.jsonl,60
    --data gsm8k=gsm8k-260.jsonl,gsm8k-40.jsonl,33
where the last two are records 1 to 260 and 261 to 300 of the training file of
https://github.com/openai/grade-school-math.
"""

import json
import statistics
from argparse import ArgumentTypeError
from pathlib import Path
from typing import NamedTuple

from checks import evaluate, lorac, write_config
from command_line import Parser, numbers, quoted, there, whole

BATCH, R, LORA_ALPHA = 8, 16, 32


class DataSet(NamedTuple):
    name: str
    train: Path
    held: Path
    steps: int


def data_set(text: str) -> DataSet:
    name, _, rest = text.partition("=")
    files = rest.split(",")
    if len(files) != 3 or not name:
        raise ArgumentTypeError(f"found {quoted(text)}, wanted NAME=TRAIN,HELD,STEPS")
    return DataSet(name, there(files[0]), there(files[1]), whole(1)(files[2]))


def arguments() -> object:
    p = Parser(__doc__)
    p.add_argument("model", type=there, metavar="MODEL")
    p.add_argument("out", type=Path, metavar="OUT")
    p.add_argument(
        "--data",
        action="append",
        required=True,
        type=data_set,
        metavar="NAME=TRAIN,HELD,STEPS",
        help="a set of data; may be given several times",
    )
    p.add_argument(
        "--rates", type=numbers, default="3e-4,1e-3,3e-3,1e-2", help="default: %(default)s"
    )
    p.add_argument("--seeds", type=whole(1), default=3, help="how many; default: %(default)s")
    return p.parse_args()


def result(run: Path, model: Path, data: DataSet, rate: str, seed: int) -> dict:
    """Train, unless that is done, and measure."""
    measured = run / "measured.json"
    if measured.exists():
        return json.loads(measured.read_text())
    sections = {
        "model": {"path": str(model)},
        "data": {"train": str(data.train), "template": "model"},
        "adapter": {"r": R, "lora_alpha": LORA_ALPHA},
        "train": {
            "max_steps": data.steps,
            "batch_size": BATCH,
            "learning_rate": float(rate),
            "seed": seed,
        },
        "output": {"dir": str(run / "run")},
    }
    run.mkdir(parents=True, exist_ok=True)
    write_config(run / "run.yaml", sections)
    lorac("train", run / "run.yaml", "--resume", "auto")
    adapter = run / "run/adapter"
    found = evaluate(model, data.held, "--adapter", adapter, "--template", "model")
    measured.write_text(json.dumps(found))
    return found


def spread(values: list[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    print("| data | learning rate | validation loss | answers exactly right |")
    print("| --- | --- | --- | --- |")
    for data in args.data:
        base = evaluate(args.model, data.held, "--template", "model")
        of = base["examples"]
        right = round(base["exact_match"] * of)
        print(f"| {data.name} | the base | {base['loss']:.3f} | {right} of {of} |", flush=True)
        for rate in args.rates:
            runs = [
                result(args.out / f"{data.name}-{rate}-{seed}", args.model, data, rate, seed)
                for seed in range(args.seeds)
            ]
            losses = spread([r["loss"] for r in runs], 3)
            exact = spread([r["exact_match"] * of for r in runs], 1)
            print(f"| {data.name} | {rate} | {losses} | {exact} of {of} |", flush=True)


if __name__ == "__main__":
    main()
