#!/usr/bin/env python3
"""Whole models with their tokenizers and templates between lorac and transformers.

Called by scripts/interop. The models are checkpoints/tiny-base, and SmolLM2-135M-Instruct when
$LORAC_SMOLLM2_GGUF names its file. Compared are loss, template and mask, greedy text, an adapter,
the merged Hugging Face directory and the merged GGUF.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import command_line

command_line.no_words(__doc__)

import gguf
import numpy as np
import peft
import reference as ref
import sentencepiece
import torch
import transformers
from checks import Report, evaluate, has_command, lorac

HELDOUT = Path("datasets/support-desk-heldout.jsonl")
RECORDS = 12
LOSS = 1e-4
HALF = 1e-3  # a merged model is stored in 16 bits
SAMPLE = "Hello. The Pico printer, 42 pages:\n  done!"
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{}\n\n### Response:\n"
)


@dataclass
class Subject:
    """A model, the name of its template in lorac, and how the reference tokenises with it."""

    name: str
    path: Path
    template: str
    prompt: Callable[[str], list[int]]
    answer: Callable[[str], list[int]]  # with its end
    decode: Callable[[list[int]], str]

    def example(self, question: str, reply: str) -> ref.Example:
        prompt, answer = self.prompt(question), self.answer(reply)
        return ref.Example([*prompt, *answer], [ref.IGNORE] * len(prompt) + answer)


def tiny_base() -> Subject:
    path = Path("checkpoints/tiny-base")
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(path / "tokenizer.model"))

    def prompt(question: str) -> list[int]:
        return [tokenizer.bos_id(), *tokenizer.encode(ALPACA.format(question))]

    def answer(reply: str) -> list[int]:
        # The prompt ends in a line feed, a byte of its own: what follows is tokenised alike alone,
        # but for the space that SentencePiece puts in front of a string.
        after = tokenizer.encode("\n" + reply)
        return [*after[after.index(tokenizer.piece_to_id("<0x0A>")) + 1 :], tokenizer.eos_id()]

    return Subject("tiny-base", path, "alpaca", prompt, answer, tokenizer.decode)


def smollm2(path: Path) -> Subject:
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)

    def prompt(question: str) -> list[int]:
        turns = [{"role": "user", "content": question}]
        return tokenizer.apply_chat_template(
            turns, tokenize=True, add_generation_prompt=True, return_dict=False
        )

    def answer(reply: str) -> list[int]:
        return [*tokenizer.encode(reply), tokenizer.convert_tokens_to_ids("<|im_end|>")]

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=True)

    return Subject("SmolLM2", path, "model", prompt, answer, decode)


def greedy(subject: Subject, model: torch.nn.Module, question: str, n: int) -> str:
    """The model's answer, up to its end or n tokens."""
    ids = subject.prompt(question)
    end = subject.answer("")[-1]
    out = []
    with torch.no_grad():
        while len(out) < n:
            best = int(ref.logits(model, ids + out)[-1].argmax())
            if best == end:
                break
            out.append(best)
    return subject.decode(out).strip()


def random_adapter(subject: Subject, model: torch.nn.Module, out: Path) -> torch.nn.Module:
    """An adapter on every linear layer, strong enough to change the answers."""
    torch.manual_seed(5)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, config)
    wrapped.peft_config["default"].base_model_name_or_path = str(subject.path.resolve())
    with torch.no_grad():
        for name, p in ref.adapter_parameters(wrapped).items():
            if "lora_B" in name:
                p.normal_(std=0.02)
    wrapped.save_pretrained(out)
    return wrapped.eval()


def check_gguf_adapter(report: Report, model: torch.nn.Module, adapter: Path, out: Path) -> None:
    """The products of the factors equal PEFT's, the rows of q and k in the order of pairs."""
    lorac("convert", adapter, "-o", out)
    reader = gguf.GGUFReader(out)
    report.equal("type", reader.fields["adapter.type"].contents(), "lora")
    alpha = reader.fields["adapter.lora.alpha"].contents()
    tensors = {t.name: np.array(t.data, np.float64) for t in reader.tensors}
    layer = model.base_model.model.model.layers[0]
    names = {
        "attn_q": layer.self_attn.q_proj,
        "attn_k": layer.self_attn.k_proj,
        "attn_v": layer.self_attn.v_proj,
        "ffn_down": layer.mlp.down_proj,
    }
    head = layer.self_attn.head_dim
    for name, module in names.items():
        a, b = (tensors[f"blk.0.{name}.weight.lora_{x}"] for x in "ab")
        want = module.get_delta_weight("default").detach().double().numpy()
        if name in ("attn_q", "attn_k"):
            want = want.reshape(-1, 2, head // 2, want.shape[1]).swapaxes(1, 2).reshape(want.shape)
        off = np.abs(alpha / a.shape[0] * b @ a - want).max()
        report.equal(f"{name} of layer 0", bool(off < 1e-5 * np.abs(want).max()), True)


def tokens_of(subject: Subject, text: str) -> list[int]:
    line = json.dumps({"text": text}) + "\n"
    return json.loads(lorac("tokenize", "--model", subject.path, "--jsonl", "-", stdin=line))["ids"]


def check_subject(report: Report, subject: Subject, work: Path) -> None:
    name, path = subject.name, subject.path
    records = [json.loads(line)["messages"] for line in HELDOUT.read_text().splitlines()[:RECORDS]]
    few = work / f"{name}.jsonl"
    few.write_text("".join(json.dumps({"messages": r}) + "\n" for r in records))
    examples = [subject.example(r[0]["content"], r[1]["content"]) for r in records]
    tokens = work / f"{name}-tokens.jsonl"
    ref.write_tokens(tokens, examples)
    chat = ("--format", "messages", "--template", subject.template)
    questions = [r[0]["content"] for r in records[:3]]
    model = ref.load_model(path)

    def generate(question: str, *options: object) -> str:
        return lorac(
            *("generate", "--prompt", question, "--template", subject.template),
            *("--temperature", "0", "--max-new-tokens", "32"),
            *options,
        ).strip()

    with report.check(f"{name}: loss on token ids"):
        got = evaluate(path, tokens, "--format", "tokens")
        report.near("loss", got["loss"], ref.mean_loss(model, examples), LOSS)

    with report.check(f"{name}: loss on conversations: tokenizer, template and mask"):
        got = evaluate(path, few, *chat)
        report.equal("targets", got["targets"], sum(e.targets() for e in examples))
        report.near("loss", got["loss"], ref.mean_loss(model, examples), LOSS)

    with report.check(f"{name}: greedy text"):
        for question in questions:
            got = generate(question, "--model", path)
            report.equal("text", got, greedy(subject, model, question, 32))

    adapter = work / f"{name}-adapter"
    adapted = random_adapter(subject, model, adapter)
    wanted = ref.mean_loss(adapted, examples)
    text = greedy(subject, adapted, questions[0], 32)

    with report.check(f"{name}: an adapter of PEFT in lorac"):
        got = evaluate(path, few, "--adapter", adapter, *chat)
        report.near("loss", got["loss"], wanted, LOSS)
        report.equal("text", generate(questions[0], "--model", path, "--adapter", adapter), text)

    merge = ("merge", "--model", path, "--adapter", adapter)
    with report.check(f"{name}: merged Hugging Face directory in transformers"):
        out = work / f"{name}-hf"
        lorac(*merge, "-o", out, "--dtype", "f16")
        report.near("loss", ref.mean_loss(ref.load_model(out), examples), wanted, HALF)
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        ids = tokenizer.encode(SAMPLE, add_special_tokens=False)
        report.equal("token ids", ids, tokens_of(subject, SAMPLE))

    with report.check(f"{name}: merged GGUF in gguf and transformers"):
        out = work / f"{name}-merged.gguf"
        lorac(*merge, "-o", out, "--dtype", "f16", "--format", "gguf")
        report.equal(
            "arch", gguf.GGUFReader(out).fields["general.architecture"].contents(), "llama"
        )
        report.near("loss", ref.mean_loss(ref.load_model(out), examples), wanted, HALF)

    title = f"{name}: adapter converted to GGUF"
    if not has_command("convert"):
        report.skip(title, "lorac has no convert")
        return
    with report.check(title):
        check_gguf_adapter(report, adapted, adapter, work / f"{name}-adapter.gguf")


def main() -> None:
    torch.set_num_threads(2)
    report = Report()
    subjects = [tiny_base()]
    if model := os.environ.get("LORAC_SMOLLM2_GGUF"):
        subjects.append(smollm2(Path(model)))
    else:
        report.skip("SmolLM2", "the model is not here and cannot be downloaded")
    for subject in subjects:
        with tempfile.TemporaryDirectory() as work:
            check_subject(report, subject, Path(work))
    report.finish()


if __name__ == "__main__":
    main()
