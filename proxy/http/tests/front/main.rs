//! The front end from outside: real sockets on free ports, real handlers and upstreams.

mod abuse;
mod balance;
mod basics;
mod bodies;
mod drain;
mod floods;
mod frames;
mod http2;
mod inner;
mod limits;
mod log;
mod malformed;
mod proxies;
mod reload;
mod streams;
mod support;
mod tls;
mod upgrade;
