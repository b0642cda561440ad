//! The JSON of the admin API: requests that a server reads, and answers that `rctl` does.

use std::fmt::Debug;

use refrain_api::discovery::AdminFile;
use refrain_api::{
    AddMember, Appended, CorruptReplica, ErrorBody, ForensicReport, GuestLines, KillReplica, Members, NameMember,
    RebuildReplica, Scale, ServiceDetail, Status, StoredBundle, Token, Traces, Upgrade, UpgradeStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

type Read = fn(&[u8]);

const TYPES: &[Read] = &[
    comes_back::<Status>,
    comes_back::<ServiceDetail>,
    comes_back::<KillReplica>,
    comes_back::<CorruptReplica>,
    comes_back::<RebuildReplica>,
    comes_back::<Scale>,
    comes_back::<AddMember>,
    comes_back::<NameMember>,
    comes_back::<Members>,
    comes_back::<Upgrade>,
    comes_back::<UpgradeStatus>,
    comes_back::<StoredBundle>,
    comes_back::<Appended>,
    comes_back::<GuestLines>,
    comes_back::<Traces>,
    comes_back::<ForensicReport>,
    comes_back::<ErrorBody>,
    comes_back::<AdminFile>,
    comes_back::<Token>,
];

/// One type of the API, which the first byte names, from any text.
pub fn api_json(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    TYPES[usize::from(*kind) % TYPES.len()](text);
}

/// What is read says the same after it was written.
fn comes_back<T: DeserializeOwned + Serialize + Debug>(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(text) else { return };
    let written = serde_json::to_vec(&value).expect("plain data");
    let again: T = serde_json::from_slice(&written).expect("just written");
    assert_eq!(serde_json::to_vec(&again).expect("plain data"), written);
}
