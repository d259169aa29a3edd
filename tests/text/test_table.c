/* labels: core
 * test_table.c - comma-separated text in and out: quotes, missing values,
 * types of columns, and errors that name line and column. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "text/table.h"

static table parse(const char *text, char delimiter)
{
    genet_err err = { 0 };
    table t;
    if (!genet__table_parse(&t, text, strlen(text), "t.csv", delimiter, &err)) fail_msg("%s", err.text);
    return t;
}

static void test_types(void **state)
{
    (void)state;
    table t = parse("x,color,y\n1,red,-2.5e1\n 2 ,blue,\n3,,NaN\n+4,red,0\n", 0);
    assert_int_equal(t.n_column, 3);
    assert_int_equal(t.n_row, 4);
    assert_string_equal(t.column[0].name, "x");
    assert_int_equal(t.column[0].type, COLUMN_NUMBER);
    for (int i = 0; i < 4; i++) assert_true(t.column[0].number[i] == i + 1);
    const column *color = &t.column[1], *y = &t.column[2];
    assert_int_equal(color->type, COLUMN_TEXT);
    assert_null(color->number);
    assert_int_equal(color->n_value, 2);
    assert_string_equal(color->value[0], "blue");               /* sorted */
    assert_string_equal(color->value[1], "red");
    assert_true(color->code[0] == 1 && color->code[1] == 0 && color->code[2] == -1 && color->code[3] == 1);
    assert_int_equal(color->n_missing, 1);
    assert_int_equal(y->type, COLUMN_NUMBER);
    assert_null(y->code);
    assert_true(y->number[0] == -25 && isnan(y->number[1]) && isnan(y->number[2]) && y->number[3] == 0);
    assert_int_equal(y->n_missing, 2);
    assert_string_equal(y->text[2], "NaN");
    genet__table_release(&t);
    genet__table_release(&t);
}

/* All cells of a row, joined with '|'. */
static void expect_row(const table *t, int64_t r, const char *want)
{
    str row = { 0 };
    for (int i = 0; i < t->n_column; i++) genet__str_printf(&row, "%s%s", i ? "|" : "", t->column[i].text[r]);
    assert_string_equal(genet__str(&row), want);
    genet__str_release(&row);
}

static void test_quotes(void **state)
{
    (void)state;
    table t = parse("\xef\xbb\xbf\"a,b\",\"say \"\"c\"\"\"\r\n\"1,5\",  \"two\nlines\" \r\n\r\n"
                    "\" kept \",in\"side\n\"\",last", 0);
    assert_int_equal(t.n_row, 3);
    assert_string_equal(t.column[0].name, "a,b");
    assert_string_equal(t.column[1].name, "say \"c\"");
    expect_row(&t, 0, "1,5|two\nlines");
    expect_row(&t, 1, " kept |in\"side");
    expect_row(&t, 2, "|last");
    assert_true(t.line[0] == 2 && t.line[1] == 5 && t.line[2] == 6);
    genet__table_release(&t);
}

static void test_delimiters(void **state)
{
    (void)state;
    table t = parse("a;b;\"c,d,e,f\"\n1;2;3,5\n", 0);
    assert_int_equal(t.delimiter, ';');
    expect_row(&t, 0, "1|2|3,5");
    genet__table_release(&t);
    t = parse("a\tb\n \t2\n", 0);
    assert_int_equal(t.delimiter, '\t');
    expect_row(&t, 0, "|2");
    genet__table_release(&t);
    t = parse("a|b,c\n1|2,3\n", '|');
    expect_row(&t, 0, "1|2,3");
    genet__table_release(&t);
    t = parse("alone\r1\r2", 0);                                /* the line ends of old Macintoshes */
    assert_int_equal(t.n_row, 2);
    genet__table_release(&t);
    t = parse(",x,\n1,2,3\n", 0);
    assert_string_equal(t.column[0].name, "column 1");
    assert_string_equal(t.column[2].name, "column 3");
    genet__table_release(&t);
}

static column_type first_is_text(const void *user, const char *name) { return strcmp(name, user) ? COLUMN_NUMBER : COLUMN_TEXT; }

/* What a column must be wins over what it looks like. */
static void test_typing(void **state)
{
    (void)state;
    static const char text[] = "a,b\n1,?\n,2\n", bad[] = "a,b\n1,2\nx,y\n";
    table_typing as = { first_is_text, "a" };
    genet_err err = { 0 };
    table t;
    assert_true(genet__table_parse_as(&t, text, sizeof text - 1, "t.csv", 0, &as, &err));
    assert_int_equal(t.column[0].type, COLUMN_TEXT);
    assert_string_equal(t.column[0].value[t.column[0].code[0]], "1");
    assert_true(genet__column_missing(&t.column[0], 1) && !genet__column_missing(&t.column[0], 0));
    assert_true(genet__column_missing(&t.column[1], 0) && t.column[1].number[1] == 2);
    genet__table_release(&t);
    assert_false(genet__table_parse_as(&t, bad, sizeof bad - 1, "t.csv", 0, &as, &err));
    assert_non_null(strstr(err.text, "line 3, column \"b\": \"y\" is not a number"));
}

static const struct { const char *text, *words; } broken[] = {
    { "", "t.csv: is empty" },
    { "\n\n", "t.csv: is empty" },
    { "a,b\n", "has a header row but no rows" },
    { "a,b\n1\n", "line 2 has 1 cell, the header row has 2 (cells are divided by commas)" },
    { "a,b\n1,2\n\n1,2,3\n", "line 4 has 3 cells, the header row has 2" },
    { "a;b\n1,2\n", "line 2 has 1 cell, the header row has 2 (cells are divided by semicolons)" },
    { "a,b\n1,\"2\n3,4\n", "line 2: a quote is opened here and never closed" },
    { "a,b\n1,\"2\"3\n", "line 2: there is text behind a closing quote" },
    { "a,b,a\n1,2,3\n", "columns 1 and 3 are both named \"a\"" },
    { "a,b\n1,2\n3,x4\n5,6\n", "line 3, column \"b\": \"x4\" is not a number, but most of the column is" },
    { "a\n1\n2\ninf\n", "line 4, column \"a\": \"inf\" is not a number" },
    { "a\n1\n2\n1e999\n", "\"1e999\" is not a number" },
    { "a\n1\n2\n0x10\n", "\"0x10\" is not a number" },
    { "a\nb\xff\n", "line 2: byte 0xFF is not UTF-8" },
};

static void test_broken(void **state)
{
    (void)state;
    genet_err err = { 0 };
    table t;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        if (genet__table_parse(&t, broken[i].text, strlen(broken[i].text), "t.csv", 0, &err))
            fail_msg("accepted, wanted %s", broken[i].words);
        if (!strstr(err.text, broken[i].words)) fail_msg("\"%s\" lacks \"%s\"", err.text, broken[i].words);
        genet__table_release(&t);
    }
    assert_false(genet__table_parse(&t, "a\n1\0", 4, "t.csv", 0, &err));
    assert_non_null(strstr(err.text, "line 2: byte 0x00"));
    assert_false(genet__table_read(&t, "/nowhere.csv", 0, &err));
    assert_non_null(strstr(err.text, "/nowhere.csv"));
}

static void test_find(void **state)
{
    (void)state;
    genet_err err = { 0 };
    table t = parse("height,weight,name\n1,2,x\n", 0);
    assert_int_equal(genet__table_find(&t, "weight", &err), 1);
    assert_int_equal(genet__table_find(&t, "wieght", &err), -1);
    assert_string_equal(err.text, "t.csv has no column \"wieght\"; did you mean \"weight\"?");
    genet__table_release(&t);
}

static void test_print(void **state)
{
    (void)state;
    genet_err err = { 0 };
    str out = { 0 };
    const char *cell[] = { "0.5", "say \"x\"", " y" };
    table t = parse("a,\"b,c\"\n1,NA\n2,\"two\nlines\"\n,plain\n", 0);
    assert_true(genet__table_print(&t, "prediction", cell, &out, &err));
    assert_string_equal(out.at, "a,\"b,c\",prediction\n1,NA,0.5\n2,\"two\nlines\",\"say \"\"x\"\"\"\n,plain,\" y\"\n");
    genet__str_clear(&out);
    table marked = parse("\xef\xbb\xbf\xef\xbb\xbfx\n1\n", 0);       /* the second mark is a letter of the name */
    assert_true(genet__table_print(&marked, "x", cell, &out, &err));
    assert_string_equal(out.at, "\"\xef\xbb\xbfx\",x\n1,0.5\n");
    genet__table_release(&marked);
    assert_false(genet__table_print(&t, "b,c", cell, &out, &err));
    assert_non_null(strstr(err.text, "already has a column \"b,c\""));
    genet__str_release(&out);
    genet__table_release(&t);
}

static void test_failing_memory(void **state)
{
    (void)state;
    genet_err err = { 0 };
    static const char text[] = "a,b\n1,x\n2,y\n";
    bool ok = false;
    for (long n = 0; !ok; n++) {
        table t;
        assert_true(n < 100);
        genet__alloc_fail_after(n);
        ok = genet__table_parse(&t, text, sizeof text - 1, "t.csv", 0, &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
        genet__table_release(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),          cmocka_unit_test(test_quotes), cmocka_unit_test(test_delimiters),
        cmocka_unit_test(test_broken),         cmocka_unit_test(test_find),   cmocka_unit_test(test_print),
        cmocka_unit_test(test_failing_memory), cmocka_unit_test(test_typing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
