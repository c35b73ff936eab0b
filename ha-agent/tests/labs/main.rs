//! The agent at work: network namespaces, the real program in the kernel, real clients.
//!
//! Each test makes a lab of its own ([`xtask::lab`]) and leaves nothing behind. Times are
//! bounds that hold on a busy two-core machine; what was measured is printed.

#![expect(
    clippy::unwrap_used,
    reason = "a lab that cannot be made is a failed test, and the helpers of a test are tests too"
)]

mod addresses;
mod attack;
mod failover;
mod fence;
mod load;
mod operations;
mod pair;
mod peer;
mod without_xdp;
