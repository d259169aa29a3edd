/* jinja_parse.c - statements of a template, as a tree; and what all parsing needs. */
#include <stdarg.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/jinja_tree.h"

/* --- tokens ----------------------------------------------------------------------------------- */

node *genet__jinja_refuse(parser *p, int line, const char *fmt, ...)
{
    char words[300];
    va_list ap;
    va_start(ap, fmt);
    genet__vformat(words, sizeof words, fmt, ap);
    va_end(ap);
    genet__err_set(p->err, GENET_ERR_FORMAT, "%s: line %d: %s", p->t->where, line, words);
    return NULL;
}

node *genet__jinja_node(parser *p, node_kind kind, int line)
{
    node *n = ARENA_NEW(&p->t->arena, node);
    if (!n) {
        genet__err_memory(p->err);
        return NULL;
    }
    n->kind = kind;
    n->line = line;
    return n;
}

const char *genet__jinja_token_text(const token *t, char out[48])
{
    if (t->kind == T_END) return "the end of the template";
    if (t->kind == T_DATA) return "text";
    int n = t->n < 40 ? (int)t->n : 40;
    while (n && n < (int)t->n && ((unsigned char)t->at[n] & 0xc0) == 0x80) n--;
    memcpy(out, t->at, (size_t)n);
    out[n] = 0;
    return out;
}

bool genet__jinja_is(const parser *p, const char *name)
{
    return p->at->kind == T_NAME && p->at->n == strlen(name) && !memcmp(p->at->at, name, p->at->n);
}

bool genet__jinja_skip(parser *p, const char *name)
{
    bool is = genet__jinja_is(p, name);
    p->at += is;
    return is;
}

bool genet__jinja_is_op(const parser *p, int op) { return p->at->kind == T_OP && p->at->op == op; }

bool genet__jinja_skip_op(parser *p, int op)
{
    bool is = genet__jinja_is_op(p, op);
    p->at += is;
    return is;
}

bool genet__jinja_expect_op(parser *p, int op)
{
    char text[48];
    if (genet__jinja_skip_op(p, op)) return true;
    genet__jinja_refuse(p, p->at->line, "expected \"%c\", and found %s", op & 255, genet__jinja_token_text(p->at, text));
    return false;
}

const char *genet__jinja_name(parser *p, const char *what)
{
    char text[48];
    if (p->at->kind != T_NAME) {
        genet__jinja_refuse(p, p->at->line, "expected %s, and found %s", what, genet__jinja_token_text(p->at, text));
        return NULL;
    }
    char *name = genet__arena_alloc(&p->t->arena, p->at->n + 1);
    if (!name) genet__err_memory(p->err);
    else memcpy(name, p->at->at, p->at->n), p->at++;
    return name;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static bool statement(parser *p, node **out);

/* Is this the tag that one of the words of `ends` ("elif else endif") names? */
static bool is_end(const parser *p, const char *ends)
{
    const token *t = p->at + 1;
    if (p->at->kind != T_BLOCK || t->kind != T_NAME || !ends) return false;
    for (const char *word = ends; *word;) {
        size_t n = strcspn(word, " ");
        if (n == t->n && !memcmp(word, t->at, n)) return true;
        word += n + (word[n] == ' ');
    }
    return false;
}

static bool text_node(parser *p, node **out)
{
    if ((*out = genet__jinja_node(p, N_TEXT, p->at->line))) (*out)->constant = TEXT(p->at->at, p->at->n);
    p->at++;
    return *out;
}

static bool expect_end(parser *p, token_kind kind, const char *end)
{
    char text[48];
    if (p->at->kind == kind) return p->at++, true;
    genet__jinja_refuse(p, p->at->line, "expected %s, and found %s", end, genet__jinja_token_text(p->at, text));
    return false;
}

static bool print_node(parser *p, node **out)
{
    if (!(*out = genet__jinja_node(p, N_PRINT, p->at++->line))) return false;
    return ((*out)->a = genet__jinja_tuple(p, TUPLE_PLAIN, NULL)) && expect_end(p, T_PRINT_END, "}}");
}

/* Statements up to the tag that one of `ends` names; p stands at that name. NULL: up to the end of all. */
static bool body(parser *p, const char *ends, node **first)
{
    node **to = first;
    char text[48];
    *first = NULL;
    while (p->at->kind != T_END) {
        if (is_end(p, ends)) return p->at++, true;
        if (p->at->kind == T_DATA) TRY(text_node(p, to));
        else if (p->at->kind == T_PRINT) TRY(print_node(p, to));
        else if (p->at->kind == T_BLOCK) TRY(statement(p, to) && expect_end(p, T_BLOCK_END, "%}"));
        else {
            genet__jinja_refuse(p, p->at->line, "found %s", genet__jinja_token_text(p->at, text));
            return false;
        }
        to = &(*to)->next;
    }
    if (ends) genet__jinja_refuse(p, p->at->line, "the template ends, and {%% %s %%} is missing", ends);
    return !ends;
}

/* "%}", statements, and the one tag that ends them. */
static bool block(parser *p, const char *end, node **first)
{
    genet__jinja_skip_op(p, OP(0, ':'));
    TRY(expect_end(p, T_BLOCK_END, "%}") && body(p, end, first));
    p->at++;
    return true;
}

/* --- targets and parameters ------------------------------------------------------------------- */

static node *target(parser *p, bool attributes);

/* Targets in brackets may stand inside each other. */
static node *target_inside(parser *p, bool attributes)
{
    if (p->depth == JINJA_MAX_NESTING) return genet__jinja_refuse(p, p->at->line, "targets are nested too deeply");
    p->depth++;
    node *n = target(p, attributes);
    p->depth--;
    return n && genet__jinja_expect_op(p, OP(0, ')')) ? n : NULL;
}

/* A name, or a.b of a namespace where that may be. */
static node *target_one(parser *p, bool attributes)
{
    int line = p->at->line;
    if (genet__jinja_skip_op(p, OP(0, '('))) return target_inside(p, attributes);
    node *n = genet__jinja_primary(p, attributes);
    if (!n || n->kind == N_NAME || n->kind == N_NSREF) return n;
    return genet__jinja_refuse(p, line, "this cannot be assigned to");
}

/* One target, or several with commas. */
static node *target(parser *p, bool attributes)
{
    int line = p->at->line;
    node *one = target_one(p, attributes), **to;
    if (!one || !genet__jinja_is_op(p, OP(0, ','))) return one;
    node *all = genet__jinja_node(p, N_TUPLE, line);
    if (!all) return NULL;
    all->first = one;
    to = &one->next;
    while (genet__jinja_skip_op(p, OP(0, ','))) {
        if ((p->at->kind != T_NAME && !genet__jinja_is_op(p, OP(0, '('))) || genet__jinja_is(p, "in")) break;
        if (!(*to = target_one(p, attributes))) return NULL;
        to = &(*to)->next;
    }
    return all;
}

static bool parameters(parser *p, node **to)
{
    bool defaults = false;
    TRY(genet__jinja_expect_op(p, OP(0, '(')));
    for (node **first = to; !genet__jinja_skip_op(p, OP(0, ')')); to = &(*to)->next) {
        if (to != first) TRY(genet__jinja_expect_op(p, OP(0, ',')));
        node *n = *to = genet__jinja_node(p, N_PARAMETER, p->at->line);
        TRY(n && (n->name = genet__jinja_name(p, "a parameter's name")));
        if (genet__jinja_skip_op(p, OP(0, '='))) TRY((n->a = genet__jinja_expression(p)));
        if (defaults && !n->a) return genet__jinja_refuse(p, n->line, "a parameter without a default follows one with"), false;
        defaults |= n->a != NULL;
    }
    return true;
}

/* --- statements ------------------------------------------------------------------------------- */

static bool parse_if(parser *p, node *n)
{
    for (node **to = &n->first;; to = &(*to)->next) {
        node *branch = *to = genet__jinja_node(p, N_BRANCH, p->at->line);
        TRY(branch && (branch->a = genet__jinja_tuple(p, TUPLE_NO_CONDITION, NULL)));
        genet__jinja_skip_op(p, OP(0, ':'));
        TRY(expect_end(p, T_BLOCK_END, "%}") && body(p, "elif else endif", &branch->first));
        if (genet__jinja_skip(p, "elif")) continue;
        if (genet__jinja_skip(p, "endif")) return true;
        p->at++;
        TRY((branch->next = genet__jinja_node(p, N_BRANCH, p->at->line)));
        return block(p, "endif", &branch->next->first);
    }
}

static bool parse_for(parser *p, node *n)
{
    TRY((n->a = target(p, false)));
    if (!genet__jinja_skip(p, "in")) return genet__jinja_refuse(p, p->at->line, "expected \"in\" in {%% for %%}"), false;
    TRY((n->b = genet__jinja_tuple(p, TUPLE_NO_CONDITION, "recursive")));
    if (genet__jinja_skip(p, "if")) TRY((n->c = genet__jinja_expression(p)));
    if (genet__jinja_is(p, "recursive")) return genet__jinja_refuse(p, n->line, "recursive loops are not supported"), false;
    genet__jinja_skip_op(p, OP(0, ':'));
    p->loops++;
    TRY(expect_end(p, T_BLOCK_END, "%}") && body(p, "endfor else", &n->first));
    p->loops--;
    if (genet__jinja_skip(p, "endfor")) return true;
    p->at++;
    return block(p, "endfor", &n->other);
}

/* {% set a = x %}, or {% set a | filter %} text {% endset %}. */
static bool parse_set(parser *p, node *n)
{
    TRY((n->a = target(p, true)));
    if (genet__jinja_skip_op(p, OP(0, '='))) return (n->b = genet__jinja_tuple(p, TUPLE_PLAIN, NULL));
    n->kind = N_SET_BLOCK;
    node *text = genet__jinja_node(p, N_BODY, n->line);
    TRY(text && (n->b = genet__jinja_filters(p, text, false)));
    return block(p, "endset", &n->first);
}

static bool parse_macro(parser *p, node *n)
{
    int loops = p->loops;
    TRY((n->name = genet__jinja_name(p, "a macro's name")) && parameters(p, &n->other));
    p->loops = 0;                                       /* a loop outside is none of the macro's */
    p->macros++;
    TRY(block(p, "endmacro", &n->first));
    p->macros--;
    p->loops = loops;
    return true;
}

static bool parse_call(parser *p, node *n)
{
    if (genet__jinja_is_op(p, OP(0, '('))) TRY(parameters(p, &n->other));
    TRY((n->a = genet__jinja_expression(p)));
    if (n->a->kind != N_CALL) return genet__jinja_refuse(p, n->line, "{%% call %%} needs the call of a macro"), false;
    int loops = p->loops;
    p->loops = 0;
    TRY(block(p, "endcall", &n->first));
    p->loops = loops;
    return true;
}

static bool parse_filter_block(parser *p, node *n)
{
    node *text = genet__jinja_node(p, N_BODY, n->line);
    return text && (n->b = genet__jinja_filters(p, text, true)) && block(p, "endfilter", &n->first);
}

static bool parse_with(parser *p, node *n)
{
    for (node **to = &n->other; p->at->kind != T_BLOCK_END; to = &(*to)->next) {
        if (n->other) TRY(genet__jinja_expect_op(p, OP(0, ',')));
        node *one = *to = genet__jinja_node(p, N_SET, p->at->line);
        TRY(one && (one->a = target_one(p, false)) && genet__jinja_expect_op(p, OP(0, '=')));
        TRY((one->b = genet__jinja_expression(p)));
    }
    return block(p, "endwith", &n->first);
}

static bool parse_generation(parser *p, node *n) { return block(p, "endgeneration", &n->first); }

static bool parse_jump(parser *p, node *n)
{
    return p->loops || (genet__jinja_refuse(p, n->line, "break and continue need a loop around them"), false);
}

static const struct { const char *word; node_kind kind; bool (*parse)(parser *p, node *n); } tags[] = {
    { "if", N_IF, parse_if }, { "for", N_FOR, parse_for }, { "set", N_SET, parse_set }, { "macro", N_MACRO, parse_macro },
    { "call", N_CALL_BLOCK, parse_call }, { "filter", N_FILTER_BLOCK, parse_filter_block }, { "with", N_WITH, parse_with },
    { "generation", N_GENERATION, parse_generation }, { "break", N_BREAK, parse_jump },
    { "continue", N_CONTINUE, parse_jump },
};

/* From {% up to before its %}, or before that of the tag that ends it. */
static bool parse_tag(parser *p, node **out)
{
    char text[48];
    const token *word = ++p->at;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (genet__jinja_skip(p, tags[i].word))
            return (*out = genet__jinja_node(p, tags[i].kind, word->line)) && tags[i].parse(p, *out);
    genet__jinja_refuse(p, word->line, "the tag {%% %s %%} is not supported here", genet__jinja_token_text(word, text));
    return false;
}

static bool statement(parser *p, node **out)
{
    if (p->depth == JINJA_MAX_NESTING) return genet__jinja_refuse(p, p->at->line, "statements are nested too deeply"), false;
    p->depth++;
    bool ok = parse_tag(p, out);
    p->depth--;
    return ok;
}

/* --- templates -------------------------------------------------------------------------------- */

static bool parse(jinja *t, const char *text, size_t n, genet_err *err)
{
    token *tokens = NULL;
    if (n > JINJA_MAX_BYTES)
        return genet__err_set(err, GENET_ERR_FORMAT, "%s: a template of %zu bytes; at most %d", t->where, n, JINJA_MAX_BYTES);
    bool ok = genet__jinja_lex(t, text, n, &tokens, err);
    parser p = { .t = t, .at = tokens, .err = err };
    ok = ok && body(&p, NULL, &t->first);
    genet__free(tokens);
    return ok;
}

jinja *genet__jinja_parse(const char *text, size_t n, const char *where, genet_err *err)
{
    jinja *t = genet__alloc(sizeof *t);
    if (t && !(t->where = genet__arena_strdup(&t->arena, where))) genet__err_memory(err);
    else if (!t) genet__err_memory(err);
    else if (parse(t, text, n, err)) return t;
    genet__jinja_free(t);
    return NULL;
}

void genet__jinja_free(jinja *t)
{
    if (!t) return;
    genet__map_release(&t->names);
    genet__arena_release(&t->arena);
    genet__free(t);
}

bool genet__jinja_reads(const jinja *t, const char *name)
{
    return genet__map_get(&t->names, name);
}
