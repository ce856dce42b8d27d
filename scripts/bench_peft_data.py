"""What scripts/bench-peft trains on: token ids and labels, the same for all sides."""

import random
from pathlib import Path

import reference as ref
import transformers
from command_line import Failure
from transformers.trainer_pt_utils import get_length_grouped_indices

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


def random_rows(path: Path, vocabulary: int, rows: int, length: int) -> None:
    """Every token but the first of each row is a target; nothing is shared."""
    rng = random.Random(1)
    ids = [[rng.randrange(vocabulary) for _ in range(length)] for _ in range(rows)]
    ref.write_tokens(path, [ref.Example(row, list(row)) for row in ids])


class Instructions:
    """Records in Alpaca's form as token ids, a part of them kept aside for validation."""

    batch, micro = BATCH, MICRO

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
        least = VALIDATION + 3 * BATCH
        if len(examples) < least:
            raise Failure(
                f"--data: found {len(examples)} records, wanted {least} or more: {VALIDATION} are "
                f"kept for validation, and an epoch needs three steps of {BATCH}"
            )
        random.Random(0).shuffle(examples)
        self.validation, self.train = examples[:VALIDATION], examples[VALIDATION:]
        self.lengths = [len(e.ids) for e in self.train]
        self.tokens = sum(self.lengths)

    def write(self, work: Path, steps: list[list[list[int]]]) -> None:
        """all.jsonl, validation.jsonl, and sample.jsonl with the examples of `steps` in order."""
        ref.write_tokens(work / "all.jsonl", self.train)
        ref.write_tokens(work / "validation.jsonl", self.validation)
        sample = [self.train[i] for step in steps for micro in step for i in micro]
        ref.write_tokens(work / "sample.jsonl", sample)

    def padded(self, micro: list[int]) -> int:
        return max(self.lengths[i] for i in micro) * len(micro)

    def steps(self, grouped: bool) -> list[list[list[int]]]:
        """An epoch's optimiser steps as lists of micro-batches; a short last one is left out."""
        order = list(range(len(self.train)))
        if grouped:
            order = get_length_grouped_indices(self.lengths, BATCH)
        batches = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
        return [[b[i : i + MICRO] for i in range(0, BATCH, MICRO)] for b in batches]

    def padding(self, steps: list[list[list[int]]]) -> float:
        """Tokens that an epoch's steps have with padding, by those that they are given."""
        given = sum(self.lengths[i] for step in steps for micro in step for i in micro)
        return sum(self.padded(micro) for step in steps for micro in step) / given

    def sample(self, steps: list[list[list[int]]], n: int) -> list[list[list[int]]]:
        """n steps evenly spread over the sizes, and before them one of medium size to warm up."""
        by_size = sorted(steps, key=lambda s: sum(map(self.padded, s)))
        picked = [by_size[(2 * i + 1) * len(by_size) // (2 * n)] for i in range(n)]
        random.Random(1).shuffle(picked)
        return [by_size[len(by_size) // 2 + 1], *picked]
