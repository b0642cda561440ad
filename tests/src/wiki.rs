//! A scenario for the wiki: pages are written, linked, changed by two at once, and removed.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::http::{HttpClient, Reply, put, request};
use crate::transcript::Transcript;

struct Scenario {
    address: SocketAddr,
    client: HttpClient,
    transcript: Transcript,
}

/// Runs the scenario on a wiki without pages, and leaves none; what was received, without the hours in it.
pub fn wiki_scenario(address: SocketAddr) -> Result<Vec<u8>> {
    let mut scenario = Scenario { address, client: HttpClient::connect(address)?, transcript: Transcript::default() };
    scenario.pages_are_written_and_shown()?;
    scenario.of_two_writers_one_is_told()?;
    scenario.old_versions_are_kept_and_the_oldest_go()?;
    scenario.faults_have_words()?;
    for name in ["Lake", "Hill", "Both"] {
        ensure!(scenario.ask(&format!("DELETE /{name}"), "", b"")?.status == 204);
    }
    ensure!(scenario.ask("GET /Lake", "", b"")?.status == 404);
    scenario.ask("GET /", "", b"")?;
    many_at_once(address)?;
    Ok(scenario.transcript.into_bytes())
}

impl Scenario {
    fn ask(&mut self, line: &str, headers: &str, body: &[u8]) -> Result<Reply> {
        let length = format!("{headers}Content-Length: {}\r\n", body.len());
        let reply = self.client.exchange(request(line, &length, body))?;
        let (status, tag) = (reply.status, reply.header("etag").unwrap_or("no tag").to_owned());
        self.transcript.record(&format!("{line}: {status}, {tag}"), reply.body());
        Ok(reply)
    }

    fn pages_are_written_and_shown(&mut self) -> Result<()> {
        ensure!(self.ask("GET /Lake", "", b"")?.status == 404);
        let text = b"= A lake\n\nDeep & <cold>, below the [[Hill]].\n\n- fish\n- [[not a name]] [[\n";
        ensure!(self.ask("PUT /Lake", "", text)?.status == 201);
        ensure!(self.ask("GET /Lake/raw", "", b"")?.body() == text);
        let page = String::from_utf8(self.ask("GET /Lake", "", b"")?.body().to_vec())?;
        for part in
            ["<h2>A lake</h2>", "Deep &amp; &lt;cold&gt;", "<a href=/Hill>Hill</a>", "<li>fish", "[[not a name]]"]
        {
            ensure!(page.contains(part), "{part} is not in {page}");
        }
        ensure!(self.ask("PUT /Hill", "", b"High.")?.status == 201);
        let all = String::from_utf8(self.ask("GET /", "", b"")?.body().to_vec())?;
        ensure!(all.contains("<a href=/Hill>Hill</a>") && all.contains("<a href=/Lake>Lake</a>"), "{all}");
        self.ask("GET /Lake/edit", "", b"")?;
        Ok(())
    }

    fn of_two_writers_one_is_told(&mut self) -> Result<()> {
        let only_new = "If-Match: \"0\"\r\n";
        ensure!(self.ask("PUT /Both", only_new, b"first")?.status == 201);
        ensure!(self.ask("PUT /Both", only_new, b"second")?.status == 412);
        ensure!(self.ask("PUT /Both", "If-Match: \"1\"\r\n", b"third")?.status == 204);
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let saved = self.ask("POST /Both", form, b"base=2&text=a+lake%0D%0Aof+forms")?;
        ensure!(saved.status == 303 && saved.header("location") == Some("/Both"));
        ensure!(self.ask("GET /Both/raw", "", b"")?.body() == b"a lake\nof forms");
        ensure!(self.ask("POST /Both", form, b"base=2&text=late")?.status == 409);
        ensure!(self.ask("POST /Both", form, b"text=late")?.status == 400);
        Ok(())
    }

    fn old_versions_are_kept_and_the_oldest_go(&mut self) -> Result<()> {
        for version in 2..=25 {
            ensure!(self.ask("PUT /Hill", "", format!("version {version}").as_bytes())?.status == 204);
        }
        ensure!(self.ask("GET /Hill/history/6", "", b"")?.body() == b"version 6");
        ensure!(self.ask("GET /Hill/history/5", "", b"")?.status == 404, "20 versions are kept");
        self.ask("GET /Hill/history", "", b"")?;
        Ok(())
    }

    fn faults_have_words(&mut self) -> Result<()> {
        for (line, status) in [
            ("GET /a--b", 400),
            ("GET /a.b", 400),
            ("GET /Nothing/history", 404),
            ("GET /Hill/history/x", 404),
            ("DELETE /Nothing", 404),
            ("PATCH /Hill", 405),
        ] {
            let reply = self.ask(line, "", b"")?;
            ensure!(reply.status == status, "{line}: {}", reply.status);
        }
        let name = |len: usize| format!("PUT /{}", "n".repeat(len));
        ensure!(self.ask(&name(64), "", b"")?.status == 201);
        ensure!(self.ask(&name(65), "", b"")?.status == 400);
        ensure!(self.ask(&name(64).replace("PUT", "DELETE"), "", b"")?.status == 204);
        ensure!(self.ask("PUT /Both", "", &vec![b'x'; 256 << 10])?.status == 204);
        // The rest of what is too much is not read: the connection ends.
        let above = put("/Both", &vec![b'x'; (256 << 10) + 1]);
        ensure!(HttpClient::connect(self.address)?.exchange(above)?.status == 413);
        Ok(())
    }
}

/// Thirty clients at once, each with a page of its own.
fn many_at_once(address: SocketAddr) -> Result<()> {
    let mut clients: Vec<HttpClient> = (0..30).map(|_| HttpClient::connect(address)).collect::<Result<_>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(put(&format!("/Page{number}"), format!("page {number}").as_bytes()))?;
    }
    for client in &mut clients {
        ensure!(client.reply(false)?.status == 201);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let text = client.exchange(request(&format!("GET /Page{number}/raw"), "", b""))?;
        ensure!(text.body() == format!("page {number}").as_bytes());
        ensure!(client.exchange(request(&format!("DELETE /Page{number}"), "", b""))?.status == 204);
    }
    Ok(())
}
