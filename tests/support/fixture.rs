//! Lays a capture out as a whole root, as a guest's kernel would show it: for tests, and for `--root`.
//!
//! A capture has `proc/`, `cgroup/` and, of the moment after, `kmsg`. The root that is made of it has the probe in the
//! cgroup `/runner` beside the sidecar's `/dind` (v2), or in `/ci` of each controller (v1), and a small network.

use std::fs;
use std::io;
use std::path::Path;

const V2_MOUNT: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

const NET_DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3245      30    0    0    0     0          0         0     3245      30    0    0    0     0       0          0
  eth0: 21115606    1002    0    0    0     0          0         0    83283     949    0    0    0     0       0          0
";

const NET_SNMP: &str = "\
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 20 2 0 8 0 989 937 3 0 10 0
";

/// Makes `root` of a capture, one moment of a case: `fixtures/captures/oom-guest/during`.
///
/// # Errors
/// When the capture cannot be read or the root not be written.
pub(crate) fn lay_out(capture: &Path, root: &Path) -> io::Result<()> {
    copy(&capture.join("proc"), &root.join("proc"))?;
    write(&root.join("proc/net/dev"), NET_DEV)?;
    write(&root.join("proc/net/snmp"), NET_SNMP)?;
    lay_out_release(root)?;
    let cgroups = root.join("sys/fs/cgroup");
    if capture.join("cgroup/runner").is_dir() {
        lay_out_v2(&capture.join("cgroup"), &cgroups)?;
        write(&root.join("proc/self/cgroup"), "0::/runner\n")?;
        write(&root.join("proc/self/mountinfo"), V2_MOUNT)?;
    } else {
        lay_out_v1(&capture.join("cgroup"), root, &cgroups)?;
    }
    // The ring is only captured after the event; at any moment of the case it is what the kernel says of it.
    let kmsg = [capture.join("kmsg"), capture.join("../after/kmsg")].into_iter().find(|path| path.is_file());
    kmsg.map_or(Ok(()), |kmsg| copy(&kmsg, &root.join("dev/kmsg")))
}

/// `Linux version 6.1.0-56-cloud-amd64 (…` as the two files that the probe reads.
fn lay_out_release(root: &Path) -> io::Result<()> {
    let version = fs::read_to_string(root.join("proc/version")).unwrap_or_default();
    let mut words = version.split(' ');
    if let (Some(os), Some("version"), Some(release)) = (words.next(), words.next(), words.next()) {
        write(&root.join("proc/sys/kernel/ostype"), os)?;
        write(&root.join("proc/sys/kernel/osrelease"), release)?;
    }
    Ok(())
}

fn lay_out_v2(cgroup: &Path, into: &Path) -> io::Result<()> {
    copy(&cgroup.join("root"), into)?;
    ["runner", "dind"].iter().try_for_each(|name| copy(&cgroup.join(name), &into.join(name)))
}

fn lay_out_v1(cgroup: &Path, root: &Path, into: &Path) -> io::Result<()> {
    let (mut own, mut mounts) = (String::new(), String::new());
    for (number, controller) in ["memory", "cpu"].iter().enumerate() {
        copy(&cgroup.join(controller), &into.join(controller).join("ci"))?;
        own += &format!("{}:{controller}:/ci\n", number + 1);
        mounts +=
            &format!("3{number} 29 0:3{number} / /sys/fs/cgroup/{controller} rw - cgroup cgroup rw,{controller}\n");
    }
    write(&root.join("proc/self/cgroup"), &own)?;
    write(&root.join("proc/self/mountinfo"), &mounts)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        return fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))
        });
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(drop)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
}
