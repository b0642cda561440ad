//! What authors of services write: manifests, the words in them, and bundles as they travel between nodes.

use std::fmt::Display;
use std::str::FromStr;

use refrain_service::{
    AddressRange, Bundle, BundleDigest, ByteSize, GuestPath, HostPath, Manifest, Name, Outbound, UnpackError, Version,
    format_duration, parse_duration,
};
use refrain_wire::IpRange;

use crate::input::Input;

/// A `service.toml`: it is valid, or its faults can be told.
pub fn manifest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert!(manifest.fixed_changes(&manifest, manifest.replicas.get()).is_empty());
            words_of(&manifest);
        }
        Err(faults) => {
            assert!(!faults.all().is_empty());
            let lines = text.split('\n').count();
            assert!(faults.all().iter().filter_map(|fault| fault.line).all(|line| (1..=lines).contains(&line)));
            let _ = faults.to_string();
        }
    }
}

/// What a manifest holds reads again as it prints.
fn words_of(manifest: &Manifest) {
    prints_as_it_reads(&manifest.id.version);
    manifest.outbound.iter().filter(|entry| entry.proxy_header.is_none()).for_each(prints_as_it_reads);
    manifest.ports.iter().flat_map(|port| &port.proxy_protocol).for_each(prints_as_it_reads);
    manifest.files.iter().for_each(|(guest, host)| {
        prints_as_it_reads(guest);
        prints_as_it_reads(host);
    });
}

fn prints_as_it_reads<T: Display + FromStr<Err: Display> + PartialEq>(value: &T) {
    let text = value.to_string();
    match text.parse::<T>() {
        Ok(again) => assert!(again == *value, "{text} reads as something else"),
        Err(error) => panic!("{text} does not read again: {error}"),
    }
}

fn read<T: Display + FromStr<Err: Display> + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => prints_as_it_reads(&value),
        Err(error) => drop(error.to_string()),
    }
}

/// The small languages within a manifest; the first byte says which.
pub fn names(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    match kind % 10 {
        0 => read::<Outbound>(text),
        1 => read::<AddressRange>(text),
        2 => read::<ByteSize>(text),
        3 => read::<GuestPath>(text),
        4 => read::<HostPath>(text),
        5 => read::<Name>(text),
        6 => read::<Version>(text),
        7 => read::<BundleDigest>(text),
        8 => {
            if let Ok(duration) = parse_duration(text) {
                assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            }
        }
        _ => {
            let range = text.split_once(' ').and_then(|(range, ip)| Some((range.parse().ok()?, ip.parse().ok()?)));
            let Some((range, ip)): Option<(AddressRange, _)> = range else { return };
            let range = IpRange::new(range.first(), range.prefix()).expect("what a manifest takes is a range");
            let _ = range.holds(ip);
        }
    }
}

/// A packed bundle, as it is and put together from parts: what is taken is packed as it came.
pub fn bundle(data: &[u8]) {
    unpack(data);
    let mut input = Input::new(data);
    let mut packed = vec![1];
    let count = input.below(4) as u32;
    let mut put = |bytes: &[u8]| {
        packed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        packed.extend_from_slice(bytes);
    };
    put(&[b"name = \"a\"\nversion = \"1.0.0\"\nmodule = \"m\"\n", input.piece()].concat());
    put(input.piece());
    packed.extend_from_slice(&count.to_le_bytes());
    for _ in 0..2 * count {
        let part = input.piece();
        packed.extend_from_slice(&(part.len() as u32).to_le_bytes());
        packed.extend_from_slice(part);
    }
    packed.extend_from_slice(input.rest());
    unpack(&packed);
}

/// The digest of a bundle that somebody made up is not known before, but told when it is not the one that is wanted.
fn unpack(bytes: &[u8]) {
    let Err(UnpackError::Digest { found, wanted }) = Bundle::unpack(bytes, BundleDigest::new([0; 32])) else { return };
    assert_ne!(found, wanted);
    let bundle = Bundle::unpack(bytes, found).expect("it is the one that is wanted");
    assert_eq!(bundle.pack(), bytes);
}
