//! One pass over a module: who calls whom, what would be lost in a checkpoint, and where Asyncify left its marks.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef, ValType};

use super::{MAX_MEMORIES, Reason, waits};
use crate::feature::Feature;
use crate::module::{InspectError, inspect};

/// Instructions of a body that are kept to be looked at: Asyncify's own functions are short.
const SHORT_BODY: usize = 32;

/// What matters about one defined function.
#[derive(Default)]
pub(super) struct Function<'a> {
    pub(super) calls: BTreeSet<u32>,
    /// It calls what it finds in a table or a reference.
    pub(super) indirect: bool,
    /// Globals that it reads.
    pub(super) reads: BTreeSet<u32>,
    short: Vec<Operator<'a>>,
}

#[derive(Default)]
pub(super) struct Scan<'a> {
    pub(super) functions: BTreeMap<u32, Function<'a>>,
    /// Imported functions that may wait.
    pub(super) waiting: BTreeSet<u32>,
    /// Pages at the start and at most.
    pub(super) memories: Vec<(u64, Option<u64>)>,
    pub(super) obstacles: Vec<Reason>,
    globals: Vec<(ValType, bool)>,
    imported_functions: u32,
    exports: BTreeMap<&'a str, u32>,
}

impl<'a> Scan<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, InspectError> {
        let report = inspect(bytes)?;
        let mut scan = Self::default();
        if report.features.contains(&Feature::Exceptions) {
            scan.obstacles.push(Reason::Exceptions);
        }
        for payload in Parser::new(0).parse_all(bytes) {
            scan.section(payload?)?;
        }
        let references =
            scan.globals.iter().enumerate().filter(|(_, (ty, mutable))| *mutable && matches!(ty, ValType::Ref(_)));
        let references = references.map(|(index, _)| Reason::ReferenceGlobal { global: index as u32 });
        let references: Vec<_> = references.collect();
        scan.obstacles.extend(references);
        if scan.memories.len() > MAX_MEMORIES {
            scan.obstacles.push(Reason::Memories { count: scan.memories.len() });
        }
        Ok(scan)
    }

    pub(super) fn is_mutable_i32(&self, global: u32) -> bool {
        self.globals.get(global as usize) == Some(&(ValType::I32, true))
    }

    /// The instructions of a short function, by the name of its export.
    pub(super) fn exported_body(&self, name: &str) -> Option<&[Operator<'a>]> {
        let function = self.functions.get(self.exports.get(name)?)?;
        Some(&function.short)
    }

    fn section(&mut self, payload: Payload<'a>) -> Result<(), InspectError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.import(import.module, import.name, import.ty);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    self.memories.push((memory.initial, memory.maximum));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let ty = global?.ty;
                    self.globals.push((ty.content_type, ty.mutable));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.insert(export.name, export.index);
                    }
                }
            }
            Payload::StartSection { .. } => self.obstacles.push(Reason::StartFunction),
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                if waits(module, name) {
                    self.waiting.insert(self.imported_functions);
                }
                self.imported_functions += 1;
            }
            TypeRef::Global(ty) => self.globals.push((ty.content_type, ty.mutable)),
            TypeRef::Memory(ty) => self.memories.push((ty.initial, ty.maximum)),
            TypeRef::Table(_) | TypeRef::Tag(_) => {}
        }
    }

    fn body(&mut self, body: &FunctionBody<'a>) -> Result<(), InspectError> {
        let mut function = Function::default();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match operator {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    function.calls.insert(function_index);
                }
                Operator::CallIndirect { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::CallRef { .. }
                | Operator::ReturnCallRef { .. } => function.indirect = true,
                Operator::GlobalGet { global_index } => {
                    function.reads.insert(global_index);
                }
                Operator::TableSet { table }
                | Operator::TableGrow { table }
                | Operator::TableFill { table }
                | Operator::TableInit { table, .. }
                | Operator::TableCopy { dst_table: table, .. } => self.obstacle(Reason::ChangesTable { table }),
                Operator::DataDrop { .. } | Operator::ElemDrop { .. } => self.obstacle(Reason::DropsSegment),
                _ => {}
            }
            if function.short.len() < SHORT_BODY {
                function.short.push(operator);
            }
        }
        let index = self.imported_functions + self.functions.len() as u32;
        self.functions.insert(index, function);
        Ok(())
    }

    fn obstacle(&mut self, reason: Reason) {
        if !self.obstacles.contains(&reason) {
            self.obstacles.push(reason);
        }
    }
}
