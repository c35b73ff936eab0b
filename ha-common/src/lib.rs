//! What the kernel program and the agent share: packet views, map layouts, verdicts.
//!
//! The only place where a byte layout or a shared number is written. Everything here is
//! `no_std`, allocation-free and bounds-checked, so that the same functions judge a packet in
//! XDP, in the raw-socket fallback, and in host tests and fuzzers.
#![no_std]

pub mod event;
pub mod maps;
pub mod net;
pub mod verdict;
pub mod vrrp;
