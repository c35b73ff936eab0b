//! ha-agent: failover for edge routers, VRRP election with an eBPF data plane.
//!
//! ```text
//! main ─► engine ──────► edges { advert dataplane::Fast }            the election thread
//!           ▲ │ Command / Effect, bounded queues
//!           │ ▼
//!         effects ─────► edges { netlink neighbor dataplane control }  everything that may wait
//!           │     edges know tokio, aya, sockets and clocks; they do not import one another
//!           ▼
//!         core { vrrp  alarm  config::model }
//!           │     std and thiserror: no async, no I/O, no clock, no randomness, no logging
//!           ▼
//!         ha-common ◄── ha-ebpf
//! ```

pub mod advert;
pub mod alarm;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod effects;
pub mod engine;
pub mod neighbor;
pub mod netlink;
pub mod status;
pub mod sys;
pub mod vrrp;
