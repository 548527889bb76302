//! The probe beside others, at once and on this machine: a shell probe, node_exporter, and the bare loop.
//!
//! node_exporter is the binary that NODE_EXPORTER_BIN names, else what `benches/all` has unpacked of Debian's package. It is there twice:
//! as installed, and with nothing but the collectors whose figures the probe has too. It is asked as Prometheus asks it: over one
//! connection, packed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::child::files;
use super::running::Running;
use super::{SHELL_PROBE, as_f64, process, samples, shell, this};

/// Between two samples of each.
const PACE: Duration = Duration::from_secs(1);

/// Before anything is counted.
const WARM: u32 = 3;

/// What is counted.
const COUNTED: u32 = 30;

/// Scrapes one after the other.
const BACK_TO_BACK: u32 = 300;

/// The collectors whose figures a sample has too.
const COMPARABLE: [&str; 9] =
    ["cpu", "meminfo", "pressure", "vmstat", "loadavg", "stat", "filesystem", "netdev", "netstat"];

/// One of those that are compared, and what was seen of it.
#[derive(Debug, Default)]
struct Side {
    name: &'static str,
    at_a_pace: Option<Duration>,
    back_to_back: Option<Duration>,
    peak_resident_kb: u32,
    threads: usize,
    open_files: usize,
    bytes: usize,
    program_bytes: Option<u64>,
}

/// Prints the table.
pub(crate) fn print(guest: &Path) {
    let sides = measure(guest);
    let row = |what: &str, of: &dyn Fn(&Side) -> String| {
        let cells: Vec<String> = sides.iter().map(of).collect();
        writeln!(std::io::stdout(), "| {what} | {} |", cells.join(" | ")).expect("stdout");
    };
    let time = |time: Option<Duration>| time.map_or_else(|| "–".to_owned(), |time| format!("{time:.1?}"));
    row("", &|side| side.name.to_owned());
    row("---", &|_| "---".to_owned());
    row("CPU a sample, one a second", &|side| time(side.at_a_pace));
    row("CPU a sample, back to back", &|side| time(side.back_to_back));
    row("peak resident memory", &|side| format!("{:.1} MiB", f64::from(side.peak_resident_kb) / 1024.0));
    row("threads", &|side| side.threads.to_string());
    row("open files", &|side| side.open_files.to_string());
    row("bytes a sample, as they go out", &|side| side.bytes.to_string());
    row("program", &|side| {
        let megabytes = |bytes| as_f64(usize::try_from(bytes).expect("a small file")) / 1e6;
        side.program_bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1} MB", megabytes(bytes)))
    });
}

/// All of them run at the same time, so that they meet the same machine.
fn measure(guest: &Path) -> Vec<Side> {
    let mut probe = Running::on_a_pipe(Command::new(guest).args(["--interval", "1"]));
    let mut script = Running::on_a_pipe(Command::new("bash").args([SHELL_PROBE, "1"]));
    let first_ms = (process::now() + PACE / 2).as_millis().to_string();
    let paths = files();
    let paths: Vec<&str> = paths.lines().collect();
    let mut floor = Running::on_a_pipe(&mut this(&[&["child", "slow-floor", &first_ms], &paths[..]].concat()));
    let mut exporters: Vec<Exporter> =
        [Set::Comparable, Set::AsInstalled].into_iter().filter_map(Exporter::start).collect();
    let lines = [&mut probe, &mut script, &mut floor].map(longest_sample);
    [&mut probe, &mut script, &mut floor].into_iter().for_each(Running::drain);
    exporters.iter_mut().for_each(|exporter| (0..WARM).for_each(|_| _ = exporter.scrape()));
    let pids = [probe.pid(), script.pid(), floor.pid()];
    let cpu = || [process::cpu(pids[0]), process::cpu_with_children(pids[1]), process::cpu(pids[2])];
    let (before, of_exporters) = (cpu(), exporters.iter().map(Exporter::cpu).collect::<Vec<_>>());
    for _ in 0..COUNTED {
        std::thread::sleep(PACE);
        exporters.iter_mut().for_each(|exporter| _ = exporter.scrape());
    }
    let after = cpu();
    let names = ["runner-vitals", "shell probe", "bare loop"];
    let mut sides: Vec<Side> = (0..3)
        .map(|nth| Side {
            name: names[nth],
            at_a_pace: Some((after[nth] - before[nth]) / COUNTED),
            bytes: lines[nth],
            ..held(pids[nth])
        })
        .collect();
    sides[0].program_bytes = Some(guest.metadata().expect("a file").len());
    sides[0].back_to_back = Some(samples(&["20000"]).cpu_a_sample);
    sides[1].back_to_back = Some(shell());
    for (mut exporter, before) in exporters.into_iter().zip(of_exporters) {
        let at_a_pace = Some((exporter.cpu() - before) / COUNTED);
        let before = exporter.cpu();
        let bytes = (0..BACK_TO_BACK).map(|_| exporter.scrape()).max().expect("a scrape");
        let back_to_back = Some((exporter.cpu() - before) / BACK_TO_BACK);
        let program_bytes = exporter_binary().map(|path| path.metadata().expect("it runs").len());
        sides.push(Side {
            name: exporter.set.name(),
            at_a_pace,
            back_to_back,
            bytes,
            program_bytes,
            ..held(exporter.child.id())
        });
    }
    sides
}

fn longest_sample(of: &mut Running) -> usize {
    // An event is longer, and rare.
    let mut samples = (0..).map(|_| of.line()).filter(|line| !line.contains(" event="));
    (0..WARM).filter_map(|_| samples.next()).map(|line| line.len()).max().expect("samples")
}

fn held(pid: u32) -> Side {
    Side {
        peak_resident_kb: process::peak_resident_kb(pid),
        threads: process::threads(pid),
        open_files: process::open_files(pid),
        ..Side::default()
    }
}

fn exporter_binary() -> Option<PathBuf> {
    let unpacked = || {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        target.join("node-exporter/usr/bin/prometheus-node-exporter")
    };
    let path = std::env::var_os("NODE_EXPORTER_BIN").map_or_else(unpacked, PathBuf::from);
    path.is_file().then_some(path)
}

/// Which collectors it has.
#[derive(Clone, Copy, Debug)]
enum Set {
    Comparable,
    AsInstalled,
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::Comparable => "node_exporter, comparable collectors",
            Self::AsInstalled => "node_exporter, as installed",
        }
    }
}

/// A running node_exporter and the connection that it is asked over.
struct Exporter {
    set: Set,
    child: Child,
    connection: BufReader<TcpStream>,
}

impl Exporter {
    /// None where there is none to be had; that is told.
    fn start(set: Set) -> Option<Self> {
        let Some(binary) = exporter_binary() else {
            eprintln!("{}: not measured: benches/all gets it", set.name());
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address: SocketAddr = free.expect("a port");
        let mut command = Command::new(binary);
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
        if matches!(set, Set::Comparable) {
            command.args(["--collector.disable-defaults", "--web.disable-exporter-metrics"]);
            command.args(COMPARABLE.map(|name| format!("--collector.{name}")));
        }
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("node_exporter");
        let stream = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(address).ok()
        });
        Some(Self { set, child, connection: BufReader::new(stream.expect("it listens")) })
    }

    fn cpu(&self) -> Duration {
        process::cpu(self.child.id())
    }

    /// Asks once, and says how many bytes came.
    fn scrape(&mut self) -> usize {
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
        self.connection.get_mut().write_all(request.as_bytes()).expect("it listens");
        let (mut bytes, mut length, mut is_chunked) = (0, 0, false);
        loop {
            let line = self.line(&mut bytes);
            let line = line.to_ascii_lowercase();
            assert!(!line.starts_with("http/1.1") || line.starts_with("http/1.1 200"), "{line}");
            length =
                line.strip_prefix("content-length: ").map_or(length, |length| length.trim().parse().expect("a number"));
            is_chunked |= line.starts_with("transfer-encoding: chunked");
            if line == "\r\n" {
                break;
            }
        }
        while is_chunked {
            let size = self.line(&mut bytes);
            let size = usize::from_str_radix(size.trim(), 16).expect("a size");
            bytes += self.skip(size + 2);
            is_chunked = size > 0;
        }
        bytes + self.skip(length)
    }

    fn line(&mut self, bytes: &mut usize) -> String {
        let mut line = String::new();
        *bytes += self.connection.read_line(&mut line).expect("an answer");
        line
    }

    fn skip(&mut self, count: usize) -> usize {
        self.connection.read_exact(&mut vec![0; count]).expect("an answer");
        count
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
