/* tokenize.c - `genet tokenize FOLDER|tokenizer.json [FILE|-]`: the ids of a text, and the text of ids.
 * Bytes are taken as they are, so that what a tokenizer can do with broken UTF-8 and zero bytes shows.
 * Input of any length streams: a stretch ends where the tokenizer says that ids do not
 * depend on what follows, and goes out before the next is read. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "cli.h"
#include "text/source.h"
#include "text/tokenizer_encoding.h"

typedef struct tokenize_options { bool json, lines, full, special, decode; } tokenize_options;

#define AT(member) offsetof(tokenize_options, member)
static const field table[] = {
    { "json",   FIELD_BOOL, AT(json),   "false", 0, 0, NULL, 0, "print ids alone, as one JSON array" },
    { "lines",  FIELD_BOOL, AT(lines),  "false", 0, 0, NULL, 0,
      "each line by itself, without its end: an array a line; with --decode, a line of text for each line of ids" },
    { "full", FIELD_BOOL, AT(full), "false", 0, 0, NULL, 0,
      "with --json --lines: an object a line, of ids, tokens, offsets (bytes), type_ids and special_tokens_mask" },
    { "special", FIELD_BOOL, AT(special), "false", 0, 0, NULL, 0,
      "with --full: the special tokens that the tokenizer adds, too" },
    { "decode", FIELD_BOOL, AT(decode), "false", 0, 0, NULL, 0,
      "the other way: ids in (JSON arrays, or numbers with spaces between), bytes out" },
};
static const fields tables = { "options", table, sizeof table / sizeof *table };

enum { CHUNK = 1 << 18, IDS = 4096 };

typedef struct job {
    const verb *v;
    const tokenizer *t;
    tokenize_options o;
    const char *path;           /* as messages name it */
    int         fd;
    gzFile      gz;             /* or through it */
    str         out;            /* not printed yet */
    token_list  ids;
    int64_t     n_bytes, n_tokens, n_unknown;
    int         code;           /* printing failed with it; then all is over */
} job;

/* --- reading and printing -------------------------------------------------------------- */

static bool open_input(job *j, const char *path, genet_err *err)
{
    bool standard = !path || !strcmp(path, "-");
    j->path = standard ? "standard input" : path;
    j->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (j->fd < 0) return genet__err_errno(err, "read", path);
    if (standard || !genet__ends_with(path, ".gz")) return true;
    j->gz = genet__gz_open(j->fd, err);
    return j->gz;
}

static void close_input(job *j)
{
    if (j->gz) gzclose_r(j->gz);
    else if (j->fd > STDIN_FILENO) close(j->fd);
}

/* Up to n more bytes; *got == 0 at the end. */
static bool read_some(job *j, char *to, size_t n, size_t *got, genet_err *err)
{
    if (j->gz) return genet__gz_read(j->gz, to, n, got, j->path, err);
    ssize_t k;
    do k = read(j->fd, to, n);
    while (k < 0 && errno == EINTR);
    if (k < 0) return genet__err_errno(err, "read", j->path);
    *got = (size_t)k;
    return true;
}

/* What is gathered goes out. */
static bool print(job *j, genet_err *err)
{
    if (j->out.failed) return genet__err_memory(err);
    if (!j->code && j->out.n) j->code = cli_print(j->v, j->out.at, j->out.n);
    genet__str_clear(&j->out);
    return true;
}

/* --- text to ids -------------------------------------------------------------------------- */

/* As C would spell it. */
static void add_quoted(str *s, const char *piece, size_t n)
{
    static const char plain[] = "\n\t\r\"\\", letter[] = "ntr\"\\";
    genet__str_add(s, "\"");
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        int length = genet__utf8_decode(piece + i, n - i, &c);
        const char *known = length == 1 && c ? strchr(plain, (int)c) : NULL;
        if (known) genet__str_printf(s, "\\%c", letter[known - plain]);
        else if (length > 1 && genet__char_is_hidden(c)) genet__str_printf(s, c > 0xffff ? "\\U%08X" : "\\u%04X", c);
        else if (length && !genet__char_is_hidden(c)) genet__str_add_n(s, piece + i, (size_t)length);
        else genet__str_printf(s, "\\x%02X", (unsigned char)piece[i]), length = 1;
        i += (size_t)length;
    }
    genet__str_add(s, "\"\n");
}

static void add_number(str *s, int64_t x)
{
    char digits[24], *p = digits + sizeof digits;
    do *--p = (char)('0' + x % 10);
    while (x /= 10);
    genet__str_add_n(s, p, (size_t)(digits + sizeof digits - p));
}

/* The ids there are, as the options want them; first: nothing of this array stands yet. */
static void show_ids(job *j, bool first)
{
    int width = 1;
    for (int x = genet__tokenizer_size(j->t) - 1; x >= 10; x /= 10) width++;
    for (int i = 0; i < j->ids.n; i++) {
        size_t n = 0;
        if (j->o.json) {
            if (i || !first) genet__str_add(&j->out, ", ");
            add_number(&j->out, j->ids.at[i]);
            continue;
        }
        const char *piece = genet__tokenizer_piece(j->t, j->ids.at[i], &n);
        genet__str_printf(&j->out, "%*d  ", width, j->ids.at[i]);
        add_quoted(&j->out, piece, n);
    }
}

static bool encode(job *j, const char *text, size_t n, genet_err *err)
{
    size_t bad = 0;
    j->ids.n = 0;
    if (!genet__tokenizer_encode_at(j->t, text, n, &j->ids, &bad, err))
        return genet__err_prefix(err, "%s: byte %" PRId64 ": ", j->path, j->n_bytes + (int64_t)bad);
    for (int i = 0; i < j->ids.n; i++) j->n_unknown += j->ids.at[i] == genet__tokenizer_unknown(j->t);
    return true;
}

/* A token as the vocabulary writes it; null where there is none. */
static json_t *token_json(const tokenizer *t, int32_t id)
{
    size_t n = 0;
    const char *token = genet__tokenizer_token(t, id, &n);
    str text = { 0 };
    if (token) genet__utf8_add(&text, token, n);
    json_t *j = !token ? json_null() : text.failed ? NULL : json_stringn(genet__str(&text), text.n);
    genet__str_release(&text);
    return j;
}

/* {"ids": ..., "tokens": ..., "offsets": [[0, 5], ...], "type_ids": ..., "special_tokens_mask": ...} */
static json_t *encoding_json(const tokenizer *t, const encoding *e)
{
    json_t *ids = json_array(), *tokens = json_array(), *offsets = json_array(), *types = json_array(), *mask = json_array();
    for (int i = 0; i < e->n; i++) {
        const encoded_token *x = &e->at[i];
        genet__json_append(&ids, json_integer(x->id));
        genet__json_append(&tokens, token_json(t, x->id));
        genet__json_append(&offsets, json_pack("[I, I]", (json_int_t)x->begin, (json_int_t)x->end));
        genet__json_append(&types, json_integer(x->type_id));
        genet__json_append(&mask, json_integer(x->special));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "ids", ids, "tokens", tokens, "offsets", offsets, "type_ids", types,
                     "special_tokens_mask", mask);
}

/* One line with all that is known of its tokens. */
static bool show_full(job *j, const char *line, size_t n, genet_err *err)
{
    encode_options o = { .special = j->o.special };
    encoding e;
    if (!genet__tokenizer_encode_text(j->t, line, n, &o, &e, err))
        return genet__err_prefix(err, "%s: the line at byte %" PRId64 ": ", j->path, j->n_bytes);
    json_t *object = encoding_json(j->t, &e);
    if (object) genet__json_print(object, 0, &j->out);
    genet__str_add(&j->out, "\n");
    genet__encoding_release(&e);
    json_decref(object);
    return object || genet__err_memory(err);
}

static bool show_line(job *j, const char *line, size_t n, genet_err *err)
{
    TRY(encode(j, line, n, err));
    genet__str_add(&j->out, "[");
    show_ids(j, true);
    genet__str_add(&j->out, "]\n");
    return true;
}

/* Whole lines, but for the last one of all. */
static bool encode_lines(job *j, const char *text, size_t n, genet_err *err)
{
    for (const char *end = text + n; text < end;) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((line_end ? line_end : end) - text);
        size_t n_line = length - (line_end && length && text[length - 1] == '\r');
        if (j->o.full) TRY(show_full(j, text, n_line, err));
        else TRY(show_line(j, text, n_line, err));
        j->n_bytes += (int64_t)length + (line_end != NULL);
        text += length + (line_end != NULL);
    }
    return print(j, err);
}

static bool encode_stretch(job *j, const char *text, size_t n, genet_err *err)
{
    if (j->o.lines) return encode_lines(j, text, n, err);
    TRY(encode(j, text, n, err));
    show_ids(j, j->n_tokens == 0);
    j->n_bytes += (int64_t)n;
    j->n_tokens += j->ids.n;
    return print(j, err);
}

/* Bytes of text that can go out, whatever follows. */
static size_t ready(const job *j, const char *text, size_t n)
{
    if (!j->o.lines) return genet__tokenizer_cut(j->t, text, n);
    const char *end = memrchr(text, '\n', n);
    return end ? (size_t)(end - text) + 1 : 0;
}

/* The buffer grows only while there is no place to stop, which is looked for anew when it has doubled. */
static bool encode_input(job *j, genet_err *err)
{
    char *buffer = NULL;
    size_t held = 0, cap = 0, tried = 0, got = 1;
    bool ok = true;
    while (ok && got && !j->code) {
        if (cap - held < CHUNK) {
            char *grown = genet__realloc(buffer, cap = 2 * cap + CHUNK);
            if (!(ok = grown || genet__err_memory(err))) break;
            buffer = grown;
        }
        if (!(ok = read_some(j, buffer + held, CHUNK, &got, err))) break;
        held += got;
        if (got && held / 2 < tried) continue;
        size_t n = got ? ready(j, buffer, held) : held;
        tried = n ? 0 : held;
        if (n) ok = encode_stretch(j, buffer, n, err);
        memmove(buffer, buffer + n, held -= n);
    }
    genet__free(buffer);
    return ok;
}

/* What a person wants to know: how much text a token stands for. */
static void print_summary(const job *j)
{
    fprintf(stderr, "%lld tokens, %lld bytes", (long long)j->n_tokens, (long long)j->n_bytes);
    if (j->n_tokens) fprintf(stderr, ", %.3g bytes a token", (double)j->n_bytes / (double)j->n_tokens);
    if (j->n_tokens && genet__tokenizer_unknown(j->t) >= 0)
        fprintf(stderr, ", %.3g %% unknown", 100.0 * (double)j->n_unknown / (double)j->n_tokens);
    fputs("\n", stderr);
}

static bool text_to_ids(job *j, genet_err *err)
{
    bool whole = j->o.json && !j->o.lines;
    if (whole) genet__str_add(&j->out, "[");
    TRY(encode_input(j, err));
    if (whole) genet__str_add(&j->out, "]\n");
    TRY(print(j, err));
    if (!j->o.json && !j->code) print_summary(j);
    return true;
}

/* --- ids to text ------------------------------------------------------------------------------ */

typedef struct parser {
    job    *j;
    int64_t at, number;         /* byte of the input; the number being read, -1: none */
    int64_t n_ids;
    int32_t last;               /* the id before those gathered, -1: none */
    bool    json, in_array, in_line;
    char    before;             /* the last byte that is no white space; 0: none yet */
} parser;

/* The text of what is gathered. */
static bool flush_ids(parser *p, genet_err *err)
{
    job *j = p->j;
    if (!j->ids.n) return true;
    TRY(genet__tokenizer_decode_on(j->t, p->last, j->ids.at, j->ids.n, &j->out, err));
    p->last = j->ids.at[j->ids.n - 1];
    j->ids.n = 0;
    return true;
}

static bool end_number(parser *p, genet_err *err)
{
    job *j = p->j;
    if (p->number < 0) return true;
    p->n_ids++;
    if (p->number >= genet__tokenizer_size(j->t))
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: id number %" PRId64 " (before byte %" PRId64 ") is %" PRId64
                              ", outside the vocabulary of %d", j->path, p->n_ids, p->at, p->number,
                              genet__tokenizer_size(j->t));
    if (!GROW(j->ids.at, j->ids.n, j->ids.cap)) return genet__err_memory(err);
    j->ids.at[j->ids.n++] = (int32_t)p->number;
    p->number = -1;
    p->in_line = true;
    return j->ids.n < IDS || flush_ids(p, err);
}

/* With --lines, a line of text for each line of ids. */
static bool end_line(parser *p, genet_err *err)
{
    TRY(flush_ids(p, err));
    genet__str_add(&p->j->out, "\n");
    p->last = -1;
    p->in_line = false;
    return true;
}

static bool unexpected(const parser *p, char c, genet_err *err)
{
    str shown = { 0 };
    add_quoted(&shown, &c, 1);
    genet__err_set(err, GENET_ERR_FORMAT, "%s: byte %" PRId64 ": %.*s is not expected among ids, which are %s", p->j->path,
                   p->at, (int)shown.n - 1, genet__str(&shown),
                   p->json ? "JSON here: arrays of whole numbers"
                   : "JSON arrays, or whole numbers with white space between");
    genet__str_release(&shown);
    return false;
}

/* May c, which is no white space, stand here?  What comes first decides: [ makes it JSON, else there are numbers alone. */
static bool expected(const parser *p, char c)
{
    bool digit = c >= '0' && c <= '9', after_digit = p->before >= '0' && p->before <= '9';
    if (!p->json) return digit || (c == '[' && !p->before);
    if (!p->in_array) return c == '[';
    if (digit) return p->before == '[' || p->before == ',' || p->number > 0;     /* JSON has no 01 */
    return (c == ',' && after_digit) || (c == ']' && p->before != ',');
}

static bool parse_byte(parser *p, char c, genet_err *err)
{
    bool space = c && strchr(" \t\r\n", c), opens = c == '[', digit = c >= '0' && c <= '9';
    if (!space && !expected(p, c)) return unexpected(p, c, err);
    if (!space) p->before = c;
    if (digit) {
        p->number = (p->number < 0 ? 0 : p->number) * 10 + (c - '0');
        if (p->number > INT32_MAX) p->number = INT32_MAX;       /* beyond every vocabulary, and no further */
        return true;
    }
    TRY(end_number(p, err));
    p->json |= opens;
    p->in_line |= opens;
    p->in_array = opens || (p->in_array && c != ']');
    return c != '\n' || !p->j->o.lines || p->in_array || end_line(p, err);
}

static bool ids_to_text(job *j, genet_err *err)
{
    parser p = { .j = j, .number = -1, .last = -1 };
    char chunk[1 << 14];
    for (size_t got = 1; got && !j->code;) {
        TRY(read_some(j, chunk, sizeof chunk, &got, err));
        for (size_t i = 0; i < got; i++, p.at++) TRY(parse_byte(&p, chunk[i], err));
        if (got) TRY(flush_ids(&p, err) && print(j, err));
    }
    TRY(end_number(&p, err) && flush_ids(&p, err));
    if (p.in_array)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: ends after %" PRId64 " bytes inside of an array", j->path, p.at);
    if (j->o.lines && p.in_line) TRY(end_line(&p, err));
    return print(j, err);
}

/* --- the verb --------------------------------------------------------------------------------- */

static const char details[] =
    "By default a line for each token: its id, and its piece in quotes.  --json is for programs, and goes back through\n"
    "--decode to exactly the same bytes where the tokenizer keeps them (bpe, char).  A FILE whose name ends in .gz is\n"
    "unpacked; without FILE, or with -, standard input is read.\n"
    "\n"
    "  genet tokenize model/ < text.txt                          look at the tokens\n"
    "  echo \"Hello world\" | genet tokenize gpt2/tokenizer.json\n"
    "  genet tokenize model/ text.txt --json > ids.json          one array\n"
    "  genet tokenize model/ text.txt --json --lines             an array a line\n"
    "  genet tokenize bert/ text.txt --json --lines --full --special     tokens and offsets, an object a line\n"
    "  genet tokenize model/ ids.json --decode | cmp - text.txt\n";

static bool check(const tokenize_options *o, const arguments *a, genet_err *err)
{
    if (!a->n_word)
        return genet__err_set(err, GENET_ERR_USAGE, "say which tokenizer: a model's folder, or a tokenizer.json");
    if (o->decode && o->json) return genet__err_set(err, GENET_ERR_USAGE, "--decode prints text: leave --json out");
    if (o->full && !(o->json && o->lines)) return genet__err_set(err, GENET_ERR_USAGE, "--full needs --json and --lines");
    if (o->special && !o->full) return genet__err_set(err, GENET_ERR_USAGE, "--special needs --full");
    if (o->lines && !o->json && !o->decode) return genet__err_set(err, GENET_ERR_USAGE, "--lines needs --json or --decode");
    return true;
}

static bool tokenize(job *j, const arguments *a, genet_err *err)
{
    tokenizer *t = genet__tokenizer_load(a->word[0], err);
    j->t = t;
    bool ok = t && open_input(j, a->n_word > 1 ? a->word[1] : NULL, err) &&
        (j->o.decode ? ids_to_text(j, err) : text_to_ids(j, err));
    close_input(j);
    genet__str_release(&j->out);
    genet__token_list_release(&j->ids);
    genet__tokenizer_free(t);
    return ok;
}

static int run(const verb *v, int argc, char **argv)
{
    genet_err err;
    arena memory = { 0 };
    job j = { .v = v, .fd = -1 };
    options o = { .arena = &memory };
    arguments a = { .options = &o, .max_word = 2 };
    bool ok = genet__options_add(&o, &tables, &j.o, &err) && cli_parse(&a, argc, argv, &err);
    if (ok && a.help) cli_help(v, details, &o);
    else ok = ok && check(&j.o, &a, &err) && tokenize(&j, &a, &err);
    genet__arena_release(&memory);
    return ok ? j.code : cli_fail(v, &err);
}

const verb cli_verb_tokenize = { "tokenize", "FOLDER|tokenizer.json [FILE|-] [--json] [--lines] [--full [--special]] [--decode]",
                                 "the tokens of a text, and the text of tokens", run };
