//! The configuration, validated and typed. What is here needs no further check.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::vrrp::{self, types::Prefix};

/// Everything the agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What concerns the process.
    pub agent: Agent,
    /// The virtual routers, in the order of the file; names and (interface, family, VRID) are unique.
    pub instances: Vec<Instance>,
}

/// What concerns the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Name of this node in log and status.
    pub router_id: String,
    /// Control socket and address record live here.
    pub run_dir: PathBuf,
    /// Below a mounted bpffs; maps and links are pinned in its `v<layout>` folder.
    pub pin_dir: PathBuf,
    /// How the program is attached.
    pub xdp: XdpMode,
    /// Interfaces fenced although no instance runs on them.
    pub fence_interfaces: Vec<String>,
    /// `SCHED_FIFO` priority of the election thread, 1–99; `None`: ordinary scheduling.
    pub realtime_priority: Option<u8>,
    /// Lowest level written to the log.
    pub log_level: LogLevel,
    /// Capacity of the per-instance maps.
    pub max_instances: u32,
    /// Capacity of each virtual address map.
    pub max_addresses: u32,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native where the driver can, generic elsewhere.
    Auto,
    /// Native or not at all.
    Native,
    /// Generic.
    Generic,
    /// No program: advertisements come through a packet socket and there is no fence.
    Off,
}

/// Log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors: somebody must act.
    Error,
    /// And degraded operation.
    Warn,
    /// And one line per transition.
    Info,
    /// And what explains them, from the kernel program too.
    Debug,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Unique name.
    pub name: String,
    /// Interface it runs on.
    pub interface: String,
    /// The election.
    pub router: vrrp::Config,
    /// Virtual addresses, all of one family; may be empty.
    pub addresses: Vec<VirtualAddress>,
    /// Source of advertisements; `None`: the interface's primary address.
    pub source: Option<IpAddr>,
    /// Unicast peers; empty: multicast.
    pub peers: Vec<IpAddr>,
    /// VRRPv2 password, zero-padded; `None`: authentication type 0.
    pub password: Option<[u8; 8]>,
    /// Lowest TTL accepted, 1–255.
    pub ttl_min: u8,
    /// Announcements.
    pub announce: Announce,
}

/// A virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// Address and prefix length.
    pub prefix: Prefix,
    /// Its scope in the kernel.
    pub scope: Scope,
}

/// Scope of an address (`ip address … scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Valid everywhere.
    Global,
    /// Valid on this site (IPv6, deprecated by RFC 3879 but still used).
    Site,
    /// Valid on this link.
    Link,
    /// Valid on this host.
    Host,
}

/// How often a virtual address is announced by gratuitous ARP or neighbour advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Announcements at takeover, 1–50.
    pub count: u32,
    /// Pause before the repetition; zero: no repetition.
    pub repeat_after: Duration,
    /// Announcements of the repetition.
    pub repeat_count: u32,
    /// Period of single announcements while Active; zero: none.
    pub refresh: Duration,
    /// Shortest time between two bursts that a rival's advertisements cause.
    pub conflict_gap: Duration,
}
