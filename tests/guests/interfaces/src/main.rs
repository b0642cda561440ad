//! Calls the interfaces of WASI 0.2 themselves, and checks what they say in every state. What is checked follows from the
//! WIT files, and is what the test programs of other hosts look at.
//!
//! Without arguments all checks run, with the name of one that alone. With a name that begins with `trap-` one thing is
//! done that has to end the program; with `readonly` the directory of that name cannot be changed; with `lookups` two names
//! are looked up.

mod addresses;
mod clocks;
mod files;
mod names;
mod streams;
mod tcp;
mod tcp_options;
mod traps;
mod udp;

use addresses::Family;

type Check = (&'static str, fn());

fn both(check: impl Fn(Family)) {
    check(Family::Ipv4);
    check(Family::Ipv6);
}

fn all() -> Vec<Check> {
    [clocks::CHECKS, files::CHECKS, names::CHECKS, streams::CHECKS, tcp::CHECKS, tcp_options::CHECKS, udp::CHECKS]
        .concat()
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => {
            for (name, check) in all() {
                // So that the last line names the one that failed.
                println!("{name}");
                check();
            }
        }
        Some("readonly") => files::read_only_directory(),
        Some("lookups") => names::two_at_once(),
        Some(name) => {
            let one = all().into_iter().chain(traps::TRAPS.iter().copied()).find(|(known, _)| *known == name);
            (one.expect("a check or a trap of this name").1)();
            println!("{name}: the program goes on");
        }
    }
}
