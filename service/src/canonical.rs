//! The digest of a bundle: BLAKE3, 256 bits, over one canonical encoding.
//!
//! It covers everything that can influence the guest or what clients are told: identity, module, files, arguments,
//! environment, limits, restart, replicas, agreement, what may be reached outside, and each port's name, guest number,
//! protocol and pass flag. It does not cover how the proxy listens, when the service is ready, how the module was
//! built, nor the spelling, order and comments of `service.toml`.
//!
//! Encoding: the tag [`TAG`], then the fields in the order of [`encode_manifest`]; integers are u64 little endian,
//! texts and bytes are a u64 length and the bytes, lists a u64 count and the items, an absent limit is u64::MAX.
//! `limits.history` is there only when it is not the default, which is no ambiguity: it is larger than any length of the
//! text that follows.
//! What [`encode_additions`] lists comes after all of it, each by its name and only when it is not the default, so that
//! bundles keep the digest that they had before it was there.
//! Module and files enter by length and BLAKE3, so that large ones need no copy.

use std::fmt;
use std::str::FromStr;

use crate::bounds::{HISTORY, INODES, OUTWARD, TABLES};
use crate::files::BundleFile;
use crate::manifest::{FuelPerTurn, IdleLimit, Limits, Manifest};
use crate::outbound::Protocol;

/// First bytes of the encoding. A change of the encoding changes the number.
const TAG: &[u8] = b"refrain bundle 1\n";

/// The digest of a bundle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleDigest([u8; 32]);

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower case hexadecimal digits")]
pub struct DigestError;

impl BundleDigest {
    /// The digest with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleDigest({self})")
    }
}

impl FromStr for BundleDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 64 || !lower {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

/// The digest of a bundle's parts; the files are sorted by guest path.
pub(crate) fn digest(manifest: &Manifest, module: &[u8], files: &[BundleFile]) -> BundleDigest {
    let mut out = Encoder(blake3::Hasher::new());
    out.0.update(TAG);
    encode_manifest(&mut out, manifest);
    out.content(module);
    out.count(files.len());
    for file in files {
        out.text(file.path.as_str());
        out.content(&file.bytes);
    }
    encode_additions(&mut out, manifest);
    BundleDigest(*out.0.finalize().as_bytes())
}

fn encode_manifest(out: &mut Encoder, manifest: &Manifest) {
    out.text(&manifest.id.to_string());
    out.text(manifest.module.as_str());
    out.text(&manifest.kind.to_string());
    out.text(&manifest.mode.to_string());
    out.number(manifest.replicas.get().into());
    out.text(&manifest.agreement.to_string());
    out.count(manifest.args.len());
    for arg in &manifest.args {
        out.text(arg);
    }
    out.count(manifest.ports.len());
    for port in &manifest.ports {
        out.text(port.name.as_str());
        out.number(port.guest.get().into());
        out.number(port.pass.into());
    }
    out.count(manifest.env.len());
    for (key, value) in &manifest.env {
        out.text(key);
        out.text(value);
    }
    encode_limits(out, &manifest.limits);
    out.text(&manifest.restart.policy.to_string());
    out.millis(manifest.restart.backoff);
    out.millis(manifest.restart.backoff_max);
}

fn encode_limits(out: &mut Encoder, limits: &Limits) {
    out.number(limits.memory.get());
    out.number(limits.files.get());
    match limits.fuel_per_turn {
        FuelPerTurn::Off => out.number(u64::MAX),
        FuelPerTurn::Limit(fuel) => out.number(fuel),
    }
    out.number(limits.flows.into());
    out.number(limits.flows_per_client.into());
    out.number(limits.descriptors.into());
    out.number(limits.socket_buffer.get());
    out.number(limits.socket_buffers.get());
    match limits.idle {
        IdleLimit::Off => out.number(u64::MAX),
        IdleLimit::After(idle) => out.millis(idle),
    }
    out.number(limits.log_lines_per_second.into());
    // Later than the others: where nothing is said about it, bundles keep the digest that they had before it was there.
    if limits.history != HISTORY.default {
        out.number(limits.history.get());
    }
}

fn encode_additions(out: &mut Encoder, manifest: &Manifest) {
    let limits = &manifest.limits;
    for (name, limit, default) in [
        ("limits.outward", limits.outward, OUTWARD.default),
        ("limits.tables", limits.tables, TABLES.default),
        ("limits.inodes", limits.inodes, INODES.default),
    ] {
        if u64::from(limit) != default {
            out.text(name);
            out.number(limit.into());
        }
    }
    if !manifest.outbound.is_empty() {
        out.text("outbound");
        out.count(manifest.outbound.len());
        manifest.outbound.iter().for_each(|entry| out.text(&entry.to_string()));
    }
    if !manifest.http.outgoing.is_empty() {
        out.text("http.outgoing");
        out.count(manifest.http.outgoing.len());
        manifest.http.outgoing.iter().for_each(|entry| out.text(entry));
    }
    for (index, _) in manifest.ports.iter().enumerate().filter(|(_, port)| port.protocol == Protocol::Udp) {
        out.text("udp");
        out.count(index);
    }
}

struct Encoder(blake3::Hasher);

impl Encoder {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn content(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(blake3::hash(bytes).as_bytes());
    }

    fn millis(&mut self, duration: std::time::Duration) {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}
