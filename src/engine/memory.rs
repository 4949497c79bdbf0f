//! Keeps state from growing until the operating system ends the process.

use bytesize::ByteSize;

use super::RunError;
use crate::plan::Plan;
use crate::state::Size;

/// Beyond this part of the limit there is a warning.
const WARN_AT: f64 = 0.8;
/// This part of the memory is the limit where the pipeline sets none: writing a snapshot needs some, too.
const DEFAULT_PART: u64 = 2;

/// Watches how much memory the states of all steps take together.
#[derive(Debug)]
pub struct StateLimit {
    /// In bytes.
    limit: u64,
    warned: bool,
}

impl StateLimit {
    /// The pipeline's `engine.state_limit`, or half of the memory there is.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let limit = plan.engine.state_limit.map(|limit| limit.as_bytes());
        let limit = limit.or_else(|| Some(machine_memory()? / DEFAULT_PART)).unwrap_or(u64::MAX);
        Self { limit, warned: false }
    }

    /// Looks at the states after a batch.
    ///
    /// # Errors
    /// When they take more than they may.
    pub fn check(&mut self, sizes: &[(String, Size)]) -> Result<(), RunError> {
        let total: u64 = sizes.iter().map(|(_, size)| size.bytes as u64).sum();
        let Some((step, largest)) = sizes.iter().max_by_key(|(_, size)| size.bytes) else { return Ok(()) };
        let (taken, limit) = (ByteSize(total).display().iec(), ByteSize(self.limit).display().iec());
        let most = format!("most of it `{step}`, {} entries", largest.entries);
        if total > self.limit {
            return Err(RunError::StateLimit(format!(
                "the state takes {taken} of memory, and {limit} is the limit ({most}); the batch is complete. Give \
                 keys an end (`timeout`, `within`, `remove_when`, a shorter window), or raise `engine.state_limit`"
            )));
        }
        let near = total as f64 > self.limit as f64 * WARN_AT;
        if near && !self.warned {
            tracing::warn!("the state takes {taken} of memory; at {limit} the pipeline stops ({most})");
        }
        self.warned = near;
        Ok(())
    }
}

/// The memory that this process may use, as far as that is known: of its control group, or of the machine.
fn machine_memory() -> Option<u64> {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    [group, machine].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: usize) -> Vec<(String, Size)> {
        vec![("counts".to_owned(), Size { entries: 3, bytes })]
    }

    #[test]
    fn there_is_a_warning_and_then_an_end() {
        let mut limit = StateLimit { limit: 1_000, warned: false };
        assert!(limit.check(&[]).is_ok());
        for (bytes, warned) in [(800, false), (801, true), (1_000, true), (100, false)] {
            assert!(limit.check(&sizes(bytes)).is_ok());
            assert_eq!(limit.warned, warned, "{bytes}");
        }
        let error = limit.check(&sizes(1_001)).unwrap_err().to_string();
        assert!(error.contains("1001 B") && error.contains("`counts`, 3 entries"), "{error}");
    }
}
