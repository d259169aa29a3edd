/* jinja_run.c - statements, scopes and loops.
 *
 * A scope is what one body sets: of a loop's turn, a macro, a block.  Names are looked for from the inside out, so a
 * loop's turn sees what stands outside and leaves nothing there; only namespaces carry values out, as in jinja2.  An
 * `if` has no scope. */
#include <stdarg.h>
#include "base/alloc.h"
#include "base/err.h"
#include "text/jinja_tree.h"

bool genet__jinja_fail(run *r, const char *fmt, ...)
{
    char words[600];
    va_list ap;
    if (r->failed) return false;
    va_start(ap, fmt);
    genet__vformat(words, sizeof words, fmt, ap);
    va_end(ap);
    r->failed = true;
    return genet__err_set(r->err, GENET_ERR_FORMAT, "%s: line %d: %s", r->t->where, r->line, words);
}

/* --- scopes ----------------------------------------------------------------------------------- */

/* The walk through many names counts as work. */
static binding *find_in(run *r, const scope *s, const char *name)
{
    int64_t walked = 0;
    binding *b = s->first;
    for (; b && strcmp(b->name, name); b = b->next) walked++;
    r->steps += walked / 8;
    return b;
}

value *genet__jinja_find(run *r, const scope *s, const char *name)
{
    binding *b = NULL;
    for (; s && !b; s = s->outer) b = find_in(r, s, name);
    return b ? &b->value : NULL;
}

bool genet__jinja_bind(run *r, scope *s, const char *name, value v)
{
    binding *b = find_in(r, s, name);
    if (b) return b->value = v, genet__jinja_spend(r, 1);
    if (!(b = genet__jinja_new(r, sizeof *b))) return false;
    *b = (binding){ s->first, name, v };
    s->first = b;
    return true;
}

static bool assign_attribute(run *r, const node *target, value v)
{
    const value *space = genet__jinja_find(r, r->scope, target->name);
    if (!space || space->kind != V_NAMESPACE)
        return FAIL(r, "%s.%s = ...: %s is no namespace", target->name, target->constant.s, target->name);
    if (*target->constant.s == '_') return FAIL(r, "an attribute of a namespace may not begin with an underscore");
    return genet__jinja_dict_set(r, space->dict, target->constant, v);
}

bool genet__jinja_assign(run *r, const node *target, value v)
{
    value *at;
    int64_t n, i = 0;
    if (target->kind == N_NAME) return genet__jinja_bind(r, r->scope, target->name, v);
    if (target->kind == N_NSREF) return assign_attribute(r, target, v);
    TRY(genet__jinja_elements(r, &v, &at, &n));
    for (const node *t = target->first; t; t = t->next, i++) {
        if (i == n) return FAIL(r, "there are more names than the %lld values", (long long)n);
        TRY(genet__jinja_assign(r, t, at[i]));
    }
    return i == n || FAIL(r, "there are %lld values and %lld names for them", (long long)n, (long long)i);
}

/* Statements whose names stay inside; the scope may hold some already. */
static bool inside(run *r, scope *s, const node *first)
{
    scope *before = r->scope;
    s->outer = s->outer ? s->outer : before;
    r->scope = s;
    bool ok = genet__jinja_statements(r, first);
    r->scope = before;
    return ok;
}

static bool capture_in(run *r, scope *s, const node *first, value *out)
{
    buffer text = { .r = r }, *before = r->out;
    r->out = &text;
    bool ok = inside(r, s, first);
    r->out = before;
    return ok && genet__jinja_text(&text, out);
}

/* On the heap of the run, as all scopes: a macro in it may outlive the statements. */
static scope *new_scope(run *r, scope *outer)
{
    scope *s = genet__jinja_new(r, sizeof *s);
    if (s) *s = (scope){ .outer = outer };
    return s;
}

bool genet__jinja_capture(run *r, const node *first, value *out)
{
    scope *s = new_scope(r, r->scope);
    return s && capture_in(r, s, first, out);
}

/* --- loops ------------------------------------------------------------------------------------ */

/* Does the test of {% for x in y if test %} take v? */
static bool takes(run *r, const loop *l, value v, bool *out)
{
    value answer;
    if (!l->test) return *out = true;
    scope *before = r->scope, *s = new_scope(r, l->outside);
    if (!s) return false;
    r->scope = s;
    bool ok = genet__jinja_assign(r, l->target, v) && genet__jinja_eval(r, l->test, &answer);
    r->scope = before;
    if (ok) *out = genet__jinja_true(&answer);
    return ok;
}

bool genet__jinja_peek(run *r, loop *l, value *out)
{
    while (l->after.kind == V_MISSING && l->next < l->n) {
        bool taken;
        value v = l->at[l->next++];
        TRY(takes(r, l, v, &taken));
        if (taken) l->after = v;
    }
    *out = l->after;
    return true;
}

/* Looks at all that is left, as len() of a generator does; what is taken moves to the front of the rest. */
bool genet__jinja_loop_length(run *r, loop *l, int64_t *n)
{
    int64_t kept = l->next;
    for (int64_t i = l->next; l->test && i < l->n; i++) {
        bool taken;
        TRY(takes(r, l, l->at[i], &taken));
        if (taken) l->at[kept++] = l->at[i];
    }
    if (l->test) l->n = kept, l->test = NULL;
    *n = l->index0 + 1 + (l->after.kind != V_MISSING) + l->n - l->next;
    return true;
}

bool genet__jinja_loop_attribute(run *r, loop *l, const char *name, value *out, bool *found)
{
    static const char *const names[] = { "index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem",
                                         "nextitem", "depth", "depth0" };
    int which = 0, n_names = sizeof names / sizeof *names;
    int64_t n = 0;
    value after;
    while (which < n_names && strcmp(names[which], name)) which++;
    *found = which < n_names;
    if (which >= 4 && which <= 6) TRY(genet__jinja_loop_length(r, l, &n));
    if (which == 3 || which == 8) TRY(genet__jinja_peek(r, l, &after));
    switch (which) {
    case 0: *out = INT(l->index0 + 1); break;
    case 1: *out = INT(l->index0); break;
    case 2: *out = BOOL(l->index0 == 0); break;
    case 3: *out = BOOL(after.kind == V_MISSING); break;
    case 4: *out = INT(n); break;
    case 5: *out = INT(n - l->index0); break;
    case 6: *out = INT(n - l->index0 - 1); break;
    case 7: if (l->index0 == 0) return genet__jinja_undefined(r, out, "there is no previous item"); *out = l->before; break;
    case 8: if (after.kind == V_MISSING) return genet__jinja_undefined(r, out, "there is no next item"); *out = after; break;
    case 9: *out = INT(1); break;
    case 10: *out = INT(0); break;
    default: break;
    }
    return true;
}

/* One turn with v. */
static bool turn(run *r, const node *n, loop *l, value v)
{
    scope *s = new_scope(r, l->outside), *before = r->scope;
    if (!s || !genet__jinja_spend(r, 1)) return false;
    l->index0++;
    l->before = l->now;
    l->now = v;
    l->after = MISSING;
    r->scope = s;
    bool ok = genet__jinja_bind(r, s, "loop", (value){ .kind = V_LOOP, .loop = l }) && genet__jinja_assign(r, n->a, v);
    r->scope = before;
    return ok && inside(r, s, n->first);
}

static bool run_for(run *r, const node *n)
{
    value all, v, *at;
    int64_t count;
    TRY(genet__jinja_eval(r, n->b, &all) && genet__jinja_elements(r, &all, &at, &count));
    loop *l = genet__jinja_new(r, sizeof *l);
    value *copy = l && n->c ? genet__jinja_new(r, (size_t)count * sizeof *copy) : at;
    if (!l || (n->c && !copy)) return false;
    if (n->c && count) memcpy(copy, at, (size_t)count * sizeof *copy);
    *l = (loop){ .at = copy, .n = count, .index0 = -1, .target = n->a, .test = n->c, .outside = r->scope };
    for (;;) {
        TRY(genet__jinja_peek(r, l, &v));
        if (v.kind == V_MISSING) break;
        TRY(turn(r, n, l, v));
        bool stop = r->flow == FLOW_BREAK;
        r->flow = FLOW_ON;
        if (stop) return true;
    }
    scope *s = l->index0 < 0 && n->other ? new_scope(r, r->scope) : NULL;
    return s ? inside(r, s, n->other) : !r->failed;
}

/* --- other statements ------------------------------------------------------------------------- */

static bool run_if(run *r, const node *n)
{
    for (const node *branch = n->first; branch; branch = branch->next) {
        value test = BOOL(true);
        if (branch->a) TRY(genet__jinja_eval(r, branch->a, &test));
        if (genet__jinja_true(&test)) return genet__jinja_statements(r, branch->first);
    }
    return true;
}

static bool run_with(run *r, const node *n)
{
    scope *s = new_scope(r, r->scope);
    value v;
    if (!s) return false;
    for (const node *one = n->other; one; one = one->next) {
        TRY(genet__jinja_eval(r, one->b, &v));
        scope *before = r->scope;
        r->scope = s;
        bool ok = genet__jinja_assign(r, one->a, v);
        r->scope = before;
        TRY(ok);
    }
    return inside(r, s, n->first);
}

/* The text of a block through its filters, into *out. */
static bool filtered(run *r, const node *n, value *out)
{
    value text;
    const value *before = r->body;
    TRY(genet__jinja_capture(r, n->first, &text));
    r->body = &text;
    bool ok = genet__jinja_eval(r, n->b, out);
    r->body = before;
    return ok;
}

static bool put(run *r, const value *v)
{
    genet__jinja_add_str(r->out, v);
    return !r->failed;
}

static bool run_macro(run *r, const node *n)
{
    macro *m = genet__jinja_new(r, sizeof *m);
    if (!m) return false;
    *m = (macro){ n, r->scope };
    return genet__jinja_bind(r, r->scope, n->name, (value){ .kind = V_MACRO, .macro = m });
}

/* {% call f(x) %} text {% endcall %}: f with `caller`. */
static bool run_call_block(run *r, const node *n)
{
    value f, out;
    macro *m = genet__jinja_new(r, sizeof *m);
    if (!m) return false;
    *m = (macro){ n, r->scope };
    value caller = { .kind = V_MACRO, .macro = m };
    TRY(genet__jinja_eval(r, n->a->a, &f));
    if (f.kind != V_MACRO) return FAIL(r, "{%% call %%} of what is no macro");
    return genet__jinja_call_block(r, f.macro, n->a, &caller, &out) && put(r, &out);
}

static bool one(run *r, const node *n)
{
    value v;
    scope *s;
    switch (n->kind) {
    case N_TEXT:  genet__jinja_add(r->out, n->constant.s, n->constant.n); return !r->failed;
    case N_PRINT: return genet__jinja_eval(r, n->a, &v) && put(r, &v);
    case N_IF:    return run_if(r, n);
    case N_FOR:   return run_for(r, n);
    case N_SET:   return genet__jinja_eval(r, n->b, &v) && genet__jinja_assign(r, n->a, v);
    case N_SET_BLOCK: return filtered(r, n, &v) && genet__jinja_assign(r, n->a, v);
    case N_FILTER_BLOCK:
        TRY(filtered(r, n, &v));
        return v.kind == V_STRING ? put(r, &v) : FAIL(r, "the filter of a block gives %s, no text", genet__jinja_type(&v));
    case N_MACRO: return run_macro(r, n);
    case N_CALL_BLOCK: return run_call_block(r, n);
    case N_WITH:  return run_with(r, n);
    case N_GENERATION: return (s = new_scope(r, r->scope)) && inside(r, s, n->first);
    case N_BREAK: r->flow = FLOW_BREAK; return true;
    case N_CONTINUE: r->flow = FLOW_CONTINUE; return true;
    default:      return FAIL(r, "a statement of unknown kind");
    }
}

bool genet__jinja_statements(run *r, const node *first)
{
    TRY(genet__jinja_enter(r));
    for (const node *n = first; n && r->flow == FLOW_ON; n = n->next) {
        r->line = n->line;
        TRY(genet__jinja_spend(r, 1) && one(r, n));
    }
    r->depth--;
    return true;
}

/* --- rendering -------------------------------------------------------------------------------- */

static bool bind_all(run *r, scope *s, const json_t *variables)
{
    const char *name;
    json_t *j;
    value v;
    for (const callable *f = genet__jinja_functions; f->name; f++)
        TRY(genet__jinja_bind(r, s, f->name, (value){ .kind = V_FUNCTION, .function = f }));
    json_object_foreach((json_t *)variables, name, j) {
        if (!genet__jinja_reads(r->t, name)) continue;
        TRY(genet__jinja_from_json(r, j, &v) && genet__jinja_bind(r, s, name, v));
    }
    return true;
}

bool genet__jinja_render(const jinja *t, const json_t *variables, const jinja_limits *limits, str *out, genet_err *err)
{
    run r = { .t = t, .err = err, .line = 1 };
    scope outer = {0}, top = { .outer = &outer };
    buffer text = { .r = &r };
    if (limits) r.limits = *limits;
    if (!r.limits.max_steps) r.limits.max_steps = 20000000;
    if (!r.limits.max_bytes) r.limits.max_bytes = (size_t)256 << 20;
    r.scope = &top;
    r.out = &text;
    bool ok = bind_all(&r, &outer, variables) && genet__jinja_statements(&r, t->first);
    if (ok) genet__str_add_n(out, text.at ? text.at : "", text.n);
    genet__arena_release(&r.arena);
    return ok && (!out->failed || genet__err_memory(err));
}
