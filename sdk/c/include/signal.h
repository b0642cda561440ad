/* Lets programs that say signal(SIGPIPE, SIG_IGN) compile unchanged: turns on wasi-libc's emulation of signals
 * (link with -lwasi-emulated-signal). No signal is ever delivered from outside; a send to a closed connection
 * returns EPIPE. */
#ifndef REFRAIN_SIGNAL_H
#define REFRAIN_SIGNAL_H

#ifndef _WASI_EMULATED_SIGNAL
#define _WASI_EMULATED_SIGNAL
#endif
#include_next <signal.h>

#endif
