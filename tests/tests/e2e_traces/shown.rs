//! `rctl trace`: batches of a server without a collector.

use anyhow::{Context as _, Result, ensure};
use refrain_tests::wait;
use serde_json::Value;

use super::{ALL, KV, site, write_keys};

#[test]
fn rctl_shows_the_last_batches_as_trees_without_a_collector() -> Result<()> {
    let site = site("shown", &ALL)?;
    let server = site.start()?;
    server.until_equal(KV)?;
    write_keys(&server, 5)?;
    let traces = wait::until("two batches with an answer", || {
        // There is none at all before the collector has come around.
        let Ok(shown) = server.rctl_json(&["trace", KV, "--last", "12"]) else { return Ok(None) };
        let mut traces = shown["traces"].as_array().cloned().unwrap_or_default();
        let names = |trace: &Value| trace["spans"].as_array().cloned().unwrap_or_default();
        let answered = |trace: &Value| names(trace).iter().any(|span| span["name"] == "proxy.egress");
        // Connections that open and close are batches too.
        traces.retain(answered);
        Ok((traces.len() >= 2).then(|| traces.split_off(traces.len() - 2)))
    })?;
    ensure!(traces[0]["position"].as_u64() < traces[1]["position"].as_u64(), "the newest is last: {traces:#?}");
    let id = traces[1]["trace"].as_str().context("an id")?;
    let output = server.rctl(&["trace", id])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}");
    for part in ["examples/kv-server, position ", "batch ", "├─ proxy.ingress", "│  ├─ sequencer.append", "engine.turn"]
    {
        ensure!(text.contains(part), "{part} is not in\n{text}");
    }
    ensure!(text.lines().filter(|line| line.contains("engine.turn")).count() == 3, "{text}");
    ensure!(text.contains("└─ proxy.egress"), "{text}");
    Ok(())
}

#[test]
fn rctl_says_why_there_is_nothing_to_show() -> Result<()> {
    let told = |variables: &[(&str, &str)], arguments: &[&str], code: i32| -> Result<String> {
        let site = site("nothing-shown", variables)?;
        let server = site.start()?;
        server.until_equal(KV)?;
        let output = server.rctl(arguments)?;
        ensure!(output.status.code() == Some(code), "{output:?}");
        Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
    };
    let off = told(&[("OTEL_SDK_DISABLED", "true")], &["trace"], 0)?;
    ensure!(off.starts_with("node 1 has no spans: it traces nothing (OTEL_SDK_DISABLED"), "{off}");
    let other = told(&ALL, &["trace", "f9cdfd195e1e0a1a710c470f667e35f4"], 1)?;
    ensure!(other.contains("no spans of trace f9cdfd195e1e0a1a710c470f667e35f4: it keeps its newest 4096"), "{other}");
    let unknown = told(&ALL, &["trace", "examples/nothing"], 1)?;
    ensure!(unknown.contains("no service is called examples/nothing; there are: examples/kv-server"), "{unknown}");
    Ok(())
}
