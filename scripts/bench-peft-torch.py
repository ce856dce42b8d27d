#!/usr/bin/env python3
"""The PyTorch side of scripts/bench-peft: one measurement in one process.

    scripts/bench-peft-torch.py <JOB

It reads a job from stdin as JSON and prints the result as the last line of stdout. The caller sets
everything that belongs to the process (threads, allocator) in the environment.
"""

import json
import sys
import time
from pathlib import Path

import command_line

command_line.no_words(__doc__)

import peft
import reference as ref
import torch
import transformers


def lora_config(job: dict) -> peft.LoraConfig:
    return peft.LoraConfig(
        r=job["r"],
        lora_alpha=job["lora_alpha"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def make_model(job: dict) -> torch.nn.Module:
    """The base in the job's dtype with a fresh adapter on all linear layers, as PEFT makes it."""
    model = ref.load_model(Path(job["model"]), getattr(torch, job.get("dtype", "float32")))
    torch.manual_seed(0)
    model = peft.get_peft_model(model, lora_config(job))
    model.config.use_cache = False
    return model.train()


def run_step(job: dict) -> dict:
    """Whole optimiser steps on one batch of rows of equal length, every token a target."""
    model = make_model(job)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=job["learning_rate"], fused=job.get("fused"))
    examples = ref.read_tokens(Path(job["data"]))
    ids = torch.tensor([e.ids for e in examples])
    labels = torch.tensor([e.labels for e in examples])
    call = torch.compile(model) if job.get("compile") else model
    seconds, cpu, losses = [], [], []
    for _ in range(job["steps"] + 1):  # the first one warms up
        start, used = time.monotonic(), time.process_time()
        optimizer.zero_grad()
        loss = call(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seconds.append(time.monotonic() - start)
        cpu.append(time.process_time() - used)
        losses.append(loss.item())
    return {"seconds": seconds[1:], "cpu_seconds": cpu[1:], "losses": losses}


class Clock(transformers.TrainerCallback):
    """Times each optimiser step of a Trainer, everything between two of them included."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.used: list[float] = []

    def on_step_begin(self, *_: object, **__: object) -> None:
        if not self.ends:
            self.on_step_end()

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.monotonic())
        self.used.append(time.process_time())


class FixedOrder:
    """For a Trainer whose batches are the job's, in that order."""

    order: list[list[int]] = []

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self.order, collate_fn=self.data_collator
        )


class OrderedTrainer(FixedOrder, transformers.Trainer):
    pass


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    """Pad to the longest, as DataCollatorForSeq2Seq does with its defaults."""
    width = max(len(r["input_ids"]) for r in rows)
    out = {}
    for key in rows[0]:
        filler = ref.IGNORE if key == "labels" else 0
        out[key] = torch.tensor([r[key] + [filler] * (width - len(r[key])) for r in rows])
    return out


def differences(x: list[float]) -> list[float]:
    return [b - a for a, b in zip(x, x[1:], strict=False)]


def given_settings(job: dict) -> dict:
    """What the work itself says; every other setting of a Trainer keeps its default."""
    return {
        "output_dir": job["scratch"],
        "per_device_train_batch_size": len(job["order"][0]),
        "gradient_accumulation_steps": job["accumulate"],
        "max_steps": len(job["order"]) // job["accumulate"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
    }


def measure_epoch(job: dict, trainer: FixedOrder, model: torch.nn.Module, clock: Clock) -> dict:
    """The job's micro-batches through a Trainer, then the loss on other records."""
    trainer.order = job["order"]
    trainer.train()
    out = {"seconds": differences(clock.ends), "cpu_seconds": differences(clock.used)}
    if job.get("validation"):
        out["validation_loss"] = ref.mean_loss(
            model.eval(), ref.read_tokens(Path(job["validation"]))
        )
    return out


def run_epoch(job: dict) -> dict:
    """Hugging Face's Trainer."""
    model = make_model(job)
    rows = [
        {"input_ids": e.ids, "labels": e.labels, "attention_mask": [1] * len(e.ids)}
        for e in ref.read_tokens(Path(job["data"]))
    ]
    if not job.get("mask", True):  # padding comes last, and causal attention never looks there
        for row in rows:
            del row["attention_mask"]
    clock = Clock()
    trainer = OrderedTrainer(
        model,
        transformers.TrainingArguments(**given_settings(job)),
        train_dataset=rows,
        data_collator=collate,
        callbacks=[clock],
    )
    return measure_epoch(job, trainer, model, clock)


def run_trl(job: dict) -> dict:
    """TRL's SFTTrainer over the same token ids and labels: its defaults, and use_cpu=True."""
    import trl

    import datasets

    class OrderedSFTTrainer(FixedOrder, trl.SFTTrainer):
        pass

    gguf = Path(job["model"])
    examples = ref.read_tokens(Path(job["data"]))
    clock = Clock()
    torch.manual_seed(0)
    arguments = trl.SFTConfig(**given_settings(job))
    trainer = OrderedSFTTrainer(
        ref.load_model(gguf),
        arguments,
        train_dataset=datasets.Dataset.from_list(
            [{"input_ids": e.ids, "labels": e.labels} for e in examples]
        ),
        processing_class=transformers.AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name
        ),
        peft_config=lora_config(job),
        callbacks=[clock],
    )
    if len(trainer.train_dataset) != len(examples):
        raise command_line.Failure(
            f"TRL kept {len(trainer.train_dataset)} of {len(examples)} records: those whose answer "
            f"comes after its max_length, {arguments.max_length}, are lost"
        )
    out = measure_epoch(job, trainer, trainer.model, clock)
    out["versions"] = {"trl": trl.__version__, "datasets": datasets.__version__}
    out["settings"] = {
        name: str(getattr(arguments, name))
        for name in ("bf16", "gradient_checkpointing", "loss_type", "packing", "max_length")
    }
    out["settings"]["records it cuts to max_length"] = sum(
        len(e.ids) > (arguments.max_length or len(e.ids)) for e in examples
    )
    return out


KINDS = {"step": run_step, "epoch": run_epoch, "trl": run_trl}


def read_job() -> dict:
    try:
        job = json.load(sys.stdin)
    except json.JSONDecodeError as error:
        raise command_line.Failure(f"stdin: wanted a job as JSON: {error}") from error
    if not isinstance(job, dict) or job.get("kind") not in KINDS:
        raise command_line.Failure(f"stdin: wanted a job whose kind is one of {', '.join(KINDS)}")
    return job


def main() -> None:
    job = read_job()
    result = KINDS[job["kind"]](job)
    result["torch_threads"] = torch.get_num_threads()
    result["versions"] = ref.versions() | result.get("versions", {})
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
