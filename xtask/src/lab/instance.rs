//! A virtual router, written down in either daemon's language.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::node::INTERFACE;

/// One virtual router on one node.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Name.
    pub name: String,
    /// Interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// VRRP version.
    pub version: u8,
    /// Priority.
    pub priority: u8,
    /// Advertisement_Interval.
    pub interval: Duration,
    /// Preempt_Mode.
    pub preempt: bool,
    /// Virtual addresses with prefix length.
    pub addresses: Vec<String>,
    /// Source of advertisements; needed for unicast.
    pub source: Option<IpAddr>,
    /// Unicast peers; none: multicast.
    pub peers: Vec<IpAddr>,
    /// VRRPv2 password.
    pub password: Option<String>,
    /// Further lines of an `[[instance]]` table, for the agent only.
    pub toml: String,
}

impl Instance {
    /// VRID 51 with the lab's usual IPv4 address.
    pub fn new(version: u8, priority: u8, interval: Duration) -> Self {
        Self {
            name: "VI_1".to_owned(),
            interface: INTERFACE.to_owned(),
            vrid: 51,
            version,
            priority,
            interval,
            preempt: true,
            addresses: vec![format!("{}/24", super::VIP4)],
            source: None,
            peers: Vec::new(),
            password: None,
            toml: String::new(),
        }
    }

    /// The same with the lab's usual IPv6 addresses, a link-local one first as RFC 9568
    /// §5.2.9 asks.
    pub fn ipv6(mut self) -> Self {
        self.addresses = vec!["fe80::77:100/64".to_owned(), format!("{}/64", super::VIP6)];
        self
    }

    /// The same without preemption.
    pub fn nopreempt(mut self) -> Self {
        self.preempt = false;
        self
    }

    /// The same by unicast.
    pub fn unicast(mut self, source: impl Into<IpAddr>, peer: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self.peers = vec![peer.into()];
        self
    }

    /// The same with a VRRPv2 password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Active_Down_Interval, what the protocol lets a failure last: 3·adv + skew.
    pub fn down_interval(&self) -> Duration {
        let unit = if self.version == 2 {
            Duration::from_secs(1)
        } else {
            self.interval
        };
        self.interval * 3 + unit * (256 - u32::from(self.priority)) / 256
    }

    /// As a table of the agent's configuration.
    pub fn as_toml(&self) -> String {
        let mut text = format!(
            "[[instance]]\nname = {:?}\ninterface = {:?}\nvrid = {}\nversion = {}\npriority = {}\n\
             advert_interval = \"{}ms\"\npreempt = {}\naddresses = {:?}\n",
            self.name,
            self.interface,
            self.vrid,
            self.version,
            self.priority,
            self.interval.as_millis(),
            self.preempt,
            self.addresses
        );
        if let Some(source) = self.source {
            let _ = writeln!(text, "source = \"{source}\"");
        }
        if !self.peers.is_empty() {
            let peers: Vec<String> = self.peers.iter().map(IpAddr::to_string).collect();
            let _ = writeln!(text, "peers = {peers:?}");
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "password = {password:?}");
        }
        text + &self.toml
    }

    /// As a block of keepalived's configuration.
    pub fn as_keepalived(&self) -> String {
        let mut text = format!(
            "vrrp_instance {} {{\n  state BACKUP\n  interface {}\n  virtual_router_id {}\n  \
             version {}\n  priority {}\n  advert_int {}\n",
            self.name,
            self.interface,
            self.vrid,
            self.version,
            self.priority,
            self.interval.as_secs_f64()
        );
        if !self.preempt {
            text += "  nopreempt\n";
        }
        if let Some(source) = self.source {
            let _ = writeln!(text, "  unicast_src_ip {source}");
        }
        if !self.peers.is_empty() {
            text += "  unicast_peer {\n";
            for peer in &self.peers {
                let _ = writeln!(text, "    {peer}");
            }
            text += "  }\n";
        }
        if let Some(password) = &self.password {
            let _ = writeln!(
                text,
                "  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}"
            );
        }
        text += "  virtual_ipaddress {\n";
        for address in &self.addresses {
            let _ = writeln!(text, "    {address} dev {}", self.interface);
        }
        text + "  }\n}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_protocols() {
        let instance = |version, ms| Instance::new(version, 100, Duration::from_millis(ms));
        assert_eq!(instance(2, 1000).down_interval().as_millis(), 3609);
        assert_eq!(instance(3, 100).down_interval().as_millis(), 360);
    }

    #[test]
    fn both_languages_say_the_same() {
        let instance = Instance::new(2, 200, Duration::from_millis(1000))
            .nopreempt()
            .unicast([10, 77, 0, 1], [10, 77, 0, 2])
            .password("secret");
        let toml = instance.as_toml();
        for line in [
            "vrid = 51",
            "preempt = false",
            "peers = [\"10.77.0.2\"]",
            "addresses = [\"10.77.0.100/24\"]",
        ] {
            assert!(toml.contains(line), "{toml}");
        }
        let keepalived = instance.as_keepalived();
        for line in [
            "nopreempt",
            "advert_int 1\n",
            "unicast_src_ip 10.77.0.1",
            "auth_pass secret",
        ] {
            assert!(keepalived.contains(line), "{keepalived}");
        }
    }
}
