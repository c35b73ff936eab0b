//! `cargo xtask bench`: numbers, each beside keepalived's from the same run on the same machine.
//!
//! Nothing here passes or fails: tests assert facts, these are for people.

mod cost;
mod failover;
mod flood;

use anyhow::{Context as _, Result};

use crate::lab::Daemon;
use crate::test::packages;
use crate::{build, machine};

/// What to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Lost probes and gaps per event at 1 s, 100 ms and 10 ms.
    #[default]
    Failover,
    /// CPU, memory and time to be ready with many instances.
    Cost,
    /// What a flood of invalid advertisements does to an election.
    Flood,
}

/// Options of `cargo xtask bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(value_enum, default_value_t)]
    pub what: What,
    /// How often each event happens; numbers are medians
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Only this advertisement interval in milliseconds: 1000, 100 or 10
    #[arg(long)]
    pub interval: Option<u128>,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    machine::require_lab("bench")?;
    packages::ensure()?;
    let binary = build::agent(&["--release"]).context("build the agent")?;
    let daemons = [Daemon::Agent(binary), Daemon::Keepalived];
    match options.what {
        What::Failover => failover::run(&daemons, options),
        What::Cost => cost::run(&daemons),
        What::Flood => flood::run(&daemons),
    }
}

/// The name of a daemon in a table.
fn name(daemon: &Daemon) -> &'static str {
    match daemon {
        Daemon::Agent(_) => "ha-agent",
        Daemon::Keepalived => "keepalived",
    }
}
