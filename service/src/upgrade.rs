//! What an upgrade may change of a manifest, and what it may not.
//!
//! Free: the version, the module, arguments, environment, files, restart, what may be reached outside, and every limit
//! but those of socket buffers. How the proxy listens, and when the service is ready, is not the guest's affair: it takes
//! effect at the next start of a node. Fixed: what clients and the log were
//! promised when the service was created.

use std::collections::BTreeMap;
use std::fmt;

use crate::manifest::Manifest;
use crate::outbound::Protocol;
use crate::port::Port;

/// What is fixed of each port, by its number and protocol.
type Ports = BTreeMap<(u16, Protocol), String>;

/// A key that an upgrade would change and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedChange {
    /// The key, as the manifest writes it.
    pub key: String,
    /// What it is now.
    pub before: String,
    /// What it would be.
    pub after: String,
    /// What to do instead.
    pub instead: &'static str,
}

impl fmt::Display for FixedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after, instead } = self;
        write!(f, "{key} is {before} and would become {after} ({instead})")
    }
}

const ANOTHER_SERVICE: &str = "create another service for that";
const SCALE: &str = "use `rctl service scale`, and keep the former number or the one in force here";
const NONE: &str = "none";

impl Manifest {
    /// What `next` would change that stays as it is for the life of a service with `seats` seats now.
    #[must_use]
    pub fn fixed_changes(&self, next: &Self, seats: u8) -> Vec<FixedChange> {
        let mut changes = Vec::new();
        let mut fixed = |key: &str, before: String, after: String, instead| {
            if before != after {
                changes.push(FixedChange { key: key.to_owned(), before, after, instead });
            }
        };
        fixed("namespace", self.id.namespace.to_string(), next.id.namespace.to_string(), ANOTHER_SERVICE);
        fixed("name", self.id.name.to_string(), next.id.name.to_string(), ANOTHER_SERVICE);
        fixed("kind", self.kind.to_string(), next.kind.to_string(), ANOTHER_SERVICE);
        fixed("mode", self.mode.to_string(), next.mode.to_string(), ANOTHER_SERVICE);
        fixed("agreement", self.agreement.to_string(), next.agreement.to_string(), ANOTHER_SERVICE);
        if next.replicas.get() != seats {
            fixed("replicas", self.replicas.get().to_string(), next.replicas.get().to_string(), SCALE);
        }
        let buffers = |manifest: &Self| (manifest.limits.socket_buffer, manifest.limits.socket_buffers);
        let (before, after) = (buffers(self), buffers(next));
        fixed("limits.socket_buffer", before.0.to_string(), after.0.to_string(), ANOTHER_SERVICE);
        fixed("limits.socket_buffers", before.1.to_string(), after.1.to_string(), ANOTHER_SERVICE);
        let (before, after) = (ports(self), ports(next));
        for port in before.keys().chain(after.keys().filter(|port| !before.contains_key(port))) {
            let told = |ports: &Ports| ports.get(port).cloned().unwrap_or_else(|| NONE.to_owned());
            let (guest, protocol) = port;
            let key = match protocol {
                Protocol::Tcp => format!("[[ports]] with guest = {guest}"),
                Protocol::Udp => format!("[[ports]] with guest = {guest} and protocol = \"udp\""),
            };
            fixed(&key, told(&before), told(&after), ANOTHER_SERVICE);
        }
        changes
    }
}

/// What is fixed of each port. The order of passed ones is that of the guest's descriptors, and its own affair.
fn ports(manifest: &Manifest) -> Ports {
    let told = |port: &Port| format!("name {} pass {}", port.name, port.pass);
    manifest.ports.iter().map(|port| ((port.guest.get(), port.protocol), told(port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "name = \"kv\"\nnamespace = \"a\"\nversion = \"1.0.0\"\nmodule = \"kv.wasm\"\nreplicas = 3\n\
        agreement = \"majority\"\nargs = [\"x\"]\n[[ports]]\nname = \"main\"\nguest = 7\nlisten = \"127.0.0.1:0\"\n\
        [limits]\nmemory = \"64MiB\"\nsocket_buffer = \"1MiB\"\n[restart]\npolicy = \"never\"\n";

    fn changes(seats: u8, edits: &[(&str, &str)]) -> Vec<String> {
        let before = Manifest::parse(BASE).unwrap();
        let mut text = BASE.to_owned();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let next = Manifest::parse(&text).unwrap();
        before.fixed_changes(&next, seats).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn program_and_surroundings_may_change() {
        let free = [
            ("1.0.0", "2.0.0"),
            ("kv.wasm", "kv2.wasm"),
            ("[\"x\"]", "[\"y\", \"z\"]"),
            ("64MiB", "128MiB"),
            ("never", "always"),
            ("127.0.0.1:0", "127.0.0.1:8080"),
            ("replicas = 3", "replicas = 3\noutbound = [\"a.b:1\"]"),
            ("[limits]", "[limits]\noutward = 1\ntables = 1\ninodes = 1"),
        ];
        assert_eq!(changes(3, &free), Vec::<String>::new());
    }

    #[test]
    fn what_is_fixed_is_named_with_its_values() {
        let other = "create another service for that";
        for (edit, expected) in [
            (("\"kv\"", "\"kw\""), format!("name is kv and would become kw ({other})")),
            (("\"a\"", "\"b\""), format!("namespace is a and would become b ({other})")),
            (("majority", "all"), format!("agreement is majority and would become all ({other})")),
            (("= 3", "= 5"), format!("replicas is 3 and would become 5 ({SCALE})")),
            (("\"1MiB\"", "\"2MiB\""), format!("limits.socket_buffer is 1MiB and would become 2MiB ({other})")),
        ] {
            assert_eq!(changes(3, &[edit]), [expected]);
        }
        let moved = changes(3, &[("guest = 7", "guest = 8")]);
        let port = |guest, before, after| {
            format!("[[ports]] with guest = {guest} is {before} and would become {after} ({other})")
        };
        let told = "name main pass false";
        assert_eq!(moved, [port(7, told, "none"), port(8, "none", told)]);
        let spoken = changes(3, &[("guest = 7", "guest = 7\nprotocol = \"udp\"")]);
        let udp = format!("[[ports]] with guest = 7 and protocol = \"udp\" is none and would become {told} ({other})");
        assert_eq!(spoken, [port(7, told, "none"), udp]);
    }

    #[test]
    fn the_number_of_replicas_in_force_may_be_written_down() {
        assert_eq!(changes(5, &[("= 3", "= 5")]), Vec::<String>::new());
        assert_eq!(changes(5, &[]), Vec::<String>::new());
        assert_eq!(changes(5, &[("= 3", "= 7")]).len(), 1);
    }
}
