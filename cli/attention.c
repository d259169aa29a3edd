/* attention.c - cross-attention as a picture (rows: tokens that were written; columns: tokens of the source) or as JSON. */
#include "attention.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "image/canvas.h"

void cli_token_text(const tokenizer *t, int32_t id, str *out)
{
    size_t n = 0;
    const char *piece = genet__tokenizer_piece(t, id, &n);
    if (!piece) {
        genet__str_printf(out, "<%d>", (int)id);
        return;
    }
    str text = {0};
    genet__utf8_add(&text, piece, n);
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.at[i];
        genet__str_add_n(out, c < ' ' || c == 127 ? "?" : text.at + i, 1);
    }
    out->failed |= text.failed;
    genet__str_release(&text);
}

/* --- numbers ---------------------------------------------------------------------- */

static json_t *tokens_json(const tokenizer *t, const int32_t *id, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) {
        str text = {0};
        cli_token_text(t, id[i], &text);
        genet__json_append(&list, text.failed ? NULL : json_stringn(genet__str(&text), text.n));
        genet__str_release(&text);
    }
    return list;
}

/* (T, S) */
static json_t *layer_json(const crossing *c, int64_t layer)
{
    json_t *rows = json_array();
    for (int64_t i = 0; i < c->T; i++) {
        json_t *row = json_array();
        for (int64_t s = 0; s < c->S; s++) genet__json_append(&row, json_real((double)c->at[(layer * c->T + i) * c->S + s]));
        genet__json_append(&rows, row);
    }
    return rows;
}

static bool write_json(const char *path, const crossing *c, const tokenizer *t, const int32_t *source, const int32_t *text, genet_err *err)
{
    json_t *layers = json_array();
    for (int64_t i = 0; i < c->layers; i++) genet__json_append(&layers, layer_json(c, i));
    json_t *j = json_pack("{s:o, s:o, s:o}", "source", tokens_json(t, source, c->S), "text", tokens_json(t, text, c->T), "layers", layers);
    str out = {0};
    if (j) genet__json_print(j, 0, &out);
    genet__str_add(&out, "\n");
    bool ok = (j && !out.failed) || genet__err_memory(err);
    ok = ok && genet__file_write_all(path, genet__str(&out), out.n, err);
    json_decref(j);
    genet__str_release(&out);
    return ok;
}

/* --- the picture -------------------------------------------------------------------- */

enum { CELL = 34, LABELS = 150, EDGE = 14, MOST_CELLS = 200 };

static void label(canvas *page, const tokenizer *t, int32_t id, double x, double y, lettering l)
{
    str text = {0};
    cli_token_text(t, id, &text);
    if (!text.failed) genet__canvas_text(page, x, y, l, genet__str(&text));
    genet__str_release(&text);
}

static void draw(canvas *page, const crossing *c, const tokenizer *t, const int32_t *source, const int32_t *text)
{
    const float *at = c->at + (c->layers - 1) * c->T * c->S;
    for (int64_t s = 0; s < c->S; s++)
        label(page, t, source[s], LABELS + (double)s * CELL + CELL / 2.0 + 4, LABELS - 8, (lettering){ 0x222222, 9, 0, true });
    for (int64_t i = 0; i < c->T; i++) {
        double y = LABELS + (double)i * CELL;
        label(page, t, text[i], LABELS - 8, y + CELL / 2.0 + 4, (lettering){ 0x222222, 9, 1, false });
        for (int64_t s = 0; s < c->S; s++) {
            double x = LABELS + (double)s * CELL, p = (double)at[i * c->S + s];
            char number[16];
            snprintf(number, sizeof number, "%.0f", 100 * p);
            genet__canvas_area(page, x, y, CELL - 1, CELL - 1, (pen){ 0xeeeeee, 0, 1 });
            genet__canvas_area(page, x, y, CELL - 1, CELL - 1, (pen){ 0x0b4f9e, 0, p < 1 ? p : 1 });
            if (p >= 0.05)
                genet__canvas_text(page, x + CELL / 2.0, y + CELL / 2.0 + 4, (lettering){ p > 0.5 ? 0xffffff : 0x222222, 8, 0.5, false }, number);
        }
    }
}

static bool write_picture(const char *path, canvas_kind kind, const crossing *c, const tokenizer *t, const int32_t *source,
                          const int32_t *text, genet_err *err)
{
    if (c->T > MOST_CELLS || c->S > MOST_CELLS)
        return genet__err_set(err, GENET_ERR_USAGE, "%s: a picture shows up to %d tokens of each side; a .json file takes all", path, MOST_CELLS);
    canvas *page = genet__canvas_new(kind, LABELS + EDGE + CELL * (int)c->S, LABELS + EDGE + CELL * (int)c->T, err);
    if (!page) return false;
    draw(page, c, t, source, text);
    bool ok = genet__canvas_write(page, path, err);
    genet__canvas_free(page);
    return ok;
}

bool cli_attention_write(const char *path, const crossing *c, const tokenizer *t, const int32_t *source, const int32_t *text, genet_err *err)
{
    if (genet__ends_with(path, ".json")) return write_json(path, c, t, source, text, err);
    if (genet__ends_with(path, ".png")) return write_picture(path, CANVAS_PNG, c, t, source, text, err);
    if (genet__ends_with(path, ".svg")) return write_picture(path, CANVAS_SVG, c, t, source, text, err);
    return genet__err_set(err, GENET_ERR_USAGE, "--attention %s: a file ends in .png, .svg or .json", path);
}
