#include "src/config/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "src/base/mem.h"

/* An open container, and the key in it that waits for its value. */
struct frame {
    struct yaml_node *node, *last;
    size_t n;
    char *key;
    size_t key_line;
    bool twice; /* the key has a value already, and the next one is left out */
};

struct builder {
    const char *where, *text;
    size_t n;
    bool lines;
    struct complaints *all; /* NULL: the first fault ends the parsing */
    yaml_parser_t parser;
    struct yaml_node *root, *newest;
    struct frame open[YAML_DEPTH];
    size_t depth;
    bool document_seen, stream_over;
    struct err *e;
};

const char *yaml_kind_name(enum yaml_kind kind)
{
    static const char *const names[] = { "a text", "a list", "a section of keys" };
    return names[kind];
}

static int refuse(struct builder *b, size_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct builder *b, size_t line, const char *fmt, ...)
{
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (b->lines) return err_usage(b->e, "%s:%zu: %s", b->where, line, msg);
    return err_usage(b->e, "%s: %s", b->where, msg);
}

/* Whether that line of the text is indented with a tab: the most common reason for libyaml's
 * "cannot start any token". */
static bool line_has_tab_indent(const struct builder *b, size_t line)
{
    const char *p = b->text, *end = b->text + b->n;
    while (line > 1 && p < end)
        if (*p++ == '\n') line--;
    while (p < end && *p == ' ') p++;
    return p < end && *p == '\t';
}

/* An error of the parser itself. */
static int refuse_syntax(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR)
        return err_code(b->e, ERR_MEMORY, "%s: out of memory", b->where);
    if (p->error == YAML_READER_ERROR) {
        size_t line = 1;
        for (size_t i = 0; i < p->problem_offset && i < b->n; i++) line += b->text[i] == '\n';
        bool control = strstr(problem, "control characters") != NULL;
        return refuse(b, line,
                      control ? "%s (byte %zu); in double quotes write \\n, \\t or \\xNN"
                              : "not UTF-8 text: %s (byte %zu)",
                      problem, p->problem_offset);
    }
    size_t line = p->problem_mark.line + 1;
    const char *remedy = "";
    if (line_has_tab_indent(b, line))
        remedy = "; indent with spaces, not with tabs";
    else if (b->n && *b->text == '{')
        remedy = "; if these are data, a configuration names them as data.train";
    return refuse(b, line, "not valid YAML: %s%s%s%s", p->context ? p->context : "",
                  p->context ? ": " : "", problem, remedy);
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, size_t line)
{
    struct yaml_node *node = mem_alloc(1, sizeof *node, b->e);
    if (!node) return NULL;
    node->kind = kind;
    node->line = node->key_line = line;
    if (b->newest)
        b->newest->made_after = node;
    else
        b->root = node;
    b->newest = node;
    return node;
}

/* Put a finished value or a new container into the innermost open one. */
static void attach(struct builder *b, struct yaml_node *node)
{
    if (b->depth == 0) return;
    struct frame *f = &b->open[b->depth - 1];
    if (f->twice) {
        mem_free(f->key);
        f->key = NULL;
        f->twice = false;
        return;
    }
    if (f->node->kind == YAML_MAPPING) {
        node->key = f->key;
        node->key_line = f->key_line;
        f->key = NULL;
    }
    if (f->last)
        f->last->next = node;
    else
        f->node->child = node;
    f->last = node;
    f->n++;
}

/* Whether the next scalar is a key. */
static bool key_wanted(const struct builder *b)
{
    if (b->depth == 0) return false;
    const struct frame *f = &b->open[b->depth - 1];
    return f->node->kind == YAML_MAPPING && !f->key;
}

static int check_marks(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag,
                       size_t line)
{
    if (anchor) {
        return refuse(b, line,
                      "the anchor %s: anchors and aliases are not read here; write the "
                      "value in each place, or quote a text that begins with &",
                      err_quotez((const char *)anchor));
    }
    if (tag) {
        return refuse(b, line,
                      "the tag %s: tags are not read here; leave it out, or quote a text "
                      "that begins with !",
                      err_quotez((const char *)tag));
    }
    return 0;
}

/* Check that the innermost list has room for one more item. */
static int check_items(struct builder *b, size_t line)
{
    const struct frame *f = b->depth ? &b->open[b->depth - 1] : NULL;
    if (!f || f->node->kind != YAML_SEQUENCE || f->n < YAML_ITEMS) return 0;
    return refuse(b, line, "more than %d items in one list", YAML_ITEMS);
}

static int on_key(struct builder *b, const char *text, size_t n, bool plain, size_t line)
{
    struct frame *f = &b->open[b->depth - 1];
    if (n == 0) return refuse(b, line, "an empty key");
    if (plain && n == 2 && memcmp(text, "<<", 2) == 0)
        return refuse(b, line, "a merge key <<: not read here; write the keys out");
    if (f->n >= YAML_KEYS) return refuse(b, line, "more than %d keys in one section", YAML_KEYS);
    for (const struct yaml_node *m = f->node->child; m; m = m->next) {
        if (strcmp(m->key, text) != 0) continue;
        if (!b->lines) return refuse(b, line, "the key %s twice", err_quote(text, n));
        refuse(b, line, "the key %s again; it is already in line %zu", err_quote(text, n),
               m->key_line);
        int code = b->all ? complaints_add(b->all, line, b->e) : b->e->code;
        if (code) return code;
        f->twice = true;
        break;
    }
    f->key = mem_strndup(text, n, b->e);
    f->key_line = line;
    return f->key ? 0 : b->e->code;
}

static int on_scalar(struct builder *b, const yaml_event_t *event, size_t line)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int code = check_marks(b, event->data.scalar.anchor, event->data.scalar.tag, line);
    if (code) return code;
    if (memchr(text, 0, n)) return refuse(b, line, "%s holds a NUL", err_quote(text, n));
    if (key_wanted(b)) return on_key(b, text, n, plain, line);
    code = check_items(b, line);
    if (code) return code;
    struct yaml_node *node = node_new(b, YAML_SCALAR, line);
    if (!node) return b->e->code;
    node->plain = plain;
    attach(b, node);
    node->text = mem_strndup(text, n, b->e);
    return node->text ? 0 : b->e->code;
}

static int on_open(struct builder *b, enum yaml_kind kind, const yaml_char_t *anchor,
                   const yaml_char_t *tag, size_t line)
{
    int code = check_marks(b, anchor, tag, line);
    if (code) return code;
    if (key_wanted(b))
        return refuse(b, line, "%s as a key; keys are plain words", yaml_kind_name(kind));
    if (b->depth == YAML_DEPTH) return refuse(b, line, "nested deeper than %d levels", YAML_DEPTH);
    code = check_items(b, line);
    if (code) return code;
    struct yaml_node *node = node_new(b, kind, line);
    if (!node) return b->e->code;
    attach(b, node);
    b->open[b->depth++] = (struct frame){ .node = node };
    return 0;
}

static int on_document(struct builder *b, const yaml_event_t *event, size_t line)
{
    if (b->document_seen) return refuse(b, line, "a second document begins here; only one is read");
    b->document_seen = true;
    if (event->data.document_start.version_directive ||
        event->data.document_start.tag_directives.start !=
            event->data.document_start.tag_directives.end)
        return refuse(b, line, "a %% directive: not read here; leave it out");
    return 0;
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
    size_t line = event->start_mark.line + 1;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(b, event, line);
    case YAML_ALIAS_EVENT:
        return refuse(b, line,
                      "the alias %s: anchors and aliases are not read here; write the "
                      "value in each place, or quote a text that begins with *",
                      err_quotez((const char *)event->data.alias.anchor));
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event, line);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, YAML_SEQUENCE, event->data.sequence_start.anchor,
                       event->data.sequence_start.tag, line);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, YAML_MAPPING, event->data.mapping_start.anchor,
                       event->data.mapping_start.tag, line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    case YAML_STREAM_END_EVENT:
        b->stream_over = true;
        return 0;
    default:
        return 0; /* the stream's start, a document's end */
    }
}

static int parse(struct yaml_node **root, struct builder b)
{
    const char *text = b.text, *where = b.where;
    size_t n = b.n;
    struct err *e = b.e;
    *root = NULL;
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) { /* a byte order mark would shift column 0 */
        b.text = text += 3;
        b.n = n -= 3;
    }
    if (n > YAML_BYTES)
        return err_usage(e, "%s: %zu bytes, wanted at most %d", where, n, YAML_BYTES);
    if (!yaml_parser_initialize(&b.parser))
        return err_code(e, ERR_MEMORY, "%s: out of memory", where);
    /* Without this call libyaml would accept a UTF-16 byte order mark. */
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, n);
    int code = 0;
    while (!code && !b.stream_over) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b.parser, &event)) {
            code = refuse_syntax(&b);
            break;
        }
        code = on_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&b.parser);
    for (size_t i = 0; i < b.depth; i++) mem_free(b.open[i].key);
    if (code)
        yaml_tree_free(b.root);
    else
        *root = b.root;
    return code;
}

int yaml_tree_parse(struct yaml_node **root, const char *text, size_t n, const char *where,
                    bool lines, struct err *e)
{
    return parse(root,
                 (struct builder){ .where = where, .text = text, .n = n, .lines = lines, .e = e });
}

int yaml_tree_parse_all(struct yaml_node **root, const char *text, size_t n, const char *where,
                        struct complaints *all, struct err *e)
{
    return parse(root,
                 (struct builder){
                     .where = where, .text = text, .n = n, .lines = true, .all = all, .e = e });
}

void yaml_tree_free(struct yaml_node *root)
{
    while (root) {
        struct yaml_node *after = root->made_after;
        mem_free(root->text);
        mem_free(root->key);
        mem_free(root);
        root = after;
    }
}
