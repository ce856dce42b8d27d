"""The parts of the tables of malformed files: cases, and writers that write what they are given.

The writers are as plain as possible: they check nothing, so that a case can hold any number in any
place. The base model is as small as a Llama can be and valid in every part.
"""

import json
import struct
from dataclasses import dataclass, field

# ---- cases ---------------------------------------------------------------------------------------

ACCEPTED = 0
REFUSED = 1
USAGE = 2


@dataclass
class Link:
    """A symbolic link instead of a file."""

    target: str


@dataclass
class Fifo:
    """A named pipe, which a reader that opens it must not wait for."""


@dataclass
class Case:
    """Files below a directory of their own, the command that reads them, and what it must say."""

    name: str
    files: dict[str, object]
    says: str = ""  # part of the message; empty for what is accepted
    code: int = REFUSED
    about: str = ""  # the file that the message must name; else the kind's
    args: list[str] | None = None  # instead of the kind's; {} is the case's directory
    lines: int = 1  # of a configuration with several faults: one for each, and their number


@dataclass
class Kind:
    """Cases that share a command. `fuzz` are the files, in order, that a fuzz target reads as one
    input with NULs between."""

    name: str
    args: list[str]
    about: str
    cases: list[Case] = field(default_factory=list)
    also: list[str] = field(default_factory=list)  # a command that may say what it likes, in a line
    fuzz: dict[str, list[str]] = field(default_factory=dict)


# ---- the smallest Llama --------------------------------------------------------------------------

LAYERS, C, F, H, G, D, V = 1, 32, 32, 4, 2, 8, 300


def tensor_shapes() -> dict[str, list[int]]:
    shapes = {"model.embed_tokens.weight": [V, C], "model.norm.weight": [C]}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes |= {
            at + "self_attn.q_proj.weight": [H * D, C],
            at + "self_attn.k_proj.weight": [G * D, C],
            at + "self_attn.v_proj.weight": [G * D, C],
            at + "self_attn.o_proj.weight": [C, H * D],
            at + "mlp.gate_proj.weight": [F, C],
            at + "mlp.up_proj.weight": [F, C],
            at + "mlp.down_proj.weight": [C, F],
            at + "input_layernorm.weight": [C],
            at + "post_attention_layernorm.weight": [C],
        }
    return shapes


GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers.": "blk.",
}


def gguf_name(name: str) -> str:
    for theirs, ours in GGUF_NAMES.items():
        name = name.replace(theirs, ours)
    return name


def count(shape: list[int]) -> int:
    n = 1
    for d in shape:
        n *= d
    return n


def half(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}e", *values)


def weights(shape: list[int]) -> bytes:
    """float16: small numbers that differ, of norms ones."""
    n = count(shape)
    return half([1.0] * n if len(shape) == 1 else [(i % 7 - 3) / 64 for i in range(n)])


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": C,
    "intermediate_size": F,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": H,
    "num_key_value_heads": G,
    "head_dim": D,
    "vocab_size": V,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def config(without: tuple[str, ...] = (), **changes: object) -> bytes:
    both = CONFIG | changes
    return text({k: v for k, v in both.items() if k not in without})


# ---- safetensors ---------------------------------------------------------------------------------


def st_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """header: bytes as they are, or an object."""
    raw = header if isinstance(header, bytes) else text(header)
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def st_table(tensors: dict[str, tuple[str, list[int], bytes]]) -> tuple[dict, bytes]:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return header, data


def model_tensors() -> dict[str, tuple[str, list[int], bytes]]:
    return {n: ("F16", s, weights(s)) for n, s in tensor_shapes().items()}


def st_model(**changes: tuple[str, list[int], bytes] | None) -> bytes:
    """The base model with tensors changed (dots spelt __) or, as None, left out."""
    tensors: dict = model_tensors()
    for name, value in changes.items():
        name = name.replace("__", ".")
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value
    return st_file(*st_table(tensors))


def st_header(**entry: object) -> bytes:
    """A file of one tensor `a` of four bytes, with members changed or, as None, left out."""
    members = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | entry
    return st_file({"a": {k: v for k, v in members.items() if v is not None}}, bytes(4))


# ---- GGUF ----------------------------------------------------------------------------------------

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B"}
PACK |= {U64: "Q", I64: "q", F64: "d"}


def gguf_string(s: str | bytes, length: int | None = None) -> bytes:
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def gguf_value(kind: int, value: object) -> bytes:
    if isinstance(value, bytes):  # as it is
        return value
    if kind == STRING:
        return gguf_string(value)
    if kind == ARRAY:
        item, values = value
        return struct.pack("<IQ", item, len(values)) + b"".join(gguf_value(item, v) for v in values)
    return struct.pack("<" + PACK[kind], value)


def gguf_kv(key: str | bytes, kind: int, value: object) -> bytes:
    return gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)


def gguf_info(name: str | bytes, dims: list[int], kind: int, offset: int) -> bytes:
    """dims fastest first, as in the file."""
    head = gguf_string(name) + struct.pack("<I", len(dims))
    return head + struct.pack(f"<{len(dims)}QIQ", *dims, kind, offset)


def gguf_raw(
    kv: list[bytes],
    infos: list[bytes],
    data: bytes,
    version: int = 3,
    n_kv: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
    magic: bytes = b"GGUF",
) -> bytes:
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(infos) if n_tensors is None else n_tensors,
        len(kv) if n_kv is None else n_kv,
    )
    out = head + b"".join(kv) + b"".join(infos)
    return out + bytes(-len(out) % alignment) + data


def spm_pieces() -> list[tuple[str, float, int]]:
    """<unk>, <s>, </s>, the bytes, the space, letters, a few merges: SentencePiece's types."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    pieces += [(p, -float(i), 1) for i, p in enumerate(["he", "ll", "\u2581he"])]
    pieces += [(p, -1e9, 1) for p in "\u2581abcdefghijklmnopqrstuvwxyz"]
    return pieces


KEYS: dict[str, tuple[int, object]] = {
    "general.architecture": (STRING, "llama"),
    "llama.block_count": (U32, LAYERS),
    "llama.context_length": (U32, 512),
    "llama.embedding_length": (U32, C),
    "llama.feed_forward_length": (U32, F),
    "llama.attention.head_count": (U32, H),
    "llama.attention.head_count_kv": (U32, G),
    "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
    "llama.rope.freq_base": (F32, 10000.0),
    "llama.rope.dimension_count": (U32, D),
    "tokenizer.ggml.model": (STRING, "llama"),
    "tokenizer.ggml.tokens": (ARRAY, (STRING, [p for p, _, _ in spm_pieces()])),
    "tokenizer.ggml.scores": (ARRAY, (F32, [s for _, s, _ in spm_pieces()])),
    "tokenizer.ggml.token_type": (ARRAY, (I32, [t for _, _, t in spm_pieces()])),
    "tokenizer.ggml.bos_token_id": (U32, 1),
    "tokenizer.ggml.eos_token_id": (U32, 2),
}


def gguf_tensors() -> list[tuple[str, list[int], int, bytes]]:
    """Norms must be F32 or F16; all are F16."""
    return [(gguf_name(n), s[::-1], 1, weights(s)) for n, s in tensor_shapes().items()]


def gguf_model(
    keys: dict | None = None,
    more: list[bytes] | None = None,
    tensors: list | None = None,
    alignment: int = 32,
    **raw: object,
) -> bytes:
    """The base model with keys changed (None: left out), raw keys added, other tensors."""
    table = KEYS | (keys or {})
    kv = [gguf_kv(k, *v) for k, v in table.items() if v is not None] + (more or [])
    infos, data = [], b""
    for name, dims, kind, values in gguf_tensors() if tensors is None else tensors:
        data += bytes(-len(data) % alignment)
        infos.append(gguf_info(name, dims, kind, len(data)))
        data += values
    return gguf_raw(kv, infos, data, alignment=alignment, **raw)


# ---- SentencePiece -------------------------------------------------------------------------------


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field_bytes(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def field_int(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def spm_piece(piece: str | bytes, score: float, kind: int) -> bytes:
    raw = piece if isinstance(piece, bytes) else piece.encode()
    body = field_bytes(1, raw) + varint(2 << 3 | 5) + struct.pack("<f", score)
    return field_bytes(1, body + field_int(3, kind))


TRAINER = field_int(3, 2) + field_int(35, 1)  # BPE, byte_fallback
NORMALIZER = field_int(4, 0)  # no remove_extra_whitespaces


def spm_model(
    pieces: list | None = None,
    trainer: bytes = TRAINER,
    normalizer: bytes = NORMALIZER,
    more: bytes = b"",
) -> bytes:
    out = b"".join(spm_piece(*p) for p in (spm_pieces() if pieces is None else pieces))
    return out + field_bytes(2, trainer) + field_bytes(3, normalizer) + more


# ---- tokenizer.json ------------------------------------------------------------------------------


def hf_tokenizer() -> dict:
    vocab = {p: i for i, (p, _, _) in enumerate(spm_pieces())}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": t,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for i, t in enumerate(["<unk>", "<s>", "</s>"])
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": ["h e", "l l", "\u2581 he"],
        },
    }
