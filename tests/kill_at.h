/* kill_at.h - run a function in a child process that dies (SIGKILL) just
 * before its n-th system call: what is left on disk is what any crash at that
 * moment leaves.  n = 1, 2, 3 ... until it finishes tries them all. */
#ifndef GENET_TESTS_KILL_AT_H
#define GENET_TESTS_KILL_AT_H

typedef enum kill_at_end {
    KILLED,         /* at the n-th call */
    FINISHED,       /* before it, and fn returned true */
    FAILED,         /* fn returned false, or crashed */
    CANNOT_TRACE    /* this machine does not let us */
} kill_at_end;

kill_at_end kill_at(int n, _Bool (*fn)(void *arg), void *arg);
#endif
