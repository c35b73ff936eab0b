//! What a failure costs a client that probes each millisecond.

use anyhow::Result;

use super::{Options, name};
use crate::lab::{Daemon, Event, Profile, measure, table};

pub(super) fn run(daemons: &[Daemon], options: &Options) -> Result<()> {
    let wanted = |profile: &Profile| {
        options
            .interval
            .is_none_or(|ms| ms == profile.interval.as_millis())
    };
    for profile in Profile::ALL.into_iter().filter(wanted) {
        for daemon in daemons {
            let measured = measure(daemon, profile, &Event::ALL, options.rounds)?;
            println!("{}", table(name(daemon), profile, &measured));
        }
    }
    Ok(())
}
