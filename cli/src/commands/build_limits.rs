//! The flags of `mica build` that limit what a RUN may use of the machine.

use clap::Args;

use crate::client::Query;
use crate::size;

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Memory limit of each RUN
    #[arg(short, long, value_name = "BYTES", value_parser = size::parse_binary)]
    memory: Option<i64>,
    /// Swap limit equal to memory plus swap: "-1" to enable unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = swap, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<i64>,
    /// Limit the CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Limit the CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Set the parent cgroup for the RUN instructions during build
    #[arg(long, value_name = "GROUP")]
    cgroup_parent: Option<String>,
}

impl Limits {
    /// Adds those that are given.
    pub(super) fn push(&self, query: &mut Query) {
        let numbers = [
            ("memory", self.memory),
            ("memswap", self.memory_swap),
            ("cpushares", self.cpu_shares),
            ("cpuperiod", self.cpu_period),
            ("cpuquota", self.cpu_quota),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                query.push(name, value.to_string());
            }
        }
        let texts = [
            ("cpusetcpus", &self.cpuset_cpus),
            ("cpusetmems", &self.cpuset_mems),
            ("cgroupparent", &self.cgroup_parent),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                query.push(name, value);
            }
        }
    }
}

/// A size, or -1.
fn swap(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        size => size::parse_binary(size),
    }
}
