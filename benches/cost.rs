#![allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "x"
)]
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

#[path = "cost/loops.rs"]
mod loops;
#[path = "cost/process.rs"]
mod process;

fn me(args: &[&str]) -> Command {
    let mut c = Command::new(std::env::current_exe().unwrap());
    c.args(args);
    c
}

fn per_sample(mut command: Command, warm: usize, n: u32, settle: Duration, cpu: fn(u32) -> Duration) -> Duration {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    for _ in 0..warm {
        lines.next().unwrap().unwrap();
    }
    std::thread::sleep(settle);
    let a = cpu(child.id());
    for _ in 0..n {
        lines.next().unwrap().unwrap();
    }
    std::thread::sleep(settle);
    let b = cpu(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    (b - a) / n
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ms = |t: &str| Duration::from_millis(t.parse().unwrap());
    match args.first().map(String::as_str) {
        Some("probe") => return loops::probe(ms(&args[1])),
        Some("floor") => return loops::floor(ms(&args[1]), &args[2..]),
        Some("files") => return loops::files(),
        _ => {}
    }
    let files = String::from_utf8(me(&["files"]).output().unwrap().stdout).unwrap();
    let files: Vec<&str> = files.lines().collect();
    println!("{} files", files.len());
    for pace in [10u64, 50, 100, 1000] {
        let p = pace.to_string();
        let s = Duration::from_millis(pace.min(40) * 4 / 10);
        let n = if pace == 1000 { 10 } else { 100 };
        for _ in 0..3 {
            let probe = per_sample(me(&["probe", &p]), 6, n, s, process::cpu);
            let mut f = vec!["floor", &p];
            f.extend(&files);
            let floor = per_sample(me(&f), 5, n, s, process::cpu);
            let mut c = Command::new("bash");
            c.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/shell-probe.sh"))
                .arg(format!("{}", pace as f64 / 1000.));
            let shell =
                per_sample(c, 2, if pace == 1000 { 10 } else { 40 }, Duration::ZERO, process::cpu_with_children);
            println!(
                "{pace} probe {probe:?} floor {floor:?} {:.2} shell {shell:?} 1/{:.0}",
                probe.as_secs_f64() / floor.as_secs_f64(),
                shell.as_secs_f64() / probe.as_secs_f64()
            );
        }
    }
}
