//! A network in a box: routers, a client and a switch, each a network namespace.
//!
//! ```text
//!   router a        router b       router c          client
//!   10.77.0.1       10.77.0.2      10.77.0.3         10.77.0.9
//!   fd77::1         fd77::2        fd77::3           fd77::9
//!     eth0            eth0           eth0              eth0
//!      │ a             │ b            │ c               │ client
//!   ═══╧═══════════════╧══════════════╧═════════════════╧═══  bridge, in a namespace of its own
//! ```
//!
//! Everything has a name made of our process id and a counter, so that labs run side by side,
//! and everything goes with the [`Lab`]: on return, on panic, and on a signal (`cleanup`).

mod agent;
mod attack;
mod cable;
mod cleanup;
mod clock;
mod daemon;
mod echo;
mod experiment;
mod foreign;
mod instance;
mod keepalived;
mod measure;
mod netns;
mod node;
mod packet;
mod probe;
mod process;
#[cfg(test)]
mod tests;
mod who_has;
mod wire;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

pub use agent::{Agent, Settings};
pub use attack::{Flood, Forged, Spoil};
pub use clock::{ms, now_ns, stays, wait_until};
pub use daemon::{Daemon, Router};
pub use echo::Echo;
pub use experiment::{ACTIVE, BACKUP, Event, Experiment, Profile, Watch};
pub use foreign::{attach_foreign, detach_foreign};
pub use instance::Instance;
pub use keepalived::Keepalived;
pub use measure::{Measured, measure, table};
pub use netns::Netns;
pub use node::{INTERFACE, Mac, Node};
pub use packet::PacketSocket;
pub use probe::{PERIOD, Probe, Report, Served};
pub use process::{Process, Signal};
pub use who_has::{claims, who_has};
pub use wire::{Frame, Says, Wire};

use cleanup::Thing;

/// The virtual IPv4 address of most labs.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The virtual IPv6 address of most labs.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);

/// Beginning of every name; the process id follows.
const PREFIX: &str = "hal";
/// Where BPF objects are pinned.
const BPFFS: &str = "/sys/fs/bpf";
/// The bridge in the switch's namespace.
const BRIDGE: &str = "br0";

/// Routers a and b, perhaps c, a client, and the switch between them.
#[derive(Debug)]
pub struct Lab {
    // Nodes before the switch: the processes in them end first.
    routers: Vec<Node>,
    client: Node,
    switch: Netns,
    folders: Folders,
}

impl Lab {
    /// A lab with two routers.
    pub fn pair() -> Result<Self> {
        Self::with_routers(&["a", "b"], None)
    }

    /// A lab with three routers.
    pub fn trio() -> Result<Self> {
        Self::with_routers(&["a", "b", "c"], None)
    }

    /// A lab with two routers and a name of its own, for `demo`: it may outlive us.
    pub fn named(name: &str) -> Result<Self> {
        Self::with_routers(&["a", "b"], Some(name))
    }

    fn with_routers(names: &[&'static str], name: Option<&str>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_orphans();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = name.map_or_else(
            || format!("{PREFIX}{}-{count}", std::process::id()),
            str::to_owned,
        );
        let folders = Folders::create(&name)?;
        let switch = Netns::create(&format!("{name}-sw"))?;
        switch.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        switch.batch(&format!(
            "link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set {BRIDGE} up\n"
        ))?;
        let node = |node: &'static str, id| folders.node(&name, &switch, node, id);
        let routers = names
            .iter()
            .zip(1..)
            .map(|(router, id)| node(router, id))
            .collect::<Result<_>>()?;
        let client = node("client", 9)?;
        Ok(Self {
            routers,
            client,
            switch,
            folders,
        })
    }

    /// The first router.
    pub fn a(&self) -> &Node {
        &self.routers[0]
    }

    /// The second router.
    pub fn b(&self) -> &Node {
        &self.routers[1]
    }

    /// The third router of a [`Lab::trio`].
    pub fn c(&self) -> &Node {
        &self.routers[2]
    }

    /// All routers.
    pub fn routers(&self) -> &[Node] {
        &self.routers
    }

    /// The client.
    pub fn client(&self) -> &Node {
        &self.client
    }

    /// The switch's namespace; its ports carry the hosts' names.
    pub fn switch(&self) -> &Netns {
        &self.switch
    }

    /// A folder removed with the lab.
    pub fn folder(&self) -> &Path {
        &self.folders.files
    }

    /// Serves echoes for `address` on every router.
    pub fn serve(&self, address: IpAddr) -> Result<Vec<Echo>> {
        self.routers
            .iter()
            .map(|router| Echo::start(router, address))
            .collect()
    }

    /// Listens to what the routers say.
    pub fn wire(&self) -> Result<Wire> {
        let ports: Vec<&'static str> = self.routers.iter().map(|router| router.name).collect();
        Wire::listen(&self.switch, &ports)
    }

    /// Leaves everything where it is when the value is dropped, for a person to look at.
    pub fn keep(self) {
        for netns in self
            .routers
            .iter()
            .chain([&self.client])
            .map(|node| &node.netns)
        {
            netns.keep();
        }
        self.switch.keep();
        self.folders.keep();
    }
}

/// The folders of a lab: files in the temporary directory, pins below the BPF file system.
#[derive(Debug)]
struct Folders {
    files: PathBuf,
    pins: Vec<PathBuf>,
}

impl Folders {
    fn create(name: &str) -> Result<Self> {
        let files = std::env::temp_dir().join(name);
        let pins: Vec<PathBuf> = ["a", "b", "c"]
            .iter()
            .map(|node| Path::new(BPFFS).join(format!("{name}-{node}")))
            .collect();
        for folder in pins.iter().chain([&files]) {
            cleanup::remember(Thing::Folder(folder.clone()));
        }
        fs::create_dir(&files).with_context(|| format!("make {}", files.display()))?;
        Ok(Self { files, pins })
    }

    fn node(&self, lab: &str, switch: &Netns, name: &'static str, id: u8) -> Result<Node> {
        let folder = self.files.join(name);
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        let netns = Netns::create(&format!("{lab}-{name}"))?;
        let pins = Path::new(BPFFS).join(format!("{lab}-{name}"));
        let node = Node {
            name,
            id,
            netns,
            folder,
            pins,
        };
        connect(&node, switch)?;
        Ok(node)
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.pins.iter().chain([&self.files])
    }

    fn keep(&self) {
        self.all()
            .for_each(|folder| cleanup::forget(&Thing::Folder(folder.clone())));
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for folder in self.all() {
            let thing = Thing::Folder(folder.clone());
            if cleanup::is_left(&thing) {
                let _ = fs::remove_dir_all(folder);
                cleanup::forget(&thing);
            }
        }
    }
}

/// Gives a node its interface and addresses and plugs it in.
fn connect(node: &Node, switch: &Netns) -> Result<()> {
    // Duplicate address detection would delay every address by a second or two.
    for scope in ["all", "default"] {
        node.netns
            .sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
        node.netns
            .sysctl(&format!("ipv6/conf/{scope}/addr_gen_mode"), "1")?;
    }
    plug_in(node, switch)
}

/// Makes `eth0` of a node and its port on the switch.
fn plug_in(node: &Node, switch: &Netns) -> Result<()> {
    let (name, mac) = (
        node.name,
        node.mac().map(|byte| format!("{byte:02x}")).join(":"),
    );
    node.netns.batch(&format!(
        "link add {INTERFACE} address {mac} type veth peer name {name} netns {}\n",
        switch.name()
    ))?;
    switch.batch(&format!(
        "link set dev {name} master {BRIDGE}\nlink set dev {name} up\n"
    ))?;
    node.netns.batch(&format!(
        "link set {INTERFACE} up\n\
         address add {}/24 dev {INTERFACE}\n\
         address add {}/64 dev {INTERFACE} nodad\n\
         address add {}/64 dev {INTERFACE} nodad\n",
        node.ipv4(),
        node.ipv6(),
        node.link_local()
    ))
}

/// Removes what a lab left whose process was killed too hard to clean up.
fn remove_orphans() {
    let dead = |name: &str| {
        name.strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok())
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    netns::named(PREFIX)
        .iter()
        .filter(|name| dead(name))
        .for_each(|name| netns::remove(name));
    for folder in [std::env::temp_dir(), BPFFS.into()] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(dead) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Whether a lab of that name was kept.
pub fn is_kept(name: &str) -> bool {
    !netns::named(&format!("{name}-")).is_empty() || std::env::temp_dir().join(name).exists()
}

/// Removes a lab that was kept: what runs in it, its namespaces, its folders. Returns how
/// many things there were.
pub fn remove_kept(name: &str) -> usize {
    let prefix = format!("{name}-");
    let namespaces = netns::named(&prefix);
    namespaces.iter().for_each(|name| netns::remove(name));
    let mut count = namespaces.len();
    for (folder, whole) in [
        (std::env::temp_dir(), name),
        (BPFFS.into(), prefix.as_str()),
    ] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_ours = entry
                .file_name()
                .to_str()
                .is_some_and(|file| file == whole || file.starts_with(&prefix));
            count += usize::from(is_ours && fs::remove_dir_all(entry.path()).is_ok());
        }
    }
    count
}
