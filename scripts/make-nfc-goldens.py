#!/usr/bin/env python3
"""Make a small tokenizer of Qwen2's form, and the ids that Hugging Face's tokenizers gives with it.

Writes tokenizer.json and texts.jsonl (a text and its ids in each line) into
tests/golden/qwen2-tokenizer. The texts: composed and decomposed characters, marks out of order,
Hangul letters, characters without a composed form, digits, contractions, spaces, CJK, emoji, and
added tokens spelt in either form.

  scripts/make-nfc-goldens.py
"""

import json
import random
import unicodedata
from pathlib import Path

import command_line

command_line.no_words(__doc__)

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "qwen2-tokenizer"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = (
    "the They're I'LL we've naïve façade Ångström Việt Nam tiếng Dvořák crème brûlée ñandú "
    "한국어 안녕하세요 각 값 中文 東京 日本語 がぎぐげご パピプペポ ハンバーグ Ελλάδα ἀρχή Йод "
    "ёлка "
    "ক্ষো কো ொ கொ क़ख़ग़ ཀྵ ශ්‍රී שׁלום أحمد Zoë café! 🦙 👩‍👩‍👧 ❤️ 12345 3.14 ½ ² Ⅷ １２"
).split()
# Singletons, exclusions from composition, marks without a base, Hangul letters by themselves.
ODD = [
    *"\u212b\u2126\u0340\u0344\u0958\u0f43\ufb1d\u2adc\U0001d160\uf900\U0002f868\u0301\u1161\u11a8"
]
ODD += [
    "\u1100\u1161\u11a8",
    "\uac00\u11a8",
    "\uac01\u11a8",
    "\u1100\u1161\u1161",
    "\u09c7\u0327\u09be",
]
ODD += [
    "a\u0323\u0307\u0301",
    "a\u0301\u0307\u0323",
    "q\u0307\u0323",
    "s\u0323\u0307",
    "\u1e9b\u0323",
]
BLANKS = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\u2000", " \n "]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "",
    "don't DON'T I'Ll they'D 's",
    "1234567 12 3",
    "  two  spaces\n\n\n  x",
    "!!! (x) ==\n\ny",
    "<|im_start|>user\ncafe\u0301<|im_end|>",
    "<tool_call>e\u0301</tool_call> e<tool_call>\u0301",
    "Zoe\u0308 Zo\u00eb Zo\u00eb\u0301",
    "cafe\u0301! caf\u00e9! xcafe\u0301!\u0323",
]


def tokenizer() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=520,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator([" " + " ".join([w, w, *WORDS]) for w in WORDS], trainer)
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    calls = ["<tool_call>", "</tool_call>", "cafe\u0301!"]
    backend.add_tokens([AddedToken(t, normalized=False) for t in calls])
    backend.add_tokens([AddedToken("Zoe\u0308", normalized=True)])
    return backend


def made_up(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(1, 8)):
        form = rng.choice(["NFC", "NFD"])
        parts.append(unicodedata.normalize(form, rng.choice(WORDS)))
        parts.append(rng.choice([*BLANKS, *ODD, ""]))
    return "".join(parts)


def main() -> None:
    rng = random.Random(0)
    backend = tokenizer()
    backend.encode_special_tokens = True  # in a text they are text
    texts = TEXTS + ODD + [unicodedata.normalize("NFD", w) for w in WORDS] + WORDS
    texts += [made_up(rng) for _ in range(150)]
    OUT.mkdir(parents=True, exist_ok=True)
    backend.save(str(OUT / "tokenizer.json"), pretty=False)
    with (OUT / "texts.jsonl").open("w", encoding="ascii") as out:
        for text in texts:
            ids = backend.encode(text, add_special_tokens=False).ids
            out.write(json.dumps({"text": text, "ids": ids}) + "\n")


if __name__ == "__main__":
    main()
