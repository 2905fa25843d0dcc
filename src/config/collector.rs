//! Who collects.

use std::path::PathBuf;

use super::check::Checker;
use super::raw;

/// Who carries out a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Collector {
    /// Whoever runs: the daemon, or `pullproof gc`.
    #[default]
    InProcess,
    /// A Job that the daemon starts.
    Job(CollectorJob),
}

/// The Job that collects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorJob {
    /// Where it runs.
    pub namespace: String,
    /// Its manifest.
    pub template: PathBuf,
}

impl Collector {
    /// `None` where nobody has to be started for it.
    pub fn job(&self) -> Option<&CollectorJob> {
        match self {
            Self::InProcess => None,
            Self::Job(job) => Some(job),
        }
    }
}

impl Checker<'_, '_> {
    pub(super) fn collector(
        &mut self,
        path: &str,
        raw: raw::Collector,
        defaults: &Collector,
    ) -> Collector {
        let at = format!("{path}.job");
        let keys = [
            ("inProcess", raw.in_process.is_some()),
            ("job", raw.job.is_some()),
        ];
        let way_out = "write {inProcess: {}} or {job: {namespace: NAMESPACE, template: FILE}}";
        self.has_one(path, &keys, "collectors", way_out);
        match (raw.in_process, raw.job) {
            (Some(_), Some(_)) | (None, None) => defaults.clone(),
            (Some(raw::InProcess {}), None) => Collector::InProcess,
            (None, Some(raw)) => {
                let namespace = self.namespace(&format!("{at}.namespace"), raw.namespace);
                let template = raw.template.unwrap_or_default();
                Collector::Job(CollectorJob {
                    namespace,
                    template: self.file(&format!("{at}.template"), template),
                })
            }
        }
    }
}
