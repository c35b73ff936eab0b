//! Measurements and their table.

use std::time::Duration;

use anyhow::Result;

use super::Lab;
use super::clock::ms;
use super::daemon::Daemon;
use super::experiment::{Event, Experiment, Profile};

/// One event, once.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What happened.
    pub event: Event,
    /// Probes without an answer.
    pub lost: usize,
    /// Longest time without an answer.
    pub gap: Duration,
    /// From the event to the first answer of the other router.
    pub takeover: Option<Duration>,
    /// How many routers answered ARP for the address once it was over; more than one is the
    /// fault that VRRP exists to prevent.
    pub owners: usize,
    /// The router that served then.
    pub server: &'static str,
    /// Probes without an answer while the event was undone and a took over again.
    pub lost_back: Option<usize>,
}

/// Measures the events `rounds` times; what could not be measured is said on standard error.
pub fn measure(
    daemon: &Daemon,
    profile: Profile,
    events: &[Event],
    rounds: usize,
) -> Result<Vec<Measured>> {
    let start = || Experiment::start(Lab::pair()?, daemon, profile, &mut |_| {});
    let mut experiment = start()?;
    let mut measured = Vec::new();
    for _ in 0..rounds {
        for &event in events {
            match experiment.once(event, &mut |_| {}) {
                Ok(once) => measured.push(once),
                // A daemon may never recover, keepalived after a kill for one: that is a result
                // too, and the next event deserves a pair that works.
                Err(error) => {
                    let reason = error.to_string();
                    eprintln!("{event}: {}", reason.lines().next().unwrap_or_default());
                    drop(experiment);
                    experiment = start()?;
                }
            }
        }
    }
    Ok(measured)
}

/// The measurements as a table: per event the median, least and most of each number.
pub fn table(title: &str, profile: Profile, measured: &[Measured]) -> String {
    let first = measured.first().map(|m| m.event);
    let mut text = format!(
        "{title}, {profile}, protocol limit 3·adv+skew {:.0} ms, n = {}\n{}\n",
        profile.limit().as_secs_f64() * 1e3,
        measured.iter().filter(|m| Some(m.event) == first).count(),
        row([
            "event",
            "lost probes",
            "gap ms",
            "takeover ms",
            "owners",
            "lost on return"
        ]
        .map(str::to_owned)),
    );
    for event in Event::ALL {
        let of = |number: &dyn Fn(&Measured) -> Option<f64>| {
            let all = measured
                .iter()
                .filter(|m| m.event == event)
                .filter_map(number);
            let mut all: Vec<f64> = all.collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let lost = of(&|m| Some(m.lost as f64));
        if lost.is_empty() {
            continue;
        }
        text += &row([
            event.to_string(),
            spread(&lost, 0),
            spread(&of(&|m| Some(millis(m.gap))), 1),
            spread(&of(&|m| m.takeover.map(millis)), 1),
            spread(&of(&|m| Some(m.owners as f64)), 0),
            spread(&of(&|m| m.lost_back.map(|lost| lost as f64)), 0),
        ]);
        text.push('\n');
    }
    text
}

fn row([event, cells @ ..]: [String; 6]) -> String {
    const WIDTHS: [usize; 5] = [16, 24, 24, 10, 16];
    let mut line = format!("{event:<24}");
    for (cell, width) in cells.iter().zip(WIDTHS) {
        line += &format!(" {cell:>width$}");
    }
    line
}

fn millis(time: Duration) -> f64 {
    ms(time.as_nanos() as u64)
}

/// `median [least..most]` of sorted numbers, or the number where there is only one.
fn spread(sorted: &[f64], digits: usize) -> String {
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(least), Some(median), Some(most)) if least < most => {
            format!("{median:.digits$} [{least:.digits$}..{most:.digits$}]")
        }
        (Some(number), ..) => format!("{number:.digits$}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread(&[1.0, 2.0, 9.0], 0), "2 [1..9]");
        assert_eq!(spread(&[1.0], 1), "1.0");
        assert_eq!(spread(&[], 0), "-");
    }

    #[test]
    fn the_table_has_a_line_per_event() {
        let measured = [Measured {
            event: Event::Stop,
            lost: 0,
            gap: Duration::from_millis(2),
            takeover: Some(Duration::from_millis(1)),
            owners: 1,
            server: "b",
            lost_back: Some(0),
        }];
        let text = table("ha-agent", Profile::ALL[1], &measured);
        assert!(text.contains("skew 361 ms, n = 1"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
