//! The election thread: owns every [`Router`], the sockets advertisements leave by, and the
//! lease words of the data plane.
//!
//! Nothing slow runs here. What touches netlink, files or other processes is posted to the
//! effects task through a bounded queue; what it finds out comes back as a [`Command`].
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
use std::time::Duration;

use bytes::BytesMut;
use ha_common::event::AdvertEvent;
use ha_common::maps::{Cast, Instance as Wire, LastDrop, Role};
use ha_common::verdict::{Fate, Verdict, Verdicts};
use ha_common::vrrp::{AUTH_NONE, AUTH_PASS, GROUP_IPV4, GROUP_IPV6};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::advert::{self, Receiver, Sender};
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

/// Advertisements taken from the ring per pass: more than it holds, so that a flood cannot keep
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

/// Frames of the packet sockets, one reader task per interface.
#[derive(Debug)]
pub struct Frames {
    sender: mpsc::Sender<(u32, Vec<u8>)>,
    inbox: mpsc::Receiver<(u32, Vec<u8>)>,
    readers: Vec<(u32, tokio::task::JoinHandle<()>)>,
}

/// Frames that wait for the engine without a program: a second of 250 routers at four adverts.
const FRAMES_BOUND: usize = 1024;

impl Frames {
    /// Without readers.
    #[must_use]
    pub fn new() -> Self {
        let (sender, inbox) = mpsc::channel(FRAMES_BOUND);
        Self {
            sender,
            inbox,
            readers: Vec::new(),
        }
    }

    fn listen(&mut self, ifname: &str, ifindex: u32) -> Result<(), advert::Error> {
        self.readers.retain(|(_, task)| !task.is_finished());
        if self.readers.iter().any(|(known, _)| *known == ifindex) {
            return Ok(());
        }
        let receiver = Receiver::open(ifname, ifindex)?;
        let sender = self.sender.clone();
        self.readers.push((
            ifindex,
            tokio::spawn(async move {
                let _ = read_frames(ifindex, receiver, sender).await;
            }),
        ));
        Ok(())
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

async fn read_frames(
    ifindex: u32,
    receiver: Receiver,
    sender: mpsc::Sender<(u32, Vec<u8>)>,
) -> std::io::Result<()> {
    let socket = sys::watch(receiver.as_fd().try_clone_to_owned()?)?;
    let mut buffer = [0; FRAME_LEN];
    loop {
        let mut ready = socket.readable().await?;
        match receiver.recv(&mut buffer)? {
            // A full queue drops the frame as a full socket would.
            Some(len) => {
                let _ = sender.try_send((ifindex, buffer[..len].to_vec()));
            }
            None => ready.clear_ready(),
        }
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
        let same_kind = |old: &Effect| {
            old.slot() == effect.slot()
                && matches!(old, Effect::Announce { .. })
                    == matches!(effect, Effect::Announce { .. })
        };
        self.backlog.retain(|old| !same_kind(old));
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
    sender: Option<Sender>,
    bound: Option<(u32, IpAddr)>,
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
        };
        for slot in 0..engine.units.len() {
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
            let mut frame = None;
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()), // nobody left to act for us: the leases end by themselves
                },
                expired = self.timer.expired() => expired?,
                heard = self.kernel.heard() => frame = heard?,
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            self.hear(frame);
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
            } => self.set_link(slot, ifindex, state),
            Command::AddressesFailed { slot } => self.drive(slot, Input::AddressesFailed),
            Command::Reload { slot, settings } => {
                let Some(unit) = self.units.get_mut(slot) else {
                    return;
                };
                let router = settings.router.clone();
                unit.wire.interval_cs = router.interval.get();
                unit.wire.priority = router.priority.get();
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

    fn set_link(&mut self, slot: usize, ifindex: u32, mut state: LinkState) {
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        if let LinkState::Up { local } = state
            && unit.bound != Some((ifindex, local))
        {
            let path = advert::Path {
                ifname: unit.settings.interface.clone(),
                ifindex,
                source: local,
                multicast: unit.settings.peers.is_empty(),
            };
            let listening = match &mut self.kernel {
                Kernel::Xdp { .. } => Ok(()),
                Kernel::Off(frames) => frames.listen(&path.ifname, ifindex),
            };
            match listening.and_then(|()| Sender::open(&path)) {
                Ok(sender) => {
                    unit.sender = Some(sender);
                    unit.bound = Some((ifindex, local));
                }
                Err(error) => {
                    tracing::error!(instance = unit.settings.name, %error, "cannot advertise");
                    unit.sender = None;
                    unit.bound = None;
                    state = LinkState::Down;
                }
            }
            unit.wire.ifindex = ifindex;
            unit.wire.local = to_wire(local);
            self.write_instance(slot);
        }
        self.drive(slot, Input::Link(state));
    }

    /// Takes in everything the kernel has heard since the last pass.
    fn hear(&mut self, frame: Option<(u32, Vec<u8>)>) {
        if let Some((ifindex, frame)) = frame {
            self.judge(ifindex, &frame);
        }
        self.more = false;
        for _ in 0..EVENTS_PER_PASS {
            match &mut self.kernel {
                Kernel::Xdp { fast, .. } => {
                    let Some(event) = fast.next_event() else {
                        return;
                    };
                    self.take_event(&event);
                }
                Kernel::Off(frames) => {
                    let Ok((ifindex, frame)) = frames.inbox.try_recv() else {
                        return;
                    };
                    self.judge(ifindex, &frame);
                }
            }
        }
        self.more = true;
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
        }
        for slot in 0..self.units.len() {
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
                if self.advertise(slot, priority) {
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
                let at = sys::now() + after;
                self.outbox.post(Effect::Release { slot, at });
            }
            Action::Announce(why) => self.outbox.post(Effect::Announce { slot, why }),
            Action::Transition { from, to } => self.tell(slot, from, to),
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
                interval: config.interval,
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
    /// Waits until something was heard; without a program, hands over the frame that was.
    async fn heard(&mut self) -> std::io::Result<Option<(u32, Vec<u8>)>> {
        match self {
            Self::Xdp { news, .. } => {
                news.readable().await?.clear_ready();
                Ok(None)
            }
            Self::Off(frames) => Ok(frames.inbox.recv().await),
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
            bound: None,
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
