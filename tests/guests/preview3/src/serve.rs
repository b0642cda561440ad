//! A server of the echo protocol: each connection is a task of its own.

use wasip3::sockets::types::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket};
use wasip3::wit_bindgen::{StreamResult, yield_async};
use wasip3::{spawn, wit_stream};

pub async fn serve(port: u16) {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4).expect("a socket");
    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (0, 0, 0, 0) });
    listener.bind(address).expect("the port is free");
    let mut clients = listener.listen().expect("it is bound");
    println!("listening");
    while let Some(client) = clients.next().await {
        spawn(answer(client));
        // Before 0.58 wit-bindgen polls what was spawned only when something else wakes the task
        // (bytecodealliance/wit-bindgen, pull request 1608).
        yield_async().await;
    }
}

async fn answer(client: TcpSocket) {
    let (mut received, ended) = client.receive();
    let (mut writer, reader) = wit_stream::new();
    let sent = client.send(reader);
    loop {
        let (result, bytes) = received.read(Vec::with_capacity(65_536)).await;
        if !bytes.is_empty() && !writer.write_all(bytes).await.is_empty() {
            break;
        }
        if result == StreamResult::Dropped {
            break;
        }
    }
    drop((writer, received));
    // A client that is gone is no fault of the server's.
    let (sent, ended) = (sent.await, ended.await);
    println!("{} {}", said(sent), said(ended));
}

fn said(result: Result<(), wasip3::sockets::types::ErrorCode>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}
