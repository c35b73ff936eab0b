//! The other runtime: everything that may wait. Owns netlink, the announcer and the data plane,
//! and carries out what the engine decides.
//!
//! Level-triggered: per instance it knows whether the addresses are wanted, and brings the
//! interface there whatever happened in between: an interface that vanished and came back, an
//! address somebody deleted, an address a dead predecessor left.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::alarm::Alarms;
use crate::config::{self, Change, model};
use crate::control::{Request, Verb};
use crate::dataplane::{self, Dataplane, Desired, DesiredAddress, DesiredRouter};
use crate::engine::{Command, Effect, Leases, Report};
use crate::neighbor::{Announcer, Target};
use crate::netlink::{self, Interface, Netlink, Record};
use crate::sys;
use crate::vrrp::types::{Instant, Prefix, Priority};
use crate::vrrp::{Announcement, LinkState};

mod observe;

/// How often counters are read, alarms judged and the watchdog fed.
const TICK: Duration = Duration::from_secs(1);
/// Oldest sign of life of the election thread that still feeds the watchdog.
const ALIVE: Duration = Duration::from_secs(2);

/// What the process tells the effects task.
#[derive(Debug)]
pub enum Order {
    /// A new configuration was read.
    Reload(Box<model::Config>),
    /// Print the state to the log.
    Print,
    /// Stop gracefully.
    Shutdown,
}

/// Why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`netlink::Error`].
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// See [`dataplane::Error`].
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// See [`crate::neighbor::Error`].
    #[error(transparent)]
    Neighbor(#[from] crate::neighbor::Error),
    /// The election thread ended by itself.
    #[error("the election thread ended; the leases end with it")]
    EngineGone,
}

/// Whether the addresses of an instance are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Released,
    Held,
    /// Held until then.
    Releasing(Instant),
}

struct Slot {
    settings: model::Instance,
    hold: Hold,
    /// What the engine was told last.
    told: Option<(u32, LinkState)>,
    /// The interface's own addresses that the configuration names as virtual: the address owner's.
    owned: Vec<IpAddr>,
    alarms: Alarms,
    watched: observe::Watched,
}

struct Port {
    ifindex: u32,
    mode: &'static str,
    note: Option<String>,
    fenced: bool,
}

/// The effects task.
pub struct Effects {
    agent: model::Agent,
    slots: Vec<Slot>,
    ports: BTreeMap<String, Port>,
    netlink: Netlink,
    announcer: Announcer,
    dataplane: Option<Dataplane>,
    kernel_log: Option<dataplane::KernelLog>,
    record: Record,
    engine: mpsc::Sender<Command>,
    leases: Arc<Leases>,
    heartbeat: Arc<AtomicU64>,
    started: Instant,
    scheduling: String,
    queues: observe::Queues,
}

/// What the effects task is given.
pub struct Parts {
    /// The configuration.
    pub config: model::Config,
    /// The data plane, unless it is off.
    pub dataplane: Option<Dataplane>,
    /// The engine's ear.
    pub engine: mpsc::Sender<Command>,
    /// The leases it keeps.
    pub leases: Arc<Leases>,
    /// When it last said that it lives.
    pub heartbeat: Arc<AtomicU64>,
    /// How the election thread is scheduled, for status.
    pub scheduling: String,
}

impl Effects {
    /// Opens netlink, cleans up after a predecessor, attaches the program and tells the engine of
    /// every interface. After this the agent is ready.
    ///
    /// # Errors
    /// When netlink or the announcer cannot be opened, or an interface that exists cannot carry
    /// the program.
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let mut netlink = Netlink::open().await?;
        let mut record = load_record(&parts.config.agent.run_dir);
        let mut slots = Vec::new();
        for settings in parts.config.instances {
            let owned = owned_addresses(&netlink, &record, &settings);
            slots.push(Slot {
                alarms: Alarms::new(),
                watched: observe::Watched::default(),
                hold: Hold::Released,
                told: None,
                owned,
                settings,
            });
        }
        let wanted: Vec<(&model::Instance, Vec<IpAddr>)> = slots
            .iter()
            .map(|slot: &Slot| (&slot.settings, slot.owned.clone()))
            .collect();
        remove_leftovers(&mut netlink, &mut record, &wanted).await;
        let mut dataplane = parts.dataplane;
        let kernel_log = dataplane.as_mut().and_then(Dataplane::take_log);
        let mut effects = Self {
            announcer: Announcer::open()?,
            kernel_log,
            agent: parts.config.agent,
            slots,
            ports: BTreeMap::new(),
            netlink,
            dataplane,
            record,
            engine: parts.engine,
            leases: parts.leases,
            heartbeat: parts.heartbeat,
            started: sys::now(),
            scheduling: parts.scheduling,
            queues: observe::Queues::default(),
        };
        match effects.meet_all().await {
            Ok(()) => Ok(effects),
            Err(error) => {
                effects.finish().await;
                Err(error)
            }
        }
    }

    async fn meet_all(&mut self) -> Result<(), Error> {
        self.drop_stale_links()?;
        for name in self.interface_names() {
            self.meet(&name).await?;
        }
        Ok(())
    }

    /// Runs until an [`Order::Shutdown`] has run its course.
    ///
    /// # Errors
    /// [`Error::EngineGone`] when the election thread ends unasked; the addresses are off and the
    /// fence is down by then in either case.
    pub async fn run(
        mut self,
        mut effects: mpsc::Receiver<Effect>,
        mut orders: mpsc::Receiver<Order>,
        mut requests: mpsc::Receiver<Request>,
        mut engine_ended: oneshot::Receiver<()>,
    ) -> Result<(), Error> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = false;
        let mut ended = false;
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                Some(effect) = effects.recv() => self.carry_out(effect).await,
                changes = self.netlink.changed() => self.take_in(changes?).await,
                () = sleep_until(wake) => {}
                Some(order) = orders.recv() => match order {
                    Order::Reload(config) => self.reload(*config).await,
                    Order::Print => self.print().await,
                    Order::Shutdown => {
                        stopping = true;
                        let _ = self.engine.send(Command::Shutdown).await;
                    }
                },
                Some(request) = requests.recv() => self.answer(request).await,
                _ = tick.tick() => {
                    self.queues.effects(&effects);
                    self.observe().await;
                }
                _ = &mut engine_ended, if !ended => ended = true,
            }
            self.release_due().await;
            let leases = Arc::clone(&self.leases);
            self.announcer
                .run(sys::now(), |slot| leases.alive(slot as usize, sys::now()));
            let idle = effects.is_empty()
                && !self
                    .slots
                    .iter()
                    .any(|slot| matches!(slot.hold, Hold::Releasing(_)));
            if ended && (idle || !stopping) {
                break;
            }
        }
        self.finish().await;
        if stopping {
            Ok(())
        } else {
            Err(Error::EngineGone)
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter_map(|slot| match slot.hold {
                Hold::Releasing(at) => Some(at),
                Hold::Released | Hold::Held => None,
            })
            .chain(self.announcer.deadline())
            .min()
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Hold { slot } => self.hold(slot).await,
            Effect::Release { slot, at } => {
                self.announcer.stop(slot as u32);
                if let Some(slot) = self.slots.get_mut(slot)
                    && slot.hold != Hold::Released
                {
                    slot.hold = Hold::Releasing(at);
                }
            }
            Effect::Announce { slot, why } => match why {
                Announcement::Takeover => {
                    if let Some(target) = self.target(slot) {
                        self.announcer.start(slot as u32, target, sys::now());
                    }
                }
                Announcement::Conflict => self.announcer.conflict(slot as u32, sys::now()),
            },
        }
    }

    async fn hold(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.hold = Hold::Held;
        let Some(ifindex) = slot.told.map(|(ifindex, _)| ifindex) else {
            return;
        };
        for address in &slot.settings.addresses {
            if slot.owned.contains(&address.prefix.address) {
                continue;
            }
            self.record.insert(&slot.settings.interface, address.prefix);
            if let Err(error) = self.netlink.add(ifindex, address).await {
                tracing::error!("{}: {error}", slot.settings.name);
                let _ = self
                    .engine
                    .send(Command::AddressesFailed { slot: index })
                    .await;
                return;
            }
        }
        self.save_record();
    }

    async fn release_due(&mut self) {
        let now = sys::now();
        for index in 0..self.slots.len() {
            if matches!(self.slots.get(index), Some(Slot { hold: Hold::Releasing(at), .. }) if *at <= now)
            {
                self.release(index).await;
            }
        }
    }

    async fn release(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.hold = Hold::Released;
        let ifindex = slot.told.map_or(0, |(ifindex, _)| ifindex);
        for address in &slot.settings.addresses {
            if slot.owned.contains(&address.prefix.address) {
                continue;
            }
            if ifindex != 0
                && let Err(error) = self.netlink.remove(ifindex, &address.prefix).await
            {
                tracing::error!("{}: {error}", slot.settings.name);
                continue;
            }
            self.record.remove(&slot.settings.interface, address.prefix);
        }
        self.save_record();
    }

    fn save_record(&self) {
        if let Err(error) = self.record.store(&self.agent.run_dir) {
            tracing::warn!(
                "{}: cannot note the addresses held, a crash would leave them: {error}",
                self.agent.run_dir.join(Record::FILE).display()
            );
        }
    }

    async fn take_in(&mut self, changes: Vec<netlink::Change>) {
        for change in changes {
            match change {
                netlink::Change::Interface(name) => {
                    if !self.interface_names().contains(&name) {
                        continue;
                    }
                    if let Err(error) = self.meet(&name).await {
                        tracing::error!("{error}");
                    }
                }
                netlink::Change::AddressGone { ifindex, address } => {
                    self.restore(ifindex, address).await;
                }
            }
        }
    }

    /// Puts back a virtual address that somebody took off.
    async fn restore(&mut self, ifindex: u32, address: IpAddr) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else {
                continue;
            };
            let ours = slot.hold == Hold::Held
                && slot.told.is_some_and(|(known, _)| known == ifindex)
                && !slot.owned.contains(&address);
            let Some(wanted) = slot
                .settings
                .addresses
                .iter()
                .find(|wanted| ours && wanted.prefix.address == address)
            else {
                continue;
            };
            match self.netlink.add(ifindex, wanted).await {
                Ok(_) => {
                    tracing::warn!(
                        "{}: {} was deleted by somebody else and is restored",
                        slot.settings.name,
                        wanted.prefix
                    );
                    self.announcer.conflict(index as u32, sys::now());
                }
                Err(error) => tracing::warn!("{}: {error}", slot.settings.name),
            }
        }
    }

    fn interface_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .slots
            .iter()
            .map(|slot| slot.settings.interface.clone())
            .chain(self.agent.fence_interfaces.iter().cloned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Takes note of what an interface has become.
    async fn meet(&mut self, name: &str) -> Result<(), Error> {
        let interface = self.netlink.get(name).cloned();
        let result = self.fence(name, interface.as_ref());
        let fenced = self.ports.get(name).is_some_and(|port| port.fenced);
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            if slot.settings.interface != name {
                continue;
            }
            let ifindex = interface.as_ref().map_or(0, |interface| interface.index);
            let state = if fenced || interface.is_none() {
                link_state(interface.as_ref(), slot)
            } else {
                LinkState::Down
            };
            if slot.told == Some((ifindex, state)) {
                continue;
            }
            slot.told = Some((ifindex, state));
            let _ = self
                .engine
                .send(Command::Link {
                    slot: index,
                    ifindex,
                    state,
                })
                .await;
            if let Some(target) = self.target(index) {
                self.announcer.update(index as u32, target, sys::now());
            }
        }
        result
    }

    /// Attaches the program where it is not yet, and points the maps at the interface.
    fn fence(&mut self, name: &str, interface: Option<&Interface>) -> Result<(), Error> {
        let known = self.ports.get(name).map(|port| port.ifindex);
        let Some(interface) = interface else {
            self.ports.insert(
                name.to_owned(),
                Port {
                    ifindex: 0,
                    mode: "missing",
                    note: Some("no such interface; it is taken up when it appears".to_owned()),
                    fenced: false,
                },
            );
            return self.point();
        };
        if known == Some(interface.index) && self.ports.get(name).is_some_and(|port| port.fenced) {
            return Ok(());
        }
        let mut port = Port {
            ifindex: interface.index,
            mode: "off",
            note: Some(
                "no XDP program, so no fence: a frozen agent keeps its addresses".to_owned(),
            ),
            fenced: true,
        };
        let mut result = Ok(());
        if let Some(dataplane) = &mut self.dataplane {
            let mode = match self.agent.xdp {
                model::XdpMode::Native => dataplane::Mode::Native,
                model::XdpMode::Generic => dataplane::Mode::Generic,
                model::XdpMode::Auto | model::XdpMode::Off => dataplane::Mode::Auto,
            };
            match dataplane.attach(name, interface.index, mode) {
                Ok(attached) => {
                    port.mode = attached.mode.name();
                    port.note = attached.fallback_reason;
                    if let Some(reason) = &port.note {
                        tracing::warn!("{name}: XDP in {} mode: {reason}", port.mode);
                    } else {
                        tracing::info!("{name}: XDP in {} mode", port.mode);
                    }
                }
                Err(error) => {
                    port.mode = "refused";
                    port.note = Some(error.to_string());
                    port.fenced = false;
                    result = Err(error.into());
                }
            }
        }
        self.ports.insert(name.to_owned(), port);
        self.point()?;
        result
    }

    /// Brings the maps to what the configuration and the interfaces of the moment want.
    fn point(&mut self) -> Result<(), Error> {
        let Some(dataplane) = &mut self.dataplane else {
            return Ok(());
        };
        let mut desired = Desired::default();
        for (index, slot) in self.slots.iter().enumerate() {
            let ifindex = self
                .ports
                .get(&slot.settings.interface)
                .map_or(0, |port| port.ifindex);
            if ifindex == 0 {
                continue;
            }
            desired.routers.push(DesiredRouter {
                slot: index as u32,
                ifindex,
                vlans: 0,
                family: slot.settings.router.family,
                vrid: slot.settings.router.vrid.get(),
                peers: slot.settings.peers.clone(),
                addresses: slot
                    .settings
                    .addresses
                    .iter()
                    .map(|address| DesiredAddress {
                        address: address.prefix.address,
                        prefix_len: address.prefix.len,
                        ifindex,
                        vlans: 0,
                    })
                    .collect(),
            });
        }
        Ok(dataplane.apply(&desired)?)
    }

    /// Takes the program off interfaces that the configuration no longer names.
    fn drop_stale_links(&mut self) -> Result<(), Error> {
        let keep: Vec<u32> = self
            .interface_names()
            .iter()
            .filter_map(|name| self.netlink.get(name).map(|interface| interface.index))
            .collect();
        if let Some(dataplane) = &mut self.dataplane {
            dataplane.detach_others(&keep)?;
        }
        Ok(())
    }

    fn target(&self, index: usize) -> Option<Target> {
        let slot = self.slots.get(index)?;
        let interface = self.netlink.get(&slot.settings.interface)?;
        Some(Target {
            ifindex: interface.index,
            mac: interface.mac?,
            router: netlink::ipv6_forwarding(&interface.name),
            addresses: slot
                .settings
                .addresses
                .iter()
                .map(|address| address.prefix.address)
                .collect(),
            announce: slot.settings.announce,
        })
    }

    /// Takes over what can change without a restart; says what cannot.
    async fn reload(&mut self, new: model::Config) {
        let old = model::Config {
            agent: self.agent.clone(),
            instances: self
                .slots
                .iter()
                .map(|slot| slot.settings.clone())
                .collect(),
        };
        let changes = config::changes(&old, &new);
        if changes.is_empty() {
            tracing::info!("configuration read again: nothing changed");
            return;
        }
        let mut touched = Vec::new();
        for change in changes {
            match change {
                Change::Router { index }
                | Change::Addresses { index }
                | Change::Announce { index } => touched.push(index),
                Change::NeedsRestart { .. } => tracing::warn!("configuration read again: {change}"),
            }
        }
        touched.dedup();
        for settings in touched
            .into_iter()
            .filter_map(|index| new.instances.get(index))
        {
            let running = |slot: &Slot| slot.settings.name == settings.name;
            if let Some(index) = self.slots.iter().position(running) {
                let merged = config::reloadable(&self.slots[index].settings, settings);
                tracing::info!("{}: taken over from the configuration", settings.name);
                self.adopt(index, merged).await;
            }
        }
    }

    /// Makes before it breaks: fences the new addresses, adds them, then removes the old ones.
    async fn adopt(&mut self, index: usize, settings: model::Instance) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let old = std::mem::replace(&mut slot.settings, settings.clone());
        let held = slot.hold != Hold::Released;
        if let Err(error) = self.point() {
            tracing::error!("{error}");
        }
        let _ = self
            .engine
            .send(Command::Reload {
                slot: index,
                settings: Box::new(settings),
            })
            .await;
        if !held {
            return;
        }
        self.hold(index).await;
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let gone: Vec<_> = old
            .addresses
            .iter()
            .filter(|address| !slot.settings.addresses.contains(address))
            .filter(|address| !slot.owned.contains(&address.prefix.address))
            .map(|address| address.prefix)
            .collect();
        let kept = |address: IpAddr| {
            slot.settings
                .addresses
                .iter()
                .any(|new| new.prefix.address == address)
        };
        if let Some((ifindex, _)) = slot.told {
            for prefix in gone {
                if let Err(error) = self.netlink.remove(ifindex, &prefix).await {
                    tracing::error!("{}: {error}", slot.settings.name);
                }
                if !kept(prefix.address) {
                    self.record.remove(&slot.settings.interface, prefix);
                }
            }
        }
        self.save_record();
        if let Some(target) = self.target(index) {
            self.announcer.update(index as u32, target, sys::now());
        }
    }

    async fn report(&self) -> Vec<Report> {
        let (answer, report) = oneshot::channel();
        let _ = self.engine.send(Command::Report(answer)).await;
        report.await.unwrap_or_default()
    }

    async fn answer(&mut self, request: Request) {
        match request.verb {
            Verb::Status => {
                let reports = self.report().await;
                let status = self.status(&reports);
                let line = serde_json::to_string(&status)
                    .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
                let _ = request.answer.send(line);
            }
        }
    }

    async fn print(&mut self) {
        let reports = self.report().await;
        for line in self.status(&reports).table().lines() {
            tracing::info!("{line}");
        }
    }

    /// The last things: nothing of ours stays on the machine.
    async fn finish(&mut self) {
        for index in 0..self.slots.len() {
            if self
                .slots
                .get(index)
                .is_some_and(|slot| slot.hold != Hold::Released)
            {
                self.release(index).await;
            }
        }
        if let Some(dataplane) = self.dataplane.take()
            && let Err(error) = dataplane.unpin()
        {
            tracing::error!("{error}");
        }
        let _ = std::fs::remove_file(self.agent.run_dir.join(Record::FILE));
    }

    fn heartbeat_age(&self) -> Duration {
        sys::now().since(Instant(self.heartbeat.load(Ordering::Relaxed)))
    }
}

/// Removes the virtual addresses that a dead agent left; returns how many.
///
/// # Errors
/// When netlink cannot be opened.
pub async fn clean_up(config: &model::Config) -> Result<usize, Error> {
    let mut netlink = Netlink::open().await?;
    let mut record = load_record(&config.agent.run_dir);
    let wanted: Vec<(&model::Instance, Vec<IpAddr>)> = config
        .instances
        .iter()
        .map(|settings| (settings, owned_addresses(&netlink, &record, settings)))
        .collect();
    let removed = remove_leftovers(&mut netlink, &mut record, &wanted).await;
    let _ = std::fs::remove_file(config.agent.run_dir.join(Record::FILE));
    Ok(removed)
}

/// The record of a predecessor; one that cannot be read is as good as none, but not silently.
fn load_record(run_dir: &Path) -> Record {
    Record::load(run_dir).unwrap_or_else(|error| {
        tracing::warn!(
            "{}: {error}; only configured addresses are looked for",
            run_dir.join(Record::FILE).display()
        );
        Record::default()
    })
}

/// What the election makes of an interface.
fn link_state(interface: Option<&Interface>, slot: &Slot) -> LinkState {
    let Some(interface) = interface else {
        return LinkState::Missing;
    };
    if !interface.up {
        return LinkState::Down;
    }
    let virtual_addresses: Vec<IpAddr> = slot
        .settings
        .addresses
        .iter()
        .map(|address| address.prefix.address)
        .filter(|address| !slot.owned.contains(address))
        .collect();
    let local = match slot.settings.source {
        Some(source) => interface
            .addresses
            .iter()
            .any(|own| own.prefix.address == source)
            .then_some(source),
        None => {
            netlink::primary_address(interface, slot.settings.router.family, &virtual_addresses)
        }
    };
    local.map_or(LinkState::NoAddress, |local| LinkState::Up { local })
}

/// Addresses of the interface itself that an address owner (priority 255) shares.
fn owned_addresses(netlink: &Netlink, record: &Record, settings: &model::Instance) -> Vec<IpAddr> {
    if settings.router.priority != Priority::OWNER {
        return Vec::new();
    }
    let Some(interface) = netlink.get(&settings.interface) else {
        return Vec::new();
    };
    settings
        .addresses
        .iter()
        .filter(|address| {
            interface
                .addresses
                .iter()
                .any(|own| own.prefix.address == address.prefix.address)
                && !record.iter().any(|held| {
                    held.interface == settings.interface && held.prefix == address.prefix
                })
        })
        .map(|address| address.prefix.address)
        .collect()
}

/// Removes virtual addresses that a dead predecessor, of this or another make, left behind: what
/// the record names, and what the configuration names and the interface already has. Returns how
/// many there were.
async fn remove_leftovers(
    netlink: &mut Netlink,
    record: &mut Record,
    wanted: &[(&model::Instance, Vec<IpAddr>)],
) -> usize {
    let mut leftovers: Vec<(String, Prefix)> = record
        .iter()
        .map(|held| (held.interface.clone(), held.prefix))
        .collect();
    for (settings, owned) in wanted {
        let Some(interface) = netlink.get(&settings.interface) else {
            continue;
        };
        for own in &interface.addresses {
            let configured = settings
                .addresses
                .iter()
                .any(|address| address.prefix.address == own.prefix.address);
            if configured && !owned.contains(&own.prefix.address) {
                leftovers.push((interface.name.clone(), own.prefix));
            }
        }
    }
    leftovers.sort();
    leftovers.dedup();
    let mut removed = 0;
    for (name, prefix) in leftovers {
        let Some(interface) = netlink.get(&name) else {
            record.remove(&name, prefix);
            continue;
        };
        let index = interface.index;
        let present = interface.addresses.iter().any(|own| own.prefix == prefix);
        match netlink.remove(index, &prefix).await {
            Ok(()) => {
                if present {
                    removed += 1;
                    tracing::info!("{name}: {prefix} was left behind by a predecessor: removed");
                }
                record.remove(&name, prefix);
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
    removed
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(sys::now())).await,
        None => std::future::pending().await,
    }
}
