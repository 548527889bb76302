//! A guest: one QEMU process, and what comes out of its serial ports, each line stamped when it arrives.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::figures::Heard;
use crate::image::Image;

/// A boot takes 4 s, on a busy machine three times that.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);

/// Longer than any command takes in a guest that is not meant to die of it.
const COMMAND_PATIENCE: Duration = Duration::from_secs(90);

/// How long a word may take through a port.
const WORD_PATIENCE: Duration = Duration::from_secs(5);

/// They sit on one PCI card, where the kernel gives them these numbers, behind the four that a board may have.
pub(crate) const PROBE_PORT: &str = "/dev/ttyS4";
pub(crate) const BARE_PORT: &str = "/dev/ttyS5";
pub(crate) const SHELL_PORT: &str = "/dev/ttyS6";

const PORTS: [&str; 7] = ["console", "commands", "probe", "bare", "shell", "spare", "monitor"];

/// A running guest. It is killed when it is dropped.
pub(crate) struct Machine {
    qemu: Child,
    dir: TempDir,
    epoch: Instant,
    commands: UnixStream,
    monitor: UnixStream,
    answers: Port,
    pub(crate) console: Port,
    pub(crate) probe: Port,
    pub(crate) bare: Port,
    pub(crate) shell: Port,
}

/// What came out of one serial port so far.
#[derive(Clone)]
pub(crate) struct Port(Arc<(Mutex<Recording>, Condvar)>);

#[derive(Default)]
struct Recording {
    lines: Vec<Heard>,
    /// What came behind the last newline.
    rest: Vec<u8>,
    ended: Option<Duration>,
}

impl Machine {
    /// Boots a guest with these words added to its kernel's command line, up to where it takes commands.
    pub(crate) fn boot(image: &Image, kernel_words: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listeners = PORTS.map(|port| UnixListener::bind(dir.path().join(port)).unwrap());
        let epoch = Instant::now();
        let mut qemu = qemu(image, kernel_words, dir.path()).spawn().unwrap();
        favour(Some(rustix::process::Pid::from_child(&qemu)));
        let streams = listeners.map(|listener| accept(&listener, epoch + BOOT_PATIENCE, &mut qemu, dir.path()));
        let [console, commands, probe, bare, shell, _spare, mut monitor] = streams;
        monitor.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").unwrap();
        let port = |stream: &UnixStream| Port::record(stream.try_clone().unwrap(), epoch);
        let (answers, console) = (port(&commands), port(&console));
        let (probe, bare, shell) = (port(&probe), port(&bare), port(&shell));
        let machine = Self { qemu, dir, epoch, commands, monitor, answers, console, probe, bare, shell };
        machine
            .answers
            .wait_for(epoch + BOOT_PATIENCE, |lines| lines.iter().any(|line| line.text == "=ready"))
            .unwrap_or_else(|| {
                panic!("the guest did not boot: {:#?} {}", machine.console.lines(), log(machine.dir.path()))
            });
        machine
    }

    /// The time since QEMU was started, which is what all lines are stamped with.
    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Ends what an earlier scenario started, and the line that a killed probe may have left unfinished.
    pub(crate) fn clear_stage(&mut self) {
        const WORD: &str = "=begin";
        let seen = self.probe.lines().len();
        let begun = |lines: &[Heard]| lines[seen..].iter().any(|line| line.text.ends_with(WORD));
        let told = self.heard("clear_stage; echo cleared");
        assert!(matches!(&told[..], [line] if line.text == "cleared"), "the stage is not clear: {told:#?}");
        // A port under emulation can sit on its last bytes until it is written to again.
        for _ in 0..5 {
            self.run(&format!("echo {WORD} >{PROBE_PORT}"));
            if self.probe.wait_for(Instant::now() + WORD_PATIENCE, begun).is_some() {
                return;
            }
        }
        panic!("no word that a scenario begins: {:#?}", &self.probe.lines()[seen..]);
    }

    /// Has the guest's init run a command, to its end.
    pub(crate) fn run(&mut self, command: &str) {
        let _ = self.heard(command);
    }

    /// Has the guest's init run a command; gives what it wrote.
    pub(crate) fn heard(&mut self, command: &str) -> Vec<Heard> {
        let seen = self.answers.lines().len();
        self.send(command);
        let is_done = |line: &Heard| line.text.starts_with("=done");
        let answered = |lines: &[Heard]| lines[seen..].iter().any(is_done);
        self.answers
            .wait_for(Instant::now() + COMMAND_PATIENCE, answered)
            .unwrap_or_else(|| panic!("no answer to {command:?}; console: {:#?}", self.console.lines()));
        let mut answer = self.answers.lines().split_off(seen);
        answer.truncate(answer.iter().position(is_done).unwrap_or(0));
        answer
    }

    /// Has the guest's init run a command of which no answer is to be expected.
    pub(crate) fn send(&mut self, command: &str) {
        self.commands.write_all(format!("{command}\n").as_bytes()).unwrap();
    }

    /// Has QEMU stop the guest, its clocks too, or let it go on: `stop`, `cont`.
    pub(crate) fn monitor(&mut self, command: &str) {
        self.monitor.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).unwrap();
    }

    /// Sends QEMU itself a signal: the host's way to end a guest, or to hold it.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.qemu), signal).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Port {
    fn record(mut stream: UnixStream, epoch: Instant) -> Self {
        let port = Self(Arc::default());
        let recorder = port.clone();
        std::thread::spawn(move || {
            favour(None);
            let mut bytes = [0; 4096];
            loop {
                let count = stream.read(&mut bytes).unwrap_or(0);
                let at = epoch.elapsed();
                let mut recording = recorder.0.0.lock().unwrap();
                match count {
                    0 => recording.ended = Some(at),
                    _ => recording.take(&bytes[..count], at),
                }
                recorder.0.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        port
    }

    /// All whole lines so far.
    pub(crate) fn lines(&self) -> Vec<Heard> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// What stands behind the last newline.
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().rest.clone()
    }

    /// Waits until the lines are as wanted; `None` when they are not in time, or the guest is gone.
    pub(crate) fn wait_for(&self, deadline: Instant, wanted: impl Fn(&[Heard]) -> bool) -> Option<()> {
        let mut recording = self.0.0.lock().unwrap();
        while !wanted(&recording.lines) {
            let left = deadline.checked_duration_since(Instant::now())?;
            if recording.ended.is_some() {
                return None;
            }
            recording = self.0.1.wait_timeout(recording, left).unwrap().0;
        }
        Some(())
    }

    /// Waits until the guest is gone; gives the moment, if it came in time.
    pub(crate) fn wait_for_end(&self, deadline: Instant) -> Option<Duration> {
        let mut recording = self.0.0.lock().unwrap();
        loop {
            if recording.ended.is_some() {
                return recording.ended;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            recording = self.0.1.wait_timeout(recording, left).unwrap().0;
        }
    }
}

impl Recording {
    fn take(&mut self, bytes: &[u8], at: Duration) {
        for &byte in bytes {
            if byte != b'\n' {
                self.rest.push(byte);
                continue;
            }
            // The terminal layer puts a carriage return before each newline.
            let text = String::from_utf8_lossy(&self.rest);
            let text = text.strip_suffix('\r').unwrap_or(&text).to_owned();
            self.lines.push(Heard { text, at });
            self.rest.clear();
        }
    }
}

fn qemu(image: &Image, kernel_words: &str, dir: &Path) -> Command {
    // It must not outlive a test run that is killed.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(["-M", "q35", "-cpu", "max", "-accel", "tcg", "-m", "256", "-smp", "1"]);
    qemu.args(["-nodefaults", "-display", "none", "-no-reboot", "-no-user-config"]);
    qemu.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
    let words = "console=ttyS0 panic=-1 quiet printk.time=1 8250.nr_uarts=8 mitigations=off";
    qemu.arg("-append").arg(format!("{words} {kernel_words}"));
    let disk = image.disk.display();
    qemu.arg("-drive").arg(format!("file={disk},if=none,id=disk,format=raw,readonly=on,throttling.iops-total=500"));
    qemu.args(["-device", "virtio-blk-pci,drive=disk"]);
    for port in PORTS {
        qemu.arg("-chardev").arg(format!("socket,id={port},path={}", dir.join(port).display()));
    }
    // An emulated serial port loses what comes in faster than a busy guest takes it; a virtio port does not.
    qemu.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=commands"]);
    qemu.args(["-serial", "chardev:console"]);
    qemu.args(["-device", "pci-serial-4x,chardev1=probe,chardev2=bare,chardev3=shell,chardev4=spare"]);
    qemu.args(["-mon", "chardev=monitor,mode=control"]);
    let log = std::fs::File::create(dir.join("qemu.log")).unwrap();
    qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    qemu
}

/// What else this machine does is not what is measured: puts a process, or this thread, ahead of it. Without the
/// privilege it has to do without.
fn favour(process: Option<rustix::process::Pid>) {
    let _ = rustix::process::setpriority_process(process, -15);
}

fn accept(listener: &UnixListener, deadline: Instant, qemu: &mut Child, dir: &Path) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        assert!(qemu.try_wait().unwrap().is_none(), "QEMU ended: {}", log(dir));
        assert!(Instant::now() < deadline, "QEMU opened no ports: {}", log(dir));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("qemu.log")).unwrap_or_default()
}
