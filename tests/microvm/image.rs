//! What a guest boots from: kernel, initramfs and disk, made once for a test run below `target/microvm`.
//!
//! The kernel is the distribution's package for clouds, unpacked and not installed; it is kept, all else is made anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The files that QEMU is given.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) disk: PathBuf,
}

/// What the harness calls, and the package that has it.
const TOOLS: [(&str, &str); 8] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("mke2fs", "e2fsprogs"),
    ("lz4", "lz4"),
    ("gcc", "gcc"),
    ("dpkg", "dpkg"),
    ("setpriv", "util-linux"),
];

/// In the order of loading.
const MODULES: [&str; 7] = [
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
    "char/virtio_console",
];

/// Busybox's names in the initramfs, and again on the disk, where the shell probe finds them.
const APPLETS: [&str; 27] = [
    "sh", "ln", "mount", "umount", "mkdir", "rmdir", "insmod", "cat", "sleep", "killall", "kill", "ls", "head", "awk",
    "tr", "cut", "date", "rm", "sync", "nice", "grep", "sed", "env", "mkfifo", "uptime", "dd", "ps",
];

/// Larger than the guest's memory, for loads that read it through the page cache.
const DISK_MB: u32 = 512;

/// LZ4's legacy frame, which is how the kernel's build compresses it.
const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// The image; `None`, told loudly, where this machine cannot make one.
pub(crate) fn image(test: &str) -> Option<Image> {
    static IMAGE: OnceLock<Result<Image, String>> = OnceLock::new();
    match IMAGE.get_or_init(make) {
        Ok(image) => Some(image.clone()),
        Err(why) => {
            crate::skip::skipped(test, why);
            None
        }
    }
}

fn make() -> Result<Image, String> {
    if std::env::var_os("RUNNER_VITALS_GUESTS").is_some_and(|guests| guests == "off") {
        return Err("RUNNER_VITALS_GUESTS=off".to_owned());
    }
    if std::env::consts::ARCH != "x86_64" {
        return Err("the guests are of x86_64, as this machine is not".to_owned());
    }
    if let Some((_, package)) = TOOLS.iter().find(|(tool, _)| !has(tool)) {
        return Err(format!("{package} is not installed"));
    }
    let dir = target().join("microvm");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let package = unpacked_kernel(&dir)?;
    let programs = ["launch", "bare", "load"].map(|name| compiled(&dir, name));
    Ok(Image {
        kernel: uncompressed_kernel(&dir, &package),
        initramfs: initramfs(&dir, &package),
        disk: disk(&dir, &programs),
    })
}

fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(tool).exists())
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

fn guest_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/microvm/guest")
}

/// The folder that the kernel's package was unpacked to, now or by an earlier run.
fn unpacked_kernel(dir: &Path) -> Result<PathBuf, String> {
    let package = dir.join("kernel");
    if package.join("unpacked").exists() {
        return Ok(package);
    }
    let name = kernel_package().ok_or("the package index has no linux-image-cloud-amd64: apt-get update")?;
    let _ = fs::remove_dir_all(&package);
    fs::create_dir_all(&package).unwrap();
    let got = Command::new("timeout").args(["300", "apt-get", "download", "-qq", &name]).current_dir(&package).output();
    let got = got.map_err(|error| format!("apt-get: {error}"))?;
    let deb = fs::read_dir(&package).unwrap().map(|entry| entry.unwrap().path()).next();
    let Some(deb) = deb else { return Err(format!("{name}: {}", String::from_utf8_lossy(&got.stderr).trim())) };
    run(Command::new("dpkg").arg("-x").arg(&deb).arg(&package));
    fs::remove_file(deb).unwrap();
    fs::write(package.join("unpacked"), name).unwrap();
    Ok(package)
}

/// The package with the kernel's version in its name.
fn kernel_package() -> Option<String> {
    let shown = Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]).output().ok()?;
    let shown = String::from_utf8(shown.stdout).ok()?;
    shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .map(|rest| format!("linux-image-{rest}"))
}

/// The one file in a folder whose name begins so.
fn beginning_with(folder: &Path, name: &str) -> PathBuf {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(name));
    found.next().unwrap_or_else(|| panic!("{name}… in {}", folder.display()))
}

/// Under emulation the kernel's own unpacking is what takes most of a boot.
fn uncompressed_kernel(dir: &Path, package: &Path) -> PathBuf {
    let kernel = dir.join("vmlinux");
    let compressed = fs::read(beginning_with(&package.join("boot"), "vmlinuz-")).unwrap();
    let at = compressed.windows(4).position(|bytes| bytes == LZ4_MAGIC).expect("an LZ4 kernel");
    let stream = dir.join("vmlinux.lz4");
    fs::write(&stream, &compressed[at..]).unwrap();
    // It complains about what follows the stream.
    let _ = Command::new("lz4").args(["-dqf"]).arg(&stream).arg(&kernel).stderr(Stdio::null()).status().unwrap();
    assert!(fs::read(&kernel).unwrap().starts_with(b"\x7fELF"), "{} is no kernel", kernel.display());
    kernel
}

fn compiled(dir: &Path, name: &str) -> PathBuf {
    let program = dir.join(name);
    let source = guest_folder().join(format!("{name}.c"));
    run(Command::new("gcc").args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source));
    program
}

/// Init and its busybox, which stay in memory, and the modules for the disk and for commands.
fn initramfs(dir: &Path, package: &Path) -> PathBuf {
    let root = dir.join("initramfs");
    let _ = fs::remove_dir_all(&root);
    for folder in ["bin", "proc", "sys", "dev", "tmp", "disk", "modules", "watched"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    busybox(&root.join("bin"));
    fs::copy(dir.join("launch"), root.join("bin/launch")).unwrap();
    fs::copy(dir.join("load"), root.join("bin/load")).unwrap();
    fs::copy(guest_folder().join("init"), root.join("init")).unwrap();
    // The disk's bash looks for its libraries here.
    for folder in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("/disk/{folder}"), root.join(folder)).unwrap();
    }
    let modules = beginning_with(&package.join("lib/modules"), "").join("kernel/drivers");
    for module in MODULES {
        let name = format!("{module}.ko");
        fs::copy(modules.join(&name), root.join("modules").join(name.rsplit('/').next().unwrap())).unwrap();
    }
    let packed = dir.join("initramfs.cpio");
    let pack = "find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0";
    let out = fs::File::create(&packed).unwrap();
    run(Command::new("sh").args(["-c", pack]).current_dir(&root).stdout(out));
    packed
}

fn busybox(bin: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|path| path.exists()).unwrap();
    fs::copy(found, bin.join("busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
    }
}

/// The root file system of a real guest, as far as it is needed here: what runs from it can be evicted.
fn disk(dir: &Path, programs: &[PathBuf]) -> PathBuf {
    let root = dir.join("root");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("bin")).unwrap();
    busybox(&root.join("bin"));
    for program in programs {
        fs::copy(program, root.join("bin").join(program.file_name().unwrap())).unwrap();
    }
    fs::copy(guest_binary(), root.join("bin/runner-vitals")).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/shell-probe.sh"), root.join("shell-probe.sh"))
        .unwrap();
    // Busybox's date knows no milliseconds.
    fs::remove_file(root.join("bin/date")).unwrap();
    for program in ["/bin/bash", "/bin/date"] {
        with_libraries(program, &root);
    }
    let disk = dir.join("disk.img");
    let _ = fs::remove_file(&disk);
    let mut make = Command::new("mke2fs");
    make.stdout(Stdio::null());
    make.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    run(make.args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg(format!("{DISK_MB}M")));
    disk
}

/// A program of this machine, and the libraries that it says it needs.
fn with_libraries(program: &str, root: &Path) {
    fs::copy(program, root.join("bin").join(Path::new(program).file_name().unwrap())).unwrap();
    let needed = Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(library.trim_start_matches("/usr").trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(library, to).unwrap();
    }
}

/// The binary that RUNNER_VITALS_BIN names, else one that is built now, as the README says.
fn guest_binary() -> PathBuf {
    std::env::var_os("RUNNER_VITALS_BIN").map_or_else(build, PathBuf::from)
}

fn build() -> PathBuf {
    let triple = "x86_64-unknown-linux-gnu";
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--profile",
        "guest",
        "--no-default-features",
        "--features",
        "tls",
        "--target",
        triple,
    ]);
    build.arg("--target-dir").arg(target()).current_dir(env!("CARGO_MANIFEST_DIR"));
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(build.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static"));
    target().join(triple).join("guest/runner-vitals")
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
