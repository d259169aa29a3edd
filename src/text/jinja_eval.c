/* jinja_eval.c - expressions: operators, and calls of methods, functions, filters, tests and macros. */
#include <math.h>
#include "base/err.h"
#include "text/jinja_tree.h"

/* --- arithmetic ------------------------------------------------------------------------------- */

static bool is_int(const value *v) { return v->kind == V_INT || v->kind == V_BOOL; }
static bool is_number(const value *v) { return is_int(v) || v->kind == V_FLOAT; }
static double real(const value *v) { return v->kind == V_FLOAT ? v->d : (double)v->i; }

static bool no_operation(run *r, int op, const value *a, const value *b)
{
    char name[3] = { (char)(op >> 8 ? op >> 8 : op & 255), (char)(op >> 8 ? op & 255 : 0), 0 };
    if (a->kind == V_UNDEFINED) return FAIL(r, "%s", a->s);
    if (b->kind == V_UNDEFINED) return FAIL(r, "%s", b->s);
    return FAIL(r, "%s between %s and %s", name, genet__jinja_type(a), genet__jinja_type(b));
}

/* Rounded down, and the rest with the sign of b, as Python divides. */
static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static bool int_power(int64_t a, int64_t b, int64_t *out)
{
    bool over = false;
    *out = 1;
    for (; b && !over; b >>= 1) {
        if (b & 1) over = __builtin_mul_overflow(*out, a, out);
        if (b > 1) over |= __builtin_mul_overflow(a, a, &a);
    }
    return !over;
}

static bool int_operation(run *r, int op, int64_t a, int64_t b, value *out)
{
    int64_t x = 0;
    bool over = false, divides = op == OP('/', '/') || op == OP(0, '%');
    if (divides && b == 0) return FAIL(r, "division by zero");
    if (divides && b == -1) over = op == OP('/', '/') && __builtin_sub_overflow((int64_t)0, a, &x);
    else if (op == OP('/', '/')) x = floor_div(a, b);
    else if (op == OP(0, '%')) x = a - floor_div(a, b) * b;
    else if (op == OP(0, '+')) over = __builtin_add_overflow(a, b, &x);
    else if (op == OP(0, '-')) over = __builtin_sub_overflow(a, b, &x);
    else if (op == OP(0, '*')) over = __builtin_mul_overflow(a, b, &x);
    else over = !int_power(a, b, &x);
    *out = INT(x);
    return !over || FAIL(r, "an integer does not fit 64 bits");
}

static double floor_mod(double a, double b)
{
    double m = fmod(a, b);
    return m && (m < 0) != (b < 0) ? m + b : m ? m : copysign(0, b);
}

static bool real_operation(run *r, int op, double a, double b, value *out)
{
    bool divides = op == OP(0, '/') || op == OP('/', '/') || op == OP(0, '%');
    if (divides && b == 0) return FAIL(r, "division by zero");
    switch (op) {
    case OP(0, '+'):   *out = FLOAT(a + b); break;
    case OP(0, '-'):   *out = FLOAT(a - b); break;
    case OP(0, '*'):   *out = FLOAT(a * b); break;
    case OP(0, '/'):   *out = FLOAT(a / b); break;
    case OP('/', '/'): *out = FLOAT(round((a - floor_mod(a, b)) / b)); break;
    case OP(0, '%'):   *out = FLOAT(floor_mod(a, b)); break;
    default:           *out = FLOAT(pow(a, b)); break;
    }
    return isfinite(out->d) || !isfinite(a) || !isfinite(b) || FAIL(r, "a number is out of range");
}

/* --- texts and lists -------------------------------------------------------------------------- */

/* & < > " ' as HTML has them: what `+` does to the other side of a text that is marked safe. */
static void add_escaped(buffer *b, const value *s)
{
    static const char *const names[] = { ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&#34;", ['\''] = "&#39;" };
    for (uint32_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->s[i];
        const char *name = c < sizeof names / sizeof *names ? names[c] : NULL;
        genet__jinja_add(b, name ? name : s->s + i, name ? strlen(name) : 1);
    }
}

static bool add_texts(run *r, const value *a, const value *b, value *out)
{
    buffer text = { .r = r };
    bool safe = a->markup || b->markup;
    for (int i = 0; i < 2; i++) {
        const value *one = i ? b : a;
        if (safe && !one->markup) add_escaped(&text, one);
        else genet__jinja_add(&text, one->s, one->n);
    }
    TRY(genet__jinja_text(&text, out));
    out->markup = safe;
    return true;
}

static bool add_lists(run *r, const list *a, const list *b, value_kind kind, value *out)
{
    TRY(genet__jinja_make_list(r, kind, kind == V_LIST ? "list" : "tuple", NULL, a->n + b->n, out));
    if (a->n) memcpy(out->list->at, a->at, (size_t)a->n * sizeof *a->at);
    if (b->n) memcpy(out->list->at + a->n, b->at, (size_t)b->n * sizeof *b->at);
    return true;
}

/* "ab" * 3, [a, b] * 3. */
static bool repeat(run *r, const value *of, int64_t times, value *out)
{
    int64_t n = of->kind == V_STRING ? of->n : of->list->n, all = 0;
    if (times < 0) times = 0;
    if (__builtin_mul_overflow(n, times, &all) || all > (int64_t)(r->limits.max_bytes >> 4))
        return FAIL(r, "a text or list repeated %lld times is too long", (long long)times);
    if (of->kind != V_STRING) {
        TRY(genet__jinja_make_list(r, of->kind, genet__jinja_type(of), NULL, all, out));
        for (int64_t i = 0; i < all; i++) out->list->at[i] = of->list->at[i % n];
        return true;
    }
    buffer text = { .r = r };
    for (int64_t i = 0; n && i < times; i++) genet__jinja_add(&text, of->s, of->n);
    return genet__jinja_spend(r, times) && genet__jinja_text(&text, out);
}

static bool is_repeated(const value *v) { return v->kind == V_STRING || v->kind == V_LIST || v->kind == V_TUPLE; }

bool genet__jinja_binary(run *r, int op, value a, value b, value *out)
{
    if (op == OP(0, '%') && a.kind == V_STRING) {
        bool tuple = b.kind == V_TUPLE;
        return genet__jinja_format(r, &a, tuple ? b.list->at : &b, tuple ? b.list->n : 1, out);
    }
    if (is_int(&a) && is_int(&b) && op != OP(0, '/') && (op != OP('*', '*') || b.i >= 0))
        return int_operation(r, op, a.i, b.i, out);
    if (is_number(&a) && is_number(&b)) return real_operation(r, op, real(&a), real(&b), out);
    if (op == OP(0, '+') && a.kind == V_STRING && b.kind == V_STRING) return add_texts(r, &a, &b, out);
    if (op == OP(0, '+') && a.kind == b.kind && (a.kind == V_LIST || a.kind == V_TUPLE))
        return add_lists(r, a.list, b.list, a.kind, out);
    if (op == OP(0, '*') && is_repeated(&a) && is_int(&b)) return repeat(r, &a, b.i, out);
    if (op == OP(0, '*') && is_repeated(&b) && is_int(&a)) return repeat(r, &b, a.i, out);
    return no_operation(r, op, &a, &b);
}

static bool unary(run *r, int op, value v, value *out)
{
    if (v.kind == V_UNDEFINED) return FAIL(r, "%s", v.s);
    if (!is_number(&v)) return FAIL(r, "%c before %s", op & 255, genet__jinja_type(&v));
    bool minus = op == OP(0, '-');
    if (v.kind == V_FLOAT) return *out = FLOAT(minus ? -v.d : v.d), true;
    return int_operation(r, minus ? OP(0, '-') : OP(0, '+'), 0, v.i, out);
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool compare(run *r, int op, const value *a, const value *b, bool *out)
{
    bool ok;
    switch (op) {
    case OP('=', '='): case OP('!', '='): ok = genet__jinja_equal(r, a, b, out); break;
    case OP('i', 'n'): case OP('n', 'i'): ok = genet__jinja_contains(r, b, a, out); break;
    case OP(0, '<'): return genet__jinja_less(r, a, b, out);
    case OP(0, '>'): return genet__jinja_less(r, b, a, out);
    default: {                  /* <= and >=: not the other way round is wrong of NaN alone */
        const value *x = op == OP('<', '=') ? a : b, *y = op == OP('<', '=') ? b : a;
        bool same;
        TRY(genet__jinja_less(r, x, y, out) && genet__jinja_equal(r, x, y, &same));
        *out |= same;
        return true;
    }
    }
    if (op == OP('!', '=') || op == OP('n', 'i')) *out = !*out;
    return ok;
}

/* a < b < c is a < b and b < c. */
static bool compare_all(run *r, const node *e, value *out)
{
    value a, b;
    bool holds = true;
    TRY(genet__jinja_eval(r, e->a, &a));
    for (const node *n = e->first; holds && n; n = n->next, a = b)
        TRY(genet__jinja_eval(r, n->a, &b) && compare(r, n->op, &a, &b, &holds));
    *out = BOOL(holds);
    return true;
}

/* --- arguments -------------------------------------------------------------------------------- */

static bool add_argument(run *r, arguments *a, const char *key, value v)
{
    if (a->n == MAX_ARGUMENTS || a->n_keyed == MAX_ARGUMENTS) return FAIL(r, "more than %d arguments", MAX_ARGUMENTS);
    if (!key) return a->at[a->n++] = v, true;
    for (int i = 0; i < a->n_keyed; i++)
        if (!strcmp(a->key[i], key)) return FAIL(r, "the argument %s is given twice", key);
    a->key[a->n_keyed] = key;
    a->keyed[a->n_keyed++] = v;
    return true;
}

static bool spread_dict(run *r, arguments *a, const value *v)
{
    if (v->kind != V_DICT) return FAIL(r, "** needs a dict, not %s", genet__jinja_type(v));
    for (int64_t i = 0; i < v->dict->n; i++) {
        const value *k = &v->dict->at[i].key;
        char *key = k->kind == V_STRING ? genet__jinja_new(r, (size_t)k->n + 1) : NULL;
        if (!key) return FAIL(r, "** needs keys that are texts");
        memcpy(key, k->s, k->n);
        TRY(add_argument(r, a, key, v->dict->at[i].value));
    }
    return true;
}

static bool spread(run *r, arguments *a, const value *v)
{
    value *at;
    int64_t n;
    TRY(genet__jinja_elements(r, v, &at, &n));
    for (int64_t i = 0; i < n; i++) TRY(add_argument(r, a, NULL, at[i]));
    return true;
}

static bool evaluate_arguments(run *r, const node *first, arguments *a)
{
    value v;
    a->n = a->n_keyed = 0;
    for (const node *n = first; n; n = n->next) {
        TRY(genet__jinja_eval(r, n->a, &v));
        if (n->kind == N_STAR) TRY(spread(r, a, &v));
        else if (n->kind == N_STARSTAR) TRY(spread_dict(r, a, &v));
        else TRY(add_argument(r, a, n->kind == N_KEYWORD ? n->name : NULL, v));
    }
    return true;
}

/* The place of `key` among the words of `names`, or -1. */
static int place_of(const char *names, const char *key)
{
    size_t n = strlen(key);
    for (int i = 0; *names; i++) {
        size_t word = strcspn(names, " ");
        if (word == n && !memcmp(names, key, n)) return i;
        names += word + (names[word] == ' ');
    }
    return -1;
}

static int count_words(const char *names)
{
    int n = *names != 0;
    for (; *names; names++) n += *names == ' ';
    return n;
}

/* Looking through texts is work, too. */
static bool spend_on_texts(run *r, const value *self, const arguments *a)
{
    int64_t bytes = self->kind == V_STRING ? self->n : 0;
    for (int i = 0; i < a->n; i++) bytes += a->at[i].kind == V_STRING ? a->at[i].n : 0;
    for (int i = 0; i < a->n_keyed; i++) bytes += a->keyed[i].kind == V_STRING ? a->keyed[i].n : 0;
    return genet__jinja_spend(r, bytes / 8);
}

bool genet__jinja_call_row(run *r, const callable *row, const char *what, value self, const arguments *a, value *out)
{
    call c = { .r = r, .self = self, .given = a };
    TRY(spend_on_texts(r, &self, a));
    if (!row->parameters) return row->body(&c, out);
    int most = count_words(row->parameters), place;
    if (a->n > most) return FAIL(r, "%s %s takes at most %d arguments, not %d", what, row->name, most, a->n);
    for (int i = 0; i < a->n; i++) c.arg[i] = a->at[i];
    for (int i = 0; i < a->n_keyed; i++) {
        if ((place = place_of(row->parameters, a->key[i])) < 0)
            return FAIL(r, "%s %s has no argument \"%s\"", what, row->name, a->key[i]);
        if (c.arg[place].kind != V_MISSING) return FAIL(r, "%s %s: \"%s\" is given twice", what, row->name, a->key[i]);
        c.arg[place] = a->keyed[i];
    }
    for (int i = 0; i < row->required; i++)
        if (c.arg[i].kind == V_MISSING) return FAIL(r, "%s %s needs %d arguments", what, row->name, row->required);
    return row->body(&c, out);
}

const callable *genet__jinja_row(const callable *table, const char *name)
{
    for (; table->name; table++)
        if (!strcmp(table->name, name)) return table;
    return NULL;
}

const callable *genet__jinja_find_filter(const char *name)
{
    const callable *row = genet__jinja_row(genet__jinja_filters_one, name);
    return row ? row : genet__jinja_row(genet__jinja_filters_many, name);
}

/* --- macros ----------------------------------------------------------------------------------- */

static bool is_used(const node *parameters, const char *key)
{
    for (const node *p = parameters; p; p = p->next)
        if (!strcmp(p->name, key)) return true;
    return false;
}

/* The value of a parameter: as given by place or name, its default, or undefined. */
static bool parameter(run *r, const node *p, int i, const arguments *a, value *out)
{
    if (i < a->n) return *out = a->at[i], true;
    for (int k = 0; k < a->n_keyed; k++)
        if (!strcmp(a->key[k], p->name)) return *out = a->keyed[k], true;
    if (p->a) return genet__jinja_eval(r, p->a, out);
    return genet__jinja_undefined(r, out, "parameter '%s' was not provided", p->name);
}

static bool check_arguments(run *r, const node *parameters, const arguments *a)
{
    int n = 0;
    for (const node *p = parameters; p; p = p->next, n++)
        for (int k = 0; n < a->n && k < a->n_keyed; k++)
            if (!strcmp(a->key[k], p->name)) return FAIL(r, "a macro's argument %s is given twice", p->name);
    if (a->n > n) return FAIL(r, "a macro takes at most %d arguments, not %d", n, a->n);
    for (int k = 0; k < a->n_keyed; k++)
        if (!is_used(parameters, a->key[k])) return FAIL(r, "a macro has no argument \"%s\"", a->key[k]);
    return true;
}

bool genet__jinja_call_macro(run *r, const macro *m, const arguments *a, const value *caller, value *out)
{
    scope *before = r->scope, *s = genet__jinja_new(r, sizeof *s);
    int i = 0, line = r->line;
    value v;
    if (!s) return false;
    TRY(check_arguments(r, m->node->other, a));
    s->outer = m->outside;
    r->scope = s;
    bool ok = !caller || genet__jinja_bind(r, s, "caller", *caller);
    for (const node *p = m->node->other; ok && p; p = p->next, i++)
        ok = parameter(r, p, i, a, &v) && genet__jinja_bind(r, s, p->name, v);
    ok = ok && genet__jinja_capture(r, m->node->first, out);
    r->scope = before;
    r->flow = FLOW_ON;
    r->line = line;
    return ok;
}

bool genet__jinja_call_block(run *r, const macro *m, const node *call_of, const value *caller, value *out)
{
    arguments a;
    return evaluate_arguments(r, call_of->other, &a) && genet__jinja_call_macro(r, m, &a, caller, out);
}

/* --- calls ------------------------------------------------------------------------------------ */

bool genet__jinja_call(run *r, value f, const arguments *a, value *out)
{
    switch (f.kind) {
    case V_MACRO:     return genet__jinja_call_macro(r, f.macro, a, NULL, out);
    case V_FUNCTION:  return genet__jinja_call_row(r, f.function, "function", NONE, a, out);
    case V_METHOD:    return genet__jinja_call_row(r, f.method->row, "method", f.method->self, a, out);
    case V_UNDEFINED: return FAIL(r, "%s", f.s);
    default:          return FAIL(r, "%s cannot be called", genet__jinja_type(&f));
    }
}

static bool call_node(run *r, const node *e, value *out)
{
    arguments a;
    value f;
    TRY(genet__jinja_eval(r, e->a, &f) && evaluate_arguments(r, e->other, &a));
    r->line = e->line;
    return genet__jinja_call(r, f, &a, out);
}

/* A filter, or a test. */
static bool filter_node(run *r, const node *e, value *out)
{
    arguments a;
    value self;
    bool filter = e->kind == N_FILTER;
    const char *what = filter ? "filter" : "test";
    const callable *row = filter ? genet__jinja_find_filter(e->name) : genet__jinja_row(genet__jinja_tests, e->name);
    r->line = e->line;
    if (!row) return FAIL(r, "the %s \"%s\" is not supported here", what, e->name);
    TRY(genet__jinja_eval(r, e->a, &self) && evaluate_arguments(r, e->other, &a));
    r->line = e->line;
    return genet__jinja_call_row(r, row, what, self, &a, out);
}

/* --- expressions ------------------------------------------------------------------------------ */

static bool elements(run *r, const node *e, value *out)
{
    int64_t n = 0;
    for (const node *one = e->first; one; one = one->next) n++;
    bool is_list = e->kind == N_LIST;
    TRY(genet__jinja_make_list(r, is_list ? V_LIST : V_TUPLE, is_list ? "list" : "tuple", NULL, n, out));
    n = 0;
    for (const node *one = e->first; one; one = one->next) TRY(genet__jinja_eval(r, one, &out->list->at[n++]));
    return true;
}

static bool dict_node(run *r, const node *e, value *out)
{
    value key, v;
    dict *d = genet__jinja_new(r, sizeof *d);
    if (!d) return false;
    for (const node *n = e->first; n; n = n->next)
        TRY(genet__jinja_eval(r, n->a, &key) && genet__jinja_eval(r, n->b, &v) && genet__jinja_dict_set(r, d, key, v));
    *out = (value){ .kind = V_DICT, .dict = d };
    return true;
}

static bool concat(run *r, const node *e, value *out)
{
    buffer text = { .r = r };
    value v;
    for (const node *n = e->first; n; n = n->next) {
        TRY(genet__jinja_eval(r, n, &v));
        genet__jinja_add_str(&text, &v);
    }
    return genet__jinja_text(&text, out);
}

static bool slice(run *r, const node *e, value *out)
{
    const node *s = e->b, *part[3] = { s->a, s->b, s->c };
    value of, bound[3];
    TRY(genet__jinja_eval(r, e->a, &of));
    for (int i = 0; i < 3; i++) {
        bound[i] = MISSING;
        if (part[i]) TRY(genet__jinja_eval(r, part[i], &bound[i]));
    }
    return genet__jinja_slice(r, &of, bound, out);
}

static bool name_node(run *r, const node *e, value *out)
{
    const value *v = genet__jinja_find(r, r->scope, e->name);
    if (v) return *out = *v, true;
    return genet__jinja_undefined(r, out, "'%s' is undefined", e->name);
}

/* `and` and `or` give one of their sides. */
static bool logic(run *r, const node *e, value *out)
{
    TRY(genet__jinja_eval(r, e->a, out));
    return genet__jinja_true(out) == (e->kind == N_OR) || genet__jinja_eval(r, e->b, out);
}

static bool condition(run *r, const node *e, value *out)
{
    value test;
    TRY(genet__jinja_eval(r, e->a, &test));
    if (genet__jinja_true(&test)) return genet__jinja_eval(r, e->b, out);
    if (e->c) return genet__jinja_eval(r, e->c, out);
    return genet__jinja_undefined(r, out, "the inline if of line %d was false and has no else", e->line);
}

static bool two(run *r, const node *e, value *a, value *b)
{
    TRY(genet__jinja_eval(r, e->a, a) && genet__jinja_eval(r, e->b, b));
    r->line = e->line;
    return true;
}

static bool evaluate(run *r, const node *e, value *out)
{
    value a, b;
    switch (e->kind) {
    case N_CONST:  *out = e->constant; return true;
    case N_BODY:   *out = *r->body; return true;
    case N_NAME:   return name_node(r, e, out);
    case N_LIST: case N_TUPLE: return elements(r, e, out);
    case N_DICT:   return dict_node(r, e, out);
    case N_ATTRIBUTE: return genet__jinja_eval(r, e->a, &a) && genet__jinja_attribute(r, &a, e->name, out);
    case N_ITEM:
        if (e->b->kind == N_SLICE) return slice(r, e, out);
        return two(r, e, &a, &b) && genet__jinja_item(r, &a, &b, out);
    case N_CALL:   return call_node(r, e, out);
    case N_FILTER: case N_TEST: return filter_node(r, e, out);
    case N_UNARY:  return genet__jinja_eval(r, e->a, &a) && unary(r, e->op, a, out);
    case N_BINARY: return two(r, e, &a, &b) && genet__jinja_binary(r, e->op, a, b, out);
    case N_AND: case N_OR: return logic(r, e, out);
    case N_NOT:    TRY(genet__jinja_eval(r, e->a, &a)); *out = BOOL(!genet__jinja_true(&a)); return true;
    case N_CONCAT: return concat(r, e, out);
    case N_COMPARE: return compare_all(r, e, out);
    case N_CONDITION: return condition(r, e, out);
    default:       return FAIL(r, "an expression of unknown kind");
    }
}

bool genet__jinja_eval(run *r, const node *e, value *out)
{
    TRY(genet__jinja_enter(r) && genet__jinja_spend(r, 1));
    r->line = e->line;
    TRY(evaluate(r, e, out));
    r->depth--;
    return true;
}
