//! Ranges of addresses, as `10.0.0.0/8` and `fd00::/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses; the bits beyond the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCidr {
    #[error("expected an address and the length of its prefix, as 10.0.0.0/8 or fd00::/8")]
    Malformed,
    #[error("it has bits beyond its prefix; write {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// An IPv4 address in an IPv6 coat (`::ffff:10.0.0.1`) is that IPv4 address: otherwise a
    /// resolver that answers so would lead around every range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let Self {
            address: ours,
            prefix,
        } = *self;
        masked(address.to_canonical(), prefix) == Some(ours)
    }
}

/// `None` if the prefix is longer than the address, as an IPv6 range's is for IPv4.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let mask = match prefix {
                0 => 0,
                1..=32 => u32::MAX << (32 - prefix),
                _ => return None,
            };
            Some(IpAddr::V4((u32::from(address) & mask).into()))
        }
        IpAddr::V6(address) => {
            let mask = match prefix {
                0 => 0,
                1..=128 => u128::MAX << (128 - prefix),
                _ => return None,
            };
            Some(IpAddr::V6((u128::from(address) & mask).into()))
        }
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |_error| InvalidCidr::Malformed;
        let (address, prefix) = text.split_once('/').ok_or(InvalidCidr::Malformed)?;
        let address: IpAddr = address.parse().map_err(malformed_address)?;
        let prefix = Some(prefix)
            .filter(|prefix| prefix.bytes().all(|b| b.is_ascii_digit()))
            .ok_or(InvalidCidr::Malformed)?
            .parse()
            .map_err(malformed)?;
        // A range inside ::ffff:0:0/96 would never match, since addresses are made canonical.
        if address.to_canonical() != address {
            return Err(InvalidCidr::Malformed);
        }
        let network = masked(address, prefix).ok_or(InvalidCidr::Malformed)?;
        let cidr = Self {
            address: network,
            prefix,
        };
        if network == address {
            Ok(cidr)
        } else {
            Err(InvalidCidr::HostBits(cidr))
        }
    }
}

fn malformed_address(_error: std::net::AddrParseError) -> InvalidCidr {
    InvalidCidr::Malformed
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix } = self;
        write!(formatter, "{address}/{prefix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        for (cidr, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "192.0.2.1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ] {
            let range: Cidr = cidr.parse().unwrap();
            assert_eq!(range.to_string(), cidr);
            assert_eq!(
                range.contains(address.parse().unwrap()),
                expected,
                "{address} in {cidr}"
            );
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "fd00::/129",
            "10/8",
            "a/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(InvalidCidr::Malformed), "{text}");
        }
        assert_eq!(
            "10.0.0.1/8".parse::<Cidr>().unwrap_err().to_string(),
            "it has bits beyond its prefix; write 10.0.0.0/8"
        );
    }
}
