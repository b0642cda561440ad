//! A command of WASI 0.3 that does what its first argument says, and checks what it sees. It panics at what is wrong.
//!
//! What is checked of each interface is what public test suites check too: states, errors, ends of streams.

mod cli;
mod clocks;
mod files;
mod serve;
mod tcp;
mod udp;

use wasip3::cli::environment::get_arguments;

struct Program;
wasip3::cli::command::export!(Program);

impl wasip3::exports::cli::run::Guest for Program {
    async fn run() -> Result<(), ()> {
        let arguments = get_arguments();
        let second = arguments.get(2).map_or("", String::as_str);
        match arguments.get(1).map_or("", String::as_str) {
            "cli" => cli::check().await,
            "copy" => cli::copy().await,
            "upper" => cli::upper().await,
            "flush" => cli::flush().await,
            "words" => cli::words().await,
            "exit" => wasip3::cli::exit::exit_with_code(second.parse().expect("a number")),
            "fail" => return Err(()),
            "clocks" => clocks::check().await,
            "random" => cli::random(),
            "files" => files::check().await,
            "tcp" => tcp::check().await,
            "udp" => udp::check().await,
            "lookup" => udp::look_up(&arguments[2..]).await,
            "serve" => serve::serve(second.parse().expect("a port")).await,
            "deadlock" => cli::deadlock().await,
            "spin" => cli::spin(),
            "chatter" => cli::chatter().await,
            other => panic!("there is no check {other:?}"),
        }
        println!("ok");
        Ok(())
    }
}
