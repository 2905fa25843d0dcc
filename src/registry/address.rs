//! Which addresses may be dialled for a host that nobody listed.
//!
//! Any tenant can write an image string, so any tenant can choose whom we call. Hosts under
//! `registries` are the operator's own word; for all others loopback, link-local (the clouds' metadata
//! services) and the cluster's own addresses are refused. Decided on the address that is connected
//! to, not on the name: a name may resolve to anything, and differently the second time.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::cidr::Cidr;

/// The rule for hosts that nobody listed.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// Pods' and services' networks.
    pub cluster: Arc<[Cidr]>,
    /// Hosts that the operator listed, with their port where that is not their scheme's own: these may
    /// be anywhere. A store that a registry redirects to is listed by an entry of its own.
    pub listed: Arc<BTreeSet<String>>,
}

impl AddressPolicy {
    /// Why this address is not dialled; `None` if it may be.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        if address.is_loopback() {
            return Some("it is a loopback address");
        }
        if address.is_unspecified() || address.is_multicast() {
            return Some("it is no host's address");
        }
        let is_link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4 == Ipv4Addr::BROADCAST,
            // fe80::/10, and the metadata service's fd00:ec2::254.
            IpAddr::V6(v6) => {
                v6.is_unicast_link_local()
                    || v6 == Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)
            }
        };
        if is_link_local {
            return Some("it is a link-local address");
        }
        if self.cluster.iter().any(|network| network.contains(address)) {
            return Some("it is an address of the cluster");
        }
        None
    }

    /// Whether the operator listed `host` or `host:port`.
    pub fn lists(&self, authority: &str) -> bool {
        self.listed.contains(authority)
    }

    /// Whether the operator listed this name, with whatever port.
    fn lists_name(&self, name: &str) -> bool {
        let of_entry = |entry: &String| match entry.rsplit_once(':') {
            Some((host, _port)) => host == name,
            None => entry == name,
        };
        self.listed.iter().any(of_entry)
    }

    /// The same for a host as it stands in a URL: literal addresses are not resolved, and so are
    /// never seen by [`GuardedResolver`].
    pub fn refusal_of_host(&self, host: &str) -> Option<&'static str> {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        bare.parse().ok().and_then(|address| self.refusal(address))
    }
}

/// Resolves names, and leaves out the addresses that the policy refuses.
#[derive(Debug, Clone)]
pub struct GuardedResolver(pub AddressPolicy);

/// Every address of a name was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "`{name}` resolves to {address}, and {reason}; list the host under `registries` to allow it"
)]
pub struct Refused {
    pub name: String,
    pub address: IpAddr,
    pub reason: &'static str,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut allowed: Vec<SocketAddr> = Vec::new();
            let mut refused = None;
            for address in found {
                let refusal = policy.refusal(address.ip());
                match refusal.filter(|_| !policy.lists_name(name.as_str())) {
                    None => allowed.push(address),
                    Some(reason) => {
                        let name = name.as_str().to_owned();
                        refused = Some(Refused {
                            name,
                            address: address.ip(),
                            reason,
                        });
                    }
                }
            }
            match (allowed.is_empty(), refused) {
                (true, Some(refused)) => Err(refused.into()),
                (_, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tenant_must_not_reach_is_refused_in_every_spelling() {
        let cluster = ["10.96.0.0/12".parse().unwrap()];
        let policy = AddressPolicy {
            cluster: cluster.into(),
            ..AddressPolicy::default()
        };
        for (host, is_refused) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("169.254.169.254", true),
            ("[fe80::1]", true),
            ("[fd00:ec2::254]", true),
            ("0.0.0.0", true),
            ("10.96.0.1", true),
            ("10.111.255.255", true),
            ("10.112.0.1", false),
            ("192.168.1.1", false),
            ("93.184.216.34", false),
            ("registry.example", false),
        ] {
            assert_eq!(policy.refusal_of_host(host).is_some(), is_refused, "{host}");
        }
    }
}
