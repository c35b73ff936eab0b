//! One virtual router: the state machine of RFC 9568 §6.4 and RFC 3768 §6.4.
//!
//! ```text
//!                    +---------------+
//!         +--------->|               |<-------------+
//!         |          |  Initialize   |              |
//!         |   +------|               |----------+   |
//!         |   |      +---------------+          |   |
//!         |   |                                 |   |
//!         |   V                                 V   |
//! +---------------+                       +---------------+
//! |               |---------------------->|               |
//! |    Backup     |                       |    Active     |
//! |               |<----------------------|               |
//! +---------------+                       +---------------+
//! ```
//!
//! Owns the role of this node, its timers and its claim to serve (the lease). Does not own
//! sockets, addresses or maps: it says what to do as [`Action`]s, in an order that is part of
//! the contract. Time is an argument.
//!
//! Where the RFC is silent this machine adds four things:
//!
//! * **The lease.** An Active router serves until three intervals after its last advertisement
//!   left, which is before any peer's Active_Down_Interval ends. It is renewed by
//!   [`Input::AdvertSent`] alone; a router that finds its lease over was frozen or mute, and goes
//!   to Backup before it says anything.
//! * **The graceful stop.** After its resignation an Active router serves on until a successor is
//!   heard, at most one skew and one interval.
//! * **The hand-over.** Traffic that is still on its way to a router that yielded is accepted for
//!   [`Router::handover`], so that no packet is lost between the successor's first advertisement
//!   and its gratuitous ARP.
//! * **The last word.** A router that yields answers once with its own advertisement, so that a
//!   winner that did not know of its rival (a healed partition) announces itself again.

use std::net::IpAddr;
use std::time::Duration;

use super::types::{
    AdvertPriority, Centiseconds, Checksum, Family, Instant, Priority, Version, Vrid,
    active_down_interval, skew_time,
};

/// What a virtual router is configured to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Address family.
    pub family: Family,
    /// Protocol version.
    pub version: Version,
    /// Priority.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Centiseconds,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How long a lower-priority Active router is tolerated before it is preempted.
    pub preempt_delay: Duration,
    /// Digest of the configured address list ([`ha_common::vrrp::digest`]).
    pub addresses: u32,
    /// Checksum form to send on IPv4 VRRPv3; `None`: the form the peer uses.
    pub checksum: Option<Checksum>,
}

impl Config {
    fn skew(&self, interval: Centiseconds) -> Duration {
        skew_time(self.version, self.priority, interval)
    }

    fn down(&self, interval: Centiseconds) -> Duration {
        active_down_interval(self.version, self.priority, interval)
    }
}

/// A valid advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// When it arrived.
    pub at: Instant,
    /// Its source address.
    pub source: IpAddr,
    /// Its priority.
    pub priority: AdvertPriority,
    /// Its interval.
    pub interval: Centiseconds,
    /// Digest of its address list.
    pub addresses: u32,
    /// The form its checksum was right in.
    pub checksum: Checksum,
}

/// The interface a virtual router runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No such interface.
    Missing,
    /// Down, or without carrier.
    Down,
    /// Up, but without an address of the family to send from.
    NoAddress,
    /// Up; advertisements leave with this source.
    Up {
        /// Primary address (RFC 9568 §1.7), or the configured source.
        local: IpAddr,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin (RFC 9568 §6.4.1).
    Startup,
    /// Stop gracefully.
    Shutdown,
    /// The deadline has come. Spurious calls do nothing.
    Timeout,
    /// A valid advertisement came in.
    Advert(Advert),
    /// An advertisement left, at this time; the moment *before* the send call.
    AdvertSent(Instant),
    /// The interface changed.
    Link(LinkState),
    /// The virtual addresses could not be added.
    AddressesFailed,
    /// The configuration changed; VRID, family and version stay.
    Reconfigure(Config),
}

/// Why announcements go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// This node has become Active.
    Takeover,
    /// A rival was heard: the segment may believe it.
    Conflict,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement; on success feed [`Input::AdvertSent`] before any other input.
    SendAdvert(AdvertPriority),
    /// Serve the addresses as Active until then.
    Serve(Instant),
    /// Accept traffic still under way until then, answer nothing.
    HandOver(Instant),
    /// Serve nothing, as [`ha_common::maps::Role::Backup`] or `Initialize` by the state.
    Close,
    /// Put the virtual addresses on the interface.
    AddAddresses,
    /// Take them off, after this time.
    RemoveAddresses(Duration),
    /// Gratuitous ARP and unsolicited neighbour advertisements, after the addresses are there.
    Announce(Announcement),
    /// The role changed; [`Router::state`] and [`Router::reason`] say to what and why.
    Transition {
        /// Role before.
        from: RoleName,
        /// Role after.
        to: RoleName,
    },
}

/// The name of a state, without its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// RFC 9568 §6.4.1.
    Initialize,
    /// RFC 9568 §6.4.2.
    Backup,
    /// RFC 9568 §6.4.3.
    Active,
}

impl RoleName {
    /// As status and log print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        }
    }
}

/// Why a router is not in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Not started yet.
    NotStarted,
    /// The interface does not exist.
    InterfaceMissing,
    /// The interface is down or has no carrier.
    LinkDown,
    /// The interface has no address to send from.
    NoSourceAddress,
    /// The virtual addresses could not be added; tried again at the deadline.
    AddressesFailed,
    /// Stopped.
    Stopped,
}

/// Why the router is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The initial state.
    NotStarted,
    /// Started; waits for an Active router.
    Started,
    /// Priority 255: the address owner starts as Active.
    Owner,
    /// No Active router was ever heard.
    NobodyHeard,
    /// The Active router fell silent.
    PeerSilent,
    /// The Active router resigned.
    PeerResigned,
    /// The Active router has a lower priority.
    Preempted,
    /// A router with a higher priority advertises.
    HigherPriority,
    /// A router with the same priority and a higher address advertises.
    HigherAddress,
    /// The lease ran out: this process was frozen, or its advertisements could not leave.
    LeaseLapsed,
    /// See [`Why`].
    Unfit(Why),
}

impl Reason {
    /// As status and log print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not started",
            Self::Started => "started",
            Self::Owner => "address owner",
            Self::NobodyHeard => "no other router heard",
            Self::PeerSilent => "active router silent",
            Self::PeerResigned => "active router resigned",
            Self::Preempted => "active router has a lower priority",
            Self::HigherPriority => "higher priority heard",
            Self::HigherAddress => "same priority and higher address heard",
            Self::LeaseLapsed => "lease lapsed: frozen, or advertisements could not be sent",
            Self::Unfit(why) => match why {
                Why::NotStarted => "not started",
                Why::InterfaceMissing => "interface missing",
                Why::LinkDown => "link down",
                Why::NoSourceAddress => "no source address on the interface",
                Why::AddressesFailed => "virtual addresses could not be added",
                Why::Stopped => "stopped",
            },
        }
    }
}

/// The three states of the RFC, each with its timers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Out of the election.
    Initialize {
        /// Why.
        why: Why,
        /// When to try again, where trying helps.
        retry: Option<Instant>,
    },
    /// Waiting for the Active router to fail.
    Backup {
        /// Active_Down_Timer.
        active_down: Instant,
        /// Active_Adver_Interval.
        active_adver_interval: Centiseconds,
        /// The router followed.
        active: Option<IpAddr>,
        /// When a lower-priority Active router is no longer tolerated.
        preempt_at: Option<Instant>,
        /// What a takeover at `active_down` would be.
        expectation: Reason,
    },
    /// Serving.
    Active {
        /// Adver_Timer.
        adver: Instant,
        /// End of the claim to serve.
        lease_until: Instant,
        /// Earliest next answer to a losing advertisement.
        answer_from: Instant,
        /// After a graceful stop: until when a successor is waited for.
        leaving: Option<Instant>,
        /// Whether an advertisement has left, and the addresses are claimed since.
        claimed: bool,
    },
}

impl State {
    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> RoleName {
        match self {
            Self::Initialize { .. } => RoleName::Initialize,
            Self::Backup { .. } => RoleName::Backup,
            Self::Active { .. } => RoleName::Active,
        }
    }
}

/// A lease lasts three advertisement intervals: a peer waits those *and* its skew.
const LEASE_INTERVALS: u32 = 3;
/// Answers to losing advertisements per interval, at most.
const ANSWERS_PER_INTERVAL: u32 = 4;
/// Bounds of [`Router::handover`]: long enough for the successor to add its addresses and for a
/// switch to learn, short enough to be over before anybody wonders.
const HANDOVER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));
/// Pause before addresses that could not be added are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// One virtual router.
#[derive(Clone, Debug)]
pub struct Router {
    config: Config,
    state: State,
    link: LinkState,
    running: bool,
    /// The Active_Down_Timer was seen late and has been given a skew more.
    overslept: bool,
    reason: Reason,
    since: Instant,
    /// The last advertisement accepted as valid, whether it won or lost.
    last: Option<Advert>,
}

impl Router {
    /// A router that waits for [`Input::Startup`] and a link.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Initialize {
                why: Why::NotStarted,
                retry: None,
            },
            link: LinkState::Missing,
            running: false,
            overslept: false,
            reason: Reason::NotStarted,
            since: Instant(0),
            last: None,
        }
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Why it is in that state.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// The link it runs on.
    #[must_use]
    pub const fn link(&self) -> LinkState {
        self.link
    }

    /// The last valid advertisement heard from anybody.
    #[must_use]
    pub const fn last_advert(&self) -> Option<&Advert> {
        self.last.as_ref()
    }

    /// Whether the last advertisement came from an address owner although this router is one.
    #[must_use]
    pub fn two_owners(&self) -> bool {
        self.config.priority == Priority::OWNER
            && self
                .last
                .is_some_and(|last| last.priority == AdvertPriority::Run(Priority::OWNER))
    }

    /// Whether the last advertisement carried another address list.
    #[must_use]
    pub fn addresses_differ(&self) -> bool {
        self.last
            .is_some_and(|last| last.addresses != self.config.addresses)
    }

    /// Whether a [`Input::Shutdown`] has run its course.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        matches!(
            self.state,
            State::Initialize {
                why: Why::Stopped,
                ..
            }
        )
    }

    /// Checksum form of the next advertisement: as configured; else the form of the peer; before
    /// anybody is heard that of RFC 5798, which the deployed routers use.
    #[must_use]
    pub fn checksum(&self) -> Checksum {
        match (self.config.family, self.config.version) {
            (Family::Ipv4, Version::V2) => Checksum::MessageOnly,
            (Family::Ipv6, _) => Checksum::PseudoHeader,
            (Family::Ipv4, Version::V3) => self
                .config
                .checksum
                .or(self.last.map(|last| last.checksum))
                .unwrap_or(Checksum::PseudoHeader),
        }
    }

    /// The interval that the next advertisement carries: the configured one, but in the last word
    /// of a router that yields the winner's. A third router that hears the last word last would
    /// else give the winner three intervals of the loser, which may be shorter than one of its own.
    #[must_use]
    pub const fn advertised_interval(&self) -> Centiseconds {
        match self.state {
            State::Backup {
                active_adver_interval,
                ..
            } => active_adver_interval,
            State::Initialize { .. } | State::Active { .. } => self.config.interval,
        }
    }

    /// How long traffic on its way to this router is accepted after it yielded.
    #[must_use]
    pub fn handover(&self) -> Duration {
        self.config
            .interval
            .duration()
            .clamp(HANDOVER.0, HANDOVER.1)
    }

    /// When [`Input::Timeout`] is due. May change after every `handle`.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Initialize { retry, .. } => retry,
            State::Backup { active_down, .. } => Some(active_down),
            State::Active {
                adver,
                lease_until,
                leaving,
                ..
            } => Some(match leaving {
                Some(leaving) => leaving.min(lease_until),
                None => adver.min(lease_until),
            }),
        }
    }

    /// Takes one input; appends what to do to `out`, in order.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Action>) {
        // An advertisement that left is the one thing that revives a lease; everything else is
        // judged by a router that first looks whether it still has one.
        if !matches!(input, Input::AdvertSent(_)) {
            self.lapse(now, out);
        }
        match input {
            Input::Startup => {
                // A router on its way out stays on it; the others are running already.
                self.running |= matches!(self.state, State::Initialize { .. });
                self.start(now, out);
            }
            Input::Shutdown => self.shut_down(now, out),
            Input::Timeout => self.time_out(now, out),
            Input::Advert(advert) => self.hear(now, advert, out),
            Input::AdvertSent(at) => self.renew(now, at, out),
            Input::Link(link) => self.set_link(now, link, out),
            Input::AddressesFailed => self.addresses_failed(now, out),
            Input::Reconfigure(config) => self.reconfigure(now, config, out),
        }
    }

    /// An Active router whose lease is over gives the role up before anything else.
    ///
    /// No resignation is sent: whoever waited for one has taken over long ago, and a frozen
    /// process must not speak of a role it no longer has.
    fn lapse(&mut self, now: Instant, out: &mut Vec<Action>) {
        let State::Active {
            lease_until,
            leaving,
            ..
        } = self.state
        else {
            return;
        };
        if now < lease_until {
            return;
        }
        self.close(out);
        if leaving.is_some() {
            self.enter(now, stopped(), Reason::Unfit(Why::Stopped), out);
        } else {
            let state = self.backup(now, Reason::NobodyHeard);
            self.enter(now, state, Reason::LeaseLapsed, out);
        }
    }

    /// §6.4.1: Startup, and every time the link becomes usable again.
    fn start(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.running || !matches!(self.state, State::Initialize { .. }) {
            return;
        }
        let why = match self.link {
            LinkState::Missing => Why::InterfaceMissing,
            LinkState::Down => Why::LinkDown,
            LinkState::NoAddress => Why::NoSourceAddress,
            LinkState::Up { .. } => {
                // (105) the owner begins as Active; (145) everybody else as Backup.
                if self.config.priority == Priority::OWNER {
                    self.become_active(now, Reason::Owner, out);
                } else {
                    let state = self.backup(now, Reason::NobodyHeard);
                    out.push(Action::Close);
                    self.enter(now, state, Reason::Started, out);
                }
                return;
            }
        };
        if self.state != (State::Initialize { why, retry: None }) {
            self.enter(
                now,
                State::Initialize { why, retry: None },
                Reason::Unfit(why),
                out,
            );
        }
    }

    fn shut_down(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.running = false;
        let State::Active {
            lease_until,
            leaving,
            ..
        } = &mut self.state
        else {
            if !self.stopped() {
                out.push(Action::Close);
                self.enter(now, stopped(), Reason::Unfit(Why::Stopped), out);
            }
            return;
        };
        if leaving.is_some() {
            return;
        }
        // §6.4.3 (610): a resignation. Deviates: the addresses stay until a successor is heard,
        // so that no packet finds nobody; the successor is due after its skew, at most one unit.
        // renew() lengthens the lease up to there: who cannot resign gets no more than it has.
        let slowest = Priority::try_from(1).unwrap_or(self.config.priority);
        let until = now
            + skew_time(self.config.version, slowest, self.config.interval)
            + self.config.interval.duration();
        *leaving = Some(until);
        *lease_until = until.min(*lease_until);
        out.push(Action::SendAdvert(AdvertPriority::Resign));
    }

    fn time_out(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Initialize { retry, .. } => {
                if retry.is_some_and(|at| now >= at) {
                    *retry = None;
                    self.start(now, out);
                }
            }
            State::Backup {
                active_down,
                active_adver_interval,
                expectation,
                ..
            } => {
                // §6.4.2 (310): the Active_Down_Timer fires.
                if now < *active_down {
                    return;
                }
                // Deviates: seen a whole interval late it says that this node slept. What the
                // Active router sent meanwhile may lie in a queue nobody has served yet: once,
                // one skew to hear it, which keeps the order among several that slept.
                let interval = *active_adver_interval;
                if now.since(*active_down) >= interval.duration() && !self.overslept {
                    self.overslept = true;
                    *active_down = now + self.config.skew(interval);
                    return;
                }
                let reason = *expectation;
                self.become_active(now, reason, out);
            }
            State::Active {
                adver,
                answer_from,
                leaving,
                ..
            } => match *leaving {
                // A successor that stays away: lapse() ends this at the same instant.
                Some(_) => {}
                None => {
                    // §6.4.3 (625): the Adver_Timer fires. One advertisement however late, and
                    // the beat is kept unless a whole interval was missed.
                    if now >= *adver {
                        let interval = self.config.interval.duration();
                        if *adver == *answer_from {
                            *answer_from = now + interval / ANSWERS_PER_INTERVAL; // held back
                        }
                        let next = *adver + interval;
                        *adver = if next > now { next } else { now + interval };
                        out.push(Action::SendAdvert(AdvertPriority::Run(
                            self.config.priority,
                        )));
                    }
                }
            },
        }
    }

    fn hear(&mut self, now: Instant, advert: Advert, out: &mut Vec<Action>) {
        if self.last.is_some_and(|last| advert.at <= last.at) {
            return; // the same record, read again
        }
        self.last = Some(advert);
        match &self.state {
            State::Initialize { .. } => {}
            State::Backup { .. } => self.hear_as_backup(now, advert),
            State::Active {
                leaving: Some(_), ..
            } => {
                // The successor speaks, whatever its priority.
                if matches!(advert.priority, AdvertPriority::Run(_)) {
                    self.hand_over(now, out);
                    self.enter(now, stopped(), Reason::Unfit(Why::Stopped), out);
                }
            }
            State::Active { leaving: None, .. } => self.hear_as_active(now, advert, out),
        }
    }

    /// §6.4.2 (340)–(395).
    fn hear_as_backup(&mut self, now: Instant, advert: Advert) {
        let State::Backup {
            active_down,
            active_adver_interval,
            active,
            preempt_at,
            expectation,
        } = &mut self.state
        else {
            return;
        };
        let priority = match advert.priority {
            AdvertPriority::Resign => {
                // (345) Skew_Time. Deviates: only the router followed can resign, and a repeated
                // resignation does not restart the wait, so that nobody can keep us waiting.
                if active.is_none_or(|active| active == advert.source) {
                    // The timer may lag behind adverts that said nothing new: it counts only once
                    // a resignation has set it.
                    let due = (advert.at + self.config.skew(*active_adver_interval)).max(now);
                    *active_down = if *expectation == Reason::PeerResigned {
                        due.min(*active_down)
                    } else {
                        due
                    };
                    *expectation = Reason::PeerResigned;
                }
                return;
            }
            AdvertPriority::Run(priority) => priority,
        };
        let mut follow = !self.config.preempt || priority >= self.config.priority;
        if follow {
            *preempt_at = None;
        } else if !self.config.preempt_delay.is_zero() {
            // keepalived's preempt_delay: counted from the first lower-priority advertisement.
            let at = *preempt_at.get_or_insert(advert.at + self.config.preempt_delay);
            follow = advert.at < at;
        }
        if !follow {
            *expectation = Reason::Preempted; // (390) discard; the timer runs on
            return;
        }
        // (360) adopt the interval; (365) Skew_Time follows from it; (370) restart the timer.
        // VRRPv2 adverts with another interval never come here.
        let due = advert.at + self.config.down(advert.interval);
        if due <= now {
            return; // its time is over: it says nothing about now
        }
        *active_adver_interval = advert.interval;
        *active = Some(advert.source);
        *active_down = due;
        self.overslept = false;
        *expectation = Reason::PeerSilent;
    }

    /// §6.4.3 (700)–(770).
    fn hear_as_active(&mut self, now: Instant, advert: Advert, out: &mut Vec<Action>) {
        let priority = match advert.priority {
            AdvertPriority::Resign => {
                // (705) send an advertisement and reset the Adver_Timer.
                self.answer(now, out);
                return;
            }
            AdvertPriority::Run(priority) => priority,
        };
        let LinkState::Up { local } = self.link else {
            return;
        };
        let reason = if priority > self.config.priority {
            Reason::HigherPriority
        } else if priority == self.config.priority && advert.source > local {
            Reason::HigherAddress // (745) unsigned, network byte order: what IpAddr compares
        } else {
            // (765) discard, and assert our state at once.
            self.answer(now, out);
            out.push(Action::Announce(Announcement::Conflict));
            return;
        };
        // (725) become Backup with the winner's interval.
        out.push(Action::SendAdvert(AdvertPriority::Run(
            self.config.priority,
        )));
        self.hand_over(now, out);
        let state = State::Backup {
            active_down: (advert.at + self.config.down(advert.interval)).max(now),
            active_adver_interval: advert.interval,
            active: Some(advert.source),
            preempt_at: None,
            expectation: Reason::PeerSilent,
        };
        self.enter(now, state, reason, out);
    }

    /// An advertisement out of turn, at most [`ANSWERS_PER_INTERVAL`]; what the bound holds back
    /// leaves as soon as it allows.
    fn answer(&mut self, now: Instant, out: &mut Vec<Action>) {
        let interval = self.config.interval.duration();
        let State::Active {
            adver, answer_from, ..
        } = &mut self.state
        else {
            return;
        };
        if now < *answer_from {
            *adver = (*adver).min(*answer_from);
            return;
        }
        *answer_from = now + interval / ANSWERS_PER_INTERVAL;
        *adver = now + interval;
        out.push(Action::SendAdvert(AdvertPriority::Run(
            self.config.priority,
        )));
    }

    /// The lease begins or goes on. With the first one come the addresses and the announcement
    /// that draws the traffic here: a router that cannot advertise must not draw any.
    fn renew(&mut self, now: Instant, at: Instant, out: &mut Vec<Action>) {
        let lease = self.config.interval.duration() * LEASE_INTERVALS;
        let State::Active {
            lease_until,
            leaving,
            claimed,
            ..
        } = &mut self.state
        else {
            return;
        };
        *lease_until = leaving.unwrap_or(at + lease);
        if now >= *lease_until {
            return self.lapse(now, out); // frozen since it was sent
        }
        out.push(Action::Serve(*lease_until));
        if !std::mem::replace(claimed, true) {
            out.push(Action::AddAddresses);
            out.push(Action::Announce(Announcement::Takeover));
        }
    }

    fn set_link(&mut self, now: Instant, link: LinkState, out: &mut Vec<Action>) {
        let before = self.link;
        self.link = link;
        match (link, &self.state) {
            // The kernel repeats itself while addresses fail: the pause before the retry stays.
            (LinkState::Up { .. }, State::Initialize { retry: Some(_), .. }) if before == link => {}
            (LinkState::Up { .. }, State::Initialize { .. }) => self.start(now, out),
            (LinkState::Up { .. }, _) => {}
            (_, State::Initialize { .. }) => {
                if before != link {
                    self.start(now, out);
                }
            }
            (_, State::Backup { .. } | State::Active { .. }) => {
                let why = match link {
                    LinkState::Missing => Why::InterfaceMissing,
                    LinkState::Down => Why::LinkDown,
                    LinkState::NoAddress | LinkState::Up { .. } => Why::NoSourceAddress,
                };
                let leaving = matches!(
                    self.state,
                    State::Active {
                        leaving: Some(_),
                        ..
                    }
                );
                self.leave(now, if leaving { Why::Stopped } else { why }, out);
            }
        }
    }

    fn addresses_failed(&mut self, now: Instant, out: &mut Vec<Action>) {
        if matches!(self.state, State::Active { leaving: None, .. }) {
            let why = Why::AddressesFailed;
            let retry = Some(now + RETRY);
            self.close(out);
            out.push(Action::SendAdvert(AdvertPriority::Resign));
            let state = State::Initialize { why, retry };
            self.enter(now, state, Reason::Unfit(why), out);
        }
    }

    fn reconfigure(&mut self, now: Instant, config: Config, out: &mut Vec<Action>) {
        let old = std::mem::replace(&mut self.config, config);
        match &mut self.state {
            State::Initialize { .. } => {}
            State::Backup {
                active_down,
                active_adver_interval,
                active,
                preempt_at,
                ..
            } => {
                // Same last advertisement, new formula.
                if active.is_none() {
                    *active_adver_interval = self.config.interval;
                }
                let learnt = *active_adver_interval;
                let before = old.down(if active.is_none() {
                    old.interval
                } else {
                    learnt
                });
                *active_down = (*active_down - before) + self.config.down(learnt);
                if self.config.preempt_delay != old.preempt_delay {
                    *preempt_at = None;
                }
            }
            State::Active { adver, leaving, .. } => {
                // A changed priority or interval is news to the peers: tell them now.
                let news =
                    old.priority != self.config.priority || old.interval != self.config.interval;
                if leaving.is_none() && news {
                    *adver = now + self.config.interval.duration();
                    out.push(Action::SendAdvert(AdvertPriority::Run(
                        self.config.priority,
                    )));
                }
            }
        }
    }

    /// (315)–(345): the advertisement first, so that the old owner lets go first; the rest follows
    /// in [`Self::renew`] when it has left.
    fn become_active(&mut self, now: Instant, reason: Reason, out: &mut Vec<Action>) {
        let state = State::Active {
            adver: now + self.config.interval.duration(),
            lease_until: now, // none until the advertisement has left
            answer_from: now,
            leaving: None,
            claimed: false,
        };
        out.push(Action::SendAdvert(AdvertPriority::Run(
            self.config.priority,
        )));
        self.enter(now, state, reason, out);
    }

    /// The winner serves: no more answers, traffic under way is still accepted.
    fn hand_over(&mut self, now: Instant, out: &mut Vec<Action>) {
        let handover = self.handover();
        out.push(Action::HandOver(now + handover));
        out.push(Action::RemoveAddresses(handover));
    }

    /// Serves nothing any more, and takes off what was claimed.
    fn close(&self, out: &mut Vec<Action>) {
        out.push(Action::Close);
        if matches!(self.state, State::Active { claimed: true, .. }) {
            out.push(Action::RemoveAddresses(Duration::ZERO));
        }
    }

    fn leave(&mut self, now: Instant, why: Why, out: &mut Vec<Action>) {
        self.close(out);
        let state = State::Initialize { why, retry: None };
        self.enter(now, state, Reason::Unfit(why), out);
    }

    /// A Backup that has heard nobody yet.
    fn backup(&self, now: Instant, expectation: Reason) -> State {
        State::Backup {
            active_down: now + self.config.down(self.config.interval),
            active_adver_interval: self.config.interval,
            active: None,
            preempt_at: None,
            expectation,
        }
    }

    fn enter(&mut self, now: Instant, state: State, reason: Reason, out: &mut Vec<Action>) {
        let from = self.state.name();
        self.overslept = false;
        self.state = state;
        self.reason = reason;
        let to = self.state.name();
        if from != to {
            self.since = now;
            out.push(Action::Transition { from, to });
        }
    }
}

const fn stopped() -> State {
    State::Initialize {
        why: Why::Stopped,
        retry: None,
    }
}
