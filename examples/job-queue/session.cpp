// See session.hpp.
#include "session.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr std::string_view bad_format = "BAD_FORMAT\r\n";
constexpr std::string_view not_found = "NOT_FOUND\r\n";
constexpr std::string_view out_of_memory = "OUT_OF_MEMORY\r\n";

bool would_block()
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

std::vector<std::string_view> split(std::string_view line)
{
    std::vector<std::string_view> words;
    while (!line.empty()) {
        std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0)
            words.push_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

bool parse(std::string_view text, Number limit, Number &value)
{
    value = 0;
    for (char digit : text) {
        if (digit < '0' || digit > '9' || value > (limit - static_cast<Number>(digit - '0')) / 10)
            return false;
        value = value * 10 + static_cast<Number>(digit - '0');
    }
    return !text.empty();
}

bool parse(std::string_view text, std::uint32_t &value)
{
    Number wide = 0;
    bool valid = parse(text, UINT32_MAX, wide);
    value = static_cast<std::uint32_t>(wide);
    return valid;
}

bool is_tube_name(std::string_view name)
{
    constexpr std::string_view marks = "-+/;.$_()";
    auto allowed = [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               marks.find(c) != marks.npos;
    };
    return !name.empty() && name.size() <= max_tube_bytes && name[0] != '-' &&
           std::all_of(name.begin(), name.end(), allowed);
}

} // namespace

Session::Session(int fd, Number number, Queue &queue)
    : fd_(fd), number_(number), queue_(queue), used_(queue.enter("default")), watched_{queue.enter("default")}
{
}

Session::~Session()
{
    queue_.abandon(number_);
    for (Tube *tube : watched_)
        queue_.leave(tube);
    queue_.leave(used_);
    close(fd_);
}

short Session::events() const
{
    if (!output_.empty())
        return POLLOUT;
    return !ended_ && unread().size() < max_input_bytes ? POLLIN : 0;
}

bool Session::step(bool readable, Millis now)
{
    if (readable && output_.empty())
        receive();
    do {
        while (execute_next(now))
            ;
        send_pending();
    } while (output_.empty() && execute_next(now));
    bool over = closing_ || ended_;
    return !broken_ && !(over && output_.empty());
}

void Session::receive()
{
    static char buffer[64 * 1024];
    input_.erase(0, std::exchange(input_at_, 0));
    std::size_t room = std::min(sizeof buffer, max_input_bytes - input_.size());
    // Without room nothing was asked for: it is the end of the connection that poll tells of.
    ssize_t got = room == 0 ? -1 : recv(fd_, buffer, room, 0);
    if (got > 0)
        input_.append(buffer, static_cast<std::size_t>(got));
    else if (got == 0)
        ended_ = true;
    else if (room == 0 || !would_block())
        broken_ = true;
}

void Session::send_pending()
{
    while (!output_.empty() && !broken_) {
        ssize_t sent = send(fd_, output_.data(), output_.size(), MSG_NOSIGNAL);
        if (sent > 0)
            output_.erase(0, static_cast<std::size_t>(sent));
        else if (sent < 0 && would_block())
            return;
        else
            broken_ = true;
    }
}

// Executes one command; false when there is none, or it has to wait.
bool Session::execute_next(Millis now)
{
    if (waiting_ || closing_ || broken_ || output_.size() > pause_bytes)
        return false;
    if (skipping_ > 0) {
        std::size_t skipped = std::min<Number>(skipping_, unread().size());
        input_at_ += skipped;
        skipping_ -= skipped;
        if (skipping_ == 0)
            reply("JOB_TOO_BIG\r\n");
        return skipping_ == 0;
    }
    if (putting_)
        return finish_put(now);
    std::size_t end = unread().find("\r\n");
    if (std::min(end, unread().size()) > max_line_bytes) {
        reply(bad_format);
        closing_ = true;
        return false;
    }
    if (end == std::string_view::npos)
        return false;
    std::string_view line = unread().substr(0, end);
    input_at_ += end + 2;
    execute(line, now);
    return true;
}

void Session::execute(std::string_view line, Millis now)
{
    std::vector<std::string_view> words = split(line);
    std::string_view verb = words.empty() ? std::string_view() : words[0];
    Number number = 0;
    if (verb == "put")
        begin_put(words);
    else if (verb == "reserve" && words.size() == 1)
        begin_wait(0, now);
    else if (verb == "reserve-with-timeout" && words.size() == 2 && parse(words[1], UINT32_MAX, number))
        begin_wait(now + static_cast<Millis>(number) * 1000, now);
    else if (verb == "delete" || verb == "release" || verb == "bury" || verb == "touch" || verb == "peek")
        execute_with_job(verb, words, now);
    else if (verb == "use" || verb == "watch" || verb == "ignore" || verb == "stats-tube")
        words.size() == 2 && is_tube_name(words[1]) ? execute_with_tube(verb, words[1]) : reply(bad_format);
    else if (verb == "kick")
        words.size() == 2 && parse(words[1], UINT32_MAX, number) ? reply_number("KICKED", queue_.kick(used_, number))
                                                                 : reply(bad_format);
    else if (verb == "list-tubes" && words.size() == 1)
        list_tubes();
    else if (verb == "quit" && words.size() == 1)
        closing_ = true;
    else
        reply(verb == "reserve" || verb == "reserve-with-timeout" ? bad_format : "UNKNOWN_COMMAND\r\n");
}

void Session::execute_with_job(std::string_view verb, const std::vector<std::string_view> &words, Millis now)
{
    std::size_t wanted = verb == "release" ? 4 : verb == "bury" ? 3 : 2;
    Number id = 0;
    std::uint32_t priority = 0, delay = 0;
    if (words.size() != wanted || !parse(words[1], UINT64_MAX, id) || (wanted > 2 && !parse(words[2], priority)) ||
        (wanted > 3 && !parse(words[3], delay)))
        return reply(bad_format);
    if (verb == "delete")
        return reply(queue_.remove(id, number_) ? "DELETED\r\n" : not_found);
    if (verb == "release")
        return reply(queue_.release(id, number_, priority, delay, now) ? "RELEASED\r\n" : not_found);
    if (verb == "bury")
        return reply(queue_.bury(id, number_, priority) ? "BURIED\r\n" : not_found);
    if (verb == "touch")
        return reply(queue_.touch(id, number_, now) ? "TOUCHED\r\n" : not_found);
    const Job *job = queue_.find(id);
    job == nullptr ? reply(not_found) : reply_job("FOUND", *job);
}

void Session::execute_with_tube(std::string_view verb, std::string_view name)
{
    if (verb == "watch")
        return watch(name);
    if (verb == "ignore")
        return ignore(name);
    if (verb == "stats-tube") {
        auto at = queue_.tubes().find(name);
        return at == queue_.tubes().end() ? reply(not_found) : describe(at->second);
    }
    Tube *tube = queue_.enter(name);
    if (tube == nullptr)
        return reply(out_of_memory);
    queue_.leave(used_);
    used_ = tube;
    output_.append("USING ").append(name).append("\r\n");
}

void Session::watch(std::string_view name)
{
    bool watched = std::any_of(watched_.begin(), watched_.end(), [&](Tube *tube) { return tube->name == name; });
    if (!watched) {
        Tube *tube = watched_.size() == max_watched ? nullptr : queue_.enter(name);
        if (tube == nullptr)
            return reply(out_of_memory);
        watched_.push_back(tube);
    }
    reply_number("WATCHING", watched_.size());
}

void Session::ignore(std::string_view name)
{
    auto at = std::find_if(watched_.begin(), watched_.end(), [&](Tube *tube) { return tube->name == name; });
    if (at != watched_.end()) {
        if (watched_.size() == 1)
            return reply("NOT_IGNORED\r\n");
        queue_.leave(*at);
        watched_.erase(at);
    }
    reply_number("WATCHING", watched_.size());
}

void Session::begin_put(const std::vector<std::string_view> &words)
{
    if (words.size() != 5 || !parse(words[1], put_.priority) || !parse(words[2], put_.delay) ||
        !parse(words[3], put_.ttr) || !parse(words[4], UINT32_MAX, put_.bytes))
        return reply(bad_format);
    if (put_.bytes > max_body_bytes)
        skipping_ = put_.bytes + 2;
    else
        putting_ = true;
}

// Takes the body of a job in; false while it is not whole.
bool Session::finish_put(Millis now)
{
    std::size_t bytes = put_.bytes;
    if (unread().size() < bytes + 2)
        return false;
    putting_ = false;
    std::string body(unread().substr(0, bytes));
    bool ends_well = unread().substr(bytes, 2) == "\r\n";
    input_at_ += bytes + 2;
    if (!ends_well) {
        reply("EXPECTED_CRLF\r\n");
        return true;
    }
    Number id = queue_.put(used_, put_.priority, put_.delay, put_.ttr, std::move(body), now);
    id == 0 ? reply(out_of_memory) : reply_number("INSERTED", id);
    return true;
}

void Session::begin_wait(Millis due, Millis now)
{
    static Number waits = 0;
    waiting_ = true;
    wait_number_ = ++waits;
    wait_due_ = due;
    look_for_job(now);
}

void Session::look_for_job(Millis now)
{
    if (const Job *job = queue_.reserve(watched_, number_, now)) {
        waiting_ = false;
        reply_job("RESERVED", *job);
    } else if (wait_due_ != 0 && wait_due_ <= now) {
        waiting_ = false;
        reply("TIMED_OUT\r\n");
    }
}

void Session::reply(std::string_view text)
{
    output_.append(text);
}

void Session::reply_number(std::string_view word, Number number)
{
    output_.append(word).append(" ").append(std::to_string(number)).append("\r\n");
}

void Session::reply_job(std::string_view word, const Job &job)
{
    output_.append(word).append(" ").append(std::to_string(job.id)).append(" ");
    output_.append(std::to_string(job.body.size())).append("\r\n").append(job.body).append("\r\n");
}

void Session::reply_listing(const std::string &listing)
{
    reply_number("OK", listing.size());
    output_.append(listing).append("\r\n");
}

void Session::list_tubes()
{
    std::string listing = "---\n";
    for (const auto &[name, tube] : queue_.tubes())
        listing.append("- ").append(name).append("\n");
    reply_listing(listing);
}

void Session::describe(const Tube &tube)
{
    std::string listing = "---\nname: " + tube.name + "\n";
    auto line = [&](std::string_view what, std::size_t count) {
        listing.append(what).append(": ").append(std::to_string(count)).append("\n");
    };
    line("current-jobs-ready", tube.ready.size());
    line("current-jobs-reserved", tube.reserved);
    line("current-jobs-delayed", tube.delayed);
    line("current-jobs-buried", tube.buried.size());
    reply_listing(listing);
}
