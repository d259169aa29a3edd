/* jinja_expr.c - expressions of a template, as a tree: jinja2's grammar, by recursive descent from the weakest operator
 * to the strongest.  `**` binds to the left there, and a filter more strongly than any operator. */
#include "base/alloc.h"
#include "base/err.h"
#include "text/jinja_tree.h"

static node *condition(parser *p);

static bool enter(parser *p)
{
    if (p->depth < JINJA_MAX_NESTING) return p->depth++, true;
    genet__jinja_refuse(p, p->at->line, "expressions are nested too deeply");
    return false;
}

node *genet__jinja_expression(parser *p)
{
    if (!enter(p)) return NULL;
    node *n = condition(p);
    p->depth--;
    return n;
}

static node *pair_node(parser *p, node_kind kind, int op, int line, node *a, node *b)
{
    node *n = a && b ? genet__jinja_node(p, kind, line) : NULL;
    if (n) n->op = op, n->a = a, n->b = b;
    return n;
}

/* --- primaries -------------------------------------------------------------------------------- */

static const struct { const char *word; value value; } words[] = {
    { "true", { .kind = V_BOOL, .i = 1 } }, { "True", { .kind = V_BOOL, .i = 1 } }, { "false", { .kind = V_BOOL } },
    { "False", { .kind = V_BOOL } }, { "none", { .kind = V_NONE } }, { "None", { .kind = V_NONE } },
};

static node *name_node(parser *p, bool target)
{
    int line = p->at->line;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (genet__jinja_skip(p, words[i].word)) {
            node *n = genet__jinja_node(p, N_CONST, line);
            if (n) n->constant = words[i].value;
            return n;
        }
    if (p->macros && (genet__jinja_is(p, "varargs") || genet__jinja_is(p, "kwargs")))
        return genet__jinja_refuse(p, line, "varargs and kwargs of macros are not supported");
    node *n = genet__jinja_node(p, N_NAME, line);
    if (!n || !(n->name = genet__jinja_name(p, "a name"))) return NULL;
    if (!genet__map_set(&p->t->names, n->name, 1)) return genet__err_memory(p->err), NULL;
    if (!target || !genet__jinja_skip_op(p, OP(0, '.'))) return n;
    n->kind = N_NSREF;
    const char *attribute = genet__jinja_name(p, "an attribute's name");
    if (!attribute) return NULL;
    n->constant = WORD(attribute);
    return n;
}

/* Strings that stand side by side are one. */
static node *strings_node(parser *p, node *n)
{
    size_t all = 0, at = 0;
    const token *t = p->at;
    for (; t->kind == T_CONST && t->constant.kind == V_STRING; t++) all += t->constant.n;
    char *text = genet__arena_alloc(&p->t->arena, all + 1);
    if (!text) return genet__err_memory(p->err), NULL;
    for (; p->at < t; p->at++) {
        memcpy(text + at, p->at->constant.s, p->at->constant.n);
        at += p->at->constant.n;
    }
    n->constant = TEXT(text, all);
    return n;
}

static node *const_node(parser *p)
{
    node *n = genet__jinja_node(p, N_CONST, p->at->line);
    if (!n || p->at->constant.kind == V_STRING) return n ? strings_node(p, n) : NULL;
    n->constant = p->at++->constant;
    return n;
}

static node *list_node(parser *p)
{
    node *n = genet__jinja_node(p, N_LIST, p->at++->line);
    if (!n) return NULL;
    for (node **to = &n->first; !genet__jinja_skip_op(p, OP(0, ']')); to = &(*to)->next) {
        if (n->first && !genet__jinja_expect_op(p, OP(0, ','))) return NULL;
        if (genet__jinja_skip_op(p, OP(0, ']'))) break;
        if (!(*to = genet__jinja_expression(p))) return NULL;
    }
    return n;
}

static node *dict_node(parser *p)
{
    node *n = genet__jinja_node(p, N_DICT, p->at++->line);
    if (!n) return NULL;
    for (node **to = &n->first; !genet__jinja_skip_op(p, OP(0, '}')); to = &(*to)->next) {
        if (n->first && !genet__jinja_expect_op(p, OP(0, ','))) return NULL;
        if (genet__jinja_skip_op(p, OP(0, '}'))) break;
        int line = p->at->line;
        node *key = genet__jinja_expression(p);
        if (!key || !genet__jinja_expect_op(p, OP(0, ':'))) return NULL;
        if (!(*to = pair_node(p, N_PAIR, 0, line, key, genet__jinja_expression(p)))) return NULL;
    }
    return n;
}

node *genet__jinja_primary(parser *p, bool target)
{
    char text[48];
    if (p->at->kind == T_NAME) return name_node(p, target);
    if (p->at->kind == T_CONST) return const_node(p);
    if (genet__jinja_is_op(p, OP(0, '['))) return list_node(p);
    if (genet__jinja_is_op(p, OP(0, '{'))) return dict_node(p);
    if (!genet__jinja_skip_op(p, OP(0, '(')))
        return genet__jinja_refuse(p, p->at->line, "expected an expression, and found %s",
                                   genet__jinja_token_text(p->at, text));
    node *n = genet__jinja_tuple(p, TUPLE_IN_PARENTHESES, NULL);
    return n && genet__jinja_expect_op(p, OP(0, ')')) ? n : NULL;
}

static bool ends_tuple(const parser *p, const char *end)
{
    return p->at->kind == T_PRINT_END || p->at->kind == T_BLOCK_END || genet__jinja_is_op(p, OP(0, ')')) ||
           (end && genet__jinja_is(p, end));
}

static node *or_node(parser *p);

static node *element(parser *p, int how)
{
    if (how != TUPLE_NO_CONDITION) return genet__jinja_expression(p);
    if (!enter(p)) return NULL;
    node *n = or_node(p);
    p->depth--;
    return n;
}

node *genet__jinja_tuple(parser *p, int how, const char *end)
{
    int line = p->at->line, n_element = 0;
    char text[48];
    node *first = NULL, **to = &first, *all;
    bool comma = false;
    while (!ends_tuple(p, end)) {
        if (!(*to = element(p, how))) return NULL;
        to = &(*to)->next;
        n_element++;
        if (!genet__jinja_skip_op(p, OP(0, ','))) break;
        comma = true;
    }
    if (n_element == 1 && !comma) return first;
    if (!n_element && how != TUPLE_IN_PARENTHESES)
        return genet__jinja_refuse(p, line, "expected an expression, and found %s", genet__jinja_token_text(p->at, text));
    if ((all = genet__jinja_node(p, N_TUPLE, line))) all->first = first;
    return all;
}

/* --- behind a primary ------------------------------------------------------------------------- */

/* a, or one of a:b:c. */
static node *subscript(parser *p)
{
    node *part[3] = {0};
    int line = p->at->line, at = 0;
    if (!genet__jinja_is_op(p, OP(0, ':'))) {
        part[0] = genet__jinja_expression(p);
        if (!part[0] || !genet__jinja_is_op(p, OP(0, ':'))) return part[0];
    }
    while (at < 2 && genet__jinja_skip_op(p, OP(0, ':'))) {
        at++;
        if (genet__jinja_is_op(p, OP(0, ':')) || genet__jinja_is_op(p, OP(0, ']'))) continue;
        if (!(part[at] = genet__jinja_expression(p))) return NULL;
    }
    node *n = genet__jinja_node(p, N_SLICE, line);
    if (n) n->a = part[0], n->b = part[1], n->c = part[2];
    return n;
}

static node *attribute(parser *p, node *of)
{
    node *n = genet__jinja_node(p, N_ATTRIBUTE, p->at++->line);
    if (!n) return NULL;
    n->a = of;
    if (p->at->kind != T_CONST || p->at->constant.kind != V_INT)
        return (n->name = genet__jinja_name(p, "an attribute's name")) ? n : NULL;
    n->kind = N_ITEM;                           /* a.0 is a[0] */
    return (n->b = const_node(p)) ? n : NULL;
}

static node *item(parser *p, node *of)
{
    int line = p->at++->line;
    node *n = pair_node(p, N_ITEM, 0, line, of, subscript(p));
    if (n && genet__jinja_is_op(p, OP(0, ','))) return genet__jinja_refuse(p, line, "several subscripts are not supported");
    return n && genet__jinja_expect_op(p, OP(0, ']')) ? n : NULL;
}

static bool argument(parser *p, node *n, node_kind *seen)
{
    n->kind = N_ARGUMENT;
    if (genet__jinja_skip_op(p, OP(0, '*'))) n->kind = N_STAR;
    else if (genet__jinja_skip_op(p, OP('*', '*'))) n->kind = N_STARSTAR;
    else if (p->at->kind == T_NAME && p->at[1].kind == T_OP && p->at[1].op == OP(0, '=')) {
        n->kind = N_KEYWORD;
        TRY((n->name = genet__jinja_name(p, "an argument's name")));
        p->at++;
    }
    if (n->kind < *seen && !(n->kind == N_KEYWORD && *seen == N_STAR))
        return genet__jinja_refuse(p, n->line, "arguments stand in the wrong order"), false;
    *seen = n->kind > *seen ? n->kind : *seen;
    return (n->a = genet__jinja_expression(p));
}

static bool arguments_of(parser *p, node **to)
{
    node_kind seen = N_ARGUMENT;
    TRY(genet__jinja_expect_op(p, OP(0, '(')));
    for (node **first = to; !genet__jinja_skip_op(p, OP(0, ')')); to = &(*to)->next) {
        if (to != first) TRY(genet__jinja_expect_op(p, OP(0, ',')));
        if (to != first && genet__jinja_skip_op(p, OP(0, ')'))) break;
        TRY((*to = genet__jinja_node(p, N_ARGUMENT, p->at->line)) && argument(p, *to, &seen));
    }
    return true;
}

static node *call_node(parser *p, node *of)
{
    node *n = genet__jinja_node(p, N_CALL, p->at->line);
    if (!n) return NULL;
    n->a = of;
    return arguments_of(p, &n->other) ? n : NULL;
}

static node *postfix(parser *p, node *n)
{
    while (n) {
        if (genet__jinja_is_op(p, OP(0, '.'))) n = attribute(p, n);
        else if (genet__jinja_is_op(p, OP(0, '['))) n = item(p, n);
        else if (genet__jinja_is_op(p, OP(0, '('))) n = call_node(p, n);
        else break;
    }
    return n;
}

node *genet__jinja_filters(parser *p, node *of, bool inside)
{
    while (of && (inside || genet__jinja_skip_op(p, OP(0, '|')))) {
        inside = false;
        node *n = genet__jinja_node(p, N_FILTER, p->at->line);
        if (!n || !(n->name = genet__jinja_name(p, "a filter's name"))) return NULL;
        if (genet__jinja_is_op(p, OP(0, '(')) && !arguments_of(p, &n->other)) return NULL;
        n->a = of;
        of = n;
    }
    return of;
}

/* What may stand behind a test without brackets: `is divisibleby 3`. */
static bool begins_argument(const parser *p)
{
    if (p->at->kind == T_NAME)
        return !genet__jinja_is(p, "else") && !genet__jinja_is(p, "or") && !genet__jinja_is(p, "and");
    return p->at->kind == T_CONST || genet__jinja_is_op(p, OP(0, '[')) || genet__jinja_is_op(p, OP(0, '{'));
}

static bool test_argument(parser *p, node *n)
{
    if (genet__jinja_is(p, "is")) return genet__jinja_refuse(p, n->line, "tests with \"is\" do not chain"), false;
    node *one = n->other = genet__jinja_node(p, N_ARGUMENT, p->at->line);
    return one && (one->a = postfix(p, genet__jinja_primary(p, false)));
}

static node *test(parser *p, node *of)
{
    int line = p->at++->line;
    bool negated = genet__jinja_skip(p, "not");
    node *n = genet__jinja_node(p, N_TEST, line), *no;
    if (!n || !(n->name = genet__jinja_name(p, "a test's name"))) return NULL;
    n->a = of;
    if (genet__jinja_is_op(p, OP(0, '('))) {
        if (!arguments_of(p, &n->other)) return NULL;
    } else if (begins_argument(p) && !test_argument(p, n)) {
        return NULL;
    }
    if (!negated) return n;
    if ((no = genet__jinja_node(p, N_NOT, line))) no->a = n;
    return no;
}

static node *filtered(parser *p, node *n)
{
    while (n) {
        if (genet__jinja_is_op(p, OP(0, '|'))) n = genet__jinja_filters(p, n, false);
        else if (genet__jinja_is(p, "is")) n = test(p, n);
        else if (genet__jinja_is_op(p, OP(0, '('))) n = call_node(p, n);
        else break;
    }
    return n;
}

/* --- operators -------------------------------------------------------------------------------- */

static node *unary(parser *p, bool filters)
{
    node *n;
    int line = p->at->line;
    if (genet__jinja_is_op(p, OP(0, '-')) || genet__jinja_is_op(p, OP(0, '+'))) {
        int op = p->at++->op;
        if (!enter(p)) return NULL;
        node *of = unary(p, false);
        p->depth--;
        if (!of || !(n = genet__jinja_node(p, N_UNARY, line))) return NULL;
        n->op = op;
        n->a = of;
    } else {
        n = genet__jinja_primary(p, false);
    }
    n = postfix(p, n);
    return filters ? filtered(p, n) : n;
}

/* Operators of one strength, from the left. */
typedef node *level_fn(parser *p);
static node *left(parser *p, level_fn *stronger, const int *ops)
{
    int line = p->at->line;
    node *n = stronger(p);
    while (n) {
        int i = 0;
        while (ops[i] && !genet__jinja_is_op(p, ops[i])) i++;
        if (!ops[i]) break;
        p->at++;
        n = pair_node(p, N_BINARY, ops[i], line, n, stronger(p));
    }
    return n;
}

static node *unary_filtered(parser *p) { return unary(p, true); }

static node *power(parser *p) { return left(p, unary_filtered, (const int[]){ OP('*', '*'), 0 }); }

static node *product(parser *p)
{
    return left(p, power, (const int[]){ OP(0, '*'), OP(0, '/'), OP('/', '/'), OP(0, '%'), 0 });
}

static node *concat(parser *p)
{
    int line = p->at->line;
    node *first = product(p), **to = first ? &first->next : NULL, *n;
    if (!first || !genet__jinja_is_op(p, OP(0, '~'))) return first;
    while (genet__jinja_skip_op(p, OP(0, '~'))) {
        if (!(*to = product(p))) return NULL;
        to = &(*to)->next;
    }
    if ((n = genet__jinja_node(p, N_CONCAT, line))) n->first = first;
    return n;
}

static node *sum(parser *p) { return left(p, concat, (const int[]){ OP(0, '+'), OP(0, '-'), 0 }); }

static int comparison(parser *p)
{
    static const int ops[] = { OP('=', '='), OP('!', '='), OP('<', '='), OP('>', '='), OP(0, '<'), OP(0, '>') };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (genet__jinja_skip_op(p, ops[i])) return ops[i];
    if (genet__jinja_skip(p, "in")) return OP('i', 'n');
    if (!genet__jinja_is(p, "not") || p->at[1].kind != T_NAME || p->at[1].n != 2 || memcmp(p->at[1].at, "in", 2)) return 0;
    p->at += 2;
    return OP('n', 'i');
}

static node *compare(parser *p)
{
    int line = p->at->line, op;
    node *n = sum(p), *all = NULL, **to = NULL;
    while (n && (op = comparison(p))) {
        if (!all) {
            if (!(all = genet__jinja_node(p, N_COMPARE, line))) return NULL;
            all->a = n;
            to = &all->first;
        }
        if (!(*to = genet__jinja_node(p, N_OPERAND, p->at->line)) || !((*to)->a = sum(p))) return NULL;
        (*to)->op = op;
        to = &(*to)->next;
    }
    return all ? all : n;
}

static node *not_node(parser *p)
{
    int line = p->at->line;
    if (!genet__jinja_skip(p, "not")) return compare(p);
    if (!enter(p)) return NULL;
    node *of = not_node(p), *n = of ? genet__jinja_node(p, N_NOT, line) : NULL;
    p->depth--;
    if (n) n->a = of;
    return n;
}

static node *and_node(parser *p)
{
    int line = p->at->line;
    node *n = not_node(p);
    while (n && genet__jinja_skip(p, "and")) n = pair_node(p, N_AND, 0, line, n, not_node(p));
    return n;
}

static node *or_node(parser *p)
{
    int line = p->at->line;
    node *n = and_node(p);
    while (n && genet__jinja_skip(p, "or")) n = pair_node(p, N_OR, 0, line, n, and_node(p));
    return n;
}

/* then if test else other; without else: undefined. */
static node *condition(parser *p)
{
    int line = p->at->line;
    node *n = or_node(p);
    while (n && genet__jinja_skip(p, "if")) {
        node *test_of = or_node(p), *all = pair_node(p, N_CONDITION, 0, line, test_of, n);
        if (!all) return NULL;
        if (genet__jinja_skip(p, "else") && !(all->c = genet__jinja_expression(p))) return NULL;
        n = all;
    }
    return n;
}
