//! The standard `process_*` metrics, read from `/proc/self`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Where `/proc` is not to be had, there are no such metrics.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessCollector;

struct Facts {
    cpu_seconds: f64,
    resident_bytes: u64,
    start_seconds: f64,
    open_files: u64,
    max_files: u64,
}

fn facts() -> Option<Facts> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name may hold anything, also spaces and brackets; the fields follow the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // proc(5) counts from 1 and the first field here is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = rustix::param::clock_ticks_per_second();
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = boot
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse::<u64>()
        .ok()?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[expect(
        clippy::cast_precision_loss,
        reason = "ticks and seconds are far below 2^53"
    )]
    Some(Facts {
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks as f64,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
        start_seconds: boot as f64 + field(22)? as f64 / ticks as f64,
        open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        max_files: limit.unwrap_or(u64::MAX),
    })
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(facts) = facts() else { return Ok(()) };
        encoder
            .encode_descriptor(
                "process_cpu_seconds",
                "CPU time spent",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&facts.cpu_seconds, None)?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                facts.resident_bytes as f64,
            ),
            (
                "process_start_time_seconds",
                "Start of the process",
                facts.start_seconds,
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                facts.open_files as f64,
            ),
            (
                "process_max_fds",
                "Most file descriptors that may be open",
                facts.max_files as f64,
            ),
        ];
        for (name, help, value) in gauges {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
        Ok(())
    }
}
