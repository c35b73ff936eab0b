//! The election thread: owns every [`Router`], the sockets advertisements leave by, and the
//! lease words of the data plane.
//!
//! Nothing slow runs here. What touches netlink, files or other processes is posted to the
//! effects task through a bounded queue; what it finds out comes back as a [`Command`]. Sockets
//! are opened and closed over there too: joining and leaving a group waits for the lock under
//! which the kernel configures every interface.
//!
//! One pass of the loop, whatever woke it: commands, then everything the kernel has heard, then
//! the clock. Timers are judged last, so that an advertisement that lies in the ring buffer is
//! never overtaken by the deadline it should have moved. Before a Backup's deadline counts, all
//! Backups read the last-advert record that the kernel keeps: one wake-up serves them all, and
//! an unchanged advertisement costs nothing in between.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use ha_common::event::AdvertEvent;
use ha_common::maps::{Cast, Instance as Wire, LastDrop, Role};
use ha_common::verdict::{Fate, Verdict, Verdicts};
use ha_common::vrrp::{AUTH_NONE, AUTH_PASS, GROUP_IPV4, GROUP_IPV6};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::advert::{Receiver, Sender};
use crate::config::model::Instance;
use crate::dataplane::Fast;
use crate::sys;
use crate::vrrp::packet::{self, Arrival, Message};
use crate::vrrp::types::{
    AdvertPriority, Family, Instant, Priority, active_down_interval, to_wire,
};
use crate::vrrp::{
    Action, Advert, Announcement, Input, LinkState, Reason, Router, State, router::RoleName,
};

/// Advertisements taken from the kernel per pass: more than it holds, so that a flood cannot keep
/// the clock from being read.
const EVENTS_PER_PASS: usize = 1024;
/// How often the thread says that it lives.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Pause before effects that found their queue full are offered again.
const BACKLOG_RETRY: Duration = Duration::from_millis(5);
/// A record that the program was writing when it was read.
const WRITING: Instant = Instant(ha_common::maps::WRITING);
/// Part of an interval by which an advertisement may leave early to share a wake-up.
const EARLY_PART: u32 = 16;
/// Longest frame read without a program: an unfragmented advertisement and its headers.
const FRAME_LEN: usize = 2048;

/// What the effects task tells the engine.
#[derive(Debug)]
pub enum Command {
    /// The interface of an instance changed.
    Link {
        /// Which instance.
        slot: usize,
        /// Interface index; 0 when it is missing.
        ifindex: u32,
        /// What the election makes of it.
        state: LinkState,
        /// What to speak and hear with, of a link that is up.
        sockets: Option<Sockets>,
    },
    /// The virtual addresses of an instance could not be added.
    AddressesFailed {
        /// Which instance.
        slot: usize,
    },
    /// New settings for an instance; interface, family, version and VRID stay.
    Reload {
        /// Which instance.
        slot: usize,
        /// The settings.
        settings: Box<Instance>,
    },
    /// Report on every instance.
    Report(oneshot::Sender<Vec<Report>>),
    /// Stop gracefully; the engine's future ends when every router has.
    Shutdown,
}

/// What an instance speaks with, and without a program hears with. Shared, so that the election
/// thread is never the last to close one.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// Bound to the interface and the source address.
    pub sender: Arc<Sender>,
    /// The interface's ear when there is no program.
    pub receiver: Option<Arc<Receiver>>,
}

/// What the engine asks of the effects task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put the addresses of an instance on its interface.
    Hold {
        /// Which instance.
        slot: usize,
    },
    /// Take them off at that time.
    Release {
        /// Which instance.
        slot: usize,
        /// When.
        at: Instant,
    },
    /// Announce them.
    Announce {
        /// Which instance.
        slot: usize,
        /// Why.
        why: Announcement,
    },
}

impl Effect {
    const fn slot(self) -> usize {
        match self {
            Self::Hold { slot } | Self::Release { slot, .. } | Self::Announce { slot, .. } => slot,
        }
    }

    /// Whether `earlier`, still waiting, is pointless now. A release ends announcements too.
    fn overrides(self, earlier: Self) -> bool {
        self.slot() == earlier.slot()
            && match self {
                Self::Release { .. } => true,
                Self::Hold { .. } => !matches!(earlier, Self::Announce { .. }),
                Self::Announce { .. } => matches!(earlier, Self::Announce { .. }),
            }
    }

    /// Whether `later` adds nothing to this one: a takeover announces all that a conflict would,
    /// and begins what a conflict only repeats.
    fn covers(self, later: Self) -> bool {
        self.slot() == later.slot()
            && matches!(
                (self, later),
                (
                    Self::Announce { .. },
                    Self::Announce {
                        why: Announcement::Conflict,
                        ..
                    }
                )
            )
    }
}

/// What status and alarms need to know of one instance.
#[derive(Clone, Debug)]
pub struct Report {
    /// The state.
    pub state: RoleName,
    /// Whether a graceful stop waits for a successor.
    pub leaving: bool,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub reason: Reason,
    /// Priority in force.
    pub priority: Priority,
    /// Active_Down_Interval with the interval learnt.
    pub down: Duration,
    /// Own source address.
    pub local: Option<IpAddr>,
    /// The last valid advertisement.
    pub last: Option<Advert>,
    /// End of the lease, when there is one.
    pub lease_until: Option<Instant>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements that could not be sent.
    pub failed: u64,
    /// Times it became Active.
    pub became_active: u64,
    /// Frames by verdict, as far as they were judged in user space.
    pub verdicts: Verdicts,
    /// The last advertisement discarded in user space.
    pub last_drop: Option<LastDrop>,
    /// Why the last advertisement that could not be sent could not.
    pub send_error: String,
}

/// Until when this node may answer for each instance; read by whoever speaks in its name.
#[derive(Debug)]
pub struct Leases(Box<[AtomicU64]>);

impl Leases {
    /// No lease for any of `slots` instances.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether this node may answer for `slot`.
    #[must_use]
    pub fn alive(&self, slot: usize, now: Instant) -> bool {
        self.0
            .get(slot)
            .is_some_and(|until| now.0 < until.load(Ordering::Acquire))
    }

    fn set(&self, slot: usize, until: Instant) {
        if let Some(lease) = self.0.get(slot) {
            lease.store(until.0, Ordering::Release);
        }
    }
}

/// Where advertisements come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Kernel {
    /// The XDP program judges them; the lease fences.
    Xdp {
        /// The maps.
        fast: Fast,
        /// Readable when the ring buffer has news.
        news: AsyncFd<OwnedFd>,
    },
    /// Packet sockets, judged here; no fence.
    Off(Frames),
}

impl Kernel {
    /// The events of a loaded program.
    ///
    /// # Errors
    /// When the ring buffer cannot be watched.
    pub fn xdp(fast: Fast) -> std::io::Result<Self> {
        let news = sys::watch(fast.as_fd().try_clone_to_owned()?)?;
        Ok(Self::Xdp { fast, news })
    }
}

/// The packet sockets, one per interface. Read by the election thread itself, so that no deadline
/// overtakes an advertisement that waits in one of them.
#[derive(Debug, Default)]
pub struct Frames {
    readers: Vec<Reader>,
    /// The reader that is asked first, another one each pass: a flood on one interface must not
    /// silence the others.
    first: usize,
}

#[derive(Debug)]
struct Reader {
    interface: String,
    ifindex: u32,
    receiver: Arc<Receiver>,
    ready: AsyncFd<OwnedFd>,
}

impl Frames {
    /// Without readers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            readers: Vec::new(),
            first: 0,
        }
    }

    fn listen(
        &mut self,
        interface: &str,
        ifindex: u32,
        receiver: Arc<Receiver>,
    ) -> std::io::Result<()> {
        let same = |reader: &Reader| Arc::ptr_eq(&reader.receiver, &receiver);
        if self.readers.iter().any(same) {
            return Ok(());
        }
        let ready = sys::watch(receiver.as_fd().try_clone_to_owned()?)?;
        self.ignore(interface);
        self.readers.push(Reader {
            interface: interface.to_owned(),
            ifindex,
            receiver,
            ready,
        });
        Ok(())
    }

    /// A socket hears nothing any more once its interface was gone, even if that comes back.
    fn ignore(&mut self, interface: &str) {
        self.readers.retain(|reader| reader.interface != interface);
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        for reader in &self.readers {
            if let Poll::Ready(ready) = reader.ready.poll_read_ready(cx) {
                return Poll::Ready(ready.map(|mut ready| ready.clear_ready()));
            }
        }
        Poll::Pending
    }

    /// The next frame that waits, its interface and length. A socket that fails is silent: the
    /// effects task hears of its interface and brings another.
    fn next(&self, frame: &mut [u8]) -> Option<(u32, usize)> {
        let (before, from) = self.readers.split_at(self.first.min(self.readers.len()));
        from.iter().chain(before).find_map(|reader| {
            let len = reader.receiver.recv(frame).ok().flatten()?;
            Some((reader.ifindex, len.min(frame.len())))
        })
    }
}

/// The bounded queue towards the effects task. What finds it full waits here, the latest wish
/// per instance, so that memory stays bounded and nothing final is lost.
#[derive(Debug)]
struct Outbox {
    queue: mpsc::Sender<Effect>,
    backlog: Vec<Effect>,
}

impl Outbox {
    fn post(&mut self, effect: Effect) {
        if self.backlog.is_empty() && self.queue.try_send(effect).is_ok() {
            return;
        }
        if self.backlog.iter().any(|old| old.covers(effect)) {
            return;
        }
        self.backlog.retain(|old| !effect.overrides(*old));
        self.backlog.push(effect);
    }

    fn flush(&mut self) {
        let taken = self
            .backlog
            .iter()
            .take_while(|effect| self.queue.try_send(**effect).is_ok())
            .count();
        self.backlog.drain(..taken);
    }
}

struct Unit {
    settings: Instance,
    /// The virtual addresses as advertisements carry them.
    addresses: Vec<IpAddr>,
    router: Router,
    sender: Option<Arc<Sender>>,
    wire: Wire,
    sent: u64,
    failed: u64,
    became_active: u64,
    verdicts: Verdicts,
    last_drop: Option<LastDrop>,
    send_error: Option<std::io::Error>,
}

/// The election thread's state.
pub struct Engine {
    units: Vec<Unit>,
    kernel: Kernel,
    commands: mpsc::Receiver<Command>,
    outbox: Outbox,
    leases: Arc<Leases>,
    heartbeat: Arc<AtomicU64>,
    timer: sys::Timer,
    stopping: bool,
    /// The last pass left events in the ring: the kernel will not wake us for those again.
    more: bool,
    message: BytesMut,
    /// Where a frame is read to without a program.
    frame: Box<[u8]>,
}

impl Engine {
    /// An engine for `instances`, whose slots are their places in the list.
    ///
    /// # Errors
    /// When the timer cannot be made.
    pub fn new(
        instances: Vec<Instance>,
        kernel: Kernel,
        commands: mpsc::Receiver<Command>,
        effects: mpsc::Sender<Effect>,
        leases: Arc<Leases>,
        heartbeat: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let mut engine = Self {
            units: instances.into_iter().map(Unit::new).collect(),
            kernel,
            commands,
            outbox: Outbox {
                queue: effects,
                backlog: Vec::new(),
            },
            leases,
            heartbeat,
            timer: sys::Timer::new()?,
            stopping: false,
            more: false,
            message: BytesMut::with_capacity(ha_common::vrrp::MAX_MESSAGE_LEN),
            frame: vec![0; FRAME_LEN].into_boxed_slice(),
        };
        for slot in 0..engine.units.len() {
            engine.forget_other(slot);
            engine.write_instance(slot);
        }
        Ok(engine)
    }

    /// Runs until a [`Command::Shutdown`] has run its course, or the effects task is gone.
    ///
    /// # Errors
    /// When the kernel's event source fails.
    pub async fn run(mut self) -> std::io::Result<()> {
        for slot in 0..self.units.len() {
            self.drive(slot, Input::Startup);
        }
        loop {
            self.outbox.flush();
            self.timer.set(Some(self.next_wake()))?;
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()), // nobody left to act for us: the leases end by themselves
                },
                expired = self.timer.expired() => expired?,
                heard = self.kernel.heard() => heard?,
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            self.hear();
            self.time_out();
            self.heartbeat.store(sys::now().0, Ordering::Relaxed);
            if self.stopping && self.units.iter().all(|unit| unit.router.stopped()) {
                self.outbox.flush();
                return Ok(());
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let now = sys::now();
        if self.more {
            return now;
        }
        let pause = if self.outbox.backlog.is_empty() {
            HEARTBEAT
        } else {
            BACKLOG_RETRY
        };
        self.units
            .iter()
            .filter_map(|unit| unit.router.deadline())
            .fold(now + pause, Instant::min)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Link {
                slot,
                ifindex,
                state,
                sockets,
            } => self.set_link(slot, ifindex, state, sockets),
            Command::AddressesFailed { slot } => self.drive(slot, Input::AddressesFailed),
            Command::Reload { slot, settings } => {
                let Some(unit) = self.units.get_mut(slot) else {
                    return;
                };
                let router = settings.router.clone();
                unit.wire.interval_cs = router.interval.get();
                unit.wire.priority = router.priority.get();
                unit.wire.addressless = u8::from(settings.addresses.is_empty());
                unit.addresses = addresses(&settings);
                unit.settings = *settings;
                self.write_instance(slot);
                self.drive(slot, Input::Reconfigure(router));
            }
            Command::Report(answer) => {
                let _ = answer.send(self.units.iter().map(Unit::report).collect());
            }
            Command::Shutdown => {
                self.stopping = true;
                for slot in 0..self.units.len() {
                    self.drive(slot, Input::Shutdown);
                }
            }
        }
    }

    fn set_link(
        &mut self,
        slot: usize,
        ifindex: u32,
        mut state: LinkState,
        sockets: Option<Sockets>,
    ) {
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        let interface = &unit.settings.interface;
        let (sender, receiver) = sockets.map_or((None, None), |sockets| {
            (Some(sockets.sender), sockets.receiver)
        });
        if let Kernel::Off(frames) = &mut self.kernel {
            match receiver {
                Some(receiver) => {
                    if let Err(error) = frames.listen(interface, ifindex, receiver) {
                        tracing::error!("{}: cannot listen: {error}", unit.settings.name);
                        state = LinkState::Down; // who is deaf must not take over
                    }
                }
                None if state == LinkState::Missing => frames.ignore(interface),
                None => {}
            }
        }
        unit.sender = sender;
        if let LinkState::Up { local } = state {
            unit.wire.ifindex = ifindex;
            unit.wire.local = to_wire(local);
            self.write_instance(slot);
        }
        self.drive(slot, Input::Link(state));
    }

    /// Takes in everything the kernel has heard since the last pass.
    fn hear(&mut self) {
        let mut frame = std::mem::take(&mut self.frame);
        if let Kernel::Off(frames) = &mut self.kernel {
            frames.first = (frames.first + 1) % frames.readers.len().max(1);
        }
        self.more = true;
        for _ in 0..EVENTS_PER_PASS {
            let event = match &mut self.kernel {
                Kernel::Xdp { fast, .. } => fast.next_event().map(|event| self.take_event(&event)),
                Kernel::Off(frames) => frames
                    .next(&mut frame)
                    .map(|(ifindex, len)| self.judge(ifindex, &frame[..len])),
            };
            if event.is_none() {
                self.more = false;
                break;
            }
        }
        self.frame = frame;
    }

    /// An advertisement that says something new, after the repetitions before it that nobody was
    /// woken for: the timer they would have restarted is the one this advertisement may leave
    /// running (RFC 9568 §6.4.2, a lower priority while preempting).
    fn take_event(&mut self, event: &AdvertEvent) {
        let slot = event.slot as usize;
        let Some(unit) = self.units.get(slot) else {
            return;
        };
        let family = unit.settings.router.family;
        let previous = Instant(event.previous_ns);
        let last = unit.router.last_advert().copied();
        if let Some(last) = last.filter(|last| last.at < previous && previous != WRITING) {
            self.drive(
                slot,
                Input::Advert(Advert {
                    at: previous,
                    ..last
                }),
            );
        }
        if let Some(advert) = packet::advert(family, &event.advert) {
            self.drive(slot, Input::Advert(advert));
        }
    }

    /// Without a program: the same judgement on a frame of the packet socket.
    fn judge(&mut self, ifindex: u32, frame: &[u8]) {
        for slot in 0..self.units.len() {
            let Some(unit) = self.units.get_mut(slot) else {
                continue;
            };
            if unit.wire.ifindex != ifindex {
                continue;
            }
            let at = sys::now();
            let arrival = Arrival { ifindex, at };
            match packet::decode(frame, arrival, &unit.wire, &unit.settings.peers) {
                Ok(advert) => {
                    unit.verdicts.count(Verdict::AdvertChanged);
                    let family = unit.settings.router.family;
                    if let Some(advert) = packet::advert(family, &advert) {
                        self.drive(slot, Input::Advert(advert));
                    }
                }
                Err(verdict) if verdict.fate() == Fate::Drop => {
                    unit.verdicts.count(verdict);
                    unit.last_drop = packet::last_drop(frame, at, verdict);
                }
                Err(_) => {} // another virtual router's, or no advertisement at all
            }
        }
    }

    fn time_out(&mut self) {
        let now = sys::now();
        let due = |unit: &Unit| unit.router.deadline().is_some_and(|at| at <= now);
        if !self.units.iter().any(due) {
            return;
        }
        for slot in 0..self.units.len() {
            self.refresh(slot);
            // Read anew each time: this thread may be stopped between any two of them, and a
            // router must not be told that it is earlier than it is.
            let now = sys::now();
            if let Some(at) = self.units.get(slot).and_then(|unit| unit.due(now)) {
                self.drive_at(at.max(now), slot, Input::Timeout);
            }
        }
    }

    /// Feeds the kernel's last-advert record to a Backup.
    fn refresh(&mut self, slot: usize) {
        let (Kernel::Xdp { fast, .. }, Some(unit)) = (&self.kernel, self.units.get(slot)) else {
            return;
        };
        if !matches!(unit.router.state(), State::Backup { .. }) {
            return;
        }
        let family = unit.settings.router.family;
        let record = fast.last_advert(slot as u32);
        if let Some(advert) = record.and_then(|record| packet::advert(family, &record)) {
            self.drive(slot, Input::Advert(advert));
        }
    }

    fn drive(&mut self, slot: usize, input: Input) {
        self.drive_at(sys::now(), slot, input);
    }

    fn drive_at(&mut self, now: Instant, slot: usize, input: Input) {
        let mut actions = Vec::new();
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        unit.router.handle(now, input, &mut actions);
        for action in actions {
            self.perform(slot, action);
        }
    }

    fn perform(&mut self, slot: usize, action: Action) {
        match action {
            Action::SendAdvert(priority) => {
                let at = sys::now();
                if self.units.get(slot).is_some_and(|unit| unit.outlived(at)) {
                    // Stopped since it decided to speak: its role is over, and so is its word.
                    self.drive_at(at, slot, Input::Timeout);
                } else if self.advertise(slot, priority) {
                    self.drive(slot, Input::AdvertSent(at));
                }
            }
            Action::Serve(until) => {
                self.set_role(slot, Role::Active, until);
                self.leases.set(slot, until);
            }
            Action::HandOver(until) => {
                self.leases.set(slot, Instant(0));
                self.set_role(slot, Role::Handover, until);
            }
            Action::Close => {
                self.leases.set(slot, Instant(0));
                let role = match self.units.get(slot).map(|unit| unit.router.state().name()) {
                    Some(RoleName::Backup) => Role::Backup,
                    _ => Role::Initialize,
                };
                self.set_role(slot, role, Instant(0));
            }
            Action::AddAddresses => self.outbox.post(Effect::Hold { slot }),
            Action::RemoveAddresses(after) => {
                // Without a fence an address that stays for the hand-over would answer ARP.
                let after = match self.kernel {
                    Kernel::Xdp { .. } => after,
                    Kernel::Off(_) => Duration::ZERO,
                };
                let at = sys::now() + after;
                self.outbox.post(Effect::Release { slot, at });
            }
            Action::Announce(why) => self.outbox.post(Effect::Announce { slot, why }),
            Action::Transition { from, to } => {
                self.tell(slot, from, to);
                // What the record already says, nobody will be woken for again.
                self.refresh(slot);
            }
        }
    }

    fn tell(&mut self, slot: usize, from: RoleName, to: RoleName) {
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        if to == RoleName::Active {
            unit.became_active += 1;
        }
        let peer = unit.router.last_advert().map_or_else(
            || "no peer heard".to_owned(),
            |last| {
                format!(
                    "peer {} with priority {}, {} ms ago",
                    last.source,
                    last.priority.to_wire(),
                    sys::now().since(last.at).as_millis()
                )
            },
        );
        tracing::info!(
            "{}: {} -> {}: {} (priority {}; {peer})",
            unit.settings.name,
            from.as_str(),
            to.as_str(),
            unit.router.reason().as_str(),
            unit.router.config().priority,
        );
    }

    /// Sends to the group or to every peer; true when at least one copy left.
    fn advertise(&mut self, slot: usize, priority: AdvertPriority) -> bool {
        let Some(unit) = self.units.get_mut(slot) else {
            return false;
        };
        let (Some(sender), LinkState::Up { local }) = (&unit.sender, unit.router.link()) else {
            return false;
        };
        let config = unit.router.config();
        let group = match config.family {
            Family::Ipv4 => IpAddr::from(GROUP_IPV4),
            Family::Ipv6 => IpAddr::from(GROUP_IPV6),
        };
        let destinations: &[IpAddr] = if unit.settings.peers.is_empty() {
            &[group]
        } else {
            &unit.settings.peers
        };
        let mut left = false;
        for destination in destinations {
            self.message.clear();
            let message = Message {
                version: config.version,
                vrid: config.vrid,
                priority,
                interval: unit.router.advertised_interval(),
                addresses: &unit.addresses,
                password: unit.settings.password,
                checksum: unit.router.checksum(),
                source: local,
                destination: *destination,
            };
            let sent = packet::encode(&message, &mut self.message)
                .map_err(std::io::Error::other)
                .and_then(|()| sender.send(*destination, &self.message));
            match sent {
                Ok(()) => {
                    unit.sent += 1;
                    left = true;
                }
                Err(error) => {
                    unit.failed += 1;
                    unit.send_error = Some(error);
                }
            }
        }
        left
    }

    /// Empties a slot in which a predecessor with another configuration kept another virtual
    /// router: what that one heard last says nothing about ours.
    fn forget_other(&mut self, slot: usize) {
        let (Kernel::Xdp { fast, .. }, Some(unit)) = (&mut self.kernel, self.units.get(slot))
        else {
            return;
        };
        let ours = |old: Wire| {
            (old.vrid, old.version) == (unit.wire.vrid, unit.wire.version)
                && old.family == unit.wire.family
        };
        if !fast.instance(slot as u32).is_some_and(ours) {
            fast.clear(slot as u32);
        }
    }

    fn write_instance(&mut self, slot: usize) {
        if let (Kernel::Xdp { fast, .. }, Some(unit)) = (&mut self.kernel, self.units.get(slot)) {
            fast.set_instance(slot as u32, &unit.wire);
        }
    }

    fn set_role(&mut self, slot: usize, role: Role, until: Instant) {
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        let same = unit.wire.role == role;
        unit.wire.role = role;
        unit.wire.lease_until_ns = until.0;
        if let Kernel::Xdp { fast, .. } = &mut self.kernel {
            if same {
                fast.renew(slot as u32, until.0);
            } else {
                fast.set_role(slot as u32, role, until.0);
            }
        }
    }
}

impl Kernel {
    /// Waits until something was heard.
    async fn heard(&mut self) -> std::io::Result<()> {
        match self {
            Self::Xdp { news, .. } => {
                news.readable().await?.clear_ready();
                Ok(())
            }
            Self::Off(frames) => std::future::poll_fn(|cx| frames.poll_ready(cx)).await,
        }
    }
}

impl Unit {
    fn new(settings: Instance) -> Self {
        let router = &settings.router;
        let wire = Wire {
            lease_until_ns: 0,
            local: [0; 16],
            auth_data: settings.password.unwrap_or_default(),
            ifindex: 0,
            vlans: 0,
            interval_cs: router.interval.get(),
            role: Role::Initialize,
            vrid: router.vrid.get(),
            version: router.version.number(),
            family: router.family,
            priority: router.priority.get(),
            ttl_min: settings.ttl_min,
            cast: if settings.peers.is_empty() {
                Cast::Multicast
            } else {
                Cast::Unicast
            },
            auth_type: if settings.password.is_some() {
                AUTH_PASS
            } else {
                AUTH_NONE
            },
            addressless: u8::from(settings.addresses.is_empty()),
            _pad: [0; 5],
        };
        Self {
            router: Router::new(router.clone()),
            addresses: addresses(&settings),
            settings,
            sender: None,
            wire,
            sent: 0,
            failed: 0,
            became_active: 0,
            verdicts: Verdicts::default(),
            last_drop: None,
            send_error: None,
        }
    }

    /// The deadline, when it has come. An Active router's is a little early when the thread is
    /// awake anyway: many routers then share one wake-up, and a peer hears them the sooner.
    fn due(&self, now: Instant) -> Option<Instant> {
        let early = match self.router.state() {
            State::Active { leaving: None, .. } => {
                self.router.config().interval.duration() / EARLY_PART
            }
            State::Active { .. } | State::Backup { .. } | State::Initialize { .. } => {
                Duration::ZERO
            }
        };
        self.router.deadline().filter(|at| *at <= now + early)
    }

    /// Whether the claim to the role was over at `at`: the lease, or before there is one, an
    /// interval since the takeover was decided.
    fn outlived(&self, at: Instant) -> bool {
        match self.router.state() {
            State::Active {
                lease_until,
                claimed,
                ..
            } => {
                let grace = if *claimed {
                    Duration::ZERO
                } else {
                    self.router.config().interval.duration()
                };
                at >= *lease_until + grace
            }
            State::Initialize { .. } | State::Backup { .. } => false,
        }
    }

    fn report(&self) -> Report {
        let config = self.router.config();
        let (learnt, lease_until, leaving) = match self.router.state() {
            State::Initialize { .. } => (config.interval, None, false),
            State::Backup {
                active_adver_interval,
                ..
            } => (*active_adver_interval, None, false),
            State::Active {
                lease_until,
                leaving,
                ..
            } => (config.interval, Some(*lease_until), leaving.is_some()),
        };
        Report {
            state: self.router.state().name(),
            leaving,
            since: self.router.since(),
            reason: self.router.reason(),
            priority: config.priority,
            down: active_down_interval(config.version, config.priority, learnt),
            local: match self.router.link() {
                LinkState::Up { local } => Some(local),
                LinkState::Missing | LinkState::Down | LinkState::NoAddress => None,
            },
            last: self.router.last_advert().copied(),
            lease_until,
            sent: self.sent,
            failed: self.failed,
            became_active: self.became_active,
            verdicts: self.verdicts,
            last_drop: self.last_drop,
            send_error: self
                .send_error
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

fn addresses(settings: &Instance) -> Vec<IpAddr> {
    settings
        .addresses
        .iter()
        .map(|address| address.prefix.address)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Announce;
    use crate::vrrp::types::{Centiseconds, Version, Vrid};

    const HOLD: Effect = Effect::Hold { slot: 1 };
    const RELEASE: Effect = Effect::Release {
        slot: 1,
        at: Instant(7),
    };
    const TAKEOVER: Effect = announce(1, Announcement::Takeover);
    const CONFLICT: Effect = announce(1, Announcement::Conflict);

    const fn announce(slot: usize, why: Announcement) -> Effect {
        Effect::Announce { slot, why }
    }

    /// What is left waiting when `wishes` meet a queue that is full.
    fn waiting(wishes: &[Effect]) -> Vec<Effect> {
        let (queue, mut taken) = mpsc::channel(1);
        let mut outbox = Outbox {
            queue,
            backlog: Vec::new(),
        };
        let filler = announce(9, Announcement::Takeover);
        outbox.post(filler);
        for wish in wishes {
            outbox.post(*wish);
        }
        let mut left = Vec::new();
        assert_eq!(taken.try_recv(), Ok(filler));
        while !outbox.backlog.is_empty() {
            outbox.flush();
            left.extend(taken.try_recv());
        }
        left
    }

    #[test]
    fn of_what_waits_the_last_wish_counts() {
        for (wishes, left) in [
            (&[HOLD, TAKEOVER][..], &[HOLD, TAKEOVER][..]),
            (&[HOLD, RELEASE], &[RELEASE]),
            (&[RELEASE, HOLD], &[HOLD]),
            // A conflict only repeats what a takeover begins.
            (&[HOLD, TAKEOVER, CONFLICT], &[HOLD, TAKEOVER]),
            (&[CONFLICT, TAKEOVER], &[TAKEOVER]),
            (&[CONFLICT, CONFLICT], &[CONFLICT]),
            (&[HOLD, TAKEOVER, RELEASE], &[RELEASE]),
            (
                &[TAKEOVER, RELEASE, HOLD, TAKEOVER, CONFLICT],
                &[HOLD, TAKEOVER],
            ),
        ] {
            assert_eq!(waiting(wishes), left, "{wishes:?}");
        }
    }

    #[test]
    fn what_waits_for_one_instance_does_not_touch_another() {
        let other = Effect::Release {
            slot: 2,
            at: Instant(0),
        };
        assert_eq!(
            waiting(&[HOLD, other, TAKEOVER]),
            [HOLD, other, TAKEOVER].as_slice()
        );
    }

    #[test]
    fn a_lease_is_alive_until_its_end_and_not_at_it() {
        let leases = Leases::new(2);
        assert!(!leases.alive(0, Instant(0)), "none was given");
        leases.set(0, Instant(10));
        assert!(leases.alive(0, Instant(9)) && !leases.alive(0, Instant(10)));
        assert!(!leases.alive(1, Instant(9)), "another instance's");
        assert!(!leases.alive(2, Instant(0)), "nobody's");
    }

    fn unit(priority: u64) -> Unit {
        Unit::new(Instance {
            name: "VI_1".to_owned(),
            interface: "eth0".to_owned(),
            router: crate::vrrp::Config {
                vrid: Vrid::try_from(51).unwrap(),
                family: Family::Ipv4,
                version: Version::V3,
                priority: Priority::try_from(priority).unwrap(),
                interval: Centiseconds::try_from(16).unwrap(),
                preempt: true,
                preempt_delay: Duration::ZERO,
                addresses: 0,
                checksum: None,
            },
            addresses: Vec::new(),
            source: None,
            peers: Vec::new(),
            password: None,
            ttl_min: 255,
            announce: Announce {
                count: 1,
                repeat_after: Duration::ZERO,
                repeat_count: 0,
                refresh: Duration::ZERO,
                conflict_gap: Duration::ZERO,
            },
        })
    }

    const START: Instant = Instant(1_000_000_000);
    const MS: Duration = Duration::from_millis(1);

    /// An owner is Active at once, anybody else Backup.
    fn started(priority: u64) -> Unit {
        let mut unit = unit(priority);
        let local = [10, 0, 0, 1].into();
        let mut actions = Vec::new();
        for input in [Input::Startup, Input::Link(LinkState::Up { local })] {
            unit.router.handle(START, input, &mut actions);
        }
        unit
    }

    #[test]
    fn only_an_active_router_is_early() {
        assert_eq!(unit(100).due(START), None, "not started");
        let backup = started(100);
        let at = backup.router.deadline().unwrap();
        assert_eq!(backup.due(at - Duration::from_nanos(1)), None);
        assert_eq!(backup.due(at), Some(at));

        let mut active = started(255);
        let mut actions = Vec::new();
        let sent = Input::AdvertSent(START);
        active.router.handle(START, sent, &mut actions);
        let at = START + 160 * MS;
        assert_eq!(active.due(at - 11 * MS), None);
        assert_eq!(active.due(at - 10 * MS), Some(at), "a sixteenth early");
    }

    #[test]
    fn a_role_that_is_over_does_not_speak() {
        assert!(!unit(100).outlived(START) && !started(100).outlived(START));
        let mut active = started(255);
        assert!(!active.outlived(START), "the first advertisement");
        assert!(active.outlived(START + 160 * MS), "decided an interval ago");
        let mut actions = Vec::new();
        let sent = Input::AdvertSent(START);
        active.router.handle(START, sent, &mut actions);
        assert!(!active.outlived(START + 479 * MS));
        assert!(active.outlived(START + 480 * MS), "three intervals");
    }
}
