// All headers of sdk/c in C++, a call of each library that comes with it, and a stack of more than 64 KiB.
#include <arpa/inet.h>
#include <err.h>
#include <grp.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <string>

static volatile int raised;

static int on_the_stack() {
    volatile char block[512 * 1024];
    for (std::size_t i = 0; i < sizeof block; i++)
        block[i] = 1;
    return block[0] + block[sizeof block - 1];
}

int main() {
    tms now;
    void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::string user = getpwuid(getuid())->pw_name;
    signal(SIGUSR1, [](int number) { raised = number; });
    raise(SIGUSR1);
    bool good = memory != MAP_FAILED && munmap(memory, 4096) == 0 && times(&now) != clock_t(-1) && raised == SIGUSR1 &&
                on_the_stack() == 2 && socket(AF_UNIX, SOCK_STREAM, 0) == -1;
    puts((user + (good ? " is well" : " is not well")).c_str());
    return good ? 0 : 1;
}
