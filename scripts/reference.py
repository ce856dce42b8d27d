"""The reference side of the golden files and of `make interop`: PyTorch, transformers and PEFT.

Everything runs one example at a time, without padding, so that nothing but the model decides a
number. In float64 the three places where transformers falls back to float32 (RMSNorm, the rotary
tables, eager softmax) are replaced; `in_float64()` says how.
"""

import json
import math
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

import peft
import torch
import transformers
from torch.nn.functional import cross_entropy

transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
warnings.filterwarnings("ignore", message="Could not find a config file", module="peft")

IGNORE = -100


@dataclass
class Example:
    """Token ids and labels of one example; labels[i] belongs to ids[i], IGNORE means no loss."""

    ids: list[int]
    labels: list[int]

    def targets(self) -> int:
        return sum(label != IGNORE for label in self.labels[1:])


@dataclass
class Recipe:
    """The keys of a training run, by the names that lorac's configuration gives them."""

    max_steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


def versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }


def read_tokens(path: Path) -> list[Example]:
    """Read lorac's data format `tokens`."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [Example(r["input_ids"], r["labels"]) for r in records]


def write_tokens(path: Path, examples: Iterable[Example]) -> None:
    with path.open("w") as f:
        for e in examples:
            f.write(json.dumps({"input_ids": e.ids, "labels": e.labels}) + "\n")


def load_model(path: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A Hugging Face directory or a .gguf file, widened to `dtype`."""
    directory, gguf = (path.parent, path.name) if path.suffix == ".gguf" else (path, None)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, gguf_file=gguf, dtype=torch.float32, attn_implementation="sdpa"
    )
    # Read from GGUF, it holds plain numbers like any other, and the Trainer may train it.
    model.is_quantized = False
    return (in_float64(model) if dtype == torch.float64 else model.to(dtype)).eval()


def load_adapter(model: torch.nn.Module, path: Path, trainable: bool = False) -> torch.nn.Module:
    """The model with a PEFT directory on it, in the dtype of the model."""
    wrapped = peft.PeftModel.from_pretrained(model, path, is_trainable=trainable)
    return wrapped.to(next(model.parameters()).dtype).eval()


class NormFloat64(torch.nn.Module):
    """LlamaRMSNorm without its cast to float32."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.variance_epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class RopeFloat64(torch.nn.Module):
    """LlamaRotaryEmbedding with frequencies and angles in float64."""

    def __init__(self, config: transformers.LlamaConfig) -> None:
        super().__init__()
        self.frequencies = rope_frequencies(config)

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple:
        angles = position_ids[..., None].double() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


def rope_frequencies(config: transformers.LlamaConfig) -> torch.Tensor:
    """Inverse frequencies in float64, for the rope types `default`, `linear` and `llama3`."""
    rope = config.rope_parameters
    dim = config.head_dim or config.hidden_size // config.num_attention_heads
    inverse = rope["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    if rope["rope_type"] == "linear":
        return inverse / rope["factor"]
    if rope["rope_type"] == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = rope["original_max_position_embeddings"] * inverse / (2 * math.pi)
        # 0 where the wave is longer than the original context allows, 1 where it is short.
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        return inverse * (keep + (1 - keep) / rope["factor"])
    assert rope["rope_type"] == "default", rope["rope_type"]
    return inverse


def in_float64(model: torch.nn.Module) -> torch.nn.Module:
    """Compute in float64 throughout: attention is SDPA, which does not narrow its softmax."""
    model = model.double()
    theirs = model.model.rotary_emb.inv_freq.double()
    ours = RopeFloat64(model.config)
    assert torch.allclose(theirs, ours.frequencies, rtol=1e-6, atol=0)
    model.model.rotary_emb = ours
    for layer in model.model.layers:
        layer.input_layernorm = NormFloat64(layer.input_layernorm)
        layer.post_attention_layernorm = NormFloat64(layer.post_attention_layernorm)
    model.model.norm = NormFloat64(model.model.norm)
    return model


def logits(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def nll(model: torch.nn.Module, example: Example) -> torch.Tensor:
    """Negative log likelihood of each target, in order."""
    labels = torch.tensor(example.labels[1:])
    wanted = labels != IGNORE
    scores = logits(model, example.ids)[:-1][wanted]
    return cross_entropy(scores, labels[wanted], reduction="none")


def mean_loss(model: torch.nn.Module, examples: list[Example]) -> float:
    """The mean over all targets of all examples."""
    with torch.no_grad():
        return torch.cat([nll(model, e) for e in examples]).double().mean().item()


def backward(model: torch.nn.Module, batch: list[Example]) -> float:
    """Add the gradient of the batch's mean loss; returns the loss."""
    targets = sum(e.targets() for e in batch)
    total = 0.0
    for example in batch:
        loss = nll(model, example).sum() / targets
        loss.backward()
        total += loss.item()
    return total


def adapter_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The trained parameters by the names they have in adapter_model.safetensors."""
    return {
        name.replace(".default.", "."): p for name, p in model.named_parameters() if p.requires_grad
    }


def train(model: torch.nn.Module, examples: list[Example], recipe: Recipe) -> list[dict]:
    """AdamW over the examples in file order, wrapping round; returns a line per step.

    `loss` and `grad_norm` are of the step's batch before the update and before clipping.
    An epoch's last batch is kept, however short.
    """
    parameters = list(adapter_parameters(model).values())
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = transformers.get_cosine_schedule_with_warmup(
        optimizer, recipe.warmup_steps, recipe.max_steps
    )
    batches = [
        examples[i : i + recipe.batch_size] for i in range(0, len(examples), recipe.batch_size)
    ]
    log = []
    for step in range(recipe.max_steps):
        optimizer.zero_grad()
        loss = backward(model, batches[step % len(batches)])
        limit = recipe.max_grad_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit).item()
        rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        log.append({"step": step + 1, "learning_rate": rate, "loss": loss, "grad_norm": norm})
    return log
