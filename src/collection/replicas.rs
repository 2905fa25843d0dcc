//! The replicas of a registry, as the EndpointSlices of its Service name them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

/// Where one of them is dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// An IPv6 address without brackets.
    pub ip: String,
    pub port: u16,
    pub is_https: bool,
}

/// Every address, whether it is ready or not: one that is not may serve again, with all that its cache believes
/// in. A pod with addresses of both families is one replica. The error says what is missing.
pub fn addresses(slices: &[EndpointSlice], is_https: bool) -> Result<Vec<Address>, String> {
    let mut known: BTreeMap<String, Address> = BTreeMap::new();
    for family in ["IPv4", "IPv6"] {
        let own = slices.iter().filter(|slice| slice.address_type == family);
        for slice in own.filter(|slice| !slice.endpoints.is_empty()) {
            let ports = slice.ports.as_deref().unwrap_or_default();
            let (port, is_https) = port(ports, is_https)?;
            for endpoint in &slice.endpoints {
                // All of one endpoint's lead to the same pod, and the first is what is to be used.
                let Some(ip) = endpoint.addresses.first() else {
                    continue;
                };
                let address = Address {
                    ip: ip.clone(),
                    port,
                    is_https,
                };
                known.entry(whose(endpoint, &address)).or_insert(address);
            }
        }
    }
    if slices
        .iter()
        .any(|slice| !["IPv4", "IPv6"].contains(&&*slice.address_type))
    {
        return Err("an EndpointSlice of it has no IP addresses".to_owned());
    }
    let all: BTreeSet<Address> = known.into_values().collect();
    if all.is_empty() {
        return Err("it has no endpoint".to_owned());
    }
    Ok(all.into_iter().collect())
}

/// By its pod and port; what is none is by its address.
fn whose(endpoint: &Endpoint, address: &Address) -> String {
    let pod = endpoint.target_ref.as_ref().and_then(|it| it.uid.as_ref());
    let own = pod.map_or_else(|| format!("at {}", address.ip), |uid| format!("of {uid}"));
    format!("{own} {}", address.port)
}

/// The only one, or the one that is named as what it speaks; with whether that is https.
fn port(ports: &[EndpointPort], is_https: bool) -> Result<(u16, bool), String> {
    let wanted = if is_https { "https" } else { "http" };
    let other = if is_https { "http" } else { "https" };
    let named = |name: &str| ports.iter().find(|it| it.name.as_deref() == Some(name));
    let found = match ports {
        [only] => Some(only),
        _ => named(wanted).or_else(|| named(other)),
    };
    let Some(found) = found else {
        let names: Vec<&str> = ports
            .iter()
            .map(|it| it.name.as_deref().unwrap_or(""))
            .collect();
        return Err(match names.as_slice() {
            [] => "an EndpointSlice of it has no port".to_owned(),
            _ => format!(
                "which of its ports is the registry's cannot be told ({}): name it `{wanted}`",
                names.join(", ")
            ),
        });
    };
    // Whoever names an address may mean that; a port's name does not decide that credentials go in the clear.
    if is_https && found.name.as_deref() == Some("http") {
        return Err(
            "its port is http, and the registry is dialled by https: credentials would go in the clear".to_owned(),
        );
    }
    let is_https = is_https || found.name.as_deref() == Some("https");
    let number = found.port.and_then(|it| u16::try_from(it).ok());
    let number = number.filter(|it| *it > 0);
    number
        .map(|number| (number, is_https))
        .ok_or_else(|| "an EndpointSlice of it says no number of its port".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(family: &str, ports: &Value, endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "addressType": family, "ports": ports, "endpoints": endpoints, "metadata": {},
        }))
        .unwrap()
    }

    fn shown(slices: &[EndpointSlice], is_https: bool) -> Vec<String> {
        let all = addresses(slices, is_https).unwrap();
        let shown = |it: &Address| format!("{} {} {}", it.ip, it.port, it.is_https);
        all.iter().map(shown).collect()
    }

    #[test]
    fn every_address_counts_whatever_its_conditions_are() {
        let endpoints = json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": false, "terminating": false}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.4"]},
        ]);
        let one = slice("IPv4", &json!([{"name": "", "port": 5000}]), &endpoints);
        let more = slice(
            "IPv4",
            &json!([{"port": 5001}]),
            &json!([{"addresses": ["10.0.0.5"]}]),
        );
        assert_eq!(
            shown(&[one, more], false),
            [
                "10.0.0.1 5000 false",
                "10.0.0.2 5000 false",
                "10.0.0.3 5000 false",
                "10.0.0.4 5000 false",
                "10.0.0.5 5001 false",
            ]
        );
    }

    #[test]
    fn a_pod_of_both_families_is_one_replica() {
        let of = |address: &str, uid: &str| json!([{"addresses": [address], "targetRef": {"kind": "Pod", "uid": uid}}]);
        let port = json!([{"port": 5000}]);
        let all = [
            slice("IPv6", &port, &of("fd00::1", "a")),
            slice("IPv4", &port, &of("10.0.0.1", "a")),
            slice("IPv6", &port, &of("fd00::2", "b")),
        ];
        assert_eq!(
            shown(&all, true),
            ["10.0.0.1 5000 true", "fd00::2 5000 true"]
        );
    }

    #[test]
    fn the_port_is_the_only_one_or_the_one_of_that_name() {
        let of = |ports: &Value| slice("IPv4", ports, &json!([{"addresses": ["10.0.0.1"]}]));
        let http = json!({"name": "http", "port": 80});
        let https = json!({"name": "https", "port": 443});
        let debug = json!({"name": "debug", "port": 5001});
        let own = json!({"name": "registry", "port": 5000});
        for (ports, is_https, expected) in [
            (json!([own]), true, "10.0.0.1 5000 true"),
            (json!([http]), false, "10.0.0.1 80 false"),
            (json!([debug, https]), false, "10.0.0.1 443 true"),
            (json!([http, https]), true, "10.0.0.1 443 true"),
            (json!([https, http]), false, "10.0.0.1 80 false"),
        ] {
            assert_eq!(shown(&[of(&ports)], is_https), [expected], "{ports}");
        }
        for (ports, expected) in [
            (json!([own, debug]), "(registry, debug): name it `http`"),
            (json!([]), "has no port"),
            (json!([{"name": "http"}]), "says no number"),
        ] {
            let problem = addresses(&[of(&ports)], false).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let problem = addresses(&[of(&json!([http]))], true).unwrap_err();
        assert!(problem.contains("in the clear"), "{problem}");
    }

    #[test]
    fn nobody_there_is_not_known() {
        let ports = json!([{"port": 5000}]);
        assert!(addresses(&[], false).is_err());
        assert!(addresses(&[slice("IPv4", &ports, &json!([]))], false).is_err());
        let named = slice(
            "FQDN",
            &ports,
            &json!([{"addresses": ["registry.example"]}]),
        );
        assert!(addresses(&[named], false).is_err());
    }
}
