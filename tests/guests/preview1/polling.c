/* poll_oneoff: clocks and descriptors, alone and together. */
#include "preview1.h"

struct subscription {
    u64 userdata;
    u8 type;
    _Alignas(8) u32 id;
    u64 timeout, precision;
    u16 flags;
};
struct event {
    u64 userdata;
    u16 error;
    u8 type;
    u64 bytes;
    u16 flags;
};
_Static_assert(sizeof(struct subscription) == 48 && sizeof(struct event) == 32, "the layouts of the witx");

enum { CLOCK = 0, READ = 1, WRITE = 2, ABSOLUTE = 1 };

static struct event events[2000];
static u32 count;

static struct subscription timer(u64 userdata, u32 clock, u64 timeout, u16 flags) {
    return (struct subscription){.userdata = userdata, .type = CLOCK, .id = clock, .timeout = timeout, .flags = flags};
}

static struct subscription ready(u64 userdata, u8 type, u32 fd) {
    return (struct subscription){.userdata = userdata, .type = type, .id = fd};
}

static u64 now(u32 clock) {
    u64 at = 0;
    CHECK(w_clock_time_get(clock, 0, &at), OK);
    return at;
}

static void clocks(void) {
    for (u32 clock = 0; clock < 2; clock++) {
        u64 before = now(clock);
        struct subscription one = timer(7, clock, 5000000, 0);
        CHECK(w_poll_oneoff(&one, events, 1, &count), OK);
        CHECK(count, 1);
        CHECK(events[0].userdata == 7 && events[0].type == CLOCK && events[0].error == OK, 1);
        CHECK(now(clock) - before >= 5000000, 1);
        before = now(clock);
        one = timer(8, clock, before + 4000000, ABSOLUTE);
        CHECK(w_poll_oneoff(&one, events, 1, &count), OK);
        CHECK(count == 1 && events[0].userdata == 8, 1);
        CHECK(now(clock) >= before + 4000000, 1);
        one = timer(9, clock, 1, ABSOLUTE);
        CHECK(w_poll_oneoff(&one, events, 1, &count), OK);
        one = timer(9, clock, 0, 0);
        CHECK(w_poll_oneoff(&one, events, 1, &count), OK);
        CHECK(count == 1 && events[0].userdata == 9, 1);
    }
    /* Only what is due is told. */
    struct subscription three[3] = {timer(1, 1, 3600000000000ull, 0), timer(2, 0, 2000000, 0), timer(3, 1, ~0ull, ABSOLUTE)};
    CHECK(w_poll_oneoff(three, events, 3, &count), OK);
    CHECK(count, 1);
    CHECK(events[0].userdata, 2);
    struct subscription bad = timer(1, 0, 0, 2);
    CHECK(w_poll_oneoff(&bad, events, 1, &count), INVAL);
    bad = timer(1, 4, 0, 0);
    CHECK(w_poll_oneoff(&bad, events, 1, &count), INVAL);
    bad = timer(1, 2, 0, 0);
    CHECK(w_poll_oneoff(&bad, events, 1, &count), NOTSUP);
    bad = timer(1, 3, 0, 0);
    CHECK(w_poll_oneoff(&bad, events, 1, &count), NOTSUP);
    bad.type = 3;
    CHECK(w_poll_oneoff(&bad, events, 1, &count), INVAL);
}

static void descriptors(u32 dir) {
    put_file(dir, "file", "12345");
    u32 file = must_open(dir, "file", 0, RW, 0), at[2];
    CHECK(w_fd_seek(file, 2, 0, at), OK);
    struct subscription four[4] = {ready(1, READ, file), ready(2, WRITE, file), ready(3, WRITE, 1), ready(4, WRITE, 2)};
    CHECK(w_poll_oneoff(four, events, 4, &count), OK);
    CHECK(count, 4);
    for (u32 i = 0; i < 4; i++)
        CHECK(events[i].userdata == i + 1 && events[i].error == OK && events[i].type == four[i].type, 1);
    CHECK(events[0].bytes, 3);
    /* Standard input is at its end in a service, and closed or empty in the tests. */
    struct subscription input[2] = {ready(1, READ, 0), timer(2, 1, 1000000000, 0)};
    CHECK(w_poll_oneoff(input, events, 2, &count), OK);
    CHECK(count, 1);
    CHECK(events[0].userdata == 1 && events[0].error == OK && events[0].bytes == 0, 1);
    CHECK(events[0].flags, 1);
    /* A bad descriptor is told beside good ones, and fails the call when there is nothing else. */
    struct subscription mixed[3] = {ready(1, READ, NO_FD), ready(2, WRITE, 1), ready(3, WRITE, NO_FD)};
    CHECK(w_poll_oneoff(mixed, events, 3, &count), OK);
    CHECK(count, 3);
    CHECK(events[0].error == BADF && events[1].error == OK && events[2].error == BADF, 1);
    mixed[1] = timer(2, 1, 3600000000000ull, 0);
    CHECK(w_poll_oneoff(mixed, events, 3, &count), OK);
    CHECK(count == 2 && events[1].userdata == 3, 1);
    CHECK(w_poll_oneoff(mixed, events, 1, &count), BADF);
    struct subscription wrong[3] = {ready(1, WRITE, 0), ready(2, READ, 1), ready(3, READ, dir)};
    CHECK(w_poll_oneoff(wrong, events, 3, &count), OK);
    CHECK(count, 3);
    CHECK(events[0].error != OK && events[1].error != OK && events[2].error != OK, 1);
    struct fdstat stat;
    CHECK(w_fd_fdstat_get(file, &stat), OK);
    CHECK(w_fd_fdstat_set_rights(file, stat.base & ~R_POLL, 0), OK);
    CHECK(w_poll_oneoff(four, events, 2, &count), OK);
    CHECK(events[0].error == NOTCAPABLE && events[1].error == NOTCAPABLE, 1);
    CHECK(w_fd_close(file), OK);
}

static void arguments(void) {
    static struct subscription many[2000];
    for (u32 i = 0; i < 2000; i++)
        many[i] = i % 2 ? timer(i, 1, 0, 0) : ready(i, WRITE, 1);
    CHECK(w_poll_oneoff(many, events, 2000, &count), OK);
    CHECK(count, 2000);
    u32 in_order = 1;
    for (u32 i = 0; i < 2000; i++)
        in_order &= events[i].userdata == i;
    CHECK(in_order, 1);
    CHECK(w_poll_oneoff(many, events, 0, &count), INVAL);
    CHECK(w_poll_oneoff(many, events, ~0u, &count), INVAL);
    CHECK(w_poll_oneoff(NOWHERE, events, 1, &count), FAULT);
    CHECK(w_poll_oneoff(many, NOWHERE, 1, &count), FAULT);
    CHECK(w_poll_oneoff(many, events, 1, NOWHERE + 6), FAULT);
}

int main(void) {
    u32 dir = scratch("polling.test");
    clocks();
    descriptors(dir);
    arguments();
    return end_of_checks("polling");
}
