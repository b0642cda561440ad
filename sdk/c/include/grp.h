/* <grp.h>, which wasi-libc has not. There is one group, `guest`. */
#ifndef REFRAIN_GRP_H
#define REFRAIN_GRP_H

#include <sys/types.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

struct group {
    char *gr_name;
    char *gr_passwd;
    gid_t gr_gid;
    char **gr_mem;
};

struct group *getgrnam(const char *) REFRAIN_SYMBOL(getgrnam);
struct group *getgrgid(gid_t) REFRAIN_SYMBOL(getgrgid);
int setgroups(size_t, const gid_t *) REFRAIN_SYMBOL(setgroups);
int initgroups(const char *, gid_t) REFRAIN_SYMBOL(initgroups);

#ifdef __cplusplus
}
#endif

#endif
