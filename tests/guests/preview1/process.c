/* Arguments, environment, clocks, randomness, yielding, signals. */
#include "preview1.h"

static void strings(u32 (*sizes)(void *, void *), u32 (*get)(void *, void *), u32 least) {
    u32 count = 0, bytes = 0;
    CHECK(sizes(&count, &bytes), OK);
    CHECK(count >= least, 1);
    CHECK(count <= 16 && bytes <= 1024, 1);
    char *pointers[17], buffer[1025];
    memset(buffer, 'x', sizeof buffer);
    CHECK(get(pointers, buffer), OK);
    u32 used = 0;
    for (u32 i = 0; i < count; i++) {
        CHECK(pointers[i] == buffer + used, 1);
        used += strlen(pointers[i]) + 1;
    }
    CHECK(used, bytes);
    CHECK(buffer[bytes], 'x');
    CHECK(sizes(NOWHERE, &bytes), count == 0 ? FAULT : FAULT);
    CHECK(sizes(&count, NOWHERE + 6), FAULT);
    if (count > 0) {
        CHECK(get(NOWHERE + 6, buffer), FAULT);
        CHECK(get(pointers, NOWHERE + 7), FAULT);
    }
}

static void clocks(void) {
    u64 first = 0, second = 0;
    for (u32 clock = 0; clock <= 3; clock++) {
        CHECK(w_clock_res_get(clock, &first), OK);
        CHECK(first > 0 && first <= 1000000000, 1);
        CHECK(w_clock_time_get(clock, 0, &first), OK);
        CHECK(w_clock_time_get(clock, ~0ull, &second), OK);
        CHECK(second >= first, 1);
        CHECK(w_clock_time_get(clock, 0, NOWHERE), FAULT);
        CHECK(w_clock_res_get(clock, NOWHERE), FAULT);
    }
    for (u32 clock = 4; clock != 0; clock = clock == 4 ? ~0u : 0) {
        CHECK(w_clock_res_get(clock, &first), INVAL);
        CHECK(w_clock_time_get(clock, 0, &first), INVAL);
    }
}

static u8 large[1 << 20];

static void randomness(void) {
    u8 one[32] = {0}, two[32] = {0};
    CHECK(w_random_get(one, sizeof one), OK);
    CHECK(w_random_get(two, sizeof two), OK);
    CHECK(memcmp(one, two, sizeof one) != 0, 1);
    CHECK(w_random_get(large, sizeof large), OK);
    u32 ones = 0;
    for (u32 i = 0; i < sizeof large; i++)
        ones += __builtin_popcount(large[i]);
    CHECK(ones > 4150000 && ones < 4240000, 1);
    CHECK(w_random_get(one, 0), OK);
    CHECK(w_random_get(NOWHERE, 16), FAULT);
    CHECK(w_random_get(one, ~0u), FAULT);
}

int main(int argc, char **argv) {
    CHECK(argc >= 1, 1);
    CHECK(strlen(argv[0]) > 0, 1);
    strings(w_args_sizes_get, w_args_get, 1);
    strings(w_environ_sizes_get, w_environ_get, 0);
    clocks();
    randomness();
    CHECK(w_sched_yield(), OK);
    /* None, those that are ignored by default, those that would stop, and those that are none. */
    CHECK(w_proc_raise(0), OK);
    CHECK(w_proc_raise(16), OK);
    CHECK(w_proc_raise(17), OK);
    CHECK(w_proc_raise(22), OK);
    CHECK(w_proc_raise(27), OK);
    CHECK(w_proc_raise(18), NOTSUP);
    CHECK(w_proc_raise(21), NOTSUP);
    CHECK(w_proc_raise(31), INVAL);
    CHECK(w_proc_raise(~0u), INVAL);
    return end_of_checks("process");
}
