//! How much of the machine a process and all it starts may use.

use serde::{Deserialize, Serialize};

/// Limits of control groups (`cgroups(7)`). What is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory and swap together in bytes; looked at only where `memory` is limited, and not less than that.
    pub memory_and_swap: Option<u64>,
    /// The weight against others when processors are short, 2 to 262144; others have 1024.
    pub cpu_shares: Option<u64>,
    /// The length in microseconds of what `cpu_quota` is a part of; 100000 without it.
    pub cpu_period: Option<u64>,
    /// Time on processors in each period, in microseconds.
    pub cpu_quota: Option<u64>,
    /// The processors, as in `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// The nodes of memory, as in `0,1`.
    pub cpuset_mems: Option<String>,
    /// The group that the process' own is made in, as a path from the top; `mica` without it. One that is missing is made.
    pub parent: Option<String>,
}

/// One file of a group to be written. The unified hierarchy has names and values of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub controller: &'static str,
    /// What somebody who asked for it calls it.
    pub about: &'static str,
    pub legacy: (&'static str, String),
    pub unified: (&'static str, String),
    /// Whether a kernel that lacks the file is no error.
    pub optional: bool,
}

/// The controller of memory.
pub(crate) const MEMORY: &str = "memory";

/// The period of the kernel, in microseconds.
const PERIOD: u64 = 100_000;

impl Limits {
    /// Whether nothing at all is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// What is to be written, in this order.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        self.memory_settings(&mut settings);
        self.cpu_settings(&mut settings);
        let sets = [
            ("the processors", "cpuset.cpus", &self.cpuset_cpus),
            ("the nodes of memory", "cpuset.mems", &self.cpuset_mems),
        ];
        for (about, file, value) in sets {
            if let Some(value) = value {
                settings.push(Setting {
                    controller: "cpuset",
                    about,
                    legacy: (file, value.clone()),
                    unified: (file, value.clone()),
                    optional: false,
                });
            }
        }
        settings
    }

    fn memory_settings(&self, settings: &mut Vec<Setting>) {
        let Some(memory) = self.memory else { return };
        settings.push(Setting {
            controller: MEMORY,
            about: "memory",
            legacy: ("memory.limit_in_bytes", memory.to_string()),
            unified: ("memory.max", memory.to_string()),
            optional: false,
        });
        if let Some(both) = self.memory_and_swap {
            let both = both.max(memory);
            settings.push(Setting {
                controller: MEMORY,
                about: "swap",
                legacy: ("memory.memsw.limit_in_bytes", both.to_string()),
                unified: ("memory.swap.max", (both - memory).to_string()),
                // docker goes on without it, too, on kernels that do not count swap
                optional: true,
            });
        }
    }

    fn cpu_settings(&self, settings: &mut Vec<Setting>) {
        let mut push = |about, legacy, unified| {
            settings.push(Setting {
                controller: "cpu",
                about,
                legacy,
                unified,
                optional: false,
            });
        };
        if let Some(shares) = self.cpu_shares {
            let shares = shares.clamp(2, 262_144);
            // 2 to 262144 onto 1 to 10000, as container runtimes do it
            let weight = 1 + ((shares - 2) * 9999) / 262_142;
            push(
                "shares of processors",
                ("cpu.shares", shares.to_string()),
                ("cpu.weight", weight.to_string()),
            );
        }
        if self.cpu_period.is_none() && self.cpu_quota.is_none() {
            return;
        }
        let period = self.cpu_period.unwrap_or(PERIOD);
        let quota = self.cpu_quota.map(|quota| quota.to_string());
        let max = format!("{} {period}", quota.as_deref().unwrap_or("max"));
        push(
            "the period of processors",
            ("cpu.cfs_period_us", period.to_string()),
            ("cpu.max", max.clone()),
        );
        if let Some(quota) = quota {
            push(
                "time on processors",
                ("cpu.cfs_quota_us", quota),
                ("cpu.max", max),
            );
        }
    }
}

/// The setting of the most processes and threads there may be at once.
pub(crate) fn processes(most: u64) -> Setting {
    Setting {
        controller: "pids",
        about: "processes",
        legacy: ("pids.max", most.to_string()),
        unified: ("pids.max", most.to_string()),
        optional: false,
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    fn written(limits: &Limits) -> (Vec<String>, Vec<String>) {
        let text = |(file, value): &(&str, String)| format!("{file}={value}");
        let settings = limits.settings();
        (
            settings.iter().map(|setting| text(&setting.legacy)).collect(),
            settings.iter().map(|setting| text(&setting.unified)).collect(),
        )
    }

    #[test]
    fn both_kinds_of_hierarchies_have_their_files() {
        let limits = Limits {
            memory: Some(1 << 26),
            memory_and_swap: Some(1 << 27),
            cpu_shares: Some(1024),
            cpu_period: None,
            cpu_quota: Some(50_000),
            cpuset_cpus: Some("0-1".to_owned()),
            cpuset_mems: None,
            parent: None,
        };
        let (legacy, unified) = written(&limits);
        assert_eq!(
            legacy,
            [
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=134217728",
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "cpuset.cpus=0-1",
            ]
        );
        assert_eq!(
            unified,
            [
                "memory.max=67108864",
                "memory.swap.max=67108864",
                "cpu.weight=39",
                "cpu.max=50000 100000",
                "cpu.max=50000 100000",
                "cpuset.cpus=0-1",
            ]
        );
        assert!(written(&Limits::default()).0.is_empty());
    }

    #[test]
    fn shares_reach_from_end_to_end() {
        for (shares, weight) in [(0, 1), (2, 1), (262_144, 10_000), (u64::MAX, 10_000)] {
            let limits = Limits {
                cpu_shares: Some(shares),
                ..Limits::default()
            };
            assert_eq!(written(&limits).1, [format!("cpu.weight={weight}")]);
        }
    }
}
