//! The state table of RFC 9568 §6.4: every state with every input.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ha_agent::vrrp::router::Why;
use ha_agent::vrrp::types::{
    AdvertPriority, Centiseconds, Checksum, Family, Instant, Priority, Version, Vrid,
};
use ha_agent::vrrp::{Action, Advert, Config, Input, LinkState, Router, State};

use super::show;

/// The moment of the table.
pub(crate) const T: Instant = Instant(1_000_000_000_000);
pub(crate) const LOCAL: &str = "10.0.0.5";
pub(crate) const PEER: &str = "10.0.0.9";
pub(crate) const LOWER: &str = "10.0.0.2";

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn priority(n: u8) -> Priority {
    Priority::try_from(u64::from(n)).unwrap()
}

pub(crate) fn cs(n: u16) -> Centiseconds {
    Centiseconds::try_from(u64::from(n)).unwrap()
}

/// VRRPv3, priority 100, one second, preempting at once.
pub(crate) fn config() -> Config {
    Config {
        vrid: Vrid::try_from(51).unwrap(),
        family: Family::Ipv4,
        version: Version::V3,
        priority: priority(100),
        interval: cs(100),
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: 7,
        checksum: None,
    }
}

/// An advertisement of one second.
pub(crate) fn advert(at: Instant, source: &str, wire: u8) -> Advert {
    Advert {
        at,
        source: ip(source),
        priority: AdvertPriority::from_wire(wire),
        interval: cs(100),
        addresses: 7,
        checksum: Checksum::MessageOnly,
    }
}

pub(crate) const UP: fn() -> LinkState = || LinkState::Up { local: ip(LOCAL) };

/// Feeds one input, and [`Input::AdvertSent`] after every advertisement, as the engine does.
pub(crate) fn feed(router: &mut Router, now: Instant, input: Input) -> Vec<Action> {
    let mut all = Vec::new();
    let mut todo = vec![input];
    while let Some(input) = todo.pop() {
        let mut out = Vec::new();
        router.handle(now, input, &mut out);
        for action in out {
            if matches!(action, Action::SendAdvert(_)) {
                todo.push(Input::AdvertSent(now));
            }
            all.push(action);
        }
    }
    all
}

/// A started router whose link came up at `at`: Backup, or Active for the owner.
pub(crate) fn started(config: Config, at: Instant) -> Router {
    let mut router = Router::new(config);
    feed(&mut router, at, Input::Link(UP()));
    feed(&mut router, at, Input::Startup);
    router
}

/// Active since `at`, by its own timer.
pub(crate) fn active(config: Config, at: Instant) -> Router {
    let mut router = started(config, T - Duration::from_secs(500));
    let down = router
        .deadline()
        .unwrap()
        .since(T - Duration::from_secs(500));
    router = started(router.config().clone(), at - down);
    feed(&mut router, at, Input::Timeout);
    assert!(matches!(router.state(), State::Active { .. }));
    router
}

/// The states of the table, reached by inputs alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    New,
    LinkDown,
    Failed,
    Stopped,
    Alone,
    Follower,
    Active,
    Unclaimed,
    Leaving,
}

impl From {
    const ALL: [Self; 9] = [
        Self::New,
        Self::LinkDown,
        Self::Failed,
        Self::Stopped,
        Self::Alone,
        Self::Follower,
        Self::Active,
        Self::Unclaimed,
        Self::Leaving,
    ];

    fn router(self) -> Router {
        match self {
            Self::New => {
                let mut router = Router::new(config());
                feed(&mut router, T, Input::Link(UP()));
                router
            }
            Self::LinkDown => {
                let mut router = started(config(), T);
                feed(&mut router, T, Input::Link(LinkState::Down));
                router
            }
            Self::Failed => {
                let mut router = active(config(), T);
                feed(&mut router, T, Input::AddressesFailed);
                router
            }
            Self::Stopped => {
                let mut router = started(config(), T);
                feed(&mut router, T, Input::Shutdown);
                router
            }
            Self::Alone => started(config(), T),
            Self::Follower => {
                let mut router = started(config(), T - ms(500));
                feed(&mut router, T, Input::Advert(advert(T, PEER, 200)));
                router
            }
            Self::Active => active(config(), T),
            Self::Unclaimed => {
                let mut router = started(config(), T - Duration::from_nanos(3_609_375_000));
                router.handle(T, Input::Timeout, &mut Vec::new());
                router
            }
            Self::Leaving => {
                let mut router = active(config(), T);
                feed(&mut router, T, Input::Shutdown);
                router
            }
        }
    }
}

/// The table's name of a state. No `_`: a new state must be given its rows.
fn rows_of(router: &Router) -> From {
    match router.state() {
        State::Initialize { why, retry: _ } => match why {
            Why::NotStarted => From::New,
            Why::LinkDown | Why::InterfaceMissing | Why::NoSourceAddress => From::LinkDown,
            Why::AddressesFailed => From::Failed,
            Why::Stopped => From::Stopped,
        },
        State::Backup { active: None, .. } => From::Alone,
        State::Backup {
            active: Some(_), ..
        } => From::Follower,
        State::Active {
            leaving: Some(_), ..
        } => From::Leaving,
        State::Active { claimed: false, .. } => From::Unclaimed,
        State::Active { claimed: true, .. } => From::Active,
    }
}

/// The table's inputs; the deadline is one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Startup,
    Shutdown,
    EarlyTimeout,
    Deadline,
    Resignation,
    Higher,
    EqualAbove,
    EqualBelow,
    Lower,
    AdvertSent,
    Up,
    Down,
    Missing,
    NoAddress,
    AddressesFailed,
    Reconfigure,
}

impl On {
    const ALL: [Self; 16] = [
        Self::Startup,
        Self::Shutdown,
        Self::EarlyTimeout,
        Self::Deadline,
        Self::Resignation,
        Self::Higher,
        Self::EqualAbove,
        Self::EqualBelow,
        Self::Lower,
        Self::AdvertSent,
        Self::Up,
        Self::Down,
        Self::Missing,
        Self::NoAddress,
        Self::AddressesFailed,
        Self::Reconfigure,
    ];

    fn input(self, now: Instant) -> Input {
        let heard = |source, wire| Input::Advert(advert(now, source, wire));
        match self {
            Self::Startup => Input::Startup,
            Self::Shutdown => Input::Shutdown,
            Self::EarlyTimeout | Self::Deadline => Input::Timeout,
            Self::Resignation => heard(PEER, 0),
            Self::Higher => heard(PEER, 101),
            Self::EqualAbove => heard(PEER, 100),
            Self::EqualBelow => heard(LOWER, 100),
            Self::Lower => heard(PEER, 99),
            Self::AdvertSent => Input::AdvertSent(now),
            Self::Up => Input::Link(UP()),
            Self::Down => Input::Link(LinkState::Down),
            Self::Missing => Input::Link(LinkState::Missing),
            Self::NoAddress => Input::Link(LinkState::NoAddress),
            Self::AddressesFailed => Input::AddressesFailed,
            Self::Reconfigure => Input::Reconfigure(Config {
                priority: priority(50),
                ..config()
            }),
        }
    }
}

/// The table's names of an input. No `_`: a new input must be given its rows.
fn columns_of(input: &Input) -> &'static [On] {
    match input {
        Input::Startup => &[On::Startup],
        Input::Shutdown => &[On::Shutdown],
        Input::Timeout => &[On::EarlyTimeout, On::Deadline],
        Input::Advert(advert) => match advert.priority {
            AdvertPriority::Resign => &[On::Resignation],
            AdvertPriority::Run(_) => &[On::Higher, On::EqualAbove, On::EqualBelow, On::Lower],
        },
        Input::AdvertSent(_) => &[On::AdvertSent],
        Input::Link(link) => match link {
            LinkState::Missing => &[On::Missing],
            LinkState::Down => &[On::Down],
            LinkState::NoAddress => &[On::NoAddress],
            LinkState::Up { local: _ } => &[On::Up],
        },
        Input::AddressesFailed => &[On::AddressesFailed],
        Input::Reconfigure(_) => &[On::Reconfigure],
    }
}

/// State, input, next state, actions. Half a second after [`T`], or at the deadline; times count
/// from [`T`]. `=`: the state does not change.
type Row = (From, On, &'static str, &'static str);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (From::New, On::Startup, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, I>B"),
    (From::New, On::Shutdown, "Initialize Stopped", "close"),
    (From::New, On::EarlyTimeout, "=", ""),
    (From::New, On::Deadline, "=", ""),
    (From::New, On::Resignation, "=", ""),
    (From::New, On::Higher, "=", ""),
    (From::New, On::EqualAbove, "=", ""),
    (From::New, On::EqualBelow, "=", ""),
    (From::New, On::Lower, "=", ""),
    (From::New, On::AdvertSent, "=", ""),
    (From::New, On::Up, "=", ""),
    (From::New, On::Down, "=", ""),
    (From::New, On::Missing, "=", ""),
    (From::New, On::NoAddress, "=", ""),
    (From::New, On::AddressesFailed, "=", ""),
    (From::New, On::Reconfigure, "=", ""),

    (From::LinkDown, On::Startup, "=", ""),
    (From::LinkDown, On::Shutdown, "Initialize Stopped", "close"),
    (From::LinkDown, On::EarlyTimeout, "=", ""),
    (From::LinkDown, On::Deadline, "=", ""),
    (From::LinkDown, On::Resignation, "=", ""),
    (From::LinkDown, On::Higher, "=", ""),
    (From::LinkDown, On::EqualAbove, "=", ""),
    (From::LinkDown, On::EqualBelow, "=", ""),
    (From::LinkDown, On::Lower, "=", ""),
    (From::LinkDown, On::AdvertSent, "=", ""),
    (From::LinkDown, On::Up, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, I>B"),
    (From::LinkDown, On::Down, "=", ""),
    (From::LinkDown, On::Missing, "Initialize InterfaceMissing", ""),
    (From::LinkDown, On::NoAddress, "Initialize NoSourceAddress", ""),
    (From::LinkDown, On::AddressesFailed, "=", ""),
    (From::LinkDown, On::Reconfigure, "=", ""),

    (From::Failed, On::Startup, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, I>B"),
    (From::Failed, On::Shutdown, "Initialize Stopped", "close"),
    (From::Failed, On::EarlyTimeout, "=", ""),
    (From::Failed, On::Deadline, "Backup of nobody every 1 s down +8.609375 NobodyHeard", "close, I>B"),
    (From::Failed, On::Resignation, "=", ""),
    (From::Failed, On::Higher, "=", ""),
    (From::Failed, On::EqualAbove, "=", ""),
    (From::Failed, On::EqualBelow, "=", ""),
    (From::Failed, On::Lower, "=", ""),
    (From::Failed, On::AdvertSent, "=", ""),
    (From::Failed, On::Up, "=", ""),
    (From::Failed, On::Down, "Initialize LinkDown", ""),
    (From::Failed, On::Missing, "Initialize InterfaceMissing", ""),
    (From::Failed, On::NoAddress, "Initialize NoSourceAddress", ""),
    (From::Failed, On::AddressesFailed, "=", ""),
    (From::Failed, On::Reconfigure, "=", ""),

    (From::Stopped, On::Startup, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, I>B"),
    (From::Stopped, On::Shutdown, "=", ""),
    (From::Stopped, On::EarlyTimeout, "=", ""),
    (From::Stopped, On::Deadline, "=", ""),
    (From::Stopped, On::Resignation, "=", ""),
    (From::Stopped, On::Higher, "=", ""),
    (From::Stopped, On::EqualAbove, "=", ""),
    (From::Stopped, On::EqualBelow, "=", ""),
    (From::Stopped, On::Lower, "=", ""),
    (From::Stopped, On::AdvertSent, "=", ""),
    (From::Stopped, On::Up, "=", ""),
    (From::Stopped, On::Down, "=", ""),
    (From::Stopped, On::Missing, "=", ""),
    (From::Stopped, On::NoAddress, "=", ""),
    (From::Stopped, On::AddressesFailed, "=", ""),
    (From::Stopped, On::Reconfigure, "=", ""),

    (From::Alone, On::Startup, "=", ""),
    (From::Alone, On::Shutdown, "Initialize Stopped", "close, B>I"),
    (From::Alone, On::EarlyTimeout, "=", ""),
    (From::Alone, On::Deadline, "Active adver +4.609375 lease +3.609375 answer +3.609375 unclaimed", "advert 100, B>A"),
    (From::Alone, On::Resignation, "Backup of nobody every 1 s down +1.109375 PeerResigned", ""),
    (From::Alone, On::Higher, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", ""),
    (From::Alone, On::EqualAbove, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", ""),
    (From::Alone, On::EqualBelow, "Backup of 10.0.0.2 every 1 s down +4.109375 PeerSilent", ""),
    (From::Alone, On::Lower, "Backup of nobody every 1 s down +3.609375 Preempted", ""),
    (From::Alone, On::AdvertSent, "=", ""),
    (From::Alone, On::Up, "=", ""),
    (From::Alone, On::Down, "Initialize LinkDown", "close, B>I"),
    (From::Alone, On::Missing, "Initialize InterfaceMissing", "close, B>I"),
    (From::Alone, On::NoAddress, "Initialize NoSourceAddress", "close, B>I"),
    (From::Alone, On::AddressesFailed, "=", ""),
    (From::Alone, On::Reconfigure, "Backup of nobody every 1 s down +3.8046875 NobodyHeard", ""),

    (From::Follower, On::Startup, "=", ""),
    (From::Follower, On::Shutdown, "Initialize Stopped", "close, B>I"),
    (From::Follower, On::EarlyTimeout, "=", ""),
    (From::Follower, On::Deadline, "Active adver +4.609375 lease +3.609375 answer +3.609375 unclaimed", "advert 100, B>A"),
    (From::Follower, On::Resignation, "Backup of 10.0.0.9 every 1 s down +1.109375 PeerResigned", ""),
    (From::Follower, On::Higher, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", ""),
    (From::Follower, On::EqualAbove, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", ""),
    (From::Follower, On::EqualBelow, "Backup of 10.0.0.2 every 1 s down +4.109375 PeerSilent", ""),
    (From::Follower, On::Lower, "Backup of 10.0.0.9 every 1 s down +3.609375 Preempted", ""),
    (From::Follower, On::AdvertSent, "=", ""),
    (From::Follower, On::Up, "=", ""),
    (From::Follower, On::Down, "Initialize LinkDown", "close, B>I"),
    (From::Follower, On::Missing, "Initialize InterfaceMissing", "close, B>I"),
    (From::Follower, On::NoAddress, "Initialize NoSourceAddress", "close, B>I"),
    (From::Follower, On::AddressesFailed, "=", ""),
    (From::Follower, On::Reconfigure, "Backup of 10.0.0.9 every 1 s down +3.8046875 PeerSilent", ""),

    (From::Active, On::Startup, "=", ""),
    (From::Active, On::Shutdown, "Active adver +1 lease +2.49609375 answer +0 leaving +2.49609375", "resign"),
    (From::Active, On::EarlyTimeout, "=", ""),
    (From::Active, On::Deadline, "Active adver +2 lease +3 answer +0", "advert 100"),
    (From::Active, On::Resignation, "Active adver +1.5 lease +3 answer +0.75", "advert 100"),
    (From::Active, On::Higher, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", "advert 100, hand over +0.6, remove after 100ms, A>B"),
    (From::Active, On::EqualAbove, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", "advert 100, hand over +0.6, remove after 100ms, A>B"),
    (From::Active, On::EqualBelow, "Active adver +1.5 lease +3 answer +0.75", "advert 100, announce conflict"),
    (From::Active, On::Lower, "Active adver +1.5 lease +3 answer +0.75", "advert 100, announce conflict"),
    (From::Active, On::AdvertSent, "Active adver +1 lease +3.5 answer +0", "serve +3.5"),
    (From::Active, On::Up, "=", ""),
    (From::Active, On::Down, "Initialize LinkDown", "close, remove after 0ns, A>I"),
    (From::Active, On::Missing, "Initialize InterfaceMissing", "close, remove after 0ns, A>I"),
    (From::Active, On::NoAddress, "Initialize NoSourceAddress", "close, remove after 0ns, A>I"),
    (From::Active, On::AddressesFailed, "Initialize AddressesFailed retry +5.5", "close, remove after 0ns, resign, A>I"),
    (From::Active, On::Reconfigure, "Active adver +1.5 lease +3 answer +0", "advert 50"),

    (From::Unclaimed, On::Startup, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, A>B"),
    (From::Unclaimed, On::Shutdown, "Initialize Stopped", "close, A>B, close, B>I"),
    (From::Unclaimed, On::EarlyTimeout, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, A>B"),
    (From::Unclaimed, On::Deadline, "Backup of nobody every 1 s down +3.609375 NobodyHeard", "close, A>B"),
    (From::Unclaimed, On::Resignation, "Backup of nobody every 1 s down +1.109375 PeerResigned", "close, A>B"),
    (From::Unclaimed, On::Higher, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", "close, A>B"),
    (From::Unclaimed, On::EqualAbove, "Backup of 10.0.0.9 every 1 s down +4.109375 PeerSilent", "close, A>B"),
    (From::Unclaimed, On::EqualBelow, "Backup of 10.0.0.2 every 1 s down +4.109375 PeerSilent", "close, A>B"),
    (From::Unclaimed, On::Lower, "Backup of nobody every 1 s down +4.109375 Preempted", "close, A>B"),
    (From::Unclaimed, On::AdvertSent, "Active adver +1 lease +3.5 answer +0", "serve +3.5, add, announce takeover"),
    (From::Unclaimed, On::Up, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, A>B"),
    (From::Unclaimed, On::Down, "Initialize LinkDown", "close, A>B, close, B>I"),
    (From::Unclaimed, On::Missing, "Initialize InterfaceMissing", "close, A>B, close, B>I"),
    (From::Unclaimed, On::NoAddress, "Initialize NoSourceAddress", "close, A>B, close, B>I"),
    (From::Unclaimed, On::AddressesFailed, "Backup of nobody every 1 s down +4.109375 NobodyHeard", "close, A>B"),
    (From::Unclaimed, On::Reconfigure, "Backup of nobody every 1 s down +4.3046875 NobodyHeard", "close, A>B"),

    (From::Leaving, On::Startup, "=", ""),
    (From::Leaving, On::Shutdown, "=", ""),
    (From::Leaving, On::EarlyTimeout, "=", ""),
    (From::Leaving, On::Deadline, "Initialize Stopped", "close, remove after 0ns, A>I"),
    (From::Leaving, On::Resignation, "=", ""),
    (From::Leaving, On::Higher, "Initialize Stopped", "hand over +0.6, remove after 100ms, A>I"),
    (From::Leaving, On::EqualAbove, "Initialize Stopped", "hand over +0.6, remove after 100ms, A>I"),
    (From::Leaving, On::EqualBelow, "Initialize Stopped", "hand over +0.6, remove after 100ms, A>I"),
    (From::Leaving, On::Lower, "Initialize Stopped", "hand over +0.6, remove after 100ms, A>I"),
    (From::Leaving, On::AdvertSent, "=", "serve +1.99609375"),
    (From::Leaving, On::Up, "=", ""),
    (From::Leaving, On::Down, "Initialize Stopped", "close, remove after 0ns, A>I"),
    (From::Leaving, On::Missing, "Initialize Stopped", "close, remove after 0ns, A>I"),
    (From::Leaving, On::NoAddress, "Initialize Stopped", "close, remove after 0ns, A>I"),
    (From::Leaving, On::AddressesFailed, "=", ""),
    (From::Leaving, On::Reconfigure, "=", ""),
];

#[test]
fn the_table_is_complete() {
    let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(rows.len(), TABLE.len(), "a row twice");
    for from in From::ALL {
        assert_eq!(rows_of(&from.router()), from, "{from:?} is not itself");
        for on in On::ALL {
            let columns = columns_of(&on.input(T));
            assert!(columns.contains(&on), "{on:?} is not itself");
            for column in columns {
                assert!(
                    rows.contains(&(from, *column)),
                    "no row {from:?} {column:?}"
                );
            }
        }
    }
}

#[test]
fn every_state_answers_every_input() {
    let mut wrong = Vec::new();
    for (from, on, next, actions) in TABLE {
        let mut router = from.router();
        let now = match on {
            On::Deadline => router.deadline().unwrap_or(T + ms(500)),
            _ => T + ms(500),
        };
        let before = show::state(T, router.state());
        let mut out = Vec::new();
        router.handle(now, on.input(now), &mut out);
        let after = show::state(T, router.state());
        let after = if after == before { "=" } else { after.as_str() };
        let did = show::actions(T, &out);
        if (after, did.as_str()) != (*next, *actions) {
            wrong.push(format!(
                "({from:?}, {on:?})\n   wanted {next:?}, {actions:?}\n   got    {after:?}, {did:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
