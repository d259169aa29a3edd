/* labels: core
 * test_chart.c - a chart's curves stand where their numbers say, in both kinds
 * of file; letters leave ink; what cannot be drawn is refused in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "image/chart.h"
#include "image/stroke_font.h"
#ifdef GENET_HAVE_PNG
#include <png.h>
#endif

static char path[200];

static const char *in_tmp(const char *name)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/genet-chart-%ld-%s", base && *base ? base : "/tmp", (long)getpid(), name);
    return path;
}

static const double steps[] = { 0, 100, 200, 300 }, flat[] = { 2, 2, 2, 2 }, falling[] = { 4, 3, NAN, 0 };
static const chart_curve two[] = {
    { .name = "a & <b>", .x = steps, .y = flat, .n = 4, .color = 0 },
    { .name = NULL, .x = steps, .y = falling, .n = 4, .color = 1, .marks = true },
};
static chart both(void) { return (chart){ "step", "loss", false, two, 2 }; }

#ifdef GENET_HAVE_PNG
typedef struct picture { int width, height; unsigned char *rgb; } picture;
static picture read_png(const char *from)
{
    png_image image = { .version = PNG_IMAGE_VERSION };
    assert_true(png_image_begin_read_from_file(&image, from));
    image.format = PNG_FORMAT_RGB;
    picture p = { (int)image.width, (int)image.height, malloc(PNG_IMAGE_SIZE(image)) };
    assert_true(png_image_finish_read(&image, NULL, p.rgb, 0, NULL));
    return p;
}

/* Is the pixel of this palette colour? */
static bool is(const picture *p, int x, int y, uint32_t rgb)
{
    const unsigned char *at = p->rgb + 3 * (y * p->width + x);
    return at[0] == (rgb >> 16 & 255) && at[1] == (rgb >> 8 & 255) && at[2] == (rgb & 255);
}

/* A column in the middle of the page crosses the flat curve once, at the height that the axis gives 2 of 0..4. */
static void test_png(void **state)
{
    (void)state;
    genet_err err = {0};
    chart c = both();
    if (!genet__chart_write(&c, in_tmp("a.png"), &err)) fail_msg("%s", err.text);
    picture p = read_png(path);
    assert_int_equal(p.width, 1920);
    assert_int_equal(p.height, 1200);
    int first = -1, last = -1;
    for (int y = 0; y < p.height; y++)
        if (is(&p, 1000, y, 0x1f77b4)) first = first < 0 ? y : first, last = y;
    assert_true(first > 0 && last - first < 8);
    /* the plot's area is 24..538 points high, the axis 5 % wider than 0..4 on both sides: 2 is in its middle */
    assert_in_range((first + last) / 2, 2 * 281 - 3, 2 * 281 + 3);
    int other = 0;
    for (int y = 0; y < p.height; y++) other += is(&p, 2 * 86 + 10, y, 0xd95f02);
    assert_true(other > 2);                     /* the falling curve begins at the left */
    other = 0;
    for (int y = 0; y < p.height; y++) other += is(&p, 1300, y, 0xd95f02);
    assert_int_equal(other, 0);                 /* and is parted by the NaN */
    int ink = 0;
    for (int i = (p.height - 60) * p.width; i < p.height * p.width; i++) ink += p.rgb[3 * i] < 128;
    assert_true(ink > 100);                     /* the label of the axis */
    free(p.rgb);
    remove(path);
}
#endif

static void test_svg(void **state)
{
    (void)state;
    genet_err err = {0};
    size_t n;
    chart c = both();
    if (!genet__chart_write(&c, in_tmp("a.svg"), &err)) fail_msg("%s", err.text);
    char *text = genet__file_read(path, 1 << 20, &n, &err);
    assert_non_null(text);
    assert_non_null(strstr(text, "a &amp; &lt;b&gt;"));
    assert_non_null(strstr(text, "M86.00 281.00L"));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "</svg>\n"));
    genet__free(text);
    remove(path);
}

static void test_refusals(void **state)
{
    (void)state;
    genet_err err = {0};
    chart c = both();
    assert_false(genet__chart_write(&c, in_tmp("a.gif"), &err));
    assert_non_null(strstr(err.text, ".png or .svg"));
    c.n_curve = 0;
    assert_false(genet__chart_write(&c, in_tmp("a.svg"), &err));
    assert_non_null(strstr(err.text, "nothing to draw"));
    static const double bad[] = { NAN, INFINITY, -1 };
    chart_curve curve = { .x = steps, .y = bad, .n = 3 };
    c = (chart){ "x", "y", true, &curve, 1 };
    assert_false(genet__chart_write(&c, in_tmp("a.svg"), &err));
    assert_non_null(strstr(err.text, "positive"));
    chart ok = both();
    assert_false(genet__chart_write(&ok, "/no/such/folder/a.svg", &err));
    assert_non_null(strstr(err.text, "/no/such/folder"));
}

/* One point, equal points, huge and tiny ranges, long and broken names: nothing but a picture. */
static void test_extremes(void **state)
{
    (void)state;
    genet_err err = {0};
    static const double values[][3] = { { 1, 1, 1 }, { 1e-300, 2e-300, 3e-300 }, { -1e300, 0, 1e300 }, { 0, 0, 0 },
                                        { 1e-9, 1, 1e9 }, { 5e-324, 1, 1.7e308 }, { -1.7e308, 0, 1.7e308 } };
    char name[300];
    memset(name, 0xc3, sizeof name - 1);
    name[sizeof name - 1] = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int log = 0; log < 2; log++)
            for (int n = 1; n <= 3; n++) {
                chart_curve curve = { .name = name, .x = values[i], .y = values[i], .n = n };
                chart c = { name, "y", log, &curve, 1 };
                bool wanted = !log || values[i][n - 1] > 0 || values[i][0] > 0;
                bool ok = genet__chart_write(&c, in_tmp("x.svg"), &err);
                if (ok != wanted) fail_msg("values %zu, log %d, %d points: %s", i, log, n, err.text);
                remove(path);
            }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    genet_err err = {0};
    chart c = both();
    bool ok = false;
    for (long n = 0; !ok && n < 2000; n++) {
        err.code = GENET_OK;
        genet__alloc_fail_after(n);
        ok = genet__chart_write(&c, in_tmp("m.svg"), &err);
        genet__alloc_fail_after(-1);
        if (!ok) assert_int_equal(err.code, GENET_ERR_MEMORY);
    }
    assert_true(ok);
    remove(path);
}

/* Every sign of ASCII but the space has strokes within its box. */
static void test_letters(void **state)
{
    (void)state;
    for (uint32_t c = 33; c < 127; c++) {
        int width, points, strokes = 0;
        double xy[2 * STROKE_MAX_POINT];
        for (const char *s = genet__stroke_glyph(c, &width); (points = genet__stroke_next(&s, xy)) > 0; strokes++)
            for (int i = 0; i < points; i++)
                if (xy[2 * i] < 0 || xy[2 * i] > width || xy[2 * i + 1] < 0 ||
                    xy[2 * i + 1] > STROKE_HEIGHT + STROKE_DESCENT)
                    fail_msg("'%c' leaves its box", (int)c);
        if (!strokes) fail_msg("'%c' has no strokes", (int)c);
    }
    assert_true(genet__stroke_width("iii") < genet__stroke_width("www"));
    assert_true(genet__stroke_width("") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef GENET_HAVE_PNG
        cmocka_unit_test(test_png),
#endif
        cmocka_unit_test(test_svg), cmocka_unit_test(test_refusals), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
