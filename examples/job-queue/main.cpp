// A queue of jobs with priorities, delays and time limits: producers put jobs, workers reserve and delete them, and a
// job whose worker dies is given to another. It speaks a part of beanstalkd's protocol. Everything is in memory; one
// process, one poll loop.
//
//   job-queue [--host ADDRESS] [--port N]
#include <arpa/inet.h>
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "session.hpp"

namespace {

constexpr std::size_t max_sessions = 1024; // further ones wait in the backlog
constexpr int accepts_per_round = 64;

[[noreturn]] void usage(const char *fault, const char *value)
{
    std::fprintf(stderr, "job-queue: %s %s\nusage: job-queue [--host ADDRESS] [--port N]\n", fault, value);
    std::exit(2);
}

Millis now_ms()
{
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<Millis>(time.tv_sec) * 1000 + time.tv_nsec / 1000000;
}

int open_listener(const char *host, int port)
{
    sockaddr_in address{};
    socklen_t len = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        usage("not an IPv4 address:", host);
    auto *generic = reinterpret_cast<sockaddr *>(&address);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(fd, generic, len) != 0 ||
        listen(fd, SOMAXCONN) != 0 || getsockname(fd, generic, &len) != 0) {
        std::fprintf(stderr, "job-queue: cannot listen on %s:%d: %s\n", host, port, std::strerror(errno));
        std::exit(1);
    }
    std::printf("job-queue: listening on %s:%d\n", host, ntohs(address.sin_port));
    std::fflush(stdout);
    return fd;
}

class Server {
public:
    explicit Server(int listener) : listener_(listener) {}

    [[noreturn]] void run()
    {
        for (;;) {
            wait();
            Millis now = now_ms();
            queue_.expire(now);
            for (std::size_t i = 0; i < sessions_.size(); i++) {
                short events = polled_[i + 1].revents;
                if (events != 0 && !sessions_[i]->step((events & ~POLLOUT) != 0, now))
                    sessions_[i].reset();
            }
            std::erase(sessions_, nullptr);
            serve_waiting(now);
            if (polled_[0].revents != 0)
                accept_all();
        }
    }

private:
    void wait()
    {
        Millis due = queue_.next_due();
        polled_.clear();
        // poll skips negative descriptors: that is how the listener rests.
        polled_.push_back({sessions_.size() < max_sessions ? listener_ : -1, POLLIN, 0});
        for (const auto &session : sessions_) {
            polled_.push_back({session->fd(), session->events(), 0});
            if (session->wait_due() != 0 && (due == 0 || session->wait_due() < due))
                due = session->wait_due();
        }
        Millis left = due == 0 ? -1 : std::clamp<Millis>(due - now_ms(), 0, INT_MAX);
        if (poll(polled_.data(), polled_.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
            std::perror("job-queue: poll");
            std::exit(1);
        }
    }

    // Who waited longest gets a job first. Who was served may put another job at once: then all look again.
    void serve_waiting(Millis now)
    {
        bool due = std::any_of(sessions_.begin(), sessions_.end(), [&](const auto &session) {
            return session->wait_due() != 0 && session->wait_due() <= now;
        });
        while (queue_.take_news() || std::exchange(due, false)) {
            std::vector<Session *> row;
            for (const auto &session : sessions_) {
                if (session->waiting())
                    row.push_back(session.get());
            }
            std::sort(row.begin(), row.end(), [](Session *a, Session *b) { return a->wait_number() < b->wait_number(); });
            for (Session *session : row) {
                session->look_for_job(now);
                if (!session->waiting() && !session->step(false, now))
                    std::erase_if(sessions_, [&](const auto &one) { return one.get() == session; });
            }
        }
    }

    void accept_all()
    {
        for (int i = 0; i < accepts_per_round && sessions_.size() < max_sessions; i++) {
            int on = 1;
            int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
            if (fd < 0)
                return;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            sessions_.push_back(std::make_unique<Session>(fd, ++last_session_, queue_));
        }
    }

    int listener_;
    Queue queue_;
    std::vector<std::unique_ptr<Session>> sessions_; // in the order in which they came
    std::vector<pollfd> polled_;
    Number last_session_ = 0;
};

} // namespace

int main(int argc, char **argv)
{
    const char *host = "0.0.0.0";
    int port = 11300;
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1];
        char *end = nullptr;
        if (i + 1 == argc)
            usage("no value for", argv[i]);
        if (std::strcmp(argv[i], "--host") == 0) {
            host = value;
        } else if (std::strcmp(argv[i], "--port") == 0) {
            unsigned long number = std::strtoul(value, &end, 10);
            if (*value < '0' || *value > '9' || *end != '\0' || number > 65535)
                usage("not a port:", value);
            port = static_cast<int>(number);
        } else {
            usage("unknown option", argv[i]);
        }
    }
    Server(open_listener(host, port)).run();
}
