//! `wasi:cli` and `wasi:random`.

use futures::join;
use wasip3::cli::{environment, stderr, stdin, stdout, terminal_stdin, terminal_stdout};
use wasip3::random::{insecure, insecure_seed, random};
use wasip3::wit_bindgen::StreamResult;
use wasip3::wit_stream;

pub async fn check() {
    assert_eq!(environment::get_initial_cwd(), None);
    assert!(environment::get_environment().contains(&("WORD".into(), "value=1".into())));
    assert_eq!(environment::get_arguments()[1..], ["cli", "two words", ""]);
    assert!(terminal_stdin::get_terminal_stdin().is_none());
    assert!(terminal_stdout::get_terminal_stdout().is_none());

    // Each half may be dropped before anything was done with it.
    let (input, ended) = stdin::read_via_stream();
    drop(input);
    ended.await.expect("nothing went wrong");

    // Several streams of one output, one after the other and beside each other.
    for text in ["out 1\n", "out 2\n"] {
        say(stdout::write_via_stream, text).await;
    }
    say(stderr::write_via_stream, "err\n").await;
    let (mut first, first_reader) = wit_stream::new();
    let (mut second, second_reader) = wit_stream::new();
    let (one, two) = (stdout::write_via_stream(first_reader), stdout::write_via_stream(second_reader));
    assert_eq!(first.write(b"one\n".to_vec()).await.0, StreamResult::Complete(4));
    assert_eq!(second.write(b"two\n".to_vec()).await.0, StreamResult::Complete(4));
    drop((first, second));
    one.await.expect("nothing went wrong");
    two.await.expect("nothing went wrong");
}

type Write = fn(
    wasip3::wit_bindgen::StreamReader<u8>,
) -> wasip3::wit_bindgen::FutureReader<Result<(), wasip3::cli::types::ErrorCode>>;

async fn say(write: Write, text: &str) {
    let (mut writer, reader) = wit_stream::new();
    let told = write(reader);
    assert!(writer.write_all(text.as_bytes().to_vec()).await.is_empty());
    drop(writer);
    told.await.expect("nothing went wrong");
}

/// Passes standard input on without touching it.
pub async fn copy() {
    let (input, ended) = stdin::read_via_stream();
    stdout::write_via_stream(input).await.expect("it is written");
    ended.await.expect("it was read");
}

/// Writes standard input in capitals, as it comes.
pub async fn upper() {
    let (mut input, ended) = stdin::read_via_stream();
    let (mut output, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    loop {
        let (result, bytes) = input.read(Vec::with_capacity(1000)).await;
        if !bytes.is_empty() {
            assert!(output.write_all(bytes.to_ascii_uppercase()).await.is_empty());
        }
        if result == StreamResult::Dropped {
            break;
        }
    }
    drop(output);
    written.await.expect("it is written");
    ended.await.expect("it was read");
}

/// Output is seen while its stream is open: who sees `READY` answers.
pub async fn flush() {
    let (mut output, reader) = wit_stream::new();
    let (written, ()) = join!(async { stdout::write_via_stream(reader).await }, async {
        assert!(output.write_all(b"READY\n".to_vec()).await.is_empty());
        let (mut input, ended) = stdin::read_via_stream();
        let (result, byte) = input.read(Vec::with_capacity(1)).await;
        assert_eq!((result, &byte[..]), (StreamResult::Complete(1), &b"x"[..]));
        drop(input);
        ended.await.expect("nothing went wrong");
        drop(output);
    });
    written.expect("it is written");
}

/// Says what of the world follows from a seed and a time.
pub async fn words() {
    use wasip3::clocks::{monotonic_clock, system_clock};
    println!("{:x?}", random::get_random_bytes(8));
    let start = monotonic_clock::now();
    let (early, late) = (monotonic_clock::wait_for(1_000_000), monotonic_clock::wait_for(30_000_000));
    join!(early, late);
    println!("{} {:?}", monotonic_clock::now() - start, system_clock::now());
}

pub fn random() {
    assert!(random::get_random_bytes(0).is_empty());
    assert_eq!(random::get_random_bytes(100).len(), 100);
    assert_ne!(random::get_random_bytes(16), random::get_random_bytes(16));
    assert_ne!(random::get_random_u64(), random::get_random_u64());
    assert_eq!(insecure::get_insecure_random_bytes(100).len(), 100);
    assert_ne!(insecure::get_insecure_random_u64(), insecure::get_insecure_random_u64());
    assert_eq!(insecure_seed::get_insecure_seed(), insecure_seed::get_insecure_seed());
    // It is fewer than were asked for, and some.
    let many = random::get_random_bytes(u64::MAX).len();
    assert!(many > 0, "{many}");
}

/// Waits for what only it could bring about itself.
pub async fn deadlock() {
    let (writer, mut reader) = wit_stream::new::<u8>();
    let next = reader.next().await;
    drop(writer);
    unreachable!("{next:?}");
}

pub fn spin() {
    let mut count = 0u64;
    loop {
        count = std::hint::black_box(count + 1);
    }
}

/// Two tasks that answer each other by a stream each, many times.
pub async fn chatter() {
    let (mut ask, mut asked) = wit_stream::new::<u8>();
    let (mut tell, mut told) = wit_stream::new::<u8>();
    let answer = async {
        while let Some(byte) = asked.next().await {
            assert!(tell.write_one(byte.wrapping_add(1)).await.is_none());
        }
        drop(tell);
    };
    let questions = async {
        for round in 0..10_000u32 {
            let byte = (round % 256) as u8;
            assert!(ask.write_one(byte).await.is_none());
            assert_eq!(told.next().await, Some(byte.wrapping_add(1)));
        }
        drop(ask);
        assert_eq!(told.next().await, None);
    };
    join!(answer, questions);
}
