/* Users and groups: a guest is one of each, and neither is root. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum { GUEST = 1000 };

static int only_the_guest(unsigned id)
{
    if (id == GUEST)
        return 0;
    errno = EPERM;
    return -1;
}

uid_t getuid(void)
{
    return GUEST;
}

gid_t getgid(void)
{
    return GUEST;
}

int setuid(uid_t id)
{
    return only_the_guest(id);
}

int setgid(gid_t id)
{
    return only_the_guest(id);
}

int getgroups(int size, gid_t groups[])
{
    (void)size, (void)groups;
    return 0;
}

int setgroups(size_t count, const gid_t *groups)
{
    return count == 0 ? 0 : only_the_guest(groups[0]);
}

int initgroups(const char *user, gid_t group)
{
    (void)user;
    return only_the_guest(group);
}

char *getlogin(void)
{
    return "guest";
}

int chroot(const char *path)
{
    (void)path;
    errno = EPERM;
    return -1;
}

struct passwd *getpwuid(uid_t id)
{
    static struct passwd guest = {"guest", "x", GUEST, GUEST, "guest", "/", "/bin/sh"};
    return id == GUEST ? &guest : NULL;
}

struct passwd *getpwnam(const char *name)
{
    return strcmp(name, "guest") == 0 ? getpwuid(GUEST) : NULL;
}

struct group *getgrgid(gid_t id)
{
    static char *members[1];
    static struct group guest = {"guest", "x", GUEST, members};
    return id == GUEST ? &guest : NULL;
}

struct group *getgrnam(const char *name)
{
    return strcmp(name, "guest") == 0 ? getgrgid(GUEST) : NULL;
}
