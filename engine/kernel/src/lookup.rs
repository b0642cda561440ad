//! Look-ups of host names: one at a time, answered by the log, and what their answers pin.
//!
//! A look-up is idempotent: when its owner's epoch ends without an answer, the next owner is asked. What it answers
//! holds until the name is looked up again: by a rule that allows a name, just the addresses that the newest look-up
//! gave can be reached, so a name that leads somewhere else between the look-up and the call opens nothing.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use refrain_wire::outward::MAX_HOST_NAME_BYTES;
use refrain_wire::{CallFailure, EffectKind, Epoch, FlowId};
use serde::{Deserialize, Serialize};

use crate::Stop;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::outward::errno_of;

/// The most names whose answers are kept; the one that was looked up longest ago gives way.
pub const MAX_PINNED_NAMES: usize = 256;

/// A look-up that the guest waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lookup {
    name: String,
    /// How the owner knows it; none while there is no owner.
    id: Option<FlowId>,
    /// When it fails if there is no owner by then, on the guest's clock.
    until_ns: u64,
    answer: Option<Result<Vec<IpAddr>, CallFailure>>,
}

impl Lookup {
    /// Whether the guest can be told what came of it.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// How the owner knows it.
    pub(crate) fn id(&self) -> Option<FlowId> {
        self.id
    }

    /// Until when it waits for an owner, if it does.
    pub(crate) fn owner_awaited_until_ns(&self) -> Option<u64> {
        (self.id.is_none() && self.answer.is_none()).then_some(self.until_ns)
    }
}

/// The addresses that names were found to have, newest look-up last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins(VecDeque<(String, Vec<IpAddr>)>);

impl Pins {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn pin(&mut self, name: String, addresses: Vec<IpAddr>) {
        self.0.retain(|(known, _)| *known != name);
        if self.0.len() == MAX_PINNED_NAMES {
            self.0.pop_front();
        }
        self.0.push_back((name, addresses));
    }

    /// The names that an address was found under.
    pub(crate) fn names_of(&self, ip: IpAddr) -> impl Iterator<Item = &str> {
        let holds = move |addresses: &[IpAddr]| addresses.iter().any(|address| address.to_canonical() == ip);
        self.0.iter().filter(move |(_, addresses)| holds(addresses)).map(|(name, _)| name.as_str())
    }
}

impl Kernel {
    /// The addresses of a host name, in the order in which they are to be tried. Numbers are answered at once, and so is
    /// `localhost`.
    ///
    /// # Errors
    /// `acces` where the manifest names no such host, `noent` where there is none, and for a program by itself, `again`
    /// where it cannot be looked up now, `inval` for what is no name.
    pub fn resolve(&mut self, name: &[u8], first: bool) -> Result<Vec<IpAddr>, Stop> {
        if !first && self.tables.outward.lookup.is_some() {
            return self.looked_up();
        }
        let name = host_name(name)?;
        if let Some(addresses) = known(&name) {
            return Ok(addresses);
        }
        self.looked_at_rules(1);
        if !self.config.outbound.permits_name(&name) {
            // A program by itself is on a network of its own, where nobody else has a name.
            return Err(if self.is_solo() { Errno::Noent } else { Errno::Acces }.into());
        }
        self.drop_lookup();
        self.has_room_for_call()?;
        self.effects.begin_call();
        let until_ns = self.owner_awaited_until_ns();
        self.tables.outward.lookup = Some(Lookup { name, id: None, until_ns, answer: None });
        self.begin_lookup();
        self.looked_up()
    }

    /// What came of the look-up under way; blocks while there is no answer.
    fn looked_up(&mut self) -> Result<Vec<IpAddr>, Stop> {
        let answered = self.tables.outward.lookup.take_if(|lookup| lookup.answer.is_some());
        let Some(Lookup { name, answer: Some(answer), .. }) = answered else { return Err(Stop::Block) };
        let addresses = answer.map_err(errno_of)?;
        self.tables.outward.pins.pin(name, addresses.clone());
        Ok(addresses)
    }

    /// Asks the owner for what is looked up, if it was not asked; fails it when none can be, or came in time.
    pub(crate) fn begin_lookup(&mut self) {
        let now_ns = self.tables.clock.peek_ns();
        let waits = |lookup: &Lookup| lookup.id.is_none() && lookup.answer.is_none();
        if !self.tables.outward.lookup.as_ref().is_some_and(waits) {
            return;
        }
        let id = self.next_call();
        let Some(lookup) = &mut self.tables.outward.lookup else { return };
        match id {
            Some(id) => {
                lookup.id = Some(id);
                self.effects.call(id, EffectKind::Resolve, Bytes::copy_from_slice(lookup.name.as_bytes()));
            }
            None if now_ns < lookup.until_ns => {}
            None => lookup.answer = Some(Err(CallFailure::TemporaryFailure)),
        }
    }

    /// The owner's epoch ended: the next one is asked for what it did not answer.
    pub(crate) fn pass_on_lookup(&mut self, epoch: Epoch) {
        let until_ns = self.owner_awaited_until_ns();
        let open = self.tables.outward.lookup.as_mut().filter(|lookup| lookup.answer.is_none());
        if let Some(lookup) = open
            && let Some(id) = lookup.id.filter(|id| id.epoch == epoch)
        {
            (lookup.id, lookup.until_ns) = (None, until_ns);
            self.effects.forget(id);
            self.begin_lookup();
        }
    }

    /// Nobody waits for a look-up any more.
    pub(crate) fn drop_lookup(&mut self) {
        let Some(lookup) = self.tables.outward.lookup.take() else { return };
        if let Some(id) = lookup.id.filter(|_| lookup.answer.is_none()) {
            self.effects.reset(id);
        }
    }

    /// The owner says what a name's addresses are.
    pub(crate) fn resolved(&mut self, id: FlowId, addresses: Vec<IpAddr>) {
        self.answer_lookup(id, Ok(addresses));
    }

    /// The owner says that a look-up came to nothing.
    pub(crate) fn fail_lookup(&mut self, id: FlowId, failure: CallFailure) {
        self.answer_lookup(id, Err(failure));
    }

    fn answer_lookup(&mut self, id: FlowId, answer: Result<Vec<IpAddr>, CallFailure>) {
        let asked = self.tables.outward.lookup.as_mut().filter(|lookup| lookup.id == Some(id));
        if let Some(lookup) = asked {
            lookup.answer.get_or_insert(answer);
        }
    }
}

/// A host name as it is looked up: lower case, without a dot at its end.
fn host_name(name: &[u8]) -> Result<String, Errno> {
    let name = std::str::from_utf8(name).map_err(|_| Errno::Ilseq)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = !name.is_empty() && name.len() <= MAX_HOST_NAME_BYTES;
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_address = |name: &str| name.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    // Colons, the percent sign of a zone and brackets stand in addresses alone.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = name.bytes().all(plain) || is_address(name) || bare.is_some_and(is_address);
    if fits && is_name { Ok(bare.unwrap_or(name).to_ascii_lowercase()) } else { Err(Errno::Inval) }
}

/// What nobody needs to be asked for.
fn known(name: &str) -> Option<Vec<IpAddr>> {
    if name == "localhost" {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    name.parse().ok().map(|address| vec![address])
}
