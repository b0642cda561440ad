//! One import of a module: which family it belongs to, and why it cannot be satisfied if it cannot.

use std::fmt;

use serde::Serialize;

use crate::abi::{self, Family, HostFunction, PREVIEW1_MODULE, Purpose};
use crate::sentences::Cut;
use crate::signature::Signature;

/// What is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportKind {
    /// A function of this type.
    Function(Signature),
    /// A table.
    Table,
    /// A memory.
    Memory,
    /// A global.
    Global,
    /// An exception's tag.
    Tag,
}

impl fmt::Display for ImportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(signature) => write!(f, "{signature}"),
            Self::Table => f.write_str("table"),
            Self::Memory => f.write_str("memory"),
            Self::Global => f.write_str("global"),
            Self::Tag => f.write_str("tag"),
        }
    }
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The module it is imported from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// What it is.
    pub kind: ImportKind,
    /// The family it belongs to, told from its name and type; `None` when it is not known.
    pub family: Option<Family>,
    /// What it is for.
    pub purpose: Purpose,
}

impl Import {
    /// An import of a module; `replicode` when that module is a RepliCode program, whose socket calls look like
    /// preview 1's and mean something else.
    pub(crate) fn new(module: &str, name: &str, kind: ImportKind, replicode: bool) -> Self {
        let family = match &kind {
            ImportKind::Function(_) if module.starts_with("wasix_") => Some(Family::Wasix),
            ImportKind::Function(signature) => abi::find(module, name, signature, replicode).map(|f| f.family),
            _ => None,
        };
        let known = module == PREVIEW1_MODULE || family.is_some();
        Self {
            module: module.to_owned(),
            name: name.to_owned(),
            kind,
            family,
            purpose: if known { Purpose::of(name) } else { Purpose::Unknown },
        }
    }

    /// True for the import that makes a module a RepliCode program.
    pub(crate) fn marks_replicode(module: &str, name: &str, kind: &ImportKind) -> bool {
        matches!(kind, ImportKind::Function(signature) if abi::marks_replicode(module, name, signature))
    }

    /// The functions that it may mean, one for each type.
    fn named(&self) -> Vec<&'static HostFunction> {
        abi::named(&self.module, &self.name, self.family == Some(Family::Replicode))
    }

    /// The function that it asks for, if there is one.
    pub fn function(&self) -> Option<&'static HostFunction> {
        let ImportKind::Function(found) = &self.kind else { return None };
        self.named().into_iter().find(|function| function.signature() == *found)
    }

    /// The module and name by which the engine links its function; its own when there is none.
    pub fn link(&self) -> (&str, &str) {
        match self.function() {
            Some(function) => function.link(),
            None => (&self.module, &self.name),
        }
    }

    /// Whether the engine satisfies it.
    pub fn is_provided(&self) -> bool {
        self.function().is_some_and(|function| function.refusal.is_none())
    }

    /// Why the engine cannot satisfy it; `None` when it can. With `hint` a name that is known and near is looked for, too:
    /// that costs as much as the name is long.
    pub fn obstacle(&self, hint: bool) -> Option<Reason> {
        let ImportKind::Function(found) = &self.kind else {
            return Some(Reason::NotAFunction { kind: self.kind.clone() });
        };
        if let Some(function) = self.function() {
            return function.refusal.map(|why| Reason::Refused { family: function.family, why });
        }
        let named = self.named();
        if !named.is_empty() {
            let expected = named.iter().map(|f| f.signature()).collect();
            return Some(Reason::WrongSignature { expected, found: found.clone() });
        }
        if self.family == Some(Family::Wasix) {
            return Some(Reason::NotProvided { family: Family::Wasix });
        }
        if self.module == PREVIEW1_MODULE {
            let names = abi::all().filter(|f| f.module == PREVIEW1_MODULE).map(|f| f.name);
            return Some(Reason::UnknownName { nearest: hint.then(|| nearest(&self.name, names)).flatten() });
        }
        let modules = [PREVIEW1_MODULE].into_iter();
        let nearest = hint.then(|| nearest(&self.module, modules)).flatten();
        Some(Reason::UnknownModule { module: self.module.clone(), nearest })
    }
}

/// An import that cannot be satisfied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The module it is imported from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: {}", Cut(&self.module), Cut(&self.name), self.reason)
    }
}

/// Why an import cannot be satisfied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing is provided under this module's name.
    UnknownModule {
        /// The module.
        module: String,
        /// A module that is provided and has nearly this name.
        nearest: Option<&'static str>,
    },
    /// The module is known, the name is not.
    UnknownName {
        /// A name that is known and nearly this one.
        nearest: Option<&'static str>,
    },
    /// The name is known with other types.
    WrongSignature {
        /// The types that it is known with.
        expected: Vec<Signature>,
        /// The type that the module wants.
        found: Signature,
    },
    /// Known, and not provided by this version.
    NotProvided {
        /// The family it belongs to.
        family: Family,
    },
    /// Known, and nothing that a guest can have here.
    Refused {
        /// The family it belongs to.
        family: Family,
        /// Why.
        why: &'static str,
    },
    /// Only functions are provided.
    NotAFunction {
        /// What is imported.
        kind: ImportKind,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = |nearest: &Option<&str>| nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        match self {
            Self::UnknownModule { module, .. } if module == "env" => {
                f.write_str("an undefined symbol of the program; link with what defines it (sdk/c defines BSD sockets)")
            }
            Self::UnknownModule { nearest, .. } => write!(f, "unknown module{}", hint(nearest)),
            Self::UnknownName { nearest } => write!(f, "unknown name{}", hint(nearest)),
            Self::WrongSignature { expected, found } => {
                let expected: Vec<String> = expected.iter().map(Signature::to_string).collect();
                write!(f, "has the type {}, expected {}", Cut(found), expected.join(" or "))
            }
            Self::NotProvided { family } => write!(f, "not provided by this version ({family})"),
            Self::Refused { family, why } => write!(f, "{why} ({family})"),
            Self::NotAFunction { kind } => write!(f, "a {kind}; only functions can be imported"),
        }
    }
}

/// No word that is known is near to one of more bytes.
const MAX_NEAR_BYTES: usize = 64;

/// The word nearest to one that is not known, if any is near.
fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if word.len() > MAX_NEAR_BYTES {
        return None;
    }
    let scored = known.map(|name| (strsim::damerau_levenshtein(word, name), name));
    let (distance, name) = scored.min()?;
    (distance <= 1 + word.len() / 4).then_some(name)
}
