//! A source's last complete state as text, for a restart: a line that says whose it is, one for each use,
//! for another pullproof's one for each reference that it keeps digests of, and one with the digest of all
//! before it. Pure.
//!
//! Pull secrets are not written: their names are, and what is in them is unreadable until the cluster is
//! read again.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::extract::Interner;
use super::marks::{Marked, Marks, Said, sorted};
use super::peer::{Mark, Told};
use super::running::{Running, RunningUse};
use super::{
    Class, ImageUse, NodeConstraint, PullSecret, PullSecrets, SourceState, TopOwner, User,
};
use crate::oci::digest::{Digest, Hasher};
use crate::oci::platform::Platform;
use crate::oci::reference::{Reference, Sharing};

/// Uses beyond it are not a source's but a mistake.
const USES_MAX: usize = 5_000_000;
const UNREAD: &str = "the cluster was not read since pullproof started";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "pullproof.dev/source/v1")]
    V1,
}

/// What a state is of: of anything else it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFrom {
    /// What it was read from.
    pub identity: String,
    /// The digest of what was read there beyond Kubernetes' own kinds; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<Digest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    schema: Schema,
    #[serde(flatten)]
    from: ReadFrom,
    complete_at: Timestamp,
    platforms: Option<Vec<Platform>>,
    uses: usize,
    /// Who the other pullproof is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<Mark>,
    /// Of how many references it keeps digests.
    #[serde(default)]
    digests: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    user: User,
    /// Where it is not what the image's text says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Reference>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pull_secrets: Arc<[Arc<str>]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platforms: Option<Arc<[Platform]>>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    running: Box<[Running]>,
    /// What people said of alerts about its workload.
    #[serde(flatten)]
    said: Said,
}

#[derive(Debug, Serialize, Deserialize)]
struct DigestsLine {
    of: Reference,
    digests: Box<[Digest]>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    digest: Digest,
}

/// Why a text is no state of a source.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("line {line}: {source}")]
    Line {
        line: usize,
        source: serde_json::Error,
    },
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it is of another source: {0}")]
    Other(String),
}

/// Writes a complete state; yields the digest of what was written.
pub fn write(state: &SourceState, from: &ReadFrom, to: &mut impl Write) -> std::io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut line: Vec<u8> = Vec::new();
    let mut put = |to: &mut dyn Write, value: &dyn Fn(&mut Vec<u8>) -> serde_json::Result<()>| {
        line.clear();
        value(&mut line)?;
        line.push(b'\n');
        hasher.update(&line);
        to.write_all(&line)
    };
    let head = Head {
        schema: Schema::V1,
        from: from.clone(),
        complete_at: state.complete_at.unwrap_or_default(),
        platforms: state.platforms.as_ref().map(|platforms| platforms.to_vec()),
        uses: state.uses.len(),
        peer: state.peer.as_ref().and_then(|told| told.mark.clone()),
        digests: state.peer.as_ref().map_or(0, |told| told.digests.len()),
    };
    put(to, &|line| serde_json::to_writer(line, &head))?;
    for (image_use, of_use) in state.uses_told() {
        let said = Said::of(state.marks.of(&image_use.user));
        let one = Line::of(image_use, of_use.map(|of_use| &*of_use.running), said);
        put(to, &|line| serde_json::to_writer(line, &one))?;
    }
    for (of, digests) in state.peer.iter().flat_map(|told| told.digests.iter()) {
        let one = DigestsLine {
            of: of.clone(),
            digests: digests.clone(),
        };
        put(to, &|line| serde_json::to_writer(line, &one))?;
    }
    let digest = hasher.finish();
    serde_json::to_writer(&mut *to, &Tail { digest })?;
    to.write_all(b"\n")?;
    Ok(digest)
}

impl Line {
    fn of(image_use: &ImageUse, running: Option<&[Running]>, said: Said) -> Self {
        let ImageUse {
            user,
            reference,
            pull_secrets,
            constraint,
        } = image_use;
        let written: Option<Reference> = user.image.parse().ok();
        let reference = reference.as_ref().ok();
        Self {
            user: User::clone(user),
            reference: reference.filter(|_| written.as_ref() != reference).cloned(),
            pull_secrets: Arc::clone(pull_secrets),
            os: constraint.os.clone(),
            architecture: constraint.architecture.clone(),
            platforms: constraint.platforms.clone(),
            running: running.unwrap_or_default().into(),
            said,
        }
    }
}

/// Reads a state back, and the digest of its text; `class` is what the source's workloads are now. It is
/// not complete: it was not read now. Nor was it ever, where more or other kinds are to be read than then:
/// it is then only what is known so far.
pub fn read(
    name: &str,
    read_from: &ReadFrom,
    class: Option<Class>,
    from: &mut impl BufRead,
) -> Result<(SourceState, Digest), StoredError> {
    let mut lines = Lines {
        from,
        text: Vec::new(),
        number: 0,
        hasher: Hasher::default(),
    };
    let head: Head = lines.next()?;
    if head.from.identity != read_from.identity {
        return Err(StoredError::Other(head.from.identity));
    }
    if head.uses > USES_MAX || head.digests > USES_MAX {
        return Err(StoredError::Damaged("it has more uses than can be"));
    }
    let mut reader = Reader::default();
    let mut uses = Vec::with_capacity(head.uses.min(1 << 20));
    let mut pull_secrets = PullSecrets::new();
    let mut running = Vec::new();
    let mut marked = Vec::new();
    for _ in 0..head.uses {
        let mut line: Line = lines.next()?;
        let of_use = std::mem::take(&mut line.running);
        let said = std::mem::take(&mut line.said);
        let image_use = reader.image_use(line, class);
        if let Some(mark) = said.mark(&mut reader.interner) {
            marked.push(Marked {
                owner: Arc::clone(&image_use.user.owner),
                mark,
            });
        }
        if !of_use.is_empty() {
            running.push(Arc::new(RunningUse {
                user: Arc::clone(&image_use.user),
                running: of_use,
                refusal: None,
                pulled: None,
            }));
        }
        for secret in image_use.pull_secrets.iter() {
            let key = (Arc::clone(&image_use.user.namespace), Arc::clone(secret));
            let unread = || PullSecret::Unreadable(UNREAD.to_owned());
            pull_secrets.entry(key).or_insert_with(unread);
        }
        uses.push(image_use);
    }
    let mut digests = Vec::with_capacity(head.digests.min(1 << 20));
    for _ in 0..head.digests {
        let line: DigestsLine = lines.next()?;
        digests.push((reader.sharing.share(line.of), line.digests));
    }
    let digest = lines.hasher.clone().finish();
    let tail: Tail = lines.next()?;
    if tail.digest != digest {
        return Err(StoredError::Damaged("its digest is another"));
    }
    let state = SourceState {
        incomplete: Some("it was not read since pullproof started".to_owned()),
        complete_at: (head.from.beyond == read_from.beyond).then_some(head.complete_at),
        uses: uses.into(),
        running: running.into(),
        peer: head.peer.map(|mark| {
            Arc::new(Told {
                mark: Some(mark),
                digests: digests.into(),
            })
        }),
        pull_secrets: Arc::new(pull_secrets),
        platforms: head.platforms.map(Into::into),
        marks: Marks::new(sorted(marked).into(), Vec::new()),
        ..SourceState::unread(name)
    };
    Ok((state, digest))
}

struct Lines<'a, R> {
    from: &'a mut R,
    text: Vec<u8>,
    number: usize,
    hasher: Hasher,
}

impl<R: BufRead> Lines<'_, R> {
    fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, StoredError> {
        self.number += 1;
        self.text.clear();
        self.from.read_until(b'\n', &mut self.text)?;
        if !self.text.ends_with(b"\n") {
            return Err(StoredError::Damaged("it ends too early"));
        }
        self.hasher.update(&self.text);
        serde_json::from_slice(&self.text).map_err(|source| StoredError::Line {
            line: self.number,
            source,
        })
    }
}

/// Keeps once what many uses have in common.
#[derive(Debug, Default)]
struct Reader {
    interner: Interner,
    sharing: Sharing,
    owner: Option<Arc<TopOwner>>,
    secrets: BTreeSet<Arc<[Arc<str>]>>,
    constraint: Option<Arc<NodeConstraint>>,
}

impl Reader {
    fn image_use(&mut self, line: Line, class: Option<Class>) -> ImageUse {
        let Line {
            user,
            reference,
            pull_secrets,
            os,
            architecture,
            platforms,
            running: _,
            said: _,
        } = line;
        let reference = match reference {
            Some(reference) => Ok(self.sharing.share(reference)),
            None => match user.image.parse() {
                Ok(reference) => Ok(self.sharing.share(reference)),
                Err(invalid) => Err(Box::new(invalid)),
            },
        };
        let constraint = NodeConstraint {
            os,
            architecture,
            platforms,
        };
        let constraint = match &self.constraint {
            Some(known) if **known == constraint => Arc::clone(known),
            Some(_) | None => Arc::new(constraint),
        };
        self.constraint = Some(Arc::clone(&constraint));
        ImageUse {
            user: Arc::new(self.user(user, class)),
            reference,
            pull_secrets: self.secrets(&pull_secrets),
            constraint,
        }
    }

    fn user(&mut self, user: User, class: Option<Class>) -> User {
        let owner = match &self.owner {
            Some(known) if **known == *user.owner => Arc::clone(known),
            Some(_) | None => Arc::new(TopOwner {
                cluster: user.owner.cluster.as_ref().map(|it| self.interner.text(it)),
                namespace: self.interner.text(&user.owner.namespace),
                kind: self.interner.text(&user.owner.kind),
                name: Arc::clone(&user.owner.name),
            }),
        };
        self.owner = Some(Arc::clone(&owner));
        User {
            owner,
            container: self.interner.text(&user.container),
            image: self.interner.text(&user.image),
            // Its role may be another by now.
            class: match (user.class, class) {
                (Class::Runtime | Class::Failover, Some(class)) => class,
                (before, _) => before,
            },
            via: user.via,
            since: user.since,
            idle: user.idle,
        }
    }

    fn secrets(&mut self, secrets: &[Arc<str>]) -> Arc<[Arc<str>]> {
        if let Some(known) = self.secrets.get(secrets) {
            return Arc::clone(known);
        }
        let secrets: Arc<[Arc<str>]> = secrets.iter().map(|it| self.interner.text(it)).collect();
        self.secrets.insert(Arc::clone(&secrets));
        secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::marks::Mark;
    use crate::inventory::references;
    use crate::inventory::running::{ImageId, Place};

    fn state() -> SourceState {
        let text = "registry.example/a:1\nnot a reference\nnginx\n";
        let mut state = references::read_text("edge", text, Timestamp::from_second(7).unwrap());
        let mut uses = state.uses.to_vec();
        let user = User::clone(&uses[0].user);
        uses[0] = ImageUse {
            user: Arc::new(User {
                class: Class::Runtime,
                ..user
            }),
            pull_secrets: ["pull".into()].into(),
            constraint: Arc::new(NodeConstraint {
                os: Some("linux".to_owned()),
                ..NodeConstraint::default()
            }),
            ..uses[0].clone()
        };
        state.uses = uses.into();
        state.platforms = Some(["linux/arm64".parse().unwrap()].into());
        state
    }

    fn from(identity: &str, beyond: Option<&str>) -> ReadFrom {
        ReadFrom {
            identity: identity.to_owned(),
            beyond: beyond.map(|beyond| Digest::of(beyond.as_bytes())),
        }
    }

    fn written() -> Vec<u8> {
        let mut text = Vec::new();
        write(&state(), &from("list", None), &mut text).unwrap();
        text
    }

    #[test]
    fn what_ran_comes_back_with_it() {
        let mut state = state();
        let running = RunningUse {
            user: Arc::clone(&state.uses[2].user),
            running: [Running {
                id: ImageId {
                    digest: Digest::of(b"what runs"),
                    place: Place::Named,
                },
                by: "ReplicaSet/web-1".into(),
            }]
            .into(),
            refusal: None,
            pulled: None,
        };
        state.running = [Arc::new(running)].into();
        let mut text = Vec::new();
        let of = from("list", None);
        write(&state, &of, &mut text).unwrap();
        let (back, _) = read("edge", &of, None, &mut &*text).unwrap();
        assert_eq!(back.running, state.running);
    }

    #[test]
    fn what_people_said_of_alerts_comes_back_with_it() {
        let mut state = state();
        let owner = Arc::clone(&state.uses[0].user.owner);
        let mark = Mark {
            ignore: Some("moving".into()),
            labels: [("team".into(), "web".into())].into(),
        };
        let marked = Marked {
            owner: Arc::clone(&owner),
            mark: Arc::new(mark),
        };
        state.marks = Marks::new([marked].into(), Vec::new());
        let mut text = Vec::new();
        let of = from("list", None);
        write(&state, &of, &mut text).unwrap();
        let (back, _) = read("edge", &of, None, &mut &*text).unwrap();
        assert_eq!(back.marks, state.marks);
        assert_eq!(back.uses, state.uses);
        // Of which nobody said anything, nothing is written.
        assert!(!String::from_utf8(written()).unwrap().contains("ignored"));
    }

    #[test]
    fn what_was_read_of_other_kinds_is_known_and_does_not_stand_in() {
        let mut text = Vec::new();
        write(&state(), &from("list", Some("kinds")), &mut text).unwrap();
        for (stored, now, stands) in [
            (&text, Some("kinds"), true),
            (&text, Some("more kinds"), false),
            (&text, None, false),
            // As it was written before kinds were.
            (&written(), None, true),
            (&written(), Some("kinds"), false),
        ] {
            let of = from("list", now);
            let (back, _) = read("edge", &of, None, &mut &**stored).unwrap();
            assert_eq!(back.uses.len(), 3);
            assert_eq!(back.complete_at.is_some(), stands, "{now:?}");
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was_but_not_as_complete() {
        let (back, _) = read("edge", &from("list", None), None, &mut &*written()).unwrap();
        assert_eq!(back.uses, state().uses);
        assert_eq!(back.platforms, state().platforms);
        assert_eq!(back.complete_at, state().complete_at);
        assert!(back.incomplete.is_some());
        // What was in the secret is not there, and not as if the secret were not either.
        let key = ("".into(), "pull".into());
        assert!(matches!(
            &back.pull_secrets[&key],
            PullSecret::Unreadable(_)
        ));
        let (standby, _) = read(
            "edge",
            &from("list", None),
            Some(Class::Failover),
            &mut &*written(),
        )
        .unwrap();
        let classes: Vec<Class> = standby.uses.iter().map(|it| it.user.class).collect();
        assert_eq!(classes, [Class::Failover, Class::Listed, Class::Listed]);
    }

    #[test]
    fn a_part_or_another_content_is_an_error_and_never_fewer_uses() {
        let text = written();
        for end in 0..text.len() {
            assert!(
                read("edge", &from("list", None), None, &mut &text[..end]).is_err(),
                "{end}"
            );
        }
        let lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
        let without = |line: usize| {
            let mut lines = lines.clone();
            lines.remove(line);
            lines.join("\n") + "\n"
        };
        for line in 0..lines.len() {
            assert!(
                read(
                    "edge",
                    &from("list", None),
                    None,
                    &mut without(line).as_bytes()
                )
                .is_err()
            );
        }
        let changed = String::from_utf8(text.clone())
            .unwrap()
            .replace("/a:1", "/b:1");
        let changed = read("edge", &from("list", None), None, &mut changed.as_bytes()).unwrap_err();
        assert!(changed.to_string().contains("digest"), "{changed}");
        let other = read("edge", &from("another list", None), None, &mut &*text).unwrap_err();
        assert!(matches!(other, StoredError::Other(_)));
        let later = String::from_utf8(text)
            .unwrap()
            .replace("source/v1", "source/v2");
        assert!(read("edge", &from("list", None), None, &mut later.as_bytes()).is_err());
    }
}
