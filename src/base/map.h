/* map.h - string to integer or pointer; insertion order is kept nowhere. */
#ifndef GENET_BASE_MAP_H
#define GENET_BASE_MAP_H
#include "genet/genet.h"

typedef struct map { struct map_slot *slot; int n, cap; } map;         /* {0} is ready */

bool     genet__map_set(map *m, const char *key, int64_t value);       /* key is copied; false: no memory */
int64_t *genet__map_get(const map *m, const char *key);                /* NULL: absent */
void     genet__map_release(map *m);
#endif
