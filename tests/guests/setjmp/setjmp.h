/* setjmp and longjmp for a wasi-libc that lacks them, by the exceptions of WebAssembly: clang's option
 * -wasm-enable-sjlj rewrites the functions that call them to call those of setjmp.c. */
#ifndef SETJMP_H
#define SETJMP_H

typedef struct {
    void *invocation; /* of the function that called setjmp */
    unsigned label;   /* which call it was there */
    struct {
        void *env;
        int value;
    } thrown;
} jmp_buf[1];

int setjmp(jmp_buf) __attribute__((__returns_twice__));
_Noreturn void longjmp(jmp_buf, int);

#endif
