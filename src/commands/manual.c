#include "src/commands/manual.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/utf8.h"
#include "src/base/watchdog.h"
#include "src/config/keys.h"
#include "src/config/value.h"

/* ---- text ------------------------------------------------------------------------------------ */

/* Append text, so that no character of it is taken for the language's own. */
static void add_text(struct str *out, const char *text, size_t n)
{
    for (size_t i = 0, bytes; i < n; i += bytes) {
        uint32_t c = (unsigned char)text[i];
        bytes = utf8_decode(&c, text + i, n - i);
        if (!bytes) bytes = 1;
        bool begins = !out->n || out->p[out->n - 1] == '\n';
        if (begins && (c == '.' || c == '\'')) str_addz(out, "\\&");
        if (c == '\\')
            str_addz(out, "\\e");
        else if (c == '^' || c == '~')
            str_addz(out, c == '^' ? "\\(ha" : "\\(ti");
        else if (c > 126)
            str_addf(out, "\\[u%04X]", (unsigned)c);
        else
            str_addc(out, (char)c);
    }
}

/* Append words, in lines of at most 78 characters; each sentence begins a line, as the language
 * wants it. */
static void add_line(struct str *out, const char *text, size_t n)
{
    size_t line = out->n;
    for (const char *end = text + n; text < end;) {
        size_t word = 0;
        while (text + word < end && !isspace((unsigned char)text[word])) word++;
        if (word) {
            bool first = !out->n || out->p[out->n - 1] == '\n' || out->n == line;
            if (!first && out->n - line + 1 + word > 78) {
                str_addc(out, '\n');
                line = out->n;
            } else if (!first) {
                str_addc(out, ' ');
            }
            add_text(out, text, word);
            if (strchr(".?!", text[word - 1]) && text + word < end) {
                str_addc(out, '\n');
                line = out->n;
            }
        }
        text += word + (text + word < end);
    }
    str_addc(out, '\n');
}

static void add_linez(struct str *out, const char *text)
{
    add_line(out, text, strlen(text));
}

/* An argument of a macro: one word in quotes, in which a name of two letters is no macro. */
static void add_argument(struct str *out, const char *text)
{
    str_addz(out, " \"");
    for (; *text; text++) {
        if (*text == '"')
            str_addz(out, "\\(dq");
        else if (*text == '-')
            str_addz(out, "\\-");
        else
            add_text(out, text, 1);
    }
    str_addc(out, '"');
}

static void add_literal(struct str *out, const char *text)
{
    str_addz(out, ".Bd -literal -offset indent\n");
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        add_text(out, text, n);
        str_addc(out, '\n');
    }
    str_addz(out, ".Ed\n");
}

static void begin_page(struct str *out, const struct manual *m, const char *title, int section)
{
    str_addf(out, ".\\\" Made by `lorac help man` from the program's tables.\n.Dd %s\n.Dt ",
             m->date);
    for (; *title; title++) str_addc(out, (char)toupper((unsigned char)*title));
    str_addf(out, " %d\n.Os lorac %s\n.Sh NAME\n", section, m->version);
}

/* Terms and their explanations, in pairs; a NULL ends them. */
static void add_terms(struct str *out, const char *heading, const char *const *pairs)
{
    str_addf(out, ".Sh %s\n.Bl -tag -width Ds\n", heading);
    for (; *pairs; pairs += 2) {
        str_addz(out, ".It Cm");
        add_argument(out, pairs[0]);
        str_addc(out, '\n');
        add_linez(out, pairs[1]);
    }
    str_addz(out, ".El\n");
}

static void add_exit_status(struct str *out)
{
    char number[5][16];
    const int codes[] = { 0, ERR_FAIL, ERR_USAGE, ERR_STOPPED, WATCHDOG_EXIT };
    for (size_t i = 0; i < 5; i++) snprintf(number[i], sizeof number[i], "%d", codes[i]);
    add_terms(out, "EXIT STATUS",
              (const char *const[]){
                  number[0], "done", number[1], "failed: a bad file, a full disk, a faulty model",
                  number[2], "wrong usage or configuration", number[3],
                  "stopped early with a checkpoint; --resume auto goes on", number[4],
                  "ended by train.watchdog, as the run hung; --resume auto goes on", NULL });
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Between two parts of different kinds stands what ends the one and begins the other. */
static void add_about(struct str *out, const char *text)
{
    bool list = false, display = false, begun = false;
    for (struct about p; about_next(&p, &text);) {
        bool line = p.kept && p.n > 0;
        if (display && !line) str_addz(out, ".Ed\n");
        if (list && !p.hang) str_addz(out, ".El\n");
        if (p.hang && !list) str_addz(out, ".Bl -tag -width Ds\n");
        if (line && !display) str_addz(out, ".Bd -literal\n");
        if (!p.kept && !p.hang && begun) str_addz(out, ".Pp\n");
        if (p.hang) {
            size_t word = strcspn(p.text, " ");
            str_addf(out, ".It Cm %.*s\n", (int)word, p.text);
        }
        if (line) {
            add_text(out, p.text, p.n);
            str_addc(out, '\n');
        } else if (p.n) {
            add_line(out, p.text + p.hang, p.n - p.hang);
        }
        display = line;
        list = p.hang > 0;
        begun = true;
    }
    if (display) str_addz(out, ".Ed\n");
    if (list) str_addz(out, ".El\n");
}

static void add_option(struct str *out, const struct option *o)
{
    str_addz(out, ".It");
    if (o->letter) str_addf(out, " Fl %c ,", o->letter);
    str_addf(out, " Fl \\-%s", o->name);
    if (o->value) {
        str_addz(out, " Ar");
        add_argument(out, o->value);
    }
    str_addc(out, '\n');
    add_linez(out, o->help);
    if (o->allowed && o->text) {
        str_addz(out, ".Pp\nOne of: ");
        add_linez(out, o->allowed);
    } else if (o->allowed) {
        str_addz(out, ".Pp\nA number in ");
        add_linez(out, o->allowed);
    }
}

void manual_command(struct str *out, const struct manual *m, const struct command *c)
{
    char title[64];
    snprintf(title, sizeof title, "lorac-%s", c->name);
    begin_page(out, m, title, 1);
    str_addf(out, ".Nm %s\n.Nd ", title);
    add_linez(out, c->summary);
    str_addf(out, ".Sh SYNOPSIS\n.Nm lorac %s\n", c->name);
    if (c->options) str_addz(out, ".Op Ar option ...\n");
    if (*c->args) add_linez(out, c->args);
    str_addz(out, ".Sh DESCRIPTION\n");
    if (c->about)
        add_about(out, c->about);
    else
        str_addf(out,
                 "The command writes results on standard output and the rest on standard error.\n");
    if (c->options) {
        str_addz(out, ".Pp\nThe options are:\n.Bl -tag -width Ds\n");
        for (const struct option *o = c->options; o->name; o++) add_option(out, o);
        str_addz(out, ".El\n");
    }
    add_exit_status(out);
    str_addz(out, ".Sh EXAMPLES\n");
    add_literal(out, c->examples);
    str_addz(out, ".Sh SEE ALSO\n.Xr lorac 1 ,\n.Xr lorac-config 5\n");
}

void manual_program(struct str *out, const struct manual *m)
{
    begin_page(out, m, "lorac", 1);
    str_addz(out, ".Nm lorac\n.Nd fine-tune Llama and Qwen2 models with LoRA on CPUs\n"
                  ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar option ...\n.Op Ar argument ...\n"
                  ".Sh DESCRIPTION\n.Nm\n"
                  "trains low-rank adapters on instruction data, and merges, converts and asks\n"
                  "models with them.\n"
                  "Results go to standard output, everything else to standard error.\n"
                  "No socket is opened and nothing is downloaded.\n.Pp\nThe commands are:\n"
                  ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < m->n; i++) {
        str_addf(out, ".It Xr lorac-%s 1\n", m->commands[i]->name);
        add_linez(out, m->commands[i]->summary);
    }
    str_addz(out, ".It Cm help Op Ar command\nThe options and examples of a command; of all, the "
                  "list above.\n.It Cm help keys\nEvery key of a configuration, in Markdown.\n"
                  ".It Fl \\-version\nThis build and its libraries.\n.El\n");
    add_terms(out, "ENVIRONMENT",
              (const char *const[]){
                  "OMP_NUM_THREADS",
                  "the number of threads; else SLURM_CPUS_PER_TASK, else the "
                  "processors that the process may use",
                  "OMP_PROC_BIND, OMP_PLACES", "where threads stay", "OMP_WAIT_POLICY",
                  "how idle threads wait: active or passive; without it they adapt", "LORAC_ISA",
                  "the instruction set of the kernels, instead of the best", "LORAC_GEMM",
                  "own or blas: whose products are used", "TMPDIR",
                  "where packed data files are unpacked, instead of /tmp", "XDG_CACHE_HOME, HOME",
                  "the place of the cache of hashes and prepared data", "NO_COLOR",
                  "if it is set, nothing is coloured", NULL });
    add_exit_status(out);
    str_addz(out, ".Sh SEE ALSO\n.Xr lorac-config 5\n");
}

/* ---- the configuration ----------------------------------------------------------------------- */

static void add_key(struct str *out, const struct key *k)
{
    struct str wanted = { 0 };
    str_addf(out, ".It Cm %s\n", k->name);
    add_linez(out, k->help);
    str_addz(out, ".Pp\n");
    value_add_wanted(&wanted, k);
    add_linez(out, wanted.p ? wanted.p : "");
    str_addz(out, k->by_default ? ".Pp\nDefault: " : ".Pp\nMust be given.\n");
    if (k->by_default) add_linez(out, k->by_default);
    if (!k->same_on_resume) str_addz(out, ".Pp\nA resumed run may change it.\n");
    out->failed |= wanted.failed;
    str_free(&wanted);
}

void manual_keys(struct str *out, const struct manual *m)
{
    const char *section = "";
    begin_page(out, m, "lorac-config", 5);
    str_addz(out, ".Nm lorac-config\n.Nd configuration of a training run of lorac\n"
                  ".Sh DESCRIPTION\n"
                  "A run is described by one YAML file with the sections and keys below.\n"
                  "On the command line\n.Ar section.key Ns = Ns Ar value\n"
                  "overrides a key of the file; the value is YAML too.\n"
                  "An unknown, misspelt or repeated key is an error that names its line and the\n"
                  "nearest key.\n"
                  "Paths are relative to the directory in which the command is started.\n");
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (strcmp(section, k->section) != 0) {
            if (*section) str_addz(out, ".El\n");
            str_addf(out, ".Ss The section %s\n.Bl -tag -width Ds\n", k->section);
        }
        section = k->section;
        add_key(out, k);
    }
    str_addz(out, ".El\n.Sh EXAMPLES\n");
    add_literal(out, "model:\n  path: models/Llama-2-7b-hf\ndata:\n  train: support.jsonl\n"
                     "  template: alpaca\noutput:\n  dir: runs/support\n");
    str_addz(out, ".Sh SEE ALSO\n.Xr lorac 1 ,\n.Xr lorac-train 1\n");
}

/* ---- the completion -------------------------------------------------------------------------- */

/* "'word' 'word'": no word of the tables has a quote in it. */
static void add_quoted(struct str *out, const char *word, size_t n, const char *after)
{
    CHECK(!memchr(word, '\'', n));
    str_addf(out, " '%.*s%s'", (int)n, word, after);
}

/* The words that can stand as the first argument: "show|check|prepare ..."; none where one of them
 * is a name in capitals. */
static void add_first_argument(struct str *out, const char *args)
{
    size_t n = strcspn(args, " ");
    if (!memchr(args, '|', n)) return;
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)args[i]) && args[i] != '|') return;
    for (size_t word; n > 0; args += word, n -= word) {
        if (*args == '|') args++, n--;
        word = strcspn(args, "| ");
        add_quoted(out, args, word, "");
    }
}

static bool takes_keys(const struct command *c)
{
    return strstr(c->args, "key=value") || strstr(c->args, "KEY=VALUE");
}

/* One row of a `case`: "train)  words=('--resume' '--max-hours');;". */
static void add_command_words(struct str *out, const struct command *c)
{
    str_addf(out, "    %s)\n        options=(", c->name);
    for (const struct option *o = c->options; o && o->name; o++)
        str_addf(out, "%s--%s", o == c->options ? "" : " ", o->name);
    str_addz(out, " --help)\n        first=(");
    add_first_argument(out, c->args);
    str_addf(out, ")\n        keys=%d\n        ;;\n", takes_keys(c) ? 1 : 0);
}

/* What may follow an option: its words, a file (for text that no table limits), or something that
 * cannot be completed. */
static void add_option_values(struct str *out, const struct command *c)
{
    for (const struct option *o = c->options; o && o->name; o++) {
        if (o->flag) continue;
        str_addf(out, "    %s:--%s", c->name, o->name);
        if (o->letter) str_addf(out, " | %s:-%c", c->name, o->letter);
        str_addz(out, ") value=1 words=(");
        for (const char *p = o->text && o->allowed ? o->allowed : ""; *p; p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            add_quoted(out, p, n, "");
            p += n;
        }
        str_addz(out, ") ;;\n");
    }
}

static void add_key_values(struct str *out)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (k->type != VALUE_CHOICE && k->type != VALUE_BOOL) continue;
        str_addf(out, "    %s) words=(", k->name);
        static const char *const yes_no[] = { "true", "false", NULL };
        for (const char *const *w = k->type == VALUE_BOOL ? yes_no : k->words; *w; w++)
            add_quoted(out, *w, strlen(*w), "");
        str_addz(out, ") ;;\n");
    }
}

/* bash cuts the line at = and : before it asks, and replaces only what comes after the last of
 * them: so the line is cut here at blanks alone, and what bash keeps is taken off again. */
static const char completion_code[] =
    "_lorac()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} word command='' config='' before='' after='' i\n"
    "    local -a typed options first words=() found=()\n"
    "    local keys=0 value=0\n"
    "    COMPREPLY=()\n"
    "    read -ra typed <<<\"$line\"\n"
    "    [[ $line != *[[:space:]] ]] || typed+=('')\n"
    "    word=${typed[${#typed[@]} - 1]}\n"
    "    command=${typed[1]}\n"
    "    if ((${#typed[@]} == 2)); then\n"
    "        words=(\"${_lorac_commands[@]}\" help --help --version)\n"
    "    elif [[ $command == help ]]; then\n"
    "        ((${#typed[@]} > 3)) || words=(\"${_lorac_commands[@]}\" keys man completion)\n"
    "    else\n"
    "        _lorac_command \"$command\"\n"
    "        before=${typed[${#typed[@]} - 2]}\n"
    "        for ((i = 2; i < ${#typed[@]} - 1; i++)); do\n"
    "            value=0\n"
    "            _lorac_option \"$command:${typed[i]}\"\n"
    "            if ((value)); then ((i++)); elif [[ ${typed[i]} != -* ]]; then config+=x; fi\n"
    "        done\n"
    "        value=0 words=()\n"
    "        _lorac_option \"$command:$before\"\n"
    "        if ((value)); then\n"
    "            : # the words of the option before, or a file\n"
    "        elif [[ $word == --*=* ]]; then\n"
    "            _lorac_option \"$command:${word%%=*}\"\n"
    "            after=${word%%=*}=\n"
    "        elif [[ $word == -* ]]; then\n"
    "            words=(\"${options[@]}\")\n"
    "        elif [[ $word == *.*=* ]]; then\n"
    "            ((keys)) && _lorac_key \"${word%%=*}\"\n"
    "            after=${word%%=*}=\n"
    "        elif [[ -z $config && ${#first[@]} -gt 0 ]]; then\n"
    "            words=(\"${first[@]}\")\n"
    "        elif ((keys && ${#config} > (${#first[@]} > 0))); then\n"
    "            words=(\"${_lorac_keys[@]}\")\n"
    "        fi\n"
    "    fi\n"
    "    for i in \"${words[@]}\"; do\n"
    "        [[ $after$i != \"$word\"* ]] || found+=(\"$after$i\")\n"
    "    done\n"
    "    [[ ${#found[@]} -eq 1 && ${found[0]} == *= ]] && compopt -o nospace 2>/dev/null\n"
    "    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then "
    "found=(\"${found[@]#\"${word%=*}=\"}\"); fi\n"
    "    COMPREPLY=(\"${found[@]}\")\n"
    "}\n"
    "complete -o default -F _lorac lorac lorac_mpi\n";

void manual_completion(struct str *out, const struct manual *m)
{
    str_addz(out,
             "# Completion of lorac in bash, made by `lorac help completion` from its tables.\n"
             "# shellcheck shell=bash disable=SC2034 # the functions set variables of _lorac\n"
             "_lorac_commands=(");
    for (size_t i = 0; i < m->n; i++)
        add_quoted(out, m->commands[i]->name, strlen(m->commands[i]->name), "");
    str_addz(out, ")\n_lorac_keys=(");
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        add_quoted(out, config_keys[i].name, strlen(config_keys[i].name), "=");
    str_addz(out, ")\n_lorac_command()\n{\n    options=() first=()\n    case $1 in\n");
    for (size_t i = 0; i < m->n; i++) add_command_words(out, m->commands[i]);
    str_addz(out, "    esac\n}\n_lorac_option()\n{\n    case $1 in\n");
    for (size_t i = 0; i < m->n; i++) add_option_values(out, m->commands[i]);
    str_addz(out, "    esac\n}\n_lorac_key()\n{\n    case $1 in\n");
    add_key_values(out);
    str_addz(out, "    esac\n}\n");
    str_addz(out, completion_code);
}
