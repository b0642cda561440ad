//! A TOML text as tables whose keys and values know their lines, and the list of faults that reading them fills.
//!
//! Not serde: a deserializer stops at its first error, and a manifest's faults are told all at once.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::bounds::FAULTS_MAX;
use crate::fault::Fault;
use crate::reference::reference;

/// Characters of a value that a fault repeats.
const VALUE_SHOWN_CHARS: usize = 80;

/// The text and what is wrong with it so far.
pub(crate) struct Document<'t> {
    text: &'t str,
    /// Where its lines end, so that a place is found in a text of many faults without counting up to it.
    line_ends: Vec<usize>,
    faults: RefCell<Vec<Fault>>,
    /// Of a manifest that was stored: what was no fault when it was. None of a new one, where it is a fault.
    outdated: Option<RefCell<Vec<Fault>>>,
}

impl<'t> Document<'t> {
    pub(crate) fn new(text: &'t str, is_stored: bool) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { text, line_ends, faults: RefCell::default(), outdated: is_stored.then(RefCell::default) }
    }

    /// The whole file as a table; `None` when it is no TOML.
    pub(crate) fn parse(&self) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(table);
        }
        for error in errors {
            let place = error.span().and_then(|span| self.shown(span)).filter(|text| !text.trim().is_empty());
            let place = place.map(|text| format!(", at `{}`", text.trim())).unwrap_or_default();
            self.add(Fault {
                key: String::new(),
                line: error.span().map(|span| self.line(span.start)),
                value: None,
                problem: format!("not TOML: {}{place}", error.message().trim().replace('\n', "; ")),
            });
        }
        None
    }

    /// Takes a fault; of more than [`FAULTS_MAX`] the first ones are kept.
    pub(crate) fn add(&self, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        match faults.len() {
            0..FAULTS_MAX => faults.push(fault),
            FAULTS_MAX => faults.push(Fault {
                key: String::new(),
                line: None,
                value: None,
                problem: format!("more than {FAULTS_MAX} faults; the others are not told"),
            }),
            _ => {}
        }
    }

    /// The faults, and what is outdated.
    pub(crate) fn into_faults(self) -> (Vec<Fault>, Vec<Fault>) {
        (self.faults.into_inner(), self.outdated.map(RefCell::into_inner).unwrap_or_default())
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }

    fn shown(&self, span: Range<usize>) -> Option<String> {
        let text = self.text.get(span)?.lines().next()?;
        match text.char_indices().nth(VALUE_SHOWN_CHARS) {
            Some((end, _)) => Some(format!("{}...", &text[..end])),
            None => Some(text.to_owned()),
        }
    }
}

/// One table of the document.
pub(crate) struct Section<'d> {
    document: &'d Document<'d>,
    /// As the reader of a fault sees it: `ports[0]`.
    path: String,
    /// As the reference lists it: `ports[]`.
    schema: &'static str,
    table: &'d DeTable<'d>,
    start: usize,
}

impl<'d> Section<'d> {
    pub(crate) fn root(document: &'d Document<'d>, table: &'d Spanned<DeTable<'d>>) -> Self {
        Self { document, path: String::new(), schema: "", table: table.get_ref(), start: 0 }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn find(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.table.get(key)
    }

    /// A fault of a value that is there, or of the section when it is not.
    pub(crate) fn fault(&self, key: &str, problem: impl Into<String>) {
        self.document.add(self.fault_of(key, problem.into()));
    }

    /// A fault of a value that an earlier version of Refrain took: none of a manifest that was stored.
    pub(crate) fn outdated(&self, key: &str, problem: impl Into<String>) {
        let fault = self.fault_of(key, problem.into());
        match &self.document.outdated {
            Some(outdated) => outdated.borrow_mut().push(fault),
            None => self.document.add(fault),
        }
    }

    fn fault_of(&self, key: &str, problem: String) -> Fault {
        let value = self.find(key);
        Fault {
            key: self.key_path(key),
            line: Some(self.document.line(value.map_or(self.start, |v| v.span().start))),
            value: value.and_then(|v| self.document.shown(v.span())),
            problem,
        }
    }

    /// The value, or the default when it is absent or (with a fault) wrong.
    pub(crate) fn read<T>(&self, key: &str, default: T, parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, String>) -> T {
        match self.find(key) {
            None => default,
            Some(value) => parse(value.get_ref()).unwrap_or_else(|problem| {
                self.fault(key, problem);
                default
            }),
        }
    }

    /// The value; a fault when it is absent or wrong.
    pub(crate) fn require<T>(&self, key: &str, parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, String>) -> Option<T> {
        if self.find(key).is_none() {
            self.fault(key, "missing, and has no default");
        }
        self.read(key, None, |value| parse(value).map(Some))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The table under a key.
    pub(crate) fn section(&self, key: &'static str) -> Option<Section<'d>> {
        self.inner(key, key)
    }

    /// The table under a key of a table; `schema` is how the reference lists it.
    pub(crate) fn inner(&self, key: &str, schema: &'static str) -> Option<Section<'d>> {
        let value = self.find(key)?;
        let path = self.key_path(key);
        let Some(table) = value.get_ref().as_table() else {
            self.fault(key, format!("expected a table, written as [{}]", schema.replace("[]", "")));
            return None;
        };
        Some(Section { document: self.document, path, schema, table, start: value.span().start })
    }

    /// The tables of an array of tables.
    pub(crate) fn sections(&self, key: &'static str, schema: &'static str) -> Vec<Section<'d>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let array = value.get_ref().as_array();
        let all_tables = array.filter(|array| array.iter().all(|item| item.get_ref().is_table()));
        let Some(array) = all_tables else {
            self.fault(key, format!("expected tables, each written as [[{key}]]"));
            return Vec::new();
        };
        let tables = array.iter().enumerate().filter_map(|(index, item)| {
            Some(Section {
                document: self.document,
                path: format!("{key}[{index}]"),
                schema,
                table: item.get_ref().as_table()?,
                start: item.span().start,
            })
        });
        tables.collect()
    }

    /// Every key and value of a table whose keys are free.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'d str, &'d DeValue<'d>)> {
        let table = self.table;
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref()))
    }

    /// A fault for each key that the reference does not list, with the nearest that it does.
    pub(crate) fn refuse_unknown(&self) {
        let keys = reference();
        let mut known: Vec<&str> = keys.iter().filter_map(|key| key.name_in(self.schema)).collect();
        known.dedup();
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let elsewhere = keys.iter().find(|key| key.name() == name);
            let problem = match (elsewhere, nearest(name, &known)) {
                (Some(key), _) => format!("unknown key here; `{name}` belongs to {}", key.place()),
                (None, Some(near)) => format!("unknown key; did you mean `{near}`?"),
                (None, None) => format!("unknown key; allowed here: {}", known.join(", ")),
            };
            self.document.add(Fault {
                key: self.key_path(name),
                line: Some(self.document.line(key.span().start)),
                value: None,
                problem,
            });
        }
    }
}

/// The known word nearest to one that is not, if any is near.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let longest = known.iter().map(|key| key.len()).max()?;
    // So long a word is near to none, and comparing it with all of them takes long.
    if word.len() / 8 > longest {
        return None;
    }
    let scored = known.iter().map(|key| (strsim::damerau_levenshtein(word, key), *key));
    let (distance, key) = scored.min()?;
    (distance <= 1 + word.chars().count() / 3).then_some(key)
}
