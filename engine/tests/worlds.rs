//! Every function of WASI 0.2 and of 0.3 that a command may import is linked, with the type that the WIT files give it.

mod support;

use std::fmt::Write as _;

use refrain_inspect::inspect_component;
use support::platform;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

const WIT_2: [(&str, &str); 7] = [
    ("io.wit", include_str!("../../wit/deps/io.wit")),
    ("clocks.wit", include_str!("../../wit/deps/clocks.wit")),
    ("random.wit", include_str!("../../wit/deps/random.wit")),
    ("cli.wit", include_str!("../../wit/deps/cli.wit")),
    ("filesystem.wit", include_str!("../../wit/deps/filesystem.wit")),
    ("sockets.wit", include_str!("../../wit/deps/sockets.wit")),
    ("all.wit", ALL_2),
];

const WIT_3: [(&str, &str); 6] = [
    ("clocks.wit", include_str!("../../wit/deps-0.3/clocks.wit")),
    ("random.wit", include_str!("../../wit/deps-0.3/random.wit")),
    ("filesystem.wit", include_str!("../../wit/deps-0.3/filesystem.wit")),
    ("sockets.wit", include_str!("../../wit/deps-0.3/sockets.wit")),
    ("cli.wit", include_str!("../../wit/deps-0.3/cli.wit")),
    ("all.wit", ALL_3),
];

const ALL_3: &str = "
    package tests:all;
    world all {
        import wasi:clocks/types@0.3.0;
        import wasi:clocks/monotonic-clock@0.3.0;
        import wasi:clocks/system-clock@0.3.0;
        import wasi:random/random@0.3.0;
        import wasi:random/insecure@0.3.0;
        import wasi:random/insecure-seed@0.3.0;
        import wasi:cli/environment@0.3.0;
        import wasi:cli/exit@0.3.0;
        import wasi:cli/types@0.3.0;
        import wasi:cli/stdin@0.3.0;
        import wasi:cli/stdout@0.3.0;
        import wasi:cli/stderr@0.3.0;
        import wasi:cli/terminal-input@0.3.0;
        import wasi:cli/terminal-output@0.3.0;
        import wasi:cli/terminal-stdin@0.3.0;
        import wasi:cli/terminal-stdout@0.3.0;
        import wasi:cli/terminal-stderr@0.3.0;
        import wasi:filesystem/types@0.3.0;
        import wasi:filesystem/preopens@0.3.0;
        import wasi:sockets/types@0.3.0;
        import wasi:sockets/ip-name-lookup@0.3.0;
        export wasi:cli/run@0.3.0;
    }
";

const ALL_2: &str = "
    package tests:all;
    world all {
        import wasi:io/error@0.2.12;
        import wasi:io/poll@0.2.12;
        import wasi:io/streams@0.2.12;
        import wasi:clocks/monotonic-clock@0.2.12;
        import wasi:clocks/wall-clock@0.2.12;
        import wasi:random/random@0.2.12;
        import wasi:random/insecure@0.2.12;
        import wasi:random/insecure-seed@0.2.12;
        import wasi:cli/environment@0.2.12;
        import wasi:cli/exit@0.2.12;
        import wasi:cli/stdin@0.2.12;
        import wasi:cli/stdout@0.2.12;
        import wasi:cli/stderr@0.2.12;
        import wasi:cli/terminal-input@0.2.12;
        import wasi:cli/terminal-output@0.2.12;
        import wasi:cli/terminal-stdin@0.2.12;
        import wasi:cli/terminal-stdout@0.2.12;
        import wasi:cli/terminal-stderr@0.2.12;
        import wasi:filesystem/types@0.2.12;
        import wasi:filesystem/preopens@0.2.12;
        import wasi:sockets/network@0.2.12;
        import wasi:sockets/instance-network@0.2.12;
        import wasi:sockets/ip-name-lookup@0.2.12;
        import wasi:sockets/tcp@0.2.12;
        import wasi:sockets/tcp-create-socket@0.2.12;
        import wasi:sockets/udp@0.2.12;
        import wasi:sockets/udp-create-socket@0.2.12;
        export wasi:cli/run@0.2.12;
    }
";

/// A module that imports every function of the world, in the types of the canonical ABI, and exports this `run`.
fn module(resolve: &Resolve, world: WorldId, run: &str) -> String {
    let list = |word: &str, types: &[WasmType]| {
        let words = types.iter().map(|ty| match ty {
            WasmType::I64 | WasmType::PointerOrI64 => " i64",
            WasmType::F32 => " f32",
            WasmType::F64 => " f64",
            WasmType::I32 | WasmType::Pointer | WasmType::Length => " i32",
        });
        if types.is_empty() { String::new() } else { format!(" ({word}{})", words.collect::<String>()) }
    };
    let mut text = String::from("(module ");
    for (key, item) in &resolve.worlds[world].imports {
        let (WorldKey::Interface(id), WorldItem::Interface { .. }) = (key, item) else { continue };
        let interface = resolve.id_of(*id).expect("every interface has a package");
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let (params, results) = (list("param", &signature.params), list("result", &signature.results));
            writeln!(text, "(import \"{interface}\" \"{name}\" (func{params}{results}))").unwrap();
        }
    }
    text += &format!("(memory (export \"memory\") 1) (func (export \"{run}#run\") (result i32) (i32.const 0))");
    text + "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable))"
}

#[test]
fn every_function_of_the_interfaces_of_0_2_is_linked_with_its_type() {
    links(&WIT_2, "wasi:cli/run@0.2.12", 24, 100);
}

#[test]
fn every_function_of_the_interfaces_of_0_3_is_linked_with_its_type() {
    links(&WIT_3, "wasi:cli/run@0.3.0", 18, 80);
}

fn links(wit: &[(&str, &str)], run: &str, interfaces: usize, functions: usize) {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let mut package = None;
    for (path, text) in wit {
        package = Some(resolve.push_source(path, text).expect(path));
    }
    let world = resolve.select_world(package.as_slice(), Some("all")).expect("the world is there");
    let text = module(&resolve, world, run);
    assert!(text.matches("(import").count() > functions, "{text}");
    let mut module = support::wat(&text);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world fits the module");
    let component = ComponentEncoder::default().module(&module).and_then(|encoder| encoder.validate(true).encode());
    let component = component.expect("the module becomes a component");
    let found = inspect_component(&component).expect("it is one");
    assert!(found.imports.len() >= interfaces && found.unrunnable().is_empty(), "{:?}", found.unrunnable());
    platform().load(&component).expect("everything that it imports is there");
}
