//! `rctl sequencer ...`: the members of the logs, one for each shard.

use std::fmt;
use std::str::FromStr;

use refrain_api::{AddMember, Appended, Member, Members, NameMember, paths};
use serde::Serialize;

use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::table::{Cell, Tone, render};

/// Which shards' logs are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Every one.
    All,
    /// One.
    Shard(u16),
}

impl FromStr for Of {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::Shard).map_err(|_| "expected the number of a shard, or all".to_owned()),
        }
    }
}

/// What was done to the members.
#[derive(Serialize)]
struct Done {
    node: u64,
    action: &'static str,
    /// The shards; empty where there is one alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shards: Vec<u16>,
}

/// A change to the members of a log.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// The node is one, at an address.
    Add(&'a str),
    /// The node is none any more.
    Remove,
    /// The node leads.
    Transfer,
}

impl Change<'_> {
    fn action(self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove => "remove",
            Self::Transfer => "transfer",
        }
    }

    fn order(self, client: &Client, node: u64, shard: Option<u16>) -> Result<Appended, RctlError> {
        let named = NameMember { node, shard };
        match self {
            Self::Add(address) => {
                client.post(paths::ADD_MEMBER, &AddMember { node, address: address.to_owned(), shard })
            }
            Self::Remove => client.post(paths::REMOVE_MEMBER, &named),
            Self::Transfer => client.post(paths::TRANSFER, &named),
        }
    }
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add(_) => "is a member of the log",
            Self::Remove => "is no member of the log any more",
            Self::Transfer => "leads the log",
        })
    }
}

pub fn list(client: &Client, of: Option<Of>) -> Result<Output, RctlError> {
    let get = |shard| client.get::<Members>(&paths::of_members(shard));
    if let Some(Of::Shard(shard)) = of {
        let members = get(shard)?;
        let shown = members.clone();
        return Ok(Output::value(&members, move |colour| one(&shown, colour)));
    }
    let first: Members = client.get(paths::MEMBERS)?;
    if first.shards == 1 {
        let shown = first.clone();
        return Ok(Output::value(&first, move |colour| one(&shown, colour)));
    }
    let further: Result<Vec<Members>, RctlError> = (1..first.shards).map(get).collect();
    let all: Vec<Members> = std::iter::once(first).chain(further?).collect();
    let shown = all.clone();
    Ok(Output::value(&all, move |colour| several(&shown, colour)))
}

fn one(members: &Members, colour: bool) -> String {
    let rows: Vec<Vec<Cell>> = members.members.iter().map(|member| row(member, members.leader)).collect();
    render(&["NODE", "ROLE", "ADDRESS"], &rows, colour)
}

fn several(all: &[Members], colour: bool) -> String {
    let rows = all.iter().flat_map(|members| {
        let of_shard = |member| {
            let mut row = row(member, members.leader);
            row.insert(0, Cell::number(members.shard));
            row
        };
        members.members.iter().map(of_shard)
    });
    render(&["SHARD", "NODE", "ROLE", "ADDRESS"], &rows.collect::<Vec<_>>(), colour)
}

fn row(member: &Member, leader: Option<u64>) -> Vec<Cell> {
    let (role, tone) = match (leader == Some(member.node), member.voter) {
        (true, _) => ("leader", Tone::Good),
        (false, true) => ("member", Tone::Plain),
        (false, false) => ("learner", Tone::Waiting),
    };
    let address = if member.address.is_empty() { "alone" } else { &member.address };
    vec![Cell::number(member.node), Cell::toned(role, tone), Cell::text(address)]
}

/// Changes the members of one log, or of all of them one after the other. Which one need not be said where there is one
/// alone; else the server asks for it.
pub fn change(client: &Client, node: u64, change: Change<'_>, of: Option<Of>) -> Result<Output, RctlError> {
    let shards: Vec<u16> = match of {
        None => Vec::new(),
        Some(Of::Shard(shard)) => vec![shard],
        Some(Of::All) => (0..client.get::<Members>(paths::MEMBERS)?.shards).collect(),
    };
    if shards.is_empty() {
        change.order(client, node, None)?;
    }
    for shard in &shards {
        let ordered = change.order(client, node, Some(*shard));
        ordered.map_err(|error| error.of_shard(*shard, shards.len()))?;
    }
    let text = match shards.as_slice() {
        [] => format!("node {node} {change}"),
        [shard] => format!("node {node} {change} of shard {shard}"),
        all => format!("node {node} {change} of each of {} shards", all.len()),
    };
    Ok(Output::value(&Done { node, action: change.action(), shards }, move |_| text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_number_or_all_of_them() {
        assert_eq!(("all".parse(), "3".parse()), (Ok(Of::All), Ok(Of::Shard(3))));
        assert!("each".parse::<Of>().is_err() && "-1".parse::<Of>().is_err());
    }
}
