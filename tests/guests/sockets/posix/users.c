/* One user and one group, guest. */
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "check.h"

enum { GUEST = 1000 };

static void names(void)
{
    struct passwd *user = getpwuid(GUEST);
    struct group *group = getgrgid(GUEST);
    IS(user != NULL && group != NULL, 1);
    if (user == NULL || group == NULL)
        return;
    IS(strcmp(user->pw_name, "guest"), 0);
    IS(strcmp(user->pw_dir, "/"), 0);
    IS(user->pw_uid, GUEST);
    IS(user->pw_gid, GUEST);
    IS(strcmp(group->gr_name, "guest"), 0);
    IS(group->gr_gid, GUEST);
    IS(group->gr_mem[0] == NULL, 1);
    IS(getpwnam("guest") == user, 1);
    IS(getgrnam("guest") == group, 1);
    FAILS_NULL(getpwnam("root"), 0);
    FAILS_NULL(getpwuid(0), 0);
    FAILS_NULL(getgrnam("root"), 0);
    FAILS_NULL(getgrgid(0), 0);
    IS(strcmp(getlogin(), "guest"), 0);
}

void users(void)
{
    const gid_t own = GUEST, other = 0;
    gid_t groups[4];
    names();
    IS(getuid(), GUEST);
    IS(geteuid(), GUEST);
    IS(getgid(), GUEST);
    IS(getegid(), GUEST);
    IS(setuid(GUEST), 0);
    IS(seteuid(GUEST), 0);
    IS(setgid(GUEST), 0);
    IS(setegid(GUEST), 0);
    FAILS(setuid(0), EPERM);
    FAILS(seteuid(0), EPERM);
    FAILS(setgid(0), EPERM);
    FAILS(setegid(0), EPERM);
    IS(getgroups(4, groups), 0);
    IS(setgroups(0, NULL), 0);
    IS(setgroups(1, &own), 0);
    FAILS(setgroups(1, &other), EPERM);
    IS(initgroups("guest", GUEST), 0);
    FAILS(initgroups("guest", 0), EPERM);
    FAILS(chroot("/"), EPERM);
}
