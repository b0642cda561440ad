// One client's session: commands in, replies out, in order.
//
// Bounds: a line has at most max_line_bytes; nothing is executed while more than pause_bytes of replies wait for the
// client, and what was not executed is not read beyond max_input_bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "queue.hpp"

constexpr std::size_t max_line_bytes = 224;
constexpr std::size_t max_tube_bytes = 200;
constexpr std::size_t max_watched = 64;
constexpr std::size_t max_input_bytes = 66 * 1024; // a body with its line
constexpr std::size_t pause_bytes = 16 * 1024;

class Session {
public:
    // `number` is this session's alone, for ever.
    Session(int fd, Number number, Queue &queue);
    ~Session();
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    // Reads, executes and writes what can be. Returns false when the session is over.
    bool step(bool readable, Millis now);
    // Gives a waiting session a job if there is one, and ends its wait when it is due.
    void look_for_job(Millis now);

    int fd() const { return fd_; }
    // The events to poll for.
    short events() const;
    bool waiting() const { return waiting_; }
    // The place in the row of those that wait: the lowest waited longest.
    Number wait_number() const { return wait_number_; }
    // When a wait ends without a job; 0 when it does not, or there is none.
    Millis wait_due() const { return waiting_ ? wait_due_ : 0; }

private:
    struct Put {
        std::uint32_t priority, delay, ttr;
        Number bytes;
    };

    std::string_view unread() const { return std::string_view(input_).substr(input_at_); }
    void receive();
    void send_pending();
    bool execute_next(Millis now);
    void execute(std::string_view line, Millis now);
    void execute_with_job(std::string_view verb, const std::vector<std::string_view> &words, Millis now);
    void execute_with_tube(std::string_view verb, std::string_view name);
    void begin_put(const std::vector<std::string_view> &words);
    bool finish_put(Millis now);
    void begin_wait(Millis due, Millis now);
    void ignore(std::string_view name);
    void watch(std::string_view name);
    void reply(std::string_view text);
    void reply_number(std::string_view word, Number number);
    void reply_job(std::string_view word, const Job &job);
    void reply_listing(const std::string &listing);
    void list_tubes();
    void describe(const Tube &tube);

    int fd_;
    Number number_;
    Queue &queue_;
    Tube *used_;
    std::vector<Tube *> watched_;
    std::string input_, output_;
    std::size_t input_at_ = 0; // what is before has been executed
    Put put_{};
    bool putting_ = false;
    Number skipping_ = 0; // bytes of a body that was too big
    bool waiting_ = false;
    Number wait_number_ = 0;
    Millis wait_due_ = 0;
    bool ended_ = false;   // the client has sent its last byte
    bool closing_ = false; // it gets what is pending and is disconnected
    bool broken_ = false;
};
