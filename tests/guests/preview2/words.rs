//! Does what its arguments say, one after the other: `args`, `env`, `echo` (standard input to standard output), `err TEXT`,
//! `sleep MS`, `write PATH TEXT`, `read PATH`, `exit CODE`, `fail`, `panic`.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_default();
        match word.as_str() {
            "args" => std::env::args().for_each(|argument| println!("{argument}")),
            "env" => std::env::vars().for_each(|(key, value)| println!("{key}={value}")),
            "echo" => {
                let mut input = Vec::new();
                io::stdin().read_to_end(&mut input)?;
                io::stdout().write_all(&input)?;
            }
            "err" => eprint!("{}", next()),
            "sleep" => {
                let (began, time) = (Instant::now(), Duration::from_millis(next().parse()?));
                std::thread::sleep(time);
                assert!(began.elapsed() >= time);
            }
            "write" => std::fs::write(next(), next())?,
            "read" => print!("{}", std::fs::read_to_string(next())?),
            "exit" => std::process::exit(next().parse()?),
            "fail" => return Err("as it was told".into()),
            "panic" => panic!("as it was told"),
            other => return Err(format!("no such word: {other}").into()),
        }
    }
    Ok(())
}
