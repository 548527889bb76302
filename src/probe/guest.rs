//! What is known of the guest and does not change while it runs, read once.

use super::kernel::Root;
use super::source::{stat, text};

/// The guest, as the `start` line describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// Operating system, in lower case.
    pub os: Option<String>,
    /// Machine; `None` of a captured tree.
    pub arch: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// CPUs online; `None` when /proc/stat could not be read.
    pub cpus: Option<u64>,
    /// This boot's id.
    pub boot_id: Option<String>,
    /// Time since boot when the run began.
    pub uptime_ms: Option<u64>,
    /// Capabilities held, of those that matter; nothing when they could not be read.
    pub caps: Vec<&'static str>,
}

impl Guest {
    /// Reads them, once.
    #[must_use]
    pub fn read(root: &Root, uptime_us: Option<u64>) -> Self {
        let text = |path: &str| text_of(root, path);
        let machine = || rustix::system::uname().machine().to_string_lossy().into_owned();
        let stat = root.read("/proc/stat").map(|text| stat::parse(&text));
        Self {
            os: os(root),
            arch: root.is_live().then(machine),
            kernel: text("/proc/sys/kernel/osrelease"),
            cpus: stat.ok().map(|stat| stat.cpus).filter(|cpus| *cpus > 0),
            boot_id: boot_id(root),
            uptime_ms: uptime_us.map(|us| us / 1000),
            caps: text("/proc/self/status").map(|status| caps(&status)).unwrap_or_default(),
        }
    }
}

/// The operating system, in lower case.
#[must_use]
pub fn os(root: &Root) -> Option<String> {
    text_of(root, "/proc/sys/kernel/ostype").map(|os| os.to_lowercase())
}

/// This boot's id.
#[must_use]
pub fn boot_id(root: &Root) -> Option<String> {
    text_of(root, "/proc/sys/kernel/random/boot_id")
}

/// `/proc/uptime`: seconds since boot with two decimals, as microseconds.
#[must_use]
pub fn uptime_us(text: &[u8]) -> Option<u64> {
    let hundredths = text::hundredths(text::words(text).next()?)?;
    hundredths.checked_mul(10_000)
}

fn text_of(root: &Root, path: &str) -> Option<String> {
    let text = root.read(path).ok()?;
    Some(String::from_utf8_lossy(text.trim_ascii()).into_owned())
}

/// Which of the capabilities that matter here are in a `CapEff` mask (capabilities(7)).
fn caps(status: &str) -> Vec<&'static str> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(mask) = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else { return Vec::new() };
    let needed = [(14, "ipc_lock"), (23, "sys_nice"), (24, "sys_resource"), (34, "syslog")];
    let held: Vec<&str> = needed.iter().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect();
    if held.is_empty() { vec!["none"] } else { held }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named() {
        assert_eq!(caps("CapEff:\t000001ffffffffff\n"), ["ipc_lock", "sys_nice", "sys_resource", "syslog"]);
        assert_eq!(caps("CapEff:\t0000000000800000\n"), ["sys_nice"]);
        assert_eq!(caps("CapEff:\t00000000a80425fb\n"), ["none"]);
        assert!(caps("").is_empty() && caps("CapEff: all").is_empty(), "unread is not none");
    }

    #[test]
    fn uptime_is_read_to_the_hundredth() {
        assert_eq!(uptime_us(b"15.21 5.40\n"), Some(15_210_000));
        assert_eq!(uptime_us(b""), None);
    }
}
