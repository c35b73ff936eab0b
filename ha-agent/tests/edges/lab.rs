//! Network namespaces without a name: the kernel removes one, and what is in it, when its last
//! thread and descriptor are gone, however a test ends.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ha_agent::sys::link_address;
use ha_common::net::{self, Ip};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use socket2::{Domain, Socket, Type};

/// How long something may take that should happen at once, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long is waited for something that should not happen.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// A network namespace with a thread in it, so that devices can be moved there.
pub(crate) struct Namespace {
    fd: OwnedFd,
    tid: i32,
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            // SAFETY: a new network namespace leaves this thread's descriptors as they are.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            let fd = OwnedFd::from(fs::File::open("/proc/thread-self/ns/net").unwrap());
            let tid = rustix::thread::gettid().as_raw_nonzero().get();
            ready.send((fd, tid)).unwrap();
            let _ = stopped.recv();
        });
        let (fd, tid) = is_ready.recv().expect("a network namespace needs root");
        let namespace = Self {
            fd,
            tid,
            thread: Some((stop, thread)),
        };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `inside` on a thread in the namespace.
    pub(crate) fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(
                    self.fd.as_fd(),
                    Some(LinkNameSpaceType::Network),
                )
                .unwrap();
                inside()
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs an asynchronous test in the namespace.
    pub(crate) fn block_on<T: Send>(&self, inside: impl AsyncFnOnce() -> T + Send) -> T {
        self.enter(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(inside())
        })
    }

    /// Runs a command in the namespace; its output.
    pub(crate) fn run(&self, command: &str) -> String {
        self.enter(|| run(command))
    }

    /// `ip` with these arguments.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        self.run(&format!("ip {arguments}"))
    }

    /// Writes a sysctl, by its path below `/proc/sys`.
    pub(crate) fn sysctl(&self, path: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/{path}"), value).unwrap());
    }

    pub(crate) fn ifindex(&self, ifname: &str) -> u32 {
        self.enter(|| rustix::net::netdevice::name_to_index(probe(), ifname).unwrap())
    }

    /// The MAC address of an interface.
    pub(crate) fn mac(&self, ifname: &str) -> [u8; 6] {
        let line = self.ip(&format!("-br link show dev {ifname}"));
        let text = line.split_whitespace().nth(2).unwrap();
        let bytes: Vec<u8> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        bytes.try_into().unwrap()
    }

    /// The link-local IPv6 address of an interface.
    pub(crate) fn link_local(&self, ifname: &str) -> IpAddr {
        let lines = self.ip(&format!("-6 -o addr show dev {ifname} scope link"));
        let prefix = lines.split_whitespace().nth(3).unwrap();
        prefix.split('/').next().unwrap().parse().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn probe() -> Socket {
    Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap()
}

/// Runs a command in the namespace of the calling thread; its output.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Two nodes on a cable: `eth0` here (10.0.0.2/24, 2001:db8::2/64) and `eth0` there
/// (10.0.0.3/24, 2001:db8::3/64), without duplicate address detection.
pub(crate) struct Pair {
    pub(crate) here: Namespace,
    pub(crate) there: Namespace,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let here = Namespace::new();
        let there = Namespace::new();
        for node in [&here, &there] {
            node.sysctl("net/ipv6/conf/default/accept_dad", "0");
            node.sysctl("net/ipv6/conf/default/router_solicitations", "0");
        }
        here.ip(&format!(
            "link add eth0 type veth peer name eth0 netns {}",
            there.tid
        ));
        for (node, last) in [(&here, 2), (&there, 3)] {
            node.ip(&format!("addr add 10.0.0.{last}/24 dev eth0"));
            node.ip(&format!("addr add 2001:db8::{last}/64 dev eth0 nodad"));
            node.ip("link set eth0 up");
        }
        // The link-local addresses come with the carrier.
        for node in [&here, &there] {
            eventually("a link-local address", || {
                let addresses = node.ip("-6 -o addr show dev eth0 scope link");
                !addresses.is_empty() && !addresses.contains("tentative")
            });
        }
        Self { here, there }
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < end, "no {what} within {SOON:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What arrives on an interface.
pub(crate) struct Tap {
    socket: Socket,
    ifindex: u32,
}

impl Tap {
    pub(crate) fn open(node: &Namespace, ifname: &str) -> Self {
        let ifindex = node.ifindex(ifname);
        node.enter(|| {
            let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
            ha_agent::sys::ignore_outgoing(&socket).unwrap();
            socket
                .bind(&link_address(ifindex, libc::ETH_P_ALL as u16, [0; 6]))
                .unwrap();
            Self { socket, ifindex }
        })
    }

    /// Sends a frame as it is.
    pub(crate) fn inject(&self, frame: &[u8]) {
        let address = link_address(self.ifindex, 0, [0; 6]);
        self.socket.send_to(frame, &address).unwrap();
    }

    /// The next frame that `wanted` accepts, within `limit`.
    pub(crate) fn next(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        let mut buffer = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            match rustix::net::recv(
                &self.socket,
                &mut buffer[..],
                rustix::net::RecvFlags::empty(),
            ) {
                Ok((len, _)) if wanted(&buffer[..len]) => return Some(buffer[..len].to_vec()),
                Ok(_) => {}
                Err(e) => {
                    let kind = io::Error::from(e).kind();
                    assert_eq!(kind, io::ErrorKind::WouldBlock, "{e}");
                }
            }
        }
    }
}

/// The IP header of a frame, extension headers skipped.
pub(crate) fn ip(frame: &[u8]) -> Option<Ip> {
    let link = net::link(frame)?;
    match link.ethertype {
        net::ETHERTYPE_IPV4 => net::ipv4(frame, link.payload),
        net::ETHERTYPE_IPV6 => net::upper_layer(frame, net::ipv6(frame, link.payload)?),
        _ => None,
    }
}

/// A frame that carries a VRRP message.
pub(crate) fn is_vrrp(frame: &[u8]) -> bool {
    ip(frame).is_some_and(|ip| ip.protocol == ha_common::vrrp::IPPROTO_VRRP)
}
