//! Links: attaching, taking over, refusing, leaving nothing behind.

use std::io::Write;
use std::path::Path;
use std::slice::from_ref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aya::programs::Xdp;
use ha_agent::dataplane::{Attachment, Dataplane, Error, Mode, Options, remove_pins};
use ha_common::maps::Role;

use crate::bench::{FOREVER, PinDir, chain, desired, enter_namespace, routers, run};
use crate::frames::{arp, ethernet};

const IFINDEX: u32 = 100;

/// A veth pair whose one end is `lan`.
fn veth() {
    run("ip link add lan index 100 type veth peer name far index 101");
    run("ip link set lan up");
    run("ip link set far up");
}

/// Mode (1 native, 2 generic) and program that `ip` sees on `interface`.
fn seen_by_ip(interface: &str) -> Option<(u64, u64)> {
    let text = run(&format!("ip -j link show {interface}"));
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    let xdp = links[0].get("xdp")?;
    Some((xdp["mode"].as_u64()?, xdp["prog"]["id"].as_u64()?))
}

fn open(pins: &PinDir) -> (Dataplane, ha_agent::dataplane::Fast) {
    Dataplane::open(&pins.options()).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn program_outlives_the_agent_and_its_successor_takes_the_link_over() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let (mut first, mut fast) = open(&pins);
    fast.set_instance(0, &routers(100)[1].instance);
    let attached = first.attach("lan", IFINDEX, Mode::Auto).unwrap();
    assert_eq!(attached.mode, Attachment::Native);
    assert_eq!(
        (attached.fallback_reason, attached.taken_over),
        (None, false)
    );
    let (mode, program) = seen_by_ip("lan").expect("a program");
    assert_eq!(mode, 1);

    // The agent dies.
    drop((first, fast));
    assert_eq!(seen_by_ip("lan"), Some((1, program)));

    let (mut second, fast) = open(&pins);
    let left = fast.instance(0).unwrap();
    assert_eq!((left.role, left.lease_until_ns), (Role::Active, FOREVER));
    let attached = second.attach("lan", IFINDEX, Mode::Auto).unwrap();
    assert!(attached.taken_over);
    assert_eq!(attached.mode, Attachment::Native);
    let (mode, successor) = seen_by_ip("lan").expect("a program");
    assert_eq!(mode, 1);
    assert_ne!(successor, program);

    // The same agent again: after a reload.
    assert!(
        second
            .attach("lan", IFINDEX, Mode::Auto)
            .unwrap()
            .taken_over
    );
    second.detach(IFINDEX).unwrap();
    assert_eq!(seen_by_ip("lan"), None);
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn no_frame_slips_through_while_the_program_is_swapped() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let mut backup = routers(100).remove(0);
    backup.instance.ifindex = IFINDEX;
    for address in &mut backup.addresses {
        address.ifindex = IFINDEX;
    }
    let open_configured = || {
        let (mut dataplane, mut fast) = open(&pins);
        fast.set_instance(0, &backup.instance);
        dataplane.apply(&desired(from_ref(&backup))).unwrap();
        dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap();
        (dataplane, fast)
    };
    let mut agent = Some(open_configured());

    let question = ethernet(&[], 0x0806, &arp(1, [192, 0, 2, 200], [192, 0, 2, 10]));
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        // In the namespace of the thread that starts it.
        let sender = scope.spawn(|| {
            let socket = raw_socket("far");
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                sent += u64::from((&socket).write(&question).unwrap() == question.len());
            }
            sent
        });
        for _ in 0..5 {
            drop(agent.take());
            agent = Some(open_configured());
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    // The receiving end may still be at it.
    std::thread::sleep(Duration::from_millis(100));
    let (dataplane, _fast) = agent.unwrap();
    let fenced = dataplane.counters().unwrap().fence_arp;
    println!("{sent} sent, {fenced} fenced");
    assert!(sent > 10_000);
    assert_eq!(fenced, sent);
}

/// A socket that sends whole frames out of `interface`.
fn raw_socket(interface: &str) -> std::fs::File {
    use std::os::fd::FromRawFd;
    let name = std::ffi::CString::new(interface).unwrap();
    // SAFETY: plain calls; the address is what bind(2) of AF_PACKET reads; the descriptor is new
    // and goes to its owner.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let len = size_of_val(&address) as u32;
        let done = libc::bind(fd, (&raw const address).cast(), len);
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        std::fs::File::from_raw_fd(fd)
    }
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn graceful_stop_leaves_nothing() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let (mut dataplane, _fast) = open(&pins);
    dataplane.attach("lan", IFINDEX, Mode::Native).unwrap();
    dataplane.unpin().unwrap();
    assert_eq!(seen_by_ip("lan"), None);
    assert!(!pins.0.exists());
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn cleanup_needs_no_program() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let (mut dataplane, fast) = open(&pins);
    dataplane.attach("lan", IFINDEX, Mode::Generic).unwrap();
    assert_eq!(seen_by_ip("lan").map(|(mode, _)| mode), Some(2));
    drop((dataplane, fast));
    // Twelve maps and a link.
    assert_eq!(remove_pins(&pins.0).unwrap(), 13);
    assert_eq!(seen_by_ip("lan"), None);
    assert!(!pins.0.exists());
    assert_eq!(remove_pins(&pins.0).unwrap(), 0);
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn generic_where_the_driver_cannot() {
    enter_namespace();
    run("ip link add lan index 100 type bridge");
    run("ip link set lan up");
    let pins = PinDir::new();
    let (mut dataplane, _fast) = open(&pins);
    let error = dataplane.attach("lan", IFINDEX, Mode::Native).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lan: cannot attach the XDP program in native mode: the driver has no native XDP"
    );
    let attached = dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap();
    assert_eq!(attached.mode, Attachment::Generic);
    let reason = attached.fallback_reason.unwrap();
    assert!(
        reason.starts_with("the driver has no native XDP"),
        "{reason}"
    );
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn another_mode_replaces_the_link() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let (mut dataplane, _fast) = open(&pins);
    for (mode, seen) in [(Mode::Native, 1), (Mode::Generic, 2), (Mode::Native, 1)] {
        let attached = dataplane.attach("lan", IFINDEX, mode).unwrap();
        assert!(!attached.taken_over);
        assert_eq!(seen_by_ip("lan").map(|(mode, _)| mode), Some(seen));
    }
    assert!(
        dataplane
            .attach("lan", IFINDEX, Mode::Auto)
            .unwrap()
            .taken_over
    );
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn interface_that_was_deleted_and_made_again_is_attached_afresh() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let (mut dataplane, fast) = open(&pins);
    dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap();
    drop((dataplane, fast));
    run("ip link del lan");
    veth();
    let (mut dataplane, _fast) = open(&pins);
    let attached = dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap();
    assert!(!attached.taken_over);
    assert!(seen_by_ip("lan").is_some());

    run("ip link del lan");
    let error = dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap_err();
    assert!(
        error.to_string().ends_with("there is no such interface"),
        "{error}"
    );
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn interface_that_left_the_configuration_is_detached() {
    enter_namespace();
    veth();
    let pins = PinDir::new();
    let (mut dataplane, fast) = open(&pins);
    dataplane.attach("lan", 100, Mode::Auto).unwrap();
    dataplane.attach("far", 101, Mode::Auto).unwrap();
    drop((dataplane, fast));
    let (mut dataplane, _fast) = open(&pins);
    dataplane.detach_others(&[101]).unwrap();
    assert_eq!(seen_by_ip("lan"), None);
    assert!(seen_by_ip("far").is_some());
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn program_of_somebody_else_is_refused_by_its_id() {
    enter_namespace();
    veth();
    let theirs = PinDir::new();
    let (mut other, _fast) = open(&theirs);
    other.attach("lan", IFINDEX, Mode::Native).unwrap();
    let (_, id) = seen_by_ip("lan").unwrap();

    let pins = PinDir::new();
    let (mut dataplane, _fast) = open(&pins);
    for mode in [Mode::Auto, Mode::Native, Mode::Generic] {
        let error = dataplane.attach("lan", IFINDEX, mode).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Foreign { .. }), "{text}");
        assert!(text.contains(&format!("(id {id}, ha_xdp)")), "{text}");
        assert!(text.contains("`bpftool link detach id "), "{text}");
    }
    assert_eq!(seen_by_ip("lan"), Some((1, id)), "theirs is left alone");

    // The fix that the message names works.
    let Error::Foreign { fix, .. } = dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap_err()
    else {
        panic!("another error");
    };
    run(&fix);
    dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap();
}

#[test]
#[ignore = "needs root: attaches an eBPF program"]
fn program_that_ip_attached_is_refused_with_the_command_that_removes_it() {
    enter_namespace();
    veth();
    let theirs = PinDir::new();
    let (mut other, _fast) = open(&theirs);
    let program: &mut Xdp = other.program().unwrap();
    let pin = theirs.map("foreign_program");
    program.pin(&pin).unwrap();
    run(&format!(
        "bpftool net attach xdpgeneric pinned {} dev lan",
        pin.display()
    ));

    let pins = PinDir::new();
    let (mut dataplane, _fast) = open(&pins);
    let error = dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap_err();
    let Error::Foreign { fix, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(fix, "ip link set dev lan xdpgeneric off");
    run(&fix);
    dataplane.attach("lan", IFINDEX, Mode::Auto).unwrap();
}

#[test]
#[ignore = "needs root: drops capabilities"]
fn missing_capability_is_named() {
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    for (kept, missing) in [
        (NET_ADMIN | PERFMON, "CAP_BPF"),
        (BPF | PERFMON | SYS_ADMIN, "CAP_NET_ADMIN"),
        (BPF | NET_ADMIN, "CAP_PERFMON"),
    ] {
        // Capabilities belong to a thread.
        let said = std::thread::spawn(move || {
            keep_capabilities(kept);
            let pins = PinDir::new();
            Dataplane::open(&pins.options())
                .err()
                .map(|error| error.to_string())
        });
        let said = said.join().unwrap().expect("an error");
        assert!(
            said.contains(&format!("the agent lacks {missing}:")),
            "{said}"
        );
    }
}

/// Leaves this thread with the effective capabilities `kept`.
fn keep_capabilities(kept: u64) {
    #[repr(C)]
    struct Header(u32, i32);
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header(VERSION_3, 0);
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    let data = [low, low, 0, high, high, 0];
    // SAFETY: header and data are what capset(2) of version 3 reads.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
#[ignore = "needs root: loads an eBPF program"]
fn place_without_bpf_filesystem_is_named() {
    let options = Options {
        pin_dir: Path::new("/tmp/ha-test-no-bpffs").to_owned(),
        ..Options::default()
    };
    let error = Dataplane::open(&options).err().expect("an error");
    assert!(
        error
            .to_string()
            .starts_with("/tmp/ha-test-no-bpffs is not on a BPF filesystem")
    );
    assert!(!options.pin_dir.exists());
}
