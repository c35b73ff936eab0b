//! Seeded runs of [`Lan`]: `HA_SIM_SEEDS=1000000` runs more of them, `HA_SIM_SEED=42` replays one
//! with its trace.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ha_agent::vrrp::Config;
use ha_agent::vrrp::types::{Centiseconds, Priority, Version};

use super::lan::{ACTIVE, Lan, Op, Plan, Random, Tally};
use super::table::{config, cs, ms, priority};

/// Runs of the default test.
const SEEDS: u64 = 10_000;

/// The run of `seed`: two to five nodes, and what befalls them.
fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed);
    let count = 2 + random.below(4) as usize;
    let version = if random.chance(20) {
        Version::V2
    } else {
        Version::V3
    };
    let base = match version {
        Version::V2 => random.pick(&[100, 200]),
        Version::V3 => random.pick(&[1, 2, 5, 10, 20, 100]),
    };
    let mixed = version == Version::V3 && random.chance(25);
    let interval = |random: &mut Random| {
        if mixed {
            cs(base * random.pick(&[1, 1, 2, 5]))
        } else {
            cs(base)
        }
    };
    let preemption = random.below(3);
    let delayed = random.chance(20);
    let mut configs: Vec<_> = (0..count)
        .map(|_| Config {
            version,
            priority: any_priority(&mut random),
            interval: interval(&mut random),
            preempt: match preemption {
                0 => true,
                1 => false,
                _ => random.chance(50),
            },
            ..config()
        })
        .collect();
    if random.chance(15) {
        let owner = random.below(count as u64) as usize;
        configs[owner].priority = Priority::OWNER;
        configs[owner].preempt = true;
    }
    let longest = configs.iter().map(|config| config.interval).max();
    let longest = longest.map_or(Duration::ZERO, Centiseconds::duration);
    if delayed {
        for config in &mut configs {
            config.preempt_delay = random.pick(&[Duration::ZERO, longest, 7 * longest]);
        }
    }
    // Also of the intervals that a reconfiguration may bring.
    let shortest = cs(base).duration();
    let settle = (if delayed { 21 } else { 14 }) * longest;

    let mut ops = Vec::new();
    let together = random.chance(30);
    for n in 0..count {
        let at = if together {
            Duration::ZERO
        } else {
            random.duration(8 * longest)
        };
        ops.push((at, Op::Start(n)));
    }
    let mut at = 8 * longest;
    let clients = random.chance(10);
    for _ in 0..if clients { 1 + random.below(4) } else { 0 } {
        at += settle + random.duration(4 * longest);
        let part = configs.iter().map(|_| random.chance(50)).collect();
        ops.push((at, Op::Partition(part)));
        at += settle + random.duration(4 * longest);
        ops.push((at, Op::Heal));
    }
    for _ in 0..if clients { 0 } else { 3 + random.below(10) } {
        at += if random.chance(40) {
            settle + random.duration(4 * longest)
        } else {
            random.duration(4 * longest)
        };
        let op = any_op(&mut random, &configs, longest, interval);
        if let Op::AddressesFail(_) = op {
            at += ms(5000);
        }
        ops.push((at, op));
    }
    at += random.duration(4 * longest);
    ops.push((at, Op::Calm));
    if random.chance(50) {
        for n in 0..count {
            ops.push((at, Op::Start(n)));
        }
    }
    Plan {
        delay: match random.below(3) {
            0 => Duration::ZERO,
            1 => shortest / 100,
            _ => random.duration(shortest - Duration::from_nanos(10)),
        },
        loss: if !clients && random.chance(40) {
            1 + random.below(30)
        } else {
            0
        },
        duplicates: random.pick(&[0, 0, 20]),
        ops,
        length: at + settle + ms(5000).min(2 * settle),
        clients,
        random,
        configs,
    }
}

fn any_priority(random: &mut Random) -> Priority {
    let n = match random.below(4) {
        0 => 1 + random.below(254) as u8,
        _ => random.pick(&[1, 50, 100, 100, 150, 200, 254]),
    };
    priority(n)
}

fn any_op(
    random: &mut Random,
    configs: &[Config],
    longest: Duration,
    interval: impl Fn(&mut Random) -> Centiseconds,
) -> Op {
    let any = random.below(configs.len() as u64) as usize;
    let n = if random.chance(50) { ACTIVE } else { any };
    match random.below(16) {
        0 => Op::Crash(n),
        1 => Op::PowerOff(n),
        2..=4 => Op::Start(any),
        5 | 6 => Op::Stop(n),
        7 | 8 => {
            let halves = random.pick(&[1, 4, 5, 6, 7, 10, 40]);
            Op::Freeze(n, longest * halves / 2 + random.duration(longest))
        }
        9 => Op::Link(n, false),
        10 => Op::Link(any, true),
        11 if random.chance(50) => Op::Mute(n, true),
        11 => Op::Mute(any, false),
        12 => Op::AddressesFail(n),
        13 => {
            let keep = configs[any].priority == Priority::OWNER || random.chance(30);
            let priority = if keep {
                configs[any].priority
            } else {
                any_priority(random)
            };
            Op::Reconfigure(any, priority, interval(random))
        }
        14 => Op::Partition(configs.iter().map(|_| random.chance(50)).collect()),
        _ => Op::Heal,
    }
}

fn run(seed: u64, trace: bool) -> Result<Tally, String> {
    let run = AssertUnwindSafe(|| Lan::run(plan(seed), trace));
    catch_unwind(run).unwrap_or_else(|_| Err("panicked".to_owned()))
}

/// Runs what happened to nodes of these priorities and intervals, without delay or loss.
#[track_caller]
fn scenario(nodes: &[(u8, u16, bool)], ops: &[(u64, Op)], length: u64) -> Tally {
    let plan = || Plan {
        configs: nodes
            .iter()
            .map(|(n, interval, preempt)| Config {
                priority: priority(*n),
                interval: cs(*interval),
                preempt: *preempt,
                ..config()
            })
            .collect(),
        delay: Duration::ZERO,
        loss: 0,
        duplicates: 0,
        ops: ops.iter().map(|(at, op)| (ms(*at), op.clone())).collect(),
        length: ms(length),
        clients: false,
        random: Random::new(0),
    };
    Lan::run(plan(), false).unwrap_or_else(|wrong| {
        let _ = Lan::run(plan(), true);
        panic!("{wrong}");
    })
}

/// Found by seed 392 of an earlier plan: the loser's last word made the third router follow it at
/// its own fast interval, so that it took over before the slow winner spoke again; and so on.
#[test]
fn a_slow_winner_and_two_fast_losers_settle() {
    let apart = Op::Partition(vec![false, true, true]);
    let tally = scenario(
        &[(205, 100, true), (50, 2, false), (1, 2, false)],
        &[
            (0, Op::Start(0)),
            (0, Op::Start(1)),
            (0, Op::Start(2)),
            (10_000, apart),
            (40_000, Op::Heal),
        ],
        80_000,
    );
    assert_eq!((tally.silent, tally.yielded), (1, 2));
}

/// Found by seed 300 of an earlier plan: a resignation that could not leave lengthened the lease
/// beyond what the peer waits.
#[test]
fn a_mute_router_that_stops_serves_no_longer_than_its_lease() {
    let nodes = [(100, 20, true), (90, 20, true)];
    let tally = scenario(
        &nodes,
        &[
            (0, Op::Start(0)),
            (0, Op::Start(1)),
            (5_000, Op::Mute(0, true)),
            (5_430, Op::Stop(0)),
        ],
        10_000,
    );
    assert_eq!(tally.lease_checked, 1);
}

#[test]
fn a_frozen_active_is_followed_and_wakes_as_backup() {
    let tally = scenario(
        &[(100, 100, true), (90, 100, true)],
        &[
            (0, Op::Start(0)),
            (0, Op::Start(1)),
            (20_000, Op::Freeze(0, ms(30_000))),
        ],
        90_000,
    );
    assert_eq!((tally.silent, tally.lapsed, tally.preempted), (1, 1, 1));
    assert_eq!(tally.lease_checked, 1);
}

#[test]
fn a_graceful_stop_leaves_no_gap() {
    let tally = scenario(
        &[(200, 1, true), (150, 1, true), (100, 1, true)],
        &[
            (0, Op::Start(0)),
            (0, Op::Start(1)),
            (0, Op::Start(2)),
            (1_000, Op::Stop(0)),
            (2_000, Op::Stop(1)),
            (3_000, Op::Start(0)),
        ],
        5_000,
    );
    assert_eq!((tally.stops_watched, tally.resigned), (2, 2));
}

#[test]
fn without_preemption_the_role_stays_where_it_is() {
    let tally = scenario(
        &[(200, 100, false), (100, 100, false)],
        &[
            (0, Op::Start(0)),
            (0, Op::Start(1)),
            (20_000, Op::PowerOff(0)),
            (60_000, Op::Start(0)),
        ],
        120_000,
    );
    assert_eq!((tally.silent, tally.preempted, tally.yielded), (1, 0, 0));
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn every_seed_keeps_the_promises() {
    let (first, seeds) = match number("HA_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("HA_SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let mut tally = Tally::default();
    for seed in first..first + seeds {
        match run(seed, seeds == 1) {
            Ok(one) => tally.add(&one),
            Err(wrong) => {
                let configs = plan(seed).configs;
                eprintln!("{configs:#?}");
                let _ = run(seed, true);
                panic!("seed {seed}: {wrong}\nreplay: HA_SIM_SEED={seed}");
            }
        }
    }
    println!("{tally:#?}");
    if seeds >= SEEDS {
        let Tally {
            silent,
            resigned,
            preempted,
            yielded,
            lapsed,
            dual,
            stops_watched,
            lease_checked,
            resignation_checked,
            settled,
            nopreempt_checked,
            events,
        } = tally;
        let seen = [
            silent,
            resigned,
            preempted,
            yielded,
            lapsed,
            dual,
            stops_watched,
            lease_checked,
            resignation_checked,
            settled,
            nopreempt_checked,
            events,
        ];
        assert!(
            seen.iter().all(|count| *count > 100),
            "a check without a chance"
        );
    }
}
