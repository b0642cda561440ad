//! From a core module that imports and exports `wasi:http` by the names of the canonical ABI, as C compilers make it, to a
//! component. What the module uses of preview 1 is turned into WASI 0.2 by wasmtime's adapter.
//!
//! The interfaces are those of `wit/`; a module that says its own, in a section that wit-bindgen writes, is left to say
//! them.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Packages in the order in which they use each other.
const WIT: [(&str, &str); 6] = [
    ("io.wit", include_str!("../../../wit/deps/io.wit")),
    ("clocks.wit", include_str!("../../../wit/deps/clocks.wit")),
    ("random.wit", include_str!("../../../wit/deps/random.wit")),
    ("cli.wit", include_str!("../../../wit/deps/cli.wit")),
    ("http.wit", include_str!("../../../wit/deps/http.wit")),
    ("service.wit", include_str!("../../../wit/service.wit")),
];
/// The world in the last of them.
const WORLD: &str = "service";
/// How sections begin in which a module says its own interfaces.
const OWN_WORLD: &[u8] = b"component-type";

/// The component, or what is wrong with the module, in words.
pub fn componentise(module: &[u8]) -> Result<Vec<u8>, String> {
    encode(module).map_err(|error| format!("{error:#}"))
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut module = module.to_vec();
    if !says_its_world(&module) {
        let mut resolve = Resolve::default();
        let mut package = None;
        for (path, text) in WIT {
            package = Some(resolve.push_source(path, text)?);
        }
        let world = resolve.select_world(package.as_slice(), Some(WORLD))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    ComponentEncoder::default()
        .module(&module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .validate(true)
        .encode()
}

fn says_its_world(module: &[u8]) -> bool {
    module.windows(OWN_WORLD.len()).any(|part| part == OWN_WORLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_inspect::{Handler, inspect_component};

    const HANDLER: &str = r#"(module
        (import "wasi:http/types@0.2.12" "[resource-drop]incoming-request" (func $drop (param i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "wasi:http/incoming-handler@0.2.12#handle") (param i32 i32) (call $drop (local.get 0))))"#;

    #[test]
    fn a_module_that_handles_requests_becomes_a_component_with_what_it_uses() {
        let component = componentise(&wat::parse_str(HANDLER).unwrap()).unwrap();
        let found = inspect_component(&component).unwrap();
        assert_eq!((found.handler, found.unservable()), (Some(Handler::P2), vec![]));
        assert!(found.imports("wasi:http", "types") && !found.imports("wasi:cli", "environment"));
    }

    #[test]
    fn a_module_that_handles_nothing_is_told_what_is_missing() {
        let told = componentise(&wat::parse_str("(module (memory (export \"memory\") 1))").unwrap()).unwrap_err();
        assert!(told.contains("wasi:http/incoming-handler@0.2.12"), "{told}");
    }

    #[test]
    fn what_the_interfaces_do_not_have_is_told() {
        let module = HANDLER.replace("[resource-drop]incoming-request", "launch-rockets");
        let told = componentise(&wat::parse_str(module).unwrap()).unwrap_err();
        assert!(told.contains("launch-rockets"), "{told}");
    }
}
