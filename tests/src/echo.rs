//! A scenario for the echo server: everything comes back, in order, whatever the sizes and however it ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::transcript::{Transcript, noise};

/// How long a reply may take before a scenario gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connects with limits on how long a call may block.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Runs the scenario and returns what was received.
pub fn echo_scenario(address: SocketAddr) -> Result<Vec<u8>> {
    let mut transcript = Transcript::default();
    small_messages(address, &mut transcript)?;
    half_close(address, &mut transcript)?;
    large_message(address, &mut transcript)?;
    many_connections(address, &mut transcript)?;
    Ok(transcript.into_bytes())
}

fn small_messages(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut stream = connect(address)?;
    for len in [1, 64, 1000, 65_536] {
        let sent = noise(len as u64, len);
        stream.write_all(&sent)?;
        let mut received = vec![0; len];
        stream.read_exact(&mut received)?;
        ensure!(received == sent, "{len} bytes came back changed");
        transcript.record(&format!("{len} bytes"), &received);
    }
    Ok(())
}

fn half_close(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(b"the last words")?;
    stream.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    ensure!(received == b"the last words", "got {received:?}");
    transcript.record("half-close", &received);
    Ok(())
}

/// More than all socket buffers hold, so that the server has to keep what it cannot send.
fn large_message(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut stream = connect(address)?;
    let sent = noise(8, 8 << 20);
    let mut writer = stream.try_clone()?;
    let expected = sent.clone();
    let sending = std::thread::spawn(move || -> Result<()> {
        writer.write_all(&sent)?;
        writer.shutdown(Shutdown::Write)?;
        Ok(())
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    sending.join().expect("the sending thread does not panic")?;
    ensure!(received == expected, "8 MiB came back changed");
    transcript.record("8 MiB", &received);
    Ok(())
}

fn many_connections(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(connect(address)?);
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(format!("connection {number}").as_bytes())?;
    }
    for (number, stream) in streams.iter_mut().enumerate().rev() {
        let expected = format!("connection {number}");
        let mut received = vec![0; expected.len()];
        stream.read_exact(&mut received)?;
        ensure!(received == expected.as_bytes(), "got {received:?}");
        transcript.record("one of many", &received);
    }
    Ok(())
}
