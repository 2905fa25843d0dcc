//! What each code means to somebody who did not write this program, and what to do about it first.
//! Pure, and closed: a new code does not compile until it is explained.

use super::Code;

/// One code in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What is the case, fit to be followed by `for linux/arm64`.
    pub what: &'static str,
    pub meaning: &'static str,
    pub first: &'static str,
}

const PUSH_AGAIN: &str = "Push the image again from where it was built, or copy it back from a mirror; until then do not drain the nodes that run it.";

#[expect(clippy::too_many_lines, reason = "it is one table")]
pub fn explain(code: Code) -> Explanation {
    let (what, meaning, first) = match code {
        Code::TagMissing => (
            "The tag is gone",
            "The registry answers for the repository, but it has no such tag: every node that does not have the image cached fails to pull it.",
            "Push the tag again, or point the workload at one that exists; then look at who deletes tags (retention rules, cleanup scripts).",
        ),
        Code::ManifestMissing => (
            "The manifest is gone",
            "The reference names a manifest that the registry no longer has, so there is nothing to pull on any platform.",
            PUSH_AGAIN,
        ),
        Code::ChildMissing => (
            "The image is gone",
            "The tag and its index are there, but the manifest that the index names for this platform is not: these nodes fail to pull, all others go on as if nothing had happened.",
            "Push the whole multi-platform image again, or copy it back from a mirror; then stop the collector that takes untagged manifests for garbage.",
        ),
        Code::ConfigMissing => (
            "The config is gone",
            "The manifest is there, but the config that it names is not: a pull starts and then fails.",
            PUSH_AGAIN,
        ),
        Code::LayerMissing => (
            "A layer is gone",
            "The manifest is there, but a layer that it names is not: nodes that have the layer cached go on, every other pull fails.",
            "Push the image again; if the registry says that the layer exists already, its cache is stale, so restart the registry first.",
        ),
        Code::LayerArchived => (
            "A layer is in cold storage",
            "The object store moved the layer to a class that must be restored before it can be read: pulls fail until then.",
            "Restore the object in the object store, and take the registry's bucket out of the lifecycle rule that moved it.",
        ),
        Code::SizeMismatch => (
            "An object has the wrong size",
            "The registry holds another number of bytes than the manifest says: clients refuse such a pull.",
            "Take the object for damaged: remove it from the registry's storage and push the image again; then look at the disk.",
        ),
        Code::DigestMismatch => (
            "An object has the wrong content",
            "The registry answers with content that is not what its digest says: clients refuse such a pull.",
            "Take the object for damaged: remove it from the registry's storage and push the image again; then look at the disk.",
        ),
        Code::ManifestInvalid => (
            "A manifest cannot be read",
            "The registry has the manifest, but it is no well-formed image manifest or index: clients refuse it.",
            "Push the image again with a current build tool; the message says what is wrong with the manifest.",
        ),
        Code::PlatformMissing => (
            "There is no image",
            "Nodes of this platform may run the workload, but the index has no image for them.",
            "Build the image for this platform too, or keep the workload off these nodes with a nodeSelector.",
        ),
        Code::ReferenceInvalid => (
            "This is not an image reference",
            "No client can pull it: the text does not follow the grammar of image references, so it was never asked for.",
            "Correct the image in the workload or list that names it.",
        ),
        Code::Unauthorized => (
            "The registry refuses the credential",
            "It answered 401, so whether the image is there is not known; a node with the same credential would fail too.",
            "Renew the pull secret, or the registry's credential in the configuration.",
        ),
        Code::Forbidden => (
            "The credential has no right to pull it",
            "The registry knows the credential and hides or refuses this repository, so whether the image is there is not known.",
            "Give the pull secret's account the right to pull from this repository.",
        ),
        Code::CredentialUnavailable => (
            "The pull secret cannot be read",
            "The workload brings its own pull secret, and pullproof may not read it, so whether the workload may pull is not known.",
            "Grant pullproof `get` on the secret that the message names, or give the registry a credential of its own in the configuration.",
        ),
        Code::RateLimited => (
            "The registry limits requests",
            "It answered 429: the quota is used up for now, and pulls of nodes may be refused for the same reason.",
            "Give the registry a credential with a larger quota, or a longer `verify.interval`.",
        ),
        Code::Unreachable => (
            "The registry cannot be reached",
            "There was no connection, so nothing is known of the image now; nodes may not be able to pull either.",
            "Look at the registry itself, its DNS name and the network between.",
        ),
        Code::Tls => (
            "The registry's certificate is not accepted",
            "The connection was refused for its certificate, so nothing was asked; nodes may refuse it too.",
            "Look at the certificate: its date, its names, and whether its authority is under `tls.ca` in the configuration.",
        ),
        Code::Timeout => (
            "The registry did not answer in time",
            "The question was sent and not answered, so nothing is known of the image now.",
            "Look at the registry's load and its storage.",
        ),
        Code::ServerError => (
            "The registry answered with an error",
            "The answer is no proof that the image is there and none that it is not.",
            "Look at the registry's log for the time of the last check.",
        ),
        Code::Untrusted => (
            "The registry's answers prove nothing",
            "The host may not be asked, or it answers for objects that cannot exist, as a proxy or a login page does.",
            "Look at what answers under this name, and whether the host is listed under `registries` in the configuration.",
        ),
        Code::Unsupported => (
            "A part of it cannot be followed",
            "It has a kind, a depth or a size that pullproof does not follow, so the rest of it is not proven.",
            "Look at the object that the message names; what is not an image belongs in no workload.",
        ),
        Code::NeverChecked => (
            "It was not checked yet",
            "Nobody has asked the registry yet; the first round goes over it.",
            "Wait for the round to end.",
        ),
        Code::Stale => (
            "The last proof is too old",
            "It was whole once, but for three intervals no round could prove it again.",
            "Look at whether rounds over its registry still end; `requestsPerSecond` may be too low for its images.",
        ),
    };
    Explanation {
        what,
        meaning,
        first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_in_sentences() {
        for code in Code::ALL {
            let Explanation {
                what,
                meaning,
                first,
            } = explain(*code);
            assert!(!what.is_empty() && !what.ends_with('.'), "{code}: {what}");
            for sentence in [meaning, first] {
                assert!(sentence.ends_with('.'), "{code}: {sentence}");
                assert!(sentence.starts_with(char::is_uppercase), "{code}");
            }
        }
    }
}
