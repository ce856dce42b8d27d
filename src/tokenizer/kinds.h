/* The kinds of tokenizers, and of the pieces in their vocabularies. */
#ifndef LORAC_TOKENIZER_KINDS_H
#define LORAC_TOKENIZER_KINDS_H

enum tokenizer_kind { TOKENIZER_SPM, TOKENIZER_BYTE_BPE };

enum token_type { /* SentencePiece's and GGUF's numbers */
                  TOKEN_NORMAL = 1,
                  TOKEN_UNKNOWN = 2,
                  TOKEN_CONTROL = 3,
                  TOKEN_USER = 4,
                  TOKEN_UNUSED = 5,
                  TOKEN_BYTE = 6,
};

#endif
