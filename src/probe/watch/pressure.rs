//! Pressure triggers (`Documentation/accounting/psi.rst`, "Monitoring for pressure thresholds"): the kernel wakes a
//! reader when tasks have waited too long in a window.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use crate::probe::kernel::Root;
use crate::probe::source::pressure::Resource;

/// Any window for the privileged; for others the kernel (6.5 on) takes only multiples of 2 s, and before that none.
const WINDOWS_US: [u64; 2] = [1_000_000, 2_000_000];

/// A trigger, kept open.
#[derive(Debug)]
pub struct Trigger {
    /// What it watches.
    pub resource: Resource,
    /// The time that it looks at.
    pub window: Duration,
    file: File,
}

impl Trigger {
    /// Sets a trigger; `None` where the kernel has none for this process, or in a captured tree.
    #[must_use]
    pub fn open(root: &Root, resource: Resource) -> Option<Self> {
        if !root.is_live() {
            return None;
        }
        WINDOWS_US.iter().find_map(|&window_us| {
            // A file takes one trigger: each try is a file of its own.
            let path = root.join(format!("/proc/pressure/{}", resource.name()));
            let file = File::options().read(true).write(true).open(path).ok()?;
            let (row, thousandths) = resource.threshold();
            let order = format!("{} {} {window_us}\0", row.name(), window_us / 1000 * thousandths);
            rustix::io::write(&file, order.as_bytes()).ok()?;
            Some(Self { resource, window: Duration::from_micros(window_us), file })
        })
    }

    /// What to wait for with POLLPRI. POLLERR beside it means that there is no trigger any more.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// As the start line lists it: `memory:1s`.
    #[must_use]
    pub fn word(&self) -> String {
        format!("{}:{}s", self.resource.name(), self.window.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_tree_has_no_triggers() {
        let root = Root::new("/tmp".into());
        assert!(Resource::ALL.iter().all(|resource| Trigger::open(&root, *resource).is_none()));
    }

    #[test]
    fn this_kernel_takes_the_orders_or_has_no_triggers() {
        let root = Root::new("/".into());
        for resource in Resource::ALL {
            let path = format!("/proc/pressure/{}", resource.name());
            let may_write = File::options().write(true).open(path).is_ok();
            // A kernel that lets this process open the file takes one of the windows.
            assert_eq!(Trigger::open(&root, resource).is_some(), may_write, "{resource:?}");
        }
    }
}
