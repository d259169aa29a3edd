/* config.c - fuzz target: a config.json is refused in words, or gives a model
 * whose config, written and read again, is the same. */
#include <stdlib.h>
#include <string.h>
#include "model/model.h"

/* A graph of a thousand blocks is no fault, and slow. */
static bool small(const json_t *j) { return json_number_value(json_object_get(j, "n_layer")) <= 16; }

static void use(const model *m)
{
    genet_err err = { 0 };
    json_t *j = genet__model_config_json(m, GENET_F32);
    model *again = j ? genet__model_from_config(j, "again", m->params->device, &err) : NULL;
    json_t *same = again ? genet__model_config_json(again, GENET_F32) : NULL;
    if (!same || !json_equal(j, same)) __builtin_trap();
    if (small(j) && !genet__model_declare(again, &err) && !err.text[0]) __builtin_trap();
    genet__model_free(again);
    json_decref(same);
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static genet_device *device;
    genet_err err = { 0 };
    if (!device && !(device = genet_device_guard(1, &err))) return 0;
    json_t *j = genet__json_parse((const char *)data, size, "fuzz", &err);
    model *m = j ? genet__model_from_config(j, "fuzz", device, &err) : NULL;
    if (m) use(m);
    else if (!err.text[0]) __builtin_trap();
    genet__model_free(m);
    json_decref(j);
    return 0;
}
