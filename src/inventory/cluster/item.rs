//! What the API server answers, read: the objects of a page, the event of a line.

use std::collections::BTreeMap;

use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::inventory::extract::{Mention, Metadata, Object, Release, Search, nullable};
use crate::inventory::running::EventObject;

use super::api::{Failure, by_code, told};
use super::kinds::{Resource, Shape};

#[derive(Debug)]
pub(super) struct Page {
    pub metadata: PageMetadata,
    pub items: Vec<Item>,
}

/// An object.
#[derive(Debug)]
pub(super) struct Item {
    pub body: Body,
    /// What it mentions, where that is looked for.
    pub mentions: Vec<Mention>,
}

/// An object, read in one of the [shapes](Shape).
#[derive(Debug)]
pub(super) enum Body {
    Typed(Box<Object>),
    Free(Value),
    Names(Box<NamedObject>),
    Release(Box<ReleaseSecret>),
    Event(Box<EventObject>),
}

/// A Secret with a revision of a release of Helm.
#[derive(Debug)]
pub(super) struct ReleaseSecret {
    pub metadata: Metadata,
    /// Or what is wrong with it.
    pub release: Result<Release, &'static str>,
}

#[derive(Default, Deserialize)]
struct RawReleaseSecret {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    data: BTreeMap<String, Hidden>,
}

impl RawReleaseSecret {
    fn unpack(self) -> Body {
        let release = self.data.get("release");
        let release = release.ok_or("it has no release in its data");
        Body::Release(Box::new(ReleaseSecret {
            release: release.and_then(|packed| Release::unpack(&packed.0)),
            metadata: self.metadata,
        }))
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NamedObject {
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Metadata,
}

impl Item {
    pub(super) fn resource_version(&self) -> &str {
        self.body.text(|it| &it.resource_version, "resourceVersion")
    }

    pub(super) fn namespace(&self) -> &str {
        self.body.text(|it| &it.namespace, "namespace")
    }

    pub(super) fn name(&self) -> &str {
        self.body.text(|it| &it.name, "name")
    }
}

impl Body {
    fn text(&self, of: fn(&Metadata) -> &String, field: &str) -> &str {
        match self {
            Self::Typed(object) => of(&object.metadata),
            Self::Names(object) => of(&object.metadata),
            Self::Release(secret) => of(&secret.metadata),
            Self::Event(event) => of(&event.metadata),
            Self::Free(object) => {
                let text = object.get("metadata").and_then(|it| it.get(field));
                text.and_then(Value::as_str).unwrap_or_default()
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct RawPage<T> {
    #[serde(default, deserialize_with = "nullable")]
    metadata: PageMetadata,
    #[serde(default = "Vec::new", deserialize_with = "nullable")]
    items: Vec<T>,
}

fn parse_page<T: DeserializeOwned>(
    content: &[u8],
    resource: &Resource,
    body: impl Fn(T) -> Body,
) -> Result<Page, Failure> {
    let page: RawPage<T> = parse_as(content, resource.shape)?;
    let mentions = match &resource.search {
        Some(search) => search
            .in_page(content)
            .map_err(|error| unreadable(&error))?,
        None => Vec::new(),
    };
    let mut mentions = mentions.into_iter();
    let items = page.items.into_iter().map(|object| Item {
        body: body(object),
        mentions: mentions.next().unwrap_or_default(),
    });
    Ok(Page {
        metadata: page.metadata,
        items: items.collect(),
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PageMetadata {
    #[serde(deserialize_with = "nullable")]
    pub resource_version: String,
    #[serde(rename = "continue", deserialize_with = "nullable")]
    pub continue_token: String,
}

/// Reads a page in the shape of its resource.
pub(super) fn read_page(content: &[u8], resource: &Resource) -> Result<Page, Failure> {
    match resource.shape {
        Shape::Typed => parse_page(content, resource, Body::Typed),
        Shape::Free => parse_page(content, resource, Body::Free),
        Shape::Names => parse_page(content, resource, Body::Names),
        Shape::Release => parse_page(content, resource, RawReleaseSecret::unpack),
        Shape::Event => parse_page(content, resource, Body::Event),
    }
}

/// Reads a line of a watch in the shape of its resource.
pub(super) fn read_event(
    line: &[u8],
    shape: Shape,
    search: Option<&Search>,
) -> Result<Event, Failure> {
    match shape {
        Shape::Typed => parse_event(line, shape, search, Body::Typed),
        Shape::Free => parse_event(line, shape, search, Body::Free),
        Shape::Names => parse_event(line, shape, search, Body::Names),
        Shape::Release => parse_event(line, shape, search, RawReleaseSecret::unpack),
        Shape::Event => parse_event(line, shape, search, Body::Event),
    }
}

/// A text that is wiped when it is dropped.
pub(super) struct Hidden(pub Zeroizing<String>);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

/// One line of a watch.
#[derive(Debug)]
pub(super) enum Event {
    /// Added or modified.
    Put(Item),
    Deleted(Item),
    Bookmark(Item),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum RawEvent<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    Bookmark(T),
    Error(Status),
}

fn parse_event<T: DeserializeOwned>(
    line: &[u8],
    shape: Shape,
    search: Option<&Search>,
    body: impl Fn(T) -> Body,
) -> Result<Event, Failure> {
    let item = |object| -> Result<Item, Failure> {
        let mentions = search.map(|search| search.in_event(line)).transpose();
        Ok(Item {
            body: body(object),
            mentions: mentions
                .map_err(|error| unreadable(&error))?
                .unwrap_or_default(),
        })
    };
    match parse_as(line, shape)? {
        RawEvent::Added(object) | RawEvent::Modified(object) => Ok(Event::Put(item(object)?)),
        RawEvent::Deleted(object) => Ok(Event::Deleted(item(object)?)),
        RawEvent::Bookmark(object) => Ok(Event::Bookmark(item(object)?)),
        RawEvent::Error(status) => Err(status.into()),
    }
}

/// The part of a `Status` that says what happened.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "nullable")]
    code: u16,
    #[serde(deserialize_with = "nullable")]
    message: String,
    #[serde(deserialize_with = "nullable")]
    reason: String,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let text = [status.message, status.reason]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| format!("HTTP status {}", status.code));
        by_code(status.code, &text)
    }
}

pub(super) fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(content).map_err(|error| unreadable(&error))
}

/// Where the answer holds secrets, what cannot be read of it is not told.
fn parse_as<T: DeserializeOwned>(content: &[u8], shape: Shape) -> Result<T, Failure> {
    parse(content).map_err(|failure| match shape {
        Shape::Release => Failure::Other("the answer holds no secrets".to_owned()),
        Shape::Typed | Shape::Free | Shape::Names | Shape::Event => failure,
    })
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::Other(told(&format!("the answer cannot be read: {error}")))
}
