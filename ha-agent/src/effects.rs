//! The other runtime: everything that may wait. Owns netlink, the announcer and the data plane,
//! and carries out what the engine decides.
//!
//! Level-triggered: per instance it knows whether the addresses are wanted, and brings the
//! interface there whatever happened in between: an interface that vanished and came back, an
//! address somebody deleted, an address a dead predecessor left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::advert::{self, Receiver, Sender};
use crate::alarm::Alarms;
use crate::config::{self, Change, model};
use crate::control::{Request, Verb};
use crate::dataplane::{self, Dataplane, Desired, DesiredAddress, DesiredRouter};
use crate::engine::{Command, Effect, Leases, Report, Sockets};
use crate::neighbor::{Announcer, Target};
use crate::netlink::{self, Added, Interface, Netlink, Record};
use crate::sys;
use crate::vrrp::types::{Instant, Prefix, Priority};
use crate::vrrp::{Announcement, LinkState};

mod observe;

/// How often counters are read, alarms judged and the watchdog fed.
const TICK: Duration = Duration::from_secs(1);
/// Oldest sign of life of the election thread that still feeds the watchdog.
const ALIVE: Duration = Duration::from_secs(2);
/// How long the election thread may take to report: it answers within one pass.
const PATIENCE: Duration = Duration::from_secs(1);

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
    /// See [`advert::Error`].
    #[error(transparent)]
    Advert(#[from] advert::Error),
    /// The election thread ended by itself.
    #[error("the election thread ended; the leases end with it")]
    EngineGone,
    /// Virtual addresses stayed on their interfaces.
    #[error(
        "{count} virtual addresses could not be removed: the pins stay, so that nothing answers \
         for them; `ha-agent cleanup` tries again"
    )]
    Leftovers {
        /// How many.
        count: usize,
    },
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
    /// What it speaks and hears with, and what that is bound to.
    bound: Option<(u32, IpAddr, Sockets)>,
    /// Why it cannot be bound to a link that is up; tried again every [`TICK`].
    unbound: Option<String>,
    /// The interface and its Ethernet address that announcements name.
    announced: Option<(u32, [u8; 6])>,
    /// The interface's own addresses that the configuration names as virtual: the address owner's.
    owned: Vec<IpAddr>,
    alarms: Alarms,
    watched: observe::Watched,
}

impl Slot {
    fn new(settings: model::Instance) -> Self {
        Self {
            settings,
            hold: Hold::Released,
            told: None,
            bound: None,
            unbound: None,
            announced: None,
            owned: Vec::new(),
            alarms: Alarms::new(),
            watched: observe::Watched::default(),
        }
    }

    /// The addresses that come and go with the role.
    fn virtual_addresses(&self) -> impl Iterator<Item = &model::VirtualAddress> {
        self.settings
            .addresses
            .iter()
            .filter(|address| !self.owned.contains(&address.prefix.address))
    }
}

struct Port {
    ifindex: u32,
    mode: &'static str,
    note: Option<String>,
    fenced: bool,
    /// The ear of its instances when there is no program.
    receiver: Option<Arc<Receiver>>,
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
    /// Sockets that were replaced, until the engine has let go of them: closing one can take time.
    retired: Vec<Sockets>,
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
        let announcer = Announcer::open()?;
        let mut netlink = Netlink::open().await?;
        let mut record = load_record(&parts.config.agent.run_dir);
        let instances = &parts.config.instances;
        let (removed, failed) = remove_leftovers(&mut netlink, &mut record, instances).await;
        for error in failed {
            tracing::error!("{}", with_causes(&error));
        }
        if removed > 0 {
            netlink = Netlink::open().await?; // what was removed is nobody's own address
        }
        let mut dataplane = parts.dataplane;
        let kernel_log = dataplane.as_mut().and_then(Dataplane::take_log);
        let mut effects = Self {
            announcer,
            kernel_log,
            agent: parts.config.agent,
            slots: parts.config.instances.into_iter().map(Slot::new).collect(),
            ports: BTreeMap::new(),
            netlink,
            dataplane,
            record,
            retired: Vec::new(),
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
                if let Err(left) = effects.finish().await {
                    tracing::error!("{}", with_causes(&left));
                }
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
    /// fence is down by then in either case, unless it is [`Error::Leftovers`].
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
        // Netlink failed: not asked again before the next tick.
        let mut deaf = false;
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                // What is rare goes first, so that what is frequent cannot starve it.
                Some(order) = orders.recv() => match order {
                    Order::Reload(config) => self.reload(*config).await,
                    Order::Print => self.print().await,
                    Order::Shutdown => {
                        stopping = true;
                        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
                        let _ = self.engine.send(Command::Shutdown).await;
                    }
                },
                _ = tick.tick() => {
                    deaf = false;
                    self.queues.effects(&effects);
                    self.try_again().await;
                    self.observe().await;
                }
                Some(effect) = effects.recv() => self.carry_out(effect).await,
                changes = self.netlink.changed(), if !deaf => match changes {
                    Ok(changes) => self.take_in(changes).await,
                    Err(error) => {
                        tracing::error!("{}", with_causes(&error));
                        deaf = true;
                    }
                },
                () = sleep_until(wake) => {}
                Some(request) = requests.recv() => self.answer(request).await,
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
        self.finish().await?;
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
                    let held = |slot: &Slot| slot.hold == Hold::Held;
                    if self.slots.get(slot).is_some_and(held)
                        && let Some(target) = self.target(slot)
                    {
                        self.announcer.start(slot as u32, target, sys::now());
                    }
                }
                Announcement::Conflict => self.announcer.conflict(slot as u32, sys::now()),
            },
        }
    }

    async fn hold(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.hold = Hold::Held;
        }
        self.add_addresses(index).await;
    }

    /// Puts the addresses of a held instance on its interface, as long as its lease lives: this
    /// process may have been stopped since they were asked for, or since one was deleted.
    async fn add_addresses(&mut self, index: usize) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let ifindex = slot.told.map_or(0, |(ifindex, _)| ifindex);
        if slot.hold != Hold::Held || ifindex == 0 || !self.leases.alive(index, sys::now()) {
            return;
        }
        let wanted: Vec<_> = slot.virtual_addresses().copied().collect();
        let mut news = false;
        for address in &wanted {
            news |= self.record.insert(&slot.settings.interface, address.prefix);
        }
        if news {
            self.save_record();
        }
        for address in &wanted {
            if !self.leases.alive(index, sys::now()) {
                return;
            }
            if let Err(error) = self.netlink.add(ifindex, address).await {
                self.give_up(index, &error).await;
                return;
            }
        }
    }

    /// An address could not be added: the engine hands over, and what is there goes.
    async fn give_up(&mut self, index: usize, error: &netlink::Error) {
        if let Some(slot) = self.slots.get_mut(index) {
            tracing::error!("{}: {}", slot.settings.name, with_causes(error));
            slot.hold = Hold::Releasing(sys::now());
        }
        let _ = self
            .engine
            .send(Command::AddressesFailed { slot: index })
            .await;
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
        if let Some(slot) = self.slots.get_mut(index) {
            slot.hold = Hold::Released;
        }
        self.remove_unwanted().await;
    }

    /// Takes off every address on record that no instance holds. What cannot be taken off stays
    /// on record and is tried again every [`TICK`].
    async fn remove_unwanted(&mut self) {
        let unwanted = unwanted(&self.record, &self.slots);
        if unwanted.is_empty() {
            return;
        }
        for (name, prefix) in unwanted {
            if let Some(ifindex) = self.netlink.get(&name).map(|interface| interface.index)
                && let Err(error) = self.netlink.remove(ifindex, &prefix).await
            {
                tracing::error!("{}", with_causes(&error));
                continue;
            }
            self.record.remove(&name, prefix);
        }
        self.save_record();
    }

    /// Level-triggered: what failed or was skipped, and what nobody reported.
    async fn try_again(&mut self) {
        self.remove_unwanted().await;
        for index in 0..self.slots.len() {
            let lacking = self.slots.get(index).is_some_and(|slot| {
                slot.hold == Hold::Held
                    && self
                        .netlink
                        .get(&slot.settings.interface)
                        .is_some_and(|interface| lacks(interface, slot))
            });
            if lacking {
                self.add_addresses(index).await;
            }
        }
        let unusable: BTreeSet<String> = self
            .slots
            .iter()
            .filter(|slot| {
                let port = self.ports.get(&slot.settings.interface);
                slot.unbound.is_some() || port.is_some_and(|port| port.ifindex != 0 && !port.fenced)
            })
            .map(|slot| slot.settings.interface.clone())
            .collect();
        for name in unusable {
            // Said when it was first seen, and in the status since.
            let _ = self.meet(&name).await;
        }
        self.retired
            .retain(|sockets| Arc::strong_count(&sockets.sender) > 1);
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
                        tracing::error!("{}", with_causes(&error));
                    }
                }
                netlink::Change::AddressGone { ifindex, address } => {
                    self.restore(ifindex, address).await;
                    // It may have been the one that advertisements left from.
                    let name = self.netlink.get_index(ifindex).map(|i| i.name.clone());
                    if let Some(name) = name.filter(|name| self.interface_names().contains(name))
                        && let Err(error) = self.meet(&name).await
                    {
                        tracing::error!("{}", with_causes(&error));
                    }
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
                && self.leases.alive(index, sys::now());
            let Some(wanted) = slot
                .virtual_addresses()
                .find(|wanted| ours && wanted.prefix.address == address)
                .copied()
            else {
                continue;
            };
            match self.netlink.add(ifindex, &wanted).await {
                Ok(Added::New) => {}
                Ok(Added::Existed) => continue, // a reload was faster
                Err(error) => {
                    self.give_up(index, &error).await;
                    continue;
                }
            }
            tracing::warn!(
                "{}: {} was deleted by somebody else and is restored",
                slot.settings.name,
                wanted.prefix
            );
            self.announcer.conflict(index as u32, sys::now());
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
        let ifindex = interface.as_ref().map_or(0, |interface| interface.index);
        if let Some(interface) = &interface {
            self.note_owned(interface);
        }
        let bare = interface
            .as_ref()
            .map(|interface| without_virtual(interface, &self.slots));
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else {
                continue;
            };
            if slot.settings.interface != name {
                continue;
            }
            let found = if fenced || interface.is_none() {
                link_state(bare.as_ref(), &slot.settings)
            } else {
                LinkState::Down
            };
            self.tell(index, ifindex, found).await;
            if let Some(interface) = &interface {
                self.announce_from(index, interface);
            }
        }
        result
    }

    /// Tells the engine of a link, when it is news; a link without sockets is down.
    async fn tell(&mut self, index: usize, ifindex: u32, found: LinkState) {
        let (state, sockets) = match found {
            LinkState::Up { local } => match self.bind(index, ifindex, local) {
                Some(sockets) => (found, Some(sockets)),
                None => (LinkState::Down, None),
            },
            LinkState::Missing | LinkState::Down | LinkState::NoAddress => (found, None),
        };
        if found == LinkState::Missing {
            self.unbind(index);
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let before = slot.told.replace((ifindex, state));
        if before == slot.told {
            return;
        }
        let held = slot.hold == Hold::Held;
        let _ = self
            .engine
            .send(Command::Link {
                slot: index,
                ifindex,
                state,
                sockets,
            })
            .await;
        // The addresses did not come along to an interface that was made anew.
        if held && before.is_some_and(|(known, _)| known != ifindex) {
            self.add_addresses(index).await;
        }
    }

    /// The sockets for a link, opened when those at hand are bound to another; `None` when they
    /// cannot be had.
    fn bind(&mut self, index: usize, ifindex: u32, local: IpAddr) -> Option<Sockets> {
        let slot = self.slots.get(index)?;
        if let Some((known, source, sockets)) = &slot.bound
            && (*known, *source) == (ifindex, local)
        {
            return Some(sockets.clone());
        }
        let opened = self.open_sockets(index, ifindex, local);
        self.unbind(index);
        let slot = self.slots.get_mut(index)?;
        match opened {
            Ok(sockets) => {
                slot.unbound = None;
                slot.bound = Some((ifindex, local, sockets.clone()));
                Some(sockets)
            }
            Err(error) => {
                let why = with_causes(&error);
                if slot.unbound.as_ref() != Some(&why) {
                    tracing::error!("{}: cannot advertise: {why}", slot.settings.name);
                }
                slot.unbound = Some(why);
                None
            }
        }
    }

    fn open_sockets(
        &mut self,
        index: usize,
        ifindex: u32,
        local: IpAddr,
    ) -> Result<Sockets, advert::Error> {
        let settings = &self.slots[index].settings;
        let receiver = match self.ports.get_mut(&settings.interface) {
            Some(port) if self.dataplane.is_none() => {
                if port.receiver.is_none() {
                    let opened = Receiver::open(&settings.interface, ifindex)?;
                    port.receiver = Some(Arc::new(opened));
                }
                port.receiver.clone()
            }
            _ => None,
        };
        let sender = Sender::open(&advert::Path {
            ifname: settings.interface.clone(),
            ifindex,
            source: local,
            multicast: settings.peers.is_empty(),
        })?;
        Ok(Sockets {
            sender: Arc::new(sender),
            receiver,
        })
    }

    fn unbind(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.unbound = None;
            self.retired
                .extend(slot.bound.take().map(|(_, _, sockets)| sockets));
        }
    }

    /// Has the announcements follow the interface and its Ethernet address.
    fn announce_from(&mut self, index: usize, interface: &Interface) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let seen = interface.mac.map(|mac| (interface.index, mac));
        if std::mem::replace(&mut slot.announced, seen) != seen
            && let Some(target) = self.target(index)
        {
            self.announcer.update(index as u32, target, sys::now());
        }
    }

    /// An address owner's own addresses, as soon as they are seen.
    fn note_owned(&mut self, interface: &Interface) {
        for slot in &mut self.slots {
            if slot.settings.interface != interface.name {
                continue;
            }
            if slot.told.is_some_and(|(known, _)| known != interface.index) {
                slot.owned.clear(); // made anew
            }
            for address in owned_addresses(interface, &self.record, &slot.settings) {
                if !slot.owned.contains(&address) {
                    slot.owned.push(address);
                }
            }
        }
    }

    /// Attaches the program where it is not yet, and points the maps at the interface.
    fn fence(&mut self, name: &str, interface: Option<&Interface>) -> Result<(), Error> {
        let known = self.ports.get(name).map(|port| port.ifindex);
        let current = interface.map_or(0, |interface| interface.index);
        if current != 0
            && known == Some(current)
            && self.ports.get(name).is_some_and(|port| port.fenced)
        {
            return Ok(());
        }
        if let Some(gone) = known.filter(|known| *known != current) {
            self.drop_link(name, gone);
        }
        let mut result = Ok(());
        let mut port = match interface {
            Some(interface) => self.attach(interface, &mut result),
            None => Port {
                ifindex: 0,
                mode: "missing",
                note: Some("no such interface; it is taken up when it appears".to_owned()),
                fenced: false,
                receiver: None,
            },
        };
        let attached = port.fenced;
        port.fenced = false;
        self.ports.insert(name.to_owned(), port);
        self.point()?;
        // Not before the maps know the interface: an instance that is told of it takes part.
        if let Some(port) = self.ports.get_mut(name) {
            port.fenced = attached;
        }
        result
    }

    fn attach(&mut self, interface: &Interface, result: &mut Result<(), Error>) -> Port {
        let name = &interface.name;
        let mut port = Port {
            ifindex: interface.index,
            mode: "off",
            note: Some(
                "no XDP program, so no fence: a frozen agent keeps its addresses".to_owned(),
            ),
            fenced: true,
            receiver: None,
        };
        let Some(dataplane) = &mut self.dataplane else {
            return port;
        };
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
                port.note = Some(with_causes(&error));
                port.fenced = false;
                *result = Err(error.into());
            }
        }
        port
    }

    /// Lets go of the link to an interface that went away, unless it has another name now.
    fn drop_link(&mut self, name: &str, ifindex: u32) {
        let elsewhere = self
            .ports
            .iter()
            .any(|(other, port)| other != name && port.ifindex == ifindex);
        if ifindex != 0
            && !elsewhere
            && let Some(dataplane) = &mut self.dataplane
            && let Err(error) = dataplane.detach(ifindex)
        {
            tracing::warn!("{name}: {}", with_causes(&error));
        }
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
        let mut replaced = Vec::new();
        for settings in touched
            .into_iter()
            .filter_map(|index| new.instances.get(index))
        {
            let running = |slot: &Slot| slot.settings.name == settings.name;
            if let Some(index) = self.slots.iter().position(running) {
                let slot = &mut self.slots[index];
                let merged = config::reloadable(&slot.settings, settings);
                replaced.push((index, std::mem::replace(&mut slot.settings, merged)));
            }
        }
        // The fence first: what it cannot hold must not be added.
        if let Err(error) = self.point() {
            tracing::error!(
                "configuration not taken over, everything stays as it is: {}",
                with_causes(&error)
            );
            for (index, old) in replaced {
                self.slots[index].settings = old;
            }
            if let Err(error) = self.point() {
                tracing::error!("{}", with_causes(&error));
            }
            return;
        }
        self.adopt(replaced).await;
    }

    /// Makes before it breaks: adds the new addresses, then removes the old ones.
    async fn adopt(&mut self, replaced: Vec<(usize, model::Instance)>) {
        for (index, _) in &replaced {
            let slot = &self.slots[*index];
            tracing::info!("{}: taken over from the configuration", slot.settings.name);
            let reload = Command::Reload {
                slot: *index,
                settings: Box::new(slot.settings.clone()),
            };
            let _ = self.engine.send(reload).await;
        }
        // An address that is an owner's own, or that advertisements leave from, may be virtual
        // from now on, or no longer.
        for name in self.interface_names() {
            if let Err(error) = self.meet(&name).await {
                tracing::error!("{}", with_causes(&error));
            }
        }
        for (index, _) in &replaced {
            self.add_addresses(*index).await;
        }
        for (index, old) in &replaced {
            self.take_off_changed(*index, old).await;
        }
        self.remove_unwanted().await;
        for (index, _) in &replaced {
            // Once more: IPv6 has an address once, whatever its prefix length.
            self.add_addresses(*index).await;
            if let Some(target) = self.target(*index) {
                self.announcer.update(*index as u32, target, sys::now());
            }
        }
    }

    /// Takes off the addresses whose scope changed: the kernel does not change it in place.
    async fn take_off_changed(&mut self, index: usize, old: &model::Instance) {
        let slot = &self.slots[index];
        let (true, Some((ifindex, _))) = (slot.hold == Hold::Held, slot.told) else {
            return;
        };
        let changed: Vec<Prefix> = slot
            .virtual_addresses()
            .filter(|new| {
                let same = |old: &&model::VirtualAddress| old.prefix == new.prefix;
                old.addresses
                    .iter()
                    .find(same)
                    .is_some_and(|old| old.scope != new.scope)
            })
            .map(|address| address.prefix)
            .collect();
        for prefix in changed {
            if let Err(error) = self.netlink.remove(ifindex, &prefix).await {
                tracing::error!("{}", with_causes(&error));
            }
        }
    }

    /// What the election thread knows; nothing when it does not answer.
    async fn report(&self) -> Vec<Report> {
        let (answer, report) = oneshot::channel();
        let asked = async {
            self.engine.send(Command::Report(answer)).await.ok()?;
            report.await.ok()
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.ok().flatten().unwrap_or_default()
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

    /// The last things: nothing of ours stays on the machine. An address that cannot be removed
    /// stays on record and behind the fence.
    async fn finish(&mut self) -> Result<(), Error> {
        for slot in &mut self.slots {
            slot.hold = Hold::Released;
        }
        self.remove_unwanted().await;
        if !self.record.is_empty() {
            let count = self.record.iter().count();
            return Err(Error::Leftovers { count });
        }
        if let Some(dataplane) = self.dataplane.take() {
            dataplane.unpin()?;
        }
        let _ = std::fs::remove_file(self.agent.run_dir.join(Record::FILE));
        Ok(())
    }

    fn heartbeat_age(&self) -> Duration {
        sys::now().since(Instant(self.heartbeat.load(Ordering::Relaxed)))
    }
}

/// Removes the virtual addresses that a dead agent left; returns how many.
///
/// # Errors
/// When netlink cannot be opened, or the first address that cannot be removed; the record then
/// stays.
pub async fn clean_up(config: &model::Config) -> Result<usize, Error> {
    let mut netlink = Netlink::open().await?;
    let mut record = load_record(&config.agent.run_dir);
    let (removed, failed) = remove_leftovers(&mut netlink, &mut record, &config.instances).await;
    if let Some(error) = failed.into_iter().next() {
        return Err(error.into());
    }
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

/// What the election makes of an interface, shown without its virtual addresses.
fn link_state(interface: Option<&Interface>, settings: &model::Instance) -> LinkState {
    let Some(interface) = interface else {
        return LinkState::Missing;
    };
    if !interface.up {
        return LinkState::Down;
    }
    let local = match settings.source {
        Some(source) => interface
            .addresses
            .iter()
            .any(|own| own.prefix.address == source)
            .then_some(source),
        None => netlink::primary_address(interface, settings.router.family, &[]),
    };
    local.map_or(LinkState::NoAddress, |local| LinkState::Up { local })
}

/// The interface without the virtual addresses of *all* its instances: what advertisements leave
/// from must not move with another instance's role.
fn without_virtual(interface: &Interface, slots: &[Slot]) -> Interface {
    let moving: BTreeSet<IpAddr> = slots
        .iter()
        .filter(|slot| slot.settings.interface == interface.name)
        .flat_map(|slot| slot.virtual_addresses())
        .map(|address| address.prefix.address)
        .collect();
    let mut bare = interface.clone();
    bare.addresses
        .retain(|own| !moving.contains(&own.prefix.address));
    bare
}

/// Whether a virtual address of the instance is not on its interface.
fn lacks(interface: &Interface, slot: &Slot) -> bool {
    let there: BTreeSet<IpAddr> = interface
        .addresses
        .iter()
        .map(|own| own.prefix.address)
        .collect();
    slot.virtual_addresses()
        .any(|wanted| !there.contains(&wanted.prefix.address))
}

/// What is on record although no instance holds it, now or for a moment longer.
fn unwanted(record: &Record, slots: &[Slot]) -> Vec<(String, Prefix)> {
    let wanted: BTreeSet<(&str, Prefix)> = slots
        .iter()
        .filter(|slot| slot.hold != Hold::Released)
        .flat_map(|slot| {
            let interface = slot.settings.interface.as_str();
            slot.virtual_addresses()
                .map(move |address| (interface, address.prefix))
        })
        .collect();
    record
        .iter()
        .filter(|held| !wanted.contains(&(held.interface.as_str(), held.prefix)))
        .map(|held| (held.interface.clone(), held.prefix))
        .collect()
}

/// Addresses of the interface itself that an address owner (priority 255) shares.
fn owned_addresses(
    interface: &Interface,
    record: &Record,
    settings: &model::Instance,
) -> Vec<IpAddr> {
    if settings.router.priority != Priority::OWNER {
        return Vec::new();
    }
    let own = |address: &&model::VirtualAddress| {
        interface
            .addresses
            .iter()
            .any(|own| own.prefix.address == address.prefix.address && !own.ours)
    };
    let held = |address: &&model::VirtualAddress| {
        record
            .iter()
            .any(|held| held.interface == settings.interface && held.prefix == address.prefix)
    };
    settings
        .addresses
        .iter()
        .filter(|address| own(address) && !held(address))
        .map(|address| address.prefix.address)
        .collect()
}

/// Removes virtual addresses that a dead predecessor, of this or another make, left behind: what
/// the record names, and what the configuration names and the interface already has. Returns how
/// many there were, and what could not be removed and is on record therefore.
async fn remove_leftovers(
    netlink: &mut Netlink,
    record: &mut Record,
    instances: &[model::Instance],
) -> (usize, Vec<netlink::Error>) {
    for settings in instances {
        let Some(interface) = netlink.get(&settings.interface) else {
            continue;
        };
        let owned = owned_addresses(interface, record, settings);
        for own in &interface.addresses {
            let configured = settings
                .addresses
                .iter()
                .any(|address| address.prefix.address == own.prefix.address);
            if configured && !owned.contains(&own.prefix.address) {
                record.insert(&interface.name, own.prefix);
            }
        }
    }
    let leftovers: Vec<(String, Prefix)> = record
        .iter()
        .map(|held| (held.interface.clone(), held.prefix))
        .collect();
    let mut removed = 0;
    let mut failed = Vec::new();
    for (name, prefix) in leftovers {
        if let Some(interface) = netlink.get(&name) {
            let index = interface.index;
            let present = interface.addresses.iter().any(|own| own.prefix == prefix);
            if let Err(error) = netlink.remove(index, &prefix).await {
                failed.push(error);
                continue;
            }
            if present {
                removed += 1;
                tracing::info!("{name}: {prefix} was left behind by a predecessor: removed");
            }
        }
        record.remove(&name, prefix);
    }
    (removed, failed)
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    std::iter::once(error)
        .chain(causes)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(sys::now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Address;
    use crate::vrrp::types::{Centiseconds, Family, Version, Vrid};

    fn prefix(text: &str) -> Prefix {
        let (address, len) = text.split_once('/').unwrap();
        Prefix {
            address: address.parse().unwrap(),
            len: len.parse().unwrap(),
        }
    }

    fn slot(name: &str, priority: u64, addresses: &[&str]) -> Slot {
        Slot::new(model::Instance {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            router: crate::vrrp::Config {
                vrid: Vrid::try_from(51).unwrap(),
                family: Family::Ipv4,
                version: Version::V3,
                priority: Priority::try_from(priority).unwrap(),
                interval: Centiseconds::try_from(100).unwrap(),
                preempt: true,
                preempt_delay: Duration::ZERO,
                addresses: 0,
                checksum: None,
            },
            addresses: addresses
                .iter()
                .map(|text| model::VirtualAddress {
                    prefix: prefix(text),
                    scope: model::Scope::Global,
                })
                .collect(),
            source: None,
            peers: Vec::new(),
            password: None,
            ttl_min: 255,
            announce: model::Announce {
                count: 1,
                repeat_after: Duration::ZERO,
                repeat_count: 0,
                refresh: Duration::ZERO,
                conflict_gap: Duration::ZERO,
            },
        })
    }

    /// `!` marks an address that this program put there.
    fn eth0(addresses: &[&str]) -> Interface {
        Interface {
            index: 2,
            name: "eth0".to_owned(),
            mac: None,
            up: true,
            kind: None,
            addresses: addresses
                .iter()
                .map(|text| Address {
                    prefix: prefix(text.trim_start_matches('!')),
                    scope: Some(model::Scope::Global),
                    secondary: false,
                    permanent: true,
                    tentative: false,
                    ours: text.starts_with('!'),
                })
                .collect(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_link_is_up_when_advertisements_have_a_source() {
        let mut settings = slot("VI_1", 100, &["10.0.0.100/24"]).settings;
        let local = ip("10.0.0.1");
        assert_eq!(link_state(None, &settings), LinkState::Missing);
        let mut down = eth0(&["10.0.0.1/24"]);
        down.up = false;
        assert_eq!(link_state(Some(&down), &settings), LinkState::Down);
        let bare = eth0(&[]);
        assert_eq!(link_state(Some(&bare), &settings), LinkState::NoAddress);
        let up = eth0(&["10.0.0.1/24", "10.0.0.2/24"]);
        assert_eq!(link_state(Some(&up), &settings), LinkState::Up { local });
        settings.source = Some(ip("10.0.0.2"));
        let local = ip("10.0.0.2");
        assert_eq!(link_state(Some(&up), &settings), LinkState::Up { local });
        settings.source = Some(ip("10.0.0.3"));
        assert_eq!(link_state(Some(&up), &settings), LinkState::NoAddress);
    }

    #[test]
    fn no_instance_speaks_from_a_virtual_address_of_another() {
        let slots = [
            slot("VI_1", 100, &["10.0.0.100/24"]),
            slot("VI_2", 100, &["10.0.0.101/24"]),
        ];
        // The interface's own address is gone for a moment, as when a lease is renewed by DHCP.
        let bare = without_virtual(&eth0(&["10.0.0.101/24"]), &slots);
        let state = link_state(Some(&bare), &slots[0].settings);
        assert_eq!(state, LinkState::NoAddress);
    }

    #[test]
    fn an_owner_shares_the_interfaces_own_address_and_no_other() {
        let record = Record::default();
        let own = |priority, there: &[&str], record: &Record| {
            let slot = slot("VI_1", priority, &["10.0.0.1/24", "10.0.0.2/24"]);
            owned_addresses(&eth0(there), record, &slot.settings)
        };
        assert_eq!(own(255, &["10.0.0.1/24"], &record), [ip("10.0.0.1")]);
        assert!(own(254, &["10.0.0.1/24"], &record).is_empty());
        assert!(own(255, &["!10.0.0.1/24"], &record).is_empty(), "put there");
        let mut record = record;
        record.insert("eth0", prefix("10.0.0.1/24"));
        assert!(own(255, &["10.0.0.1/24"], &record).is_empty(), "on record");
    }

    #[test]
    fn an_owners_own_address_may_be_its_source() {
        let mut owner = slot("VI_1", 255, &["10.0.0.1/24"]);
        owner.owned = vec![ip("10.0.0.1")];
        let slots = [owner];
        let bare = without_virtual(&eth0(&["10.0.0.1/24"]), &slots);
        let local = ip("10.0.0.1");
        let state = link_state(Some(&bare), &slots[0].settings);
        assert_eq!(state, LinkState::Up { local });
    }

    #[test]
    fn what_nobody_holds_is_unwanted() {
        let mut record = Record::default();
        for text in ["10.0.0.100/24", "10.0.0.101/24", "10.0.0.102/24"] {
            record.insert("eth0", prefix(text));
        }
        record.insert("eth1", prefix("10.0.0.100/24"));
        let mut slots = [
            slot("VI_1", 100, &["10.0.0.100/24"]),
            slot("VI_2", 100, &["10.0.0.101/24"]),
        ];
        slots[0].hold = Hold::Held;
        slots[1].hold = Hold::Releasing(Instant(1));
        let expect = |texts: &[(&str, &str)]| {
            texts
                .iter()
                .map(|(name, text)| ((*name).to_owned(), prefix(text)))
                .collect::<Vec<_>>()
        };
        let strangers = [("eth0", "10.0.0.102/24"), ("eth1", "10.0.0.100/24")];
        assert_eq!(unwanted(&record, &slots), expect(&strangers));
        slots[1].hold = Hold::Released;
        let with_released = [("eth0", "10.0.0.101/24"), strangers[0], strangers[1]];
        assert_eq!(unwanted(&record, &slots), expect(&with_released));
        // A reload that changes the prefix length leaves the old one behind.
        slots[0].settings.addresses[0].prefix.len = 32;
        assert!(unwanted(&record, &slots).contains(&("eth0".to_owned(), prefix("10.0.0.100/24"))));
    }

    #[test]
    fn an_address_that_is_missing_is_noticed_unless_it_is_the_owners() {
        let mut slot = slot("VI_1", 255, &["10.0.0.1/24", "10.0.0.100/24"]);
        assert!(lacks(&eth0(&["10.0.0.1/24"]), &slot));
        assert!(!lacks(&eth0(&["10.0.0.1/24", "!10.0.0.100/32"]), &slot));
        slot.owned = vec![ip("10.0.0.1")];
        assert!(!lacks(&eth0(&["!10.0.0.100/24"]), &slot));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Error::from(netlink::Error::Open(std::io::Error::other("no room")));
        assert_eq!(with_causes(&error), "netlink: open: no room");
    }
}
