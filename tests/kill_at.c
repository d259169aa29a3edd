/* kill_at.c - the parent steps the child from system call to system call with
 * ptrace; each stops twice, on entry and on return, and entries are counted. */
#include "kill_at.h"
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_CANNOT_TRACE = 99 };

static kill_at_end end_of(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DONE) return FINISHED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANNOT_TRACE) return CANNOT_TRACE;
    return FAILED;
}

kill_at_end kill_at(int n, bool (*fn)(void *arg), void *arg)
{
    int status;
    pid_t child = fork();
    if (child < 0) return CANNOT_TRACE;
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(EXIT_CANNOT_TRACE);
        raise(SIGSTOP);
        _exit(fn(arg) ? EXIT_DONE : EXIT_FAILED);
    }
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return end_of(status);
    ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    for (int entries = 0, entering = 0, signal_no = 0;;) {
        ptrace(PTRACE_SYSCALL, child, 0, signal_no);
        if (waitpid(child, &status, 0) != child) return FAILED;
        if (!WIFSTOPPED(status)) return end_of(status);
        bool call = WSTOPSIG(status) == (SIGTRAP | 0x80);
        signal_no = call ? 0 : WSTOPSIG(status);
        if (!call) continue;
        entering = !entering;
        entries += entering;
        if (!entering || entries < n) continue;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return KILLED;
    }
}
