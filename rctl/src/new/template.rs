//! The files of a project: those of a template and of the example in its language, with the name of the service put in, and
//! what goes with them.
//!
//! In a template `{{name}}` is the service's name and `{{sdk}}` the folder of the Rust SDK. Its `gitignore` is written as
//! `.gitignore`, so that it does not count in this repository.

use refrain_service::Name;

use super::Language;

/// A file of a project.
#[derive(Clone)]
pub struct Made {
    /// Relative to the project's folder.
    pub path: String,
    pub text: String,
}

/// A file as it is kept here: path and text.
type Kept = (&'static str, &'static str);

/// Files of a folder of this repository.
macro_rules! kept {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../", $folder, "/", $path)))),*]
    };
}

/// What a new project has of its own, and then what it shares with the example in its language.
type Template = [&'static [Kept]; 2];

const RUST: Template = [
    kept!("rctl/templates/rust": "Cargo.toml", "README.md", "build", "gitignore", "service.toml"),
    kept!("examples/hello-rust": "src/lib.rs"),
];

const C: Template = [
    kept!("rctl/templates/c": "README.md", "gitignore", "service.toml"),
    kept!("examples/hello-c":
        "build",
        "src/answers.c",
        "src/answers.h",
        "src/app.c",
        "src/http.c",
        "src/http.h",
        "test/answers.c",
    ),
];

const JS: Template = [
    kept!("rctl/templates/js": "README.md", "build", "build.js", "gitignore", "package.json", "service.toml"),
    kept!("examples/hello-js": "src/answers.js", "src/app.js", "src/http.js", "test/answers.test.js"),
];

const PYTHON: Template = [
    kept!("rctl/templates/python": "README.md", "build", "gitignore", "requirements.txt", "service.toml"),
    kept!("examples/hello-python": "src/answers.py", "src/app.py", "src/http_service.py", "test/test_answers.py"),
];

/// The interfaces between component and host.
const WIT: &[Kept] = kept!("wit":
    "README.md",
    "deps/cli.wit",
    "deps/clocks.wit",
    "deps/filesystem.wit",
    "deps/http.wit",
    "deps/io.wit",
    "deps/random.wit",
    "deps/sockets.wit",
    "service.wit",
);

/// The SDK, of the same version as this program.
const SDK: &[Kept] = kept!("sdk/rust":
    "Cargo.toml",
    "README.md",
    "src/body.rs",
    "src/client.rs",
    "src/executor.rs",
    "src/fields.rs",
    "src/incoming.rs",
    "src/lib.rs",
    "src/logging.rs",
    "src/outgoing.rs",
    "src/reply.rs",
    "src/server.rs",
    "src/time.rs",
    "src/writer.rs",
);

/// The SDK's folder in a project.
const SDK_FOLDER: &str = "refrain-sdk";
/// In the SDK's manifest, what makes it a workspace of its own: in a project it is none.
const OWN_WORKSPACE: &str =
    "# Apart from the workspace around it: it is built for another target, and copied into projects.\n[workspace]\n\n";

/// The version of the packages in `wit/`, and the one that the JavaScript engine asks for by name. They differ in numbers
/// alone in what a service uses.
const WIT_VERSION: &str = "0.2.12";
const JS_VERSION: &str = "0.2.10";

/// All files of a project, in the order of their paths. Rust's project has the SDK in it unless `sdk` says where one is.
pub fn files(lang: Language, name: &Name, sdk: Option<&str>) -> Vec<Made> {
    let mut made = match lang {
        Language::Rust => {
            let mut made = placed(&RUST, "", name, sdk.unwrap_or(SDK_FOLDER));
            if sdk.is_none() {
                made.extend(placed(&[SDK], "refrain-sdk/", name, ""));
            }
            made
        }
        Language::C => placed(&C, "", name, ""),
        Language::Js => {
            let mut made = placed(&JS, "", name, "");
            let interfaces = placed(&[WIT], "wit/", name, "").into_iter();
            made.extend(interfaces.map(|file| Made { text: file.text.replace(WIT_VERSION, JS_VERSION), ..file }));
            made
        }
        Language::Python => [placed(&PYTHON, "", name, ""), placed(&[WIT], "wit/", name, "")].concat(),
    };
    made.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    made
}

fn placed(kept: &[&[Kept]], below: &str, name: &Name, sdk: &str) -> Vec<Made> {
    let place = |(path, text): &Kept| {
        let path = if *path == "gitignore" { ".gitignore" } else { path };
        let text = text.replace(OWN_WORKSPACE, "").replace("{{name}}", name.as_str());
        // The path of a folder as a string of TOML.
        let text = text.replace("{{sdk}}", &sdk.escape_default().to_string());
        Made { path: format!("{below}{path}"), text }
    };
    kept.iter().copied().flatten().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn on_disk(folder: &str) -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut found = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found
    }

    #[test]
    fn every_file_of_a_template_and_of_the_sdk_is_in_the_program() {
        let of_examples = |lang: &str| {
            let mut shared: BTreeSet<String> = ["src", "test"].iter().flat_map(|part| in_example(lang, part)).collect();
            shared.extend((lang == "c").then(|| "build".to_owned()));
            shared
        };
        let template = |lang: &str| &on_disk(&format!("rctl/templates/{lang}")) | &of_examples(lang);
        let mut interfaces = on_disk("wit");
        // Of commands, which bring their own.
        interfaces.retain(|path| !path.starts_with("deps-0.3/"));
        let mut sdk = on_disk("sdk/rust");
        // Of the SDK as a crate of its own.
        sdk.retain(|path| !(path.starts_with("target/") || path == "Cargo.lock" || path == ".gitignore"));
        for (kept, expected, what) in [
            (&RUST[..], template("rust"), "rust"),
            (&C, template("c"), "c"),
            (&JS, template("js"), "js"),
            (&PYTHON, template("python"), "python"),
            (&[SDK], sdk, "sdk"),
            (&[WIT], interfaces, "wit"),
        ] {
            let kept: Vec<String> = kept.iter().copied().flatten().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(kept.iter().cloned().collect::<BTreeSet<_>>(), expected, "{what}");
            assert_eq!(kept.len(), expected.len(), "{what}: a file is there twice");
        }
    }

    /// The sources of an example in a language, as far as they are written.
    fn in_example(lang: &str, part: &str) -> BTreeSet<String> {
        let folder = format!("examples/hello-{lang}/{part}");
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&folder).is_dir() {
            return BTreeSet::new();
        }
        let written = on_disk(&folder).into_iter().filter(|path| !path.contains("__pycache__"));
        written.map(|path| format!("{part}/{path}")).collect()
    }

    #[test]
    fn nothing_is_left_to_be_put_in() {
        for lang in [Language::Rust, Language::C, Language::Js, Language::Python] {
            for made in files(lang, &"my-service".parse().unwrap(), None) {
                assert!(!made.text.contains("{{"), "{}", made.path);
                assert!(!made.text.contains("\n[workspace]\n") || made.path == "Cargo.toml", "{}", made.path);
            }
        }
    }
}
