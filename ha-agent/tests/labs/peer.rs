//! The agent beside a real keepalived, in both roles and every dialect.

use std::net::IpAddr;
use std::time::Duration;

use xtask::lab::{
    Daemon, Echo, Instance, Lab, Node, Probe, Router, VIP4, VIP6, Wire, now_ns, wait_until, who_has,
};

use crate::pair::{INTERVAL, LIMIT, binary, v3};

struct Mixed {
    a: Router,
    _b: Router,
    probe: Probe,
    wire: Wire,
    _echoes: Vec<Echo>,
    lab: Lab,
    address: IpAddr,
    limit: Duration,
}

impl Mixed {
    /// Router a with priority 200 is one daemon, b with 100 the other.
    fn start(
        agent_is_a: bool,
        address: IpAddr,
        instance: impl Fn(u8, &Node, &Node) -> Instance,
    ) -> Self {
        let lab = Lab::pair().unwrap();
        let agent = Daemon::Agent(binary().to_owned());
        let (of_a, of_b) = match agent_is_a {
            true => (&agent, &Daemon::Keepalived),
            false => (&Daemon::Keepalived, &agent),
        };
        let low = instance(100, lab.b(), lab.a());
        let this = Self {
            wire: lab.wire().unwrap(),
            _echoes: lab.serve(address).unwrap(),
            probe: Probe::start(lab.client(), address).unwrap(),
            _b: Router::start(of_b, lab.b(), std::slice::from_ref(&low)).unwrap(),
            a: Router::start(of_a, lab.a(), &[instance(200, lab.a(), lab.b())]).unwrap(),
            lab,
            address,
            limit: low.down_interval() + LIMIT,
        };
        this.settled(this.lab.a(), this.lab.b());
        this
    }

    /// Waits until this router alone serves.
    #[track_caller]
    fn settled(&self, owner: &Node, other: &Node) {
        let what = format!("router {} alone to serve", owner.name);
        wait_until(&what, self.limit, || {
            self.probe.owner() == Some(owner.id)
                && owner.holds(self.address)
                && !other.holds(self.address)
        })
        .unwrap();
        if let IpAddr::V4(address) = self.address {
            let answers = who_has(self.lab.client(), address, Duration::from_millis(60)).unwrap();
            assert_eq!(answers, [owner.mac()], "one owner");
        }
    }

    /// The cable of a is cut and restored, then its daemon stopped and started.
    #[track_caller]
    fn takeover_and_return(&mut self) {
        let (a, b) = (self.lab.a(), self.lab.b());
        let cut_ns = now_ns();
        self.lab.cut_cable(a).unwrap();
        wait_until("b to serve", self.limit, || {
            self.probe.owner() == Some(b.id)
        })
        .unwrap();
        println!("cable cut: gap {:?}", self.probe.since(cut_ns).gap);
        let back_ns = now_ns();
        self.lab.restore_cable(a).unwrap();
        self.settled(a, b);
        println!("cable back: {} lost", self.probe.since(back_ns).lost);

        let stop_ns = now_ns();
        self.a.stop().unwrap();
        wait_until("b to serve", self.limit, || {
            self.probe.owner() == Some(b.id)
        })
        .unwrap();
        println!("stopped: gap {:?}", self.probe.since(stop_ns).gap);
        let resigned = self.wire.adverts("a", stop_ns);
        assert!(
            resigned.iter().any(|frame| frame.priority() == Some(0)),
            "a resigns: {resigned:?}"
        );
    }
}

fn multicast_v2(agent_is_a: bool) {
    Mixed::start(agent_is_a, VIP4.into(), |priority, _, _| {
        Instance::new(2, priority, Duration::from_secs(1))
    })
    .takeover_and_return();
}

fn unicast_v2_with_password(agent_is_a: bool) {
    Mixed::start(agent_is_a, VIP4.into(), |priority, own, peer| {
        Instance::new(2, priority, Duration::from_secs(1))
            .unicast(own.ipv4(), peer.ipv4())
            .password("secret")
    })
    .takeover_and_return();
}

fn multicast_v3(agent_is_a: bool) {
    Mixed::start(agent_is_a, VIP4.into(), |priority, _, _| v3(priority)).takeover_and_return();
}

fn ipv6_v3(agent_is_a: bool) {
    Mixed::start(agent_is_a, VIP6.into(), |priority, _, _| {
        v3(priority).ipv6()
    })
    .takeover_and_return();
}

macro_rules! both_roles {
    ($($above:ident $below:ident $lab:ident,)+) => {$(
        #[test]
        #[ignore = "needs root: network namespaces"]
        fn $above() {
            $lab(true);
        }

        #[test]
        #[ignore = "needs root: network namespaces"]
        fn $below() {
            $lab(false);
        }
    )+};
}

both_roles! {
    above_keepalived_by_v2_multicast below_keepalived_by_v2_multicast multicast_v2,
    above_keepalived_by_v2_unicast_with_password below_keepalived_by_v2_unicast_with_password unicast_v2_with_password,
    above_keepalived_by_v3 below_keepalived_by_v3 multicast_v3,
    above_keepalived_by_v3_on_ipv6 below_keepalived_by_v3_on_ipv6 ipv6_v3,
}

#[test]
#[ignore = "needs root: network namespaces"]
fn keepalived_takes_over_from_a_killed_agent_and_there_is_one_owner() {
    let mixed = Mixed::start(true, VIP4.into(), |priority, _, _| v3(priority));
    let Router::Agent(agent) = &mixed.a else {
        unreachable!("a is the agent")
    };
    agent.process.signal(xtask::lab::Signal::KILL).unwrap();
    wait_until("b to serve", LIMIT, || {
        mixed.probe.owner() == Some(mixed.lab.b().id)
    })
    .unwrap();
    std::thread::sleep(INTERVAL);
    let answers = who_has(mixed.lab.client(), VIP4, Duration::from_millis(60)).unwrap();
    assert_eq!(answers, [mixed.lab.b().mac()]);
}
