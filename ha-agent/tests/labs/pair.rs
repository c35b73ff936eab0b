//! What the labs have in common: two agents, a client, somebody who listens.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xtask::lab::{
    Agent, Echo, Instance, Lab, Node, Probe, Report, Settings, VIP4, Wire, now_ns, wait_until,
    who_has,
};

/// How long anything may take that should take a moment.
pub(crate) const LIMIT: Duration = Duration::from_secs(8);
/// Advertisement_Interval of most labs.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// What a loaded machine may add to a time. Generous: times are for the bench, a test asks whether
/// it happened at all.
pub(crate) const NOISE: Duration = Duration::from_millis(500);
/// Probes that a stall of the machine may cost where the agents cost none; an interruption by the
/// protocol costs 60 at least.
pub(crate) const STALL: usize = 25;
/// Priority of router a.
pub(crate) const HIGH: u8 = 200;
/// Priority of router b.
pub(crate) const LOW: u8 = 100;
/// Name of the instance.
pub(crate) const VI: &str = "VI_1";

/// The agent under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ha-agent"))
}

/// VRRPv3 every 100 ms.
pub(crate) fn v3(priority: u8) -> Instance {
    Instance::new(3, priority, INTERVAL)
}

/// Labs that measure run one at a time: two cores carry one honest experiment.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two agents of which a serves. Fields are dropped in their order.
pub(crate) struct Pair {
    pub(crate) a: Agent,
    pub(crate) b: Agent,
    pub(crate) probe: Probe,
    pub(crate) wire: Wire,
    pub(crate) address: IpAddr,
    pub(crate) settings: Settings,
    _echoes: Vec<Echo>,
    pub(crate) lab: Lab,
}

impl Pair {
    /// A pair with default settings and VRRPv3 every 100 ms.
    pub(crate) fn start() -> Self {
        Self::with(&Settings::default(), v3)
    }

    /// A pair with these settings and instances by priority.
    pub(crate) fn with(settings: &Settings, instance: impl Fn(u8) -> Instance) -> Self {
        Self::serving(VIP4.into(), settings, instance)
    }

    /// A pair whose client asks this address.
    pub(crate) fn serving(
        address: IpAddr,
        settings: &Settings,
        instance: impl Fn(u8) -> Instance,
    ) -> Self {
        let lab = Lab::pair().unwrap();
        let echoes = lab.serve(address).unwrap();
        let wire = lab.wire().unwrap();
        let probe = Probe::start(lab.client(), address).unwrap();
        let agent = |node: &Node, priority| {
            Agent::start_with(binary(), node, settings, &[instance(priority)]).unwrap()
        };
        // a first: without preemption it has to be there before b.
        let a = agent(lab.a(), HIGH);
        a.wait_for(VI, "Active", LIMIT).unwrap();
        let b = agent(lab.b(), LOW);
        b.wait_for(VI, "Backup", LIMIT).unwrap();
        let this = Self {
            a,
            b,
            probe,
            wire,
            address,
            settings: settings.clone(),
            _echoes: echoes,
            lab,
        };
        this.served_by(this.lab.a());
        this.heard();
        this
    }

    /// Waits until the client is served by this router.
    #[track_caller]
    pub(crate) fn served_by(&self, router: &Node) {
        let what = format!("router {} to serve the client", router.name);
        wait_until(&what, LIMIT, || self.probe.owner() == Some(router.id)).unwrap();
    }

    /// Waits until b has heard an advertisement of a that it did not have to be woken for.
    fn heard(&self) {
        let from_ns = now_ns();
        wait_until("two adverts of a", LIMIT, || {
            self.wire.adverts("a", from_ns).len() >= 2
        })
        .unwrap();
    }

    /// What the client saw since this time, once every answer had the time to come.
    pub(crate) fn report(&self, from_ns: u64) -> Report {
        std::thread::sleep(Duration::from_millis(150));
        self.probe.since(from_ns)
    }

    /// Starts router a again after its end.
    pub(crate) fn restart_a(&mut self, instance: &Instance) {
        self.a.process.wait(LIMIT).unwrap();
        let node = self.lab.a();
        self.a = Agent::start_with(
            binary(),
            node,
            &self.settings,
            std::slice::from_ref(instance),
        )
        .unwrap();
    }

    /// The one router that answers for the address; panics if there are two.
    #[track_caller]
    pub(crate) fn only_owner(&self) -> u8 {
        let IpAddr::V4(address) = self.address else {
            panic!("ARP is for IPv4")
        };
        let answers = who_has(self.lab.client(), address, Duration::from_millis(60)).unwrap();
        assert_eq!(answers.len(), 1, "one owner, not {answers:?}");
        answers[0][5]
    }

    /// How often each router has become Active.
    pub(crate) fn transitions(&self) -> (u64, u64) {
        let of = |agent: &Agent| {
            agent.instance(VI).unwrap()["became_active"]
                .as_u64()
                .unwrap()
        };
        (of(&self.a), of(&self.b))
    }
}

/// Time between the last advertisement of router a before `event_ns` and the first of b after.
pub(crate) fn silence(wire: &Wire, event_ns: u64) -> Duration {
    let last = wire.adverts("a", 0);
    let last = last.iter().rev().find(|frame| frame.at_ns < event_ns);
    let last_ns = last.expect("a advertised before the event").at_ns;
    let first = wire.adverts("b", event_ns);
    let first_ns = first.first().expect("b advertises after the event").at_ns;
    Duration::from_nanos(first_ns - last_ns)
}
