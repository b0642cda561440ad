/* <sys/wait.h>, which wasi-libc has not. There are no children: every wait fails with ECHILD. */
#ifndef REFRAIN_SYS_WAIT_H
#define REFRAIN_SYS_WAIT_H

#include <sys/types.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WNOHANG 1
#define WUNTRACED 2
#define WEXITSTATUS(status) (((status) & 0xff00) >> 8)
#define WTERMSIG(status) ((status) & 0x7f)
#define WSTOPSIG(status) WEXITSTATUS(status)
#define WIFEXITED(status) (WTERMSIG(status) == 0)
#define WIFSTOPPED(status) (((status) & 0xff) == 0x7f)
#define WIFSIGNALED(status) (!WIFEXITED(status) && !WIFSTOPPED(status))
#define WCOREDUMP(status) ((status) & 0x80)

pid_t wait(int *) REFRAIN_SYMBOL(wait);
pid_t waitpid(pid_t, int *, int) REFRAIN_SYMBOL(waitpid);

#ifdef __cplusplus
}
#endif

#endif
