//! A client of the echo server: every byte comes back as it was sent, in order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, ensure};

use super::pulse::Pulse;
use super::{Client, End};
use crate::echo::connect;
use crate::load::Dice;
use crate::transcript::noise;

/// The service.
pub const SERVICE: &str = "echo";
const MAX_PIECE: u64 = 32 * 1024;

/// The client. Each connection is a flow of bytes of its own.
#[derive(Clone, Debug)]
pub struct Flow {
    dice: Dice,
}

impl Flow {
    /// One whose bytes depend on `number`.
    pub fn new(number: u64) -> Self {
        Self { dice: Dice::new(number) }
    }

    /// One piece there and back.
    fn piece(&mut self, stream: &mut TcpStream) -> Result<std::io::Result<()>> {
        let len = 1 + self.dice.below(MAX_PIECE) as usize;
        let sent = noise(self.dice.below(u64::MAX >> 11), len);
        let mut received = vec![0; len];
        match stream.write_all(&sent).and_then(|()| stream.read_exact(&mut received)) {
            Ok(()) => {
                let at = sent.iter().zip(&received).position(|(sent, received)| sent != received);
                ensure!(at.is_none(), "byte {} of {len} came back changed", at.unwrap_or_default());
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

impl Client for Flow {
    fn service(&self) -> &'static str {
        SERVICE
    }

    fn go_on(&mut self, address: SocketAddr, pulse: &Pulse) -> Result<End> {
        let mut stream = match connect(address) {
            Ok(stream) => stream,
            Err(error) => return Ok(End::Broken(format!("{error:#}"))),
        };
        while !pulse.is_stopped() {
            match self.piece(&mut stream)? {
                Ok(()) => pulse.beat(1),
                Err(error) => return Ok(End::Broken(error.to_string())),
            }
        }
        Ok(End::Asked)
    }

    /// Nothing is kept; what came back was looked at then.
    fn check(&mut self, _: SocketAddr) -> Result<u64> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::native::{Example, NativeServer};
    use crate::traffic::run_until;

    #[test]
    fn an_echo_server_is_right_and_one_that_changes_a_byte_is_not() {
        let server = NativeServer::start(Example::Echo).unwrap();
        let outcome = run_until(Flow::new(1), server.address(), 50).unwrap();
        assert!(outcome.answered >= 50 && outcome.breaks.is_empty());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            while let Ok(got @ 1..) = stream.read(&mut buffer) {
                buffer[0] ^= 1;
                if stream.write_all(&buffer[..got]).is_err() {
                    return;
                }
            }
        });
        let error = run_until(Flow::new(1), address, 50).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("came back changed"), "{error:#}");
    }
}
