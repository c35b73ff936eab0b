//! The XDP program of ha-agent: judges VRRP and fences virtual addresses.
//!
//! One program per interface, one counted [`Verdict`] per frame. What it does not understand and
//! what is not ours passes unchanged. Built by `cargo xtask build-ebpf`; on the host this crate is
//! an empty shell, so that `cargo clippy --workspace` needs no BPF toolchain.
//!
//! ```text
//!  link ─► ARP ──────────────► question for a VIP? ──► fence
//!    └───► IPv4, IPv6 ─► VRRP? ─► vrrp: judge, record, wake the agent
//!                └─► neighbour solicitation for a VIP? ─► fence
//!                └─► destination is a VIP? ─► fence
//! ```
//!
//! [`Verdict`]: ha_common::verdict::Verdict
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod fence;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod program;
#[cfg(target_arch = "bpf")]
mod stats;
#[cfg(target_arch = "bpf")]
mod vrrp;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
