//! How much of the machine the RUNs of a build may use.

/// The least memory docker lets anything be limited to, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;

/// Limits of each RUN, all it starts included. What is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory and swap together in bytes.
    pub memory_and_swap: Option<u64>,
    /// The weight against others when processors are short; others have 1024.
    pub cpu_shares: Option<u64>,
    /// The length in microseconds of what `cpu_quota` is a part of.
    pub cpu_period: Option<u64>,
    /// Time on processors in each period, in microseconds.
    pub cpu_quota: Option<u64>,
    /// The processors, as in `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// The nodes of memory, as in `0,1`.
    pub cpuset_mems: Option<String>,
    /// The control group that those of the RUNs are made in, as a path from the top.
    pub parent: Option<String>,
}

impl Limits {
    /// Looks for what no host can do.
    ///
    /// # Errors
    /// What is wrong, in dockerd's words where it has some.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |text: &str| Err(text.to_owned());
        if self.memory.is_some_and(|memory| memory < LEAST_MEMORY) {
            return wrong("Minimum memory limit allowed is 6MB");
        }
        match (self.memory, self.memory_and_swap) {
            (None, Some(_)) => {
                return wrong(
                    "You should always set the Memory limit when using Memoryswap limit, see usage",
                );
            }
            (Some(memory), Some(both)) if both < memory => {
                return wrong("Minimum memoryswap limit should be larger than memory limit, see usage");
            }
            _ => {}
        }
        if self
            .cpu_period
            .is_some_and(|period| !(1000..=1_000_000).contains(&period))
        {
            return wrong(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            );
        }
        if self.cpu_quota.is_some_and(|quota| quota < 1000) {
            return wrong("CPU cfs quota can not be less than 1ms (i.e. 1000)");
        }
        for (what, list) in [("cpus", &self.cpuset_cpus), ("mems", &self.cpuset_mems)] {
            if let Some(list) = list.as_ref().filter(|list| !is_list(list)) {
                return Err(format!("Invalid value {list} for cpuset {what}"));
            }
        }
        match &self.parent {
            Some(parent) if parent.contains('\0') || parent.split('/').any(|part| part == "..") => Err(
                format!("invalid cgroup parent {parent:?}: name a path from the top"),
            ),
            _ => Ok(()),
        }
    }
}

/// Whether it is numbers and ranges of them with commas between, as in `0-2,4`.
fn is_list(text: &str) -> bool {
    text.split(',').all(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => first <= last,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn what_no_host_can_do_is_said() {
        type Set = fn(&mut Limits);
        let table: [(&str, Set); 12] = [
            ("", |_| {}),
            ("", |l| {
                (l.memory, l.memory_and_swap) = (Some(6 << 20), Some(6 << 20))
            }),
            ("", |l| (l.cpu_period, l.cpu_quota) = (Some(1000), Some(1000))),
            ("", |l| l.cpuset_cpus = Some("0-2,4,7-7".to_owned())),
            ("", |l| l.parent = Some("/a/b..".to_owned())),
            ("Minimum memory limit", |l| l.memory = Some((6 << 20) - 1)),
            ("always set the Memory limit", |l| {
                l.memory_and_swap = Some(1 << 30)
            }),
            ("larger than memory limit", |l| {
                (l.memory, l.memory_and_swap) = (Some(1 << 30), Some(1 << 29));
            }),
            ("cfs period", |l| l.cpu_period = Some(999)),
            ("cfs quota", |l| l.cpu_quota = Some(999)),
            ("for cpuset mems", |l| l.cpuset_mems = Some("1-0".to_owned())),
            ("cgroup parent", |l| l.parent = Some("a/../b".to_owned())),
        ];
        for (part, set) in table {
            let mut limits = Limits::default();
            set(&mut limits);
            match limits.check() {
                Ok(()) => assert_eq!(part, "", "{limits:?}"),
                Err(text) => assert!(!part.is_empty() && text.contains(part), "{text}"),
            }
        }
    }
}
