#!/usr/bin/env python3
"""Make tests/golden/: small random Llama models, PEFT adapters, batches, and what PyTorch computes.

    scripts/make-goldens.py [OUT]          default: tests/golden

The numbers are float64, from the stored (float32, bfloat16, float16) weights widened exactly. The
same training runs are repeated in float32, as transformers and PEFT compute them unpatched; `drift`
in each golden.json is their distance from float64, from which a tolerance can be chosen.
tests/golden/README.md says what is in the files.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import command_line

OUT = command_line.output(__doc__, "tests/golden")

import peft
import reference as ref
import safetensors.torch
import torch
import transformers

SEED = 20240229
VOCABULARY = 97
DIGITS = 13
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}


@dataclass(frozen=True)
class Case:
    """One row per golden directory. `config` is config.json as it is written, spelling included."""

    name: str
    about: str
    dtype: torch.dtype
    config: dict
    r: int
    alpha: int
    targets: tuple[str, ...]


def llama(**own: object) -> dict:
    """config.json with what all cases share."""
    shared = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return shared | own


CASES = (
    Case(
        name="gqa-tied",
        about="grouped-query attention, tied embeddings, float32, all seven adapters",
        dtype=torch.float32,
        config=llama(
            hidden_size=48,
            intermediate_size=104,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            rope_theta=100000.0,
            tie_word_embeddings=True,
            torch_dtype="float32",
        ),
        r=4,
        alpha=8,
        targets=(
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ),
    ),
    Case(
        name="mha-untied",
        about="one key/value head per head, untied head, odd sizes, bfloat16, adapters on q and v",
        dtype=torch.bfloat16,
        config=llama(
            hidden_size=40,
            intermediate_size=75,
            num_hidden_layers=3,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=256,
            rms_norm_eps=1e-6,
            rope_theta=10000.0,
            tie_word_embeddings=False,
            torch_dtype="bfloat16",
        ),
        r=3,
        alpha=5,
        targets=("q_proj", "v_proj"),
    ),
    Case(
        name="llama3-rope",
        about="rope_scaling llama3, head_dim of its own, two layers, adapters on k, o and down",
        dtype=torch.float32,
        config=llama(
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=12,
            max_position_embeddings=2048,
            rms_norm_eps=1e-5,
            rope_theta=10000.0,
            rope_scaling=LLAMA3,
            tie_word_embeddings=False,
            torch_dtype="float32",
        ),
        r=5,
        alpha=4,
        targets=("k_proj", "o_proj", "down_proj"),
    ),
    Case(
        name="linear-rope",
        about="linear rope scaling in the spelling of transformers 5, one key/value head, float16, "
        "adapters on v, gate and up, eos_token_id a list",
        dtype=torch.float16,
        config=llama(
            hidden_size=32,
            intermediate_size=72,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            max_position_embeddings=512,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
            tie_word_embeddings=True,
            eos_token_id=[2, 3],
            dtype="float16",
        ),
        r=2,
        alpha=2,
        targets=("v_proj", "gate_proj", "up_proj"),
    ),
)

RUNS = {
    "full": ref.Recipe(
        max_steps=8,
        batch_size=8,
        learning_rate=5e-3,
        warmup_steps=2,
        weight_decay=0.01,
        max_grad_norm=0.5,
    ),
    "small": ref.Recipe(
        max_steps=7,
        batch_size=3,
        learning_rate=2e-3,
        warmup_steps=1,
        weight_decay=0.01,
        max_grad_norm=0.5,
    ),
}


def make_model(case: Case, out: Path, generator: torch.Generator) -> None:
    """Random weights whose activations stay of order one, so that no part of the model idles."""
    out.mkdir(parents=True)
    (out / "config.json").write_text(json.dumps(case.config, indent=2) + "\n")
    model = transformers.LlamaForCausalLM(transformers.AutoConfig.from_pretrained(out))
    tensors = {}
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            values = 1 + 0.2 * values
        elif name == "model.embed_tokens.weight" and case.config["tie_word_embeddings"]:
            values = 2 * values * parameter.shape[1] ** -0.5
        elif name != "model.embed_tokens.weight":
            values = values * parameter.shape[1] ** -0.5
        tensors[name] = values.to(case.dtype).contiguous()
    safetensors.torch.save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def make_adapter(case: Case, model_dir: Path, out: Path, generator: torch.Generator) -> None:
    """A and B both random: with B = 0 half of the gradients would be zero."""
    config = peft.LoraConfig(
        r=case.r,
        lora_alpha=case.alpha,
        target_modules=list(case.targets),
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(ref.load_model(model_dir), config)
    with torch.no_grad():
        for name, p in ref.adapter_parameters(model).items():
            scale = p.shape[1] ** -0.5 if "lora_A" in name else 0.3
            p.copy_(scale * torch.randn(p.shape, generator=generator))
    model.peft_config["default"].base_model_name_or_path = f"tests/golden/{case.name}/model"
    model.save_pretrained(out)
    (out / "README.md").unlink()
    # PEFT holds the modules in a set: sort them, so that the file is the same every time.
    written = json.loads((out / "adapter_config.json").read_text())
    written["target_modules"].sort()
    (out / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")


def make_batch(generator: torch.Generator) -> list[ref.Example]:
    """Examples that between them share prefixes in every way, with partial targets."""

    def ids(n: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (n,), generator=generator).tolist()

    def example(tokens: list[int], first: int, last: int | None = None) -> ref.Example:
        last = len(tokens) if last is None else last
        labels = [t if first <= i < last else ref.IGNORE for i, t in enumerate(tokens)]
        return ref.Example(tokens, labels)

    long = ids(40)
    answer = ids(17)
    return [
        example(ids(5), 2),
        example(answer, 9),
        example(long, 30),
        example(long[:20] + ids(13), 24, 31),  # shares 20 tokens; targets end before the text
        example(long[:12], 6),  # a whole example that is a prefix, with targets inside it
        example(answer, 4, 8),  # the same tokens as another, other targets
        example(ids(9), 0),  # everything: the first token has a label that nothing predicts
        example(ids(26), 25),  # a single target
    ]


def rounded(value: float) -> float:
    """An integer as it is, a float to DIGITS significant digits."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def norms(tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: rounded(t.double().norm().item()) for name, t in tensors.items()}


def save_float32(tensors: dict[str, torch.Tensor], path: Path) -> None:
    tensors = {name: t.detach().float().contiguous() for name, t in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def relative(a: float, b: float) -> float:
    return abs(a - b) / abs(b)


def golden_point(case_dir: Path, examples: list[ref.Example]) -> dict:
    """Logits, losses and gradients at the initial adapter."""
    base = ref.load_model(case_dir / "model", torch.float64)
    base_loss = ref.mean_loss(base, examples)
    model = ref.load_adapter(base, case_dir / "adapter", trainable=True)
    with torch.no_grad():
        scores = ref.logits(model, examples[1].ids)
        nll = [ref.nll(model, e) for e in examples]
    loss = ref.backward(model, examples)
    gradients = {name: p.grad for name, p in ref.adapter_parameters(model).items()}
    save_float32(gradients, case_dir / "gradients.safetensors")
    total = torch.stack([g.norm() for g in gradients.values()]).norm().item()
    single = ref.load_adapter(ref.load_model(case_dir / "model"), case_dir / "adapter")
    assert relative(ref.mean_loss(single, examples), loss) < 1e-5
    return {
        "loss_without_adapter": rounded(base_loss),
        "loss": rounded(loss),
        "targets": sum(e.targets() for e in examples),
        "tokens": sum(len(e.ids) for e in examples),
        "nll": [[rounded(v) for v in row.tolist()] for row in nll],
        "logits": {
            "example": 1,
            "values": [[rounded(v) for v in row] for row in scores.tolist()],
        },
        "grad_norm": rounded(total),
        "gradient_norms": norms(gradients),
        "gradients": "gradients.safetensors",
    }


def golden_run(case_dir: Path, name: str, examples: list[ref.Example], recipe: ref.Recipe) -> dict:
    """A training run in float64, the same in float32, and their distance."""
    logs, adapters = {}, {}
    for dtype in (torch.float64, torch.float32):
        base = ref.load_model(case_dir / "model", dtype)
        model = ref.load_adapter(base, case_dir / "adapter", trainable=True)
        logs[dtype] = ref.train(model, examples, recipe)
        adapters[dtype] = {n: p.detach() for n, p in ref.adapter_parameters(model).items()}
    exact, single = logs[torch.float64], logs[torch.float32]
    final = adapters[torch.float64]
    save_float32(final, case_dir / f"after-{name}.safetensors")
    far = [(adapters[torch.float32][n].double() - t).abs().max().item() for n, t in final.items()]
    return {
        "config": asdict(recipe) | {"lr_scheduler_type": "cosine", "shuffle": False},
        "steps": [{k: rounded(v) for k, v in line.items()} for line in exact],
        "steps_float32": [{k: rounded(v) for k, v in line.items()} for line in single],
        "drift": {
            "loss_relative": [
                rounded(relative(s["loss"], e["loss"])) for s, e in zip(single, exact, strict=True)
            ],
            "grad_norm_relative": [
                rounded(relative(s["grad_norm"], e["grad_norm"]))
                for s, e in zip(single, exact, strict=True)
            ],
            "adapter_absolute": rounded(max(far)),
        },
        "adapter": f"after-{name}.safetensors",
        "adapter_norms": norms(final),
    }


def make_case(case: Case, out: Path, index: int) -> None:
    shutil.rmtree(out, ignore_errors=True)
    generator = torch.Generator().manual_seed(SEED + index)
    make_model(case, out / "model", generator)
    make_adapter(case, out / "model", out / "adapter", generator)
    examples = make_batch(generator)
    ref.write_tokens(out / "batch.jsonl", examples)
    golden = {
        "about": case.about,
        "made_by": {"script": "scripts/make-goldens.py", "seed": SEED + index} | ref.versions(),
        "model": "model",
        "adapter": "adapter",
        "batch": "batch.jsonl",
    }
    golden |= golden_point(out, examples)
    golden["runs"] = {
        name: golden_run(out, name, examples, recipe) for name, recipe in RUNS.items()
    }
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    (out / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    drift = golden["runs"]["full"]["drift"]
    print(
        f"{case.name}: loss {golden['loss']:.6f} (without adapter "
        f"{golden['loss_without_adapter']:.6f}), grad_norm {golden['grad_norm']:.4f}, after "
        f"{RUNS['full'].max_steps} steps {golden['runs']['full']['steps'][-1]['loss']:.6f}, "
        f"float32 drift of the loss {max(drift['loss_relative']):.1e}, "
        f"of grad_norm {max(drift['grad_norm_relative']):.1e}"
    )


def main() -> None:
    torch.set_num_threads(1)
    for index, case in enumerate(CASES):
        make_case(case, OUT / case.name, index)


if __name__ == "__main__":
    main()
