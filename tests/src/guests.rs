//! Small guests as text: ones that behave badly, and one that tells what the host gives it.

/// Computes for ever without waiting.
pub const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $on (br $on))))"#;

/// Traps at once.
pub const TRAP: &str = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;

/// Takes memory until there is none, and then cannot go on.
pub const ALLOCATE: &str = r#"(module (memory (export "memory") 1)
  (func (export "_start")
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    unreachable))"#;

/// Ends with exit code 3.
pub const EXIT: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const 3))))"#;

/// Logs an empty line, one with a word and one more empty one, then ends with exit code 3.
pub const EMPTY_LINES: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\07\00\00\00")
  (data (i32.const 16) "\nword\n\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 3))))"#;

/// Imports what nobody provides.
pub const UNKNOWN_IMPORT: &str = r#"(module
  (import "env" "launch_rockets" (func))
  (memory (export "memory") 1)
  (func (export "_start")))"#;

/// A library.
pub const NO_START: &str = r#"(module (memory (export "memory") 1) (func (export "run")))"#;

/// Serves one client after another on the listener in descriptor 3: for each byte it answers with 8 random bytes and
/// the 8 of the clock.
pub const ORACLE: &str = r#"(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  ;; 0: descriptor; 16: pointer and length; 24: count; 28: flags; 64: the bytes.
  (data (i32.const 16) "\40\00\00\00")
  (func $serve (param $client i32)
    (loop $next
      (i32.store (i32.const 20) (i32.const 1))
      (if (call $recv (local.get $client) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 24) (i32.const 28))
        (then return))
      (if (i32.eqz (i32.load (i32.const 24))) (then return))
      (drop (call $random (i32.const 64) (i32.const 8)))
      (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 72)))
      (i32.store (i32.const 20) (i32.const 16))
      (br_if $next
        (i32.eqz (call $send (local.get $client) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 24))))))
  (func (export "_start")
    (loop $next
      (if (i32.eqz (call $accept (i32.const 3) (i32.const 0) (i32.const 0)))
        (then
          (call $serve (i32.load (i32.const 0)))
          (drop (call $close (i32.load (i32.const 0))))))
      (br $next))))"#;

/// Writes `listening` to standard output, then serves one client after another on the listener in descriptor 3: waits
/// for a byte, writes `client` to standard error, answers `PONG` and closes.
pub const TALKER: &str = r#"(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  ;; 0: descriptor; 4: count; 8: flags; then pointers and lengths of a byte to read and of the texts.
  (data (i32.const 16) "\60\00\00\00\01\00\00\00")
  (data (i32.const 24) "\40\00\00\00\0a\00\00\00")
  (data (i32.const 32) "\50\00\00\00\07\00\00\00")
  (data (i32.const 40) "\5c\00\00\00\04\00\00\00")
  (data (i32.const 64) "listening\0a")
  (data (i32.const 80) "client\0a")
  (data (i32.const 92) "PONG")
  (func $serve (param $client i32)
    (if (call $recv (local.get $client) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 4) (i32.const 8))
      (then return))
    (if (i32.eqz (i32.load (i32.const 4))) (then return))
    (drop (call $write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 4)))
    (drop (call $send (local.get $client) (i32.const 40) (i32.const 1) (i32.const 0) (i32.const 4))))
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 4)))
    (loop $next
      (if (i32.eqz (call $accept (i32.const 3) (i32.const 0) (i32.const 0)))
        (then
          (call $serve (i32.load (i32.const 0)))
          (drop (call $close (i32.load (i32.const 0))))))
      (br $next))))"#;

/// A manifest of [`TALKER`] under a name, with more lines at its end.
pub fn talker_manifest(name: &str, more: &str) -> String {
    let port = "[[ports]]\nname = \"main\"\nguest = 7\nlisten = \"127.0.0.1:0\"\npass = true\n";
    format!("{}{port}{more}", manifest(name, ""))
}

/// A manifest with three replicas whose guest is never started again.
pub fn manifest(name: &str, limits: &str) -> String {
    format!(
        "name = \"{name}\"\nnamespace = \"tests\"\nversion = \"0.1.0\"\nmodule = \"{name}.wasm\"\nreplicas = 3\n\
         [limits]\n{limits}\n[restart]\npolicy = \"never\"\n"
    )
}

/// The manifest of [`ORACLE`].
pub fn oracle_manifest() -> String {
    format!("{}[[ports]]\nname = \"main\"\nguest = 7\nlisten = \"127.0.0.1:0\"\npass = true\n", manifest("oracle", ""))
}
