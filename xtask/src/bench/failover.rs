//! What a failure costs a client that probes each millisecond.

use anyhow::Result;

use super::name;
use crate::lab::{Daemon, Event, Profile, measure, table};

pub(super) fn run(daemons: &[Daemon], rounds: usize) -> Result<()> {
    for profile in Profile::ALL {
        for daemon in daemons {
            let measured = measure(daemon, profile, &Event::ALL, rounds)?;
            println!("{}", table(name(daemon), profile, &measured));
        }
    }
    Ok(())
}
