/* version.c - which genet this is.  The build passes the version and writes
 * commit.h from git; without git the commit is unknown. */
#include "genet/genet.h"

#if __has_include("genet_commit.h")
#include "genet_commit.h"
#endif
#ifndef GENET_COMMIT
#define GENET_COMMIT "unknown"
#endif
#ifndef GENET_VERSION
#define GENET_VERSION "unknown"
#endif

const char *genet_version(void) { return GENET_VERSION; }
const char *genet_commit(void)  { return GENET_COMMIT; }
