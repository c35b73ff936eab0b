//! `xdp = "off"` and `"generic"`: what works without a native program.

use xtask::lab::{Settings, Signal, now_ns, wait_until};

use crate::pair::{LIMIT, LOW, NOISE, Pair, STALL, VI, alone, silence, v3};

fn settings(xdp: &str) -> Settings {
    Settings {
        xdp: xdp.to_owned(),
        ..Settings::default()
    }
}

/// Cable, return and graceful stop.
fn fails_over(pair: &mut Pair) {
    let cut_ns = now_ns();
    pair.lab.cut_cable(pair.lab.a()).unwrap();
    let happened_ns = now_ns();
    pair.served_by(pair.lab.b());
    let silence = silence(&pair.wire, happened_ns);
    println!(
        "cable cut: silence {silence:?}, gap {:?}",
        pair.report(cut_ns).gap
    );
    assert!(silence <= v3(LOW).down_interval() + NOISE, "{silence:?}");
    pair.lab.restore_cable(pair.lab.a()).unwrap();
    pair.served_by(pair.lab.a());
    // Without a fence both answer until b has taken the address off.
    wait_until("b to let go", LIMIT, || !pair.lab.b().holds(pair.address)).unwrap();
    assert_eq!(pair.only_owner(), pair.lab.a().id);
    let stop_ns = now_ns();
    pair.a.process.signal(Signal::TERM).unwrap();
    pair.served_by(pair.lab.b());
    pair.a.process.wait(LIMIT).unwrap();
    let report = pair.report(stop_ns);
    println!("SIGTERM: {} lost, gap {:?}", report.lost, report.gap);
    assert!(report.lost <= STALL, "{report:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_pair_without_a_program_elects_all_the_same() {
    let _turn = alone();
    let mut pair = Pair::with(&settings("off"), v3);
    assert_eq!(pair.lab.a().xdp().unwrap(), None);
    assert_eq!(pair.a.instance(VI).unwrap()["xdp"], "off");
    fails_over(&mut pair);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_pair_with_the_generic_program_fails_over() {
    let _turn = alone();
    let mut pair = Pair::with(&settings("generic"), v3);
    assert_eq!(pair.lab.a().xdp().unwrap().map(|(_, mode)| mode), Some(2));
    fails_over(&mut pair);
}
