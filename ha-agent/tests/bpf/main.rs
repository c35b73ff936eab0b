//! The XDP program in the kernel, packet by packet (`BPF_PROG_TEST_RUN`), and its life on
//! interfaces. Needs root and a BPF filesystem; no test touches an interface it has not made.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod attach;
mod bench;
mod cases;
mod frames;
mod fuzz;
mod model;
mod shared;
