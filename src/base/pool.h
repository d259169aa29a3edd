/* pool.h - persistent threads that spin for work, then park.  One call of
 * pool_run is one fork; inside it threads meet at barriers.  The caller is
 * thread 0. */
#ifndef GENET_BASE_POOL_H
#define GENET_BASE_POOL_H
#include "genet/genet.h"

typedef struct pool pool;

/* n_threads 0: as many as affinity and cgroup limits allow. */
pool *genet__pool_new(int n_threads, genet_err *err);
void  genet__pool_free(pool *p);
int   genet__pool_threads(const pool *p);
int   genet__pool_usable_cpus(void);
/* The control groups' part of it, INT_MAX without a quota.  root: where /proc
 * and /sys lie, "" but in tests. */
int   genet__pool_cgroup_cpus(const char *root);
/* Run fn(arg, thread) on every thread and wait for all.  Serialised between
 * callers.  Each thread runs under the default rounding and denormal modes;
 * the caller's are restored. */
void  genet__pool_run(pool *p, void (*fn)(void *arg, int thread), void *arg);
/* Only inside fn: wait for all threads.  Memory written before is seen after.
 * Spins, then yields, then parks: correct with more threads than cores. */
void  genet__pool_barrier(pool *p, int thread);
#endif
