//! States and actions in a line each, times relative to a moment, so that a table can be read.

use std::time::Duration;

use ha_agent::vrrp::router::RoleName;
use ha_agent::vrrp::types::{AdvertPriority, Instant};
use ha_agent::vrrp::{Action, Announcement, State};

fn signed(base: Instant, at: Instant) -> String {
    let seconds = |d: Duration| d.as_nanos() as f64 / 1e9;
    if at >= base {
        format!("+{}", seconds(at.since(base)))
    } else {
        format!("-{}", seconds(base.since(at)))
    }
}

const fn role(name: RoleName) -> char {
    match name {
        RoleName::Initialize => 'I',
        RoleName::Backup => 'B',
        RoleName::Active => 'A',
    }
}

/// `state`, seconds counted from `base`.
pub(crate) fn state(base: Instant, state: &State) -> String {
    let t = |at: Instant| signed(base, at);
    match state {
        State::Initialize { why, retry } => {
            let retry = retry.map_or(String::new(), |at| format!(" retry {}", t(at)));
            format!("Initialize {why:?}{retry}")
        }
        State::Backup {
            active_down,
            active_adver_interval,
            active,
            preempt_at,
            expectation,
        } => {
            let of = active.map_or("nobody".to_owned(), |address| address.to_string());
            let preempt = preempt_at.map_or(String::new(), |at| format!(" preempt {}", t(at)));
            format!(
                "Backup of {of} every {active_adver_interval} down {}{preempt} {expectation:?}",
                t(*active_down)
            )
        }
        State::Active {
            adver,
            lease_until,
            answer_from,
            leaving,
            claimed,
        } => {
            let leaving = leaving.map_or(String::new(), |at| format!(" leaving {}", t(at)));
            let claimed = if *claimed { "" } else { " unclaimed" };
            format!(
                "Active adver {} lease {} answer {}{leaving}{claimed}",
                t(*adver),
                t(*lease_until),
                t(*answer_from)
            )
        }
    }
}

/// `action`, seconds counted from `base`.
pub(crate) fn action(base: Instant, action: &Action) -> String {
    match action {
        Action::SendAdvert(AdvertPriority::Resign) => "resign".to_owned(),
        Action::SendAdvert(AdvertPriority::Run(priority)) => format!("advert {priority}"),
        Action::Serve(until) => format!("serve {}", signed(base, *until)),
        Action::HandOver(until) => format!("hand over {}", signed(base, *until)),
        Action::Close => "close".to_owned(),
        Action::AddAddresses => "add".to_owned(),
        Action::RemoveAddresses(after) => format!("remove after {after:?}"),
        Action::Announce(Announcement::Takeover) => "announce takeover".to_owned(),
        Action::Announce(Announcement::Conflict) => "announce conflict".to_owned(),
        Action::Transition { from, to } => format!("{}>{}", role(*from), role(*to)),
    }
}

/// All of `actions`, in order.
pub(crate) fn actions(base: Instant, actions: &[Action]) -> String {
    let words: Vec<_> = actions.iter().map(|one| action(base, one)).collect();
    words.join(", ")
}
