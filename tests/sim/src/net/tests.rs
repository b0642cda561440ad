//! What the network promises: order, what a cut does, what a reset does, and that the other direction is not touched.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::SimNet;
use super::gates::{Gates, Host};
use crate::dice::Dice;

const A: Host = Host(1);
const B: Host = Host(2);
const PORT: u16 = 7100;

type Seen = Rc<RefCell<Vec<String>>>;

/// `n1` sends a letter each 10 ms, `n2` answers with the letter in upper case; `faults` acts at each millisecond.
fn exchange(faults: impl Fn(u64, &Gates)) -> Vec<String> {
    let gates = Gates::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .simulation_duration(Duration::from_secs(60))
        .min_message_latency(Duration::from_millis(4))
        .max_message_latency(Duration::from_millis(8))
        .build();
    let seen = Seen::default();
    let (log, server) = (seen.clone(), gates.clone());
    sim.host(B.to_string(), move || answer(SimNet::new(B, server.clone(), Dice::new(2)), log.clone()));
    let (log, client) = (seen.clone(), gates.clone());
    sim.client(A.to_string(), ask(SimNet::new(A, client, Dice::new(1)), log));
    for milli in 0.. {
        faults(milli, &gates);
        if sim.step().unwrap() {
            break;
        }
    }
    seen.take()
}

async fn answer(net: SimNet, log: Seen) -> turmoil::Result {
    let mut listener = net.bind(&B.address(PORT)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut byte = [0];
        while matches!(stream.read(&mut byte).await, Ok(1)) {
            log.borrow_mut().push(format!("b got {}", char::from(byte[0])));
            if stream.write_all(&[byte[0].to_ascii_uppercase()]).await.is_err() {
                break;
            }
        }
    }
}

async fn ask(net: SimNet, log: Seen) -> turmoil::Result {
    let mut stream = net.connect(&B.address(PORT)).await?;
    for letter in b'a'..=b'e' {
        let asked = async {
            stream.write_all(&[letter]).await?;
            stream.read_u8().await
        };
        match tokio::time::timeout(Duration::from_secs(5), asked).await {
            Ok(Ok(answer)) => log.borrow_mut().push(format!("a got {}", char::from(answer))),
            Ok(Err(error)) => {
                log.borrow_mut().push(format!("a failed: {}", error.kind()));
                stream = net.connect(&B.address(PORT)).await?;
            }
            Err(_) => {
                log.borrow_mut().push("a gave up".into());
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn of<'a>(seen: &'a [String], who: &str) -> Vec<&'a str> {
    seen.iter().filter_map(|line| line.strip_prefix(who)).collect()
}

#[test]
fn bytes_arrive_in_order() {
    let seen = exchange(|_, _| {});
    assert_eq!(of(&seen, "a got "), ["A", "B", "C", "D", "E"]);
}

#[test]
fn what_a_cut_holds_back_arrives_when_it_is_healed() {
    let seen = exchange(|milli, gates| match milli {
        40 => gates.cut(A, B),
        2000 => gates.heal(A, B),
        _ => {}
    });
    assert_eq!(of(&seen, "a got "), ["A", "B", "C", "D", "E"]);
}

#[test]
fn a_cut_of_one_direction_lets_the_other_through() {
    let seen = exchange(|milli, gates| {
        if milli == 40 {
            gates.cut(B, A);
        }
    });
    assert_eq!(seen.last().map(String::as_str), Some("a gave up"));
    assert_eq!(of(&seen, "b got ").len(), of(&seen, "a got ").len() + 1, "the question arrived, the answer did not");
}

#[test]
fn a_pause_stops_both_directions_and_ends() {
    let seen = exchange(|milli, gates| match milli {
        40 => gates.pause(B),
        3000 => gates.resume(B),
        _ => {}
    });
    assert_eq!(of(&seen, "a got "), ["A", "B", "C", "D", "E"]);
}

#[test]
fn a_reset_ends_the_connection_for_both_and_the_next_one_works() {
    let seen = exchange(|milli, gates| {
        if milli == 40 {
            gates.reset(A, B);
        }
    });
    assert_eq!(of(&seen, "a failed: ").len(), 1, "{seen:?}");
    assert_eq!(of(&seen, "a got ").len(), 4);
}
