//! A server that keeps what it is told, in memory and in a file, and answers with everything that could differ between two
//! replicas: the time, random numbers, the order of a hash map, what is in the file.
//!
//! One client at a time, on port 7. A line that is not empty is kept; each is answered by one line. `quit` ends the program.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

struct Ledger {
    words: HashMap<String, u64>,
    lines: u64,
    began: Instant,
}

impl Ledger {
    fn answer(&mut self, line: &str) -> io::Result<String> {
        self.lines += 1;
        *self.words.entry(line.to_owned()).or_default() += 1;
        let mut file = OpenOptions::new().create(true).append(true).open("/ledger")?;
        writeln!(file, "{line}")?;
        let kept = std::fs::read_to_string("/ledger")?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let order: Vec<&str> = self.words.keys().map(String::as_str).collect();
        let random = RandomState::new().hash_one(0);
        Ok(format!(
            "{} {} {} {random:x} {wall:?} {:?}\n",
            self.lines,
            kept.lines().count(),
            order.join(","),
            self.began.elapsed()
        ))
    }

    /// Serves one client; false when the program is to end.
    fn serve(&mut self, stream: &TcpStream) -> io::Result<bool> {
        // A component cannot duplicate a descriptor; a reference writes as well.
        let mut writer = stream;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            if line == "quit" {
                return Ok(false);
            }
            eprintln!("{line}");
            writer.write_all(self.answer(&line)?.as_bytes())?;
        }
        Ok(true)
    }
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7")?;
    println!("listening, {}", std::env::var("GREETING").unwrap_or_default());
    let mut ledger = Ledger { words: HashMap::new(), lines: 0, began: Instant::now() };
    loop {
        let (stream, _) = listener.accept()?;
        match ledger.serve(&stream) {
            Ok(true) => {}
            Ok(false) => std::process::exit(3),
            // A client that is gone is none of the next one's concern.
            Err(error) => eprintln!("{error}"),
        }
    }
}
