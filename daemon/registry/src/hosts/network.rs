//! Networks in CIDR form, and the addresses that belong to no public host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address of which the first `bits` bits count (RFC 4632, RFC 4291 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `address/bits`; bits of the address past those that count are ignored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let valid = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u32 = bits.parse().ok().filter(|_| valid)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if bits > width {
            return None;
        }
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8 said at length
        Some(match (without_mapping(address), address) {
            (v4 @ IpAddr::V4(_), IpAddr::V6(_)) if bits >= 96 => Self {
                address: v4,
                bits: bits - 96,
            },
            _ => Self { address, bits },
        })
    }

    /// Whether an address is in the network. IPv4 written as IPv6 counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, without_mapping(address)) {
            (IpAddr::V4(a), IpAddr::V4(b)) => begins_v4(b, a, self.bits),
            (IpAddr::V6(a), IpAddr::V6(b)) => begins_v6(b, a, self.bits),
            _ => false,
        }
    }
}

fn begins_v4(address: Ipv4Addr, network: Ipv4Addr, bits: u32) -> bool {
    let differing = u32::from(address) ^ u32::from(network);
    differing.leading_zeros() >= bits
}

fn begins_v6(address: Ipv6Addr, network: Ipv6Addr, bits: u32) -> bool {
    let differing = u128::from(address) ^ u128::from(network);
    differing.leading_zeros() >= bits
}

/// The IPv4 address that an IPv6 one stands for (RFC 4291 section 2.5.5.2), or the address itself.
pub(crate) fn without_mapping(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

type V4 = (Ipv4Addr, u32, &'static str);
type V6 = (Ipv6Addr, u32, &'static str);

/// The IANA IPv4 special-purpose address registry, multicast (RFC 5771) and what is reserved (RFC 1112).
const SPECIAL_V4: [V4; 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified (RFC 1122)"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private (RFC 1918)"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier (RFC 6598)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback (RFC 1122)"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local (RFC 3927)"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private (RFC 1918)"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "for protocols (RFC 6890)"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation (RFC 5737)"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay (RFC 7526)"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private (RFC 1918)"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks (RFC 2544)"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation (RFC 5737)"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation (RFC 5737)"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved (RFC 1112)"),
];

/// What 2000::/3, the public part of IPv6, has that is not public.
const SPECIAL_V6: [V6; 4] = [
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "for protocols (RFC 2928)",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "for documentation (RFC 3849)",
    ),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4 (RFC 7526)"),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "for documentation (RFC 9637)",
    ),
];

/// What lies outside 2000::/3 and has a name.
const OUTSIDE_V6: [V6; 6] = [
    (Ipv6Addr::LOCALHOST, 128, "loopback (RFC 4291)"),
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified (RFC 4291)"),
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "private (RFC 4193)",
    ),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        "link-local (RFC 4291)",
    ),
    (
        Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0),
        10,
        "site-local (RFC 3879)",
    ),
    (
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
        "multicast (RFC 4291)",
    ),
];

const PUBLIC_V6: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// What an address is for if it is not one of a public host; an IPv4 address inside an IPv6 one counts as itself.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match without_mapping(address) {
        IpAddr::V4(v4) => SPECIAL_V4
            .iter()
            .find(|(network, bits, _)| begins_v4(v4, *network, *bits))
            .map(|(_, _, name)| *name),
        // RFC 6052 section 2.1: the last 32 bits are where a translator will go
        IpAddr::V6(v6) if begins_v6(v6, NAT64, 96) => {
            let [.., a, b, c, d] = v6.octets();
            special(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(v6) => {
            let named = |table: &'static [V6]| {
                let found = table
                    .iter()
                    .find(|(network, bits, _)| begins_v6(v6, *network, *bits));
                found.map(|(_, _, name)| *name)
            };
            match begins_v6(v6, PUBLIC_V6, 3) {
                true => named(&SPECIAL_V6),
                false => named(&OUTSIDE_V6).or(Some("outside the public networks (RFC 4291)")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_are_read_or_refused() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.9.9.9"),
            ("192.168.1.0/24", "::ffff:192.168.1.7", "192.168.2.7"),
            ("::ffff:10.0.0.0/104", "10.4.5.6", "11.4.5.6"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
        ] {
            let network = Network::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{text} {outside}");
        }
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "::/-1",
            "::/+1",
            "::/0001",
            "a/8",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn special_addresses_are_told_from_public_ones() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(special(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "169.253.0.1",
            "192.167.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }

    /// The standard library's own judgement, as far as it is stable.
    fn is_plainly_special(v4: Ipv4Addr) -> bool {
        v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_broadcast()
            || v4.is_documentation()
            || v4.is_multicast()
            || v4.is_unspecified()
    }

    proptest! {
        #[test]
        fn a_network_has_what_shares_its_bits(network: u32, bits in 0u32..=32, address: u32) {
            let text = format!("{}/{bits}", Ipv4Addr::from(network));
            let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
            let expected = network & mask == address & mask;
            let v4 = Ipv4Addr::from(address);
            let parsed = Network::parse(&text).unwrap();
            prop_assert_eq!(parsed.contains(v4.into()), expected);
            prop_assert_eq!(parsed.contains(v4.to_ipv6_mapped().into()), expected);
            prop_assert!(parsed.contains(Ipv4Addr::from(network & mask | address & !mask).into()));
        }

        #[test]
        fn a_v6_network_has_what_shares_its_bits(network: u128, bits in 0u32..=128, address: u128) {
            let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
            let network = network | 1 << 127; // no IPv4 in disguise
            let parsed = Network::parse(&format!("{}/{bits}", Ipv6Addr::from(network))).unwrap();
            let near = network & mask | address & !mask;
            prop_assert!(parsed.contains(Ipv6Addr::from(near | (1 << 127)).into()));
            let far = address | 1 << 127;
            prop_assert_eq!(parsed.contains(Ipv6Addr::from(far).into()), network & mask == far & mask);
        }

        #[test]
        fn no_special_address_hides_in_another_form(address: u32) {
            let v4 = Ipv4Addr::from(address);
            let name = special(v4.into());
            prop_assert!(name.is_some() || !is_plainly_special(v4));
            prop_assert_eq!(special(v4.to_ipv6_mapped().into()), name);
            prop_assert!(special(v4.to_ipv6_compatible().into()).is_some());
            let nat64 = Ipv6Addr::from(u128::from(NAT64) | u128::from(address));
            prop_assert_eq!(special(nat64.into()), name);
        }

        #[test]
        fn nothing_outside_the_public_networks_is_public(address: u128) {
            let v6 = Ipv6Addr::from(address);
            if special(v6.into()).is_none() {
                let public = address >> 125 == 1 || v6.to_ipv4_mapped().is_some() || begins_v6(v6, NAT64, 96);
                prop_assert!(public);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f.:/]{0,24}") {
            let _ = Network::parse(&text);
        }
    }
}
