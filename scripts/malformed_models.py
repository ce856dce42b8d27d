"""Malformed weights: safetensors, shard indexes, GGUF, config.json, and what is unusual but valid.

The cases come from published faults of llama.cpp, safetensors ports, transformers and others that
read the same containers (counts that overflow, offsets that are trusted, names that lead elsewhere).
"""

import struct

import malformed as m
from malformed import (
    ACCEPTED,
    ARRAY,
    BOOL,
    F32,
    F64,
    I32,
    STRING,
    U8,
    U32,
    U64,
    Case,
    Fifo,
    Kind,
    Link,
)

EVAL = ["eval", "--model", "{}", "--data", "{base}/batch.jsonl", "--format", "tokens"]
INSPECT = ["inspect", "--verify", "{}"]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 13\n"
HUGE = 2**64 - 1
NAN16, INF16 = b"\x00\x7e", b"\x00\x7c"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


# ---- safetensors ---------------------------------------------------------------------------------


def st_raw_cases() -> dict[str, tuple[object, str]]:
    header, data = m.st_table(m.model_tensors())
    whole = m.st_file(header, data)
    return {
        "empty file": (b"", "at least 8"),
        "seven bytes": (b"1234567", "at least 8"),
        "header length 2^64-1": (m.st_file(b"{}", length=HUGE), "wanted at most 100000000"),
        "header above 100 MB": (m.st_file(b"{}", length=100000001), "wanted at most 100000000"),
        "header longer than the file": (m.st_file(b"{}", length=4096), "cut off"),
        "header of length 0": (m.st_file(b"", length=0), "begins with nothing"),
        "header is an array": (m.st_file(b"[1]"), 'wanted "{"'),
        "LFS pointer": (LFS, "git lfs pull"),
        "zip archive": (b"PK\x03\x04" + bytes(60), "safetensors"),
        "not JSON": (m.st_file(b'{"a":}'), "not valid JSON"),
        "cut JSON": (m.st_file(b'{"a":{"dtype":"F32"'), "not valid JSON"),
        "text after the header": (m.st_file(b"{}{}"), "not valid JSON"),
        "invalid UTF-8 in a name": (m.st_file(b'{"\xff":{}}'), "not valid JSON"),
        "NUL in a name": (m.st_file(b'{"a\\u0000":{}}'), "not valid JSON"),
        "NaN in the header": (m.st_file(b'{"a":NaN}'), "not valid JSON"),
        "nested 100,000 deep": (m.st_file(b'{"a":' + nested(100000) + b"}"), "nested deeper"),
        "four million values": (
            m.st_file(b'{"a":[' + b"[]," * 4000000 + b"0]}"),
            "too many values",
        ),
        "a tensor twice": (m.st_file(b'{"a":{},"a":{}}'), "duplicate"),
        "a member twice": (m.st_file(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "duplicate"),
        "metadata is a string": (m.st_file({"__metadata__": "pt"}), "__metadata__"),
        "metadata holds a number": (m.st_file({"__metadata__": {"n": 1}}), "__metadata__"),
        "tensor is a number": (m.st_file({"a": 1}), '"a": found an integer'),
        "no dtype": (m.st_header(dtype=None), '"dtype"'),
        "unknown dtype": (m.st_header(dtype="F31"), '"F31"'),
        "dtype is a number": (m.st_header(dtype=1), '"dtype"'),
        "no shape": (m.st_header(shape=None), '"shape"'),
        "negative dimension": (m.st_header(shape=[-1]), "negative"),
        "real dimension": (m.st_header(shape=[1.5]), '"shape"'),
        "dimension 2^64": (m.st_header(shape=[2**64]), '"shape"'),
        "nine dimensions": (m.st_header(shape=[1] * 9), "more dimensions"),
        "product wraps to 4": (
            m.st_header(shape=[4194305, 4194305, 211106198978564]),
            "overflows",
        ),
        "bytes wrap to 0": (m.st_header(shape=[2**62]), "overflows"),
        "no offsets": (m.st_header(data_offsets=None), '"data_offsets"'),
        "one offset": (m.st_header(data_offsets=[0]), '"data_offsets"'),
        "three offsets": (m.st_header(data_offsets=[0, 4, 4]), '"data_offsets"'),
        "negative offset": (m.st_header(data_offsets=[-4, 0]), '"data_offsets"'),
        "end before begin": (m.st_header(data_offsets=[4, 0]), "bytes 4 to 0"),
        "end beyond the file": (m.st_header(shape=[2], data_offsets=[0, 8]), "cut off"),
        "offset 2^63": (m.st_header(data_offsets=[2**63 - 4, 2**63 - 1]), "cut off"),
        "range shorter than the shape": (m.st_header(shape=[2]), "wanted the 8 of its shape"),
        "unknown member": (m.st_header(strides=[1]), '"strides"'),
        "hole": (
            m.st_file({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"12"),
            "begins at byte 1",
        ),
        "overlap": (
            m.st_file(
                {
                    "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
                    "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
                },
                b"123",
            ),
            "begins at byte 1",
        ),
        "bytes after the last tensor": (whole + b"PK\x05\x06", "4 bytes after"),
        "last byte missing": (whole[:-1], "cut off"),
        "half of it": (whole[: len(whole) // 2], "cut off"),
        "odd place of an F16": (
            m.st_file(
                {
                    "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                    "b": {"dtype": "F16", "shape": [1], "data_offsets": [1, 3]},
                },
                b"123",
            ),
            "multiple",
        ),
        "named pipe": (Fifo(), "no weights"),
        "no tensors at all": (m.st_file({}), "more than the files hold"),
    }


def st_model_cases() -> list[tuple[str, bytes, str]]:
    q, norm = "model__layers__0__self_attn__q_proj__weight", "model__norm__weight"
    embed = "model__embed_tokens__weight"
    ones = m.half([1.0] * (m.C - 1))
    zeros = bytes(2 * m.C * m.C)
    return [
        ("tensor missing", m.st_model(**{q: None}), "q_proj.weight is missing"),
        ("tensor extra", m.st_model(surplus=("F16", [1], b"\0\0")), '"surplus"'),
        ("bias extra", m.st_model(**{q.replace("weight", "bias"): ("F16", [1], b"\0\0")}), "bias"),
        ("layer more than configured", m.st_model(model__layers__1__x=("F16", [1], b"\0\0")), "layers.1"),
        ("wrong shape", m.st_model(**{q: ("F16", [m.C // 2, m.C * 2], zeros)}), "wanted [32, 32]"),
        ("wrong rank", m.st_model(**{q: ("F16", [m.C * m.C], zeros)}), "wanted [32, 32]"),
        ("vocabulary of another size", m.st_model(**{embed: ("F16", [2, m.C], bytes(4 * m.C))}), "embed_tokens"),
        ("wrong type", m.st_model(**{q: ("I16", [m.C, m.C], zeros)}), "type I16"),
        ("NaN in a norm", m.st_model(**{norm: ("F16", [m.C], NAN16 + ones)}), "norm.weight: holds NaN"),
        ("infinity in a norm", m.st_model(**{norm: ("F16", [m.C], INF16 + ones)}), "norm.weight: holds NaN"),
        ("head unlike the tied embedding", m.st_model(lm_head__weight=("F16", [m.V, m.C], bytes(2 * m.V * m.C))), "lm_head.weight: differs"),
    ]  # fmt: skip


def st_valid_cases() -> list[tuple[str, object]]:
    header, data = m.st_table(m.model_tensors())
    inv_freq = "model__layers__0__self_attn__rotary_emb__inv_freq"
    backwards = dict(reversed(list(header.items())))
    return [
        ("the base model", m.st_model()),
        ("rank 0", m.st_model(**{inv_freq: ("F16", [], b"\0\0")})),
        ("empty tensor", m.st_model(**{inv_freq: ("F16", [0], b"")})),
        ("empty tensor of rank 3", m.st_model(**{inv_freq: ("F32", [4, 0, 2], b"")})),
        ("more metadata", m.st_file(header | {"__metadata__": {"format": "pt", "a": "\u00e9"}}, data)),
        ("no metadata", m.st_file({k: v for k, v in header.items() if k[0] != "_"}, data)),
        ("header out of order", m.st_file(backwards, data)),
        ("spaces after the header", m.st_file(m.text(header) + b" " * 4096, data)),
        ("head that repeats the tied embedding", m.st_model(lm_head__weight=("F16", [m.V, m.C], m.weights([m.V, m.C])))),
        ("symbolic link", Link("../../base/model/model.safetensors")),
    ]  # fmt: skip


def safetensors() -> Kind:
    name, config = "model.safetensors", m.config()
    kind = Kind("safetensors", EVAL, name, fuzz={"safetensors": [name]}, also=INSPECT)

    def add(label: str, file: object, says: str = "", code: int = 1) -> None:
        kind.cases.append(Case(label, {"config.json": config, name: file}, says, code))

    for label, (file, says) in st_raw_cases().items():
        add(label, file, says)
    for label, file, says in st_model_cases():
        add(label, file, says)
    for case in kind.cases:
        if case.name in ("named pipe", "tensor missing", "no tensors at all"):
            case.about = " "  # what is not there is missing in the directory
    for label, file in st_valid_cases():
        add(label, file, code=ACCEPTED)
    return kind


# ---- shards --------------------------------------------------------------------------------------


def shards() -> Kind:
    index = "model.safetensors.index.json"
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    tensors = m.model_tensors()
    names = sorted(tensors)
    half = len(names) // 2
    parts = [{n: tensors[n] for n in names[:half]}, {n: tensors[n] for n in names[half:]}]
    files = {
        "config.json": m.config(),
        one: m.st_file(*m.st_table(parts[0])),
        two: m.st_file(*m.st_table(parts[1])),
    }
    right = dict.fromkeys(names[:half], one) | dict.fromkeys(names[half:], two)
    first, last = names[0], names[-1]
    kind = Kind("shards", EVAL, index, fuzz={"shards": [index]}, also=INSPECT)

    def add(
        label: str, listed: object, says: str = "", code: int = 1, about: str = "", **more
    ) -> None:
        file = listed if isinstance(listed, bytes) else m.text({"weight_map": listed})
        changed = {k.replace("__", "."): v for k, v in more.items()}
        both = {k: v for k, v in (files | {index: file} | changed).items() if v is not None}
        kind.cases.append(Case(label, both, says, code, about))

    for label, name in {
        "path that climbs": "../" + one,
        "absolute path": "/etc/passwd",
        "path below": "sub/" + one,
        "name of nothing": "",
        "other ending": "model.bin",
        "other ending of a long name": "pytorch_model.binary",
        "NUL in the name": one + "\0.safetensors",
        "backslash": "..\\" + one,
        "only the ending": ".safetensors",
        "URL": "https://example.org/" + one,
    }.items():
        add(label, right | {first: name}, f'"{first}": found')
    add("name is a number", right | {first: 1}, "found an integer")
    add("name is null", right | {first: None}, "found null")
    add("no weight_map", b"{}", "weight_map")
    add("weight_map is an array", b'{"weight_map":[]}', "weight_map: found an array")
    add("weight_map is empty", b'{"weight_map":{}}', "nothing in it")
    add("index is an array", b"[]", "weight_map")
    add("not JSON", b"{", "not valid JSON")
    add("empty file", b"", "not valid JSON")
    add("nested deep", b'{"weight_map":' + nested(70000) + b"}", "nested deeper")
    add("a tensor twice", b'{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}', "duplicate")
    add(
        "shard missing",
        right | {first: "model-00003-of-00002.safetensors"},
        "missing",
        about="model-00003",
    )
    add("tensor in the wrong shard", right | {first: two}, "not listed", about=one)
    add("tensor not listed", {k: v for k, v in right.items() if k != last}, "not listed", about=two)
    add("tensor of no shard", right | {"surplus": one}, '"surplus"')
    shared = m.st_file(*m.st_table(parts[1] | {first: tensors[first]}))
    add("tensor in both shards", right, "not listed", about=two, **{two: shared})
    add("shard cut off", right, "cut off", about=two, **{two: files[two][:-2]})
    add("shard is a directory's name", right | {first: ".."}, "found")
    add(
        "shards without an index",
        None,
        "no model.safetensors.index.json",
        about=" ",
        **{index: None},
    )
    add("byte order mark", b"\xef\xbb\xbf" + m.text({"weight_map": right}), code=ACCEPTED)
    add(
        "more metadata",
        m.text({"metadata": {"total_size": 1, "x": [None]}, "weight_map": right}),
        code=ACCEPTED,
    )
    add("as it should be", right, code=ACCEPTED)
    add("symbolic link", right, code=ACCEPTED, **{one: Link("blobs-x"), "blobs-x": files[one]})
    return kind


# ---- GGUF ----------------------------------------------------------------------------------------


def gguf_one(kv: list[bytes], infos: list[bytes] | None = None, data: bytes = b"", **raw) -> bytes:
    return m.gguf_raw(kv, infos or [], data, **raw)


def gguf_raw_cases() -> dict[str, tuple[object, str]]:
    whole = m.gguf_model()
    info = m.gguf_info("a", [4], 0, 0)
    count = struct.pack
    return {
        "empty file": (b"", "GGUF"),
        "three bytes": (b"GGU", "GGUF"),
        "other magic": (gguf_one([], magic=b"GGML"), "GGUF"),
        "LFS pointer": (LFS, "git lfs pull"),
        "version 1": (gguf_one([], version=1), "version 1"),
        "version 4": (gguf_one([], version=4), "version 4"),
        "big-endian": (gguf_one([], version=3 << 24), "big-endian"),
        "header cut": (whole[:20], "header"),
        "keys 2^64-1": (gguf_one([], n_kv=HUGE), "metadata keys"),
        "keys times size wraps": (gguf_one([], n_kv=2**60 + 1), "metadata keys"),
        "tensors 2^64-1": (gguf_one([], n_tensors=HUGE), "tensors"),
        "tensors times size wraps": (gguf_one([], n_tensors=2**58 + 1), "tensors"),
        "one key too many": (m.gguf_model(n_kv=len(m.KEYS) + 1), ""),
        "one tensor too few": (m.gguf_model(n_tensors=10), "after the last tensor"),
        "string of 2^64-1 bytes": (
            gguf_one([m.gguf_kv("k", STRING, m.gguf_string("", HUGE))]),
            '"k" at byte',
        ),
        "key of 2^64-1 bytes": (gguf_one([m.gguf_string("k", HUGE) + bytes(20)]), "metadata key"),
        "empty key": (gguf_one([m.gguf_kv("", U8, 1)]), "metadata key 1"),
        "NUL in a key": (gguf_one([m.gguf_kv(b"a\0b", U8, 1)]), "metadata key 1"),
        "key twice": (gguf_one([m.gguf_kv("k", U8, 1)] * 2), '"k" is there twice'),
        "value of type 13": (gguf_one([m.gguf_kv("k", 13, b"\0")]), "type 13"),
        "array of type 99": (gguf_one([m.gguf_kv("k", ARRAY, count("<IQ", 99, 1) + bytes(8))]), "type 99"),
        "array of arrays": (
            gguf_one([m.gguf_kv("k", ARRAY, count("<IQ", ARRAY, 2**40) + bytes(64))]),
            "arrays",
        ),
        "array times size wraps": (
            gguf_one([m.gguf_kv("k", ARRAY, count("<IQ", U64, 2**61 + 1) + bytes(64))]),
            "an array of 2305843009213693953 items",
        ),
        "43 bytes that claim a million strings": (
            gguf_one([m.gguf_kv("k", ARRAY, count("<IQ", STRING, 10**6))])[:43],
            "",
        ),
        "string in an array of 2^64-1 bytes": (
            gguf_one([m.gguf_kv("k", ARRAY, count("<IQ", STRING, 1) + m.gguf_string("", HUGE))]),
            "an array of 1 items",
        ),
        "alignment 0": (gguf_one([m.gguf_kv("general.alignment", U32, 0)]), "general.alignment"),
        "alignment 3": (gguf_one([m.gguf_kv("general.alignment", U32, 3)]), "general.alignment"),
        "alignment 2^31": (
            gguf_one([m.gguf_kv("general.alignment", U32, 2**31)], [info], bytes(16)),
            "",
        ),
        "alignment a string": (
            gguf_one([m.gguf_kv("general.alignment", STRING, "32")]),
            "general.alignment",
        ),
        "tensor twice": (gguf_one([], [info, m.gguf_info("a", [4], 0, 32)], bytes(48)), '"a" is there twice'),
        "tensor without a name": (gguf_one([], [m.gguf_info("", [4], 0, 0)], bytes(16)), "tensor 1"),
        "name of 65 bytes": (gguf_one([], [m.gguf_info("a" * 65, [4], 0, 0)], bytes(16)), "tensor 1"),
        "five dimensions": (gguf_one([], [m.gguf_info("a", [1] * 5, 0, 0)], bytes(16)), "5 dimensions"),
        "2^32-1 dimensions": (
            gguf_one([], [m.gguf_string("a") + count("<I", 2**32 - 1) + bytes(64)]),
            "4294967295 dimensions",
        ),
        "dimension 0": (gguf_one([], [m.gguf_info("a", [0, 2**63], 0, 0)], bytes(16)), "dimension of 0"),
        "dimension 2^63": (gguf_one([], [m.gguf_info("a", [2**63], 0, 0)], bytes(16)), "more bytes"),
        "product wraps": (gguf_one([], [m.gguf_info("a", [2**32, 2**32], 0, 0)], bytes(16)), "more bytes"),
        "logical exabytes": (gguf_one([], [m.gguf_info("a", [2**40, 2**19], 30, 0)], bytes(64)), "more bytes"),
        "sum of sizes wraps": (
            gguf_one([], [info, m.gguf_info("b", [2**62 - 8], 24, 32)], bytes(64)),
            '"b": its shape',
        ),
        "two tensors that fit only alone": (
            gguf_one([], [m.gguf_info("a", [40], 0, 0), m.gguf_info("b", [60], 0, 160)], bytes(160)),
            '"b": its shape',
        ),
        "unknown tensor type": (gguf_one([], [m.gguf_info("a", [4], 99, 0)], bytes(16)), "tensor type 99"),
        "withdrawn tensor type": (gguf_one([], [m.gguf_info("a", [4], 4, 0)], bytes(16)), "tensor type 4"),
        "row that is not a whole block": (gguf_one([], [m.gguf_info("a", [33], 8, 0)], bytes(68)), "multiple of the 32"),
        "offset into another tensor": (
            gguf_one([], [info, m.gguf_info("b", [4], 0, 0)], bytes(48)),
            '"b": found offset 0',
        ),
        "offset 2^64-32": (gguf_one([], [m.gguf_info("a", [4], 0, 2**64 - 32)], bytes(16)), "found offset"),
        "offset that leaves a hole": (gguf_one([], [m.gguf_info("a", [4], 0, 32)], bytes(48)), "found offset 32"),
        "bytes after the last tensor": (whole + bytes(64), "after the last tensor"),
        "last tensor cut": (whole[:-8], "cut off"),
        "cut in the keys": (whole[:300], ""),
        "cut in the tensor list": (whole[: whole.index(b"ffn_up")], "cut off"),
    }  # fmt: skip


def gguf_key_cases() -> list[tuple[str, dict, str]]:
    heads, eps = "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"
    tok = "tokenizer.ggml."
    return [
        ("architecture missing", {"general.architecture": None}, "general.architecture"),
        ("architecture a number", {"general.architecture": (U32, 1)}, "general.architecture"),
        ("another architecture", {"general.architecture": (STRING, "gemma")}, '"gemma"'),
        ("no layers", {"llama.block_count": (U32, 0)}, "number of layers is 0"),
        ("a million layers", {"llama.block_count": (U32, 10**6)}, "number of layers"),
        ("one layer more", {"llama.block_count": (U32, 2)}, "blk.1.attn_q.weight is missing"),
        ("layers negative", {"llama.block_count": (I32, -1)}, "negative"),
        ("layers a string", {"llama.block_count": (STRING, "1")}, "llama.block_count"),
        ("hidden size missing", {"llama.embedding_length": None}, "llama.embedding_length"),
        ("hidden size 2^63", {"llama.embedding_length": (U64, 2**63)}, "hidden size"),
        ("heads 0", {heads: (U32, 0)}, "heads is 0"),
        ("heads by layer", {heads: (ARRAY, (I32, [4]))}, "found an array"),
        ("kv heads that do not divide", {heads + "_kv": (U32, 3)}, "cannot share"),
        ("eps missing", {eps: None}, "layer_norm_rms_epsilon"),
        ("eps NaN", {eps: (F32, float("nan"))}, "infinity or NaN"),
        ("eps 0", {eps: (F32, 0.0)}, "rms_norm_eps is 0"),
        ("rope base infinite", {"llama.rope.freq_base": (F32, float("inf"))}, "infinity or NaN"),
        ("rope base an integer", {"llama.rope.freq_base": (U32, 10000)}, "freq_base"),
        ("yarn", {"llama.rope.scaling.type": (STRING, "yarn")}, '"yarn"'),
        ("linear scaling by 0", {"llama.rope.scaling.type": (STRING, "linear"), "llama.rope.scaling.factor": (F32, 0.0)}, "factor"),
        ("scaling without a factor", {"llama.rope.scaling.type": (STRING, "linear")}, "factor"),
        ("old linear scaling by 0", {"llama.rope.scale_linear": (F32, 0.0)}, "factor"),
        ("partial rotation", {"llama.rope.dimension_count": (U32, 4)}, "dimension_count"),
        ("unequal keys and values", {"llama.attention.key_length": (U32, 8), "llama.attention.value_length": (U32, 4)}, "not supported"),
        ("experts", {"llama.expert_count": (U32, 8)}, "llama.expert_count"),
        ("split in parts", {"split.count": (U32, 2), "split.no": (U32, 0)}, "part 1"),
        ("scores of another type", {tok + "scores": (ARRAY, (I32, [0] * len(m.spm_pieces())))}, "scores"),
        ("scores too few", {tok + "scores": (ARRAY, (F32, [0.0]))}, "scores"),
        ("types too few", {tok + "token_type": (ARRAY, (I32, [1]))}, "token_type"),
        ("types missing", {tok + "token_type": None}, "token_type"),
        ("tokens are numbers", {tok + "tokens": (ARRAY, (U32, [1]))}, "an array of numbers"),
        ("no tokens", {tok + "tokens": (ARRAY, (STRING, []))}, "token_type"),
        ("another tokenizer", {tok + "model": (STRING, "bert")}, '"bert"'),
        ("bos past the vocabulary", {tok + "bos_token_id": (U32, 300)}, "bos_token_id"),
        ("eos past the vocabulary", {tok + "eos_token_id": (U32, 2**31)}, "eos_token_id"),
        ("unknown id past the vocabulary", {tok + "unknown_token_id": (U32, 99999)}, "unknown_token_id"),
        ("add_bos a number", {tok + "add_bos_token": (U32, 1)}, "add_bos_token"),
        ("add_bos neither 0 nor 1", {tok + "add_bos_token": (BOOL, 2)}, "add_bos_token"),
        ("charsmap", {tok + "precompiled_charsmap": (ARRAY, (U8, [1, 2]))}, "precompiled_charsmap"),
        ("chat template that is not text", {"tokenizer.chat_template": (STRING, b"\x02\0\0\0\0\0\0\0\xff\xfe")}, "chat_template"),
    ]  # fmt: skip


def spm_changed(i: int, piece: tuple) -> list:
    pieces = m.spm_pieces()
    pieces[i] = piece
    return pieces


def gguf_pieces(pieces: list) -> dict:
    return {
        "tokenizer.ggml.tokens": (ARRAY, (STRING, [p for p, _, _ in pieces])),
        "tokenizer.ggml.scores": (ARRAY, (F32, [s for _, s, _ in pieces])),
        "tokenizer.ggml.token_type": (ARRAY, (I32, [t for _, _, t in pieces])),
    }


def gguf_piece_cases() -> list[tuple[str, dict, str]]:
    changes = {
        "byte token <0x-1>": (3, ("<0x-1>", 0.0, 6), "<0x-1>"),
        "byte token <0x100>": (3, ("<0x100>", 0.0, 6), "<0x100>"),
        "byte token in lower case": (14, ("<0x0b>", 0.0, 6), "<0x0b>"),
        "byte token missing": (3, ("other", 0.0, 1), "byte pieces"),
        "token type 0": (259, ("he", 0.0, 0), "type 0"),
        "token type 7": (260, ("he", 0.0, 7), "type 7"),
        "token twice": (259, ("ll", 0.0, 1), "twice"),
        "token of invalid UTF-8": (260, (b"\x01\0\0\0\0\0\0\0\xff", 0.0, 1), "UTF-8"),
        "score NaN": (259, ("he", float("nan"), 1), "score"),
        "score infinite": (259, ("he", float("inf"), 1), "score"),
    }
    return [(k, gguf_pieces(spm_changed(i, p)), says) for k, (i, p, says) in changes.items()]


def gguf_tensor_cases() -> list[tuple[str, list, str]]:
    tensors = m.gguf_tensors()

    def changed(name: str, *new: object) -> list:
        return [(n, *new) if n == name else (n, *rest) for n, *rest in tensors]

    square, ones = [m.C, m.C], m.half([1.0] * (m.C - 1))
    q8 = struct.pack("<e32b", float("inf"), *[1] * 32)
    return [
        ("tensor missing", [t for t in tensors if t[0] != "blk.0.ffn_up.weight"], "ffn_up.weight is missing"),
        ("tensor extra", [*tensors, ("surplus", [1], 0, bytes(4))], '"surplus"'),
        ("wrong shape", changed("blk.0.attn_q.weight", [m.C // 2, m.C], 1, bytes(m.C * m.C)), "attn_q.weight: shape"),
        ("type not computed with", changed("blk.0.attn_q.weight", square, 25, bytes(2 * m.C * m.C)), "type I16"),
        ("norm quantised", changed("output_norm.weight", [m.C], 8, bytes(34)), "Q8_0"),
        ("NaN in a norm", changed("output_norm.weight", [m.C], 1, NAN16 + ones), "holds NaN"),
        ("infinite scale of a block", changed("blk.0.attn_q.weight", square, 8, q8 * m.C), "attn_q.weight: holds NaN"),
        ("embedding missing", [t for t in tensors if t[0] != "token_embd.weight"], "token_embd.weight"),
        ("rope divisors too few", [*tensors, ("rope_freqs.weight", [2], 0, struct.pack("<2f", 1, 1))], "rope_freqs"),
        ("rope divisors of two dimensions", [*tensors, ("rope_freqs.weight", [4, 1], 0, struct.pack("<4f", 1, 1, 1, 1))], "rope_freqs"),
        ("rope divisors of F16", [*tensors, ("rope_freqs.weight", [4], 1, bytes(8))], "rope_freqs"),
        ("rope divisor infinite", [*tensors, ("rope_freqs.weight", [4], 0, struct.pack("<4f", 1, 1, float("inf"), 1))], "rope_freqs"),
        ("rope divisor 0", [*tensors, ("rope_freqs.weight", [4], 0, bytes(16))], "rope_freqs"),
        ("rope divisor NaN", [*tensors, ("rope_freqs.weight", [4], 0, struct.pack("<4f", 1, 1, 1, float("nan")))], "rope_freqs"),
    ]  # fmt: skip


def gguf() -> Kind:
    name = "model.gguf"
    args = [a.replace("{}", "{}/" + name) for a in EVAL]
    tokenize = ["tokenize", "--model", "{}/" + name, "he"]
    kind = Kind("gguf", args, name, fuzz={"gguf": [name]}, also=["inspect", "{}/" + name])

    def add(
        label: str, file: object, says: str = "", code: int = 1, args: list | None = None
    ) -> None:
        kind.cases.append(Case(label, {name: file}, says, code, args=args))

    for label, (file, says) in gguf_raw_cases().items():
        add(label, file, says)
    for label, keys, says in gguf_key_cases():
        wants_text = any(k.startswith("tokenizer.") for k in keys)
        add(label, m.gguf_model(keys), says, args=tokenize if wants_text else None)
    for label, keys, says in gguf_piece_cases():
        add(label, m.gguf_model(keys), says, args=tokenize)
    for label, tensors, says in gguf_tensor_cases():
        add(label, m.gguf_model(tensors=tensors), says)
    aligned = [m.gguf_kv("general.alignment", U32, 64)]
    odd = [m.gguf_kv(f"x.{t}", t, 1) for t in m.PACK]
    odd.append(m.gguf_kv("x.empty", ARRAY, (STRING, [])))
    odd.append(m.gguf_kv("x.b\u00e9", ARRAY, (BOOL, [0, 1])))
    jinja = {"tokenizer.chat_template": (STRING, "{{ ''.__class__.__mro__[1].__subclasses__() }}")}
    divisors = ("rope_freqs.weight", [4], 0, struct.pack("<4f", 1, 1, 2, 8))
    linear = {"llama.rope.scale_linear": (F32, 2.0)}
    spread = [*m.gguf_tensors(), divisors]
    add("both linear scaling and divisors", m.gguf_model(linear, tensors=spread), "rope_freqs")
    add("rope divisors", m.gguf_model(tensors=spread), code=ACCEPTED)
    add("linear scaling as of old", m.gguf_model(linear), code=ACCEPTED)
    add(
        "no scaling by name",
        m.gguf_model({"llama.rope.scaling.type": (STRING, "none")}),
        code=ACCEPTED,
    )
    same = {"llama.attention.key_length": (U32, 8), "llama.attention.value_length": (U32, 8)}
    add("lengths of keys and values", m.gguf_model(same), code=ACCEPTED)
    eps = {"llama.attention.layer_norm_rms_epsilon": (F64, 1e-5)}
    add("eps as 64 bits", m.gguf_model(eps), code=ACCEPTED)
    charsmap = {"tokenizer.ggml.precompiled_charsmap": (ARRAY, (U8, []))}
    add("charsmap of nothing", m.gguf_model(charsmap), code=ACCEPTED, args=tokenize)
    unknown = {"tokenizer.ggml.unknown_token_id": (U32, 1)} | gguf_pieces(
        spm_changed(0, ("<unk>", 0.0, 3))
    )
    add("unknown token that is bos", m.gguf_model(unknown), code=ACCEPTED, args=tokenize)
    add("as it should be", m.gguf_model(), code=ACCEPTED)
    add("tokenizer as it should be", m.gguf_model(), code=ACCEPTED, args=tokenize)
    add("version 2", m.gguf_model(version=2), code=ACCEPTED)
    add("alignment 64", m.gguf_model(more=aligned, alignment=64), code=ACCEPTED)
    add("metadata of every type", m.gguf_model(more=odd), code=ACCEPTED)
    add(
        "padding behind the last tensor",
        m.gguf_model() + bytes(-len(m.gguf_model()) % 32),
        code=ACCEPTED,
    )
    add(
        "no kv heads",
        m.gguf_model({"llama.attention.head_count_kv": None}, tensors=full_heads()),
        code=ACCEPTED,
    )
    add("eos as 64 bits", m.gguf_model({"tokenizer.ggml.eos_token_id": (U64, 2)}), code=ACCEPTED)
    add("a chat template that is a program", m.gguf_model(jinja), code=ACCEPTED, args=tokenize)
    return kind


def full_heads() -> list:
    square = [m.C, m.C]
    wide = ("attn_k", "attn_v")
    return [
        (n, square, k, m.weights(square)) if n.split(".")[-2] in wide else (n, d, k, raw)
        for n, d, k, raw in m.gguf_tensors()
    ]


# ---- config.json ---------------------------------------------------------------------------------


def config() -> Kind:
    name = "config.json"
    kind = Kind("config", EVAL, name, fuzz={"config": [name]}, also=INSPECT)

    def add(label: str, file: bytes, says: str = "", code: int = 1) -> None:
        kind.cases.append(Case(label, {name: file, "model.safetensors": m.st_model()}, says, code))

    def rope(**members: object) -> bytes:
        return m.config(rope_scaling=members)

    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama3["original_max_position_embeddings"] = 8192
    for label, file, says in [
        ("empty file", b"", "not valid JSON"),
        ("an array", b"[]", "found an array"),
        ("cut", m.config()[:-1], "not valid JSON"),
        ("a key twice", m.config()[:-1] + b',"hidden_size":8}', "duplicate"),
        ("NaN", m.config()[:-1] + b',"x":NaN}', "not valid JSON"),
        ("nested deep", b'{"x":' + nested(5000) + b"}", "nested deeper"),
        ("UTF-16", '{"a":1}'.encode("utf-16"), "not valid JSON"),
        ("invalid UTF-8", b'{"x":"\xff"}', "not valid JSON"),
        ("lone surrogate", b'{"x":"\\ud800"}', "not valid JSON"),
        ("larger than any", b'{"x":"' + b"a" * (2 << 20) + b'"}', "too large"),
        ("LFS pointer", LFS, "git lfs pull"),
        ("another model_type", m.config(model_type="mistral"), '"mistral"'),
        ("model_type with a NUL", m.config(model_type="llama\0"), "model_type"),
        ("model_type a number", m.config(model_type=1), "model_type"),
        ("model_type missing", m.config(without=("model_type",)), "model_type"),
        ("another architecture", m.config(architectures=["LlamaForSequenceClassification"]), "architectures"),
        ("architectures a string", m.config(architectures="LlamaForCausalLM"), "architectures"),
        ("gelu", m.config(hidden_act="gelu"), '"gelu"'),
        ("attention_bias", m.config(attention_bias=True), "attention_bias"),
        ("attention_bias a number", m.config(attention_bias=1), "attention_bias"),
        ("mlp_bias", m.config(mlp_bias=True), "mlp_bias"),
        ("quantised", m.config(quantization_config={"bits": 4}), "quantization_config"),
        ("sliding window", m.config(sliding_window=4096), "sliding_window"),
        ("partial rotation", m.config(partial_rotary_factor=0.5), "partial_rotary_factor"),
        ("experts", m.config(num_local_experts=8), "num_local_experts"),
        ("soft capping", m.config(final_logit_softcapping=30.0), "final_logit_softcapping"),
        ("hidden size missing", m.config(without=("hidden_size",)), "hidden_size is missing"),
        ("hidden size 0", m.config(hidden_size=0), "hidden size is 0"),
        ("hidden size negative", m.config(hidden_size=-32), "hidden_size"),
        ("hidden size a string", m.config(hidden_size="32"), "hidden_size: found a string"),
        ("hidden size a real", m.config(hidden_size=32.0), "hidden_size: found a number"),
        ("hidden size true", m.config(hidden_size=True), "hidden_size: found true"),
        ("heads false", m.config(num_attention_heads=False), "num_attention_heads: found false"),
        ("no heads, and no head_dim", m.config(without=("head_dim",), num_attention_heads=0, num_key_value_heads=0), "not a multiple"),
        ("two architectures", m.config(architectures=["LlamaForCausalLM", "Other"]), "architectures"),
        ("eps above 1", m.config(rms_norm_eps=2.0), "rms_norm_eps"),
        ("hidden size 2^40", m.config(hidden_size=2**40), "hidden size"),
        ("hidden size 2^70", m.config(hidden_size=2**70), "hidden_size"),
        ("layers 2^31", m.config(num_hidden_layers=2**31), "number of layers"),
        ("layers that no file holds", m.config(num_hidden_layers=1000, hidden_size=2**24, head_dim=8), "more than the files"),
        ("heads 0", m.config(num_attention_heads=0), "heads is 0"),
        ("kv heads 3", m.config(num_key_value_heads=3), "cannot share"),
        ("kv heads above heads", m.config(num_key_value_heads=8), "cannot share"),
        ("head_dim odd", m.config(head_dim=7), "odd"),
        ("head_dim 2^20", m.config(head_dim=2**20), "head size"),
        ("heads that do not divide", m.config(without=("head_dim",), num_attention_heads=5, num_key_value_heads=5), "not a multiple"),
        ("vocabulary 0", m.config(vocab_size=0), "vocabulary size is 0"),
        ("vocabulary of another size", m.config(vocab_size=301), "embed_tokens.weight: shape"),
        ("context 0", m.config(max_position_embeddings=0), "context length is 0"),
        ("eps missing", m.config(without=("rms_norm_eps",)), "rms_norm_eps is missing"),
        ("eps null", m.config(rms_norm_eps=None), "rms_norm_eps is missing"),
        ("eps 0", m.config(rms_norm_eps=0.0), "rms_norm_eps"),
        ("eps negative", m.config(rms_norm_eps=-1e-5), "rms_norm_eps"),
        ("eps a string", m.config(rms_norm_eps="1e-5"), "rms_norm_eps"),
        ("theta 0", m.config(rope_theta=0), "rope_theta"),
        ("theta 1e400", m.config()[:-1].replace(b"10000.0", b"1e400") + b"}", "not valid JSON"),
        ("rope_scaling a string", m.config(rope_scaling="linear"), "rope_scaling"),
        ("rope_parameters a number", m.config(rope_parameters=1), "rope_parameters"),
        (
            "rope_theta twice",
            m.config(rope_theta=10000.0, rope_parameters={"rope_theta": 500000.0}),
            'rope_theta: found "10000.0" and in rope_parameters "500000.0"',
        ),
        (
            "rope_theta in rope_scaling too",
            m.config(rope_theta=10000.0, rope_scaling={"rope_type": "default", "rope_theta": 5e5}),
            "and in rope_scaling",
        ),
        (
            "two rope dictionaries",
            m.config(rope_scaling={"type": "linear", "factor": 2.0}, rope_parameters={"rope_type": "linear", "factor": 4.0}),
            'factor: found "2.0" in rope_scaling and in rope_parameters "4.0"',
        ),
        (
            "two rope types",
            m.config(rope_scaling={"type": "linear", "factor": 2.0}, rope_parameters={"rope_type": "default"}),
            'found the rope type "linear" in rope_scaling and "default" in rope_parameters',
        ),
        (
            "a rope dictionary that lacks a member",
            m.config(
                rope_scaling={"type": "linear", "factor": 2.0, "rope_theta": 10000.0},
                rope_parameters={"rope_type": "linear"},
            ),
            "which rope_parameters lacks",
        ),
        ("yarn", rope(rope_type="yarn", factor=2.0), '"yarn"'),
        ("dynamic", rope(type="dynamic", factor=2.0), '"dynamic"'),
        ("longrope", rope(rope_type="longrope", factor=2.0), '"longrope"'),
        ("scaling without a type", rope(factor=2.0), "type"),
        ("two types that disagree", rope(type="linear", rope_type="llama3", factor=2.0), "type"),
        ("linear without a factor", rope(rope_type="linear"), "factor"),
        ("linear by 0", rope(rope_type="linear", factor=0.0), "factor"),
        ("linear by a string", rope(rope_type="linear", factor="2"), "factor"),
        ("scaling with a member that is not known", rope(rope_type="linear", factor=2.0, beta_fast=32), "beta_fast"),
        ("llama3 without its factors", rope(rope_type="llama3", factor=8.0), "low_freq_factor"),
        ("llama3 without its low factor", m.config(rope_scaling=llama3 | {"low_freq_factor": 0.0}), "low_freq_factor"),
        ("llama3 upside down", m.config(rope_scaling=llama3 | {"high_freq_factor": 0.5}), "low_freq_factor"),
        ("tied a string", m.config(tie_word_embeddings="true"), "tie_word_embeddings"),
        ("not tied, and no head", m.config(tie_word_embeddings=False), "lm_head.weight is missing"),
    ]:  # fmt: skip
        add(label, file, says)
    kind.cases[-1].about = " "  # the tensor is missing in the directory
    for case in kind.cases:
        if case.name in ("vocabulary of another size", "layers that no file holds"):
            case.about = " "
    theta5 = {"rope_type": "default", "rope_theta": 10000.0}
    linear5 = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    for label, file in [
        ("as it should be", m.config()),
        ("byte order mark", b"\xef\xbb\xbf" + m.config()),
        ("line ends of Windows", m.config().replace(b", ", b",\r\n")),
        ("rope_parameters", m.config(without=("rope_theta", "rope_scaling"), rope_parameters=theta5)),
        ("rope_parameters, linear", m.config(without=("rope_scaling",), rope_parameters=linear5)),
        ("rope_theta twice, the same", m.config(rope_theta=10000, rope_parameters=theta5, without=("rope_scaling",))),
        ("two rope dictionaries, the same", m.config(rope_scaling={"type": "linear", "factor": 2}, rope_parameters=linear5)),
        ("rope_scaling of llama3", m.config(rope_scaling=llama3)),
        ("rope_scaling with both spellings", rope(type="linear", rope_type="linear", factor=2.0)),
        ("eos_token_id a list", m.config(eos_token_id=[2, 1])),
        ("values of null", m.config(architectures=None, attention_bias=None, use_qk_norm=False, rope_scaling={"rope_type": "default", "beta_fast": None})),
        ("no architectures", m.config(without=("architectures",))),
        ("keys of later versions", m.config(pretraining_tp=1, use_cache=True, dtype="float16", x={"y": [None]})),
        ("sliding_window null", m.config(sliding_window=None, quantization_config=None)),
        ("keys without effect", m.config(partial_rotary_factor=1.0, num_local_experts=0, head_dim=None)),
    ]:  # fmt: skip
        add(label, file, code=ACCEPTED)
    return kind


# ---- GGUF adapters -------------------------------------------------------------------------------

ADAPTER_KEYS: dict[str, tuple[int, object]] = {
    "general.type": (STRING, "adapter"),
    "general.architecture": (STRING, "llama"),
    "adapter.type": (STRING, "lora"),
    "adapter.lora.alpha": (F32, 4.0),
}


def gguf_adapter() -> Kind:
    name = "adapter.gguf"
    args = ["eval", "--model", "{base}/model", "--data", "{base}/batch.jsonl"]
    args += ["--format", "tokens", "--adapter", "{}/" + name]
    kind = Kind(
        "gguf_adapter", args, name, fuzz={"adapter_gguf": [name]}, also=["inspect", "{}/" + name]
    )
    a, b = "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"
    part = struct.pack("<64f", *[0.01] * 64)
    bad = struct.pack("<64f", float("nan"), *[0.0] * 63)
    both = [(a, [m.C, 2], 0, part), (b, [2, m.C], 0, part)]

    def file(keys: dict | None = None, tensors: list | None = None) -> bytes:
        table = ADAPTER_KEYS | (keys or {})
        kv = [m.gguf_kv(k, *v) for k, v in table.items() if v is not None]
        infos, data = [], b""
        for label, dims, form, values in both if tensors is None else tensors:
            data += bytes(-len(data) % 32)
            infos.append(m.gguf_info(label, dims, form, len(data)))
            data += values
        return m.gguf_raw(kv, infos, data)

    def add(label: str, content: bytes, says: str = "", code: int = 1) -> None:
        kind.cases.append(Case(label, {name: content}, says, code))

    more = (a.replace("attn_q", "attn_x"), [m.C, 2], 0, part)
    for label, content, says in [
        ("of another architecture", file({"general.architecture": (STRING, "gemma")}), "general.architecture"),
        ("of another type", file({"adapter.type": (STRING, "control_vector")}), "adapter.type"),
        ("type missing", file({"adapter.type": None}), "adapter.type"),
        ("alpha missing", file({"adapter.lora.alpha": None}), "adapter.lora.alpha"),
        ("alpha NaN", file({"adapter.lora.alpha": (F32, float("nan"))}), "infinity or NaN"),
        ("alpha an integer", file({"adapter.lora.alpha": (U32, 4)}), "adapter.lora.alpha"),
        ("A without B", file(tensors=both[:1]), "lora_a is there without"),
        ("B without A", file(tensors=both[1:]), "lora_b is there without"),
        ("nothing in it", file(tensors=[]), ""),
        ("tensor extra", file(tensors=[*both, more]), "attn_x"),
        ("layer that is not there", file(tensors=[(n.replace("blk.0", "blk.7"), *r) for n, *r in both]), ""),
        ("A of another width", file(tensors=[(a, [16, 4], 0, part), both[1]]), "lora_a"),
        ("ranks that disagree", file(tensors=[both[0], (b, [4, 16], 0, part)]), "lora_b"),
        ("A of one dimension", file(tensors=[(a, [64], 0, part), both[1]]), "lora_a"),
        ("A of integers", file(tensors=[(a, [m.C, 2], 26, part), both[1]]), "lora_a"),
        ("NaN in A", file(tensors=[(a, [m.C, 2], 0, bad), both[1]]), "NaN"),
        ("cut off", file()[:-4], "cut off"),
    ]:  # fmt: skip
        add(label, content, says)
    add("as it should be", file(), code=ACCEPTED)
    add("alpha 0", file({"adapter.lora.alpha": (F32, 0.0)}), code=ACCEPTED)
    add("more metadata", file({"general.name": (STRING, "x")}), code=ACCEPTED)
    return kind


KINDS = [safetensors, shards, gguf, config, gguf_adapter]
