//! What a failure costs a client, for either daemon: the experiment behind the numbers.
//!
//! One lab, router a with priority 200 and b with 100, a client that probes each millisecond.
//! Each event happens to a while it serves; afterwards it is undone and a serves again, so
//! that the next can follow.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::clock::{now_ns, wait_until};
use super::daemon::{Daemon, Router};
use super::echo::Echo;
use super::instance::Instance;
use super::measure::Measured;
use super::probe::Probe;
use super::process::Signal;
use super::who_has::who_has;
use super::{Lab, VIP4};

/// What happens to the serving router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM: a graceful stop; undone by a start.
    Stop,
    /// SIGKILL of all its processes; undone by a start.
    Kill,
    /// SIGSTOP of all its processes; undone by SIGCONT.
    Freeze,
    /// The cable is pulled.
    CutCable,
    /// The switch forwards nothing from or to it, the carrier stays.
    BlackHole,
    /// It is started after a stop: the higher priority returns.
    Return,
}

impl Event {
    /// All, in the order of a table.
    pub const ALL: [Self; 6] = [
        Self::Stop,
        Self::Kill,
        Self::Freeze,
        Self::CutCable,
        Self::BlackHole,
        Self::Return,
    ];

    /// How it is undone.
    pub fn undoing(self) -> &'static str {
        match self {
            Self::Stop | Self::Kill => "restart",
            Self::Freeze => "SIGCONT",
            Self::CutCable => "cable back",
            Self::BlackHole => "hole closed",
            Self::Return => "",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stop => "graceful stop (SIGTERM)",
            Self::Kill => "crash (SIGKILL)",
            Self::Freeze => "freeze (SIGSTOP)",
            Self::CutCable => "cable cut",
            Self::BlackHole => "silent black hole",
            Self::Return => "higher priority returns",
        })
    }
}

/// Version and interval of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// VRRP version.
    pub version: u8,
    /// Advertisement_Interval.
    pub interval: Duration,
}

impl Profile {
    /// The three that keepalived was measured with.
    pub const ALL: [Self; 3] = [
        Self {
            version: 2,
            interval: Duration::from_secs(1),
        },
        Self {
            version: 3,
            interval: Duration::from_millis(100),
        },
        Self {
            version: 3,
            interval: Duration::from_millis(10),
        },
    ];

    /// What the protocol lets a crash last: 3·adv + skew of the backup.
    pub fn limit(&self) -> Duration {
        self.instance(BACKUP).down_interval()
    }

    fn instance(&self, priority: u8) -> Instance {
        Instance::new(self.version, priority, self.interval)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "v{} {} ms",
            self.version,
            self.interval.as_millis()
        ))
    }
}

/// Priority of router a.
pub const ACTIVE: u8 = 200;
/// Priority of router b.
pub const BACKUP: u8 = 100;
/// Long enough for the last probes to be answered or lost, and for a second owner to show.
const CALM: Duration = Duration::from_millis(300);

/// A pair at work. Fields are dropped in their order: daemons before their namespaces.
#[derive(Debug)]
pub struct Experiment {
    daemon: Daemon,
    profile: Profile,
    /// The router with priority [`ACTIVE`].
    pub a: Router,
    /// The router with priority [`BACKUP`].
    pub b: Router,
    /// The client's view.
    pub probe: Probe,
    /// What is going on, for people.
    pub phase: String,
    _echoes: Vec<Echo>,
    /// The network.
    pub lab: Lab,
}

/// Is shown the experiment every few milliseconds while it waits.
pub type Watch<'a> = &'a mut dyn FnMut(&Experiment);

impl Experiment {
    /// Starts both routers and waits until a serves.
    pub fn start(lab: Lab, daemon: &Daemon, profile: Profile, watch: Watch<'_>) -> Result<Self> {
        let mut this = Self {
            daemon: daemon.clone(),
            profile,
            b: Router::start(daemon, lab.b(), &[profile.instance(BACKUP)])?,
            a: Router::start(daemon, lab.a(), &[profile.instance(ACTIVE)])?,
            probe: Probe::start(lab.client(), VIP4.into())?,
            phase: "both routers start".to_owned(),
            _echoes: lab.serve(VIP4.into())?,
            lab,
        };
        this.settle(watch)?;
        Ok(this)
    }

    /// Version and interval.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Lets an event happen once, measures it and undoes it.
    pub fn once(&mut self, event: Event, watch: Watch<'_>) -> Result<Measured> {
        let a = self.lab.a().id;
        let b = self.lab.b().id;
        if event == Event::Return {
            self.phase = "router a is stopped".to_owned();
            self.a.stop()?;
            self.wait_for_owner(b, watch)?;
        }
        self.pass(self.random_phase(), watch);
        self.phase = format!("router a: {event}");
        let from_ns = now_ns();
        self.happen(event)?;
        let to = if event == Event::Return { a } else { b };
        self.wait_for_owner(to, watch)?;
        self.pass(CALM, watch);
        let report = self.probe.since(from_ns);
        let owners = who_has(self.lab.client(), VIP4, Duration::from_millis(50))?.len();
        let undo_ns = now_ns();
        if event != Event::Return {
            self.phase = format!("router a: {}", event.undoing());
        }
        self.undo(event, watch)?;
        Ok(Measured {
            event,
            lost: report.lost,
            gap: report.gap,
            takeover: report.until_served_by(to, from_ns),
            owners,
            server: if to == a { "a" } else { "b" },
            lost_back: (event != Event::Return).then(|| self.probe.since(undo_ns).lost),
        })
    }

    /// Leaves the routers running and the network in place.
    pub fn keep(mut self) {
        self.a.process().keep();
        self.b.process().keep();
        self.lab.keep();
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Stop => self.a.stop(),
            Event::Kill => self.a.process().signal_tree(Signal::KILL),
            Event::Freeze => self.a.process().signal_tree(Signal::STOP),
            Event::CutCable => self.lab.cut_cable(self.lab.a()),
            Event::BlackHole => self.lab.black_hole(self.lab.a()),
            Event::Return => self.start_a(),
        }
    }

    fn undo(&mut self, event: Event, watch: Watch<'_>) -> Result<()> {
        match event {
            Event::Stop => self.start_a()?,
            Event::Kill => {
                // keepalived takes an address that is there already for its own and never
                // announces it.
                if matches!(self.daemon, Daemon::Keepalived) && self.lab.a().holds(VIP4.into()) {
                    self.lab.a().remove_address(&format!("{VIP4}/24"))?;
                }
                self.start_a()?;
            }
            Event::Freeze => self.a.process().signal_tree(Signal::CONT)?,
            Event::CutCable => self.lab.restore_cable(self.lab.a())?,
            Event::BlackHole => self.lab.end_black_hole(self.lab.a())?,
            Event::Return => {}
        }
        self.settle(watch)
    }

    fn start_a(&mut self) -> Result<()> {
        let patience = self.patience();
        self.a.process().wait(patience)?;
        self.a = Router::start(&self.daemon, self.lab.a(), &[self.profile.instance(ACTIVE)])?;
        Ok(())
    }

    /// Waits until a alone serves and has done so for a while.
    fn settle(&mut self, watch: Watch<'_>) -> Result<()> {
        let a = self.lab.a().id;
        for _ in 0..3 {
            self.wait_for_owner(a, watch)?;
            let from_ns = now_ns();
            self.pass(3 * self.profile.interval + CALM, watch);
            // On a loaded machine keepalived flaps at 10 ms; that is not what is measured.
            if self.probe.since(from_ns).owners() == [a] && !self.lab.b().holds(VIP4.into()) {
                return Ok(());
            }
        }
        bail!("router a does not come to rest{}", self.logs());
    }

    fn wait_for_owner(&mut self, id: u8, watch: Watch<'_>) -> Result<()> {
        let what = format!(
            "router {} to serve",
            if id == self.lab.a().id { "a" } else { "b" }
        );
        let served = wait_until(&what, self.patience(), || {
            watch(self);
            self.probe.owner() == Some(id)
        });
        served.or_else(|e| bail!("{e}{}", self.logs()))
    }

    /// Lets time pass; nothing is waited for.
    fn pass(&self, span: Duration, watch: Watch<'_>) {
        let end_ns = now_ns() + span.as_nanos() as u64;
        while now_ns() < end_ns {
            watch(self);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A part of the interval, another one each time, so that events do not keep step with
    /// adverts.
    fn random_phase(&self) -> Duration {
        self.profile.interval.mul_f64(now_ns() as f64 / 1e7 % 1.0)
    }

    fn patience(&self) -> Duration {
        3 * self.profile.limit() + Duration::from_secs(5)
    }

    fn logs(&mut self) -> String {
        format!(
            "\n---- a ----\n{}\n---- b ----\n{}",
            self.a.process().log(),
            self.b.process().log()
        )
    }

    /// Whether a router says, or shows, that it is Active.
    pub fn is_active(&self, which: char) -> bool {
        let (router, node) = if which == 'a' {
            (&self.a, self.lab.a())
        } else {
            (&self.b, self.lab.b())
        };
        router.is_active(node, &self.profile.instance(ACTIVE), IpAddr::V4(VIP4))
    }
}
