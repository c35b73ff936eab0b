//! What invalid advertisements that carry the right VRID do to an election.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{cost, name};
use crate::lab::{
    ACTIVE, BACKUP, Daemon, Flood, Forged, Instance, Lab, Probe, Router, Spoil, VIP4, now_ns,
    wait_until,
};

/// How long each attack lasts.
const SPAN: Duration = Duration::from_secs(4);
/// Lets a pair come up, and calm down after an attack.
const SETTLE: Duration = Duration::from_secs(10);

struct Attack {
    what: &'static str,
    version: u8,
    interval: Duration,
    pause: Duration,
    spoil: Spoil,
    password: bool,
}

const ATTACKS: [Attack; 4] = [
    Attack {
        what: "wrong password, 1/s, v2 1 s",
        version: 2,
        interval: Duration::from_secs(1),
        pause: Duration::from_secs(1),
        spoil: Spoil::Nothing,
        password: true,
    },
    Attack {
        what: "bad checksum, 20/s, v3 100 ms",
        version: 3,
        interval: Duration::from_millis(100),
        pause: Duration::from_millis(50),
        spoil: Spoil::Checksum,
        password: false,
    },
    Attack {
        what: "TTL 64, full rate, v3 100 ms",
        version: 3,
        interval: Duration::from_millis(100),
        pause: Duration::ZERO,
        spoil: Spoil::Ttl,
        password: false,
    },
    Attack {
        what: "bad checksum, full rate, v3 10 ms",
        version: 3,
        interval: Duration::from_millis(10),
        pause: Duration::ZERO,
        spoil: Spoil::Checksum,
        password: false,
    },
];

pub(super) fn run(daemons: &[Daemon]) -> Result<()> {
    println!(
        "{:<34} {:<11} {:>10} {:>14} {:>10} {:>12} {:>12}",
        "attack", "daemon", "packets/s", "adverts of a", "takeovers", "probes lost", "cpu% of a"
    );
    for attack in &ATTACKS {
        for daemon in daemons {
            one(daemon, attack)?;
        }
    }
    Ok(())
}

fn one(daemon: &Daemon, attack: &Attack) -> Result<()> {
    let lab = Lab::pair()?;
    let _echoes = lab.serve(VIP4.into())?;
    let wire = lab.wire()?;
    let probe = Probe::start(lab.client(), VIP4.into())?;
    let instance = |priority| {
        let instance = Instance::new(attack.version, priority, attack.interval);
        if attack.password {
            instance.password("secret")
        } else {
            instance
        }
    };
    let mut a = Router::start(daemon, lab.a(), &[instance(ACTIVE)])?;
    let _b = Router::start(daemon, lab.b(), &[instance(BACKUP)])?;
    wait_until("router a to serve", SETTLE, || {
        probe.owner() == Some(lab.a().id)
    })?;
    let forged = Forged {
        source: lab.client().ipv4(),
        version: attack.version,
        vrid: 51,
        priority: 150,
        interval: if attack.version == 2 {
            1
        } else {
            (attack.interval.as_millis() / 10) as u16
        },
        addresses: vec![VIP4],
        password: attack.password.then_some(*b"guessed\0"),
        spoil: attack.spoil,
    };
    let from_ns = now_ns();
    let before = cost::cpu(a.process())?;
    let flood = Flood::start(lab.client(), vec![forged.frame()], attack.pause)?;
    let begin = Instant::now();
    std::thread::sleep(SPAN);
    let span = begin.elapsed();
    let used = cost::cpu(a.process())? - before;
    let sent = flood.sent();
    drop(flood);
    let adverts = wire.adverts("a", from_ns).len();
    let expected = span.as_millis() / attack.interval.as_millis();
    // Every takeover begins with an advertisement of a router that was silent before.
    let takeovers = silences(&wire.adverts("b", from_ns), attack.interval);
    let lost = probe.since(from_ns).lost;
    println!(
        "{:<34} {:<11} {:>10.0} {:>14} {:>10} {:>12} {:>12.1}",
        attack.what,
        name(daemon),
        sent as f64 / span.as_secs_f64(),
        format!("{adverts} of {expected}"),
        takeovers,
        lost,
        100.0 * used as f64 / cost::TICKS / span.as_secs_f64(),
    );
    Ok(())
}

/// How often a router began to advertise.
fn silences(adverts: &[crate::lab::Frame], interval: Duration) -> usize {
    let pause = 2 * interval.as_nanos() as u64;
    let later = adverts
        .windows(2)
        .filter(|pair| pair[1].at_ns - pair[0].at_ns > pause)
        .count();
    later + usize::from(!adverts.is_empty())
}
