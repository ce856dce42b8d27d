#!/usr/bin/env python3
"""lorac's tokenizers against SentencePiece, Hugging Face tokenizers and transformers.

Every oracle and `lorac tokenize --jsonl` get the same few thousand strings (random Unicode, code,
emoji, CJK, runs of spaces, digits, contractions, text that spells special tokens, lines of real
data); every id has to agree. Without the folder of fixtures its strings and tokenizers are skipped;
made-up vocabularies are always compared.

  scripts/interop-tokenizer.py [--lorac build/lorac] [--data ../shared/data] [--smollm2 GGUF]
      [--qwen2 DIRECTORY] [--export PROGRAM] [--strings 2000] [--models 60] [--seed 0]

PROGRAM is run as PROGRAM TOKENIZER DIRECTORY and exports the tokenizer; transformers then loads the
directory. Lines begin with ✓, ✗ or - (skipped); the exit status is 1 when an id differs.
"""

import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

from command_line import Parser, there, whole


def parse_arguments() -> object:
    parser = Parser(__doc__)
    lorac = Path(os.environ.get("LORAC", "build/lorac"))
    parser.add_argument("--lorac", type=there, default=lorac)
    data = os.environ.get("LORAC_TEST_DATA") or "../shared/data"
    parser.add_argument("--data", type=Path, default=Path(data))
    smollm2 = os.environ.get("LORAC_SMOLLM2_GGUF") or None
    parser.add_argument("--smollm2", type=there, default=smollm2)
    qwen2 = os.environ.get("LORAC_QWEN2") or None
    parser.add_argument("--qwen2", type=there, default=qwen2, help="its directory")
    parser.add_argument(
        "--export", type=there, help="default: tests/test_tokenizer_files beside lorac"
    )
    parser.add_argument("--strings", type=whole(1), default=2000, help="of either sort")
    parser.add_argument("--models", type=whole(0), default=60, help="made-up vocabularies")
    parser.add_argument("--seed", type=whole(0), default=0)
    a = parser.parse_args()
    beside = a.lorac.parent / "tests" / "test_tokenizer_files"
    if not a.export and beside.exists():
        a.export = beside
    return a


OPTIONS = parse_arguments()

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)
from transformers import AutoTokenizer, LlamaTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode, generate_merges

Ids = list[int]
Oracle = Callable[[str], Ids]

SPACE = "\u2581"
SPECIALS = [
    *"<s> </s> <unk> <0x0A> <0x00> [INST] [/INST] <pad> <<SYS>>".split(),
    *"<|im_start|> <|endoftext|> <|im_end|>".split(),
    SPACE,
    SPACE * 2,
]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
PRE = {
    "GPT-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "SmolLM": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    ),
    "Llama 3": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    "Qwen2": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}

# ---- strings -------------------------------------------------------------------------------------

WORDS = (
    "the Hello y'all I'll we'Ve DON'T it's 're x apple naïve Straße İstanbul ﬁn don’t "
    "e\u0301te\u0301 नमस्ते สวัสดี 안녕하세요 \u1112\u1161\u11ab\u1100\u1173\u11af a\u0301\u0323 "
    "\u212b \u0958 \u09c7\u09be \uac00\u11a8 q\u0307\u0323 が\u304b\u3099 \uf900"
).split()
BLANKS = [" ", "  ", "   ", "\r\n", "\n\n", *"\t\n\u00a0\u3000\u200b\u0085\u180e\u2028"]
BLANKS += list("\x0b\x0c\x1c\x00\ufeff")
CODE = [
    "def f(x):\n    return x**2\n",
    "if (a != b) { c += 1; }",
    "#include <stdio.h>\n",
    '\t\tprintf("%d\\n", i);',
    *":: -> !!! ... ====== /*x*/ {}[]() $x_1^2$ \\n".split(),
]
EMOJI = ["👩\u200d👩\u200d👧", "😶\u200d🌫\ufe0f", "🇩🇪", "👍🏽", "✅", "🦙", "🚀", "❤\ufe0f"]
DIGITS = "0 7 12 333 3333 1234567 3.14 １２ ٣ ½ Ⅷ ²".split()
RANGES = [
    *[(0x20, 0x7E), (0, 0x1F), (0x80, 0xFF), (0x100, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF)],
    *[(0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1E00, 0x1FFF), (0x2000, 0x2BFF)],
    *[(0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFB00, 0xFDFF)],
    *[(0x1F300, 0x1FAFF), (0x10000, 0x1FFFF), (0x20000, 0x2A6DF)],
]


@functools.cache
def known_to_nfc(c: str) -> bool:
    """False for marks that the oracle's NFC does not know: its Unicode tables are of version 9."""
    place = unicodedata.combining(c)
    text = "x\u0301" + c if place == 1 else "x" + c + "\u0338"
    return place == 0 or normalizers.NFC().normalize_str(text) != text


def scalar(rng: random.Random, low: int, high: int) -> str:
    """An assigned character: the Unicode tables of the oracles and of PCRE2 differ in age."""
    while True:
        c = chr(rng.randint(low, high))
        if unicodedata.category(c) not in ("Cn", "Cs") and known_to_nfc(c):
            return c


def made_up(rng: random.Random) -> str:
    """A string of a few parts of random sorts."""
    sorts = [
        lambda: rng.choice(WORDS),
        lambda: " " + rng.choice(WORDS),
        lambda: rng.choice(BLANKS) * rng.randint(1, 3),
        lambda: rng.choice(CODE),
        lambda: rng.choice(EMOJI),
        lambda: rng.choice(DIGITS),
        lambda: rng.choice(SPECIALS),
        lambda: "".join(scalar(rng, *span) for span in [rng.choice(RANGES)] * rng.randint(1, 8)),
    ]
    return "".join(rng.choice(sorts)() for _ in range(rng.randint(1, 12)))


def strings_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [s for v in value for s in strings_of(v)] if isinstance(value, list) else []


def real(data: Path) -> list[str]:
    """The strings in the data folder's records."""
    out: list[str] = []
    for path in sorted([*data.rglob("*.json"), *data.rglob("*.jsonl")]):
        if "golden" in path.name or "tokenized" in path.name:
            continue
        text = path.read_text(encoding="utf-8")
        try:
            out += strings_of(json.loads(text))
        except ValueError:
            lines = [line for line in text.split("\n")[:2000] if line.strip()]
            out += [s for line in lines for s in strings_of(json.loads(line))]
    return out


def strings(data: Path, n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    out = ["", " ", "  ", "\n", "\x00", "a", "a" * 4000, " " * 300, "\n" * 300, "'s'S'ſ'K", "a'ſt"]
    out += ["1" * 50, "😀" * 50, SPACE, SPACE + "a", " " + SPACE + "a"]
    out += [made_up(rng) for _ in range(n)]
    lines = real(data)
    rng.shuffle(lines)
    return out + lines[:n]


# ---- the two sides -------------------------------------------------------------------------------


class Report:
    def __init__(self) -> None:
        self.failed = 0

    def line(self, good: bool, label: str, notes: list[str] | None = None) -> None:
        print("✓" if good else "✗", label, flush=True)
        for note in notes or []:
            print("    " + note)
        self.failed += not good


class Check:
    """One list of texts, given to lorac and to oracles."""

    def __init__(self, report: Report, lorac: str, texts: list[str]) -> None:
        self.report, self.lorac, self.texts = report, lorac, texts
        self.input = "".join(json.dumps({"text": t}) + "\n" for t in texts).encode()

    def ids(self, tokenizer: Path) -> list[Ids]:
        command = [self.lorac, "tokenize", "--model", str(tokenizer), "--jsonl", "-"]
        run = subprocess.run(command, input=self.input, capture_output=True, check=False)
        if run.returncode:
            raise SystemExit(f"✗ lorac tokenize {tokenizer}: {run.stderr.decode().strip()}")
        out = [json.loads(line)["ids"] for line in run.stdout.splitlines()]
        assert len(out) == len(self.texts), (tokenizer, len(out))
        return out

    def differences(self, tokenizer: Path, oracle: Oracle) -> list[tuple[str, Ids, Ids]]:
        pairs = [
            (t, ours, oracle(t)) for t, ours in zip(self.texts, self.ids(tokenizer), strict=True)
        ]
        return [p for p in pairs if p[1] != p[2]]

    def same(
        self,
        label: str,
        tokenizer: Path,
        oracle: Oracle,
        known: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """known(text): a difference there is documented."""
        all_bad = self.differences(tokenizer, oracle)
        bad = [b for b in all_bad if not known(b[0])]
        excused = (
            f", {len(all_bad) - len(bad)} of a documented kind" if len(all_bad) > len(bad) else ""
        )
        notes = [f"{text[:60]!r}: {ours[:16]}, wanted {want[:16]}" for text, ours, want in bad[:5]]
        count = len(self.texts)
        self.report.line(not bad, f"{label}: {count - len(bad)} of {count} texts{excused}", notes)


def hf_ids(backend: Tokenizer) -> Oracle:
    """Special tokens in a text are text."""
    backend.encode_special_tokens = True
    backend.no_truncation()
    return lambda text: backend.encode(text, add_special_tokens=False).ids


def hf_file_ids(path: Path) -> Oracle:
    return hf_ids(Tokenizer.from_file(str(path)))


def sentencepiece_ids(path: Path) -> Oracle:
    return sentencepiece.SentencePieceProcessor(model_file=str(path)).encode


# ---- made-up vocabularies ------------------------------------------------------------------------

LETTERS = ["a", "b", "c", SPACE, "é", "\u6f22", "<", ">"]
FALLBACK = [f"<0x{b:02X}>" for b in range(256)]


def random_model(rng: random.Random) -> sentencepiece_model_pb2.ModelProto:
    """A small SentencePiece model with ties, unused and user-defined pieces, characters that are
    not pieces, and any mix of the switches that we support."""
    proto = sentencepiece_model_pb2.ModelProto()
    fallback = rng.random() < 0.7
    for piece, kind in [("<unk>", 2), ("<s>", 3), ("</s>", 3)] + [(b, 6) for b in FALLBACK]:
        if fallback or kind != 6:
            proto.pieces.add(piece=piece, score=0, type=kind)
    seen = {"<unk>", "<s>", "</s>"}
    letters = rng.sample(LETTERS, rng.randint(2, len(LETTERS)))
    odd = rng.random() < 0.5
    for _ in range(rng.randint(3, 40)):
        length = rng.choice([1, 1, 2, 2, 2, 3, 3, 4, 5])
        piece = "".join(rng.choice(letters) for _ in range(length))
        if piece not in seen:
            seen.add(piece)
            kind = rng.choice([5, 4]) if odd and rng.random() < 0.2 else 1
            proto.pieces.add(piece=piece, score=float(-rng.randint(0, 12)), type=kind)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = fallback
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = rng.random() < 0.7
    proto.normalizer_spec.remove_extra_whitespaces = rng.random() < 0.3
    proto.normalizer_spec.escape_whitespaces = True
    return proto


def random_bpe(rng: random.Random, base: list[str], letters: list[str], spm: bool) -> models.BPE:
    """Merges in an order that no scores could give."""
    singles = rng.sample(letters, rng.randint(2, len(letters)))
    pieces = base + [c for c in singles if c not in base]
    merges: list[tuple[str, str]] = []
    for _ in range(rng.randint(0, 30)):
        left, right = rng.choices(singles + pieces[len(base) :], k=2)
        if (left, right) not in merges and len(left + right) <= 9:
            merges.append((left, right))
            pieces += [left + right] if left + right not in pieces else []
    rng.shuffle(merges)
    rng.shuffle(pieces)
    return models.BPE(
        {p: i for i, p in enumerate(pieces)},
        merges,
        byte_fallback=spm,
        fuse_unk=True,
        ignore_merges=not spm and rng.random() < 0.5,
    )


def random_json(rng: random.Random, spm: bool) -> Tokenizer:
    if spm:
        backend = Tokenizer(random_bpe(rng, FALLBACK, LETTERS, True))
        backend.decoder = llama_decoder()
        if rng.random() < 0.5:
            backend.normalizer = rng.choice([REPLACE, PREPEND])
        else:
            scheme = rng.choice(["always", "first", "never"])
            backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, scheme, rng.random() < 0.5)
    else:
        spelling = bytes_to_unicode()
        base = [spelling[b] for b in range(256) if rng.random() < 0.97]
        letters = [spelling[ord(c)] for c in "abc< >'s1\n"]
        backend = Tokenizer(random_bpe(rng, base, letters, False))
        backend.pre_tokenizer = rng.choice(list(PRE.values()))
        if rng.random() < 0.4:
            backend.normalizer = normalizers.NFC()
        backend.decoder = decoders.ByteLevel()
    for _ in range(rng.choice([0, 0, 1, 3])):
        token = "".join(rng.choice("ab< >\u0301é") for _ in range(rng.randint(1, 3)))
        backend.add_tokens([AddedToken(token, normalized=rng.random() < 0.5)])
    return backend


def random_texts(rng: random.Random) -> list[str]:
    letters = [*LETTERS, " ", " ", "😀", "'s", "1", "\n", "\x00", "e", "\u0301", "\u0323", "\u212b"]
    texts = ["", " ", "  ", " a", "a ", " <s> ", "\x00"]
    return texts + [
        "".join(rng.choice(letters) for _ in range(rng.randint(1, 24))) for _ in range(300)
    ]


def check_made_up(report: Report, lorac: str, count: int, seed: int, tmp: Path) -> None:
    rng = random.Random(seed)
    check = Check(report, lorac, random_texts(rng))
    for kind in ("tokenizer.model, SentencePiece", "tokenizer.json, tokenizers"):
        notes: list[str] = []
        for i in range(count):
            if kind.startswith("tokenizer.model"):
                path = tmp / "random.model"
                path.write_bytes(random_model(rng).SerializeToString())
                bad = check.differences(path, sentencepiece_ids(path))
            else:
                path = tmp / "random.json"
                random_json(rng, i % 2 == 0).save(str(path))
                bad = check.differences(path, hf_file_ids(path))
            notes += [f"vocabulary {i}: {t!r}: {ours}, wanted {want}" for t, ours, want in bad[:1]]
        label = f"{count} made-up vocabularies, {len(check.texts)} texts each: {kind}"
        report.line(not notes, label, notes[:5])


# ---- SentencePiece and what is made of it --------------------------------------------------------

REPLACE = normalizers.Replace(" ", SPACE)
PREPEND = normalizers.Sequence([normalizers.Prepend(SPACE), REPLACE])


def llama_decoder() -> decoders.Decoder:
    parts = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)])


def llama_bpe(model: Path) -> models.BPE:
    """Vocabulary and merges as transformers' converter has always made them."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.read_bytes())
    vocab = {p.piece: i for i, p in enumerate(proto.pieces)}
    merges = generate_merges(vocab, {p.piece: p.score for p in proto.pieces})
    return models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def llama_forms(model: Path, tmp: Path) -> dict[str, Path]:
    """tokenizer.json in Llama 2's published form, and in the forms with Metaspace."""
    forms: dict[str, tuple] = {"Prepend": (PREPEND, None), "Replace": (REPLACE, None)}
    for scheme in ("always", "first", "never"):
        for split in (False, True):
            pre = pre_tokenizers.Metaspace(SPACE, scheme, split)
            forms[f"Metaspace {scheme}{' split' if split else ''}"] = (None, pre)
    special = [AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")]
    extra = [AddedToken("<|user|>", normalized=True), AddedToken("[INST]", normalized=False)]
    out = {}
    for name, (normalizer, pre) in forms.items():
        backend = Tokenizer(llama_bpe(model))
        if normalizer:
            backend.normalizer = normalizer
        if pre:
            backend.pre_tokenizer = pre
        backend.decoder = llama_decoder()
        backend.add_special_tokens(special)
        for added in ("", ", added tokens"):
            if added:
                backend.add_tokens(extra)
            path = tmp / f"llama-{name}{added}.json".replace(" ", "-").replace(",", "")
            backend.save(str(path))
            out[name + added] = path
    return out


def saved_by_transformers(model: Path, legacy: bool, tmp: Path) -> Path:
    source, out = tmp / f"source-{legacy}", tmp / f"saved-{legacy}"
    source.mkdir()
    (source / "tokenizer.model").write_bytes(model.read_bytes())
    config = {"tokenizer_class": "LlamaTokenizer", "legacy": legacy}
    config |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    LlamaTokenizer.from_pretrained(source).save_pretrained(out)
    return out


def check_llama(check: Check, folder: Path, tmp: Path) -> dict[str, Path]:
    """Compare, and return tokenizers to export."""
    model = folder / "llama2-tokenizer" / "tokenizer.model"
    stories = folder / "stories260K-hf" / "tokenizer.model"
    stories_gguf = folder / "stories260K-gguf" / "stories260K.F32.gguf"
    check.same("Llama 2: tokenizer.model, SentencePiece", model, sentencepiece_ids(model))
    vocab = folder / "llama2-tokenizer" / "ggml-vocab-llama-spm.gguf"
    check.same("Llama 2: GGUF, SentencePiece", vocab, sentencepiece_ids(model))
    check.same("stories260K: tokenizer.model, SentencePiece", stories, sentencepiece_ids(stories))
    check.same("stories260K: GGUF, SentencePiece", stories_gguf, sentencepiece_ids(stories))
    forms = llama_forms(model, tmp)
    for name, path in forms.items():
        check.same(f"Llama 2: tokenizer.json {name}, tokenizers", path, hf_file_ids(path))
    for legacy in (True, False):
        saved = saved_by_transformers(model, legacy, tmp)
        label = f"Llama 2: saved by transformers, legacy={legacy}"
        check.same(label, saved, hf_file_ids(saved / "tokenizer.json"))
    return {
        "Llama 2": model,
        "stories260K GGUF": stories_gguf,
        "Llama 2 json": forms["Prepend"],
        "Llama 2 json, added tokens": forms["Prepend, added tokens"],
        "Llama 2 Metaspace": forms["Metaspace first"],
    }


# ---- byte-level ----------------------------------------------------------------------------------


def byte_level(path: Path, pre: str) -> Tokenizer:
    """A tokenizer of tokenizers from the lists in a GGUF file."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    vocab = {t: i for i, t in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocab, merges, ignore_merges=pre == "Llama 3"))
    backend.pre_tokenizer = PRE[pre]
    backend.decoder = decoders.ByteLevel()
    if pre == "Qwen2":
        backend.normalizer = normalizers.NFC()
    special = [t for t, kind in zip(tokens, types, strict=True) if kind == 3]
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return backend


def check_byte_level(check: Check, vocab: Path, tmp: Path) -> dict[str, Path]:
    extra = [AddedToken("[INST]", normalized=False), AddedToken("the", normalized=True)]
    extra += [AddedToken("e\u0301te", normalized=True), AddedToken("\u212b", normalized=False)]
    out: dict[str, Path] = {}
    for name in PRE:
        backend = byte_level(vocab, name)
        for added in ("", ", added tokens"):
            if added:
                backend.add_tokens(extra)
            path = tmp / f"byte-{name}{added}.json".replace(" ", "-").replace(",", "")
            backend.save(str(path))
            check.same(f"{name}: tokenizer.json{added}, tokenizers", path, hf_file_ids(path))
            out[name] = path
    return {name: out[name] for name in ("Llama 3", "Qwen2")}


def check_qwen2(check: Check, path: Path) -> None:
    """A published tokenizer.json, by tokenizers and by transformers' own class."""
    check.same("Qwen2: tokenizer.json, tokenizers", path, hf_file_ids(path / "tokenizer.json"))
    theirs = AutoTokenizer.from_pretrained(path)
    check.same("Qwen2: directory, transformers", path, hf_ids(theirs.backend_tokenizer))


def check_smollm2(check: Check, path: Path) -> None:
    """transformers reads the GGUF's vocabulary; its reader leaves SmolLM's digits together, so the
    published pre-tokeniser is put in."""
    theirs = AutoTokenizer.from_pretrained(path.resolve().parent, gguf_file=path.name)
    theirs.backend_tokenizer.pre_tokenizer = PRE["SmolLM"]
    check.same("SmolLM2: GGUF, transformers", path, hf_ids(theirs.backend_tokenizer))


# ---- exports -------------------------------------------------------------------------------------


def check_export(
    check: Check, export: str, label: str, source: Path, tmp: Path, config: bool
) -> None:
    """The written directory gives the source's ids to lorac, AutoTokenizer and SentencePiece."""
    out = tmp / f"export-{label}-{config}".replace(" ", "-")
    out.mkdir()
    subprocess.run([export, str(source), str(out)], check=True)
    if config:
        label += ", beside config.json"
        (out / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 32000}))
    ours = dict(zip(check.texts, check.ids(source), strict=True))
    check.same(f"{label}: export, read back", out, ours.__getitem__)
    theirs = AutoTokenizer.from_pretrained(out)

    def auto(text: str) -> Ids:
        return theirs.encode(text, add_special_tokens=False, split_special_tokens=True)

    check.same(f"{label}: export, AutoTokenizer ({type(theirs).__name__})", source, auto)
    written = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    bos = [theirs.bos_token_id] if written["add_bos_token"] else []
    check.report.line(theirs("a")["input_ids"] == bos + ours["a"], f"{label}: export, BOS {bos}")

    # Hugging Face's Metaspace puts no space in front of a text that begins with one, and its
    # Prepend puts one after each added token in a text: a tokenizer.model can say neither.
    def known(text: str) -> bool:
        if "Metaspace" in label:
            return text[:1] in (" ", SPACE)
        return "added" in label and ("[INST]" in text or "<|user|>" in text)

    model = out / "tokenizer.model"
    if model.exists():
        check.same(f"{label}: export, SentencePiece", source, sentencepiece_ids(model), known)


def main() -> int:
    a = OPTIONS
    report = Report()
    check = Check(report, str(a.lorac), strings(a.data, a.strings, a.seed))
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        check_made_up(report, str(a.lorac), a.models, a.seed, tmp)
        sources: dict[str, Path] = {}
        if (a.data / "llama2-tokenizer").is_dir():
            sources |= check_llama(check, a.data, tmp)
        else:
            print(f"- Llama 2 and stories260K: skipped, {a.data} has no llama2-tokenizer")
        gpt2 = a.data / "bpe-vocab" / "ggml-vocab-gpt-2.gguf"
        if gpt2.is_file():
            check.same("GPT-2: GGUF, tokenizers", gpt2, hf_ids(byte_level(gpt2, "GPT-2")))
            sources |= {"GPT-2": gpt2, **check_byte_level(check, gpt2, tmp)}
        else:
            print(f"- GPT-2: skipped, no {gpt2}")
        if a.smollm2:
            check_smollm2(check, a.smollm2)
            sources["SmolLM2"] = a.smollm2
        else:
            print("- SmolLM2: skipped, LORAC_SMOLLM2_GGUF names no file")
        if a.qwen2:
            check_qwen2(check, a.qwen2)
            sources["Qwen2, published"] = a.qwen2
        else:
            print("- Qwen2, published: skipped, LORAC_QWEN2 names no directory")
        if not a.export:
            print("- exports: skipped, no program that exports (make tests-build makes one)")
        for label, source in sources.items() if a.export else ():
            for config in (False, True):
                check_export(check, str(a.export), label, source, tmp, config)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
