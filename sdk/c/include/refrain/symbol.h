/* The symbol that a call of librefrain.a has: its own, so that a wasi-libc of any year may have the call too. */
#ifndef REFRAIN_SYMBOL_H
#define REFRAIN_SYMBOL_H

#define REFRAIN_SYMBOL(name) __asm__("refrain_" #name)

#endif
