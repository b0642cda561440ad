//! A program on WasmEdge's socket crate: it answers each line of a client with the line before it, one client after the
//! other, and checks that the client's address is the one that it was accepted with.

use std::io::{BufRead, BufReader, Write};

use wasmedge_wasi_socket::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80", false)?;
    let mut kept = String::from("nothing\n");
    loop {
        let (client, peer) = listener.accept(false)?;
        assert_eq!(client.peer_addr()?, peer);
        // A client that breaks off is no reason to end.
        let _ = serve(client, &mut kept);
    }
}

fn serve(client: TcpStream, kept: &mut String) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        reader.get_mut().write_all(kept.as_bytes())?;
        *kept = line;
    }
}
