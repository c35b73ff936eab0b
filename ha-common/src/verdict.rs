//! Every reason for which the XDP program passes or drops a frame.
//!
//! One list, one name: the eBPF program counts by it, `bpftool map dump` shows it as the field
//! names of [`Verdicts`], and status, metrics and documentation print it.

/// What the program does with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Hand it to the kernel unchanged.
    Pass,
    /// Discard it.
    Drop,
}

macro_rules! verdicts {
    ($($(#[doc = $doc:literal])+ $variant:ident $field:ident $fate:ident,)+) => {
        /// The exit a frame took. The number is the index of its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Verdict {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// One counter per [`Verdict`], in its order: the value of the `VERDICTS` and
        /// `VRID_VERDICTS` maps, in frames, per CPU.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct Verdicts {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Verdict {
            /// Every verdict, in the order of its number.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)+];

            /// How many verdicts there are.
            pub const COUNT: usize = [$(stringify!($variant)),+].len();

            /// The name used in counters, status, metrics and documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)+
                }
            }

            /// One sentence that says when a frame takes this exit.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }

            /// Pass or drop.
            #[inline(always)]
            #[must_use]
            pub const fn fate(self) -> Fate {
                match self {
                    $(Self::$variant => Fate::$fate,)+
                }
            }
        }

        impl Verdicts {
            /// The counter of `verdict`.
            #[must_use]
            pub const fn get(&self, verdict: Verdict) -> u64 {
                match verdict {
                    $(Verdict::$variant => self.$field,)+
                }
            }

            /// Counts one frame.
            pub const fn count(&mut self, verdict: Verdict) {
                match verdict {
                    $(Verdict::$variant => self.$field = self.$field.wrapping_add(1),)+
                }
            }

            /// Adds the counters of another CPU.
            pub const fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

verdicts! {
    /// Neither IP nor ARP.
    PassOther pass_other Pass,
    /// A frame that ends inside a header or contradicts itself: left to the kernel.
    PassUnparsed pass_unparsed Pass,
    /// IP traffic for an address that is not a virtual address.
    PassNotOurs pass_not_ours Pass,
    /// ARP that does not ask for a virtual address.
    PassArp pass_arp Pass,
    /// Traffic for a virtual address that this node serves.
    PassServed pass_served Pass,
    /// ARP request or neighbour solicitation for a virtual address that this node serves.
    PassAnswered pass_answered Pass,
    /// Traffic for a virtual address on its way through a Backup to the Active router.
    PassTransit pass_transit Pass,
    /// Traffic for a virtual address that this node has just handed over to its peer.
    PassHandover pass_handover Pass,
    /// VRRP of a virtual router that is not configured here.
    PassForeignVrid pass_foreign_vrid Pass,
    /// VRRP that is addressed to another node.
    PassVrrpTransit pass_vrrp_transit Pass,
    /// A valid advertisement that repeats the last one: the agent sleeps on.
    AdvertUnchanged advert_unchanged Pass,
    /// A valid advertisement that says something new: the agent is woken.
    AdvertChanged advert_changed Pass,
    /// A valid advertisement that says something new, but the ring buffer was full.
    AdvertLost advert_lost Pass,
    /// Traffic for a virtual address while this node may not serve it.
    FenceTraffic fence_traffic Drop,
    /// ARP request for a virtual address while this node may not serve it.
    FenceArp fence_arp Drop,
    /// Neighbour solicitation for a virtual address while this node may not serve it.
    FenceNd fence_nd Drop,
    /// TTL or hop limit below the configured minimum (255; RFC 9568 section 5.1.1.3).
    VrrpTtl vrrp_ttl Drop,
    /// VRRP version other than the one configured.
    VrrpVersion vrrp_version Drop,
    /// VRRP type other than 1, ADVERTISEMENT.
    VrrpType vrrp_type Drop,
    /// Message that ends before its address list does.
    VrrpTruncated vrrp_truncated Drop,
    /// Message longer than its address count says.
    VrrpLength vrrp_length Drop,
    /// Advertisement split into IP fragments.
    VrrpFragment vrrp_fragment Drop,
    /// Checksum wrong in both forms (RFC 9568 section 5.2.8 and RFC 5798 section 5.2.8).
    VrrpChecksum vrrp_checksum Drop,
    /// VRRPv2 authentication type other than the one configured.
    VrrpAuthType vrrp_auth_type Drop,
    /// VRRPv2 password other than the one configured.
    VrrpPassword vrrp_password Drop,
    /// VRRPv2 interval other than the one configured.
    VrrpInterval vrrp_interval Drop,
    /// Interval of zero (RFC 9568 erratum 8301).
    VrrpZeroInterval vrrp_zero_interval Drop,
    /// Address count of zero (RFC 9568 erratum 8299).
    VrrpNoAddress vrrp_no_address Drop,
    /// Unicast to a multicast virtual router, or multicast to a unicast one.
    VrrpCast vrrp_cast Drop,
    /// Source that is not a configured unicast peer.
    VrrpSource vrrp_source Drop,
    /// Advertisement that carries this node's own address as its source.
    VrrpOwnSource vrrp_own_source Drop,
    /// More changed advertisements from one source than the rate bound allows.
    VrrpRate vrrp_rate Drop,
}

const _: () = assert!(core::mem::size_of::<Verdicts>() == Verdict::COUNT * 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_counters_are_one_list() {
        for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, number);
            let mut words = [0u64; Verdict::COUNT];
            words[number] = 7;
            // SAFETY: `Verdicts` is `repr(C)` and holds exactly `COUNT` u64 (asserted above).
            let counters: Verdicts = unsafe { core::mem::transmute(words) };
            assert_eq!(counters.get(verdict), 7, "{}", verdict.name());
        }
    }
}
