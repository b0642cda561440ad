//! What `docs/operating.md` says of the configuration: every key of the files, and no other.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::workspace::read;

/// The keys of a struct that serde reads, as its file has them.
fn keys(path: &str, name: &str) -> Result<BTreeSet<String>> {
    let text = read(path)?;
    let start = format!("struct {name} {{\n");
    let body = text.split_once(&start).with_context(|| format!("{path} has no {name}"))?.1;
    let (mut keys, mut renamed) = (BTreeSet::new(), None);
    for line in body.lines().map(str::trim).take_while(|line| *line != "}") {
        if let Some(attribute) = line.strip_prefix("#[serde(") {
            renamed = attribute.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        } else if let Some((field, _)) = line.split_once(": ").filter(|_| !line.starts_with("//")) {
            let field = field.rsplit(' ').next().unwrap_or(field).replace('_', "-");
            keys.insert(renamed.take().unwrap_or(field));
        }
    }
    ensure!(!keys.is_empty(), "{path}: {name} has no keys");
    Ok(keys)
}

/// What stands in backquotes in the first cells of the table that follows a heading, row by row.
fn documented(heading: &str) -> Result<Vec<Vec<String>>> {
    let text = read("docs/operating.md")?;
    let after = text.split_once(&format!("\n{heading}\n")).with_context(|| format!("there is no {heading}"))?.1;
    let rows = after.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let cells = rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').nth(1).unwrap_or_default());
    Ok(cells.map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()).collect())
}

#[test]
fn every_key_of_the_configuration_is_documented_and_every_documented_one_is_known() -> Result<()> {
    let rows = documented("### `node.toml`, and the file of `refrain up`")?;
    let mut found: BTreeSet<String> = rows.into_iter().flatten().collect();
    // A flag alone.
    ensure!(found.remove("--log-format"));
    ensure!(found == keys("refrain/src/config/file.rs", "File")?, "{found:#?}");
    Ok(())
}

#[test]
fn every_key_of_the_cluster_file_is_documented_and_every_documented_one_is_known() -> Result<()> {
    let of_table = |row: Vec<String>| match row.split_first() {
        Some((table, keys)) if table.starts_with("[[") => keys.iter().map(|key| format!("{table} {key}")).collect(),
        _ => row,
    };
    let found: BTreeSet<String> = documented("### `cluster.toml`")?.into_iter().flat_map(of_table).collect();
    let mut known = keys("refrain/src/config/cluster.rs", "File")?;
    ensure!(known.remove("node") && known.remove("place"), "they are tables");
    let tables =
        [("node", "refrain/src/config/cluster.rs", "Node"), ("place", "refrain/src/config/shards.rs", "PlaceAt")];
    for (table, path, name) in tables {
        known.extend(keys(path, name)?.into_iter().map(|key| format!("[[{table}]] {key}")));
    }
    ensure!(found == known, "{found:#?}, the files have {known:#?}");
    Ok(())
}
