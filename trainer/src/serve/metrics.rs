//! Latencies by endpoint: histograms of atomic counters, which every thread adds to and none waits
//! for.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use histogram::{AtomicHistogram, Error, Quantile};

/// Buckets of a histogram: relative error below 1 in 2^7.
const GROUPING_POWER: u8 = 7;
/// Longest latency that is distinguished: 2^36 ns are 68 s.
const MAX_VALUE_POWER: u8 = 36;
const LONGEST_NS: u64 = (1 << MAX_VALUE_POWER) - 1;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
const NS_PER_SECOND: f64 = 1e9;

/// What a request asked for.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint {
    /// `POST /score`.
    Score,
    /// `POST /explain`.
    Explain,
    /// `GET /model`.
    Model,
    /// `POST /model`.
    Publish,
}

impl Endpoint {
    const NAMES: [&str; 4] = ["POST /score", "POST /explain", "GET /model", "POST /model"];
}

/// The latencies of all endpoints, since the start.
pub struct Metrics([Latencies; Endpoint::NAMES.len()]);

struct Latencies {
    ns: AtomicHistogram,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
    refused: AtomicU64,
}

impl Metrics {
    /// Starts without any.
    pub fn new() -> Result<Self, Error> {
        let start = || {
            let ns = AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER)?;
            Ok::<_, Error>(Latencies { ns, sum_ns: 0.into(), max_ns: 0.into(), refused: 0.into() })
        };
        Ok(Self([start()?, start()?, start()?, start()?]))
    }

    /// Counts a request.
    pub fn record(&self, endpoint: Endpoint, took: Duration, answered: bool) {
        let Some(latencies) = self.0.get(endpoint as usize) else { return };
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(LONGEST_NS);
        // In range by the line above, the only thing that could be wrong.
        let _ = latencies.ns.increment(ns);
        latencies.sum_ns.fetch_add(ns, Relaxed);
        latencies.max_ns.fetch_max(ns, Relaxed);
        latencies.refused.fetch_add(u64::from(!answered), Relaxed);
    }

    /// Tells them in Prometheus' text format: quantiles and sums in seconds.
    pub fn text(&self) -> Result<String, Error> {
        #[allow(clippy::cast_precision_loss)] // of latencies
        let seconds = |ns: u64| ns as f64 / NS_PER_SECOND;
        let (mut latency, mut max, mut refused) = (String::new(), String::new(), String::new());
        for (name, of) in Endpoint::NAMES.iter().zip(&self.0) {
            let found = of.ns.load().quantiles(&QUANTILES)?;
            let at = |quantile| Some(found.as_ref()?.get(&Quantile::new(quantile).ok()?)?.end());
            let (most, count) = (of.max_ns.load(Relaxed), found.as_ref().map_or(0, |found| found.total_count()));
            for quantile in QUANTILES {
                // A bucket's end may lie past the longest latency in it.
                let Some(ns) = at(quantile).map(|ns| seconds(ns.min(most))) else { continue };
                let _ = writeln!(latency, "feamoe_request_seconds{{endpoint=\"{name}\",quantile=\"{quantile}\"}} {ns}");
            }
            let sum = seconds(of.sum_ns.load(Relaxed));
            let _ = writeln!(latency, "feamoe_request_seconds_sum{{endpoint=\"{name}\"}} {sum}");
            let _ = writeln!(latency, "feamoe_request_seconds_count{{endpoint=\"{name}\"}} {count}");
            let _ = writeln!(max, "feamoe_request_seconds_max{{endpoint=\"{name}\"}} {}", seconds(most));
            let of = of.refused.load(Relaxed);
            let _ = writeln!(refused, "feamoe_requests_refused_total{{endpoint=\"{name}\"}} {of}");
        }
        Ok(format!(
            "# TYPE feamoe_request_seconds summary\n{latency}# TYPE feamoe_request_seconds_max gauge\n{max}\
             # TYPE feamoe_requests_refused_total counter\n{refused}"
        ))
    }
}
