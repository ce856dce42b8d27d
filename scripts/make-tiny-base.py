#!/usr/bin/env python3
"""Make checkpoints/tiny-base: a model of Llama 2's form that is small enough to be committed.

    scripts/make-tiny-base.py [OUT]          default: checkpoints/tiny-base

It trains a SentencePiece vocabulary (BPE, byte fallback, identity normaliser) and a model of about
1.5 million weights on the texts of tiny_base_texts.py, and stores them as bfloat16. The demo uses
it where no real model can be downloaded. made.json records seed, versions and losses.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import command_line

OUT = command_line.output(__doc__, "checkpoints/tiny-base")

import reference as ref
import safetensors.torch
import sentencepiece
import torch
import transformers
from tiny_base_texts import Texts
from torch.nn.functional import cross_entropy

SEED = 11
PIECES = 1280
STEPS = 900
BATCH = 40
LEARNING_RATE = 3e-3
PROMPT_WEIGHT = 0.1  # what a prompt's token counts beside an answer's
CONFIG = transformers.LlamaConfig(
    vocab_size=PIECES,
    hidden_size=128,
    intermediate_size=352,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=4,
    max_position_embeddings=1024,
    rms_norm_eps=1e-5,
    initializer_range=128**-0.5,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
)


@dataclass
class Encoded:
    ids: list[int]
    answer: int  # where the answer begins


def make_tokenizer(out: Path) -> sentencepiece.SentencePieceProcessor:
    """The settings of Llama 2's vocabulary; line feeds are bytes there too.

    A colon in front stands for the line feed that precedes most lines, so that their first words
    become pieces without the leading space, too.
    """
    texts = Texts(SEED)
    lines = [line for _ in range(20000) for part in texts.draw() for line in part.split("\n")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(f":{line}" for line in lines if line),
        model_prefix=str(out / "tokenizer"),
        model_type="bpe",
        vocab_size=PIECES,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    (out / "tokenizer.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))


def encode(tokenizer: sentencepiece.SentencePieceProcessor, prompt: str, answer: str) -> Encoded:
    ids = [1, *tokenizer.encode(prompt + answer), 2]
    start = 1 + len(tokenizer.encode(prompt))
    return Encoded(ids, start)


def start_with_copying(model: torch.nn.Module) -> None:
    """Build an induction circuit into the first two layers, where training begins.

    Copying "A B ... A" to "B" is what a small model needs most and learns last. The first layer
    fetches the token before, found by the fastest rotary angles: a channel that is the same in
    every embedding gives queries and keys one direction, turned by one position against each other.
    The second layer looks, through the slow angles, for what followed the present token earlier,
    and copies it. Everything is trained from there on.
    """
    hidden, heads = CONFIG.hidden_size, CONFIG.num_attention_heads
    pairs = hidden // heads // 2
    angles = 10000.0 ** (-torch.arange(pairs) / pairs)
    fast, slow = (torch.arange(pairs) < pairs // 4).float(), torch.arange(pairs) >= pairs // 2
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    content = torch.eye(hidden)
    content[0, 0] = 0
    before = torch.zeros(
        hidden, hidden
    )  # where the token before is kept, apart from the present one
    before[1:, 1:] = torch.linalg.qr(torch.randn(hidden - 1, hidden - 1))[0]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.1)
            layer.mlp.down_proj.weight.mul_(0.1)
        embedding = model.model.embed_tokens.weight
        embedding[:, 0] = 0
        embedding.mul_(hidden**0.5 / embedding.norm(dim=1, keepdim=True))
        model.lm_head.weight.copy_(0.2 * embedding)
        embedding[:, 0] = 4
        first.q_proj.weight.zero_()
        first.k_proj.weight.zero_()
        here, ago = (
            torch.cat((fast, 0 * fast)),
            torch.cat((angles.cos() * fast, -angles.sin() * fast)),
        )
        first.q_proj.weight[:, 0] = 3 * ago.repeat(heads)
        first.k_proj.weight[:, 0] = 3 * here.repeat(heads)
        first.v_proj.weight.copy_(before)
        first.o_proj.weight.copy_(content)
        match = 4 * torch.linalg.qr(torch.randn(hidden, hidden))[0] @ content
        match *= slow.repeat(2 * heads)[:, None]
        second.q_proj.weight.copy_(match)
        second.k_proj.weight.copy_(match @ before.T)
        second.v_proj.weight.copy_(content)
        second.o_proj.weight.copy_(3 * content)


def batch_loss(model: torch.nn.Module, batch: list[Encoded], prompt_weight: float) -> torch.Tensor:
    """Weighted mean over the batch, padded to its longest; padding has weight zero."""
    width = max(len(e.ids) for e in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    weights = torch.zeros(len(batch), width)
    for row, e in enumerate(batch):
        ids[row, : len(e.ids)] = torch.tensor(e.ids)
        weights[row, 1 : e.answer] = prompt_weight
        weights[row, e.answer : len(e.ids)] = 1
    scores = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = cross_entropy(scores.transpose(1, 2), ids[:, 1:], reduction="none")
    return (losses * weights[:, 1:]).sum() / weights[:, 1:].sum()


def batches(texts: Texts, tokenizer: sentencepiece.SentencePieceProcessor, n: int) -> list:
    """n batches of examples of like length."""
    examples = [encode(tokenizer, *texts.draw()) for _ in range(n * BATCH)]
    examples.sort(key=lambda e: len(e.ids))
    groups = [examples[i : i + BATCH] for i in range(0, len(examples), BATCH)]
    texts.rng.shuffle(groups)
    return groups


def train(model: torch.nn.Module, tokenizer: sentencepiece.SentencePieceProcessor) -> list[dict]:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05
    )
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, STEPS // 20, STEPS)
    texts, unseen = Texts(SEED + 1), Texts(SEED + 2)
    check = batches(unseen, tokenizer, 8)
    log, queue, start = [], [], time.monotonic()
    for step in range(1, STEPS + 1):
        if not queue:
            queue = batches(texts, tokenizer, 10)
        optimizer.zero_grad()
        loss = batch_loss(model, queue.pop(), PROMPT_WEIGHT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            with torch.no_grad():
                answers = [batch_loss(model, b, 0.0).item() for b in check]
            log.append({"step": step, "answer_loss": round(math.fsum(answers) / len(answers), 4)})
            print(log[-1], f"{time.monotonic() - start:.0f} s", flush=True)
    return log


def save(model: torch.nn.Module, out: Path, log: list[dict]) -> None:
    config = CONFIG.to_dict()
    keep = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
        "num_key_value_heads max_position_embeddings rms_norm_eps bos_token_id eos_token_id "
        "tie_word_embeddings hidden_act"
    ).split()
    written = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    written |= {key: config[key] for key in keep}
    written |= {"rope_theta": 10000.0, "torch_dtype": "bfloat16"}
    (out / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    tensors = {name: t.bfloat16().contiguous() for name, t in model.state_dict().items()}
    safetensors.torch.save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "legacy": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": CONFIG.max_position_embeddings,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    made = {
        "script": "scripts/make-tiny-base.py",
        "seed": SEED,
        "steps": STEPS,
        "examples": STEPS * BATCH,
        "weights": sum(t.numel() for t in tensors.values()),
        "versions": ref.versions() | {"sentencepiece": sentencepiece.__version__},
        "log": log,
    }
    (out / "made.json").write_text(json.dumps(made, indent=2) + "\n")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the result does not depend on the machine's cores
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer(OUT)
    model = transformers.LlamaForCausalLM(CONFIG)
    start_with_copying(model)
    save(model, OUT, train(model, tokenizer))


if __name__ == "__main__":
    main()
