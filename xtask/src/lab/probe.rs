//! A client that asks the virtual address for an echo, once per millisecond.
//!
//! It has what real clients have: an ARP entry that only the network can correct.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};

use super::clock::{self, now_ns};
use super::echo;
use super::node::Node;

/// Time between two probes.
pub const PERIOD: Duration = Duration::from_millis(1);
/// A probe without an answer for this long is lost. Longer than any queue of the lab, shorter
/// than a person waits.
const PATIENCE_NS: u64 = 100_000_000;

/// Probes until dropped.
#[derive(Debug)]
pub struct Probe {
    shots: Arc<Mutex<Vec<Shot>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One probe and its answers.
#[derive(Clone, Copy, Debug, Default)]
struct Shot {
    sent_ns: u64,
    /// Who answered first and when.
    first: Option<(u8, u64)>,
    /// How many answers came.
    answers: u32,
}

/// A host that answered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its [`Node::id`].
    pub by: u8,
    /// First answer.
    pub from_ns: u64,
    /// Last answer before somebody else's.
    pub until_ns: u64,
}

/// What happened to the probes of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Probes sent whose fate is known.
    pub sent: usize,
    /// Those without an answer.
    pub lost: usize,
    /// Longest time without an answer, as a client feels it.
    pub gap: Duration,
    /// Who served, in order.
    pub served: Vec<Served>,
    /// Probes with more than one answer.
    pub doubled: usize,
}

impl Report {
    /// Who served, in order, without the times.
    pub fn owners(&self) -> Vec<u8> {
        self.served.iter().map(|served| served.by).collect()
    }

    /// Who served last.
    pub fn owner(&self) -> Option<u8> {
        self.served.last().map(|served| served.by)
    }

    /// Time from `since_ns` to the first answer of host `by`.
    pub fn until_served_by(&self, by: u8, since_ns: u64) -> Option<Duration> {
        let from_ns = self.served.iter().find(|served| served.by == by)?.from_ns;
        Some(Duration::from_nanos(from_ns.saturating_sub(since_ns)))
    }
}

impl Probe {
    /// Starts to probe `address` from `client`.
    pub fn start(client: &Node, address: IpAddr) -> Result<Self> {
        let (socket, target) = client
            .netns
            .within(|| -> Result<_> {
                let any = match address {
                    IpAddr::V4(_) => "0.0.0.0:0",
                    IpAddr::V6(_) => "[::]:0",
                };
                Ok((UdpSocket::bind(any)?, echo::target(address)?))
            })?
            .context("open the probe's socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let shots = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));

        let receiver = {
            let (socket, shots, stop) =
                (socket.try_clone()?, Arc::clone(&shots), Arc::clone(&stop));
            std::thread::spawn(move || {
                clock::run_ahead();
                let mut packet = [0; 64];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(len) = socket.recv(&mut packet) {
                        record(&shots, &packet[..len]);
                    }
                }
            })
        };
        let sender = {
            let (shots, stop) = (Arc::clone(&shots), Arc::clone(&stop));
            std::thread::spawn(move || {
                clock::run_ahead();
                let mut next_ns = now_ns();
                while !stop.load(Ordering::Relaxed) {
                    next_ns = sleep_until(next_ns);
                    let number = {
                        let mut shots = lock(&shots);
                        shots.push(Shot {
                            sent_ns: now_ns(),
                            ..Shot::default()
                        });
                        shots.len() as u64 - 1
                    };
                    // A probe that cannot leave is a lost one.
                    let _ = socket.send_to(&number.to_be_bytes(), target);
                }
            })
        };
        Ok(Self {
            shots,
            stop,
            threads: vec![sender, receiver],
        })
    }

    /// What happened to the probes sent since `from_ns`.
    pub fn since(&self, from_ns: u64) -> Report {
        let shots = lock(&self.shots);
        let from = shots.partition_point(|shot| shot.sent_ns < from_ns);
        report(&shots[from..], now_ns())
    }

    /// Who answered last, if anybody did within the last 50 ms.
    pub fn owner(&self) -> Option<u8> {
        let recent_ns = now_ns().saturating_sub(50_000_000);
        let shots = lock(&self.shots);
        let (by, at_ns) = shots.iter().rev().take(200).find_map(|shot| shot.first)?;
        (at_ns >= recent_ns).then_some(by)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(shots: &Mutex<Vec<Shot>>) -> MutexGuard<'_, Vec<Shot>> {
    shots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until that time and returns the next; after a stall the missed ones are left out.
fn sleep_until(at_ns: u64) -> u64 {
    let at = Timespec {
        tv_sec: (at_ns / 1_000_000_000).cast_signed(),
        tv_nsec: (at_ns % 1_000_000_000).cast_signed(),
    };
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &at);
    (at_ns + PERIOD.as_nanos() as u64).max(now_ns())
}

fn record(shots: &Mutex<Vec<Shot>>, answer: &[u8]) {
    let at_ns = now_ns();
    let Some((number, [by])) = answer.split_first_chunk() else {
        return;
    };
    let number = u64::from_be_bytes(*number) as usize;
    if let Some(shot) = lock(shots).get_mut(number) {
        shot.first.get_or_insert((*by, at_ns));
        shot.answers += 1;
    }
}

fn report(shots: &[Shot], now_ns: u64) -> Report {
    let mut report = Report::default();
    let mut answers: Vec<(u64, u8)> = Vec::with_capacity(shots.len());
    for shot in shots {
        match shot.first {
            Some((by, at_ns)) => answers.push((at_ns, by)),
            // Still under way.
            None if shot.sent_ns + PATIENCE_NS > now_ns => continue,
            None => report.lost += 1,
        }
        report.sent += 1;
        report.doubled += usize::from(shot.answers > 1);
    }
    answers.sort_unstable();
    let Some(first) = shots.first() else {
        return report;
    };
    let mut before_ns = first.sent_ns;
    for (at_ns, by) in answers {
        report.gap = report
            .gap
            .max(Duration::from_nanos(at_ns.saturating_sub(before_ns)));
        before_ns = at_ns;
        match report.served.last_mut() {
            Some(served) if served.by == by => served.until_ns = at_ns,
            _ => report.served.push(Served {
                by,
                from_ns: at_ns,
                until_ns: at_ns,
            }),
        }
    }
    report.gap = report
        .gap
        .max(Duration::from_nanos(now_ns.saturating_sub(before_ns)));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn shot(sent_ms: u64, first: Option<(u8, u64)>) -> Shot {
        Shot {
            sent_ns: sent_ms * MS,
            first: first.map(|(by, at_ms)| (by, at_ms * MS)),
            answers: u32::from(first.is_some()),
        }
    }

    #[test]
    fn losses_gap_and_owners_are_told() {
        let shots = [
            shot(10, Some((1, 10))),
            shot(11, Some((1, 11))),
            shot(12, None),
            shot(13, None),
            shot(14, Some((2, 15))),
        ];
        let report = report(&shots, 15 * MS + PATIENCE_NS);
        assert_eq!((report.sent, report.lost), (5, 2));
        assert_eq!(report.owners(), [1, 2]);
        assert_eq!(
            report.until_served_by(2, 12 * MS),
            Some(Duration::from_millis(3))
        );
    }

    #[test]
    fn what_is_under_way_is_not_lost() {
        let shots = [shot(10, Some((1, 10))), shot(11, None)];
        let report = report(&shots, 12 * MS);
        assert_eq!((report.sent, report.lost), (1, 0));
        assert_eq!(report.gap, Duration::from_millis(2));
    }

    #[test]
    fn silence_until_now_is_a_gap() {
        let shots = [shot(10, Some((1, 10))), shot(11, None)];
        assert_eq!(report(&shots, 500 * MS).gap, Duration::from_millis(490));
    }
}
