//! `cargo xtask demo`: the main job, shown on any Linux machine, no hardware needed.
//!
//! Two routers, a client that asks the virtual address for an echo each millisecond, and what
//! goes wrong in a router's life: stop, crash, freeze, cable. Shows who serves while it
//! happens and what the client lost, then ends and leaves nothing behind.

mod view;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::lab::{self, Daemon, Event, Experiment, Lab, Profile};
use crate::{build, build_ebpf, machine, test, workspace};
use view::View;

/// Name of the lab that `--keep` leaves.
const KEPT: &str = "ha-demo";

/// What happens, in this order.
const EVENTS: [Event; 6] = [
    Event::Stop,
    Event::Kill,
    Event::Freeze,
    Event::CutCable,
    Event::BlackHole,
    Event::Return,
];

/// How to show it.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Leave the lab running and say how to look around in it
    #[arg(long)]
    keep: bool,
    /// Remove a lab that --keep left, and do nothing else
    #[arg(long, conflicts_with = "keep")]
    clean: bool,
    /// Advertisement interval, VRRPv3: a multiple of 10ms up to 40s
    #[arg(long, default_value = "100ms", value_parser = interval)]
    interval: Duration,
    /// Show keepalived in place of ha-agent, to compare
    #[arg(long)]
    keepalived: bool,
}

/// Builds the agent and shows it.
pub fn run(options: &Options) -> Result<()> {
    machine::require_lab("demo")?;
    if options.clean {
        println!("removed {} things of {KEPT}", lab::remove_kept(KEPT));
        return Ok(());
    }
    test::packages::ensure()?;
    let daemon = if options.keepalived {
        Daemon::Keepalived
    } else {
        build_ebpf::run()?;
        Daemon::Agent(build::agent(&["--release"]).context("build the agent")?)
    };
    if options.keep && lab::is_kept(KEPT) {
        bail!("a kept demo is still there; remove it with `cargo xtask demo --clean`");
    }
    let lab = if options.keep {
        Lab::named(KEPT)?
    } else {
        Lab::pair()?
    };
    let profile = Profile {
        version: 3,
        interval: options.interval,
    };
    show(lab, &daemon, profile, options.keep)
}

fn show(lab: Lab, daemon: &Daemon, profile: Profile, keep: bool) -> Result<()> {
    let mut view = View::new(daemon, profile);
    let mut experiment = Experiment::start(lab, daemon, profile, &mut |now| view.tick(now))?;
    view.note(&experiment);
    let mut measured = Vec::new();
    for event in EVENTS {
        let result = experiment.once(event, &mut |now| view.tick(now))?;
        view.happened(&result);
        measured.push(result);
    }
    view.end(&measured, &experiment);
    if keep {
        println!("\n{}", directions(&experiment, daemon));
        experiment.keep();
    }
    Ok(())
}

/// How to look around in a kept lab.
fn directions(experiment: &Experiment, daemon: &Daemon) -> String {
    let lab = &experiment.lab;
    let inside = |node: &lab::Node| format!("nsenter --net={}", node.netns.path().display());
    let mut text = format!(
        "The lab is still there, router a serves {}:\n  {} ip address show {}\n  {} ping {}\n  {} tcpdump -ni {} ip proto 112\n",
        lab::VIP4,
        inside(lab.a()),
        lab::INTERFACE,
        inside(lab.client()),
        lab::VIP4,
        inside(lab.b()),
        lab::INTERFACE,
    );
    if let (Daemon::Agent(binary), lab::Router::Agent(agent)) = (daemon, &experiment.a) {
        text += &format!(
            "  {} status --socket {}\n",
            workspace::short(binary),
            agent.socket().display()
        );
        if let Ok(maps) = agent.maps() {
            text += &format!(
                "  bpftool map lookup pinned {}/INSTANCES key 0 0 0 0\n",
                maps.display()
            );
        }
        text += &format!(
            "  kill -9 {}    # router a; then ask the client\n",
            agent.process.pid()
        );
    }
    text + "Remove it: cargo xtask demo --clean"
}

/// `100ms` or `1s`.
fn interval(text: &str) -> Result<Duration> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number
        .parse()
        .context("a number and ms or s, such as 100ms")?;
    let interval = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => bail!("a number and ms or s, such as 100ms"),
    };
    let ms = interval.as_millis();
    if !(10..=40_000).contains(&ms) || !ms.is_multiple_of(10) {
        bail!("10ms to 40s in steps of 10ms");
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_protocol() {
        assert_eq!(interval("100ms").unwrap(), Duration::from_millis(100));
        assert_eq!(interval("1s").unwrap(), Duration::from_secs(1));
        for wrong in ["100", "15ms", "0ms", "41s", "ms", "1h"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
