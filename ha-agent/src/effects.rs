//! The other runtime: everything that may wait. Owns netlink, the announcer and the data plane,
//! and carries out what the engine decides.
//!
//! Level-triggered: per instance it knows whether the addresses are wanted, and brings the
//! interface there whatever happened in between: an interface that vanished and came back, an
//! address somebody deleted, an address a dead predecessor left.

mod addresses;
mod interfaces;
mod leftovers;
mod observe;
mod ports;
mod reload;
mod slot;
mod sockets;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::advert;
use crate::config::model;
use crate::control::Request;
use crate::dataplane::{self, Dataplane};
use crate::engine::{Command, Effect, Leases, Sockets};
use crate::neighbor::Announcer;
use crate::netlink::{self, Netlink, Record};
use crate::sys;
use crate::vrrp::Announcement;
use crate::vrrp::types::Instant;

pub use leftovers::clean_up;

use leftovers::{load_record, remove_leftovers};
use ports::Port;
use slot::{Hold, Slot};

/// How often counters are read, alarms judged, the watchdog fed and what failed tried again.
const TICK: Duration = Duration::from_secs(1);

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

    async fn take_in(&mut self, changes: Vec<netlink::Change>) {
        for change in changes {
            let name = match change {
                netlink::Change::Interface(name) => Some(name),
                netlink::Change::AddressGone { ifindex, address } => {
                    self.restore(ifindex, address).await;
                    // It may have been the one that advertisements left from.
                    self.netlink.get_index(ifindex).map(|i| i.name.clone())
                }
            };
            if let Some(name) = name.filter(|name| self.interface_names().contains(name))
                && let Err(error) = self.meet(&name).await
            {
                tracing::error!("{}", with_causes(&error));
            }
        }
    }

    /// Level-triggered: what failed or was skipped, and what nobody reported.
    async fn try_again(&mut self) {
        self.remove_unwanted().await;
        self.add_missing().await;
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
        self.close_retired();
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

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Error::from(netlink::Error::Open(std::io::Error::other("no room")));
        assert_eq!(with_causes(&error), "netlink: open: no room");
    }
}
