/* What the answers say, on this machine: cc -o test/answers test/answers.c src/answers.c && test/answers */
#include "../src/answers.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void expect(const char *what, const char *found, const char *expected)
{
    if (strcmp(found, expected) != 0) {
        printf("%s: %s, expected %s\n", what, found, expected);
        failures++;
    }
}

int main(void)
{
    char text[64];
    char *const variables[] = {"A=1", "B=2", NULL};

    greeting("", text, sizeof text);
    expect("no query", text, "Hello, world, from C!\n");
    greeting("a=b&name=Ada", text, sizeof text);
    expect("a name after another", text, "Hello, Ada, from C!\n");
    greeting("name=&name=x", text, sizeof text);
    expect("an empty name", text, "Hello, world, from C!\n");
    greeting("name=0123456789012345678901234567890123456789012345678901234567890123456789", text, 20);
    expect("a name longer than the room", text, "Hello, 012345678901");

    environment(variables, text, sizeof text);
    expect("the environment", text, "A=1\nB=2\n");
    if (environment(variables, text, 5) != 8 || strcmp(text, "A=1\n") != 0)
        expect("cut", text, "A=1\n");
    if (failures == 0)
        puts("passed");
    return failures;
}
