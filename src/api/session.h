/* session.h - what a conversation needs of a session: its decoder of one row, and whether it is free. */
#ifndef GENET_API_SESSION_H
#define GENET_API_SESSION_H
#include "api/api.h"

const genet_model *genet__session_model(const genet_session *s);
/* The session's decoder of one row, made if it was not there; NULL: err, also while the session is busy. */
decoder *genet__session_take(genet_session *s, genet_err *err);
/* It is free again; not ok: its decoder may be half written. */
void     genet__session_give(genet_session *s, bool ok);
/* Options of "generate" over the folder's, checked; o may be NULL. */
bool     genet__session_settle(const genet_model *m, const genet_options *o, generation_options *how, arena *a, genet_err *err);
#endif
