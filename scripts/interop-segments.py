#!/usr/bin/env python3
"""Make tests/golden/segments.jsonl: what transformers makes of texts between special tokens.

    scripts/interop-segments.py [--write]     under transformers 4, then under 5

SentencePiece puts a space in front of a text. Whether one comes after a special token as well
depends on what the files say: `legacy` for a bare tokenizer.model, the normaliser or Metaspace's
prepend_scheme for a tokenizer.json. Each line is one text under such a setting, with Llama 2's
vocabulary:

    setting            a row of SETTINGS
    text | golden      special tokens spelt out | line of templates.jsonl, by its template
    ids                of the text; with "bos" one is put in front, which is not in the text
    by                 which tokenizers gave these ids: 4 slow, 4 fast, 5

--write under transformers 4 begins the file; under 5 it adds to `by`. Without --write the ids are
made again and compared with the file. Where versions differ (a text that begins with a space), the
file has the ids that most of them give, and lorac gives these.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import command_line

WRITE = command_line.write_flag(__doc__, "tests/golden/segments.jsonl")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import transformers

GOLDEN = Path("tests/golden/segments.jsonl")
TEMPLATES = Path("tests/golden/templates.jsonl")
DATA = Path(os.environ.get("LORAC_TEST_DATA") or "../shared/data")
MODEL = DATA / "llama2-tokenizer" / "tokenizer.model"
VERSION = transformers.__version__.split(".")[0]

ADDED = [
    *(
        {"content": name, "special": True}
        for name in (
            "<|im_start|>",
            "<|im_end|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|prompter|>",
            "<|assistant|>",
            "<|system|>",
            "<|begin_of_text|>",
        )
    ),
    {"content": "<|both|>", "special": True, "lstrip": True, "rstrip": True},
    {"content": "[TOOL]", "special": False},
    {"content": "[LEFT]", "special": False, "lstrip": True},
    {"content": "[RIGHT]", "special": False, "rstrip": True},
]
FLAGS = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
OWN = [{"content": t, "special": True} for t in ("<unk>", "<s>", "</s>")]
NAMES = [a["content"] for a in OWN + ADDED]

REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
PREPEND = {"type": "Prepend", "prepend": "\u2581"}


def metaspace(scheme: str) -> dict:
    return {
        "type": "Metaspace",
        "replacement": "\u2581",
        "prepend_scheme": scheme,
        "split": False,
    }


# tokenizer_config.json of a bare tokenizer.model; (normalizer, pre_tokenizer) of a tokenizer.json
SETTINGS: dict[str, dict | tuple] = {
    "legacy false": {"legacy": False},
    "legacy true": {"legacy": True},
    "legacy false, no prefix": {"legacy": False, "add_prefix_space": False},
    "first": (None, metaspace("first")),
    "always": (None, metaspace("always")),
    "never": (None, metaspace("never")),
    "prepend": ({"type": "Sequence", "normalizers": [PREPEND, REPLACE]}, None),
    "replace": ({"type": "Sequence", "normalizers": [REPLACE]}, None),
}
AFTER_EACH = ("legacy true", "always", "prepend")  # where a space follows every special token

TEXTS = [
    "the cat",
    "<s>the cat",
    "<s> the cat",
    "<s>  the cat",
    "<s>\nthe cat",
    "<s>\n\n the cat</s>\n",
    "USER: Hi ASSISTANT: Hello</s>USER: And? ASSISTANT: Yes</s>",
    "<s>[INST] a [/INST] b </s><s>[INST] c [/INST]",
    "<s></s>the",
    "<s> </s> ",
    "</s>1</s>\u00e9</s>\u6f22</s>\U0001f999",
    "<s>\tx</s>\u3000y</s>\u2581z",
    "a</s>",
    "\nthe cat",
    "\u00a0a",
    "[TOOL]the cat",
    "the[TOOL]the cat",
    "the [TOOL] the",
    "<s>[TOOL]the</s>the",
    "[TOOL][TOOL]the",
    "the \t\n[LEFT] the",
    "the [RIGHT] \n\u3000the",
    "the[LEFT]the[RIGHT]the",
    "<s>the [LEFT] [RIGHT] the",
    "<s>the \n<|both|>\n\n the</s>the",
    "<|both|> the",
    "<|both|>\n<|both|>x",
    # a text that begins with a space: versions differ
    " the cat",
    "  the cat",
    "\u2581the cat",
    " <s>the",
]


def model_directory(folder: Path, config: dict) -> Path:
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(MODEL.read_bytes())
    decoder = {str(i): FLAGS | a for i, a in [*enumerate(OWN), *enumerate(ADDED, 32000)]}
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    more = {"added_tokens_decoder": decoder, "tokenizer_class": "LlamaTokenizer"}
    # transformers 4's slow class knows those that a text may begin with only from this list
    more["additional_special_tokens"] = [a["content"] for a in ADDED if a["special"]]
    (folder / "tokenizer_config.json").write_text(json.dumps(named | more | config))
    return folder


def json_file(folder: Path, base: dict, parts: tuple) -> Path:
    folder.mkdir(parents=True)
    numbered = [*enumerate(OWN), *enumerate(ADDED, 32000)]
    added = [{"id": i} | FLAGS | a for i, a in numbered]
    around = {"normalizer": parts[0], "pre_tokenizer": parts[1], "post_processor": None}
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(base | around | {"added_tokens": added}))
    return path


def model_json() -> dict:
    """The model of a tokenizer.json as transformers 4 makes it; version 5 lists other merges."""
    import sentencepiece

    sp = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
    pieces = [sp.id_to_piece(i) for i in range(sp.vocab_size())]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        cuts = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        known = [(vocab[a], vocab[b]) for a, b in cuts if a in vocab and b in vocab]
        merges += [(sp.get_score(i), pieces[a], pieces[b]) for a, b in sorted(known)]
    merges.sort(key=lambda m: (m[0], len(m[1]), len(m[2])), reverse=True)
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"byte_fallback": True, "vocab": vocab, "merges": [f"{a} {b}" for _, a, b in merges]}
    return {"version": "1.0", "truncation": None, "padding": None, "decoder": None, "model": model}


def oracles(folder: Path) -> dict[str, dict[str, object]]:
    """Setting to (name to tokenizer)."""
    out: dict[str, dict[str, object]] = {}
    base = model_json()
    for setting, how in SETTINGS.items():
        at = folder / setting.replace(" ", "-")
        if isinstance(how, dict):
            where = model_directory(at, how)
            if VERSION == "4":
                slow = transformers.LlamaTokenizer.from_pretrained(where)
                fast = transformers.LlamaTokenizerFast.from_pretrained(where)
                out[setting] = {"4 fast": fast, "4 slow": slow}
            else:
                fast = transformers.LlamaTokenizer.from_pretrained(where)
                out[setting] = {VERSION: fast}
            continue
        path = json_file(at, base, how)
        plain = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
        out[setting] = {"4 fast" if VERSION == "4" else VERSION: plain}
    return out


def spelt(golden: dict, setting: str) -> str:
    """What the template writes, as one text. Mistral's programs write a space in front of each run,
    which is SentencePiece's own where that puts one."""
    out = ""
    special = True
    own = golden["template"] == "mistral" and setting in AFTER_EACH
    for text, kind in golden["pieces"]:
        was, special = special, kind.endswith("special")
        if special:
            out += {"bos": "<s>", "eos": "</s>"}.get(text, text)
        else:
            out += text[1:] if own and was and text[0] == " " else text
    return out


def rows() -> list[dict]:
    out = [{"setting": s, "text": t} for s in SETTINGS for t in TEXTS]
    chosen: dict[str, int] = {}
    for line, text in enumerate(TEMPLATES.read_text().splitlines()):
        golden = json.loads(text)
        plain = "".join(t for t, kind in golden["pieces"] if not kind.endswith("special"))
        special = {t for t, kind in golden["pieces"] if kind.endswith("special")}
        if (
            special - {"bos", "eos", *NAMES}
            or any(name in plain for name in NAMES)
            or sum(map(len, map(str, golden["messages"]))) > 240
        ):
            continue
        count = chosen[golden["template"]] = chosen.get(golden["template"], 0) + 1
        if count > 3:
            continue
        bos = golden["pieces"][0][0] not in ("bos", "<|begin_of_text|>")
        for setting in SETTINGS if count == 1 else ("legacy false", "first"):
            row = {"setting": setting, "golden": line + 1, "text": spelt(golden, setting)}
            out.append(row | ({"bos": True} if bos else {}))
    return out


def make(folder: Path) -> list[dict]:
    made = oracles(folder)
    out = []
    for row in rows():
        by: dict[tuple, list[str]] = {}
        for name, tokenizer in made[row["setting"]].items():
            ids = tokenizer.encode(row["text"], add_special_tokens=False)
            by.setdefault(tuple(ids), []).append(name)
        if "golden" in row:
            del row["text"]
        out.append(row | {"made": by})
    return out


def main() -> None:
    if not MODEL.exists():
        print(f"- texts between special tokens: {MODEL} is not there")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
    known = GOLDEN.read_text().splitlines() if GOLDEN.exists() else []
    old = [json.loads(line) for line in known]
    if WRITE and VERSION == "4":
        old = []
    out = []
    wrong = 0
    for i, row in enumerate(made):
        by = row.pop("made")
        ids = old[i]["ids"] if old else list(next(iter(by)))
        agree = old[i]["by"] if old else []
        for other, names in by.items():
            if list(other) == ids:
                agree += [n for n in names if n not in agree]
            else:
                if WRITE:
                    print(f"{names} differs: {row} {list(other)}, wanted {ids}")
                wrong += any(n in agree for n in names)
        out.append(row | {"ids": ids, "by": agree})
    if WRITE:
        GOLDEN.write_text("".join(json.dumps(r) + "\n" for r in out))
    mark = "\u2717" if wrong else "\u2713"
    print(f"{mark} {len(out)} texts between special tokens, {wrong} not as they were")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
