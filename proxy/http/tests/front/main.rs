//! The front end from outside: real sockets on free ports, real handlers and upstreams.

mod basics;
mod support;
