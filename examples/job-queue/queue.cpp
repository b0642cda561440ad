// See queue.hpp.
#include "queue.hpp"

Tube *Queue::enter(std::string_view name)
{
    auto at = tubes_.find(name);
    if (at == tubes_.end()) {
        if (tubes_.size() == max_tubes)
            return nullptr;
        at = tubes_.try_emplace(std::string(name)).first;
        at->second.name = name;
    }
    at->second.users++;
    return &at->second;
}

void Queue::leave(Tube *tube)
{
    tube->users--;
    forget(tube);
}

void Queue::forget(Tube *tube)
{
    if (tube->users == 0 && tube->jobs() == 0)
        tubes_.erase(tubes_.find(tube->name));
}

void Queue::unlink(Job &job)
{
    switch (job.state) {
    case State::ready:
        job.tube->ready.erase({job.priority, job.id});
        break;
    case State::buried:
        job.tube->buried.erase({0, job.id});
        break;
    case State::delayed:
        job.tube->delayed--;
        due_.erase({job.due, job.id});
        break;
    case State::reserved:
        job.tube->reserved--;
        due_.erase({job.due, job.id});
        held_.erase({job.session, job.id});
        break;
    }
}

void Queue::link(Job &job, State state)
{
    job.state = state;
    switch (state) {
    case State::ready:
        job.tube->ready.insert({job.priority, job.id});
        news_ = true;
        break;
    case State::buried:
        job.tube->buried.insert({0, job.id});
        break;
    case State::delayed:
        job.tube->delayed++;
        due_.insert({job.due, job.id});
        break;
    case State::reserved:
        job.tube->reserved++;
        due_.insert({job.due, job.id});
        held_.insert({job.session, job.id});
        break;
    }
}

Number Queue::put(Tube *tube, std::uint32_t priority, std::uint32_t delay_seconds, std::uint32_t ttr_seconds,
                  std::string body, Millis now)
{
    std::size_t bytes = body.size() + job_overhead_bytes;
    if (bytes > max_kept_bytes - kept_bytes_)
        return 0;
    kept_bytes_ += bytes;
    Job &job = jobs_[++last_id_];
    job.id = last_id_;
    job.priority = priority;
    job.ttr_seconds = ttr_seconds == 0 ? 1 : ttr_seconds;
    job.tube = tube;
    job.body = std::move(body);
    job.due = now + Millis{delay_seconds} * 1000;
    link(job, delay_seconds == 0 ? State::ready : State::delayed);
    return job.id;
}

const Job *Queue::reserve(const std::vector<Tube *> &tubes, Number session, Millis now)
{
    const std::pair<Number, Number> *best = nullptr;
    for (const Tube *tube : tubes) {
        if (!tube->ready.empty() && (best == nullptr || *tube->ready.begin() < *best))
            best = &*tube->ready.begin();
    }
    if (best == nullptr)
        return nullptr;
    Job &job = jobs_.find(best->second)->second;
    unlink(job);
    job.session = session;
    job.due = now + Millis{job.ttr_seconds} * 1000;
    link(job, State::reserved);
    return &job;
}

const Job *Queue::find(Number id) const
{
    auto at = jobs_.find(id);
    return at == jobs_.end() ? nullptr : &at->second;
}

Job *Queue::held(Number id, Number session)
{
    auto at = jobs_.find(id);
    if (at == jobs_.end() || at->second.state != State::reserved || at->second.session != session)
        return nullptr;
    return &at->second;
}

bool Queue::remove(Number id, Number session)
{
    auto at = jobs_.find(id);
    if (at == jobs_.end() || (at->second.state == State::reserved && at->second.session != session))
        return false;
    Tube *tube = at->second.tube;
    unlink(at->second);
    kept_bytes_ -= at->second.body.size() + job_overhead_bytes;
    jobs_.erase(at);
    forget(tube);
    return true;
}

bool Queue::release(Number id, Number session, std::uint32_t priority, std::uint32_t delay_seconds, Millis now)
{
    Job *job = held(id, session);
    if (job == nullptr)
        return false;
    unlink(*job);
    job->priority = priority;
    job->due = now + Millis{delay_seconds} * 1000;
    link(*job, delay_seconds == 0 ? State::ready : State::delayed);
    return true;
}

bool Queue::bury(Number id, Number session, std::uint32_t priority)
{
    Job *job = held(id, session);
    if (job == nullptr)
        return false;
    unlink(*job);
    job->priority = priority;
    link(*job, State::buried);
    return true;
}

bool Queue::touch(Number id, Number session, Millis now)
{
    Job *job = held(id, session);
    if (job == nullptr)
        return false;
    unlink(*job);
    job->due = now + Millis{job->ttr_seconds} * 1000;
    link(*job, State::reserved);
    return true;
}

std::size_t Queue::kick(Tube *tube, Number bound)
{
    std::size_t kicked = 0;
    bool buried = !tube->buried.empty();
    auto move = [&](Job &job) {
        unlink(job);
        link(job, State::ready);
        kicked++;
    };
    while (buried && kicked < bound && !tube->buried.empty())
        move(jobs_.find(tube->buried.begin()->second)->second);
    for (auto at = due_.begin(); !buried && kicked < bound && tube->delayed > 0 && at != due_.end();) {
        Job &job = jobs_.find(at++->second)->second;
        if (job.tube == tube && job.state == State::delayed)
            move(job);
    }
    return kicked;
}

void Queue::abandon(Number session)
{
    for (auto at = held_.lower_bound({session, 0}); at != held_.end() && at->first == session;) {
        Job &job = jobs_.find(at++->second)->second;
        unlink(job);
        link(job, State::ready);
    }
}

void Queue::expire(Millis now)
{
    while (!due_.empty() && static_cast<Millis>(due_.begin()->first) <= now) {
        Job &job = jobs_.find(due_.begin()->second)->second;
        unlink(job);
        link(job, State::ready);
    }
}
