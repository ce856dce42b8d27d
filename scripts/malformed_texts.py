"""Malformed tokenizers, training records, configurations, adapters and checkpoints."""

import gzip
import hashlib
import json
import struct
from pathlib import Path

import malformed as m
from malformed import ACCEPTED, USAGE, Case, Kind
from malformed_models import LFS, nested

EVAL_ADAPTER = ["eval", "--model", "{base}/model", "--data", "{base}/batch.jsonl"]
EVAL_ADAPTER += ["--format", "tokens", "--adapter", "{}"]


# ---- tokenizer.model -----------------------------------------------------------------------------


def spm() -> Kind:
    name = "tokenizer.model"
    kind = Kind("spm", ["tokenize", "--model", "{}/" + name, "hello"], name, fuzz={"spm": [name]})
    pieces = m.spm_pieces()
    whole = m.spm_model()

    def changed(i: int, piece: tuple) -> bytes:
        return m.spm_model([piece if k == i else p for k, p in enumerate(pieces)])

    long = 40000
    for label, file, says in [
        ("empty file", b"", "no pieces"),
        ("LFS pointer", LFS, "git lfs pull"),
        ("tiktoken's format", b"IQ== 0\nIg== 1\n", "tiktoken"),
        ("not a protobuf", b"\xff" * 40, "byte 0"),
        ("field of 2^64-1 bytes", b"\x0a" + b"\xff" * 9 + b"\x01", "byte 0"),
        ("length above the file", b"\x0a\x7f", "byte 0"),
        ("field 0", b"\x02\x00", "byte 0"),
        ("group", b"\x0b\x0c", "byte 0"),
        ("varint of eleven bytes", b"\x08" + b"\x80" * 10 + b"\x01", "byte 0"),
        ("cut in a piece", whole[:500], "byte"),
        ("last byte missing", whole[:-1], "byte"),
        ("pieces of another wire type", m.field_int(1, 1) + whole, "a part of the model"),
        ("text of another wire type", m.field_bytes(1, m.field_int(1, 1)) + whole, "piece: found an integer"),
        ("score of another wire type", m.field_bytes(1, m.field_bytes(1, b"x") + m.field_int(2, 1)), "score: found"),
        ("empty piece", changed(260, ("", 0.0, 1)), "no text"),
        ("piece of invalid UTF-8", changed(260, (b"\xc3", 0.0, 1)), "UTF-8"),
        ("piece with a surrogate", changed(260, (b"\xed\xa0\x80", 0.0, 1)), "UTF-8"),
        ("piece of 100 kB", changed(260, ("a" * 100000, 0.0, 1)), "wanted at most"),
        ("type 0", changed(260, ("x1", 0.0, 0)), "type 0"),
        ("type 2^63", m.field_bytes(1, m.field_bytes(1, b"x") + m.field_int(3, 2**63)), "type 9223372036854775808"),
        ("two unknown pieces", changed(260, ("x1", 0.0, 2)), "second unknown"),
        ("no unknown piece", changed(0, ("<unk>", 0.0, 1)), "none of type UNKNOWN"),
        ("a piece twice", changed(260, ("he", 0.0, 1)), "twice"),
        ("score NaN", changed(260, ("x1", float("nan"), 1)), "score"),
        ("score infinite", changed(260, ("x1", float("inf"), 1)), "score"),
        ("byte piece <0x-1>", changed(3, ("<0x-1>", 0.0, 6)), "<0x-1>"),
        ("byte piece <0x1000>", changed(3, ("<0x1000>", 0.0, 6)), "<0x1000>"),
        ("byte piece missing", changed(3, ("x1", 0.0, 1)), "byte pieces"),
        ("byte pieces, but no fallback", m.spm_model(trainer=m.field_int(3, 2)), "byte pieces"),
        ("unigram", m.spm_model(trainer=m.field_int(3, 1)), "UNIGRAM"),
        ("model type 0", m.spm_model(trainer=m.field_int(3, 0)), "unknown type"),
        ("a line that is not tiktoken's", b"\xc3\xa9 0\n", "byte 0"),
        ("no trainer", m.spm_model(trainer=b""), "UNIGRAM"),
        ("model type 99", m.spm_model(trainer=m.field_int(3, 99)), "unknown type"),
        ("charsmap", m.spm_model(normalizer=m.field_bytes(2, bytes(8))), "precompiled_charsmap"),
        ("charsmap shorter than its header", m.spm_model(normalizer=m.field_bytes(2, b"\xff\xff")), "precompiled_charsmap"),
        ("denormalizer", m.spm_model(more=m.field_bytes(5, m.field_bytes(2, b"\xff"))), "precompiled_charsmap"),
        ("spaces not escaped", m.spm_model(normalizer=m.field_int(5, 0)), "escape_whitespaces"),
        ("space as suffix", m.spm_model(trainer=m.TRAINER + m.field_int(24, 1)), "treat_whitespace_as_suffix"),
    ]:  # fmt: skip
        kind.cases.append(Case(label, {name: file}, says))
    control = [*pieces, ("\u0000x", 0.0, 1)]
    for label, file in [
        ("as it should be", whole),
        ("unknown fields", whole + m.field_int(900, 1) + m.field_bytes(901, b"x" * long)),
        ("denormalizer without rules", whole + m.field_bytes(5, m.field_int(3, 1))),
        ("test data", whole + m.field_bytes(4, b"")),
        ("<s> an ordinary piece", changed(1, ("<s>", 0.0, 1))),
        ("normalizer twice", whole + m.field_bytes(3, m.field_int(3, 1))),
        ("piece with a NUL", m.spm_model(control)),
        ("a control piece more", m.spm_model([*pieces, ("<pad>", 0.0, 3)])),
        ("a user-defined piece", m.spm_model([*pieces, ("[INST]", 0.0, 4)])),
    ]:
        kind.cases.append(Case(label, {name: file}, code=ACCEPTED))
    return kind


# ---- tokenizer.json ------------------------------------------------------------------------------


def hf_changed(*path_and_value: object) -> bytes:
    """The base tokenizer with the member at a path set, or, with ..., left out."""
    *path, last, value = path_and_value
    root = m.hf_tokenizer()
    at = root
    for step in path:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return m.text(root)


def with_vocab(**pieces: object) -> bytes:
    return hf_changed("model", "vocab", m.hf_tokenizer()["model"]["vocab"] | pieces)


def byte_level(pre: object, without: str = "", **model: object) -> bytes:
    plain = [c for c in range(256) if 33 <= c < 127 or c >= 161 and c != 173]
    rest = [c for c in range(256) if c not in plain]
    letters = [chr(c) for c in plain] + [chr(256 + i) for i in range(len(rest))]
    vocab = {c: i for i, c in enumerate(c for c in letters if c != without)}
    both = {"type": "BPE", "vocab": vocab, "merges": []} | model
    return m.text({"added_tokens": [], "pre_tokenizer": pre, "model": both})


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"}


def hf_plain(pre: object) -> bytes:
    return m.text(m.hf_tokenizer() | {"normalizer": None, "pre_tokenizer": pre})


def metaspace(**changes: object) -> bytes:
    return hf_plain(METASPACE | changes)


LLAMA3 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)


def llama3_split(**changes: object) -> bytes:
    split = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
    parts = [split | changes, BYTE_LEVEL | {"use_regex": False}]
    return byte_level({"type": "Sequence", "pretokenizers": parts})


def added(**changes: object) -> bytes:
    one = {"id": 289, "content": "[X]", "special": True} | changes
    root = m.hf_tokenizer()
    root["added_tokens"].append({k: v for k, v in one.items() if v is not ...})
    return m.text(root)


def hf() -> Kind:
    name = "tokenizer.json"
    kind = Kind("hf", ["tokenize", "--model", "{}/" + name, "hello"], name, fuzz={"hf": [name]})
    strip = {"special": False, "lstrip": True}
    for label, file, says in [
        ("empty file", b"", "not valid JSON"),
        ("an array", b"[]", "model: found nothing"),
        ("cut", m.text(m.hf_tokenizer())[:-2], "not valid JSON"),
        ("LFS pointer", LFS, "git lfs pull"),
        ("nested deep", b'{"model":' + nested(5000) + b"}", "nested deeper"),
        ("six million values", b'{"model":[' + b"[]," * 6000000 + b"0]}", "too many values"),
        ("a piece twice", m.text(m.hf_tokenizer()).replace(b'"he": 259', b'"he": 259, "he": 259'), "duplicate"),
        ("model missing", hf_changed("model", ...), "model: found nothing"),
        ("model a string", hf_changed("model", "BPE"), "model: found a string"),
        ("Unigram", hf_changed("model", "type", "Unigram"), '"Unigram"'),
        ("type with a NUL", hf_changed("model", "type", "BPE\0x"), "type"),
        ("dropout", hf_changed("model", "dropout", 0.1), "dropout"),
        ("prefix of subwords", hf_changed("model", "continuing_subword_prefix", "##"), "##"),
        ("suffix of words", hf_changed("model", "end_of_word_suffix", "</w>"), "</w>"),
        ("fallback a string", hf_changed("model", "byte_fallback", "yes"), "byte_fallback"),
        ("no fallback", hf_changed("model", "byte_fallback", False), "byte_fallback"),
        ("ignore_merges", hf_changed("model", "ignore_merges", True), "ignore_merges"),
        ("vocabulary missing", hf_changed("model", "vocab", ...), "model.vocab"),
        ("vocabulary an array", hf_changed("model", "vocab", []), "model.vocab"),
        ("vocabulary empty", hf_changed("model", "vocab", {}), ""),
        ("id negative", with_vocab(he=-1), "an id of 0 or more"),
        ("id a string", with_vocab(he="259"), "an id of 0 or more"),
        ("id a real", with_vocab(he=259.0), "an id of 0 or more"),
        ("id 2^62", with_vocab(he=2**62), "without gaps"),
        ("id with a gap", with_vocab(new=400), "without gaps"),
        ("id twice", with_vocab(he=260), "both"),
        ("piece of 100 kB", with_vocab(**{"a" * 100000: 289}), "wanted at most"),
        ("byte pieces missing", hf_changed("model", "vocab", {"<unk>": 0, "h": 1, "e": 2, "he": 3, "<s>": 4, "</s>": 5}), ""),
        ("merges missing", hf_changed("model", "merges", ...), "model.merges"),
        ("merges an object", hf_changed("model", "merges", {}), "model.merges"),
        ("merge without a space", hf_changed("model", "merges", ["he"]), "merges[0]"),
        ("merge with two spaces", hf_changed("model", "merges", ["h e l"]), "merges[0]"),
        ("merge of a piece that is none", hf_changed("model", "merges", ["h \u00e9"]), "merges[0]"),
        ("merge that gives no piece", hf_changed("model", "merges", ["h l"]), "not a piece"),
        ("merge of one", hf_changed("model", "merges", [["h"]]), "merges[0]"),
        ("merge of a piece and a number", hf_changed("model", "merges", [["h", 1]]), "merges[0]"),
        ("merge of numbers", hf_changed("model", "merges", [[1, 2]]), "merges[0]"),
        ("merge a number", hf_changed("model", "merges", [1]), "merges[0]"),
        ("unknown token that is none", hf_changed("model", "unk_token", "<none>"), "<none>"),
        ("unknown token a number", hf_changed("model", "unk_token", 0), "unk_token"),
        ("added tokens an object", hf_changed("added_tokens", {}), "added_tokens"),
        ("added token without content", added(content=...), "added_tokens[3]"),
        ("added token without an id", added(id=...), "no id"),
        ("added token with another id", added(content="he"), "in model.vocab"),
        ("added token with a gap", added(id=1000), "without gaps"),
        ("added token's id negative", added(id=-1), "id: found"),
        ("added token 2^63", added(id=2**63), "id: found"),
        ("added token of single words", added(special=False, single_word=True), "single_word"),
        ("added token special a number", added(special=1), "special"),
        ("added token of 10 kB", added(content="x" * 10000, special=False), ""),
        ("another normaliser", hf_changed("normalizer", {"type": "NFKC"}), '"NFKC"'),
        ("normaliser without a type", hf_changed("normalizer", {}), "without a type"),
        ("normaliser a string", hf_changed("normalizer", "NFC"), "without a type"),
        ("normaliser one more", hf_changed("normalizer", "normalizers", [*m.hf_tokenizer()["normalizer"]["normalizers"], {"type": "Lowercase"}]), "Lowercase"),
        ("sequence without parts", hf_changed("normalizer", {"type": "Sequence"}), "normalizers"),
        ("sequence in a sequence", hf_changed("normalizer", {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]}), "Sequence"),
        ("precompiled charsmap", hf_changed("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "Precompiled"),
        ("normaliser's part without a type", hf_changed("normalizer", "normalizers", [{}]), "Prepend"),
        ("prepends another character", hf_changed("normalizer", "normalizers", 0, "prepend", "_"), "Prepend"),
        ("prepends with a NUL", hf_changed("normalizer", "normalizers", 0, "prepend", "\u2581\0"), "Prepend"),
        ("prepends a number", hf_changed("normalizer", "normalizers", 0, "prepend", 1), "Prepend"),
        ("replaces by another", hf_changed("normalizer", "normalizers", 1, "content", "_"), "Replace"),
        ("replaces another", hf_changed("normalizer", "normalizers", 1, "pattern", {"Regex": " "}), "Replace"),
        ("decoder sequence without parts", hf_changed("decoder", {"type": "Sequence"}), "decoders"),
        ("Metaspace after a normaliser", hf_changed("pre_tokenizer", {"type": "Metaspace"}), "Metaspace"),
        ("Metaspace by another character", metaspace(replacement="_"), "U+2581"),
        ("Metaspace of an unknown scheme", metaspace(prepend_scheme="last"), '"last"'),
        ("Metaspace that contradicts itself", metaspace(add_prefix_space=False), "add_prefix_space"),
        ("Metaspace and another", hf_plain({"type": "Sequence", "pretokenizers": [METASPACE, METASPACE]}), "Metaspace"),
        ("split of another behaviour", llama3_split(behavior="Removed"), "Split"),
        ("split inverted", llama3_split(invert=True), "Split"),
        ("split by a string", llama3_split(pattern={"String": " "}), "no Regex"),
        ("digits by groups", byte_level({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, BYTE_LEVEL]}), "Digits"),
        ("ByteLevel with an unknown token and a byte missing", byte_level(BYTE_LEVEL, unk_token="!", without="\u0100"), "unk_token"),
        ("another pre-tokeniser", hf_changed("pre_tokenizer", {"type": "Whitespace"}), "Whitespace"),
        ("another decoder", hf_changed("decoder", {"type": "WordPiece"}), "WordPiece"),
        ("another post-processor", hf_changed("post_processor", {"type": "BertProcessing"}), "BertProcessing"),
        ("post-processor's token that is none", hf_changed("post_processor", {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]"}}]}), "[CLS]"),
        ("split by another pattern", byte_level({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}, BYTE_LEVEL | {"use_regex": False}]}), "(a+)+$"),
        ("ByteLevel with a space in front", byte_level(BYTE_LEVEL | {"add_prefix_space": True}), "add_prefix_space"),
        ("ByteLevel with byte fallback", byte_level(BYTE_LEVEL, byte_fallback=True), "byte_fallback"),
    ]:  # fmt: skip
        kind.cases.append(Case(label, {name: file}, says))
    bos = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]}
    for label, file in [
        ("as it should be", m.text(m.hf_tokenizer())),
        ("merges as pairs", hf_changed("model", "merges", [["h", "e"], ["l", "l"]])),
        ("Metaspace", m.text(m.hf_tokenizer() | {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}})),
        ("bos from the post-processor", hf_changed("post_processor", bos)),
        ("ByteLevel", byte_level(BYTE_LEVEL)),
        ("an added token", added(id=289)),
        ("an added token that strips", added(**strip)),
        ("an added token with a NUL", added(id=289, content="a\0b")),
        ("byte order mark", b"\xef\xbb\xbf" + m.text(m.hf_tokenizer())),
        ("ByteLevel with an unknown token", byte_level(BYTE_LEVEL, unk_token="!")),
        ("ByteLevel at the end", hf_changed("post_processor", {"type": "ByteLevel"})),
        ("post-processor without bos", hf_changed("post_processor", {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]})),
        ("added tokens null", hf_changed("added_tokens", None)),
        ("Llama 3's split", llama3_split()),
        ("members of later versions", m.text(m.hf_tokenizer() | {"later": {"x": [1]}})),
    ]:  # fmt: skip
        kind.cases.append(Case(label, {name: file}, code=ACCEPTED))
    return kind


def sidecars() -> Kind:
    kind = Kind(
        "sidecars", ["tokenize", "--model", "{}", "--bos", "hello"], "tokenizer_config.json"
    )
    kind.fuzz = {"hf": ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"]}  # fmt: skip
    base = m.text(m.hf_tokenizer())

    def add(label: str, name: str, file: object, says: str = "", code: int = 1) -> None:
        file = file if isinstance(file, bytes) else m.text(file)
        kind.cases.append(Case(label, {"tokenizer.json": base, name: file}, says, code, name))

    one, two = "tokenizer_config.json", "special_tokens_map.json"
    three, four = "added_tokens.json", "generation_config.json"
    nul = {"content": "<s>\0"}
    for row in [
        ("configuration not JSON", one, b"{", "not valid JSON"),
        ("configuration an array", one, b"[]", "found an array"),
        ("add_bos_token a string", one, {"add_bos_token": "true"}, "add_bos_token"),
        ("decoder's key no number", one, {"added_tokens_decoder": {"x": {"content": "a"}}}, '"x"'),
        (
            "decoder's id 2^70",
            one,
            {"added_tokens_decoder": {str(2**70): {"content": "a"}}},
            "added_tokens_decoder",
        ),
        (
            "decoder's id with a gap",
            one,
            {"added_tokens_decoder": {"5000": {"content": "a"}}},
            "5000",
        ),
        ("decoder's id taken", one, {"added_tokens_decoder": {"5": {"content": "[X]"}}}, "5"),
        (
            "decoder's entry a string",
            one,
            {"added_tokens_decoder": {"289": "[X]"}},
            "added_tokens_decoder",
        ),
        ("map an array", two, b"[]", "found an array"),
        ("added tokens an array", three, b"[]", "found an array"),
        ("added token's id a string", three, {"[X]": "289"}, '"[X]"'),
        ("added token's id negative", three, {"[X]": -1}, '"[X]"'),
        ("added token with a gap", three, {"[X]": 5000}, "5000"),
        ("eos past the vocabulary", four, {"eos_token_id": 289}, "eos_token_id"),
        ("eos negative", four, {"eos_token_id": -1}, "eos_token_id"),
        ("eos a string", four, {"eos_token_id": "</s>"}, "eos_token_id"),
        ("eos of 100 ids", four, {"eos_token_id": [2] * 100}, "wanted at most 64"),
        ("eos a list of lists", four, {"eos_token_id": [[2]]}, "eos_token_id"),
        ("bos past the vocabulary", four, {"bos_token_id": 2**40}, "bos_token_id"),
    ]:
        add(*row)
    for label, value in [("that is none", "<none>"), ("with a NUL", nul)]:
        add("bos_token " + label, one, {"bos_token": value}, "bos_token")
        kind.cases[
            -1
        ].about = "bos_token"  # either of two files may name it: the directory is named
    for row in [
        ("as it should be", one, {"bos_token": "<s>", "eos_token": {"content": "</s>"}}),
        ("eos null", one, {"eos_token": None}),
        ("templates by name", one, {"chat_template": [{"name": "a", "template": "x"}, {"name": "default", "template": "y"}, {}]}),
        ("templates without the default", one, {"chat_template": [{"name": "a", "template": "x"}, 1]}),
        ("template in a file of its own", "chat_template.jinja", b"{{ x }}"),
        ("template of nothing", "chat_template.jinja", b""),
        ("added tokens", three, {"[X]": 289, "[Y]": 290}),
        ("eos a list", four, {"eos_token_id": [2, 1], "bos_token_id": 1}),
        ("chat template that is a program", one, {"chat_template": "{{ ''.__class__ }}"}),
        ("model_max_length 10^30", one, b'{"model_max_length": 1000000000000000019884624838656}'),
        ("auto_map", one, {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}, "tokenizer_class": "evil"}),
        ("byte order mark", four, b"\xef\xbb\xbf{}"),
    ]:  # fmt: skip
        add(*row, code=ACCEPTED)
    unnamed = {
        "tokenizer.json": hf_changed("model", "unk_token", None),
        one: m.text({"unk_token": "<unk>"}),
    }
    kind.cases.append(Case("unknown token named beside", unnamed, code=ACCEPTED))
    for label, beside in [
        ("legacy false", {"legacy": False}),
        ("no space in front", {"add_prefix_space": False}),
        ("decoder of ordinary pieces", {"added_tokens_decoder": {"259": {"content": "he"}}}),
    ]:
        files = {"tokenizer.model": m.spm_model(), one: m.text(beside)}
        kind.cases.append(Case("tokenizer.model, " + label, files, code=ACCEPTED))
    return kind


# ---- training records ----------------------------------------------------------------------------


SECRET = b"the door code is 4711"  # no message may show what records say


def zstandard(text: bytes, window_log: int) -> bytes:
    """One raw block in a frame that declares a window of that size (RFC 8878, 3.1.1)."""
    head = b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3])
    return head + (len(text) << 3 | 1).to_bytes(3, "little") + text


def records() -> Kind:
    name = "data.jsonl"
    args = ["eval", "--model", "{base}/model", "--template", "alpaca", "--data", "{}/" + name]
    kind = Kind("records", args, name, fuzz={"records": [name]})
    tokens = [*args, "--format", "tokens"]
    good = b'{"instruction": "say he", "output": "he"}\n'

    def add(
        label: str, file: bytes, says: str = "", code: int = 1, args: list | None = None
    ) -> None:
        kind.cases.append(Case(label, {name: file}, says, code, args=args))

    csv = b"instruction,output\nsay he,he\n"

    def chat(*messages: object) -> bytes:
        return m.text({"messages": list(messages)}) + b"\n"

    user, answer = {"role": "user", "content": "he"}, {"role": "assistant", "content": "he"}
    for label, file, says in [
        ("empty file", b"", "no records"),
        ("only blank lines", b"\n \r\n\n", "no records"),
        ("empty array", b" [ ] ", "no records"),
        ("not JSON", good + b"{\n", ":2: "),
        ("JSON cut", good + good[:-5], ":2: "),
        ("text cut", good + b'{"instruction": "%s' % SECRET, ":2: "),
        ("text without quotes", good + b'{"instruction": %s}\n' % SECRET, ":2: "),
        ("text after a record's end", good[:-1] + SECRET + b"\n", ":1: "),
        ("text for an array", good + b'{"messages": "%s"}\n' % SECRET, ""),
        ("text with invalid UTF-8", good + b'{"instruction": "%s\xff"}\n' % SECRET, ":2: "),
        ("text with a lone surrogate", good + b'{"instruction": "%s\\udc00"}\n' % SECRET, ":2: "),
        ("text that is not an object", good + b'"%s"\n' % SECRET, ":2: "),
        ("text as a role", chat(user, answer) + chat({"role": SECRET.decode() * 3, "content": "a"}), ":2: "),
        ("text after a record", good + good[:-1] + b" x\n", ":2: "),
        ("two records on a line", good + good[:-1] + good, ":2: "),
        ("a number", good + b"7\n", ":2: "),
        ("an array in a line", good + b'["a"]\n', ":2: "),
        ("a string", good + b'"a"\n', ":2: "),
        ("a key twice", good + b'{"instruction":"a","instruction":"b","output":"c"}\n', ":2: "),
        ("invalid UTF-8", good + b'{"instruction":"\xff","output":"c"}\n', ":2: "),
        ("overlong UTF-8", good + b'{"instruction":"\xc0\xaf","output":"c"}\n', ":2: "),
        ("lone surrogate", good + b'{"instruction":"\\ud83d","output":"c"}\n', ":2: "),
        ("NaN", good + b'{"instruction":NaN,"output":"c"}\n', ":2: "),
        ("raw NUL", good + b'{"instruction":"\x00","output":"c"}\n', ":2: "),
        ("raw control character", good + b'{"instruction":"\x01","output":"c"}\n', ":2: "),
        ("nested 100,000 deep", good + b'{"instruction":' + nested(100000) + b"}\n", ":2: "),
        ("one million values", good + b'{"instruction":[' + b"[]," * 1000000 + b"0]}\n", ":2: "),
        ("comment", b"// comment\n" + good, ":1: "),
        ("trailing comma", good + b'{"instruction":"a","output":"c",}\n', ":2: "),
        ("key missing", good + b'{"instruction": "a"}\n', "output"),
        ("key misspelt", good + b'{"instruction": "a", "outptu": "b"}\n', "{prompt: instruction, completion: outptu}"),
        ("wrong type", good + b'{"instruction": [3], "output": "a"}\n', "instruction: found an array"),
        ("two answers", good + b'{"instruction": "a", "output": "%s", "answer": "b"}\n' % SECRET, "found an answer that differs"),
        ("a list of answers", good + b'{"instruction": "a", "output": ["%s", "b"]}\n' % SECRET, "list of 2 answers"),
        ("an answer that is not a choice", good + b'{"question": "a", "choices": ["b"], "answer": "%s"}\n' % SECRET, "something other than the only choice"),
        ("an index past the choices", good + b'{"question": "a", "choices": ["b"], "answer": 1}\n', "something other than the only choice"),
        ("choices without end", good + b'{"question": "a", "choices": [%s"b"], "answer": 1}\n' % (b'"b",' * 100000), "more than 26"),
        ("choices a number", good + b'{"question": "a", "choices": 7, "answer": 1}\n', "choices: found an integer"),
        ("half a weight", chat(user, answer) + chat(user, answer | {"weight": 0.5}), "weight: found a number"),
        ("loss against train", chat(user, answer) + chat(user, answer | {"loss": 1, "train": False}), "the opposite of train"),
        ("text as a weight", chat(user, answer) + chat(user, answer | {"weight": SECRET.decode()}), "weight: found a string"),
        ("a part left out", chat(user, answer) + chat(user, answer | {"training_detail": [{"begin_offset": 0, "end_offset": 0, "train": False}]}), "parts of a message"),
        ("null", good + b'{"instruction": null, "output": "a"}\n', "instruction: found null"),
        ("unknown format", b'{"a": 1, "b": 2}\n', ":1: "),
        ("array not closed", b'[{"instruction": "a", "output": "b"}', ""),
        ("array with nothing between commas", b'[{"instruction":"a","output":"b"},,]', ""),
        ("array with text after it", b'[{"instruction":"a","output":"b"}] x', ""),
        ("unknown role", chat(user, answer) + chat({"role": "wizard", "content": "a"}, answer), ":2: "),
        ("role missing", chat(user, answer) + chat({"content": "a"}, answer), ":2: "),
        ("content missing", chat(user, answer) + chat(user, {"role": "assistant"}), ":2: "),
        ("two user turns in a row", chat(user, answer) + chat(user, user, answer), ""),
        ("no messages", chat(user, answer) + chat(), ":2: "),
        ("message a string", chat(user, answer) + chat("he"), ":2: "),
        ("UTF-16", '{"instruction": "a", "output": "b"}'.encode("utf-16"), "UTF-16"),
        ("Parquet", b"PAR1" + bytes(60), "Parquet"),
        ("zip", b"PK\x03\x04" + bytes(60), "zip"),
        ("Excel", b"PK\x03\x04" + bytes(30) + b"xl/workbook.xml" + bytes(30), "save the sheet as CSV"),
        ("Arrow stream", b"\xff\xff\xff\xff" + bytes(60), "Arrow stream"),
        ("pickle", b"\x80\x04" + bytes(60), "pickle"),
        ("Latin-1", '{"instruction": "\xe9", "output": "b"}\n'.encode("latin-1"), "iconv -f LATIN1"),
        ("UTF-16 without a mark", '{"instruction": "a", "output": "b"}'.encode("utf-16-le"), "UTF-16LE"),
        ("CSV with a field more", csv + b"a,b,c\n", ":3: "),
        ("CSV with a field less", csv + b"a\n", ":3: "),
        ("CSV with a quote inside", csv + b'a,b"%s"\n' % SECRET, ":3: "),
        ("CSV with text after a quote", csv + b'a,"b"%s\n' % SECRET, ":3: "),
        ("CSV with an open quote", csv + b'a,"%s\nc,d\n' % SECRET, ":3: "),
        ("CSV with a NUL", csv + b"a,\x00\n", ":3: "),
        ("CSV with a carriage return", csv + b"a,%s\rc,d\n" % SECRET, ":3: "),
        ("CSV with invalid UTF-8", csv + b"a,%s\xff\n" % SECRET, ":3: "),
        ("CSV with a column twice", b"instruction,output,output\na,b,c\n", ":1: "),
        ("CSV with a column without a name", b",instruction,output\n0,a,b\n", ":1: "),
        ("CSV without records", b"instruction,output\n", "no records"),
        ("gzip of CSV with an open quote", gzip.compress(csv + b'a,"b', mtime=0), ":3: "),
        ("gzip cut", gzip.compress(good * 9, mtime=0)[:-9], "ends early"),
        ("gzip with another checksum", gzip.compress(good * 9, mtime=0)[:-5] + b"12345", "damaged"),
        ("gzip with text after it", gzip.compress(good, mtime=0) + b"text", "damaged"),
        ("gzip of nothing", gzip.compress(b"", mtime=0), "no records"),
        ("gzip's first bytes", b"\x1f\x8b", "ends early"),
        ("gzip that fills a disk", gzip.compress(bytes(160 << 20), 9, mtime=0), "64 MB"),
        ("gzip of something malformed", gzip.compress(good + b"{", mtime=0), ":2: "),
        ("Zstandard's first bytes", b"\x28\xb5\x2f\xfd", "ends early"),
        ("Zstandard of rubbish", b"\x28\xb5\x2f\xfd" + b"\xff" * 60, "damaged"),
        ("Zstandard that wants 256 MB", zstandard(good, 28), "more than 128 MB"),
    ]:  # fmt: skip
        add(label, file, says)
    for label, file, says in [
        ("ids a string", b'{"input_ids": "1 2"}\n', "input_ids"),
        ("ids empty", b'{"input_ids": []}\n', "input_ids"),
        ("id negative", b'{"input_ids": [1, -1]}\n', "input_ids[1]"),
        ("id 2^40", b'{"input_ids": [1, 1099511627776]}\n', "input_ids[1]"),
        ("id past the vocabulary", b'{"input_ids": [1, 300]}\n', "300"),
        ("id a real", b'{"input_ids": [1, 2.0]}\n', "input_ids[1]"),
        ("labels of another length", b'{"input_ids": [1, 2], "labels": [1]}\n', "labels"),
        ("label another id", b'{"input_ids": [1, 2], "labels": [1, 3]}\n', "labels[1]"),
        ("no label at all", b'{"input_ids": [1, 2], "labels": [-100, -100]}\n', ""),
    ]:
        add(label, file, says, args=tokens)
    kind.cases[-1].about = "data.train"  # of all its files together none is left
    for label, file in [
        ("as it should be", good),
        ("byte order mark", b"\xef\xbb\xbf" + good),
        ("line ends of Windows", good.replace(b"\n", b"\r\n") * 2),
        ("no last line end", good[:-1]),
        ("blank lines", b"\n\n" + good + b"\n   \n" + good),
        ("an array", b"[" + good + b"," + good + b"]"),
        ("gzip", gzip.compress(good, mtime=0)),
        ("Zstandard that wants 128 MB", zstandard(good, 27)),
        ("CSV", csv),
        ("CSV of a spreadsheet", b"\xef\xbb\xbf" + csv.replace(b",", b";").replace(b"\n", b"\r\n")),
        ("TSV with a line end in a field", csv.replace(b",", b"\t") + b'"a\nb"\the\n'),
        ("gzip of CSV", gzip.compress(csv, mtime=0)),
        ("gzip in two parts", gzip.compress(good, mtime=0) * 2),
        ("U+2028 inside a text", m.text({"instruction": "a\u2028b", "output": "he"}).replace(b"\\u2028", b"\xe2\x80\xa8")),
        ("NUL in a text", b'{"instruction": "a\\u0000b", "output": "he"}\n'),
        ("surrogate pair", b'{"instruction": "\\ud83d\\ude42", "output": "he"}\n'),
        ("control tokens in a text", b'{"instruction": "</s><s>[INST]", "output": "he"}\n'),
        ("more keys", b'{"instruction": "a", "output": "he", "id": 7, "x": [null]}\n'),
    ]:  # fmt: skip
        add(label, file, code=ACCEPTED)
    return kind


# ---- the configuration ---------------------------------------------------------------------------


def yaml() -> Kind:
    name = "config.yaml"
    kind = Kind("yaml", ["train", "{}/" + name], name, fuzz={"yaml": [name]})
    head = "model: {path: %s}\ndata: {train: %s, template: alpaca}\n"
    head = head % ("BASE/model", "BASE/data.jsonl")
    out = "output: {dir: OUT/run}\n"

    def add(label: str, tail: str | bytes, says: str, whole: bool = False) -> None:
        tail = tail if isinstance(tail, bytes) else tail.encode()
        file = tail if whole else (head + out).encode() + tail
        kind.cases.append(Case(label, {name: file}, says, USAGE))

    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    for label, tail, says in [
        ("unknown section", "trian: {seed: 1}\n", ":4: "),
        ("unknown key", "train: {sed: 1}\n", "seed"),
        ("a key of another trainer", "train: {gradient_accumulation_steps: 4}\n", "gradient_accumulation_steps"),
        ("a key twice", "train: {seed: 1, seed: 2}\n", ":4: "),
        ("a section twice", "train: {seed: 1}\ntrain: {seed: 2}\n", ":5: "),
        ("Cyrillic e in learning_rate", "train: {l\u0435arning_rate: 1e-4}\n", ":4: "),
        ("tab", "train:\n\tseed: 1\n", "tab"),
        ("anchor", "train: &a {seed: 1}\n", "anchor"),
        ("alias", "train: *a\n", "alias"),
        ("billion laughs", bomb, "anchor"),
        ("merge key", "train: {<<: {seed: 1}}\n", "merge key"),
        ("tag", "train: {seed: !!python/object:os.system 1}\n", "tag"),
        ("second document", "---\ntrain: {seed: 1}\n", "second document"),
        ("list as a key", "? [a]\n: 1\n", "as a key"),
        ("nested 1,000 deep", "train: " + "[" * 1000 + "\n", "deeper"),
        ("not closed", "train: {seed: 1\n", "not valid YAML"),
        ("invalid UTF-8", b"train: {seed: \xff}\n", "UTF-8"),
        ("NUL", b"train: {seed: \x00}\n", ":4: "),
        ("escaped NUL", 'train: {seed: "a\\0b"}\n', "NUL"),
        ("control character", b"train: {seed: \x01}\n", ":4: "),
        ("section a list", "train: [seed]\n", ":4: "),
        ("section a text", "train: seed\n", ":4: "),
        ("number with letters", "train: {learning_rate: 1e-4abc}\n", "1e-4abc"),
        ("number a word", "train: {learning_rate: fast}\n", "fast"),
        ("number not finite", "train: {learning_rate: .inf}\n", ".inf"),
        ("number NaN", "train: {learning_rate: nan}\n", "nan"),
        ("number above its range", "train: {learning_rate: 2}\n", "learning_rate"),
        ("number below its range", "adapter: {r: 0}\n", "adapter.r"),
        ("number of 400 digits", "train: {seed: " + "9" * 400 + "}\n", "train.seed"),
        ("octal", "train: {seed: 0o17}\n", "0o17"),
        ("hexadecimal", "train: {seed: 0x10}\n", "0x10"),
        ("sexagesimal", "train: {seed: 1:30}\n", "1:30"),
        ("Norway", "train: {shuffle: no}\n", "write false"),
        ("underscore in a number", "train: {seed: 1_000}\n", "1_000"),
        ("choice that is none", "train: {lr_scheduler_type: cosin}\n", "cosin"),
        ("module that is none", "adapter: {target_modules: [qproj]}\n", "qproj"),
        ("list of half a million", "adapter: {target_modules: [" + "a," * 500000 + "a]}\n", "more than 65536 items"),
        ("list of 70,000 lists", "adapter: {target_modules: [" + "[]," * 70000 + "a]}\n", "more than 65536 items"),
        ("no modules", "adapter: {target_modules: []}\n", "target_modules"),
        ("size without a unit", "train: {memory_budget: 16}\n", "memory_budget"),
        ("list for a number", "train: {seed: [1]}\n", "train.seed"),
        ("list for a real", "train: {learning_rate: [1]}\n", "learning_rate"),
        ("list for true", "train: {shuffle: [true]}\n", "shuffle"),
        ("list for a size", "train: {memory_budget: [1GiB]}\n", "memory_budget"),
        ("list for a time", "train: {save_steps: [1]}\n", "save_steps"),
        ("list for a choice", "train: {lr_scheduler_type: [cosine]}\n", "lr_scheduler_type"),
        ("section for a list", "adapter: {target_modules: {q_proj: 1}}\n", "target_modules"),
        ("modules in one word", "adapter: {target_modules: 'q_proj,v_proj'}\n", "target_modules"),
        ("binary", "train: {seed: 0b101}\n", "0b101"),
        ("hexadecimal in capitals", "train: {learning_rate: +0X1p3}\n", "0X1p3"),
        ("a zero that leads", "train: {seed: 007}\n", "007"),
        ("size negative", "train: {memory_budget: -5GiB}\n", "memory_budget"),
        ("size beyond any", "train: {memory_budget: 1e30TiB}\n", "memory_budget"),
        ("size of nothing", "train: {memory_budget: 0B}\n", "memory_budget"),
        ("quoted section", "train: ''\n", ":4: "),
        ("empty key", "train: {'': 1}\n", "empty key"),
        ("dotted key", "train.seed: 1\n", "train.seed"),
    ]:  # fmt: skip
        add(label, tail, says)
    for label, text, says, lines in [
        ("empty file", "", "model.path: missing", 4),
        ("only a comment", "# nothing\n", "model.path: missing", 4),
        ("a list", "- a\n", "a list", 1),
        ("a text", "a\n", "found a text", 1),
        ("UTF-16", "model: {}".encode("utf-16"), ":1: ", 1),
        ("larger than any", b"#" * (2 << 20), "too large", 1),
        ("data missing", "model: {path: x}\n", "data.train: missing", 3),
        ("path a list", "model: {path: [a]}\n", "model.path", 4),
        ("path empty", "model: {path: ''}\n", "model.path", 4),
        (
            "a hundred unknown keys",
            "".join(f"k{i}: 1\n" for i in range(150)),
            "153 errors, of",
            101,
        ),
    ]:
        add(label, text, says, whole=True)
        kind.cases[-1].lines = lines
    short = "train: {max_steps: 1, batch_size: 1}\nadapter: {r: 1}\n"
    for label, file in [
        ("as it should be", head + out + short),
        ("byte order mark", "\ufeff" + head + out + short),
        ("line ends of Windows", (head + out + short).replace("\n", "\r\n")),
        ("one document with its mark", "---\n" + head + out + short + "...\n"),
        ("1e-4", head + out + short.replace("max_steps", "learning_rate: 1e-4, max_steps")),
        (
            "null in every spelling",
            head
            + out
            + "train: {max_steps: 1, batch_size: 1, warmup_steps: ~, eval_steps: NULL, save_steps: Null}\nadapter: {r: 1, init_from: }\n",
        ),
        (
            "times and sizes",
            head
            + out
            + short.replace("max_steps", "save_steps: 90min, memory_budget: 2GiB, max_steps"),
        ),
        (
            "tokenizer between quotes",
            head.replace("}", ', tokenizer: "BASE/model/tokenizer.json"}', 1) + out + short,
        ),
        ("empty section", head + out + short + "# \u00e9\n"),
    ]:
        kind.cases.append(Case(label, {name: file.encode()}, code=ACCEPTED))
    return kind


# ---- adapters ------------------------------------------------------------------------------------

ADAPTER = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": 2,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": ["q_proj"],
    "base_model_name_or_path": None,
    "init_lora_weights": True,
    "use_dora": False,
}
PREFIX = "base_model.model.model.layers.0.self_attn.q_proj."


def adapter_tensors(**changes: object) -> bytes:
    n = 2 * m.C
    part = struct.pack(f"<{n}f", *[0.01] * n)
    tensors: dict = {
        PREFIX + "lora_A.weight": ("F32", [2, m.C], part),
        PREFIX + "lora_B.weight": ("F32", [m.C, 2], part),
    }
    for name, value in changes.items():
        full = (
            PREFIX + name.replace("__", ".") if name.startswith("lora") else name.replace("__", ".")
        )
        tensors.pop(full, None)
        if value is not None:
            tensors[full] = value
    return m.st_file(*m.st_table(tensors))


def adapter() -> Kind:
    name, other = "adapter_config.json", "adapter_model.safetensors"
    kind = Kind("adapter", EVAL_ADAPTER, name, also=["inspect", "{}"])
    kind.fuzz = {"peft": [name, other], "peft_config": [name]}
    sound = adapter_tensors()

    def add(
        label: str,
        changes: dict | bytes,
        says: str = "",
        code: int = 1,
        file: bytes | None = None,
        about: str = "",
    ) -> None:
        config = (
            changes
            if isinstance(changes, bytes)
            else m.text({k: v for k, v in (ADAPTER | changes).items() if v is not ...})
        )
        kind.cases.append(
            Case(label, {name: config, other: sound if file is None else file}, says, code, about)
        )

    for label, changes, says in [
        ("not JSON", b"{", "not valid JSON"),
        ("an array", b"[]", "found an array"),
        ("a key twice", b'{"r":1,"r":2}', "duplicate"),
        ("nested deep", b'{"r":' + nested(5000) + b"}", "nested deeper"),
        ("larger than any", b'{"x":"' + b"a" * (17 << 20) + b'"}', "too large"),
        ("peft_type missing", {"peft_type": ...}, "peft_type"),
        ("another peft_type", {"peft_type": "IA3"}, '"IA3"'),
        ("another task", {"task_type": "SEQ_CLS"}, '"SEQ_CLS"'),
        ("DoRA", {"use_dora": True}, "use_dora"),
        ("bias all", {"bias": "all"}, '"all"'),
        ("bias lora_only", {"bias": "lora_only"}, '"lora_only"'),
        ("lora_bias", {"lora_bias": True}, "lora_bias"),
        ("layer_replication", {"layer_replication": [[0, 1]]}, "layer_replication"),
        ("trainable tokens", {"trainable_token_indices": [1]}, "trainable_token_indices"),
        ("pissa", {"init_lora_weights": "pissa"}, '"pissa"'),
        ("a key of later versions", {"use_later": True}, "use_later"),
        ("rank 0", {"r": 0}, "r: found 0"),
        ("rank negative", {"r": -2}, "r: found"),
        ("rank a string", {"r": "2"}, "r: found a string"),
        ("rank a real", {"r": 2.0}, "r: found"),
        ("rank 2^40", {"r": 2**40}, "r: found"),
        ("alpha a string", {"lora_alpha": "4"}, "lora_alpha"),
        ("alpha 0", {"lora_alpha": 0}, "lora_alpha"),
        ("alpha negative", {"lora_alpha": -4}, "lora_alpha"),
        ("dropout negative", {"lora_dropout": -1}, "lora_dropout"),
        ("target a number in front", {"target_modules": [1, "q_proj"]}, "target_modules"),
        ("dropout 2", {"lora_dropout": 2}, "lora_dropout"),
        ("targets that are not a pattern", {"target_modules": "(q_proj"}, "target_modules"),
        ("targets that never end", {"target_modules": "(([a-z0-9._]+)+)+[A-Z]"}, "takes too long"),
        ("targets too long", {"target_modules": "a" * 5000}, "target_modules"),
        ("targets that name nothing", {"target_modules": "nothing"}, "target_modules"),
        ("targets and layers", {"target_modules": ".*", "layers_to_transform": 0}, "layers_to_transform"),
        ("layers a string", {"layers_to_transform": "0"}, "layers_to_transform"),
        ("layers too many", {"layers_to_transform": [0] * 5000}, "layers_to_transform"),
        ("layers_pattern that is none", {"layers_to_transform": 0, "layers_pattern": "("}, "layers_pattern"),
        ("exclude_modules that are not a pattern", {"exclude_modules": "("}, "exclude_modules"),
        ("exclude_modules everything", {"exclude_modules": ".*"}, "target_modules"),
        ("modules_to_save without tensors", {"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ("targets empty", {"target_modules": []}, "target_modules"),
        ("targets numbers", {"target_modules": [1]}, "target_modules"),
        ("target with a NUL", {"target_modules": ["q_proj\0"]}, "target_modules"),
        ("rank_pattern an array", {"rank_pattern": [1]}, "rank_pattern"),
        ("rank_pattern to 0", {"rank_pattern": {"q_proj": 0}}, "rank_pattern"),
        ("rank_pattern that is not a pattern", {"rank_pattern": {"(": 2}}, "rank_pattern"),
        ("rank_pattern that never ends", {"rank_pattern": {"(([a-z0-9._]+)+)+[A-Z]": 2}}, "takes too long"),
        ("rank_pattern too long", {"rank_pattern": {"a" * 2000: 2}}, "rank_pattern"),
        ("rank_pattern with too many rows", {"rank_pattern": {f"q{i}": 2 for i in range(5000)}}, "rank_pattern"),
        ("alpha_pattern a string", {"alpha_pattern": {"q_proj": "x"}}, "alpha_pattern"),
        ("alpha_pattern 0", {"alpha_pattern": {"q_proj": 0}}, "alpha_pattern"),
        ("base a number", {"base_model_name_or_path": 1}, "base_model_name_or_path"),
    ]:  # fmt: skip
        add(label, changes, says)
        if says == "lora_alpha":
            kind.cases[-1].about = " "
    nan = struct.pack("<64f", float("nan"), *[0.0] * 63)
    inf = struct.pack("<64f", *[0.0] * 63, float("-inf"))
    zeros = bytes(256)
    for label, tensors, says in [
        ("tensors empty", b"", "at least 8"),
        ("tensors none", m.st_file({}), "q_proj"),
        ("tensors cut off", sound[:-4], "cut off"),
        ("A missing", adapter_tensors(lora_A__weight=None), "lora_A.weight is missing"),
        ("B missing", adapter_tensors(lora_B__weight=None), "lora_B.weight is missing"),
        ("A of another rank", adapter_tensors(lora_A__weight=("F32", [1, 64], zeros)), "lora_A.weight: found shape"),
        ("B turned round", adapter_tensors(lora_B__weight=("F32", [2, m.C], zeros)), "lora_B.weight: found shape"),
        ("A of one dimension", adapter_tensors(lora_A__weight=("F32", [64], zeros)), "lora_A.weight: found shape"),
        ("A of integers", adapter_tensors(lora_A__weight=("I32", [2, m.C], zeros)), "type I32"),
        ("NaN in A", adapter_tensors(lora_A__weight=("F32", [2, m.C], nan)), "lora_A.weight: holds NaN"),
        ("infinity in B", adapter_tensors(lora_B__weight=("F32", [m.C, 2], inf)), "lora_B.weight: holds NaN"),
        ("magnitude of DoRA", adapter_tensors(lora_magnitude_vector=("F32", [m.C], bytes(4 * m.C))), "lora_magnitude_vector"),
        ("tensor extra", adapter_tensors(surplus=("F32", [1], bytes(4))), "surplus"),
        ("saved head", adapter_tensors(base_model__model__lm_head__weight=("F32", [1], bytes(4))), "lm_head"),
        ("layer that is not there", adapter_tensors(**{"base_model__model__model__layers__9__self_attn__q_proj__lora_A__weight": ("F32", [2, m.C], zeros)}), "layers.9"),
    ]:  # fmt: skip
        add(label, {}, says, file=tensors, about=other)
    for label, notes, says in [
        ("notes not JSON", b"{", "not valid JSON"),
        ("notes an array", b"[]", "found an array"),
        ("notes nested deep", b'{"x":' + nested(5000) + b"}", "nested deeper"),
        ("notes with a template of 1", b'{"template": 1}', "template: found an integer"),
        ("notes with a template that is none", b'{"template": "alpacca"}', "alpacca"),
        ("notes with a NUL", b'{"template": "alpaca\\u0000"}', "template"),
    ]:
        files = {name: m.text(ADAPTER), other: sound, "lorac.json": notes}
        named = " " if says == "alpacca" else "lorac.json"
        texts = [
            "eval",
            "--model",
            "{base}/model",
            "--data",
            "{base}/data.jsonl",
            "--adapter",
            "{}",
        ]
        kind.cases.append(Case(label, files, says, about=named, args=texts))
    for label, changes in [
        ("as it should be", {}),
        ("nothing but what is needed", dict.fromkeys(("bias", "task_type", "init_lora_weights", "use_dora", "lora_dropout"), ...)),
        ("keys of later versions without a value", {"use_later": False, "later_config": None, "more": {}}),
        ("patterns", {"rank_pattern": {r".*\.0\.self_attn\.q_proj": 2}, "alpha_pattern": {"^model.layers.0.self_attn.q_proj$": 4}}),
        ("values of null", {"task_type": None, "bias": None, "init_lora_weights": None, "rank_pattern": None}),
        ("rsLoRA", {"use_rslora": True}),
        ("targets a pattern", {"target_modules": ".*q_proj"}),
        ("layers_to_transform", {"layers_to_transform": [0]}),
        ("exclude_modules", {"exclude_modules": ["k_proj"]}),
        ("fan_in_fan_out", {"fan_in_fan_out": True}),
        ("layer 0", {"layers_to_transform": 0, "layers_pattern": "layers"}),
        ("base with a path of another machine", {"base_model_name_or_path": "/home/x/models/\u00e9"}),
    ]:  # fmt: skip
        add(label, changes, code=ACCEPTED)
    return kind


# ---- checkpoints ---------------------------------------------------------------------------------

BLOCK = 512


def sealed(body: bytes) -> bytes:
    """The file of somebody who knows how the seal is made."""
    n = len(body) + BLOCK
    head = f"LORACH5\nversion 1\nbytes {n:020d}\nsha256 {hashlib.sha256(body).hexdigest()}\n"
    return head.encode().ljust(BLOCK, b"\0") + body


def checkpoint(made: Path) -> Kind:
    """`made` is a checkpoint that lorac wrote."""
    name = "step.h5"
    args = ["train", "{base}/run.yaml", "output.dir={out}", "--resume", "{}/" + name]
    kind = Kind(
        "checkpoint", args, name, fuzz={"checkpoint": [name]}, also=["inspect", "{}/" + name]
    )
    whole = made.read_bytes()
    body = whole[BLOCK:]

    def patched(at: int, new: bytes) -> bytes:
        return body[:at] + new + body[at + len(new) :]

    heap = body.index(b"HEAP")
    tree = body.index(b"TREE")
    table = body.index(b"SNOD")
    step = body.index(b"lorac-checkpoint")
    f32 = body.index(b"\x11\x20\x1f\0\x04\0\0\0")  # the type of the first array of numbers
    layout = body.index(b"\x03\x01", f32 + 40)
    numbers = int.from_bytes(body[layout + 2 : layout + 10], "little")
    cases: list[tuple[str, bytes, str]] = [
        ("empty file", b"", "wanted a checkpoint"),
        ("other magic", b"\x89HDF\r\n\x1a\n" + whole[8:], "wanted a checkpoint"),
        ("only the seal", whole[:BLOCK], "cut off"),
        ("another version", whole.replace(b"version 1", b"version 2", 1), "another version"),
        ("cut off", whole[:-1], "cut off"),
        ("longer", whole + b"\0", "cut off"),
        ("a bit of the seal", whole[:100] + b"x" + whole[101:], "checksum"),
        ("a bit after the seal", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], "checksum"),
        ("checksum of another file", whole[:52] + b"0" * 64 + whole[116:], "checksum"),
    ]
    cases += [
        ("sealed: nothing", sealed(b""), ""),
        ("sealed: no HDF5", sealed(b"x" * 4096), ""),
        ("sealed: local heap overwritten", sealed(patched(heap + 8, b"\xff" * 8)), ""),
        ("sealed: local heap's address", sealed(patched(heap + 24, b"\xff" * 8)), ""),
        ("sealed: tree overwritten", sealed(patched(tree + 4, b"\xff" * 4)), ""),
        (
            "sealed: tree that leads to itself",
            sealed(patched(tree + 32, struct.pack("<Q", tree))),
            "",
        ),
        ("sealed: symbols 65535", sealed(patched(table + 6, b"\xff\xff")), ""),
        ("sealed: symbol table's address", sealed(patched(table + 16, b"\xff" * 8)), ""),
        ("sealed: superblock's end", sealed(patched(40, b"\xff" * 8)), ""),
        ("sealed: another format", sealed(patched(step, b"other")), "not a lorac checkpoint"),
        ("sealed: NaN in the adapter", sealed(patched(numbers, b"\0\0\xc0\x7f")), "holds NaN"),
        ("sealed: half of it", sealed(body[: len(body) // 2]), ""),
    ]
    kind.cases = [Case(label, {name: file}, says) for label, file, says in cases]
    kind.cases.append(Case("as it should be", {name: whole}, code=ACCEPTED))
    return kind


def batch() -> bytes:
    ids = [1, *range(259, 275), 2]
    return json.dumps({"input_ids": ids}).encode() + b"\n"


KINDS = [spm, hf, sidecars, records, yaml, adapter]
