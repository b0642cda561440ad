// Jobs in tubes: put, reserved, released, buried, deleted. No socket and no clock in here: the time is passed in, in
// milliseconds, and sessions are numbers.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using Millis = std::int64_t;
using Number = std::uint64_t;
// Pairs in order: (priority, job), (due, job) or (session, job).
using Order = std::set<std::pair<Number, Number>>;

constexpr std::size_t max_body_bytes = 65535;
constexpr std::size_t max_kept_bytes = 64 << 20;
constexpr std::size_t max_tubes = 512;
constexpr std::size_t job_overhead_bytes = 256; // counted for each job beside its body

enum class State : std::uint8_t { ready, delayed, reserved, buried };

struct Tube {
    std::string name;
    Order ready;
    Order buried; // (0, job)
    std::size_t delayed = 0;
    std::size_t reserved = 0;
    std::size_t users = 0; // sessions that use or watch it

    std::size_t jobs() const { return ready.size() + buried.size() + delayed + reserved; }
};

struct Job {
    Number id = 0;
    std::uint32_t priority = 0; // the lowest goes first
    std::uint32_t ttr_seconds = 1;
    State state = State::ready;
    Millis due = 0;     // when a delayed job is ready, or a reserved one is given back
    Number session = 0; // who holds it, while reserved
    Tube *tube = nullptr;
    std::string body;
};

class Queue {
public:
    // With the tube "default", which is always there.
    Queue() { enter("default"); }

    // A tube that the caller uses from now on. It is made when there is none; null when there are too many.
    Tube *enter(std::string_view name);
    // The caller uses it no more; a tube without users and jobs is gone.
    void leave(Tube *tube);

    // Adds a job; 0 when there is no memory for it.
    Number put(Tube *tube, std::uint32_t priority, std::uint32_t delay_seconds, std::uint32_t ttr_seconds,
               std::string body, Millis now);
    // The job to do next among these tubes, held by the session from now on; null when none is ready.
    const Job *reserve(const std::vector<Tube *> &tubes, Number session, Millis now);
    // These concern jobs that the session holds; false when it does not. `remove` takes any that nobody else holds.
    bool remove(Number id, Number session);
    bool release(Number id, Number session, std::uint32_t priority, std::uint32_t delay_seconds, Millis now);
    bool bury(Number id, Number session, std::uint32_t priority);
    bool touch(Number id, Number session, Millis now);
    // Makes up to `bound` buried jobs ready, or delayed ones when none is buried; how many.
    std::size_t kick(Tube *tube, Number bound);
    // Gives everything back that the session holds.
    void abandon(Number session);

    const Job *find(Number id) const;
    const std::map<std::string, Tube, std::less<>> &tubes() const { return tubes_; }
    // When the next delayed or reserved job is due; 0 when none is.
    Millis next_due() const { return due_.empty() ? 0 : static_cast<Millis>(due_.begin()->first); }
    // Makes ready what is due.
    void expire(Millis now);
    // Whether a job has become ready since the last call.
    bool take_news() { return std::exchange(news_, false); }

private:
    Job *held(Number id, Number session);
    // Takes a job out of the set of its state, and puts it into that of another.
    void unlink(Job &job);
    void link(Job &job, State state);
    void forget(Tube *tube);

    std::map<std::string, Tube, std::less<>> tubes_;
    std::map<Number, Job> jobs_;
    Order due_;
    Order held_;
    Number last_id_ = 0;
    std::size_t kept_bytes_ = 0;
    bool news_ = false;
};
