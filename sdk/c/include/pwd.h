/* <pwd.h>, which wasi-libc has not. There is one user, `guest`. */
#ifndef REFRAIN_PWD_H
#define REFRAIN_PWD_H

#include <sys/types.h>

#include <refrain/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

struct passwd {
    char *pw_name;
    char *pw_passwd;
    uid_t pw_uid;
    gid_t pw_gid;
    char *pw_gecos;
    char *pw_dir;
    char *pw_shell;
};

struct passwd *getpwnam(const char *) REFRAIN_SYMBOL(getpwnam);
struct passwd *getpwuid(uid_t) REFRAIN_SYMBOL(getpwuid);

#ifdef __cplusplus
}
#endif

#endif
