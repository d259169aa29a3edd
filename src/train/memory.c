/* memory.c - how much memory there is, before a run takes it: what the kernel
 * calls available, and what the control group (a container's limit, v2 or v1)
 * leaves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "train/save.h"

/* The first number in a file; false: no such file, or "max". */
static bool number_in(const char *path, size_t *out)
{
    FILE *f = fopen(path, "r");
    unsigned long long n = 0;
    bool ok = f && fscanf(f, "%llu", &n) == 1;
    if (f) fclose(f);
    *out = (size_t)n;
    return ok;
}

static size_t meminfo_available(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[200];
    unsigned long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    return (size_t)kib * 1024;
}

/* KEY's number in a memory.stat file, or 0. */
static size_t stat_of(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[200];
    size_t n = strlen(key);
    unsigned long long value = 0;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, n) && line[n] == ' ') value = strtoull(line + n, NULL, 10);
    if (f) fclose(f);
    return (size_t)value;
}

/* Pages of files that nobody uses count as used, but the kernel gives them up. */
static size_t group_available(const char *limit, const char *used, const char *stat, const char *key)
{
    size_t most, now;
    if (!number_in(limit, &most) || !number_in(used, &now)) return (size_t)-1;
    size_t back = stat_of(stat, key);
    now = now > back ? now - back : 0;
    return most > now ? most - now : 1;
}

size_t genet__memory_available(void)
{
    size_t n = meminfo_available();
    if (!n) return 0;
    size_t v2 = group_available("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current",
                                "/sys/fs/cgroup/memory.stat", "inactive_file");
    size_t v1 = group_available("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                                "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file");
    if (v2 < n) n = v2;
    return v1 < n ? v1 : n;
}
