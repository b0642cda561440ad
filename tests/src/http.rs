//! A raw HTTP/1.1 client that keeps the exact bytes of every answer, and a scenario for the image server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context, Result, bail, ensure};

use crate::echo::connect;
use crate::transcript::{Transcript, noise};

/// Longest head of an answer in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// An answer as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status line, headers, empty line and body.
    pub bytes: Vec<u8>,
    /// The number in the status line.
    pub status: u16,
    head_len: usize,
}

impl Reply {
    /// What follows the head.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head_len..]
    }

    /// A header's value, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.bytes[..self.head_len], name)
    }
}

fn header_of<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// One connection.
#[derive(Debug)]
pub struct HttpClient {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl HttpClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(address)?, unread: Vec::new() })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).context("cannot send a request")
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Reads one answer. `to_head` says that the request was HEAD, whose answer has no body.
    pub fn reply(&mut self, to_head: bool) -> Result<Reply> {
        let head_len = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(self.unread.len() <= MAX_HEAD, "the head is over {MAX_HEAD} bytes");
            self.read_more()?;
        };
        let head = &self.unread[..head_len];
        let status: u16 = std::str::from_utf8(head)?
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .context("no status line")?
            .parse()?;
        let has_body = !to_head && status >= 200 && status != 204 && status != 304;
        let body_len: usize = match header_of(head, "content-length") {
            Some(len) if has_body => len.parse()?,
            None if has_body => bail!("an answer without a length"),
            _ => 0,
        };
        while self.unread.len() < head_len + body_len {
            self.read_more()?;
        }
        let bytes = self.unread.drain(..head_len + body_len).collect();
        Ok(Reply { bytes, status, head_len })
    }

    fn read_more(&mut self) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        let got = self.stream.read(&mut buffer)?;
        ensure!(got > 0, "the connection ended within an answer");
        self.unread.extend_from_slice(&buffer[..got]);
        Ok(())
    }

    /// Checks that the server ends the connection without another byte.
    pub fn expect_end(&mut self) -> Result<()> {
        let mut rest = std::mem::take(&mut self.unread);
        self.stream.read_to_end(&mut rest)?;
        ensure!(rest.is_empty(), "unexpected bytes at the end: {rest:?}");
        Ok(())
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Result<Reply> {
        self.send(&request)?;
        self.reply(request.as_ref().starts_with(b"HEAD "))
    }
}

/// A request with the `Host` header, further headers (each ending in CR LF) and a body.
pub fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: test\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A `PUT` with a `Content-Length`.
pub fn put(target: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    request(&format!("PUT {target}"), &length, body)
}

/// Runs the scenario against an image server without images and returns what was received. The server has no images
/// again afterwards.
pub fn image_server_scenario(address: SocketAddr) -> Result<Vec<u8>> {
    let mut scenario = Scenario { address, transcript: Transcript::default() };
    scenario.store_and_fetch()?;
    scenario.ranges()?;
    scenario.chunked()?;
    scenario.pipelined()?;
    scenario.endings()?;
    scenario.refusals()?;
    scenario.unfinished_uploads()?;
    scenario.large_file()?;
    scenario.many_connections()?;
    scenario.gallery()?;
    Ok(scenario.transcript.into_bytes())
}

struct Scenario {
    address: SocketAddr,
    transcript: Transcript,
}

impl Scenario {
    fn client(&self) -> Result<HttpClient> {
        HttpClient::connect(self.address)
    }

    fn record(&mut self, step: &str, reply: &Reply, status: u16) -> Result<()> {
        self.transcript.record(step, &reply.bytes);
        ensure!(
            reply.status == status,
            "{step}: expected {status}, got {}",
            String::from_utf8_lossy(&reply.bytes[..reply.head_len])
        );
        Ok(())
    }

    /// Exchanges one request on a kept connection.
    fn step(&mut self, client: &mut HttpClient, request: &[u8], status: u16) -> Result<Reply> {
        let line = request.split(|&byte| byte == b'\r').next().unwrap_or(request);
        let name = String::from_utf8_lossy(line).into_owned();
        let reply = client.exchange(request).with_context(|| name.clone())?;
        self.record(&name, &reply, status)?;
        Ok(reply)
    }

    fn store_and_fetch(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let image = noise(1, 20_000);
        let empty = self.step(&mut client, &request("GET /", "", b""), 200)?;
        ensure!(String::from_utf8_lossy(empty.body()).contains("No images yet"), "the scenario wants an empty server");
        self.step(&mut client, &put("/lake.jpg", b"draft"), 201)?;
        self.step(&mut client, &put("/lake.jpg", &image), 204)?;
        let fetched = self.step(&mut client, &request("GET /lake.jpg", "", b""), 200)?;
        ensure!(fetched.body() == image, "the image came back changed");
        ensure!(fetched.header("content-type") == Some("image/jpeg"));
        let head = self.step(&mut client, &request("HEAD /lake.jpg", "", b""), 200)?;
        ensure!(head.header("content-length") == Some("20000"));
        self.step(&mut client, &request("HEAD /", "", b""), 200)?;
        self.step(&mut client, &put("/empty.txt", b""), 201)?;
        self.step(&mut client, &request("GET /empty.txt?size=1", "", b""), 200)?;
        self.step(&mut client, &request("DELETE /empty.txt", "", b""), 204)?;
        self.step(&mut client, &request("DELETE /empty.txt", "", b""), 404)?;
        self.step(&mut client, &request("GET /empty.txt", "", b""), 404)?;
        self.step(&mut client, &request("HEAD /empty.txt", "", b""), 404)?;
        Ok(())
    }

    fn ranges(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let whole = noise(1, 20_000);
        let cases: [(&str, u16, &[u8]); 8] = [
            ("bytes=0-0", 206, &whole[..1]),
            ("bytes=100-199", 206, &whole[100..200]),
            ("bytes=19990-", 206, &whole[19_990..]),
            ("bytes=19990-99999", 206, &whole[19_990..]),
            ("bytes=-5", 206, &whole[19_995..]),
            ("bytes=-99999", 206, &whole),
            ("bytes=0-1,5-6", 200, &whole),
            ("lines=1-2", 200, &whole),
        ];
        for (range, status, expected) in cases {
            let headers = format!("Range: {range}\r\n");
            let reply = self.step(&mut client, &request("GET /lake.jpg", &headers, b""), status)?;
            ensure!(reply.body() == expected, "{range}: wrong bytes");
        }
        for range in ["bytes=20000-", "bytes=-0"] {
            let headers = format!("Range: {range}\r\n");
            self.step(&mut client, &request("GET /lake.jpg", &headers, b""), 416)?;
        }
        let headers = "Range: bytes=0-0\r\nIf-Range: \"v1\"\r\n";
        self.step(&mut client, &request("GET /lake.jpg", headers, b""), 200)?;
        Ok(())
    }

    fn chunked(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let image = noise(2, 300_000);
        let mut body = Vec::new();
        for (number, piece) in image.chunks(70_001).enumerate() {
            body.extend_from_slice(format!("{:x};part={number}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\nX-Trailer: yes\r\n\r\n");
        let head = "Transfer-Encoding: chunked\r\n";
        self.step(&mut client, &request("PUT /chunks.png", head, &body), 201)?;
        let fetched = self.step(&mut client, &request("GET /chunks.png", "", b""), 200)?;
        ensure!(fetched.body() == image, "chunks were put together wrongly");

        let expecting = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
        client.send(request("PUT /chunks.png", expecting, b""))?;
        let go_on = client.reply(false)?;
        self.record("100-continue", &go_on, 100)?;
        // One byte at a time: every boundary of the coding is crossed.
        for byte in b"4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n" {
            client.send([*byte])?;
        }
        let stored = client.reply(false)?;
        self.record("byte by byte", &stored, 204)?;
        let fetched = self.step(&mut client, &request("GET /chunks.png", "", b""), 200)?;
        ensure!(fetched.body() == b"wikipedia");
        self.step(&mut client, &request("DELETE /chunks.png", "", b""), 204)?;
        Ok(())
    }

    fn pipelined(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let mut all = put("/one.txt", b"first");
        all.extend(request("GET /one.txt", "", b""));
        all.extend(put("/one.txt", b"second"));
        all.extend(b"\r\n");
        all.extend(request("GET /one.txt", "", b""));
        all.extend(request("DELETE /one.txt", "", b""));
        all.extend(request("GET /one.txt", "", b""));
        client.send(&all)?;
        for (number, status) in [201, 200, 204, 200, 204, 404].into_iter().enumerate() {
            let reply = client.reply(false)?;
            self.record(&format!("pipelined {number}"), &reply, status)?;
        }
        // More answers than the socket's buffers hold, before the first is read.
        let count = 1000;
        client.send(request("GET /lake.jpg", "", b"").repeat(count))?;
        for number in 0..count {
            let reply = client.reply(false)?;
            ensure!(reply.status == 200 && reply.body() == noise(1, 20_000), "pipelined answer {number} is wrong");
        }
        Ok(())
    }

    fn endings(&mut self) -> Result<()> {
        let mut client = self.client()?;
        client.send(request("GET /lake.jpg", "", b""))?;
        client.finish_sending()?;
        let reply = client.reply(false)?;
        self.record("half-close", &reply, 200)?;
        client.expect_end()?;

        let mut client = self.client()?;
        let closing = request("GET /lake.jpg", "Connection: close\r\n", b"");
        self.step(&mut client, &closing, 200)?;
        client.expect_end()?;

        let mut client = self.client()?;
        let kept = b"GET /lake.jpg HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
        self.step(&mut client, kept, 200)?;
        self.step(&mut client, b"GET /lake.jpg HTTP/1.0\r\n\r\n", 200)?;
        client.expect_end()
    }

    fn refusals(&mut self) -> Result<()> {
        let kept: [(Vec<u8>, u16); 10] = [
            (request("GET /a/b", "", b""), 400),
            (request("GET /../secret", "", b""), 400),
            (request("GET /%2e%2e%2fsecret", "", b""), 400),
            (request("GET /.hidden", "", b""), 400),
            (request("GET /%zz", "", b""), 400),
            (request("GET /%ff.jpg", "", b""), 400),
            (request("PATCH /lake.jpg", "", b""), 405),
            (request("DELETE /", "", b""), 405),
            (request("PUT /x.jpg", "", b""), 411),
            (request("GET http://test/missing.jpg", "", b""), 404),
        ];
        let mut client = self.client()?;
        for (bytes, status) in &kept {
            self.step(&mut client, bytes, *status)?;
        }
        let long = format!("X-Long: {}\r\n", "x".repeat(9000));
        let ending: [(Vec<u8>, u16); 14] = [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
            (b"hello\r\n\r\n".to_vec(), 400),
            (b"GET / HTTP/1.1\nHost: test\n\n".to_vec(), 400),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
            (request("GET /", "Bad Header: 1\r\n", b""), 400),
            (b"PRI * HTTP/2.0\r\n\r\n".to_vec(), 505),
            (request("PUT /x.jpg", "Content-Length: -1\r\n", b""), 400),
            (request("PUT /x.jpg", "Content-Length: 1\r\nContent-Length: 2\r\n", b""), 400),
            (request("PUT /x.jpg", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b""), 400),
            (request("PUT /x.jpg", "Transfer-Encoding: gzip\r\n", b""), 501),
            (request("PUT /x.jpg", "Transfer-Encoding: chunked\r\n", b"xyz\r\n"), 400),
            (request("PUT /x.jpg", "Content-Length: 999999999999\r\n", b""), 413),
            (request("PUT /x.jpg", "Expect: tea\r\nContent-Length: 1\r\n", b""), 417),
            (request("GET /", &long, b""), 431),
        ];
        for (bytes, status) in &ending {
            let mut client = self.client()?;
            self.step(&mut client, bytes, *status)?;
            client.finish_sending()?;
            client.expect_end()?;
        }
        let mut client = self.client()?;
        self.step(&mut client, &request("GET /x.jpg", "", b""), 404)?;
        Ok(())
    }

    /// Neither an upload that breaks off nor one that is under way can be seen.
    fn unfinished_uploads(&mut self) -> Result<()> {
        let mut broken = self.client()?;
        broken.send(request("PUT /half.jpg", "Content-Length: 100\r\n", b"half"))?;
        broken.finish_sending()?;
        broken.expect_end()?;

        let mut slow = self.client()?;
        slow.send(request("PUT /half.jpg", "Content-Length: 8\r\n", b"half"))?;
        let mut other = self.client()?;
        self.step(&mut other, &request("GET /half.jpg", "", b""), 404)?;
        slow.send(b"done")?;
        let stored = slow.reply(false)?;
        self.record("the slow upload ends", &stored, 201)?;
        let fetched = self.step(&mut other, &request("GET /half.jpg", "", b""), 200)?;
        ensure!(fetched.body() == b"halfdone");
        self.step(&mut other, &request("DELETE /half.jpg", "", b""), 204)?;
        Ok(())
    }

    fn large_file(&mut self) -> Result<()> {
        let image = noise(3, 10_000_000);
        let mut client = self.client()?;
        self.step(&mut client, &put("/ten.jpg", &image), 201)?;
        let fetched = self.step(&mut client, &request("GET /ten.jpg", "", b""), 200)?;
        ensure!(fetched.body() == image, "10 MB came back changed");
        self.step(&mut client, &request("DELETE /ten.jpg", "", b""), 204)?;
        Ok(())
    }

    fn many_connections(&mut self) -> Result<()> {
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(self.client()?);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(put(&format!("/many-{number:02}.gif"), &noise(number as u64, 5000)))?;
        }
        for client in &mut clients {
            let reply = client.reply(false)?;
            self.record("one of many", &reply, 201)?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let target = format!("/many-{number:02}.gif");
            let fetched = self.step(client, &request(&format!("GET {target}"), "", b""), 200)?;
            ensure!(fetched.body() == noise(number as u64, 5000));
            self.step(client, &request(&format!("DELETE {target}"), "", b""), 204)?;
        }
        Ok(())
    }

    fn gallery(&mut self) -> Result<()> {
        let mut client = self.client()?;
        let targets = ["/z%C3%BCrich.webp", "/a%26b%20%3Cc%3E.svg", "/notes.txt", "/lake.jpg"];
        for target in &targets[..3] {
            self.step(&mut client, &put(target, b"<svg/>"), 201)?;
        }
        let page = self.step(&mut client, &request("GET /", "", b""), 200)?;
        let page = String::from_utf8(page.body().to_vec())?;
        ensure!(page.contains("a&amp;b &lt;c&gt;.svg"), "names are not escaped");
        ensure!(page.contains("src=\"/a%26b%20%3Cc%3E.svg\""), "links are not escaped");
        ensure!(page.contains("4 files, 19.5 KiB"), "the sum is wrong");
        for target in targets {
            self.step(&mut client, &request(&format!("GET {target}"), "", b""), 200)?;
            self.step(&mut client, &request(&format!("DELETE {target}"), "", b""), 204)?;
        }
        self.step(&mut client, &request("GET /", "", b""), 200)?;
        Ok(())
    }
}
