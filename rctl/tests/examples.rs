//! The SDK and the examples of HTTP services tested by the tools of their languages, on this machine and not as Wasm.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a program in a folder of the repository; a program that is not here is told, or is a fault where all are to be.
fn passes(folder: &str, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository().join(folder));
    // Apart from the build around it.
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    let output = match command.env("PYTHONDONTWRITEBYTECODE", "1").output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{program}: {error}");
            println!("skipped: {folder}: {program}: {error}");
            return;
        }
    };
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{folder}\n{}{}", told(&output.stdout), told(&output.stderr));
}

#[test]
fn the_sdk_and_the_services_in_rust_pass_their_tests() {
    // One folder for all of them: what they depend on is built once.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    for folder in ["sdk/rust", "examples/hello-rust", "examples/gallery"] {
        passes(folder, env!("CARGO"), &["test", "--quiet", "--locked", "--target-dir", target.to_str().unwrap()]);
    }
}

#[test]
fn the_service_in_c_passes_its_tests() {
    let place = TempDir::new().unwrap();
    let program = place.path().join("answers");
    let program = program.to_str().unwrap();
    let sources = ["test/answers.c", "src/answers.c"];
    let warnings = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation"];
    passes("examples/hello-c", "cc", &[&warnings[..], &["-o", program], &sources].concat());
    if Path::new(program).exists() {
        passes("examples/hello-c", program, &[]);
    }
}

#[test]
fn the_service_in_javascript_passes_its_tests() {
    passes("examples/hello-js", "node", &["--test"]);
}

#[test]
fn the_service_in_python_passes_its_tests() {
    passes("examples/hello-python", "python3", &["-m", "unittest", "discover", "test"]);
}
