/* log.h - words from the library to whoever listens; silent unless set. */
#ifndef GENET_BASE_LOG_H
#define GENET_BASE_LOG_H
#include "genet/genet.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN } log_level;
/* passed, never global */
typedef struct log_sink { void (*fn)(void *user, log_level level, const char *text); void *user; } log_sink;

void genet__log(const log_sink *s, log_level level, const char *fmt, ...) GENET_PRINTF(3, 4);
double genet__now_s(void);      /* monotonic seconds */
#endif
