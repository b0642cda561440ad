// A program in C++ on sdk/c that calls outside: three rounds of a look-up, a connection, a datagram, a wait and a random
// number, each told in one line.
#include <netdb.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

void check(bool good, const char *what) {
    if (!good) {
        std::perror(what);
        std::exit(1);
    }
}

struct Socket {
    int fd;
    Socket(int family, int kind) : fd(socket(family, kind, 0)) { check(fd >= 0, "socket"); }
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;
    ~Socket() { close(fd); }

    std::string receive() const {
        std::array<char, 64> buffer;
        ssize_t count = recv(fd, buffer.data(), buffer.size(), 0);
        check(count >= 0, "recv");
        return {buffer.data(), static_cast<std::size_t>(count)};
    }
};

std::string call(int round) {
    addrinfo *found = nullptr, hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    check(getaddrinfo("db.example", "5432", &hints, &found) == 0, "getaddrinfo");
    std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, freeaddrinfo);

    Socket stream(AF_INET, SOCK_STREAM);
    check(connect(stream.fd, address->ai_addr, address->ai_addrlen) == 0, "connect");
    std::string asked = "round " + std::to_string(round) + "\n", answer, part;
    check(send(stream.fd, asked.data(), asked.size(), 0) == static_cast<ssize_t>(asked.size()), "send");
    shutdown(stream.fd, SHUT_WR);
    while (!(part = stream.receive()).empty())
        answer += part;
    if (!answer.empty() && answer.back() == '\n')
        answer.pop_back();

    Socket datagrams(AF_INET, SOCK_DGRAM);
    std::string ping = "ping " + std::to_string(round);
    check(sendto(datagrams.fd, ping.data(), ping.size(), 0, address->ai_addr, address->ai_addrlen) >= 0, "sendto");
    std::string pong = datagrams.receive();

    usleep(50000);
    std::uint64_t random;
    check(getentropy(&random, sizeof random) == 0, "getentropy");
    auto time = std::chrono::system_clock::now().time_since_epoch().count();
    return answer + " " + pong + " " + std::to_string(random) + " " + std::to_string(time);
}

} // namespace

int main() {
    for (int round = 0; round < 3; round++)
        std::puts(call(round).c_str());
    return 0;
}
