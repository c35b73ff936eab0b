//! What a new configuration changes, and whether a running agent can follow.

use std::fmt;

use super::model::{Agent, Config, Instance};

/// A difference. `index` counts the instances of the *new* configuration; the running one is
/// found by its name, for the order in the file may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Priority, interval, preemption, checksum or the digest of the address list: feed
    /// [`crate::vrrp::Input::Reconfigure`].
    Router {
        /// Of the new instance.
        index: usize,
    },
    /// The virtual addresses. A [`Change::Router`] of the same instance comes first, unless the
    /// same addresses come in another order, prefix or scope.
    Addresses {
        /// Of the new instance.
        index: usize,
    },
    /// The announcements.
    Announce {
        /// Of the new instance.
        index: usize,
    },
    /// What a running agent cannot follow.
    NeedsRestart {
        /// For the operator: `agent.xdp`, `VI_1: vrid`, `VI_2: removed`.
        what: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router { index } => write!(f, "instance {index}: election"),
            Self::Addresses { index } => write!(f, "instance {index}: addresses"),
            Self::Announce { index } => write!(f, "instance {index}: announcements"),
            Self::NeedsRestart { what } => write!(f, "{what} (needs a restart)"),
        }
    }
}

/// The differences: those of the agent first, then instance by instance in the new order, then
/// the instances that are gone.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut found: Vec<Change> = agent(&old.agent, &new.agent)
        .into_iter()
        .map(|key| restart(format!("agent.{key}")))
        .collect();
    for (index, instance) in new.instances.iter().enumerate() {
        match old.instances.iter().find(|old| old.name == instance.name) {
            Some(old) => found.extend(of_instance(old, instance, index)),
            None => found.push(restart(format!("{}: added", instance.name))),
        }
    }
    for instance in &old.instances {
        if !new.instances.iter().any(|new| new.name == instance.name) {
            found.push(restart(format!("{}: removed", instance.name)));
        }
    }
    found
}

/// `old` with what a running agent can take over from `new`; what needs a restart stays as it is.
#[must_use]
pub fn reloadable(old: &Instance, new: &Instance) -> Instance {
    let (before, after) = (&old.router, &new.router);
    if before.family != after.family || before.version != after.version {
        return old.clone(); // the rest of `new` was checked for another protocol
    }
    Instance {
        name: old.name.clone(),
        interface: old.interface.clone(),
        source: old.source,
        peers: old.peers.clone(),
        password: old.password,
        ttl_min: old.ttl_min,
        router: crate::vrrp::Config {
            vrid: before.vrid,
            ..after.clone()
        },
        addresses: new.addresses.clone(),
        announce: new.announce,
    }
}

const fn restart(what: String) -> Change {
    Change::NeedsRestart { what }
}

fn agent(old: &Agent, new: &Agent) -> Vec<&'static str> {
    // Every field is named, so that a new one cannot be forgotten.
    let Agent {
        router_id,
        run_dir,
        pin_dir,
        xdp,
        fence_interfaces,
        realtime_priority,
        log_level,
        max_instances,
        max_addresses,
    } = old;
    differing([
        ("router_id", *router_id != new.router_id),
        ("run_dir", *run_dir != new.run_dir),
        ("pin_dir", *pin_dir != new.pin_dir),
        ("xdp", *xdp != new.xdp),
        (
            "fence_interfaces",
            *fence_interfaces != new.fence_interfaces,
        ),
        (
            "realtime_priority",
            *realtime_priority != new.realtime_priority,
        ),
        ("log_level", *log_level != new.log_level),
        ("max_instances", *max_instances != new.max_instances),
        ("max_addresses", *max_addresses != new.max_addresses),
    ])
}

fn of_instance(old: &Instance, new: &Instance, index: usize) -> Vec<Change> {
    let Instance {
        name: _,
        interface,
        router,
        addresses,
        source,
        peers,
        password,
        ttl_min,
        announce,
    } = old;
    let fixed = differing([
        ("interface", *interface != new.interface),
        ("vrid", router.vrid != new.router.vrid),
        ("family", router.family != new.router.family),
        ("version", router.version != new.router.version),
        ("source", *source != new.source),
        ("peers", *peers != new.peers),
        ("password", *password != new.password),
        ("ttl_min", *ttl_min != new.ttl_min),
    ]);
    let mut found: Vec<Change> = fixed
        .into_iter()
        .map(|key| restart(format!("{}: {key}", new.name)))
        .collect();
    // What needs a restart is not a reloadable difference as well.
    let followed = reloadable(old, new);
    if followed.router != *router {
        found.push(Change::Router { index });
    }
    if followed.addresses != *addresses {
        found.push(Change::Addresses { index });
    }
    if followed.announce != *announce {
        found.push(Change::Announce { index });
    }
    found
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differ = keys.into_iter().filter(|(_, differs)| *differs);
    differ.map(|(key, _)| key).collect()
}
