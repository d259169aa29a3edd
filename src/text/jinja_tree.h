/* jinja_tree.h - what the files of the template engine share: tokens, the tree, values, a run.
 *
 *   jinja_lex.c     text -> tokens; where white space goes
 *   jinja_parse.c   tokens -> statements          jinja_expr.c    tokens -> expressions
 *   jinja_run.c     statements                    jinja_eval.c    expressions, calls
 *   jinja_value.c   truth, equality, order, iteration, items      jinja_print.c   str(), repr(), JSON
 *   jinja_filter.c  filters of one value          jinja_list.c    filters over many
 *   jinja_method.c  methods of strings, lists and dicts, functions; jinja_test.c  tests
 *
 * Values are those of Python as far as a template can see.  They live in the run's arena until its end and never change,
 * but for namespaces, loops and iterators, which a template can see changing. */
#ifndef GENET_TEXT_JINJA_TREE_H
#define GENET_TEXT_JINJA_TREE_H
#include <string.h>
#include "base/arena.h"
#include "base/map.h"
#include "text/jinja.h"
#include "text/space.h"

/* --- values ----------------------------------------------------------------------------------- */

typedef enum value_kind {
    V_MISSING,          /* an argument that was not given */
    V_UNDEFINED, V_NONE, V_BOOL, V_INT, V_FLOAT, V_STRING,
    V_LIST, V_TUPLE, V_DICT,
    V_RANGE, V_VIEW,    /* range(); keys(), values(), items() of a dict */
    V_ITERATOR,         /* of map, select, ...: can be gone through once */
    V_NAMESPACE, V_LOOP, V_MACRO, V_FUNCTION, V_METHOD
} value_kind;

struct value;
/* taken: elements of an iterator that are gone; type: Python's name of it. */
typedef struct list { struct value *at; int64_t n, taken; const char *type; } list;
typedef struct dict { struct pair *at; int64_t n, cap; } dict;

typedef struct value {
    unsigned char kind, markup;         /* markup: a string that `+` escapes others for */
    uint32_t n;                         /* bytes of a string */
    union {
        int64_t     i;                  /* also V_BOOL */
        double      d;
        const char *s;                  /* UTF-8, not terminated; of V_UNDEFINED why, terminated */
        list       *list;               /* LIST, TUPLE, RANGE, VIEW, ITERATOR */
        dict       *dict;               /* DICT, NAMESPACE */
        struct loop *loop;
        struct macro *macro;
        const struct callable *function;
        struct method *method;
    };
} value;

typedef struct pair { value key, value; } pair;

#define NONE     ((value){ .kind = V_NONE })
#define MISSING  ((value){ .kind = V_MISSING })
#define BOOL(x)  ((value){ .kind = V_BOOL, .i = (x) })
#define INT(x)   ((value){ .kind = V_INT, .i = (x) })
#define FLOAT(x) ((value){ .kind = V_FLOAT, .d = (x) })
#define TEXT(at_, n_) ((value){ .kind = V_STRING, .s = (at_), .n = (uint32_t)(n_) })
#define WORD(word)    TEXT(word, strlen(word))

/* --- the tree --------------------------------------------------------------------------------- */

typedef enum node_kind {
    /* statements */
    N_TEXT, N_PRINT, N_IF, N_FOR, N_SET, N_SET_BLOCK, N_MACRO, N_CALL_BLOCK, N_FILTER_BLOCK, N_WITH, N_GENERATION,
    N_BREAK, N_CONTINUE,
    N_BRANCH,           /* of N_IF: a test (NULL: else), first */
    N_PARAMETER,        /* of a macro: name, a its default or NULL */
    /* expressions */
    N_CONST, N_NAME, N_NSREF, N_LIST, N_TUPLE, N_DICT, N_PAIR, N_ATTRIBUTE, N_ITEM, N_SLICE, N_CALL, N_FILTER, N_TEST,
    N_UNARY, N_BINARY, N_AND, N_OR, N_NOT, N_CONCAT, N_COMPARE, N_OPERAND, N_CONDITION,
    N_BODY,             /* in the filters of a block: its text */
    N_ARGUMENT, N_KEYWORD, N_STAR, N_STARSTAR
} node_kind;

/* Operators by their letters: OP('=', '='), and OP(0, '<').  "in" and "not in" are OP('i', 'n') and OP('n', 'i'). */
#define OP(a, b) ((a) << 8 | (b))

typedef struct node {
    node_kind kind;
    int line, op;
    const char *name;               /* of variables, attributes, filters, ... */
    value constant;
    struct node *a, *b, *c;         /* FOR: target, iterable, test.  CONDITION: test, then, else.  SLICE, ITEM, ... */
    struct node *first;             /* statements of a body; elements */
    struct node *other;             /* FOR: else; CALL, FILTER, TEST: arguments; MACRO: parameters */
    struct node *next;              /* in the list that it is an element of */
} node;

typedef enum token_kind { T_END, T_DATA, T_PRINT, T_PRINT_END, T_BLOCK, T_BLOCK_END, T_NAME, T_CONST, T_OP } token_kind;
typedef struct token { token_kind kind; int line, op; const char *at; size_t n; value constant; } token;

struct jinja {
    arena arena;
    const char *where;
    node *first;
    map names;                      /* variables that are read anywhere */
};

enum { JINJA_MAX_NESTING = 100 };   /* of brackets, operators and statements in the text */

typedef struct parser {
    jinja *t;
    token *at;                      /* the current token; the last one is T_END for ever */
    int depth, loops, macros;       /* loops and macros around this place */
    genet_err *err;
} parser;

/* jinja_lex.c: tokens to be freed with genet__free, also after a failure. */
bool genet__jinja_lex(jinja *t, const char *text, size_t n, token **tokens, genet_err *err);
/* jinja_expr.c; NULL: p->err says why. */
enum { TUPLE_PLAIN, TUPLE_NO_CONDITION, TUPLE_IN_PARENTHESES };
node *genet__jinja_tuple(parser *p, int how, const char *end);  /* expressions with commas; end: a name that ends them */
node *genet__jinja_expression(parser *p);
node *genet__jinja_primary(parser *p, bool target);                     /* target: a.b is an attribute of a namespace */
node *genet__jinja_filters(parser *p, node *of, bool inside);           /* | name(...); inside: the first has no | */
/* jinja_parse.c: what all parsing needs. */
node *genet__jinja_node(parser *p, node_kind kind, int line);
node *genet__jinja_refuse(parser *p, int line, const char *fmt, ...) GENET_PRINTF(3, 4);      /* NULL */
bool  genet__jinja_is(const parser *p, const char *name);               /* the current token is this name */
bool  genet__jinja_skip(parser *p, const char *name);                   /* and is passed over */
bool  genet__jinja_is_op(const parser *p, int op);
bool  genet__jinja_skip_op(parser *p, int op);
bool  genet__jinja_expect_op(parser *p, int op);
const char *genet__jinja_token_text(const token *t, char out[48]);
const char *genet__jinja_name(parser *p, const char *what);             /* the current token's, passed over; NULL: refused */

/* --- a run ------------------------------------------------------------------------------------ */

typedef struct binding { struct binding *next; const char *name; value value; } binding;
typedef struct scope { struct scope *outer; binding *first; } scope;

/* A text being made.  After a failure (in the run) additions do nothing. */
typedef struct run run;
typedef struct buffer { run *r; char *at; size_t n, cap; } buffer;

struct run {
    arena   arena;
    const jinja *t;
    jinja_limits limits;
    int64_t steps;
    int     depth, line;
    bool    failed;
    enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
    scope  *scope;
    buffer *out;
    const value *body;              /* what N_BODY stands for */
    genet_err *err;
};

typedef struct loop {
    value  *at;                     /* what is gone through; those that the test refuses are dropped on the way */
    int64_t n, next;                /* next: the first one that was not looked at */
    int64_t index0;
    value   before, now, after;     /* V_MISSING: none, or not looked for */
    value   changed;                /* what loop.changed() was called with */
    const node *target, *test;
    scope  *outside;
} loop;

typedef struct macro { const node *node; scope *outside; } macro;

/* Arguments of a call as they are written. */
enum { MAX_ARGUMENTS = 32 };
typedef struct arguments {
    value at[MAX_ARGUMENTS];
    int n;
    const char *key[MAX_ARGUMENTS];
    value keyed[MAX_ARGUMENTS];
    int n_keyed;
} arguments;

/* A filter, test, method or function: parameters by name, in order. */
enum { MAX_PARAMETERS = 5 };
typedef struct call { run *r; value self; value arg[MAX_PARAMETERS]; const arguments *given; } call;
typedef struct callable {
    const char *name, *parameters;          /* "old new count"; NULL: it looks at `given` itself */
    int required;
    bool (*body)(call *c, value *out);
} callable;
typedef struct method { value self; const callable *row; } method;

enum { JINJA_MAX_DEPTH = 250 };             /* of expressions, calls and values inside each other */

/* jinja_run.c */
bool  genet__jinja_fail(run *r, const char *fmt, ...) GENET_PRINTF(2, 3);       /* false; the first one counts */
bool  genet__jinja_statements(run *r, const node *first);
bool  genet__jinja_capture(run *r, const node *first, value *out);      /* the text of statements in a scope of their own */
value *genet__jinja_find(run *r, const scope *s, const char *name);
bool  genet__jinja_bind(run *r, scope *s, const char *name, value v);           /* in s itself */
bool  genet__jinja_assign(run *r, const node *target, value v);
/* The next element of a loop that its test takes, into the loop's `after`; V_MISSING: there is none. */
bool  genet__jinja_peek(run *r, loop *l, value *out);
bool  genet__jinja_loop_length(run *r, loop *l, int64_t *n);
bool  genet__jinja_loop_attribute(run *r, loop *l, const char *name, value *out, bool *found);

/* jinja_eval.c */
bool  genet__jinja_eval(run *r, const node *e, value *out);
bool  genet__jinja_call(run *r, value f, const arguments *a, value *out);
bool  genet__jinja_call_row(run *r, const callable *row, const char *what, value self, const arguments *a, value *out);
bool  genet__jinja_call_macro(run *r, const macro *m, const arguments *a, const value *caller, value *out);
bool  genet__jinja_call_block(run *r, const macro *m, const node *call_of, const value *caller, value *out);
bool  genet__jinja_binary(run *r, int op, value a, value b, value *out);

/* jinja_value.c */
void *genet__jinja_new(run *r, size_t n_bytes);                 /* NULL: failed */
bool  genet__jinja_spend(run *r, int64_t steps);
bool  genet__jinja_enter(run *r);                               /* one level deeper; leave: r->depth-- */
bool  genet__jinja_from_json(run *r, const json_t *j, value *out);
const char *genet__jinja_type(const value *v);                  /* Python's name of its type */
bool  genet__jinja_true(const value *v);
bool  genet__jinja_equal(run *r, const value *a, const value *b, bool *out);
bool  genet__jinja_less(run *r, const value *a, const value *b, bool *out);
bool  genet__jinja_contains(run *r, const value *in, const value *what, bool *out);
bool  genet__jinja_length(run *r, const value *v, int64_t *out);
/* All elements, of an iterator those that are left; the array is not to be written. */
bool  genet__jinja_elements(run *r, const value *v, value **at, int64_t *n);
bool  genet__jinja_make_list(run *r, value_kind kind, const char *type, const value *at, int64_t n, value *out);
bool  genet__jinja_dict_set(run *r, dict *d, value key, value v);
bool  genet__jinja_hashable(const value *v);                    /* may it be a key? */
value *genet__jinja_dict_get(run *r, const dict *d, const value *key);          /* NULL: absent, or failed */
bool  genet__jinja_attribute(run *r, const value *of, const char *name, value *out);       /* of.name */
bool  genet__jinja_item(run *r, const value *of, const value *key, value *out);            /* of[key] */
bool  genet__jinja_slice(run *r, const value *of, const value part[3], value *out);        /* MISSING: left out */
bool  genet__jinja_undefined(run *r, value *out, const char *fmt, ...) GENET_PRINTF(3, 4);
bool  genet__jinja_int_of(run *r, const value *v, const char *what, int64_t *out);

/* jinja_print.c */
void  genet__jinja_add(buffer *b, const char *text, size_t n);
bool  genet__jinja_text(buffer *b, value *out);                 /* what was gathered */
void  genet__jinja_add_str(buffer *b, const value *v);          /* str(v) */
void  genet__jinja_add_repr(buffer *b, const value *v);
bool  genet__jinja_str(run *r, const value *v, value *out);     /* a V_STRING */
typedef struct json_style { bool ascii, sorted; const char *item, *key, *indent; size_t n_item, n_key, n_indent; } json_style;
void  genet__jinja_add_json(buffer *b, const value *v, const json_style *s, int level);

/* Tables, each ended by a row without a name. */
extern const callable genet__jinja_filters_one[], genet__jinja_filters_many[], genet__jinja_tests[], genet__jinja_functions[];
const callable *genet__jinja_row(const callable *table, const char *name);
const callable *genet__jinja_find_filter(const char *name);
/* A method of v by this name; *unsafe: there is one that changes v; *known: Python has one that is not here. */
const callable *genet__jinja_find_method(const value *v, const char *name, bool *unsafe, bool *known);
/* jinja_case.c, jinja_method.c, also filters: */
bool  genet__jinja_strip(call *c, value *out);
bool  genet__jinja_upper(call *c, value *out);
bool  genet__jinja_lower(call *c, value *out);
bool  genet__jinja_capitalize(call *c, value *out);
bool  genet__jinja_title(call *c, value *out);              /* the method; */
bool  genet__jinja_title_words(call *c, value *out);        /* the filter */
bool  genet__jinja_replace(call *c, value *out);
bool  genet__jinja_split_lines(run *r, const value *s, bool keep_ends, value *out);
uint32_t genet__jinja_to_lower(uint32_t c);
uint32_t genet__jinja_to_upper(uint32_t c);
/* Cased characters of v's text: are there any, and all of them lower (upper)? */
bool  genet__jinja_is_cased(const value *v, bool upper);
bool  genet__jinja_text_argument(run *r, const value *v, const char *what);     /* a string, or an error */
bool  genet__jinja_format(run *r, const value *format, const value *at, int64_t n, value *out);    /* format % at */

#define FAIL(r, ...) genet__jinja_fail(r, __VA_ARGS__)

/* --- characters ------------------------------------------------------------------------------- */

static inline bool jinja_is_digit(char c) { return c >= '0' && c <= '9'; }

static inline size_t jinja_char_bytes(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

/* What str.isspace() takes: Unicode's white space and the four separators of ASCII. */
static inline bool jinja_is_space(uint32_t c) { return genet__space_is(c) || (c >= 0x1c && c <= 0x1f); }

static inline int64_t jinja_chars(const value *s)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) n += ((unsigned char)s->s[i] & 0xc0) != 0x80;
    return n;
}

/* Bytes of white space that s begins with, and how much is left without that at its end. */
static inline size_t jinja_space_front(const char *s, size_t n)
{
    size_t i = 0;
    uint32_t c;
    for (int k; i < n && (k = genet__utf8_decode(s + i, n - i, &c)) > 0 && jinja_is_space(c);) i += (size_t)k;
    return i;
}

static inline size_t jinja_space_back(const char *s, size_t n)
{
    uint32_t c;
    for (size_t k; n && (k = genet__utf8_before(s, n, &c)) && jinja_is_space(c);) n -= k;
    return n;
}

static inline bool jinja_same(const value *s, const char *word) { return s->n == strlen(word) && !memcmp(s->s, word, s->n); }
#endif
