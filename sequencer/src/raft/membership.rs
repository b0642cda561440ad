//! Members as bytes: `configs u8 | (count u8 | node u64 *)* | members u8 | (node u64 | address u16 + text)*`.
//! In a change there are two configurations, and both must agree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::types::{Member, Members};
use crate::frame::{END_OF_INDEXES, EntryId, u64_at};

/// The longest address of a member, in bytes.
pub(crate) const MAX_ADDRESS_BYTES: usize = 255;

pub(crate) fn encode(members: &Members) -> Bytes {
    let configs = members.get_joint_config();
    let mut out = vec![configs.len() as u8];
    for config in configs {
        out.push(config.len() as u8);
        config.iter().for_each(|node| out.extend_from_slice(&node.to_le_bytes()));
    }
    out.push(members.nodes().count() as u8);
    for (node, member) in members.nodes() {
        out.extend_from_slice(&node.to_le_bytes());
        out.extend_from_slice(&(member.address.len() as u16).to_le_bytes());
        out.extend_from_slice(member.address.as_bytes());
    }
    Bytes::from(out)
}

/// Members with the entry that made them, as the meta file keeps them: `term u64 | node u64 | index u64 | members`.
pub(crate) fn encode_stored(id: EntryId, members: &Members) -> Bytes {
    let mut out = Vec::new();
    for field in [id.term, id.node, id.index] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&encode(members));
    Bytes::from(out)
}

/// What the meta file says of members; `None` when it says nothing.
pub(crate) fn stored(bytes: &[u8]) -> Option<(EntryId, Members)> {
    let (id, members) = bytes.split_at_checked(24)?;
    let id = EntryId { term: u64_at(id, 0), node: u64_at(id, 8), index: u64_at(id, 16) };
    Some((id, decode(members)?)).filter(|(id, _)| id.index < END_OF_INDEXES)
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Members> {
    let mut rest = bytes;
    let mut configs = Vec::new();
    for _ in 0..take(&mut rest, 1)?[0] {
        let count = take(&mut rest, 1)?[0];
        let config: Option<BTreeSet<u64>> = (0..count).map(|_| take_u64(&mut rest)).collect();
        configs.push(config?);
    }
    let mut members = BTreeMap::new();
    for _ in 0..take(&mut rest, 1)?[0] {
        let node = take_u64(&mut rest)?;
        let len = u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?) as usize;
        if len > MAX_ADDRESS_BYTES {
            return None;
        }
        let address = String::from_utf8(take(&mut rest, len)?.to_vec()).ok()?;
        members.insert(node, Member { address });
    }
    let known = configs.iter().flatten().all(|node| members.contains_key(node));
    if !rest.is_empty() || !known {
        return None;
    }
    Members::new(configs, members).ok()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop};
    use proptest::proptest;

    #[test]
    fn members_come_back() {
        let nodes: BTreeMap<u64, Member> = [1, 2, 9]
            .map(|node| {
                let address = format!("10.0.0.{node}:7000");
                (node, Member { address })
            })
            .into();
        let members = Members::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([1])], nodes).unwrap();
        let bytes = encode(&members);
        assert_eq!(decode(&bytes), Some(members));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
