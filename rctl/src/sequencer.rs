//! `rctl sequencer ...`: the members of the log.

use refrain_api::{AddMember, Appended, Member, Members, NameMember, paths};
use serde::Serialize;

use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::table::{Cell, Tone, render};

/// What was done to the members.
#[derive(Serialize)]
struct Done {
    node: u64,
    action: &'static str,
}

pub fn list(client: &Client) -> Result<Output, RctlError> {
    let members: Members = client.get(paths::MEMBERS)?;
    let shown = members.clone();
    Ok(Output::value(&members, move |colour| {
        let rows: Vec<Vec<Cell>> = shown.members.iter().map(|member| row(member, shown.leader)).collect();
        render(&["NODE", "ROLE", "ADDRESS"], &rows, colour)
    }))
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

pub fn add(client: &Client, node: u64, address: &str) -> Result<Output, RctlError> {
    change(client, node, "add", paths::ADD_MEMBER, &AddMember { node, address: address.to_owned() })
}

pub fn remove(client: &Client, node: u64) -> Result<Output, RctlError> {
    change(client, node, "remove", paths::REMOVE_MEMBER, &NameMember { node })
}

pub fn transfer(client: &Client, node: u64) -> Result<Output, RctlError> {
    change(client, node, "transfer", paths::TRANSFER, &NameMember { node })
}

fn change(
    client: &Client,
    node: u64,
    action: &'static str,
    path: &str,
    body: &impl Serialize,
) -> Result<Output, RctlError> {
    let _: Appended = client.post(path, body)?;
    let text = match action {
        "add" => format!("node {node} is a member of the log"),
        "remove" => format!("node {node} is no member of the log any more"),
        _ => format!("node {node} leads the log"),
    };
    Ok(Output::value(&Done { node, action }, move |_| text.clone()))
}
