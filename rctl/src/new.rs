//! `rctl new`: a project folder of an HTTP service in one of the languages, which `rctl service build` builds and
//! `refrain up` runs.
//!
//! Everything that is written is in this program: the templates of `rctl/templates/`, the Rust SDK of `sdk/rust`, the
//! WIT packages of `wit/`. So a project begins without a network and without a checkout; its own build fetches published
//! packages alone.

mod template;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use refrain_service::Name;
use serde::Serialize;

use crate::error::RctlError;
use crate::human::count;
use crate::output::Output;
use crate::table::printable;
use template::Made;

/// What a service is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// With refrain-sdk; needs Rust's target wasm32-wasip2
    Rust,
    /// With a small header; needs clang, lld and wasi-libc
    C,
    /// Needs Node.js and npm
    Js,
    /// Needs Python and pip
    Python,
}

/// What was made.
#[derive(Serialize)]
struct Written {
    service: String,
    lang: Language,
    dir: String,
    files: Vec<String>,
}

/// Makes the folder. It may be there already, but nothing in it.
pub fn run(lang: Language, name: &Name, dir: Option<&Path>, sdk: Option<&Path>) -> Result<Output, RctlError> {
    let dir = dir.map_or_else(|| PathBuf::from(name.as_str()), Path::to_owned);
    if sdk.is_some() && lang != Language::Rust {
        return Err(RctlError::NoSdk);
    }
    let files = template::files(lang, name, sdk.map(found).transpose()?.as_deref());
    empty(&dir)?;
    for file in &files {
        write(&dir, file)?;
    }
    let written = Written {
        service: format!("default/{name}"),
        lang,
        dir: dir.display().to_string(),
        files: files.iter().map(|file| file.path.clone()).collect(),
    };
    let text = text(&written);
    Ok(Output::value(&written, move |_| text.clone()))
}

/// The SDK's folder as a project may name it, wherever the project is.
fn found(sdk: &Path) -> Result<String, RctlError> {
    let manifest = sdk.join("Cargo.toml");
    fs::metadata(&manifest).map_err(|source| RctlError::Read { path: manifest, source })?;
    let absolute = fs::canonicalize(sdk).map_err(|source| RctlError::Read { path: sdk.to_owned(), source })?;
    Ok(absolute.display().to_string())
}

fn empty(dir: &Path) -> Result<(), RctlError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(RctlError::NotEmpty { path: dir.to_owned() }),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RctlError::Read { path: dir.to_owned(), source }),
    }
}

fn write(dir: &Path, file: &Made) -> Result<(), RctlError> {
    let path = dir.join(&file.path);
    let folder = path.parent().unwrap_or(dir);
    let opened = fs::create_dir_all(folder).and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path));
    let written = opened.and_then(|mut opened| opened.write_all(file.text.as_bytes()));
    written.map_err(|source| RctlError::Write { path, source })
}

fn text(written: &Written) -> String {
    let dir = printable(&written.dir);
    format!(
        "made {} in {dir} ({})\n\nnext:\n  cd {dir}\n  rctl service build\n  refrain up .\n  curl http://127.0.0.1:8000/\n",
        written.service,
        count(written.files.len(), "file"),
    )
}
