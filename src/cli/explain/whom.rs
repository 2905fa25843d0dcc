//! Who asked, and who was let in.

use super::Subject;
use crate::config::Config;
use crate::explain::view::ExchangeView;
use crate::registry::exchange::Exchange;
use crate::registry::stats::Operation;

/// Whom the registry at this host let in, in the order in which it did; without one, any registry.
pub fn let_in(exchanges: &[ExchangeView], host: Option<&str>) -> Option<String> {
    let mut labels: Vec<&str> = Vec::new();
    let own = exchanges
        .iter()
        .filter(|one| {
            one.is_success() && one.path.is_some() && one.operation != Operation::Token.as_str()
        })
        .filter(|one| host.is_none_or(|host| one.host == host));
    for one in own {
        if !labels.contains(&one.credential.as_str()) {
            labels.push(&one.credential);
        }
    }
    (!labels.is_empty()).then(|| labels.join(", "))
}

/// What the credential of the registry's entry is called, or the person's.
pub fn own_label(config: &Config, subject: &Subject, exchange: &Exchange) -> &'static str {
    let Subject::Reference(reference) = subject else {
        return "the registry's own credential";
    };
    let mut entries = config.registries.iter();
    let dialled = entries
        .find(|entry| entry.host == exchange.host || entry.endpoint.authority() == exchange.host);
    // A token server may be on a host of its own.
    let written = || {
        let entry = config.registry(reference.host());
        entry.filter(|_| exchange.operation == Operation::Token)
    };
    let entry = dialled.or_else(written);
    if entry.is_some_and(|entry| entry.credentials.is_some()) {
        "registry entry's credential"
    } else {
        "docker config file"
    }
}
