//! Instrumenting with the `wasm-opt` of this machine, and clear words where there is none.

use std::ffi::OsString;
use std::path::Path;

use refrain_inspect::asyncify::checkpointable;
use refrain_instrument::{InstrumentError, WASM_OPT_VARIABLE, WasmOpt};

fn wasm_opt() -> Option<WasmOpt> {
    let folder = std::env::current_dir().unwrap();
    match WasmOpt::find(std::env::var_os(WASM_OPT_VARIABLE), std::env::var_os("PATH"), &folder) {
        Ok(tool) => Some(tool),
        Err(error) if std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

const WAITS: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $deeper (param i32) (result i32)
    (i32.add (local.get 0) (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (local.get 0))))
  (func (export "_start") (drop (call $deeper (i32.const 128)))))"#;

#[test]
fn an_instrumented_module_can_be_saved_and_the_same_bytes_come_out_again() {
    let Some(tool) = wasm_opt() else { return };
    assert!(tool.version().unwrap().starts_with(|first: char| first.is_ascii_digit()));
    let module = wat(WAITS);
    assert!(checkpointable(&module).is_err());
    let instrumented = tool.instrument(&module).unwrap();
    assert!(checkpointable(&instrumented).is_ok());
    assert_eq!(tool.instrument(&module).unwrap(), instrumented);
    let again = tool.instrument(&instrumented).unwrap_err();
    assert!(matches!(again, InstrumentError::Already), "{again}");
}

#[test]
fn what_cannot_be_instrumented_is_refused_with_a_reason() {
    let Some(tool) = wasm_opt() else { return };
    assert!(matches!(tool.instrument(b"no"), Err(InstrumentError::Module(_))));
    let table = WAITS.replace(
        "(func (export",
        "(table $t 1 funcref) (func (export \"set\") (table.set $t (i32.const 0) (ref.null func))) (func (export",
    );
    let error = tool.instrument(&wat(&table)).unwrap_err();
    assert_eq!(error.to_string(), "guests of this module cannot be saved in checkpoints: its code changes table 0");
}

#[test]
fn it_is_looked_for_where_it_may_be_and_its_absence_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let (bin, deep) = (folder.path().join("bin"), folder.path().join("a/b"));
    let npm = folder.path().join("node_modules/.bin");
    [&bin, &deep, &npm].iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
    let find = |named: Option<&str>, path: &Path| {
        WasmOpt::find(named.map(OsString::from), Some(path.as_os_str().to_owned()), &deep)
    };
    let error = find(None, &bin).unwrap_err();
    assert!(error.to_string().contains("npm install binaryen@132.0.0"), "{error}");
    std::fs::write(npm.join("wasm-opt"), "").unwrap();
    assert_eq!(find(Some(""), &bin).unwrap(), WasmOpt::at(npm.join("wasm-opt")));
    std::fs::write(bin.join("wasm-opt"), "").unwrap();
    assert_eq!(find(None, &bin).unwrap(), WasmOpt::at(bin.join("wasm-opt")));
    assert_eq!(find(Some("/other"), &bin).unwrap(), WasmOpt::at("/other".into()));
}

#[test]
fn a_program_that_cannot_be_run_or_fails_is_told() {
    let absent = WasmOpt::at("/there/is/no/wasm-opt".into()).instrument(&wat(WAITS)).unwrap_err();
    assert_eq!(absent.to_string(), "/there/is/no/wasm-opt could not be run");
    let fails = WasmOpt::at("false".into()).instrument(&wat(WAITS)).unwrap_err();
    assert!(matches!(fails, InstrumentError::Refused { .. }), "{fails}");
}
