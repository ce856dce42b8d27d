#!/usr/bin/env python3
"""Compare lorac's tokenizers with SentencePiece, Hugging Face tokenizers and transformers.

Every oracle and `lorac tokenize --jsonl` get the same few thousand strings (random Unicode, code,
emoji, CJK, runs of spaces, digits, contractions, text that spells special tokens, lines of real
data); every id has to agree.

  scripts/interop-tokenizer.py --lorac build/lorac --data ../shared/data
      [--smollm2 SmolLM2.gguf]   default: $LORAC_SMOLLM2_GGUF
      [--export PROGRAM]         run as PROGRAM TOKENIZER DIRECTORY, exports one; then the written
                                 directory is loaded by transformers
      [--strings 4000] [--models 100] [--seed 0]

Needs sentencepiece, tokenizers, transformers, gguf, protobuf. Exit status 1 when an id differs.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

SPECIALS = ["<s>", "</s>", "<unk>", "<0x0A>", "<0x00>", "[INST]", "[/INST]", "<|im_start|>",
            "<|endoftext|>", "<|im_end|>", "\u2581", "\u2581\u2581", "<pad>", "<<SYS>>"]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


# ---- strings -----------------------------------------------------------------------------------

def scalar(rng, low, high):
    while True:
        c = rng.randint(low, high)
        # Planes 4 to 14 are empty apart from tags; unassigned characters are left out because the
        # oracles' Unicode tables are of different years.
        if not 0xD800 <= c <= 0xDFFF and unicodedata.category(chr(c)) != "Cn":
            return chr(c)


def made_up(rng):
    """One string of a random sort."""
    words = ["the", "Hello", "y'all", "I'll", "we'Ve", "DON'T", "it's", "'re", "x", "apple", "naïve",
             "Straße", "İstanbul", "ﬁn", "don’t", "e\u0301te\u0301", "नमस्ते", "สวัสดี", "안녕하세요"]
    blank = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u3000", "\u200b", "\u0085",
             "\u180e", "\u2028", "\x0b", "\x0c", "\x1c", "\x00", "\ufeff"]
    code = ["def f(x):\n    return x**2\n", "if (a != b) { c += 1; }", "#include <stdio.h>\n", "::", "->",
            "\t\tprintf(\"%d\\n\", i);", "!!!", "...", "======", "/* x */", "{}[]()", "$x_1^2$", "\\n"]
    ranges = [(0x20, 0x7e), (0, 0x1f), (0x80, 0xff), (0x100, 0x24f), (0x370, 0x3ff), (0x400, 0x4ff),
              (0x590, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1e00, 0x1fff), (0x2000, 0x2bff),
              (0x3040, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xfb00, 0xfdff),
              (0x1f300, 0x1faff), (0x10000, 0x1ffff), (0x20000, 0x2a6df)]
    emoji = ["👩‍👩‍👧‍👦", "😶‍🌫️", "🇩🇪", "👍🏽", "✅", "🦙", "🚀", "❤️"]
    digits = ["0", "7", "12", "333", "3333", "1234567", "3.14", "１２", "٣", "½", "Ⅷ", "²"]
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.randrange(8)
        if kind == 0:
            parts.append(rng.choice(words))
        elif kind == 1:
            parts.append(rng.choice(blank) * rng.randint(1, 3))
        elif kind == 2:
            parts.append(rng.choice(code))
        elif kind == 3:
            low, high = rng.choice(ranges)
            parts.append("".join(scalar(rng, low, high) for _ in range(rng.randint(1, 8))))
        elif kind == 4:
            parts.append(rng.choice(emoji))
        elif kind == 5:
            parts.append(rng.choice(digits))
        elif kind == 6:
            parts.append(rng.choice(SPECIALS))
        else:
            parts.append(" " + rng.choice(words))
    return "".join(parts)


def real(data):
    """Texts of the data folder."""
    out = []

    def walk(value):
        if isinstance(value, str):
            out.append(value)
        elif isinstance(value, dict):
            for v in value.values():
                walk(v)
        elif isinstance(value, list):
            for v in value:
                walk(v)

    for folder, _, names in sorted(os.walk(data)):
        for name in sorted(names):
            if not name.endswith((".json", ".jsonl")) or "golden" in name or "tokenized" in name:
                continue
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                text = f.read()
            try:
                walk(json.loads(text))
            except ValueError:
                for line in text.splitlines()[:2000]:
                    if line.strip():
                        walk(json.loads(line))
    return out


def strings(data, n, seed):
    rng = random.Random(seed)
    out = ["", " ", "  ", "\n", "\x00", "a", "a" * 4000, " " * 300, "\n" * 300, "'s'S'ſ'K", "a'ſt",
           "1" * 50, "😀" * 50, "\u2581", "\u2581a", " \u2581a"]
    out += [made_up(rng) for _ in range(n)]
    lines = real(data)
    rng.shuffle(lines)
    return out + lines[:n]


# ---- the two sides -----------------------------------------------------------------------------

class Check:
    def __init__(self, lorac, texts):
        self.lorac, self.texts, self.failed = lorac, texts, 0
        self.input = "".join(json.dumps({"text": t}) + "\n" for t in texts).encode()

    def ids(self, tokenizer):
        run = subprocess.run([self.lorac, "tokenize", "--model", tokenizer, "--jsonl", "-"],
                             input=self.input, capture_output=True)
        if run.returncode:
            raise SystemExit(f"lorac tokenize {tokenizer}: {run.stderr.decode()}")
        return [json.loads(line)["ids"] for line in run.stdout.decode().splitlines()]

    def true(self, label, ok):
        print(f"{'✓' if ok else '✗'} {label}")
        self.failed += not ok

    def quiet(self, tokenizer, oracle):
        for text, ours in zip(self.texts, self.ids(tokenizer)):
            if ours != oracle(text):
                keep = tempfile.NamedTemporaryFile(delete=False, suffix=os.path.basename(tokenizer))
                with open(tokenizer, "rb") as f:
                    keep.write(f.read())
                print(f"    {keep.name}: {text!r}\n      lorac  {ours[:24]}\n      oracle {oracle(text)[:24]}")
                self.failed += 1
                return

    def same(self, label, tokenizer, oracle, known=None):
        """known(text): the difference is one that both sides document."""
        ours = self.ids(tokenizer)
        assert len(ours) == len(self.texts), (label, len(ours))
        bad = [(t, o, w) for t, o in zip(self.texts, ours) if o != (w := oracle(t))]
        excused = [b for b in bad if known and known(b[0])]
        bad = [b for b in bad if not (known and known(b[0]))]
        note = f", {len(excused)} of a documented kind" if excused else ""
        print(f"{'✗' if bad else '✓'} {label}: {len(ours) - len(bad)} of {len(ours)} agree{note}")
        for text, o, w in bad[:5]:
            print(f"    {text[:60]!r}\n      lorac  {o[:24]}\n      oracle {w[:24]}")
        self.failed += bool(bad)


def hf_ids(backend):
    """Ids of a tokenizers.Tokenizer, special tokens in the text being text."""
    backend.encode_special_tokens = True
    backend.no_truncation()
    return lambda text: backend.encode(text, add_special_tokens=False).ids


# ---- SentencePiece and what is made of it ------------------------------------------------------

def check_sentencepiece(check, label, model, gguf):
    import sentencepiece
    sp = sentencepiece.SentencePieceProcessor(model_file=model)
    check.same(f"{label}: tokenizer.model, SentencePiece", model, sp.encode)
    check.same(f"{label}: GGUF, SentencePiece", gguf, sp.encode)


def sentencepiece_parts(model):
    """Vocabulary, scores and merges as transformers' converter has always made them."""
    from sentencepiece import sentencepiece_model_pb2
    from transformers.convert_slow_tokenizer import generate_merges
    proto = sentencepiece_model_pb2.ModelProto()
    with open(model, "rb") as f:
        proto.ParseFromString(f.read())
    vocab = {p.piece: i for i, p in enumerate(proto.pieces)}
    return vocab, generate_merges(vocab, {p.piece: p.score for p in proto.pieces})


def check_llama_json(check, label, model, tmp):
    """tokenizer.json: Llama 2's published form, then the forms with Metaspace."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    vocab, merges = sentencepiece_parts(model)
    forms = {
        "Prepend": (normalizers.Sequence([normalizers.Prepend("\u2581"),
                                          normalizers.Replace(" ", "\u2581")]), None),
        "Replace": (normalizers.Replace(" ", "\u2581"), None),
    }
    for scheme in ("always", "first", "never"):
        for split in (False, True):
            forms[f"Metaspace {scheme}{' split' if split else ''}"] = (
                None, pre_tokenizers.Metaspace("\u2581", scheme, split))
    for name, (normalizer, pre) in forms.items():
        backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        if normalizer:
            backend.normalizer = normalizer
        if pre:
            backend.pre_tokenizer = pre
        backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                             decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        for extra in ((), ("<|user|>", "[INST]")):
            backend.add_special_tokens([AddedToken(t, normalized=False, special=True)
                                        for t in ("<unk>", "<s>", "</s>")])
            backend.add_tokens([AddedToken(t, normalized=i == 0) for i, t in enumerate(extra)])
            path = os.path.join(tmp, f"{label}-{name}{'-added' if extra else ''}.json".replace(" ", "-"))
            backend.save(path)
            check.same(f"{label}: tokenizer.json {name}{', added tokens' if extra else ''}, tokenizers", path,
                       hf_ids(Tokenizer.from_file(path)))


def check_transformers_llama(check, label, model, tmp):
    """What transformers itself saves when it is given the tokenizer.model."""
    from tokenizers import Tokenizer
    from transformers import LlamaTokenizer
    for legacy in (True, False):
        out = os.path.join(tmp, f"{label}-legacy-{legacy}")
        source = os.path.join(tmp, f"{label}-source-{legacy}")
        os.makedirs(source)
        with open(model, "rb") as f, open(os.path.join(source, "tokenizer.model"), "wb") as g:
            g.write(f.read())
        with open(os.path.join(source, "tokenizer_config.json"), "w") as f:
            json.dump({"tokenizer_class": "LlamaTokenizer", "legacy": legacy, "bos_token": "<s>",
                       "eos_token": "</s>", "unk_token": "<unk>"}, f)
        LlamaTokenizer.from_pretrained(source).save_pretrained(out)
        check.same(f"{label}: saved by transformers, legacy={legacy}", out,
                   hf_ids(Tokenizer.from_file(os.path.join(out, "tokenizer.json"))))


# ---- made-up vocabularies ----------------------------------------------------------------------

def random_model(rng, alphabet):
    """A small SentencePiece model with ties, unused and user-defined pieces, characters that are no
    pieces, and any mix of the switches that we honour."""
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    fallback = rng.random() < 0.7

    def add(piece, score=0.0, kind=1):
        proto.pieces.add(piece=piece, score=score, type=kind)

    add("<unk>", 0, 2)
    add("<s>", 0, 3)
    add("</s>", 0, 3)
    if fallback:
        for b in range(256):
            add(f"<0x{b:02X}>", 0, 6)
    seen = {"<unk>", "<s>", "</s>"}
    chars = rng.sample(alphabet, rng.randint(2, len(alphabet)))
    odd = rng.random()
    for _ in range(rng.randint(3, 40)):
        piece = "".join(rng.choice(chars) for _ in range(rng.choice([1, 1, 2, 2, 2, 3, 3, 4, 5])))
        if piece in seen:
            continue
        seen.add(piece)
        kind = rng.choice([5, 4]) if odd < 0.5 and rng.random() < 0.2 else 1
        add(piece, float(-rng.randint(0, 12)), kind)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = fallback
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = rng.random() < 0.7
    proto.normalizer_spec.remove_extra_whitespaces = rng.random() < 0.3
    proto.normalizer_spec.escape_whitespaces = True
    return proto


def check_random_models(lorac, count, seed, tmp):
    import sentencepiece
    rng = random.Random(seed)
    alphabet = ["a", "b", "c", "\u2581", "é", "\u6f22", "<", ">"]
    texts = ["", " ", "  ", " a", "a ", " <s> "]
    texts += ["".join(rng.choice(alphabet + [" ", " ", "😀", "\x00"]) for _ in range(rng.randint(1, 24)))
              for _ in range(300)]
    check = Check(lorac, texts)
    path = os.path.join(tmp, "random.model")
    for _ in range(count):
        proto = random_model(rng, alphabet)
        with open(path, "wb") as f:
            f.write(proto.SerializeToString())
        sp = sentencepiece.SentencePieceProcessor(model_file=path)
        check.quiet(path, sp.encode)
    check.true(f"{count} made-up tokenizer.model files, SentencePiece: {len(texts)} texts each", not check.failed)
    return check.failed


def random_json(rng, alphabet, byte_pieces):
    """A small tokenizer.json with merges in an order that no scores could give."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    pieces = list(byte_pieces)
    singles = rng.sample(alphabet, rng.randint(2, len(alphabet)))
    pieces += [c for c in singles if c not in pieces]
    merges = []
    for _ in range(rng.randint(0, 30)):
        left, right = (rng.choice(singles + pieces[len(byte_pieces):]) for _ in "lr")
        if (left, right) in merges or len(left + right) > 9:
            continue
        merges.append((left, right))
        if left + right not in pieces:
            pieces.append(left + right)
    rng.shuffle(merges)
    rng.shuffle(pieces)
    vocab = {p: i for i, p in enumerate(pieces)}
    spm = byte_pieces and byte_pieces[0] == "<0x00>"
    backend = Tokenizer(models.BPE(vocab, merges, byte_fallback=bool(spm), fuse_unk=True,
                                   ignore_merges=not spm and rng.random() < 0.5))
    if spm and rng.random() < 0.5:
        replace = normalizers.Replace(" ", "\u2581")
        backend.normalizer = rng.choice([replace, normalizers.Sequence([normalizers.Prepend("\u2581"), replace])])
        backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                             decoders.Fuse()])
    elif spm:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", rng.choice(["always", "first", "never"]),
                                                         rng.random() < 0.5)
        backend.decoder = decoders.Metaspace()
    else:
        backend.pre_tokenizer = rng.choice(list(pre_tokenizers_by_name().values()))
        backend.decoder = decoders.ByteLevel()
    for _ in range(rng.choice([0, 0, 1, 3])):
        token = "".join(rng.choice("ab< >") for _ in range(rng.randint(1, 3)))
        backend.add_tokens([AddedToken(token, normalized=rng.random() < 0.5)])
    return backend


def check_random_json(lorac, count, seed, tmp):
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    from tokenizers import Tokenizer
    rng = random.Random(seed)
    letters = ["a", "b", "c", "\u2581", "é", "\u6f22", "<", ">", " ", " "]
    texts = ["", " ", "  ", " a", "a ", "\x00"]
    texts += ["".join(rng.choice(letters + ["😀", "'s", "1", "\n"]) for _ in range(rng.randint(1, 24)))
              for _ in range(300)]
    check = Check(lorac, texts)
    spelling = bytes_to_unicode()
    fallback = [f"<0x{b:02X}>" for b in range(256)]
    for i in range(count):
        if i % 2:
            backend = random_json(rng, ["a", "b", "c", "\u2581", "é", "\u6f22", "<", ">"], fallback)
        else:
            some = [spelling[b] for b in range(256) if rng.random() < 0.97]
            backend = random_json(rng, [spelling[ord(c)] for c in "abc< >'s1\n"], some)
        path = os.path.join(tmp, "random.json")
        backend.save(path)
        check.quiet(path, hf_ids(Tokenizer.from_file(path)))
    check.true(f"{count} made-up tokenizer.json files, tokenizers: {len(texts)} texts each", not check.failed)
    return check.failed


# ---- byte-level --------------------------------------------------------------------------------

def gguf_lists(path):
    import gguf
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    return tokens, merges, [t for t, kind in zip(tokens, types) if kind == 3]


def byte_level(path, pre, ignore_merges=False):
    from tokenizers import AddedToken, Tokenizer, decoders, models
    tokens, merges, special = gguf_lists(path)
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, ignore_merges=ignore_merges))
    backend.pre_tokenizer = pre
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return backend


def pre_tokenizers_by_name():
    from tokenizers import Regex, pre_tokenizers as p
    return {
        "GPT-2": p.ByteLevel(add_prefix_space=False),
        "SmolLM": p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)]),
        "Llama 3": p.Sequence([p.Split(Regex(LLAMA3), "isolated"),
                               p.ByteLevel(add_prefix_space=False, use_regex=False)]),
    }


def check_byte_level(check, gguf, tmp):
    from tokenizers import AddedToken, Tokenizer
    pre = pre_tokenizers_by_name()
    check.same("GPT-2: GGUF, tokenizers", gguf, hf_ids(byte_level(gguf, pre["GPT-2"])))
    for name, p in pre.items():
        backend = byte_level(gguf, p, ignore_merges=name == "Llama 3")
        for extra in (False, True):
            if extra:
                backend.add_tokens([AddedToken("[INST]", normalized=False), AddedToken("the", normalized=True)])
            path = os.path.join(tmp, f"byte-{name}-{extra}.json".replace(" ", "-"))
            backend.save(path)
            check.same(f"{name}: tokenizer.json{', added tokens' if extra else ''}, tokenizers", path,
                       hf_ids(Tokenizer.from_file(path)))


def check_smollm2(check, gguf):
    """transformers reads the GGUF's vocabulary; its reader leaves SmolLM's digits together, so the
    published pre-tokeniser is put in."""
    from transformers import AutoTokenizer
    theirs = AutoTokenizer.from_pretrained(os.path.dirname(os.path.abspath(gguf)),
                                           gguf_file=os.path.basename(gguf))
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers_by_name()["SmolLM"]
    check.same("SmolLM2: GGUF, transformers", gguf, hf_ids(theirs.backend_tokenizer))


# ---- exports -----------------------------------------------------------------------------------

def source_ids(check, tokenizer, text):
    return Check(check.lorac, [text]).ids(tokenizer)[0]


def check_export(check, export, label, tokenizer, tmp, with_config):
    """The written directory, loaded by AutoTokenizer and by lorac, gives the source's ids; so does
    SentencePiece with the tokenizer.model in it."""
    from transformers import AutoTokenizer
    out = os.path.join(tmp, f"export-{label}-{with_config}".replace(" ", "-"))
    os.makedirs(out)
    subprocess.run([export, tokenizer, out], check=True)
    if with_config:
        with open(os.path.join(out, "config.json"), "w") as f:
            json.dump({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32000}, f)
    source = dict(zip(check.texts, check.ids(tokenizer)))
    theirs = AutoTokenizer.from_pretrained(out)
    check.same(f"{label}: export, read back", out, source.__getitem__)
    check.same(f"{label}: export, AutoTokenizer ({type(theirs).__name__}"
               f"{', beside config.json' if with_config else ''})", tokenizer,
               lambda t: theirs.encode(t, add_special_tokens=False, split_special_tokens=True))
    with open(os.path.join(out, "tokenizer_config.json"), encoding="utf-8") as f:
        bos = [theirs.bos_token_id] if json.load(f)["add_bos_token"] else []
    check.true(f"{label}: export, BOS {bos} in front", theirs("a b")["input_ids"][:2][:len(bos)] == bos
               and len(theirs("a b")["input_ids"]) == len(bos) + len(source_ids(check, tokenizer, "a b")))
    model = os.path.join(out, "tokenizer.model")
    if os.path.exists(model):
        import sentencepiece
        sp = sentencepiece.SentencePieceProcessor(model_file=model)
        # Hugging Face's Metaspace puts no space in front of a text that begins with one, and its
        # Prepend puts one behind each added token in a text: no tokenizer.model can say either.
        check.same(f"{label}: export, SentencePiece", tokenizer, sp.encode,
                   lambda t: ("Metaspace" in label and t[:1] in (" ", "\u2581")) or
                   ("added" in label and ("[INST]" in t or "<|user|>" in t)))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--lorac", default="build/lorac")
    arguments.add_argument("--data", default="../shared/data")
    arguments.add_argument("--smollm2", default=os.environ.get("LORAC_SMOLLM2_GGUF"))
    arguments.add_argument("--export", help="program run as PROGRAM TOKENIZER DIRECTORY")
    arguments.add_argument("--strings", type=int, default=4000)
    arguments.add_argument("--models", type=int, default=100, help="made-up vocabularies")
    arguments.add_argument("--seed", type=int, default=0)
    a = arguments.parse_args()
    check = Check(a.lorac, strings(a.data, a.strings, a.seed))
    print(f"{len(check.texts)} strings, {len(check.input)} bytes")
    llama2 = os.path.join(a.data, "llama2-tokenizer", "tokenizer.model")
    llama2_gguf = os.path.join(a.data, "llama2-tokenizer", "ggml-vocab-llama-spm.gguf")
    stories = os.path.join(a.data, "stories260K-hf", "tokenizer.model")
    stories_gguf = os.path.join(a.data, "stories260K-gguf", "stories260K.F32.gguf")
    gpt2 = os.path.join(a.data, "bpe-vocab", "ggml-vocab-gpt-2.gguf")
    with tempfile.TemporaryDirectory() as tmp:
        check_sentencepiece(check, "Llama 2", llama2, llama2_gguf)
        check_sentencepiece(check, "stories260K", stories, stories_gguf)
        check.failed += check_random_models(a.lorac, a.models, a.seed, tmp)
        check.failed += check_random_json(a.lorac, a.models, a.seed, tmp)
        check_llama_json(check, "Llama 2", llama2, tmp)
        check_transformers_llama(check, "Llama 2", llama2, tmp)
        check_byte_level(check, gpt2, tmp)
        if a.smollm2:
            check_smollm2(check, a.smollm2)
        sources = {"Llama 2": llama2, "stories260K GGUF": stories_gguf, "GPT-2": gpt2,
                   "Llama 2 json": os.path.join(tmp, "Llama-2-Prepend.json"),
                   "Llama 2 json, added": os.path.join(tmp, "Llama-2-Prepend-added.json"),
                   "Llama 2 Metaspace": os.path.join(tmp, "Llama-2-Metaspace-first.json"),
                   "Llama 3": os.path.join(tmp, "byte-Llama-3-True.json")}
        if a.smollm2:
            sources["SmolLM2"] = a.smollm2
        for label, source in sources.items() if a.export else ():
            for with_config in (False, True):
                check_export(check, a.export, label, source, tmp, with_config)
    print("all agree" if not check.failed else f"{check.failed} comparisons differ")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
