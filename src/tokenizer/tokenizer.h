/* Text to token ids and back, for the tokenizers that Llama models come with.
 *
 * One BPE encoder serves four containers: SentencePiece's tokenizer.model (BPE with the identity
 * normaliser), Hugging Face's tokenizer.json (SentencePiece-style, and byte-level with the
 * pre-tokenisers of GPT-2, SmolLM2, Llama 3 and Qwen2, the NFC normaliser or none), and the
 * tokenizers embedded in GGUF files ("llama" and "gpt2"). Unigram, other normalisers and unknown
 * pre-tokenisers are refused by name: a tokenizer that is almost right trains a model that is
 * quietly wrong.
 *
 * Text is only ever text. `<s>`, `</s>`, `<|im_start|>` or `<0x0A>` inside it never become control
 * tokens or byte pieces; templates place special tokens by id (tokenizer_special()). Only added
 * tokens that their files do not call special (user-defined ones) are looked for in it. */
#ifndef LORAC_TOKENIZER_TOKENIZER_H
#define LORAC_TOKENIZER_TOKENIZER_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/str.h"
#include "src/tokenizer/kinds.h"

struct tokenizer;

/* Open a SentencePiece model, a tokenizer.json, a GGUF (each recognised by its content, whatever
 * its name: tokenizer.model.v3), or a directory that holds one of the first two. Of a directory
 * with both, tokenizer.json is read, because it knows the added tokens, unless it is of a kind that
 * lorac refuses. Beside either file, tokenizer_config.json, special_tokens_map.json,
 * generation_config.json and added_tokens.json are read for bos, eos, added tokens and the chat
 * template. The tokenizer is immutable afterwards and may be used from many threads. */
int tokenizer_open(struct tokenizer **out, const char *path, struct err *e);
void tokenizer_free(struct tokenizer *t);

/* Whether tokenizer_open() would take the file by its content, or refuse it by name: a
 * SentencePiece model, a tokenizer.json, tiktoken's ranks, Mistral's tekken.json, a GGUF. */
bool tokenizer_is_file(const char *path);

/* Find the tokenizer of a model, as the command line documents it: `named` when it is not NULL,
 * else in the model itself (GGUF, or a tokenizer's own file), in its directory, then in the
 * directory's parent. */
int tokenizer_find(struct tokenizer **out, const char *model_path, const char *named,
                   struct err *e);

/* Ids with the bytes of the text that each covers: [start, end) offsets into the text passed to
 * tokenizer_encode() (plus `base`). A piece that has no bytes in the text (the dummy prefix alone)
 * has start == end. A byte-fallback piece covers its one byte. Starts and ends never decrease;
 * spans lie end to end and cover the whole text, except for bytes that give no token (see
 * tokenizer_encode()), and where NFC changes characters: there each token made of any of them
 * covers all of them. */
struct tokens {
    int32_t *ids;
    uint32_t *start, *end;
    size_t n, cap;
};
void tokens_free(struct tokens *t);
/* Append one id with a span. */
int tokens_add(struct tokens *t, int32_t id, size_t start, size_t end, struct err *e);

/* Append the ids of the n bytes at `text` (at most 1 GiB), without BOS or EOS. Span offsets are
 * shifted by `base`. SentencePiece-style tokenizers put their dummy prefix before the text of each
 * call, as SentencePiece does for each string. Invalid UTF-8 is an error that names the byte. The
 * time is O(n log n) whatever the text.
 *
 * These bytes give no token: spaces that SentencePiece's remove_extra_whitespaces drops (inside the
 * text the token before covers them), and, as in Hugging Face's library, bytes for which a
 * byte-level vocabulary has no piece (SmolLM2 lacks six control characters and planes 4 to 11 of
 * Unicode; a token before them in the same word covers them). */
int tokenizer_encode(const struct tokenizer *t, struct tokens *out, const char *text, size_t n,
                     size_t base, struct err *e);

/* The same for a part of a text in which special tokens were placed by id: `after` is the token
 * before this part, `before` the token after it, -1 where there is none (also where `after` is a
 * BOS that the text does not spell, because the text begins after it). A tokenizer that treats only
 * the beginning of a text differently (legacy = false, prepend_scheme = first) does not do so after
 * a special token; white space beside tokens with lstrip or rstrip gives no token. Source:
 * PreTrainedTokenizer.tokenize and LlamaTokenizer.tokenize of transformers 4,
 * tokenizers/src/pre_tokenizers/metaspace.rs and .../added_vocabulary.rs. */
int tokenizer_encode_between(const struct tokenizer *t, struct tokens *out, const char *text,
                             size_t n, size_t base, int32_t after, int32_t before, struct err *e);
/* Whether the tokenizer puts an extra space before a part of a text; `after` as above. */
bool tokenizer_prefixes(const struct tokenizer *t, int32_t after);

/* Append the text of ids, special tokens skipped unless `special`. SentencePiece-style: the space
 * of the dummy prefix is removed from the front when the first id carries it (`strip_prefix`).
 * Bytes may be incomplete UTF-8 when the ids end inside a character. Ids without a piece (data sets
 * of token ids may hold them) are spelt [PAD330], as llama.cpp names them. */
void tokenizer_decode(const struct tokenizer *t, struct str *out, const int32_t *ids, size_t n,
                      bool special, bool strip_prefix);

/* The path of the file from which it was read. */
const char *tokenizer_path(const struct tokenizer *t);
/* A digest of everything that decides the ids of a text, with bos and eos: two files with the same
 * tokenizer have the same digest. */
int tokenizer_digest(const struct tokenizer *t, uint8_t digest[SHA256_BYTES], struct err *e);

size_t tokenizer_size(const struct tokenizer *t); /* ids are 0 .. size-1 */

/* A model and its tokenizer need not have the same size. Embeddings may be padded: then ids without
 * a piece must never be generated. Or a tokenizer has tokens that were added without resizing the
 * model: it can be used as long as none of them is needed.
 *
 * Tell the tokenizer that the model `model` (a path, for the message) has `rows` rows. It is an
 * error when an ordinary piece, one that merging can make from text, has no row: the two do not
 * belong together. Afterwards encoding a text that needs a token without a row is an error that
 * names the token. */
int tokenizer_fit(struct tokenizer *t, size_t rows, const char *model, struct err *e);
/* The lowest id from `rows` on that is an ordinary piece, BOS or an EOS; -1: none. */
int32_t tokenizer_needs(const struct tokenizer *t, size_t rows);
/* Whether the id can be placed: whether it has a row, as far as tokenizer_fit() knows. */
bool tokenizer_has_row(const struct tokenizer *t, int32_t id);
/* Set *e to the error for an id that has none. */
int tokenizer_no_row(const struct tokenizer *t, int32_t id, struct err *e);
/* *mute = a flag for each of a model's `rows` ids: set where the id has no piece, or an unused one,
 * and must not be generated. NULL when every id may be generated. Freed with mem_free(). */
int tokenizer_mute(uint8_t **mute, const struct tokenizer *t, size_t rows, struct err *e);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t); /* the first of the list; -1: none */
/* Whether the id ends generation: it is an eos of the files, or the eot that a GGUF names. */
bool tokenizer_is_eos(const struct tokenizer *t, int32_t id);
/* The list of those ids, eos first; returns its length. */
size_t tokenizer_stops(const struct tokenizer *t, const int32_t **ids);
/* Whether the model's own files put BOS before every sequence. */
bool tokenizer_adds_bos(const struct tokenizer *t);
/* The id of a special (control or added) token by its exact text, or -1. */
int32_t tokenizer_special(const struct tokenizer *t, const char *text);
/* The length of the longest special token that the n bytes at `text` begin with, and its id; 0:
 * none. User-defined ones are not special. */
size_t tokenizer_special_at(const struct tokenizer *t, const char *text, size_t n, int32_t *id);
/* The model's chat template text, or NULL. It is never executed, only recognised. */
const char *tokenizer_chat_template(const struct tokenizer *t);

/* The queries below are for writers of other containers (merge to GGUF, GGUF to Hugging Face). */
enum tokenizer_kind tokenizer_kind(const struct tokenizer *t);
/* llama.cpp's name for the pre-tokeniser ("qwen2"); "default" for SPM kinds. */
const char *tokenizer_pre_name(const struct tokenizer *t);
/* Whether texts are brought into Unicode's NFC before they are cut into words. A GGUF cannot record
 * this: llama.cpp never does it. */
bool tokenizer_normalizes(const struct tokenizer *t);
/* The piece as stored (SentencePiece: with U+2581; byte-level: in GPT-2's printable alphabet). */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n);
/* The id of a piece of exactly that text, or -1. */
int32_t tokenizer_find_piece(const struct tokenizer *t, const char *text, size_t n);
/* The score of a piece, for SPM kinds. A tokenizer.json has none, so scores are made from its
 * merges. */
float tokenizer_score(const struct tokenizer *t, int32_t id);
/* Whether merging by those scores gives the same ids as this tokenizer. When false, containers that
 * hold scores only (GGUF "llama", tokenizer.model) cannot hold it: refuse to write them. */
bool tokenizer_scores_fit(const struct tokenizer *t);
enum token_type tokenizer_type(const struct tokenizer *t, int32_t id);
/* Merge number i as its two parts' ids; false past the last (SPM without a merge list: none). */
bool tokenizer_merge(const struct tokenizer *t, size_t i, int32_t *left, int32_t *right);
bool tokenizer_adds_prefix(const struct tokenizer *t); /* SPM's dummy prefix */
/* -1: none. With byte fallback no text becomes it. */
int32_t tokenizer_unknown(const struct tokenizer *t);

/* Write files from which transformers (and lorac) load this tokenizer into a directory that exists:
 * tokenizer.json and tokenizer_config.json with bos, eos, special tokens and the chat template; for
 * SPM kinds also tokenizer.model for tools that read only that, where scores are enough. SPM kinds
 * that tokenizer.json cannot describe (unused pieces that are joined on the way, dropped spaces)
 * get only tokenizer.model. The ids that end generation besides eos belong in the model's
 * generation_config.json: see tokenizer_stops(). */
int tokenizer_export(const struct tokenizer *t, const char *dir, struct err *e);

#endif
