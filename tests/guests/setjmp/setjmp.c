/* What clang's -wasm-enable-sjlj calls. See setjmp.h. */
#include "setjmp.h"

/* The tag that clang gives to what longjmp throws. */
enum { C_LONGJMP = 1 };

void __wasm_setjmp(void *env, unsigned label, void *invocation);
unsigned __wasm_setjmp_test(void *env, void *invocation);
void __wasm_longjmp(void *env, int value);

void __wasm_setjmp(void *env, unsigned label, void *invocation)
{
    jmp_buf *buffer = env;
    (*buffer)->invocation = invocation;
    (*buffer)->label = label;
}

/* The call of setjmp in this invocation that a longjmp to `env` returns from; 0 when it is none of this invocation. */
unsigned __wasm_setjmp_test(void *env, void *invocation)
{
    jmp_buf *buffer = env;
    return (*buffer)->invocation == invocation ? (*buffer)->label : 0;
}

void __wasm_longjmp(void *env, int value)
{
    jmp_buf *buffer = env;
    (*buffer)->thrown.env = env;
    (*buffer)->thrown.value = value == 0 ? 1 : value;
    __builtin_wasm_throw(C_LONGJMP, &(*buffer)->thrown);
}
