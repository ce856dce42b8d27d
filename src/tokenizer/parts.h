/* The inside of a tokenizer, for the files of this folder.
 *
 * A reader (spm.c, hf.c, gguf_vocab.c) fills the declared half of the struct from its container;
 * sidecar.c adds the contents of the files beside it; tokenizer_seal() derives the tables that
 * encoding uses. After that nothing changes. */
#ifndef LORAC_TOKENIZER_PARTS_H
#define LORAC_TOKENIZER_PARTS_H

#include "src/tokenizer/bpe.h"
#include "src/tokenizer/match.h"
#include "src/tokenizer/nfc.h"
#include "src/tokenizer/split.h"
#include "src/tokenizer/vocab.h"

#include "src/base/json.h"

#define META_SPACE "\xe2\x96\x81" /* U+2581, SentencePiece's spelling of a space */
enum { META_SPACE_BYTES = 3, FILE_MOST = 256 << 20 };

/* Whether a text (or a part of it between added tokens) gets a space at the front. */
enum prefix { PREFIX_NONE, PREFIX_FIRST, PREFIX_EACH };

struct merge {
    int32_t left, right, joined;
};

struct tokenizer {
    char *path; /* of the file it was read from */
    /* declared by the files: */
    enum tokenizer_kind kind;
    enum pretokenizer pre;
    struct vocab vocab;
    struct merge *merges; /* by rank; none for vocabularies that merge by score */
    size_t n_merges, merges_cap;
    bool by_score;

    enum prefix prefix;
    bool prefix_unless_space; /* Metaspace: no prefix for a text that begins with a space */
    bool normalizer;          /* prefix and spaces are a normaliser, not a pre-tokeniser */
    bool trim;                /* SentencePiece's remove_extra_whitespaces */
    bool split_words;         /* Metaspace's split: no piece crosses a space */
    bool nfc;                 /* byte-level: texts are brought into Unicode's NFC */
    bool ignore_merges;       /* a word that is a piece is taken whole */
    bool byte_fallback;

    int32_t unk, bos, eos; /* -1: none */
    int32_t *stops;        /* every id that ends generation */
    size_t n_stops;
    bool adds_bos;
    char *chat_template;
    size_t rows; /* of the model (tokenizer_fit()); 0: not known, any number */

    /* derived by tokenizer_seal(): */
    struct vocab chars; /* characters that occur only inside pieces: symbols from vocab.n on */
    struct bpe bpe;
    uint32_t ascii[128]; /* symbols of single characters (SPM) */
    uint32_t space;      /* the symbol of U+2581 */
    uint32_t bytes[256]; /* byte pieces (SPM) or the symbols of bytes (byte-level) */
    bool scores_fit;     /* the scores alone decide how pieces are joined (SPM) */
    bool cut_words;      /* no rule joins across the beginning of a word */
    struct match raw[2], normal;
    struct match special; /* control and unknown pieces, for tokenizer_special_at() */
    struct splitter splitter;
};

/* Whether merging may make the piece from ordinary text. */
static inline bool joinable(const struct tokenizer *t, int32_t id)
{
    const struct piece *p = &t->vocab.pieces[id];
    return p->type == TOKEN_NORMAL || p->type == TOKEN_UNUSED ||
           (p->type == TOKEN_USER && p->in_model);
}

static inline bool special_type(enum token_type type)
{
    return type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_USER;
}

static inline size_t piece_characters(const struct tokenizer *t, int32_t id)
{
    size_t n, characters = 0;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    for (size_t i = 0; i < n; i++) characters += ((unsigned char)text[i] & 0xc0) != 0x80;
    return characters;
}

/* ---- seal.c ---------------------------------------------------------------------------------- */
int tokenizer_seal(struct tokenizer *t, const char *where, struct err *e);

/* ---- tokenizer.c ----------------------------------------------------------------------------- */
/* Keep text from spelling a piece: an ordinary or user-defined piece becomes a control piece. */
void tokenizer_mark_special(struct tokenizer *t, int32_t id);
/* Note an id that ends generation; the first one becomes eos unless eos is set. */
int tokenizer_add_stop(struct tokenizer *t, int32_t id, struct err *e);
/* Append to the merges; the parts' ids must be valid. It is an error when the joined text is not a
 * piece. */
int tokenizer_add_merge(struct tokenizer *t, int32_t left, int32_t right, const char *where,
                        struct err *e);

/* ---- containers: each fills *t, which the caller has zeroed with ids at -1 ------------------- */
int spm_read(struct tokenizer *t, const char *path, struct err *e);
/* *refused is set when the file is sound but of a kind that lorac does not encode. */
int hf_read(struct tokenizer *t, const char *path, bool *refused, struct err *e);
/* *absent is set when the file is a sound GGUF without a tokenizer. */
int gguf_vocab_read(struct tokenizer *t, const char *path, bool *absent, struct err *e);

/* An entry of added_tokens or added_tokens_decoder. The text points into the tree. */
struct added {
    const char *text;
    size_t n;
    bool special, lstrip, rstrip;
    enum piece_search search;
};
int hf_read_added(struct added *a, const json_t *o, const char *where, struct err *e);

/* Read the normaliser, pre-tokeniser and decoder of a tokenizer.json (hf_shape.c) when
 * model.byte_fallback and model.ignore_merges are known, and its post-processor when the vocabulary
 * is known. */
int hf_read_shape(struct tokenizer *t, const json_t *root, const char *path, struct err *e);
int hf_read_post(struct tokenizer *t, const json_t *root, const char *path, struct err *e);

/* ---- sidecar.c: the files beside a tokenizer.model or tokenizer.json in `dir` ---------------- */
int sidecars_read(struct tokenizer *t, const char *dir, bool from_spm, struct err *e);

/* ---- alphabet.c: GPT-2's printable spelling of bytes ----------------------------------------- */
/* The code point that spells a byte, and back (-1: spells none). */
uint32_t alphabet_of_byte(uint8_t byte);
int alphabet_to_byte(uint32_t c);
/* Append the spelling of bytes. */
void alphabet_spell(struct str *out, const char *bytes, size_t n);

/* ---- fit.c ----------------------------------------------------------------------------------- */
/* The name of an id without a piece, as llama.cpp's converter writes it. */
void padding_name(struct str *out, int32_t id);

/* ---- container.c ----------------------------------------------------------------------------- */
enum container { CONTAINER_SPM, CONTAINER_HF, CONTAINER_GGUF, CONTAINER_UNKNOWN };
/* The reader for a file, by its content, or by its name where the content does not tell. */
int container_of(enum container *c, const char *path, struct err *e);
/* Tiktoken's ranks, as Meta publishes Llama 3: lines of base64 and a number. */
bool is_tiktoken(const uint8_t *bytes, size_t n);

/* The byte that "<0x0A>" stands for, or -1 for any other spelling. */
int byte_piece(const char *text, size_t n);

#endif
