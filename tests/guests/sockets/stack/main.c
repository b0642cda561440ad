/* A stack of more than the 1 MiB that is the default. */
#include <stdio.h>
#include <unistd.h>

static int on_the_stack(void)
{
    volatile char block[3 << 20];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = 1;
    return block[0] + block[sizeof block - 1];
}

int main(void)
{
    return on_the_stack() == 2 && puts("it fits") >= 0 && getuid() != 0 ? 0 : 1;
}
