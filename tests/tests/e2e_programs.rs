//! SQLite and Lua as replicated servers, with clients that do not notice that replicas die.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use refrain_tests::dialogue::Dialogue;
use refrain_tests::programs::Program;
use refrain_tests::server::{Server, Site};

/// All replicas say that their whole states are equal.
fn audit(server: &Server, service: &str) -> Result<()> {
    server.rctl_json(&["service", "audit", service])?;
    server.until_equal(service)?;
    Ok(())
}

fn kill(server: &Server, service: &str, seat: usize) -> Result<()> {
    server.rctl_json(&["service", "kill-replica", service, "--seat", &seat.to_string()])?;
    Ok(())
}

/// A client of the SQL shell.
struct Sql(Dialogue);

impl Sql {
    fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(Dialogue::connect(address)?))
    }

    fn say(&mut self, statement: &str) -> Result<()> {
        self.0.say(format!("{statement}\n"))
    }

    /// The rows of the next answer, and its last line.
    fn answer(&mut self) -> Result<(Vec<String>, String)> {
        let mut lines = self.0.lines_until(|line| line.starts_with("-- "))?;
        let last = lines.pop().unwrap_or_default();
        Ok((lines, last))
    }

    fn ask(&mut self, statement: &str) -> Result<(Vec<String>, String)> {
        self.say(statement)?;
        self.answer()
    }

    /// A statement that is to end like this.
    fn expect(&mut self, statement: &str, last: &str) -> Result<Vec<String>> {
        let (rows, end) = self.ask(statement)?;
        ensure!(end == last, "{statement}: {end} instead of {last}");
        Ok(rows)
    }
}

fn sqlite(purpose: &str) -> Result<Option<Site>> {
    Program::SqliteShell.site(purpose)
}

#[test]
fn the_sql_shell_answers_with_rows_and_words() -> Result<()> {
    let Some(site) = sqlite("sql-words")? else { return Ok(()) };
    let server = site.start()?;
    let mut sql = Sql::connect(server.address("sqlite-shell"))?;
    sql.expect("CREATE TABLE lake (id INTEGER PRIMARY KEY, name TEXT UNIQUE, depth REAL, raw BLOB);", "-- 0 changes")?;
    sql.expect(
        "INSERT INTO lake VALUES (1, 'tab\there', 1.5, x'00ff'),\n(2, '-- minus', NULL, NULL);",
        "-- 2 changes",
    )?;
    let rows = sql.expect("SELECT * FROM lake ORDER BY id;", "-- 2 rows")?;
    ensure!(rows == ["1\ttab\\there\t1.5\t\\x00ff", "2\t-- minus\t\\N\t\\N"], "{rows:?}");
    let rows = sql.expect("SELECT name FROM lake WHERE id = 2; SELECT 1;", "-- 1 row")?;
    ensure!(rows == ["\\-- minus"], "a row is never taken for a last line: {rows:?}");
    ensure!(sql.answer()? == (vec!["1".to_owned()], "-- 1 row".to_owned()));
    sql.expect("SELECT * FROM hill;", "-- error: no such table: hill")?;
    sql.expect("INSERT INTO lake (name) VALUES ('-- minus');", "-- error: UNIQUE constraint failed: lake.name")?;
    sql.expect("ATTACH 'other.db' AS other;", "-- error: not authorized")?;
    sql.expect("PRAGMA journal_mode = OFF;", "-- error: not authorized")?;
    let rows = sql.expect(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT sum(i) FROM n;",
        "-- 1 row",
    )?;
    ensure!(rows == ["500500"]);
    let large = "SELECT hex(zeroblob(3000000));";
    sql.expect(large, "-- error: string or blob too big")?;
    sql.say(&format!("SELECT '{}';", "x".repeat(256 << 10)))?;
    ensure!(sql.answer()?.1 == "-- error: a statement is longer than 256 KiB");
    audit(&server, "sqlite-shell")
}

#[test]
fn a_transaction_is_its_clients_alone_and_ends_with_it() -> Result<()> {
    let Some(site) = sqlite("sql-transactions")? else { return Ok(()) };
    let server = site.start()?;
    let address = server.address("sqlite-shell");
    let (mut one, mut other) = (Sql::connect(address)?, Sql::connect(address)?);
    one.expect("CREATE TABLE lake (name TEXT);", "-- 0 changes")?;
    one.expect("BEGIN;", "-- 0 changes")?;
    one.expect("INSERT INTO lake VALUES ('kept');", "-- 1 change")?;
    // It waits for the other's transaction, and then sees all of it.
    other.say("SELECT count(*) FROM lake;")?;
    one.expect("INSERT INTO lake VALUES ('kept too');", "-- 1 change")?;
    one.expect("COMMIT;", "-- 0 changes")?;
    ensure!(other.answer()?.0 == ["2"]);
    one.expect("BEGIN;", "-- 0 changes")?;
    one.expect("DELETE FROM lake;", "-- 2 changes")?;
    other.say("SELECT count(*) FROM lake;")?;
    drop(one);
    ensure!(other.answer()?.0 == ["2"], "what was not committed ends with its client");
    audit(&server, "sqlite-shell")
}

#[test]
fn a_database_is_whole_while_replicas_die_and_after_a_crash_of_the_whole_node() -> Result<()> {
    let Some(site) = sqlite("sql-kill")? else { return Ok(()) };
    let server = site.start()?;
    let address = server.address("sqlite-shell");
    let mut sql = Sql::connect(address)?;
    sql.expect("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER);", "-- 0 changes")?;
    sql.expect("INSERT INTO account SELECT value, 100 FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 50) SELECT value FROM n);", "-- 50 changes")?;
    for round in 0..90_u32 {
        let (from, to) = (round % 50 + 1, (round * 7 + 3) % 50 + 1);
        sql.expect("BEGIN;", "-- 0 changes")?;
        sql.expect(&format!("UPDATE account SET amount = amount - 1 WHERE id = {from};"), "-- 1 change")?;
        if round % 30 == 10 {
            kill(&server, "sqlite-shell", round as usize / 30)?;
        }
        sql.expect(&format!("UPDATE account SET amount = amount + 1 WHERE id = {to};"), "-- 1 change")?;
        sql.expect("COMMIT;", "-- 0 changes")?;
        if round % 30 == 29 {
            server.until_equal("sqlite-shell")?;
        }
    }
    ensure!(sql.expect("SELECT sum(amount) FROM account;", "-- 1 row")? == ["5000"]);
    let before = sql.expect("SELECT * FROM account ORDER BY id;", "-- 50 rows")?;
    sql.expect("BEGIN;", "-- 0 changes")?;
    sql.expect("DELETE FROM account;", "-- 50 changes")?;
    server.kill()?;
    let server = site.start()?;
    let mut sql = Sql::connect(server.address("sqlite-shell"))?;
    ensure!(sql.expect("SELECT * FROM account ORDER BY id;", "-- 50 rows")? == before);
    ensure!(sql.expect("PRAGMA integrity_check;", "-- 1 row")? == ["ok"]);
    audit(&server, "sqlite-shell")
}

/// The answer of the Lua server to a chunk: what was printed, and the result.
fn lua(client: &mut Dialogue, chunk: &str) -> Result<Vec<String>> {
    client.say(format!("{chunk}\n"))?;
    client.lines_until(|line| line.starts_with("= ") || line.starts_with("! "))
}

#[test]
fn lua_runs_chunks_catches_errors_and_goes_on() -> Result<()> {
    let Some(site) = Program::LuaServer.site("lua-words")? else { return Ok(()) };
    let server = site.start()?;
    let address = server.address("lua-server");
    let (mut one, mut other) = (Dialogue::connect(address)?, Dialogue::connect(address)?);
    let cases: [(&str, &[&str]); 18] = [
        ("1 + 1", &["= 2"]),
        ("print('a', 1); print('b')", &["> a\t1", "> b", "= "]),
        ("function double(n)\n  return 2 * n\nend", &["= "]),
        ("double(21), 'two'", &["= 42\ttwo"]),
        ("error('deep')", &["! chunk:1: deep"]),
        ("pcall(error, 'caught')", &["= false\tcaught"]),
        (
            "select(2, pcall(function() local n = nil; return n.x end))",
            &["= chunk:1: attempt to index a nil value (local 'n')"],
        ),
        ("coroutine.wrap(function() coroutine.yield(7) end)()", &["= 7"]),
        ("return return", &["! chunk:1: unexpected symbol near 'return'"]),
        ("while true do end", &["! the chunk takes too long"]),
        ("while true do pcall(function() while true do end end) end", &["! the chunk takes too long"]),
        ("while true do pcall(coroutine.wrap(function() while true do end end)) end", &["! the chunk takes too long"]),
        ("setmetatable({}, {__tostring = function() while true do end end})", &["! the chunk takes too long"]),
        ("error(setmetatable({}, {__tostring = function() while true do end end}))", &["! the chunk takes too long"]),
        ("error(setmetatable({}, {__tostring = error}))", &["! the error has no words"]),
        ("setmetatable({}, {__gc = function() while true do end end})", &["! there are no finalizers"]),
        ("string.rep('x', 100 * 1024 * 1024)", &["! not enough memory"]),
        ("count('lake') + count('lake') + total()", &["= 5"]),
    ];
    for (chunk, expected) in cases {
        let answer = lua(&mut one, chunk)?;
        ensure!(answer == expected, "{chunk}: {answer:?}");
    }
    ensure!(lua(&mut other, "double(total())")? == ["= 4"], "globals are everybody's");
    // Five thousand errors, each thrown and caught.
    let many = "local n = 0; for i = 1, 5000 do if not pcall(error, i) then n = n + 1 end end; return n";
    ensure!(lua(&mut other, many)? == ["= 5000"]);
    audit(&server, "lua-server")
}

#[test]
fn state_of_lua_outlives_replicas_and_a_crash_of_the_whole_node() -> Result<()> {
    let Some(site) = Program::LuaServer.site("lua-kill")? else { return Ok(()) };
    let server = site.start()?;
    let mut client = Dialogue::connect(server.address("lua-server"))?;
    for round in 1..=60 {
        ensure!(lua(&mut client, "count('round')")? == [format!("= {round}")]);
        ensure!(lua(&mut client, "math.random() < 2, now() > 0")? == ["= true\ttrue"]);
        if round % 20 == 10 {
            kill(&server, "lua-server", round / 20)?;
        }
        if round % 20 == 0 {
            server.until_equal("lua-server")?;
        }
    }
    server.kill()?;
    let server = site.start()?;
    let mut client = Dialogue::connect(server.address("lua-server"))?;
    ensure!(lua(&mut client, "count('round')")? == ["= 61"]);
    audit(&server, "lua-server")
}
