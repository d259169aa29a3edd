/* cpus.c - how many processors this process may really use: the smaller of
 * its affinity mask and the CPU quota of its control group, rounded up.  In a
 * container the machine's own count would start threads that only take turns.
 * Version 2 groups have cpu.max ("quota period" or "max period"), version 1
 * has two files; a group is also bound by the groups that contain it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "base/pool.h"

enum { SMALL_FILE_BYTES = 1 << 16 };

static int affinity_cpus(void)
{
    int n = (int)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    for (int cpus = 1024; cpus <= 1 << 16; cpus *= 2) {     /* the mask may be larger than cpu_set_t */
        cpu_set_t *mask = CPU_ALLOC(cpus);
        if (!mask) break;
        bool ok = sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), mask) == 0;
        if (ok) n = CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), mask);
        CPU_FREE(mask);
        if (ok) break;
    }
#endif
    return n < 1 ? 1 : n;
}

static int quota_to_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0 || quota / period >= INT_MAX) return INT_MAX;
    return (int)((quota + period - 1) / period);
}

static char *read_small(const char *folder, const char *name)
{
    char path[1024];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n < 0 || n >= (int)sizeof path ? NULL : genet__file_read(path, SMALL_FILE_BYTES, NULL, NULL);
}

static long long read_number(const char *folder, const char *name)
{
    long long value = -1;
    char *text = read_small(folder, name);
    if (text && sscanf(text, "%lld", &value) != 1) value = -1;
    genet__free(text);
    return value;
}

/* The quota that stands in one group's folder. */
static int folder_cpus(const char *folder, bool version_2)
{
    if (!version_2) return quota_to_cpus(read_number(folder, "cpu.cfs_quota_us"), read_number(folder, "cpu.cfs_period_us"));
    long long quota = -1, period = -1;
    char *text = read_small(folder, "cpu.max");
    if (!text || sscanf(text, "%lld %lld", &quota, &period) != 2) quota = -1;
    genet__free(text);
    return quota_to_cpus(quota, period);
}

/* The group's folder and all above it, down to the mount. */
static int group_cpus(const char *mount, const char *group, bool version_2)
{
    char folder[1024];
    int n = snprintf(folder, sizeof folder, "%s%s", mount, strcmp(group, "/") ? group : "");
    if (n < 0 || n >= (int)sizeof folder) return INT_MAX;
    int least = INT_MAX;
    for (size_t end = strlen(mount);;) {
        int cpus = folder_cpus(folder, version_2);
        if (cpus < least) least = cpus;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= end || !slash) return least;
        *slash = 0;
    }
}

/* A line is "number:controllers:path"; version 2 has no controllers. */
static int line_cpus(char *line, const char *root)
{
    char mount[512];
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return INT_MAX;
    *group++ = 0;
    controllers++;
    bool version_2 = !*controllers, cpu = version_2;
    for (char *save, *name = strtok_r(controllers, ",", &save); name; name = strtok_r(NULL, ",", &save))
        if (!strcmp(name, "cpu")) cpu = true;
    int n = snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, version_2 ? "" : "/cpu");
    return cpu && n > 0 && n < (int)sizeof mount ? group_cpus(mount, group, version_2) : INT_MAX;
}

int genet__pool_cgroup_cpus(const char *root)
{
    int least = INT_MAX;
    char *text = read_small(root, "proc/self/cgroup");
    if (!text) return least;
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int cpus = line_cpus(line, root);
        if (cpus < least) least = cpus;
    }
    genet__free(text);
    return least;
}

int genet__pool_usable_cpus(void)
{
    int a = affinity_cpus(), b = genet__pool_cgroup_cpus("");
    return a < b ? a : b;
}
