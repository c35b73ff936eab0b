//! What many virtual routers cost: CPU of Active and Backup, memory, time until all are up.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::name;
use crate::lab::{Daemon, INTERFACE, Instance, Lab, Node, Process, Router, wait_until};

/// How long CPU time is counted.
const COUNTED: Duration = Duration::from_secs(10);
/// Let what a start stirs up come to rest first.
const SETTLED: Duration = Duration::from_secs(3);
/// Kernel ticks per second in `/proc/PID/stat` (USER_HZ, 100 on every Linux).
pub(super) const TICKS: f64 = 100.0;

struct Load {
    instances: u8,
    interval: Duration,
}

const LOADS: [Load; 2] = [
    Load {
        instances: 50,
        interval: Duration::from_millis(10),
    },
    Load {
        instances: 250,
        interval: Duration::from_secs(1),
    },
];

pub(super) fn run(daemons: &[Daemon]) -> Result<()> {
    println!(
        "{:<11} {:>9} {:>9} {:>11} {:>11} {:>11} {:>11} {:>12} {:>12}",
        "daemon",
        "instances",
        "interval",
        "active cpu%",
        "backup cpu%",
        "active rss",
        "active pss",
        "all up after",
        "3·adv+skew"
    );
    for load in &LOADS {
        for daemon in daemons {
            one(daemon, load)?;
        }
    }
    Ok(())
}

fn one(daemon: &Daemon, load: &Load) -> Result<()> {
    let lab = Lab::pair()?;
    let instances = |priority| -> Vec<Instance> {
        (1..=load.instances)
            .map(|vrid| Instance {
                name: format!("VI_{vrid}"),
                vrid,
                addresses: vec![format!("10.78.{vrid}.1/32")],
                ..Instance::new(3, priority, load.interval)
            })
            .collect()
    };
    let started = Instant::now();
    let mut a = Router::start(daemon, lab.a(), &instances(200))?;
    let limit = instances(200)[0].down_interval();
    wait_until("all instances to be up", limit * 3 + SETTLED, || {
        held(lab.a()).is_ok_and(|held| held == usize::from(load.instances))
    })?;
    let ready = started.elapsed();
    let mut b = Router::start(daemon, lab.b(), &instances(100))?;
    std::thread::sleep(SETTLED);
    let before = (cpu(a.process())?, cpu(b.process())?);
    let counted = Instant::now();
    std::thread::sleep(COUNTED);
    let after = (cpu(a.process())?, cpu(b.process())?);
    let share = |ticks: u64| 100.0 * ticks as f64 / TICKS / counted.elapsed().as_secs_f64();
    println!(
        "{:<11} {:>9} {:>9} {:>11.2} {:>11.2} {:>11} {:>11} {:>12} {:>12}",
        name(daemon),
        load.instances,
        format!("{} ms", load.interval.as_millis()),
        share(after.0 - before.0),
        share(after.1 - before.1),
        format!("{} kB", memory(a.process(), "Rss:")?),
        format!("{} kB", memory(a.process(), "Pss:")?),
        format!("{} ms", ready.as_millis()),
        format!("{} ms", limit.as_millis()),
    );
    Ok(())
}

/// How many of the loads' addresses a router has.
fn held(node: &Node) -> Result<usize> {
    let text = node
        .netns
        .ip(&["-o", "-4", "address", "show", "dev", INTERFACE])?;
    Ok(text.matches(" 10.78.").count())
}

/// CPU time of a process and its children so far, user and system, in ticks.
pub(super) fn cpu(process: &Process) -> Result<u64> {
    let mut ticks = 0;
    for pid in process.tree() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read CPU time")?;
        // The name, the second field, may hold blanks: count from behind its parenthesis.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        ticks += fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(ticks)
}

/// A line of `smaps_rollup`, summed over a process and its children, in kB.
fn memory(process: &Process, line: &str) -> Result<u64> {
    let mut sum = 0;
    for pid in process.tree() {
        let text =
            fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("read memory use")?;
        sum += text
            .lines()
            .find_map(|found| found.strip_prefix(line))
            .and_then(|found| found.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}
