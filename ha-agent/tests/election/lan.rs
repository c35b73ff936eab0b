//! Routers on a simulated network, in virtual time, and what must hold at every moment.
//!
//! The network is one segment that can fall into two parts. It delays an advertisement by at most
//! [`Plan::delay`], keeps the order between two nodes (as a switch does), and may lose and
//! duplicate. Each node is a process (the [`Router`] and its queue) above a kernel (the fence with
//! its lease, and the record of the last advertisement), because the one can stop without the
//! other:
//!
//! * *crash*: the process is gone, the kernel keeps the lease until it ends, and the addresses;
//! * *power off*: both are gone;
//! * *freeze*: the process stands still, then sees what queued up, in order;
//! * *mute*: what it sends does not leave, and it is told so.
//!
//! As in the XDP program, an advertisement that repeats the last one does not wake a Backup: it
//! refreshes the record, which the process reads before it lets a timer end its Backup role.
//!
//! A client beside each node believes the last announcement that reached it, as an ARP cache does.
//!
//! A node *answers* while its role in the kernel is Active and the lease lives; it *accepts* while
//! it answers or hands over.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ha_agent::vrrp::router::{Reason, RoleName};
use ha_agent::vrrp::types::{
    AdvertPriority, Centiseconds, Checksum, Instant, Priority, Version, active_down_interval,
    skew_time,
};
use ha_agent::vrrp::{Action, Advert, Config, Input, LinkState, Router, State};

use super::show;

/// What a schedule in virtual time may be late by.
const EPSILON: Duration = Duration::from_micros(1);
/// What the router waits before it tries addresses again, at most.
const RETRY: Duration = Duration::from_secs(5);
/// Longest [`Router::handover`].
const HANDOVER: Duration = Duration::from_millis(100);

/// SplitMix64: a seed is a run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1.
    pub(crate) const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True in `percent` of 100 cases.
    pub(crate) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn duration(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.below(longest.as_nanos() as u64 + 1))
    }
}

/// The number of whichever node is Active.
pub(crate) const ACTIVE: usize = usize::MAX;

/// Something done to the network or to a node.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Crash(usize),
    PowerOff(usize),
    Start(usize),
    Stop(usize),
    Freeze(usize, Duration),
    Link(usize, bool),
    Mute(usize, bool),
    AddressesFail(usize),
    Reconfigure(usize, Priority, Centiseconds),
    Partition(Vec<bool>),
    Heal,
    /// The end of all faults: whoever lives is connected, awake and heard.
    Calm,
}

/// A run: the nodes, the network, and what happens when.
pub(crate) struct Plan {
    pub(crate) configs: Vec<Config>,
    /// Longest delay of an advertisement, below every interval.
    pub(crate) delay: Duration,
    /// Losses and duplicates in percent.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) ops: Vec<(Duration, Op)>,
    /// End of the run, counted from its beginning.
    pub(crate) length: Duration,
    /// Whether every client must believe the Active router once settled: true of runs in which the
    /// network falls apart and comes together again as a whole, and nothing else fails. (After
    /// other faults it is the periodic announcement, which is not the router's, that heals.)
    pub(crate) clients: bool,
    /// For delays and losses.
    pub(crate) random: Random,
}

/// How often things happened, so that a check that never had a chance is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) silent: u64,
    pub(crate) resigned: u64,
    pub(crate) preempted: u64,
    pub(crate) yielded: u64,
    pub(crate) lapsed: u64,
    pub(crate) dual: u64,
    pub(crate) stops_watched: u64,
    pub(crate) lease_checked: u64,
    pub(crate) resignation_checked: u64,
    pub(crate) settled: u64,
    pub(crate) nopreempt_checked: u64,
    pub(crate) events: u64,
}

impl Tally {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.silent += other.silent;
        self.resigned += other.resigned;
        self.preempted += other.preempted;
        self.yielded += other.yielded;
        self.lapsed += other.lapsed;
        self.dual += other.dual;
        self.stops_watched += other.stops_watched;
        self.lease_checked += other.lease_checked;
        self.resignation_checked += other.resignation_checked;
        self.settled += other.settled;
        self.nopreempt_checked += other.nopreempt_checked;
        self.events += other.events;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KernelRole {
    Idle,
    Active,
    Handover,
}

/// What outlives the process.
struct Kernel {
    role: KernelRole,
    lease_until: Instant,
    record: Option<Advert>,
    addresses: bool,
}

impl Kernel {
    const fn new() -> Self {
        Self {
            role: KernelRole::Idle,
            lease_until: Instant(0),
            record: None,
            addresses: false,
        }
    }

    fn answers(&self, now: Instant) -> bool {
        self.role == KernelRole::Active && now < self.lease_until
    }

    /// Until when it accepts traffic.
    fn accepts_until(&self) -> Instant {
        match self.role {
            KernelRole::Idle => Instant(0),
            KernelRole::Active | KernelRole::Handover => self.lease_until,
        }
    }
}

struct Node {
    address: IpAddr,
    config: Config,
    process: Option<Router>,
    queue: VecDeque<Queued>,
    frozen_until: Instant,
    kernel: Kernel,
    link: bool,
    mute: bool,
    addresses_fail: bool,
    /// Number of the last advertisement sent, and per sender of the last one that arrived here.
    sent: u64,
    arrived: Vec<u64>,
    /// When the last advertisement to each node arrives: order is kept.
    in_flight: Vec<Instant>,
    /// Since when nothing was heard as Backup, and the longest interval heard as Backup.
    quiet_since: Instant,
    slowest: Centiseconds,
    /// The last running router heard as Backup: who, its priority and its interval.
    last_run: Option<(usize, Priority, Centiseconds)>,
    /// When a resignation makes this Backup take over at the latest.
    resignation_due: Option<Instant>,
    /// The next [`Event::Wake`].
    wake: Option<Instant>,
    /// When a fault was last done to it, or ends.
    touched: Instant,
    /// When its role last changed.
    changed: Instant,
}

impl Node {
    fn role(&self) -> Option<RoleName> {
        self.process.as_ref().map(|router| router.state().name())
    }

    /// Stops gracefully.
    fn leaves(&self) -> bool {
        let state = self.process.as_ref().map(Router::state);
        matches!(
            state,
            Some(State::Active {
                leaving: Some(_),
                ..
            })
        )
    }

    /// Runs, and takes part or could.
    fn lives(&self, now: Instant) -> bool {
        self.process
            .as_ref()
            .is_some_and(|router| !router.stopped())
            && now >= self.frozen_until
    }
}

/// What waits for the process.
enum Queued {
    Input(Input),
    /// News, and when the advertisement before it came in, which may not have been news.
    News(Advert, Option<Instant>),
}

enum Event {
    Deliver {
        from: usize,
        to: usize,
        number: u64,
        advert: Advert,
    },
    Wake(usize),
    Do(Op),
    End,
}

struct Timed(Instant, u64, Event);

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A graceful stop during which somebody must accept traffic at every instant.
struct Watch {
    node: usize,
    until: Instant,
    covered_until: Instant,
}

pub(crate) struct Lan {
    begin: Instant,
    now: Instant,
    nodes: Vec<Node>,
    part: Vec<bool>,
    /// By node: whom the client beside it believes; `None`: it is not asked.
    believes: Option<Vec<usize>>,
    delay: Duration,
    /// The longest interval that any node ever had.
    longest: Duration,
    loss: u64,
    duplicates: u64,
    random: Random,
    events: BinaryHeap<Reverse<Timed>>,
    scheduled: u64,
    /// The last moment at which a fault was still at work.
    disturbed: Instant,
    /// By pair: since when both answer although they could know of each other.
    both_since: Vec<Vec<Option<Instant>>>,
    watch: Option<Watch>,
    trace: bool,
    pub(crate) tally: Tally,
}

type Checked = Result<(), String>;

impl Lan {
    /// Runs `plan`; an error is what did not hold. `trace` prints every event.
    pub(crate) fn run(plan: Plan, trace: bool) -> Result<Tally, String> {
        let mut lan = Self::new(plan, trace);
        while let Some(Reverse(Timed(at, _, event))) = lan.events.pop() {
            if let Event::End = event {
                break;
            }
            lan.step(at, event)
                .map_err(|wrong| format!("at {}: {wrong}", lan.at(at)))?;
        }
        Ok(lan.tally)
    }

    fn new(plan: Plan, trace: bool) -> Self {
        let count = plan.configs.len();
        let begin = Instant(1_000_000_000_000);
        let mut lan = Self {
            begin,
            now: begin,
            nodes: Vec::new(),
            part: vec![false; count],
            believes: plan.clients.then(|| vec![usize::MAX; count]),
            delay: plan.delay,
            longest: Duration::ZERO,
            loss: plan.loss,
            duplicates: plan.duplicates,
            random: plan.random,
            events: BinaryHeap::new(),
            scheduled: 0,
            disturbed: begin,
            both_since: vec![vec![None; count]; count],
            watch: None,
            trace,
            tally: Tally::default(),
        };
        for (n, config) in plan.configs.into_iter().enumerate() {
            lan.longest = lan.longest.max(config.interval.duration());
            lan.nodes.push(Node {
                address: IpAddr::from(Ipv4Addr::new(10, 0, 0, 1 + n as u8)),
                slowest: config.interval,
                config,
                process: None,
                queue: VecDeque::new(),
                frozen_until: begin,
                kernel: Kernel::new(),
                link: true,
                mute: false,
                addresses_fail: false,
                sent: 0,
                arrived: vec![0; count],
                in_flight: vec![begin; count],
                quiet_since: begin,
                last_run: None,
                resignation_due: None,
                wake: None,
                touched: begin,
                changed: begin,
            });
        }
        for (after, op) in plan.ops {
            lan.schedule(begin + after, Event::Do(op));
        }
        lan.schedule(begin + plan.length, Event::End);
        lan
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse(Timed(at, self.scheduled, event)));
    }

    fn at(&self, at: Instant) -> String {
        format!("{:.6}s", at.since(self.begin).as_secs_f64())
    }

    fn log(&self, words: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>14} {}", self.at(self.now), words());
        }
    }

    fn step(&mut self, at: Instant, event: Event) -> Checked {
        self.check_coverage(at)?;
        self.now = at;
        self.tally.events += 1;
        match event {
            Event::End => {}
            Event::Wake(n) => {
                let node = &mut self.nodes[n];
                node.wake = node.wake.filter(|wake| *wake > at);
                self.work(n)?;
            }
            Event::Do(op) => self.do_op(op)?,
            Event::Deliver {
                from,
                to,
                number,
                advert,
            } => {
                if !self.deliver(from, to, number, advert)? {
                    return Ok(());
                }
            }
        }
        self.check_all()
    }

    fn connected(&self, a: usize, b: usize) -> bool {
        self.part[a] == self.part[b] && self.nodes[a].link && self.nodes[b].link
    }

    // What happens.

    fn do_op(&mut self, op: Op) -> Checked {
        let op = self.aim(op);
        self.log(|| format!("      {op:?}"));
        let now = self.now;
        let settled = self.is_settled();
        self.disturbed = self.disturbed.max(now);
        for row in &mut self.both_since {
            row.fill(None);
        }
        if !matches!(op, Op::Start(_)) {
            self.watch = None;
        }
        self.touch(&op);
        match op {
            Op::Crash(n) => {
                self.nodes[n].process = None;
                self.nodes[n].queue.clear();
                self.nodes[n].frozen_until = now;
            }
            Op::PowerOff(n) => {
                self.nodes[n].process = None;
                self.nodes[n].queue.clear();
                self.nodes[n].frozen_until = now;
                self.nodes[n].kernel = Kernel::new();
            }
            Op::Start(n) => {
                let node = &mut self.nodes[n];
                if node.process.as_ref().is_none_or(Router::stopped) {
                    // A new process finds no addresses of its own, or takes them off first.
                    node.kernel.addresses = false;
                    node.process = Some(Router::new(node.config.clone()));
                    node.queue.clear();
                    node.frozen_until = now;
                    let link = link_state(node);
                    node.queue
                        .extend([Input::Link(link), Input::Startup].map(Queued::Input));
                    self.work(n)?;
                }
            }
            Op::Stop(n) => {
                self.watch_stop(n, settled);
                self.nodes[n]
                    .queue
                    .push_back(Queued::Input(Input::Shutdown));
                self.work(n)?;
            }
            Op::Freeze(n, time) => {
                if self.nodes[n].process.is_some() {
                    let until = (now + time).max(self.nodes[n].frozen_until);
                    self.nodes[n].frozen_until = until;
                    self.disturbed = self.disturbed.max(until);
                    self.schedule(until, Event::Wake(n));
                }
            }
            Op::Link(n, up) => {
                self.nodes[n].link = up;
                let link = link_state(&self.nodes[n]);
                if self.nodes[n].process.is_some() {
                    self.nodes[n]
                        .queue
                        .push_back(Queued::Input(Input::Link(link)));
                }
                self.work(n)?;
            }
            Op::Mute(n, mute) => self.nodes[n].mute = mute,
            Op::AddressesFail(n) => self.nodes[n].addresses_fail = true,
            Op::Reconfigure(n, priority, interval) => {
                let node = &mut self.nodes[n];
                node.config.priority = priority;
                node.config.interval = interval;
                self.longest = self.longest.max(interval.duration());
                node.slowest = node.slowest.max(interval);
                node.quiet_since = now;
                node.resignation_due = None;
                if node.process.is_some() {
                    let input = Input::Reconfigure(node.config.clone());
                    node.queue.push_back(Queued::Input(input));
                }
                node.last_run = None;
                self.work(n)?;
            }
            Op::Partition(part) => self.part = part,
            Op::Heal => self.part.fill(false),
            Op::Calm => {
                self.part.fill(false);
                self.loss = 0;
                for n in 0..self.nodes.len() {
                    let node = &mut self.nodes[n];
                    node.mute = false;
                    node.addresses_fail = false;
                    node.frozen_until = node.frozen_until.min(now);
                    if !node.link {
                        node.link = true;
                        if node.process.is_some() {
                            let link = link_state(node);
                            node.queue.push_back(Queued::Input(Input::Link(link)));
                        }
                    }
                    self.work(n)?;
                }
            }
        }
        Ok(())
    }

    /// Puts the number of the Active router, or of node 0, in the place of [`ACTIVE`].
    fn aim(&self, mut op: Op) -> Op {
        let active = |node: &Node| node.role() == Some(RoleName::Active);
        match &mut op {
            Op::Crash(n)
            | Op::PowerOff(n)
            | Op::Start(n)
            | Op::Stop(n)
            | Op::Freeze(n, _)
            | Op::Link(n, _)
            | Op::Mute(n, _)
            | Op::AddressesFail(n)
            | Op::Reconfigure(n, ..) => {
                if *n == ACTIVE {
                    *n = self.nodes.iter().position(active).unwrap_or(0);
                }
            }
            Op::Partition(_) | Op::Heal | Op::Calm => {}
        }
        op
    }

    /// Remembers when each node was last the object of a fault.
    fn touch(&mut self, op: &Op) {
        let now = self.now;
        match op {
            Op::Crash(n)
            | Op::PowerOff(n)
            | Op::Start(n)
            | Op::Stop(n)
            | Op::Link(n, _)
            | Op::Mute(n, _)
            | Op::AddressesFail(n)
            | Op::Reconfigure(n, ..) => self.nodes[*n].touched = now,
            Op::Freeze(n, time) => self.nodes[*n].touched = now + *time,
            Op::Partition(_) | Op::Heal | Op::Calm => {
                for node in &mut self.nodes {
                    node.touched = node.touched.max(now);
                }
            }
        }
    }

    fn transmit(&mut self, from: usize, priority: AdvertPriority) {
        let node = &mut self.nodes[from];
        let Some(router) = &node.process else {
            return;
        };
        let interval = router.advertised_interval();
        node.sent += 1;
        let number = node.sent;
        let advert = Advert {
            at: self.now,
            source: node.address,
            priority,
            interval,
            addresses: 0,
            checksum: Checksum::MessageOnly,
        };
        for to in 0..self.nodes.len() {
            if to == from || !self.connected(from, to) || self.random.chance(self.loss) {
                continue;
            }
            let mut at = self.now + self.random.duration(self.delay);
            at = at.max(self.nodes[from].in_flight[to] + Duration::from_nanos(1));
            let copies = 1 + u64::from(self.random.chance(self.duplicates));
            for copy in 0..copies {
                let at = at + Duration::from_nanos(copy);
                self.nodes[from].in_flight[to] = at;
                self.schedule(
                    at,
                    Event::Deliver {
                        from,
                        to,
                        number,
                        advert,
                    },
                );
            }
        }
    }

    /// What the XDP program does: record, and wake when it is news. False: nothing has changed.
    fn deliver(
        &mut self,
        from: usize,
        to: usize,
        number: u64,
        advert: Advert,
    ) -> Result<bool, String> {
        if !self.connected(from, to) {
            return Ok(false);
        }
        let now = self.now;
        let lives = self.nodes[to].lives(now);
        let node = &mut self.nodes[to];
        let last = node.kernel.record;
        let at = last.map_or(now, |last| now.max(last.at + Duration::from_nanos(1)));
        let advert = Advert { at, ..advert };
        node.kernel.record = Some(advert);
        node.arrived[from] = number;

        // The reference for the checks: what a Backup that is awake has heard.
        node.quiet_since = now;
        node.slowest = node.slowest.max(advert.interval);
        match advert.priority {
            AdvertPriority::Run(priority) => {
                node.last_run = Some((from, priority, advert.interval));
                node.resignation_due = None;
            }
            AdvertPriority::Resign => {
                if let Some((who, priority, interval)) = node.last_run
                    && who == from
                    && lives
                    && (priority >= node.config.priority || !node.config.preempt)
                    && node.role() == Some(RoleName::Backup)
                {
                    // A process that has just started may not have read the record yet.
                    let interval = interval.max(node.config.interval);
                    let skew = skew_time(node.config.version, node.config.priority, interval);
                    let due = at + skew;
                    let due = node.resignation_due.map_or(due, |before| before.min(due));
                    node.resignation_due = Some(due);
                    self.tally.resignation_checked += 1;
                }
            }
        }

        let node = &mut self.nodes[to];
        let silence = 3 * node.config.interval.duration();
        let repeats = node.kernel.role == KernelRole::Idle
            && advert.priority != AdvertPriority::Resign
            && last.is_some_and(|last| {
                at.since(last.at) <= silence
                    && (last.source, last.priority, last.interval)
                        == (advert.source, advert.priority, advert.interval)
            });
        if node.process.is_some() && !repeats {
            node.queue
                .push_back(Queued::News(advert, last.map(|last| last.at)));
            self.work(to)?;
        }
        Ok(!repeats)
    }

    /// What the engine does: the queue first, then the timer, after a look at the record.
    fn work(&mut self, n: usize) -> Checked {
        for _ in 0..1000 {
            if self.nodes[n].process.is_none() || self.now < self.nodes[n].frozen_until {
                return Ok(());
            }
            match self.nodes[n].queue.pop_front() {
                Some(Queued::Input(input)) => {
                    self.handle(n, input)?;
                    continue;
                }
                Some(Queued::News(advert, previous)) => {
                    // The repetitions before it, which nobody was woken for.
                    let last = self.nodes[n].process.as_ref().and_then(Router::last_advert);
                    if let (Some(&last), Some(at)) = (last, previous)
                        && last.at < at
                    {
                        self.handle(n, Input::Advert(Advert { at, ..last }))?;
                    }
                    self.handle(n, Input::Advert(advert))?;
                    continue;
                }
                None => {}
            }
            let node = &self.nodes[n];
            let Some(router) = &node.process else {
                return Ok(());
            };
            let Some(due) = router.deadline() else {
                return Ok(());
            };
            if due > self.now {
                if node.wake.is_none_or(|wake| due < wake) {
                    self.nodes[n].wake = Some(due);
                    self.schedule(due, Event::Wake(n));
                }
                return Ok(());
            }
            let unread = node
                .kernel
                .record
                .filter(|record| router.last_advert().is_none_or(|last| last.at < record.at));
            match (router.state(), unread) {
                (State::Backup { .. }, Some(record)) => self.handle(n, Input::Advert(record))?,
                _ => self.handle(n, Input::Timeout)?,
            }
        }
        Err(format!(
            "node {n} is busy without end: {:?}",
            self.nodes[n].process
        ))
    }

    fn handle(&mut self, n: usize, input: Input) -> Checked {
        let Some(router) = &mut self.nodes[n].process else {
            return Ok(());
        };
        let followed = match router.state() {
            State::Backup { active, .. } => *active,
            State::Initialize { .. } | State::Active { .. } => None,
        };
        let described = self.trace.then(|| format!("{input:?}"));
        let mut out = Vec::new();
        router.handle(self.now, input, &mut out);
        if let Some(input) = described {
            let state = show::state(self.begin, router.state());
            let out = show::actions(self.begin, &out);
            self.log(|| format!("[{n}] {input} -> {state} | {out}"));
        }
        for action in out {
            self.perform(n, &action, followed)?;
        }
        Ok(())
    }

    fn perform(&mut self, n: usize, action: &Action, followed: Option<IpAddr>) -> Checked {
        let now = self.now;
        let node = &mut self.nodes[n];
        match action {
            Action::SendAdvert(priority) => {
                if node.link && !node.mute {
                    self.transmit(n, *priority);
                    self.handle(n, Input::AdvertSent(now))?;
                }
            }
            Action::Serve(until) => {
                node.kernel.role = KernelRole::Active;
                node.kernel.lease_until = *until;
                let config = node.process.as_ref().map_or(&node.config, Router::config);
                let longest = 3 * config.interval.duration();
                let stop = config.interval.duration() + unit(config);
                if until.since(now) > longest.max(stop) {
                    return Err(format!("node {n} serves for ever"));
                }
            }
            Action::HandOver(until) => {
                node.kernel.role = KernelRole::Handover;
                node.kernel.lease_until = *until;
            }
            Action::Close => {
                node.kernel.role = KernelRole::Idle;
                node.kernel.lease_until = Instant(0);
            }
            Action::AddAddresses => {
                if std::mem::replace(&mut node.kernel.addresses, true) {
                    return Err(format!("node {n} adds addresses twice"));
                }
                if std::mem::take(&mut node.addresses_fail) {
                    node.queue.push_front(Queued::Input(Input::AddressesFailed));
                    self.disturbed = self.disturbed.max(now + RETRY);
                    self.watch = None;
                }
            }
            Action::RemoveAddresses(_) => {
                if !std::mem::replace(&mut node.kernel.addresses, false) {
                    return Err(format!("node {n} removes addresses it has not"));
                }
            }
            Action::Announce(_) => {
                if !node.kernel.answers(now) || !node.kernel.addresses {
                    return Err(format!("node {n} announces what it does not serve"));
                }
                let hear = |to: usize| self.connected(n, to);
                let hear: Vec<bool> = (0..self.nodes.len()).map(hear).collect();
                if let Some(believes) = &mut self.believes {
                    for (client, _) in hear.iter().enumerate().filter(|(_, hears)| **hears) {
                        believes[client] = n;
                    }
                }
            }
            Action::Transition { from, to } => self.transition(n, *from, *to, followed)?,
        }
        Ok(())
    }

    // What must hold.

    fn transition(
        &mut self,
        n: usize,
        from: RoleName,
        to: RoleName,
        followed: Option<IpAddr>,
    ) -> Checked {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.resignation_due = None;
        let reason = node.process.as_ref().map(Router::reason);
        match (from, to) {
            (_, RoleName::Backup) => {
                let yielded = from == RoleName::Active && reason != Some(Reason::LeaseLapsed);
                node.quiet_since = now;
                if yielded {
                    self.tally.yielded += 1;
                } else {
                    self.tally.lapsed += u64::from(from == RoleName::Active);
                    node.last_run = None;
                }
            }
            (_, RoleName::Active) => match reason {
                Some(Reason::PeerSilent) => {
                    self.tally.silent += 1;
                    self.never_two_through_silence(n, followed)?;
                }
                Some(Reason::PeerResigned) => self.tally.resigned += 1,
                Some(Reason::Preempted) => self.tally.preempted += 1,
                _ => {}
            },
            (_, RoleName::Initialize) => {}
        }
        if to == RoleName::Active {
            self.nopreempt_never_preempts(n)?;
        }
        self.nodes[n].changed = now;
        if self.is_settled() && !self.nodes[n].mute {
            return Err(format!(
                "settled, and node {n} goes from {from:?} to {to:?}"
            ));
        }
        Ok(())
    }

    /// (a) Whoever takes over because the router it followed fell silent finds its lease over,
    /// whatever became of it, if it heard the last advertisement that one sent.
    fn never_two_through_silence(&mut self, n: usize, followed: Option<IpAddr>) -> Checked {
        let Some(peer) = self
            .nodes
            .iter()
            .position(|node| Some(node.address) == followed)
        else {
            return Err(format!("node {n} misses somebody it never followed"));
        };
        if self.nodes[n].arrived[peer] != self.nodes[peer].sent {
            return Ok(());
        }
        self.tally.lease_checked += 1;
        let kernel = &self.nodes[peer].kernel;
        if kernel.answers(self.now) {
            return Err(format!(
                "node {n} takes over from silent node {peer}, whose lease lasts until {}",
                self.at(kernel.lease_until)
            ));
        }
        Ok(())
    }

    /// (d) A Backup that does not preempt stays one while the only Active router lives, is heard,
    /// and has been Active since before the other was Backup.
    fn nopreempt_never_preempts(&mut self, n: usize) -> Checked {
        let now = self.now;
        let node = &self.nodes[n];
        let backup_since = node.changed;
        if node.config.preempt || self.loss > 0 || node.touched > backup_since {
            return Ok(());
        }
        let mut others = Vec::new();
        for (other, peer) in self.nodes.iter().enumerate() {
            if other == n || !self.connected(n, other) {
                continue;
            }
            if peer.role() == Some(RoleName::Active) || peer.changed > backup_since {
                others.push(other);
            }
        }
        let [active] = others[..] else {
            return Ok(());
        };
        let peer = &self.nodes[active];
        let beat = peer.config.interval.duration() + 2 * self.delay;
        let heard_in_time = beat < 3 * node.config.interval.duration();
        let undisturbed = peer.touched.max(peer.changed) + beat < backup_since;
        if heard_in_time && undisturbed && peer.lives(now) && !peer.mute && !peer.leaves() {
            return Err(format!(
                "node {n} must not preempt, and takes over from node {active}, which lives"
            ));
        }
        self.tally.nopreempt_checked += 1;
        Ok(())
    }

    /// (c) From the resignation on somebody accepts traffic at every instant, when a Backup that
    /// follows is there to take over and nothing is lost.
    fn watch_stop(&mut self, n: usize, settled: bool) {
        let now = self.now;
        let node = &self.nodes[n];
        let successor = (0..self.nodes.len()).any(|other| {
            let peer = &self.nodes[other];
            other != n
                && self.connected(n, other)
                && peer.lives(now)
                && !peer.mute
                && !peer.addresses_fail
                && peer.role() == Some(RoleName::Backup)
        });
        if settled
            && successor
            && node.lives(now)
            && !node.mute
            && node.kernel.answers(now)
            && node.role() == Some(RoleName::Active)
        {
            self.tally.stops_watched += 1;
            let until = now
                + 2 * unit(&node.config)
                + node.config.interval.duration()
                + 2 * self.delay
                + HANDOVER;
            self.watch = Some(Watch {
                node: n,
                until,
                covered_until: node.kernel.lease_until,
            });
        }
    }

    fn check_coverage(&mut self, next: Instant) -> Checked {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        if watch.covered_until < next.min(watch.until) {
            return Err(format!(
                "nobody accepts traffic from {} on while node {} stops",
                self.at(watch.covered_until),
                watch.node
            ));
        }
        if next >= watch.until {
            self.watch = None;
        }
        Ok(())
    }

    /// Long enough without a fault for every timer to have run, one after the other.
    fn settling_time(&self) -> Duration {
        let delay = self.nodes.iter().map(|node| node.config.preempt_delay);
        let unit = self.nodes.iter().map(|node| unit(&node.config)).max();
        9 * self.longest + 3 * unit.unwrap_or_default() + delay.max().unwrap_or_default()
    }

    fn is_settled(&self) -> bool {
        self.loss == 0 && self.now.since(self.disturbed) > self.settling_time()
    }

    fn check_all(&mut self) -> Checked {
        if let Some(watch) = &self.watch {
            let node = watch.node;
            let covered = (0..self.nodes.len())
                .filter(|n| self.connected(*n, node))
                .map(|n| self.nodes[n].kernel.accepts_until())
                .max();
            if let (Some(watch), Some(covered)) = (&mut self.watch, covered) {
                watch.covered_until = covered;
            }
        }
        self.check_silence()?;
        self.check_two()?;
        if self.is_settled() {
            self.tally.settled += 1;
            self.check_settled()?;
        }
        Ok(())
    }

    /// (b) A Backup that hears nothing takes over within its Active_Down_Interval, and within its
    /// Skew_Time after the router it follows resigned.
    fn check_silence(&self) -> Checked {
        let now = self.now;
        for (n, node) in self.nodes.iter().enumerate() {
            if !node.lives(now)
                || node.mute
                || node.frozen_until == now
                || node.role() != Some(RoleName::Backup)
            {
                continue;
            }
            let Config {
                version, priority, ..
            } = node.config;
            let down = active_down_interval(version, priority, node.slowest);
            let awake_since = node.quiet_since;
            // A router that slept gives what may lie unread one skew more.
            let grace = node.frozen_until + skew_time(version, priority, node.slowest);
            if now > (awake_since + down).max(grace) + EPSILON {
                return Err(format!(
                    "node {n} has heard nothing since {} and is still Backup",
                    self.at(awake_since)
                ));
            }
            if let Some(due) = node.resignation_due
                && now > due.max(grace) + EPSILON
            {
                return Err(format!(
                    "node {n} should have followed the resignation at {}",
                    self.at(due)
                ));
            }
        }
        Ok(())
    }

    /// (a) Two that answer and can hear each other settle it within an interval and two delays.
    fn check_two(&mut self) -> Checked {
        let now = self.now;
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let knows = |n: usize| {
                    let node = &self.nodes[n];
                    node.kernel.answers(now) && node.lives(now) && !node.mute
                };
                let both = self.loss == 0 && self.connected(a, b) && knows(a) && knows(b);
                if !both {
                    self.both_since[a][b] = None;
                    continue;
                }
                let since = *self.both_since[a][b].get_or_insert_with(|| {
                    self.tally.dual += 1;
                    now
                });
                let (mine, theirs) = (&self.nodes[a].config, &self.nodes[b].config);
                let bound = mine.interval.max(theirs.interval).duration() + 2 * self.delay;
                if now.since(since) > bound + EPSILON {
                    return Err(format!(
                        "nodes {a} and {b} both answer since {}",
                        self.at(since)
                    ));
                }
            }
        }
        Ok(())
    }

    /// (a, d) Settled: exactly one Active in each part that has a router fit for it, the highest
    /// where preemption holds, and nobody else answers.
    fn check_settled(&self) -> Checked {
        let now = self.now;
        for part in [false, true] {
            let (mut active, mut answer, mut wanted) = (0, 0, 0);
            let mut everybody_preempts = true;
            let (mut highest, mut chosen) = (None, None);
            for (n, node) in self.nodes.iter().enumerate() {
                if self.part[n] != part || !node.link {
                    continue;
                }
                answer += usize::from(node.kernel.answers(now));
                if !node.lives(now) {
                    continue;
                }
                everybody_preempts &= node.config.preempt;
                if node.role() == Some(RoleName::Active) {
                    active += 1;
                    chosen = Some(node.config.priority);
                    let deceived = |believes: &Vec<usize>| {
                        (0..self.nodes.len())
                            .find(|client| self.part[*client] == part && believes[*client] != n)
                    };
                    if let Some(client) = self.believes.as_ref().and_then(deceived) {
                        return Err(format!(
                            "settled, and the client beside node {client} does not know of {n}"
                        ));
                    }
                }
                if !node.mute {
                    wanted = 1;
                    highest = highest.max(Some(node.config.priority));
                }
            }
            if active != wanted || answer != wanted {
                return Err(format!(
                    "settled, and {active} are Active and {answer} answer instead of {wanted}"
                ));
            }
            if everybody_preempts && chosen != highest {
                return Err(format!(
                    "settled, and the Active has priority {chosen:?} instead of {highest:?}"
                ));
            }
        }
        Ok(())
    }
}

fn link_state(node: &Node) -> LinkState {
    if node.link {
        LinkState::Up {
            local: node.address,
        }
    } else {
        LinkState::Down
    }
}

/// The longest skew.
fn unit(config: &Config) -> Duration {
    match config.version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => config.interval.duration(),
    }
}
