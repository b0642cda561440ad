//! Outward connections: what a guest opens, who performs it, and what comes of it.
//!
//! A `connect` is an effect for one proxy, its owner: of the open epochs whose proxies may go outward, that of the
//! lowest proxy. Kernels know them by events of the shard, so the owner is a function of the log. Votes of a turn are
//! for epochs that began before it, hence one that begins in a turn is an owner from the next on. Where there is none,
//! a call waits for one, but not for ever.
//!
//! When an owner's epoch ends without an answer, a connect fails with `connaborted`: it may have happened. Serials of an
//! epoch go round: one that is in use is passed over, and one that becomes free is among the last to be given again, so
//! that nothing of the old call is taken for the new one's. Rules: section 10 of the design; what may be reached:
//! [`crate::outbound`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use refrain_wire::outward::{FIRST_OUTWARD_SERIAL, Owner};
use refrain_wire::{CallFailure, EffectKind, Epoch, FlowId, Protocol, ProxyHeader, Serial, Target};
use serde::{Deserialize, Serialize};

use crate::Stop;
use crate::descriptor::Object;
use crate::errno::Errno;
use crate::flow::{Flow, Link};
use crate::kernel::{FlowSlot, Kernel};
use crate::lookup::{Lookup, Pins};
use crate::slots::Slots;

/// The epoch of calls that have no owner yet; the log gives out none of that number.
pub(crate) const NOBODY: Epoch = Epoch(0);
/// How many serials there are for the calls of a group in an epoch.
const SERIALS: u32 = u32::MAX - FIRST_OUTWARD_SERIAL.0 + 1;
/// At least so many calls are made before a serial that became free is given again. Records of the old call, which may be
/// on their way then, come long before.
const REST: u32 = 1 << 20;
/// What looking at one rule for one name costs, in the kernel's units of work.
const RULE_WORK: u64 = 4;

/// How long a call waits for an owner, in log time.
pub const OWNER_PATIENCE: Duration = Duration::from_secs(30);

/// A connect without an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    /// By its number among those that ever waited.
    id: FlowId,
    /// When it fails, on the guest's clock.
    until_ns: u64,
}

/// Who may be asked, and what was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outward {
    /// Open epochs that may be given calls, with how many serials each gave out since they began anew.
    owners: BTreeMap<Owner, u32>,
    /// Those that began in this turn.
    opening: Vec<Owner>,
    /// Connects without an owner, in order.
    waiting: VecDeque<Waiting>,
    waited: u32,
    /// Connections and associations that the guest opened.
    pub(crate) open: u32,
    /// The look-up under way: a guest waits in one call at a time.
    pub(crate) lookup: Option<Lookup>,
    pub(crate) pins: Pins,
}

impl Outward {
    /// An epoch that may be given calls from the next turn on.
    pub(crate) fn opened(&mut self, owner: Owner) {
        self.opening.push(owner);
    }

    /// Whether an epoch may be given calls in the next turn that may not in this one.
    pub(crate) fn is_opening(&self) -> bool {
        !self.opening.is_empty()
    }

    /// An epoch is over.
    pub(crate) fn ended(&mut self, epoch: Epoch) {
        self.owners.retain(|owner, _| owner.epoch != epoch);
        self.opening.retain(|owner| owner.epoch != epoch);
    }

    /// The flow that comes next with the first owner, free or not; none while there is no owner.
    fn next_id(&mut self) -> Option<FlowId> {
        let mut owners = self.owners.iter_mut();
        let (owner, given) = owners.next()?;
        let before = *given % SERIALS;
        *given = before + 1;
        Some(FlowId { epoch: owner.epoch, serial: Serial(FIRST_OUTWARD_SERIAL.0 + before) })
    }

    /// A flow became free: its serial is not among the next ones.
    pub(crate) fn rest(&mut self, id: FlowId) {
        let owner = self.owners.iter_mut().find(|(owner, _)| owner.epoch == id.epoch && id.is_outward());
        if let Some((_, given)) = owner {
            let serial = id.serial.0 - FIRST_OUTWARD_SERIAL.0;
            if serial.wrapping_sub(*given) % SERIALS < REST {
                *given = serial + 1;
            }
        }
    }

    /// A number that no call has that waits or waited for an owner.
    fn next_waited(&mut self) -> u32 {
        self.waited = self.waited.wrapping_add(1);
        self.waited
    }

    /// What the next program begins with: the owners, whose serials go on.
    pub(crate) fn successor(&self) -> Self {
        Self { owners: self.owners.clone(), opening: self.opening.clone(), ..Self::default() }
    }
}

impl Kernel {
    /// A flow of the first owner for a call; none while there is no owner. At most as many serials are in use as the
    /// manifest allows calls, so there is always another.
    pub(crate) fn next_call(&mut self) -> Option<FlowId> {
        loop {
            let id = self.tables.outward.next_id()?;
            if !self.is_in_use(id) && !self.former_calls.contains(&id) {
                return Some(id);
            }
        }
    }

    /// An id that no proxy knows.
    pub(crate) fn ownerless_id(&mut self) -> FlowId {
        loop {
            let id = FlowId { epoch: NOBODY, serial: Serial(self.tables.outward.next_waited()) };
            if !self.is_in_use(id) {
                return id;
            }
        }
    }

    fn is_in_use(&self, id: FlowId) -> bool {
        let tables = &self.tables;
        let is_looked_up = tables.outward.lookup.as_ref().and_then(Lookup::id) == Some(id);
        is_looked_up || tables.by_id.contains_key(&id) || tables.datagrams.has(id)
    }

    /// The calls of the guest that are in use, for one that may take over.
    pub(crate) fn calls_in_use(&self) -> BTreeSet<FlowId> {
        let flows = self.tables.by_id.keys().copied();
        let all =
            flows.chain(self.tables.datagrams.ids()).chain(self.tables.outward.lookup.as_ref().and_then(Lookup::id));
        all.filter(|id| id.is_outward()).collect()
    }

    /// The calls that are under way or open, which the manifest limits.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.tables.outward.open + u32::from(self.tables.outward.lookup.is_some())
    }

    /// Whether one more call may be made, and in this turn.
    pub(crate) fn has_room_for_call(&mut self) -> Result<(), Stop> {
        if self.calls() >= self.config.max_outward {
            return Err(Errno::Nobufs.into());
        }
        if self.effects.spent().fits_call() { Ok(()) } else { Err(self.turn_is_full()) }
    }

    /// Notes that so many names were compared with every rule.
    pub(crate) fn looked_at_rules(&mut self, names: usize) {
        self.add_work(RULE_WORK * names as u64 * self.config.outbound.rules().len() as u64);
    }

    /// The header that a connection to `address` begins with; an error when the manifest does not allow it.
    pub(crate) fn permit(&mut self, address: SocketAddr, protocol: Protocol) -> Result<ProxyHeader, Errno> {
        self.looked_at_rules(1 + self.tables.outward.pins.len());
        let ip = address.ip().to_canonical();
        let names = self.tables.outward.pins.names_of(ip);
        let rule = self.config.outbound.rule_for(ip, address.port(), protocol, names).ok_or(Errno::Acces)?;
        Ok(rule.proxy_header.unwrap_or_default())
    }

    /// `connect`. A socket that does not wait is told `inprogress`, and by [`Kernel::take_socket_error`] what came of it.
    pub fn connect(&mut self, fd: u32, address: SocketAddr, first: bool) -> Result<(), Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        let nonblocking = descriptor.nonblocking();
        match descriptor.object {
            Object::Socket { backlog: None, .. } if self.is_own(address) => Ok(self.connect_own(fd, address)?),
            Object::Socket { backlog: None, .. } => {
                self.begin_connect(fd, address)?;
                if nonblocking { Err(Errno::Inprogress.into()) } else { Err(Stop::Block) }
            }
            Object::Socket { .. } => Err(Errno::Isconn.into()),
            Object::Datagram { slot } => Ok(self.connect_datagram(slot, address)?),
            Object::Flow { .. } => self.connection(fd, first),
            _ => Err(Errno::Notsock.into()),
        }
    }

    /// What a call finds on a socket that is connected or about to be.
    fn connection(&mut self, fd: u32, first: bool) -> Result<(), Stop> {
        let slot = self.flow_slot(fd)?.ok_or(Errno::Connreset)?;
        match self.tables.flows.get(slot).expect("flow_slot checks the slot").flow.link {
            Link::Open if first => Err(Errno::Isconn.into()),
            Link::Open => Ok(()),
            Link::Connecting(_) if first => Err(Errno::Already.into()),
            Link::Connecting(_) => Err(Stop::Block),
            Link::Failed(errno) => {
                self.disconnect(fd, slot);
                Err(errno.into())
            }
        }
    }

    /// A socket whose call failed is an idle one again, once that was told.
    fn disconnect(&mut self, fd: u32, slot: u32) {
        let removed = self.tables.flows.remove(slot).expect("callers pass a live slot");
        self.tables.outward.open -= 1;
        if let Ok(descriptor) = self.tables.descriptors.get_mut(fd) {
            descriptor.object = Object::Socket { bound: None, v6: removed.flow.peer.is_ipv6(), backlog: None };
        }
    }

    fn begin_connect(&mut self, fd: u32, address: SocketAddr) -> Result<(), Stop> {
        if address.port() == 0 {
            return Err(Errno::Addrnotavail.into());
        }
        let header = self.permit(address, Protocol::Tcp)?;
        self.has_room_for_call()?;
        let until_ns = self.owner_awaited_until_ns();
        let id = self.next_call().unwrap_or_else(|| {
            let id = self.ownerless_id();
            self.tables.outward.waiting.push_back(Waiting { id, until_ns });
            id
        });
        self.tables.outward.open += 1;
        self.effects.begin_call();
        self.tables.next_stamp += 1;
        let stamp = self.tables.next_stamp;
        let flow = Flow::outward(id, address, header);
        let slot = self.tables.flows.insert(FlowSlot { stamp, flow });
        self.tables.by_id.insert(id, slot);
        self.tables.descriptors.get_mut(fd)?.object = Object::Flow { slot, stamp };
        if id.epoch != NOBODY {
            self.tell_connect(id, address, header);
        }
        Ok(())
    }

    fn tell_connect(&mut self, id: FlowId, address: SocketAddr, header: ProxyHeader) {
        let target = Target { protocol: Protocol::Tcp, header, address };
        self.effects.call(id, EffectKind::Connect, target.encode());
    }

    /// Epochs that began in the last turn are owners now, and calls that waited for one are made, or have waited too long.
    pub(crate) fn begin_owners(&mut self) {
        for owner in std::mem::take(&mut self.tables.outward.opening) {
            self.tables.outward.owners.insert(owner, 0);
        }
        let now_ns = self.tables.clock.peek_ns();
        while let Some(Waiting { id: before, until_ns }) = self.tables.outward.waiting.front().cloned() {
            match self.next_call() {
                Some(id) => self.give_to_owner(before, id),
                None if now_ns < until_ns => break,
                None => drop(self.fail_call(before, Errno::Netunreach)),
            }
            self.tables.outward.waiting.pop_front();
        }
        self.begin_lookup();
    }

    fn give_to_owner(&mut self, before: FlowId, id: FlowId) {
        let Some(slot) = self.tables.by_id.remove(&before) else { return };
        self.tables.by_id.insert(id, slot);
        let flow = &mut self.tables.flows.get_mut(slot).expect("every id has its slot").flow;
        flow.id = id;
        let (address, link) = (flow.peer, flow.link);
        if let Link::Connecting(header) = link {
            self.tell_connect(id, address, header);
        }
    }

    /// Until when a call that begins to wait for an owner does so, on the guest's clock.
    pub(crate) fn owner_awaited_until_ns(&self) -> u64 {
        self.tables.clock.peek_ns().saturating_add(OWNER_PATIENCE.as_nanos() as u64)
    }

    /// Calls that wait for an owner want a turn when there is one, or when they have waited too long.
    pub(crate) fn wait_for_owner(&mut self) {
        let outward = &self.tables.outward;
        let connect = outward.waiting.front().map(|waiting| waiting.until_ns);
        let lookup = outward.lookup.as_ref().and_then(Lookup::owner_awaited_until_ns);
        let Some(until_ns) = [connect, lookup].into_iter().flatten().min() else { return };
        if outward.is_opening() {
            self.wait_for_next_turn();
        } else {
            self.wait_until(until_ns);
        }
    }

    /// The guest ended, and its calls were given up: those that failed, which it was not told, are gone too.
    pub(crate) fn forget_failed_calls(&mut self) {
        self.tables.flows = Slots::default();
        self.tables.outward.open = 0;
    }

    /// The owner says that a connection is there.
    pub(crate) fn connected(&mut self, id: FlowId, local: SocketAddr) {
        if let Some(flow) = self.connecting(id) {
            flow.link = Link::Open;
            flow.local = Some(local);
            flow.port = local.port();
        }
    }

    /// The owner says that a call came to nothing.
    pub(crate) fn call_failed(&mut self, id: FlowId, failure: CallFailure) {
        if !self.fail_call(id, errno_of(failure)) {
            self.fail_lookup(id, failure);
            self.fail_association(id, errno_of(failure));
        }
    }

    /// Ends a call that was not answered yet; false when there is none.
    pub(crate) fn fail_call(&mut self, id: FlowId, errno: Errno) -> bool {
        let Some(flow) = self.connecting(id) else { return false };
        flow.link = Link::Failed(errno);
        self.tables.by_id.remove(&id);
        true
    }

    fn connecting(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.tables.by_id.get(&id)?;
        let flow = &mut self.tables.flows.get_mut(*slot)?.flow;
        matches!(flow.link, Link::Connecting(_)).then_some(flow)
    }

    /// The guest closes the descriptor of a call that was not answered, or whose failure it was not told: true when it is
    /// one, and it is gone.
    pub(crate) fn give_up_call(&mut self, slot: u32) -> bool {
        let flow = &self.tables.flows.get(slot).expect("callers pass a live slot").flow;
        match flow.link {
            Link::Open => false,
            Link::Connecting(_) => {
                let id = flow.id;
                self.reset_flow(id);
                true
            }
            Link::Failed(_) => {
                self.tables.flows.remove(slot);
                self.tables.outward.open -= 1;
                true
            }
        }
    }

    /// What `SO_ERROR` answers: what came of a connect that did not wait. Told once.
    pub fn take_socket_error(&mut self, fd: u32) -> Result<Option<Errno>, Errno> {
        match self.tables.descriptors.get(fd)?.object {
            Object::Socket { .. } => Ok(None),
            Object::Datagram { slot } => Ok(self.take_datagram_error(slot)),
            Object::Flow { .. } => {
                let Some(slot) = self.flow_slot(fd)? else { return Ok(Some(Errno::Connreset)) };
                let Some(Link::Failed(errno)) = self.tables.flows.get(slot).map(|slot| slot.flow.link) else {
                    return Ok(None);
                };
                self.disconnect(fd, slot);
                Ok(Some(errno))
            }
            _ => Err(Errno::Notsock),
        }
    }

    /// A flow is gone: one that the guest opened makes room for another call.
    pub(crate) fn outward_gone(&mut self, id: FlowId) {
        if id.is_outward() || id.epoch == NOBODY {
            self.tables.outward.open -= 1;
            self.tables.outward.rest(id);
        }
        if id.epoch == NOBODY {
            self.tables.outward.waiting.retain(|waiting| waiting.id != id);
        }
    }

    /// Whether the proxies know of a flow.
    pub(crate) fn is_told(id: FlowId) -> bool {
        id.epoch != NOBODY
    }
}

/// What a guest is told about a failed call.
pub(crate) fn errno_of(failure: CallFailure) -> Errno {
    match failure {
        CallFailure::Refused => Errno::Connrefused,
        CallFailure::TimedOut => Errno::Timedout,
        CallFailure::HostUnreachable => Errno::Hostunreach,
        CallFailure::NetworkUnreachable => Errno::Netunreach,
        CallFailure::Reset => Errno::Connreset,
        CallFailure::NotFound => Errno::Noent,
        CallFailure::TemporaryFailure => Errno::Again,
        CallFailure::Denied => Errno::Acces,
        CallFailure::NoRoom => Errno::Nobufs,
        CallFailure::Other => Errno::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GuestConfig, RestartPolicy};
    use crate::fs::BundleFiles;
    use bytes::Bytes;
    use refrain_wire::{GroupId, ProxyId};

    fn owner(proxy: u16) -> Owner {
        Owner { proxy: ProxyId(proxy), epoch: Epoch(u32::from(proxy)) }
    }

    fn id(epoch: u32, number: u32) -> FlowId {
        FlowId { epoch: Epoch(epoch), serial: Serial(FIRST_OUTWARD_SERIAL.0 + number) }
    }

    /// An owner that has given out so many serials.
    fn outward(given: u32) -> Outward {
        Outward { owners: BTreeMap::from([(owner(1), given), (owner(2), 0)]), ..Outward::default() }
    }

    #[test]
    fn the_first_owner_is_asked_and_its_serials_go_round() {
        assert_eq!(Outward::default().next_id(), None);
        let mut outward = outward(SERIALS - 1);
        assert_eq!([outward.next_id(), outward.next_id()], [Some(id(1, SERIALS - 1)), Some(id(1, 0))]);
        outward.ended(Epoch(1));
        assert_eq!(outward.next_id(), Some(id(2, 0)));
    }

    #[test]
    fn a_serial_that_becomes_free_is_not_among_the_next() {
        let next_after = |given, freed| {
            let mut outward = outward(given);
            outward.rest(freed);
            outward.next_id()
        };
        assert_eq!(next_after(5, id(1, 4)), Some(id(1, 5)), "it was given just now");
        assert_eq!(next_after(5, id(1, 5)), Some(id(1, 6)));
        assert_eq!(next_after(5, id(1, 4 + REST)), Some(id(1, 5 + REST)));
        assert_eq!(next_after(5, id(1, 5 + REST)), Some(id(1, 5)));
        assert_eq!(next_after(SERIALS - 2, id(1, 7)), Some(id(1, 8)), "they go round");
        assert_eq!(next_after(SERIALS, id(1, 0)), Some(id(1, 1)));
        assert_eq!(next_after(SERIALS - 1, id(1, SERIALS - 1)), Some(id(1, 0)));
        assert_eq!(next_after(5, id(2, 5)), Some(id(1, 5)), "it is another owner's");
    }

    /// A kernel whose one owner is about to give its first serial again.
    fn kernel() -> Kernel {
        let config = GuestConfig {
            args: Vec::new(),
            env: Vec::new(),
            ports: Vec::new(),
            max_descriptors: 100,
            max_flows: 100,
            socket_buffer_bytes: 1000,
            socket_buffers_bytes: 10_000,
            files_bytes: 1 << 20,
            max_inodes: 100,
            outbound: Default::default(),
            max_outward: 100,
            log_lines_per_second: 100,
            restart: RestartPolicy::Never,
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
        };
        let bundle = BundleFiles::new(Vec::<(Vec<u8>, Bytes)>::new()).expect("no path is a bad one");
        let mut kernel = Kernel::new(GroupId(1), config, &bundle);
        kernel.tables.outward.owners = BTreeMap::from([(owner(1), SERIALS)]);
        kernel
    }

    #[test]
    fn calls_that_are_in_use_are_passed_over() {
        let mut kernel = kernel();
        kernel.tables.by_id.extend([(id(1, 0), 0), (id(1, 2), 1)]);
        assert_eq!(kernel.calls_in_use(), BTreeSet::from([id(1, 0), id(1, 2)]));
        assert_eq!([kernel.next_call(), kernel.next_call()], [Some(id(1, 1)), Some(id(1, 3))]);
        kernel.former_calls = BTreeSet::from([id(1, 4)]);
        assert_eq!(kernel.next_call(), Some(id(1, 5)), "they may be the former program's");
    }

    #[test]
    fn numbers_of_calls_that_wait_go_round_past_those_in_use() {
        let mut kernel = kernel();
        let waits = |serial| FlowId { epoch: NOBODY, serial: Serial(serial) };
        kernel.tables.outward.waited = u32::MAX - 1;
        kernel.tables.by_id.insert(waits(u32::MAX), 0);
        assert_eq!(kernel.ownerless_id(), waits(0));
    }
}
