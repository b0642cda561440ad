//! Servers in C++, Rust and Go under `refrain up`: they answer as natively, go on while replicas die, and all replicas are
//! equal.

use anyhow::{Result, ensure};
use refrain_tests::bus::{BusClient, message_bus_scenario};
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::jobs::{JobClient, job_queue_scenario};
use refrain_tests::native::{Example, NativeServer};
use refrain_tests::server::{Server, Site};
use refrain_tests::wiki::wiki_scenario;

fn kill(server: &Server, service: &str, seat: usize) -> Result<()> {
    server.rctl_json(&["service", "kill-replica", service, "--seat", &seat.to_string()])?;
    Ok(())
}

/// All replicas say that their whole states are equal.
fn audit(server: &Server, service: &str) -> Result<()> {
    server.rctl_json(&["service", "audit", service])?;
    server.until_equal(service)?;
    Ok(())
}

#[test]
fn the_replicated_job_queue_answers_as_the_native_one() -> Result<()> {
    let native = NativeServer::start(Example::JobQueue)?;
    let server = Site::of("up-jobs", &[Example::JobQueue])?.start()?;
    ensure!(job_queue_scenario(server.address("job-queue"))? == job_queue_scenario(native.address())?);
    audit(&server, "job-queue")
}

#[test]
fn jobs_are_done_once_each_while_replicas_die() -> Result<()> {
    let server = Site::of("kill-jobs", &[Example::JobQueue])?.start()?;
    let address = server.address("job-queue");
    let (mut boss, mut worker) = (JobClient::connect(address)?, JobClient::connect(address)?);
    let mut done = Vec::new();
    for round in 0..3 {
        for job in 0..100 {
            boss.put(&format!("job {round} {job}"))?;
        }
        kill(&server, "job-queue", round)?;
        for _ in 0..100 {
            let (number, body) = worker.reserve()?;
            ensure!(worker.ask(&format!("delete {number}"))? == "DELETED");
            done.push(body);
        }
        server.until_equal("job-queue")?;
    }
    let expected: Vec<String> =
        (0..3).flat_map(|round| (0..100).map(move |job| format!("job {round} {job}"))).collect();
    ensure!(done == expected, "jobs were lost, or done twice, or out of order");
    ensure!(worker.ask("reserve-with-timeout 0")? == "TIMED_OUT");
    audit(&server, "job-queue")
}

#[test]
fn jobs_outlive_a_crash_of_the_whole_node() -> Result<()> {
    let site = Site::of("crash-jobs", &[Example::JobQueue])?;
    let server = site.start()?;
    let mut boss = JobClient::connect(server.address("job-queue"))?;
    let numbers: Vec<u64> = (0..50).map(|job| boss.put(&format!("job {job}"))).collect::<Result<_>>()?;
    server.kill()?;
    let server = site.start()?;
    let mut worker = JobClient::connect(server.address("job-queue"))?;
    for (at, number) in numbers.into_iter().enumerate() {
        ensure!(worker.reserve()? == (number, format!("job {at}")));
        ensure!(worker.ask(&format!("delete {number}"))? == "DELETED");
    }
    audit(&server, "job-queue")
}

#[test]
fn the_replicated_message_bus_answers_as_the_native_one() -> Result<()> {
    let native = NativeServer::start(Example::MessageBus)?;
    let server = Site::of("up-bus", &[Example::MessageBus])?.start()?;
    ensure!(message_bus_scenario(server.address("message-bus"))? == message_bus_scenario(native.address())?);
    audit(&server, "message-bus")
}

#[test]
fn subscriptions_and_their_order_outlive_replicas() -> Result<()> {
    let server = Site::of("kill-bus", &[Example::MessageBus])?.start()?;
    let address = server.address("message-bus");
    let mut readers: Vec<BusClient> = (0..10).map(|_| BusClient::connect(address)).collect::<Result<_>>()?;
    for reader in &mut readers {
        reader.say("SUB news.> 1")?;
        reader.settle()?;
    }
    let mut writer = BusClient::connect(address)?;
    for seat in 0..3 {
        for number in 0..50 {
            writer.publish(&format!("news.{seat}"), &number.to_string())?;
            if number == 25 {
                kill(&server, "message-bus", seat)?;
            }
        }
        writer.settle()?;
        server.until_equal("message-bus")?;
    }
    for reader in &mut readers {
        for seat in 0..3 {
            for number in 0..50 {
                let (line, payload) = reader.message()?;
                ensure!(
                    line.starts_with(&format!("news.{seat} ")) && payload == number.to_string(),
                    "{line}: {payload}"
                );
            }
        }
    }
    audit(&server, "message-bus")
}

#[test]
fn the_replicated_wiki_answers_as_the_native_one() -> Result<()> {
    if !Example::Wiki.is_possible()? {
        return Ok(());
    }
    let native = NativeServer::start(Example::Wiki)?;
    let server = Site::of("up-wiki", &[Example::Wiki])?.start()?;
    ensure!(wiki_scenario(server.address("wiki"))? == wiki_scenario(native.address())?);
    audit(&server, "wiki")
}

#[test]
fn pages_of_the_wiki_outlive_replicas_and_a_crash_of_the_whole_node() -> Result<()> {
    if !Example::Wiki.is_possible()? {
        return Ok(());
    }
    let site = Site::of("kill-wiki", &[Example::Wiki])?;
    let server = site.start()?;
    let mut client = HttpClient::connect(server.address("wiki"))?;
    for number in 0..20 {
        ensure!(client.exchange(put(&format!("/Page{number}"), format!("page {number}").as_bytes()))?.status == 201);
        if number == 10 {
            kill(&server, "wiki", 1)?;
        }
    }
    audit(&server, "wiki")?;
    server.kill()?;
    let server = site.start()?;
    let mut client = HttpClient::connect(server.address("wiki"))?;
    for number in 0..20 {
        let page = client.exchange(request(&format!("GET /Page{number}/raw"), "", b""))?;
        ensure!(page.body() == format!("page {number}").as_bytes(), "page {number} is not what it was");
    }
    audit(&server, "wiki")
}
