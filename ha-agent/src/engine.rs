//! The election thread: owns every [`Router`], and the leases with their words in the data plane.
//!
//! Nothing slow runs here. What touches netlink, files or other processes is posted to the
//! effects task through a bounded queue; what it finds out comes back as a [`Command`]. The
//! sockets used here are opened and closed over there too: joining and leaving a group waits for
//! the lock under which the kernel configures every interface.
//!
//! One pass of the loop, whatever woke it: commands, then everything the kernel has heard, then
//! the clock. Timers are judged last, so that an advertisement that lies in the ring buffer is
//! never overtaken by the deadline it should have moved. Before a Backup's deadline counts, all
//! Backups read the last-advert record that the kernel keeps: one wake-up serves them all, and
//! an unchanged advertisement costs nothing in between.
//!
//! [`Router`]: crate::vrrp::Router

mod frames;
mod kernel;
mod leases;
mod outbox;
mod report;
#[cfg(test)]
pub(crate) mod testing;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use ha_common::event::AdvertEvent;
use ha_common::maps::Role;
use ha_common::verdict::{Fate, Verdict};
use tokio::sync::{mpsc, oneshot};

use crate::advert::{Receiver, Sender};
use crate::config::model::Instance;
use crate::sys;
use crate::vrrp::packet::{self, Arrival};
use crate::vrrp::types::{Instant, to_wire};
use crate::vrrp::{Action, Advert, Input, LinkState, State, router::RoleName};

pub use frames::Frames;
pub use kernel::Kernel;
pub use leases::Leases;
pub use outbox::Effect;
pub use report::Report;

use outbox::Outbox;
use unit::Unit;

/// Advertisements taken from the kernel per pass: more than it holds, so that a flood cannot keep
/// the clock from being read.
const EVENTS_PER_PASS: usize = 1024;
/// How often the thread says that it lives.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Pause before effects that found their queue full are offered again.
const BACKLOG_RETRY: Duration = Duration::from_millis(5);
/// A record that the program was writing when it was read.
const WRITING: Instant = Instant(ha_common::maps::WRITING);
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
            outbox: Outbox::new(effects),
            leases,
            heartbeat,
            timer: sys::Timer::new()?,
            stopping: false,
            more: false,
            message: BytesMut::with_capacity(ha_common::vrrp::MAX_MESSAGE_LEN),
            frame: vec![0; FRAME_LEN].into_boxed_slice(),
        };
        for (slot, unit) in engine.units.iter().enumerate() {
            engine.kernel.forget_other(slot, &unit.wire);
            engine.kernel.set_instance(slot, &unit.wire);
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
        let pause = if self.outbox.is_empty() {
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
                unit.reconfigure(*settings);
                self.write_instance(slot);
                self.drive(slot, Input::Reconfigure(router));
            }
            Command::Report(answer) => {
                let _ = answer.send(self.units.iter().map(Report::of).collect());
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
            frames.rotate();
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
                let Some(unit) = self.units.get_mut(slot) else {
                    return;
                };
                if unit.outlived(at) {
                    // Stopped since it decided to speak: its role is over, and so is its word.
                    self.drive_at(at, slot, Input::Timeout);
                } else if unit.advertise(priority, &mut self.message) {
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
                if let Some(unit) = self.units.get_mut(slot) {
                    unit.tell(from, to);
                }
                // What the record already says, nobody will be woken for again.
                self.refresh(slot);
            }
        }
    }

    fn write_instance(&mut self, slot: usize) {
        if let Some(unit) = self.units.get(slot) {
            self.kernel.set_instance(slot, &unit.wire);
        }
    }

    fn set_role(&mut self, slot: usize, role: Role, until: Instant) {
        let Some(unit) = self.units.get_mut(slot) else {
            return;
        };
        let before = std::mem::replace(&mut unit.wire.role, role);
        unit.wire.lease_until_ns = until.0;
        if before == role {
            self.kernel.renew(slot, until);
        } else {
            self.kernel.set_role(slot, role, until);
        }
    }
}
