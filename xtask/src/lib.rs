//! What `cargo xtask` does: builds, tests and checks ha-agent from a fresh machine.
//!
//! One module per verb ([`build_ebpf`], [`build`], [`mod@test`], [`tidy`]), each doing its
//! own set-up and naming what it installs. Below them: [`toolchain`] (the BPF compiler and
//! linker), [`apt`], [`machine`] (what this machine is and permits), [`cmd`] (child
//! processes) and [`workspace`] (where things are).

pub mod apt;
pub mod bench;
pub mod build;
pub mod build_ebpf;
pub mod cmd;
pub mod demo;
pub mod lab;
pub mod machine;
pub mod test;
pub mod tidy;
pub mod toolchain;
pub mod workspace;
