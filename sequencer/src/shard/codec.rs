//! The bytes of a shard's state: what a member keeps when it cuts its log, and gives to one that joins.
//!
//! Canonical: one state has one form. Read are that form and what earlier versions wrote. A state is written in the
//! lowest version that has all of it: nodes that know no stateless services read it as long as there are none.
//! Integers are little endian; `docs/formats.md` draws it. Whoever keeps the bytes adds a checksum.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use refrain_wire::control::{Agreement, Release};
use refrain_wire::limits::{MAX_RELEASES, MAX_SEATS, MAX_SERVICE_NAME_BYTES, MAX_VERSION_BYTES};
use refrain_wire::{DecodeError, Digest, Epoch, GroupId, Incarnation, NodeId, Position, ProxyId, ShardId, Time};

use super::group::{Capture, Checkpoint, MAX_EARLIER_PROGRAMS, Program};
use super::{Deployment, EpochState, Group, MAX_DEPLOYED, MAX_GROUPS, MAX_PLACED, Recorded, SeatState, ShardState};

/// With stateless services, one at least; the first nodes that had them wrote it without any as well.
const VERSION_4: u8 = 4;
const VERSION_3: u8 = 3;
/// Whose epochs are for no outward calls.
const VERSION_2: u8 = 2;
/// Without histories, and without services that other shards have.
const VERSION_1: u8 = 1;

const HALTED: u8 = 1;
const CAPTURES: u8 = 2;
const HAS_CHECKPOINT: u8 = 4;
const HAS_EARLIER_CHECKPOINT: u8 = 8;
const HAS_HISTORY: u8 = 16;
const HAS_CAPTURED: u8 = 32;
/// Those of version 1.
const GROUP_FLAGS: u8 = HALTED | CAPTURES | HAS_CHECKPOINT | HAS_EARLIER_CHECKPOINT;

const HELD: u8 = 1;
const QUARANTINED: u8 = 2;
const KEPT_OUT: u8 = 4;
const WAS_QUARANTINED: u8 = 8;

/// The bits of the flags that hold.
fn flags(all: &[(bool, u8)]) -> u8 {
    all.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    fn state(&mut self, state: &ShardState) {
        self.u8(if state.deployed.is_empty() { VERSION_3 } else { VERSION_4 });
        self.u64(state.position.0);
        self.u64(state.time.micros());
        self.u64(state.term);
        self.bytes(&state.fold);
        self.u32(state.last_epoch.0);
        self.u32(state.epochs.len() as u32);
        for (epoch, open) in &state.epochs {
            self.u32(epoch.0);
            self.u16(open.proxy.0);
            self.u64(open.last);
            self.u64(open.nonce);
            self.u64(open.opened_at.0);
            self.u8(u8::from(open.outward));
        }
        self.u32(state.groups.len() as u32);
        for (id, group) in &state.groups {
            self.u32(id.0);
            self.group(group);
        }
        self.u32(state.placed.len() as u32);
        for (service, shard) in &state.placed {
            self.u16(service.len() as u16);
            self.bytes(service.as_bytes());
            self.u16(shard.0);
        }
        if !state.deployed.is_empty() {
            self.deployed(&state.deployed);
        }
    }

    fn deployed(&mut self, deployed: &BTreeMap<String, Deployment>) {
        self.u32(deployed.len() as u32);
        for (service, deployment) in deployed {
            self.u16(service.len() as u16);
            self.bytes(service.as_bytes());
            self.u64(deployment.at.0);
            self.u8(deployment.releases.len() as u8);
            deployment.releases.iter().for_each(|release| release.encode(&mut self.0));
        }
    }

    fn group(&mut self, group: &Group) {
        self.u16(group.service.len() as u16);
        self.bytes(group.service.as_bytes());
        self.u8(group.agreement as u8);
        self.u64(group.created.0);
        self.u64(group.last_turn.0);
        self.u64(group.unaudited_batches);
        self.u64(group.uncaptured_batches);
        self.u64(group.uncaptured_bytes);
        self.u8(flags(&[
            (group.halted.is_some(), HALTED),
            (group.capture.is_some(), CAPTURES),
            (group.checkpoint.is_some(), HAS_CHECKPOINT),
            (group.earlier_checkpoint.is_some(), HAS_EARLIER_CHECKPOINT),
            (group.history.is_some(), HAS_HISTORY),
            (group.captured.is_some(), HAS_CAPTURED),
        ]));
        if let Some(split) = group.halted {
            self.u64(split.0);
        }
        if let Some(capture) = group.capture {
            self.u64(capture.position.0);
            self.u64(capture.time.micros());
        }
        for checkpoint in group.checkpoints() {
            self.u64(checkpoint.position.0);
            self.bytes(&checkpoint.root);
        }
        for recorded in [group.history, group.captured].into_iter().flatten() {
            self.u64(recorded.after.0);
            self.u64(recorded.bytes);
            self.bytes(&recorded.chain);
        }
        self.u16(group.earlier.len() as u16);
        for program in group.earlier.iter().copied().chain([group.program()]) {
            self.u64(program.from.0);
            self.bytes(&program.bundle);
            self.bytes(&program.engine.0);
        }
        for seats in [&group.seats, &group.given_up] {
            self.u8(seats.len() as u8);
            seats.iter().for_each(|seat| self.seat(seat));
        }
    }

    fn seat(&mut self, seat: &SeatState) {
        self.u8(flags(&[
            (seat.node.is_some(), HELD),
            (seat.quarantined, QUARANTINED),
            (seat.kept_out, KEPT_OUT),
            (seat.quarantined_at.is_some(), WAS_QUARANTINED),
        ]));
        self.u32(seat.incarnation.0);
        if let Some(node) = seat.node {
            self.u64(node.0);
            self.u64(seat.from.0);
            self.u64(seat.taken_at.0);
        }
        if let Some(time) = seat.quarantined_at {
            self.u64(time.micros());
        }
    }
}

type Read<T> = Result<T, DecodeError>;

struct Reader<'a>(&'a [u8]);

fn unknown(what: &'static str, value: impl Into<u64>) -> DecodeError {
    DecodeError::Unknown { what, value: value.into() }
}

fn bounded(what: &'static str, value: usize, limit: usize) -> Read<usize> {
    let (given, limit_given) = (value as u64, limit as u64);
    if value > limit { Err(DecodeError::TooLarge { what, value: given, limit: limit_given }) } else { Ok(value) }
}

impl Reader<'_> {
    fn slice(&mut self, what: &'static str, needed: usize) -> Read<&[u8]> {
        let short = DecodeError::Short { what, needed, left: self.0.len() };
        let (taken, rest) = self.0.split_at_checked(needed).ok_or(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Read<[u8; N]> {
        Ok(self.slice(what, N)?.try_into().expect("slice returns exactly N bytes"))
    }

    fn u8(&mut self, what: &'static str) -> Read<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    fn u16(&mut self, what: &'static str) -> Read<u16> {
        self.array(what).map(u16::from_le_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Read<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Read<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn position(&mut self, what: &'static str) -> Read<Position> {
        self.u64(what).map(Position)
    }

    fn time(&mut self, what: &'static str) -> Read<Time> {
        let micros = self.u64(what)?;
        if micros > Time::MAX.micros() { Err(unknown(what, micros)) } else { Ok(Time::from_micros(micros)) }
    }

    /// Flags, of which only those in `known` may be set.
    fn flags(&mut self, what: &'static str, known: u8) -> Read<u8> {
        let flags = self.u8(what)?;
        if flags & !known == 0 { Ok(flags) } else { Err(unknown(what, flags)) }
    }

    fn state(&mut self) -> Read<ShardState> {
        let version = self.u8("version of the shard's state")?;
        let known = match version {
            VERSION_4 | VERSION_3 | VERSION_2 => GROUP_FLAGS | HAS_HISTORY | HAS_CAPTURED,
            VERSION_1 => GROUP_FLAGS,
            other => return Err(unknown("version of the shard's state", other)),
        };
        let mut state = ShardState {
            position: self.position("position")?,
            time: self.time("time")?,
            term: self.u64("term")?,
            fold: self.array("entropy")?,
            last_epoch: Epoch(self.u32("last epoch")?),
            ..ShardState::default()
        };
        state.epochs = self.epochs(state.last_epoch, version)?;
        for _ in 0..bounded("group count", self.u32("group count")? as usize, MAX_GROUPS)? {
            let id = GroupId(self.u32("group")?);
            let rises = state.groups.last_key_value().map_or(id != GroupId::SHARD, |(last, _)| *last < id);
            let group = self.group(known)?;
            if !rises || !state.services.insert(group.service.clone()) {
                return Err(unknown("group", id.0));
            }
            state.groups.insert(id, group);
        }
        if version > VERSION_1 {
            self.placed(&mut state)?;
        }
        if version > VERSION_3 {
            self.deployed(&mut state)?;
        }
        Ok(state)
    }

    fn deployed(&mut self, state: &mut ShardState) -> Read<()> {
        let count = bounded("deployed count", self.u32("deployed count")? as usize, MAX_DEPLOYED)?;
        for nth in 0..count {
            let (service, at) = (self.service()?, self.position("deployed at")?);
            let releases = bounded("release count", self.u8("release count")?.into(), MAX_RELEASES)?;
            let releases = (0..releases).map(|_| self.release()).collect::<Read<Vec<_>>>()?;
            let rises = state.deployed.last_key_value().is_none_or(|(last, _)| *last < service);
            let sorted = releases.is_sorted_by(|one, other| one.version < other.version);
            if !rises || !sorted || releases.is_empty() || at == Position(0) || at > state.position {
                return Err(unknown("deployed service", nth as u64));
            }
            state.deployed.insert(service, Deployment { at, releases });
        }
        Ok(())
    }

    fn release(&mut self) -> Read<Release> {
        let (bundle, weight) = (self.array("bundle digest")?, self.u16("weight")?);
        let what = "version";
        let len = bounded(what, self.u16(what)?.into(), MAX_VERSION_BYTES)?;
        let version = self.slice(what, len)?.to_vec();
        Ok(Release { version: String::from_utf8(version).map_err(|_| DecodeError::NotText { what })?, bundle, weight })
    }

    fn placed(&mut self, state: &mut ShardState) -> Read<()> {
        let what = "placed service";
        let count = bounded("placed count", self.u32("placed count")? as usize, MAX_PLACED)?;
        for nth in 0..count {
            let (service, shard) = (self.service()?, ShardId(self.u16("shard")?));
            let rises = state.placed.last_key_value().is_none_or(|(last, _)| *last < service);
            if !rises || shard == ShardId::FIRST || state.services.contains(&service) {
                return Err(unknown(what, nth as u64));
            }
            state.placed.insert(service, shard);
        }
        Ok(())
    }

    fn epochs(&mut self, newest: Epoch, version: u8) -> Read<BTreeMap<Epoch, EpochState>> {
        let (mut epochs, mut proxies) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..self.u32("epoch count")? {
            let epoch = Epoch(self.u32("epoch")?);
            let rises = epochs.last_key_value().is_none_or(|(last, _)| *last < epoch);
            let proxy = ProxyId(self.u16("proxy")?);
            if !rises || epoch == Epoch(0) || epoch > newest || !proxies.insert(proxy) {
                return Err(unknown("epoch", epoch.0));
            }
            let (last, nonce) = (self.u64("last submission")?, self.u64("nonce")?);
            let opened_at = self.position("opened at")?;
            let outward = version > VERSION_2 && self.flags("whether an epoch is for outward calls", 1)? == 1;
            epochs.insert(epoch, EpochState { proxy, last, nonce, opened_at, outward });
        }
        Ok(epochs)
    }

    fn group(&mut self, known: u8) -> Read<Group> {
        let service = self.service()?;
        let agreement = match self.u8("agreement")? {
            1 => Agreement::Majority,
            2 => Agreement::All,
            3 => Agreement::None,
            other => return Err(unknown("agreement", other)),
        };
        let (created, last_turn) = (self.position("created")?, self.position("last turn")?);
        let (unaudited_batches, uncaptured_batches) = (self.u64("batch count")?, self.u64("batch count")?);
        let uncaptured_bytes = self.u64("byte count")?;
        let flags = self.flags("group's flags", known)?;
        let halted = (flags & HALTED != 0).then(|| self.position("split")).transpose()?;
        let capture = (flags & CAPTURES != 0).then(|| self.capture()).transpose()?;
        let checkpoint = (flags & HAS_CHECKPOINT != 0).then(|| self.checkpoint()).transpose()?;
        let earlier_checkpoint = (flags & HAS_EARLIER_CHECKPOINT != 0).then(|| self.checkpoint()).transpose()?;
        let history = (flags & HAS_HISTORY != 0).then(|| self.recorded()).transpose()?;
        let captured = (flags & HAS_CAPTURED != 0).then(|| self.recorded()).transpose()?;
        let count = bounded("program count", self.u16("program count")?.into(), MAX_EARLIER_PROGRAMS)?;
        let earlier = (0..count).map(|_| self.program()).collect::<Read<Vec<_>>>()?;
        let Program { from: upgraded_at, bundle, engine } = self.program()?;
        let (seats, given_up) = (self.seats()?, self.seats()?);
        bounded("seat count", seats.len() + given_up.len(), usize::from(MAX_SEATS))?;
        Ok(Group {
            service,
            bundle,
            engine,
            upgraded_at,
            earlier,
            agreement,
            seats,
            given_up,
            halted,
            created,
            last_turn,
            unaudited_batches,
            uncaptured_batches,
            uncaptured_bytes,
            capture,
            checkpoint,
            earlier_checkpoint,
            history,
            captured,
        })
    }

    fn service(&mut self) -> Read<String> {
        let what = "service name";
        let len = bounded(what, self.u16(what)?.into(), MAX_SERVICE_NAME_BYTES)?;
        String::from_utf8(self.slice(what, len)?.to_vec()).map_err(|_| DecodeError::NotText { what })
    }

    fn capture(&mut self) -> Read<Capture> {
        Ok(Capture { position: self.position("capture")?, time: self.time("capture's time")? })
    }

    fn checkpoint(&mut self) -> Read<Checkpoint> {
        Ok(Checkpoint { position: self.position("checkpoint")?, root: self.array("root")? })
    }

    fn recorded(&mut self) -> Read<Recorded> {
        Ok(Recorded {
            after: self.position("history's position")?,
            bytes: self.u64("history's bytes")?,
            chain: self.array("history's chain")?,
        })
    }

    fn program(&mut self) -> Read<Program> {
        let from = self.position("program's position")?;
        Ok(Program { from, bundle: self.array("bundle digest")?, engine: Digest(self.array("engine key")?) })
    }

    fn seats(&mut self) -> Read<Vec<SeatState>> {
        let count = bounded("seat count", self.u8("seat count")?.into(), MAX_SEATS.into())?;
        (0..count).map(|_| self.seat()).collect()
    }

    fn seat(&mut self) -> Read<SeatState> {
        let flags = self.flags("seat's flags", HELD | QUARANTINED | KEPT_OUT | WAS_QUARANTINED)?;
        let mut seat = SeatState {
            incarnation: Incarnation(self.u32("incarnation")?),
            quarantined: flags & QUARANTINED != 0,
            kept_out: flags & KEPT_OUT != 0,
            ..SeatState::default()
        };
        if flags & HELD != 0 {
            seat.node = Some(NodeId(self.u64("node")?));
            seat.from = self.position("checkpoint position")?;
            seat.taken_at = self.position("taken at")?;
        }
        if flags & WAS_QUARANTINED != 0 {
            seat.quarantined_at = Some(self.time("quarantined at")?);
        }
        Ok(seat)
    }
}

impl ShardState {
    /// The state's bytes: equal states have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.state(self);
        Bytes::from(writer.0)
    }

    /// Reads what [`ShardState::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are not the form of a state.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        let state = reader.state()?;
        match reader.0.len() {
            0 => Ok(state),
            extra => Err(DecodeError::Trailing { what: "shard's state", extra }),
        }
    }
}
