//! Attaching the program, and taking a pinned link over from a predecessor.

use std::fmt;
use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpError, XdpLink, XdpLinkId};
use aya::programs::{ProgramError, Xdp, XdpMode, loaded_links, loaded_programs};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{Dataplane, Error, entry, pins};

/// Which XDP mode to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Native; generic where the driver cannot.
    #[default]
    Auto,
    /// In the driver, before the kernel makes a packet of the frame.
    Native,
    /// In the network stack: works on every interface, costs more.
    Generic,
}

/// The XDP mode in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

impl Attachment {
    /// The word for it in configuration, status and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn flag(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }

    const fn serves(self, wanted: Mode) -> bool {
        match wanted {
            Mode::Auto => true,
            Mode::Native => matches!(self, Self::Native),
            Mode::Generic => matches!(self, Self::Generic),
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the program came to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The mode in use.
    pub mode: Attachment,
    /// Why it is generic although native was tried.
    pub fallback_reason: Option<String>,
    /// Whether the link of a predecessor was taken over, without a gap.
    pub taken_over: bool,
}

impl Dataplane {
    /// Attaches the program to an interface and pins the link; takes a pinned link over.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Attach`], [`Error::Query`], [`Error::Pin`].
    pub fn attach(
        &mut self,
        interface: &str,
        ifindex: u32,
        wanted: Mode,
    ) -> Result<Attached, Error> {
        if let Some(attached) = self.take_over(interface, ifindex, wanted)? {
            return Ok(attached);
        }
        let (first, may_fall_back) = match wanted {
            Mode::Auto => (Attachment::Native, true),
            Mode::Native => (Attachment::Native, false),
            Mode::Generic => (Attachment::Generic, false),
        };
        let (mode, fallback_reason) = match self.attach_anew(interface, ifindex, first) {
            Ok(()) => (first, None),
            Err(Error::Attach { source, hint, .. }) if may_fall_back => {
                self.attach_anew(interface, ifindex, Attachment::Generic)?;
                (Attachment::Generic, Some(format!("{hint} ({source})")))
            }
            Err(error) => return Err(error),
        };
        Ok(Attached {
            mode,
            fallback_reason,
            taken_over: false,
        })
    }

    /// Detaches the program from an interface, whose frames pass unjudged from here on.
    ///
    /// # Errors
    /// [`Error::Pin`].
    pub fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        pins::remove_link(&pins::link_path(&self.pin_dir, ifindex))?;
        self.links.remove(&ifindex);
        Ok(())
    }

    /// Detaches the program from every interface but those in `keep`: what a predecessor with
    /// another configuration left behind.
    ///
    /// # Errors
    /// [`Error::Pin`].
    pub fn detach_others(&mut self, keep: &[u32]) -> Result<(), Error> {
        for ifindex in pins::pinned_links(&self.pin_dir)? {
            if !keep.contains(&ifindex) {
                self.detach(ifindex)?;
            }
        }
        Ok(())
    }

    /// Detaches the program everywhere and removes every pin: a graceful stop.
    ///
    /// # Errors
    /// [`Error::Pin`].
    pub fn unpin(mut self) -> Result<(), Error> {
        self.links.clear();
        pins::remove_pins(&self.pin_dir).map(|_| ())
    }

    /// Swaps the program on the link that a predecessor pinned. `None`: there is none to be had.
    fn take_over(
        &mut self,
        interface: &str,
        ifindex: u32,
        wanted: Mode,
    ) -> Result<Option<Attached>, Error> {
        let path = pins::link_path(&self.pin_dir, ifindex);
        let Some(link) = pinned_xdp_link(&path) else {
            // Nothing there, or nothing of use.
            self.detach(ifindex)?;
            return Ok(None);
        };
        let Some(mode) = attachment(interface, ifindex)?.filter(|mode| mode.serves(wanted)) else {
            // The interface is gone or new, or it is the other mode that is asked for.
            drop(link);
            self.detach(ifindex)?;
            return Ok(None);
        };
        match entry(&mut self.ebpf)?.attach_to_link(link) {
            Ok(id) => {
                self.hold(interface, ifindex, mode, id)?;
                Ok(Some(Attached {
                    mode,
                    fallback_reason: None,
                    taken_over: true,
                }))
            }
            Err(error) if errno(&error) == Some(libc::ENOLINK) => {
                self.detach(ifindex)?;
                Ok(None)
            }
            Err(error) => Err(refused(interface, mode, error)),
        }
    }

    fn attach_anew(
        &mut self,
        interface: &str,
        ifindex: u32,
        mode: Attachment,
    ) -> Result<(), Error> {
        let attempt = entry(&mut self.ebpf)?.attach_to_if_index(ifindex, mode.flag());
        let id = match attempt {
            Ok(id) => id,
            Err(error) if matches!(errno(&error), Some(libc::EBUSY | libc::EEXIST)) => {
                return Err(foreign_program(interface, ifindex)?
                    .unwrap_or_else(|| refused(interface, mode, error)));
            }
            Err(error) => return Err(refused(interface, mode, error)),
        };
        let path = pins::link_path(&self.pin_dir, ifindex);
        let link = taken(entry(&mut self.ebpf)?, id, interface, mode)?;
        let pinned = link.pin(&path).map_err(|error| Error::Pin {
            path,
            verb: "create",
            source: io::Error::other(error),
        })?;
        self.links.insert(ifindex, pinned.into());
        Ok(())
    }

    fn hold(
        &mut self,
        interface: &str,
        ifindex: u32,
        mode: Attachment,
        id: XdpLinkId,
    ) -> Result<(), Error> {
        let link = taken(entry(&mut self.ebpf)?, id, interface, mode)?;
        self.links.insert(ifindex, link);
        Ok(())
    }
}

fn taken(
    program: &mut Xdp,
    id: XdpLinkId,
    interface: &str,
    mode: Attachment,
) -> Result<FdLink, Error> {
    let link = program
        .take_link(id)
        .map_err(|error| refused(interface, mode, error))?;
    // aya attaches by netlink where the kernel knows no XDP link; that cannot be pinned.
    FdLink::try_from(link).map_err(|error| Error::Attach {
        interface: interface.to_owned(),
        mode,
        hint: "the kernel has no XDP links (Linux 5.18 or newer is needed)",
        source: io::Error::other(error),
    })
}

fn pinned_xdp_link(path: &Path) -> Option<XdpLink> {
    if !path.exists() {
        return None;
    }
    let link: FdLink = PinnedLink::from_pin(path).ok()?.into();
    XdpLink::try_from(link).ok()
}

fn refused(interface: &str, mode: Attachment, error: ProgramError) -> Error {
    let errno = errno(&error);
    let hint = match errno {
        Some(libc::EOPNOTSUPP | ENOTSUPP) => "the driver has no native XDP",
        Some(libc::ERANGE) => "the MTU is too large for native XDP in this driver",
        Some(libc::EINVAL) => "the driver refuses it as it is configured (MTU, LRO or queues)",
        Some(libc::ENOMEM) => "the driver has too few queues or too little memory",
        Some(libc::ENODEV) => "there is no such interface",
        Some(libc::EPERM | libc::EACCES) => "the agent may not; it needs CAP_BPF and CAP_NET_ADMIN",
        Some(libc::EBUSY | libc::EEXIST) => "something else is attached",
        _ => "the kernel refuses",
    };
    Error::Attach {
        interface: interface.to_owned(),
        mode,
        hint,
        source: errno.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error),
    }
}

/// Linux-internal "not supported", which some drivers let through.
const ENOTSUPP: i32 = 524;

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error))
        | ProgramError::NetlinkError(error) => error.raw_os_error(),
        _ => None,
    }
}

/// The program that holds the place, as an error that says how to remove it.
fn foreign_program(interface: &str, ifindex: u32) -> Result<Option<Error>, Error> {
    let Some((mode, id)) = installed(interface, ifindex)? else {
        return Ok(None);
    };
    let program = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_else(|| "name unknown".to_owned());
    // A program held by a link cannot be removed with `ip`.
    let link = loaded_links()
        .filter_map(Result::ok)
        .find(|link| link.program_id() == id);
    let fix = match (link, mode) {
        (Some(link), _) => format!("bpftool link detach id {}", link.id()),
        (None, Attachment::Native) => format!("ip link set dev {interface} xdpdrv off"),
        (None, Attachment::Generic) => format!("ip link set dev {interface} xdpgeneric off"),
    };
    Ok(Some(Error::Foreign {
        interface: interface.to_owned(),
        id,
        program,
        fix,
    }))
}

fn attachment(interface: &str, ifindex: u32) -> Result<Option<Attachment>, Error> {
    Ok(installed(interface, ifindex)?.map(|(mode, _)| mode))
}

/// Mode and identifier of the program on an interface; `None` without one, or without interface.
fn installed(interface: &str, ifindex: u32) -> Result<Option<(Attachment, u32)>, Error> {
    let failed = |source| Error::Query {
        interface: interface.to_owned(),
        source,
    };
    let answer = ask_link(ifindex).map_err(failed)?;
    let attributes = match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => link.attributes,
        NetlinkPayload::Error(error) if error.raw_code() == -libc::ENODEV => return Ok(None),
        NetlinkPayload::Error(error) => return Err(failed(error.to_io())),
        _ => return Err(failed(io::ErrorKind::InvalidData.into())),
    };
    let mut mode = None;
    let mut id = None;
    for attribute in attributes {
        let LinkAttribute::Xdp(fields) = attribute else {
            continue;
        };
        for field in fields {
            match field {
                LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Hardware) => {
                    mode = Some(Attachment::Native);
                }
                LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(Attachment::Generic),
                LinkXdp::ProgId(found) => id = Some(found),
                _ => {}
            }
        }
    }
    Ok(mode.zip(id))
}

/// One RTM_GETLINK, answered at once: no need for the asynchronous netlink owner.
fn ask_link(ifindex: u32) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(link));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    NetlinkMessage::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
