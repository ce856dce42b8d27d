#!/usr/bin/env python3
"""Compare a tiny random Qwen2 in lorac and in transformers, and its GGUF by the `gguf` package.

Called by scripts/interop. The biases on q, k and v are large, so that a bias that is lost or in
another order shows. The loss of single targets is the logits' log softmax, with LOSS as tolerance.
"""

import tempfile
from pathlib import Path

import command_line

command_line.no_words(__doc__)

import gguf
import numpy as np
import reference as ref
import torch
import transformers
from checks import Report, evaluate, lorac
from safetensors.torch import load_file

LOSS = 1e-4
LAYERS = 2
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def make_model(path: Path, *, tied: bool) -> None:
    torch.manual_seed(5)
    config = transformers.Qwen2Config(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rope_theta=1e6,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = transformers.Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.uniform_(-1, 1)
            elif p.dim() == 1:
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(0, 0.2)
    model.save_pretrained(path)


def examples() -> list[ref.Example]:
    g = torch.Generator().manual_seed(7)
    found = []
    for n in (2, 3, 9, 40):
        ids = torch.randint(0, 97, (n,), generator=g).tolist()
        found.append(ref.Example(ids, [ref.IGNORE] * (n - 1) + ids[-1:]))
    return found


def same_losses(report: Report, name: str, path: Path, wanted: Path, work: Path) -> None:
    model = ref.load_model(wanted)
    for i, e in enumerate(examples()):
        data = work / "one.jsonl"
        ref.write_tokens(data, [e])
        with report.check(f"{name}: log probability of a token after {len(e.ids) - 1}"):
            with torch.no_grad():
                logits = model(torch.tensor([e.ids])).logits[0, -2].double()
            loss = float(torch.logsumexp(logits, 0) - logits[e.ids[-1]])
            found = evaluate(path, data, "--format", "tokens")["loss"]
            report.near(f"example {i}", found, loss, LOSS)


def same_tensors(file: Path, directory: Path) -> None:
    """Every tensor of the GGUF, row by row in the same order, and none besides."""
    tensors = load_file(directory / "model.safetensors")
    seen = set()
    for t in gguf.GGUFReader(file).tensors:
        if t.name in OUTER:
            name = OUTER[t.name]
        else:
            _, layer, rest = t.name.split(".", 2)
            name = f"model.layers.{layer}.{NAMES[rest]}"
        values = np.array(t.data, dtype=np.float32).reshape(tensors[name].shape)
        assert np.array_equal(values, tensors[name].numpy()), name
        seen.add(name)
    assert seen == set(tensors), set(tensors) - seen


def main() -> None:
    report = Report()
    for tied in (False, True):
        kind = "tied" if tied else "untied"
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            base, file, back = work / "base", work / "base.gguf", work / "back"
            make_model(base, tied=tied)
            same_losses(report, f"qwen2, {kind}", base, base, work)
            with report.check(f"qwen2, {kind}: GGUF, tensor by tensor"):
                lorac("convert", base, "-o", file, "--quantize", "f32")
                same_tensors(file, base)
            same_losses(report, f"qwen2, {kind}, GGUF", file, base, work)
            with report.check(f"qwen2, {kind}: and back"):
                lorac("convert", file, "-o", back, "--quantize", "f32")
                before, after = (load_file(p / "model.safetensors") for p in (base, back))
                assert before.keys() == after.keys()
                assert all(torch.equal(before[n], after[n]) for n in before)
            same_losses(report, f"qwen2, {kind}, in transformers", base, back, work)
    report.finish()


if __name__ == "__main__":
    main()
