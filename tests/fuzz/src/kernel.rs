//! The kernel: calls of a guest, and kernels from bytes.

mod call;
mod turn;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_kernel::fs::BundleFiles;
use refrain_kernel::outbound::{Host, PortRange, Rule};
use refrain_kernel::{Kernel, Outbound};
use refrain_wire::Protocol;

use crate::input::Input;
use turn::{Program, Session, Turn};

/// How many turns a kernel is taken through.
const MAX_TURNS: usize = 40;

/// The program that a group begins with.
fn first() -> Program {
    let rule = |host, protocol| Rule { host, ports: PortRange::ALL, protocol, proxy_header: None };
    let name = |name| Host::name(name).expect("a name");
    let config = GuestConfig {
        args: vec![b"guest".to_vec()],
        env: vec![b"A=1".to_vec()],
        ports: vec![
            GuestPort { port: 80, datagram: false, pass: true },
            GuestPort { port: 53, datagram: true, pass: false },
        ],
        max_descriptors: 24,
        max_flows: 6,
        socket_buffer_bytes: 1000,
        socket_buffers_bytes: 4000,
        files_bytes: 1 << 18,
        max_inodes: 10_000,
        outbound: Outbound::new(vec![
            rule(name("here.example"), Protocol::Tcp),
            rule(name("here.example"), Protocol::Udp),
            rule(Host::Any, Protocol::Tcp),
        ]),
        max_outward: 6,
        log_lines_per_second: 20,
        restart: RestartPolicy::OnFailure,
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
    };
    Program { config, files: files([("/etc/motd", "hello"), ("/srv/a/b/c", "deep"), ("/empty", "")]) }
}

/// One that takes over: less room, and other files in the same places.
fn second() -> Program {
    let mut config = first().config;
    config.ports.truncate(1);
    (config.files_bytes, config.max_inodes) = (1 << 16, 12);
    Program { config, files: files([("/etc/motd", "other"), ("/srv/a", "a file"), ("/a/b/new", "")]) }
}

fn files<const N: usize>(files: [(&str, &'static str); N]) -> BundleFiles {
    BundleFiles::new(files.map(|(path, text)| (path.into(), Bytes::from_static(text.as_bytes())))).expect("good paths")
}

/// Batches and calls of a guest, given to two kernels: they answer alike and stay equal, though one is read back from its
/// bytes, or from those of a checkpoint, between turns.
pub fn kernel_calls(data: &[u8]) {
    let mut input = Input::new(data);
    let (first, second) = (first(), second());
    let (mut steady, mut reloaded) = (Session::new(&first, &second), Session::new(&first, &second));
    for _ in 0..MAX_TURNS {
        if input.is_empty() {
            break;
        }
        let reload = input.below(4);
        let turn = Turn::of(&mut input);
        match reload {
            1 => reloaded.kernel = from_bytes(&reloaded.kernel, reloaded.program),
            2 => reloaded.kernel = from_checkpoint(&reloaded.kernel, reloaded.program),
            _ => {}
        }
        assert_eq!(steady.run(&turn), reloaded.run(&turn));
        assert_eq!(steady.kernel.encode(), reloaded.kernel.encode());
        assert_eq!(steady.kernel.state_digest([0; 32]), reloaded.kernel.state_digest([0; 32]));
        let config = &steady.program.config;
        assert!(steady.kernel.descriptor_count() <= config.max_descriptors);
        assert!(steady.kernel.fs().inodes_made() <= config.max_inodes);
    }
}

fn from_bytes(kernel: &Kernel, program: &Program) -> Kernel {
    let bytes = kernel.encode();
    let read = Kernel::decode(&bytes, program.config.clone(), &program.files).expect("its own bytes");
    assert_eq!(read.encode(), bytes);
    read
}

fn from_checkpoint(kernel: &Kernel, program: &Program) -> Kernel {
    let mut contents = BTreeMap::new();
    let bytes = kernel.snapshot().encode(&mut |digest, content| {
        assert_eq!(*blake3::hash(content).as_bytes(), digest);
        contents.insert(digest, content.to_vec());
    });
    let decode = |find: &mut dyn FnMut(&[u8; 32]) -> Option<Vec<u8>>| {
        Kernel::decode_parts(&bytes, program.config.clone(), &program.files, find)
    };
    let read = decode(&mut |digest| contents.get(digest).cloned()).expect("its own parts");
    assert_eq!(read.encode(), kernel.encode());
    assert!(contents.is_empty() || decode(&mut |_| None).is_err(), "content is missing");
    read
}

/// A kernel from bytes that nobody checked: it is refused, or it is written as it would be read again.
pub fn kernel_bytes(data: &[u8]) {
    let Program { config, files } = first();
    let pieces = [b"some content".to_vec(), vec![0; 70]];
    let mut content = |digest: &[u8; 32]| Some(pieces[usize::from(digest[0] & 1)].clone());
    let whole = Kernel::decode(data, config.clone(), &files);
    let parts = Kernel::decode_parts(data, config.clone(), &files, &mut content);
    for kernel in [whole, parts].into_iter().flatten() {
        let bytes = kernel.encode();
        let again = Kernel::decode(&bytes, config.clone(), &files).expect("its own bytes");
        assert_eq!(again.encode(), bytes);
        assert_eq!(again.state_digest([0; 32]), kernel.state_digest([0; 32]));
    }
}
