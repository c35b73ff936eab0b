//! One file per verb. Each returns its documented exit code; an error is exit code 1.

pub(crate) mod check;
pub(crate) mod cleanup;
pub(crate) mod run;
pub(crate) mod status;

use crate::Exit;
use ha_agent::config::{self, Loaded};
use ha_agent::dataplane;
use ha_agent::sys::{self, Capability};
use std::io::Write;
use std::path::Path;

/// The version and what this binary carries.
pub(crate) fn version() -> Exit {
    println!(
        "ha-agent {} ({}, map layout {})",
        env!("CARGO_PKG_VERSION"),
        if dataplane::carries_program() {
            "eBPF program embedded"
        } else {
            "no eBPF program embedded: build it with `cargo xtask build-ebpf` and rebuild"
        },
        ha_common::maps::LAYOUT_VERSION,
    );
    Exit::Ok
}

/// Prints `text`, whether or not somebody reads it to the end (`ha-agent status | head`).
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// What the agent needs and this process lacks is named, with the exit code for that.
fn require(needed: &[Capability]) -> Result<(), Exit> {
    let missing = sys::missing_capabilities(needed);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!(
        "ha-agent: missing {}: run as root, or grant them as configs/ha-agent.service does",
        missing.join(", ")
    );
    Err(Exit::Permission)
}

/// Loads `path`; prints what is wrong with it.
fn load(path: &Path) -> Result<Loaded, Exit> {
    match config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            Ok(loaded)
        }
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            Err(Exit::Unusable)
        }
    }
}
