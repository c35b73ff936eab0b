//! The quantities of RFC 9568, each built at the border and trusted afterwards.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

pub use ha_common::net::Family;
pub use ha_common::vrrp::Checksum;

/// A point in time: nanoseconds of `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Time from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// A number outside the range of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {min} to {max}, not {got}")]
pub struct OutOfRange {
    /// What the number stands for.
    pub what: &'static str,
    /// Smallest allowed value.
    pub min: u64,
    /// Largest allowed value.
    pub max: u64,
    /// The value given.
    pub got: u64,
}

/// Virtual router identifier, 1–255 (RFC 9568 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(u8);

impl Vrid {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Vrid {
    type Error = OutOfRange;

    fn try_from(got: u64) -> Result<Self, OutOfRange> {
        in_range("a virtual router identifier", 1, 255, got).map(|n| Self(n as u8))
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Priority of a running router, 1–255 (RFC 9568 §5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The address owner's.
    pub const OWNER: Self = Self(255);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Priority {
    type Error = OutOfRange;

    fn try_from(got: u64) -> Result<Self, OutOfRange> {
        in_range("a priority", 1, 255, got).map(|n| Self(n as u8))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Priority as an advertisement carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdvertPriority {
    /// Zero on the wire: the sender stops being Active (RFC 9568 §5.2.4).
    Resign,
    /// The sender runs with this priority.
    Run(Priority),
}

impl AdvertPriority {
    /// From the wire.
    #[must_use]
    pub fn from_wire(byte: u8) -> Self {
        match byte {
            0 => Self::Resign,
            n => Self::Run(Priority(n)),
        }
    }

    /// To the wire.
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Resign => 0,
            Self::Run(priority) => priority.get(),
        }
    }
}

/// An advertisement interval in centiseconds.
///
/// VRRPv3 carries 12 bits, 1–4095 (RFC 9568 §5.2.7); VRRPv2 whole seconds, 1–255, so up to 25500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Centiseconds(u16);

impl Centiseconds {
    /// The number of centiseconds.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

impl TryFrom<u64> for Centiseconds {
    type Error = OutOfRange;

    fn try_from(got: u64) -> Result<Self, OutOfRange> {
        in_range("an interval in centiseconds", 1, 25_500, got).map(|n| Self(n as u16))
    }
}

impl fmt::Display for Centiseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u32::from(self.0) * 10;
        if ms.is_multiple_of(1000) {
            write!(f, "{} s", ms / 1000)
        } else {
            write!(f, "{ms} ms")
        }
    }
}

fn in_range(what: &'static str, min: u64, max: u64, got: u64) -> Result<u64, OutOfRange> {
    if (min..=max).contains(&got) {
        Ok(got)
    } else {
        Err(OutOfRange {
            what,
            min,
            max,
            got,
        })
    }
}

/// Protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// VRRPv2, RFC 3768 with the authentication of RFC 2338.
    V2,
    /// VRRPv3, RFC 9568.
    V3,
}

impl Version {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// An address with its prefix length, as in `192.0.2.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address, host part included.
    pub address: IpAddr,
    /// 0–32 or 0–128.
    pub len: u8,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

/// The address in the 16 bytes of [`ha_common::net::Address`], IPv4 mapped.
#[must_use]
pub fn to_wire(address: IpAddr) -> ha_common::net::Address {
    match address {
        IpAddr::V4(a) => ha_common::net::mapped(a.octets()),
        IpAddr::V6(a) => a.octets(),
    }
}

/// The address in 16 bytes, read back.
#[must_use]
pub fn from_wire(family: Family, address: &ha_common::net::Address) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from(ha_common::net::unmapped(address)),
        Family::Ipv6 => IpAddr::from(*address),
    }
}

/// The family of an address.
#[must_use]
pub const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// Skew_Time (RFC 9568 §6.1; for VRRPv2 the interval is one second, RFC 3768 §6.1).
///
/// Rounded down to a nanosecond: at the shortest interval neighbouring priorities are still 39 µs
/// apart.
#[must_use]
pub fn skew_time(version: Version, priority: Priority, interval: Centiseconds) -> Duration {
    let unit = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval.duration(),
    };
    unit * (256 - u32::from(priority.get())) / 256
}

/// Active_Down_Interval (RFC 9568 §6.1): how long a Backup waits for the silent Active router.
#[must_use]
pub fn active_down_interval(
    version: Version,
    priority: Priority,
    interval: Centiseconds,
) -> Duration {
    3 * interval.duration() + skew_time(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_match_the_formulas() {
        let priority = Priority::try_from(100).unwrap();
        let second = Centiseconds::try_from(100).unwrap();
        assert_eq!(
            active_down_interval(Version::V3, priority, second),
            Duration::from_nanos(3_609_375_000)
        );
        let ten_ms = Centiseconds::try_from(1).unwrap();
        assert_eq!(
            active_down_interval(Version::V3, priority, ten_ms),
            Duration::from_nanos(36_093_750)
        );
        let three_seconds = Centiseconds::try_from(300).unwrap();
        assert_eq!(
            skew_time(Version::V2, priority, three_seconds),
            Duration::from_nanos(609_375_000)
        );
    }

    #[test]
    fn ranges_are_checked_at_the_door() {
        assert!(Vrid::try_from(0).is_err());
        assert!(Vrid::try_from(256).is_err());
        assert!(Priority::try_from(0).is_err());
        assert_eq!(
            Priority::try_from(256).unwrap_err().to_string(),
            "a priority must be 1 to 255, not 256"
        );
        assert!(Centiseconds::try_from(0).is_err());
    }
}
