//! How much a component becomes when it is instantiated: components within it are made as often as others say, so few bytes
//! can stand for very much, which would all be compiled.
//!
//! A component that is handed from one to another could be made any number of times by whoever gets it: such components are
//! refused. They are not what languages and tools make.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    Instance, Payload,
};

use crate::module::InspectError;

/// The most instances and functions of a component, those of components within it as often as they are instantiated.
pub const MAX_PARTS: u64 = 10_000;

/// What something becomes when it is instantiated once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Instances of modules and components, and functions of the canonical ABI.
    pub(super) count: u64,
    /// Bytes of all memories at the start.
    pub(super) memory_bytes: u64,
    /// Elements of all tables at the start.
    pub(super) table_elements: u64,
}

impl Parts {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.table_elements = self.table_elements.saturating_add(other.table_elements);
    }

    fn add_parts(&mut self, count: usize) {
        self.count = self.count.saturating_add(count as u64);
    }
}

/// A module or a component while its sections are read.
#[derive(Debug, Default)]
struct Level {
    is_component: bool,
    parts: Parts,
    /// Its modules, and its components, by their indexes.
    modules: Vec<Parts>,
    components: Vec<Parts>,
}

/// Counts while a component is read, which was validated before.
#[derive(Debug, Default)]
pub(super) struct Counter {
    levels: Vec<Level>,
    whole: Parts,
}

impl Counter {
    /// Takes in what comes next.
    pub(super) fn see(&mut self, payload: &Payload<'_>) -> Result<(), InspectError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.levels.push(Level { is_component: *encoding == Encoding::Component, ..Level::default() });
            }
            Payload::End(_) => self.end(),
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let memory = memory?;
                    let page_bytes = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
                    self.add(Parts { memory_bytes: memory.initial.saturating_mul(page_bytes), ..Parts::default() });
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    self.add(Parts { table_elements: table?.ty.initial, ..Parts::default() });
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.instance(&instance?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    self.component_instance(&instance?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                self.add(Parts { count: u64::from(section.count()), ..Parts::default() });
            }
            payload => self.names(payload)?,
        }
        Ok(())
    }

    /// What the whole becomes.
    pub(super) fn whole(self) -> Result<Parts, InspectError> {
        if self.whole.count > MAX_PARTS {
            return Err(InspectError::TooManyParts { count: self.whole.count });
        }
        Ok(self.whole)
    }

    /// Sections that give names, and indexes, to what is there already or comes from elsewhere.
    fn names(&mut self, payload: &Payload<'_>) -> Result<(), InspectError> {
        match payload {
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias?)?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    match import?.ty {
                        ComponentTypeRef::Component(_) => return Err(InspectError::ComponentHanded),
                        ComponentTypeRef::Module(_) => self.named(ComponentExternalKind::Module, Parts::default()),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    let known = self.known(0, export.kind, export.index);
                    self.named(export.kind, known);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        let Some(ended) = self.levels.pop() else { return };
        match self.levels.last_mut() {
            None => self.whole = ended.parts,
            Some(outer) if ended.is_component => outer.components.push(ended.parts),
            Some(outer) => outer.modules.push(ended.parts),
        }
    }

    fn add(&mut self, parts: Parts) {
        if let Some(level) = self.levels.last_mut() {
            level.parts.add(parts);
        }
    }

    fn instance(&mut self, instance: &Instance<'_>) {
        let mut parts = match instance {
            Instance::Instantiate { module_index, .. } => self.known(0, ComponentExternalKind::Module, *module_index),
            Instance::FromExports(_) => Parts::default(),
        };
        parts.add_parts(1);
        self.add(parts);
    }

    fn component_instance(&mut self, instance: &ComponentInstance<'_>) {
        let mut parts = match instance {
            ComponentInstance::Instantiate { component_index, .. } => {
                self.known(0, ComponentExternalKind::Component, *component_index)
            }
            ComponentInstance::FromExports(_) => Parts::default(),
        };
        parts.add_parts(1);
        self.add(parts);
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), InspectError> {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                return Err(InspectError::ComponentHanded);
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                self.named(ComponentExternalKind::Module, Parts::default());
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                let known = self.known(*count, ComponentExternalKind::Module, *index);
                self.named(ComponentExternalKind::Module, known);
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let known = self.known(*count, ComponentExternalKind::Component, *index);
                self.named(ComponentExternalKind::Component, known);
            }
            _ => {}
        }
        Ok(())
    }

    /// What a module or component of this level, or of one so far out, becomes.
    fn known(&self, outward: u32, kind: ComponentExternalKind, index: u32) -> Parts {
        let level = self.levels.iter().rev().nth(outward as usize);
        let all = level.map(|level| match kind {
            ComponentExternalKind::Component => &level.components[..],
            ComponentExternalKind::Module => &level.modules[..],
            _ => &[],
        });
        all.and_then(|all| all.get(index as usize)).copied().unwrap_or_default()
    }

    /// One more index for a module or component.
    fn named(&mut self, kind: ComponentExternalKind, parts: Parts) {
        let Some(level) = self.levels.last_mut() else { return };
        match kind {
            ComponentExternalKind::Component => level.components.push(parts),
            ComponentExternalKind::Module => level.modules.push(parts),
            _ => {}
        }
    }
}
