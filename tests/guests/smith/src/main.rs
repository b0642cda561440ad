//! Random modules that import functions of the host: `smith IMPORTS FIRST END` writes the modules of the seeds from FIRST
//! to below END to standard output, each behind its length in four bytes, the lowest first.
//!
//! IMPORTS is a file with a function on each line, `module name parameters results`, where types are `i` and `I` for 32
//! and 64 bits and `-` stands for none, in groups between empty lines; the first function of the file sleeps for the
//! nanoseconds that it is given. A module imports that one and some of one group. Its `_start` runs what wasm-smith
//! made, and then sleeps for ever, so that its memory can be looked at.

#[path = "../../../../engine/tests/support/numbers.rs"]
mod numbers;
mod tail;

use std::io::Write as _;

use arbitrary::{Arbitrary as _, Unstructured};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};
use wasm_smith::{Config, InstructionKinds};

use numbers::Numbers;

/// A function that may be imported.
struct Import {
    module: String,
    name: String,
    params: Vec<ValType>,
    results: Vec<ValType>,
}

fn types(letters: &str) -> Vec<ValType> {
    let of = |letter| match letter {
        'i' => Some(ValType::I32),
        'I' => Some(ValType::I64),
        _ => None,
    };
    letters.chars().filter_map(of).collect()
}

fn import(line: &str) -> Import {
    let words: Vec<&str> = line.split(' ').collect();
    let [module, name, params, results] = words[..] else { panic!("{line:?} is no import") };
    Import { module: module.into(), name: name.into(), params: types(params), results: types(results) }
}

/// Functions that a module runs one after another.
const RUNS: u32 = 6;

/// What every module has: these imports, a memory, and functions to run.
fn shape(imports: &[&Import], pages: u64) -> Vec<u8> {
    let (mut types, mut section) = (TypeSection::new(), ImportSection::new());
    for (index, import) in (0..).zip(imports) {
        types.ty().function(import.params.iter().copied(), import.results.iter().copied());
        section.import(&import.module, &import.name, EntityType::Function(index));
    }
    let (count, mut functions, mut code) = (imports.len() as u32, FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..RUNS {
        functions.function(count);
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: pages, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    for run in 0..RUNS {
        exports.export(&format!("run{run}"), ExportKind::Func, count + run);
    }
    let mut module = Module::new();
    module.section(&types).section(&section).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}

/// The module of a seed; none where what wasm-smith was given does not make one.
fn module(seed: u64, sleep: &Import, groups: &[Vec<Import>]) -> Option<Vec<u8>> {
    let mut numbers = Numbers(seed);
    // The last group is for one module in four.
    let last = groups.len() - 1;
    let group = &groups[if seed % 4 == 3 { last } else { (seed / 4) as usize % last.max(1) }];
    let mut imports = vec![sleep];
    for _ in 0..1 + numbers.below(12) {
        let next = &group[numbers.below(group.len() as u64) as usize];
        // What makes a module one of its group comes first in it.
        let next = if imports.len() == 1 { &group[0] } else { next };
        if !imports.iter().any(|import| (&import.module, &import.name) == (&next.module, &next.name)) {
            imports.push(next);
        }
    }
    let bytes: Vec<u8> = (0..512 + numbers.below(1024)).flat_map(|_| numbers.next().to_le_bytes()).collect();
    let mut given = Unstructured::new(&bytes);
    let config = Config {
        module_shape: Some(shape(&imports, 1 + numbers.below(3))),
        // What the engine does not run.
        threads_enabled: false,
        memory64_enabled: false,
        gc_enabled: false,
        // Functions that call each other and the host.
        max_funcs: imports.len() + RUNS as usize + 4,
        max_globals: 8,
        max_data_segments: 8,
        max_memory32_bytes: 8 * 65536,
        max_table_elements: 200,
        max_instructions: 50 + numbers.below(250) as usize,
        max_memories: 1 + numbers.below(2) as usize,
        max_type_size: 100_000,
        ..Config::arbitrary(&mut given).ok()?
    };
    // What chooses among the kinds of instructions leaves out calls, mostly.
    let config = match numbers.below(4) {
        0 => config,
        _ => Config { allowed_instructions: InstructionKinds::all(), ..config },
    };
    let made = wasm_smith::Module::new(config, &mut given).ok()?.to_bytes();
    tail::sleeps_at_its_end(&made)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, imports, first, end] = &arguments[..] else { panic!("smith IMPORTS FIRST END") };
    let text = std::fs::read_to_string(imports).expect("the list of imports can be read");
    let mut groups: Vec<Vec<Import>> =
        (text.split("\n\n")).map(|group| group.lines().filter(|line| !line.is_empty()).map(import).collect()).collect();
    let sleep = groups[0].remove(0);
    let number = |text: &String| text.parse::<u64>().expect("a seed is a number");
    let mut out = std::io::stdout().lock();
    for seed in number(first)..number(end) {
        // A seed without a module gives an empty one.
        let module = module(seed, &sleep, &groups).unwrap_or_default();
        out.write_all(&(module.len() as u32).to_le_bytes()).expect("somebody reads");
        out.write_all(&module).expect("somebody reads");
    }
}
